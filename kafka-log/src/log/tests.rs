//! The log against a list of entries, and the age of its segments and sends.

use proptest::prelude::*;
use serde_json::value::to_raw_value;

use super::producers::IDLE_MAX;
use super::*;

fn entry(epoch: Epoch, seq: u64, key: &str) -> Entry {
    let producer = Producer { node: "n1".into(), life: 7 };
    Entry { epoch, producer, seq, key: key.into(), msg: to_raw_value(&seq).unwrap().into() }
}

fn small() -> Retention {
    Retention { segment_bytes: 12, ..Retention::default() }
}

fn texts(log: &PartitionLog, key: &str, from: u64, high: Position) -> Vec<(u64, String)> {
    log.read(key, from, high).map(|(offset, msg)| (offset, msg.get().to_owned())).collect()
}

/// An operation on a log.
#[derive(Clone, Debug)]
enum Step {
    Append {
        key: u8,
        epoch: u64,
    },
    /// Truncates to a percentage of the log's length.
    Truncate(u64),
    /// Deletes down to a number of bytes, below a high watermark in percent of the log's length.
    Retain(usize, u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..4_u8, 0..2_u64).prop_map(|(key, epoch)| Step::Append { key, epoch }),
        1 => (50..100_u64).prop_map(Step::Truncate),
        1 => (0..60_usize, 0..100_u64).prop_map(|(bytes, high)| Step::Retain(bytes, high)),
    ]
}

proptest! {
    #[test]
    fn a_log_is_the_same_as_a_list_of_entries(
        steps in prop::collection::vec(any_step(), 0..120),
        from in 0..8_u64,
    ) {
        let mut log = PartitionLog::default();
        // All entries that were ever appended and not truncated: epoch, number, key.
        let mut naive: Vec<(u64, u64, String)> = Vec::new();
        let (mut epoch, mut seq) = (1, 0);
        for step in steps {
            match step {
                Step::Append { key, epoch: more } => {
                    epoch += more;
                    let key = key.to_string();
                    let offset = log.append(entry(epoch, seq, &key), &small(), Duration::ZERO);
                    let before = naive.iter().filter(|(.., other)| *other == key).count();
                    prop_assert_eq!(offset, before as u64);
                    naive.push((epoch, seq, key));
                    seq += 1;
                }
                Step::Truncate(percent) => {
                    let to = (log.end() * percent / 100).max(log.start());
                    log.truncate(to);
                    naive.truncate(usize::try_from(to).unwrap());
                }
                Step::Retain(bytes_max, percent) => {
                    let high = log.end() * percent / 100;
                    let retention = Retention { bytes_max: Some(bytes_max), ..small() };
                    let before = log.start();
                    log.retain(&retention, high, Duration::ZERO);
                    prop_assert!(log.start() == before || log.start() <= high);
                }
            }
            prop_assert_eq!(log.end(), naive.len() as u64);
            let start = usize::try_from(log.start()).unwrap();
            let kept: usize = naive[start..].iter().map(|(_, seq, _)| seq.to_string().len()).sum();
            prop_assert_eq!(log.bytes(), kept);
        }
        for position in log.start()..log.end() {
            let (epoch, seq, key) = &naive[usize::try_from(position).unwrap()];
            let entry = log.entry(position).unwrap();
            prop_assert_eq!((entry.epoch, entry.seq, &*entry.key), (*epoch, *seq, &**key));
            prop_assert_eq!(log.epoch_before(position + 1), *epoch);
            let is_later = |(other, ..): &&(u64, u64, String)| *other > *epoch;
            let later = naive.iter().find(is_later);
            let end = later.map_or(naive.len(), |later| naive.iter().position(|e| e == later).unwrap());
            prop_assert_eq!(log.end_of_epoch(*epoch), end as u64);
        }
        prop_assert!(log.entry(log.end()).is_none());
        let seqs: Vec<u64> = naive.iter().map(|(_, seq, _)| *seq).collect();
        let producer = Producer { node: "n1".into(), life: 7 };
        let kept = usize::try_from(log.start().max(from)).unwrap().min(seqs.len());
        prop_assert_eq!(log.seqs_of(&producer, from..u64::MAX), &seqs[kept..]);
        let other = Producer { life: 8, ..producer };
        prop_assert!(log.seqs_of(&other, 0..log.end()).is_empty());
        for key in ["0", "1", "2", "3", "4"] {
            let all = naive.iter().enumerate().filter(|(_, (.., other))| other == key);
            let all = all.enumerate().map(|(offset, (at, (_, seq, _)))| (offset as u64, at, seq));
            let start = usize::try_from(log.start()).unwrap();
            let all = all.filter(|(offset, at, _)| *at >= start && *offset >= from);
            let expected: Vec<_> = all.map(|(offset, _, seq)| (offset, seq.to_string())).collect();
            prop_assert_eq!(texts(&log, key, from, log.end()), expected);
        }
    }

    #[test]
    fn a_log_that_starts_at_a_floor_continues_the_offsets_and_appends_no_send_twice(
        keys in prop::collection::vec(0..4_u8, 10..60),
        bytes_max in 0..40_usize,
    ) {
        let mut log = PartitionLog::default();
        for (seq, key) in (0..).zip(&keys) {
            log.append(entry(1 + seq / 9, seq, &key.to_string()), &small(), Duration::ZERO);
        }
        let retention = Retention { bytes_max: Some(bytes_max), ..small() };
        log.retain(&retention, log.end(), Duration::ZERO);
        let mut copy = PartitionLog::default();
        copy.append(entry(1, 99, "old"), &small(), Duration::ZERO);
        copy.reset(log.floor());
        prop_assert_eq!((copy.start(), copy.end()), (log.start(), log.start()));
        prop_assert_eq!(copy.epoch_before(copy.end()), log.epoch_before(log.start()));
        for position in log.start()..log.end() {
            copy.append(log.entry(position).unwrap(), &small(), Duration::ZERO);
        }
        let producer = Producer { node: "n1".into(), life: 7 };
        for (seq, key) in (0..).zip(&keys) {
            let key = key.to_string();
            prop_assert_eq!(texts(&copy, &key, 0, u64::MAX), texts(&log, &key, 0, u64::MAX));
            let lookup = copy.lookup_send(&producer, seq);
            prop_assert!(lookup != SendLookup::Never);
        }
        let offset = |log: &mut PartitionLog| log.append(entry(99, 1_000, "2"), &small(), Duration::ZERO);
        prop_assert_eq!(offset(&mut copy), offset(&mut log));
    }
}

#[test]
fn only_messages_below_the_high_watermark_are_read() {
    let mut log = PartitionLog::default();
    for seq in 0..6 {
        log.append(entry(1, seq, if seq % 2 == 0 { "a" } else { "b" }), &small(), Duration::ZERO);
    }
    assert_eq!(texts(&log, "a", 0, 3), [(0, "0".into()), (1, "2".into())]);
    assert_eq!(texts(&log, "a", 1, 5), [(1, "2".into()), (2, "4".into())]);
    assert_eq!(texts(&log, "b", 0, 1), []);
    assert_eq!(texts(&log, "b", u64::MAX, 6), []);
    assert_eq!(texts(&log, "c", 0, 6), []);
}

#[test]
fn old_segments_go_by_age_and_the_newest_stays() {
    let mut log = PartitionLog::default();
    for seq in 10..40 {
        log.append(entry(1, seq, "a"), &small(), Duration::from_secs(seq));
    }
    let retention = Retention { age_max: Some(Duration::from_secs(5)), ..small() };
    log.retain(&retention, log.end(), Duration::from_secs(40));
    assert!((20..=25).contains(&log.start()), "{}", log.start());
    log.retain(&retention, log.end(), Duration::from_secs(4_000));
    assert!((24..30).contains(&log.start()), "{}", log.start());
    assert_eq!(texts(&log, "a", 0, u64::MAX).last(), Some(&(29, "39".into())));
}

#[test]
fn a_send_is_known_as_long_as_anybody_can_wait_for_it() {
    let logs = [(DEDUPE_WINDOW, PartitionLog::default()), (4, PartitionLog::new(4))];
    for (dedupe_window, mut log) in logs {
        let producer = Producer { node: "n1".into(), life: 7 };
        for seq in 0..2 * dedupe_window {
            assert_eq!(log.lookup_send(&producer, seq), SendLookup::Never);
            log.append(entry(1, seq, "a"), &Retention::default(), Duration::ZERO);
            let oldest = seq.saturating_sub(dedupe_window - 1);
            let at = SendLookup::At { position: oldest, offset: oldest };
            assert_eq!(log.lookup_send(&producer, oldest), at);
            if let Some(older) = oldest.checked_sub(1) {
                assert_eq!(log.lookup_send(&producer, older), SendLookup::Stale);
            }
        }
        assert_eq!(log.lookup_send(&Producer { life: 8, ..producer }, 3), SendLookup::Never);
        // A log that starts again remembers as many.
        log.reset(log.floor());
        for seq in 2 * dedupe_window..4 * dedupe_window {
            log.append(entry(1, seq, "a"), &Retention::default(), Duration::ZERO);
        }
        let producer = Producer { node: "n1".into(), life: 7 };
        let kept = (0..4 * dedupe_window)
            .filter(|seq| log.lookup_send(&producer, *seq) != SendLookup::Stale);
        assert_eq!(kept.count() as u64, dedupe_window);
    }
}

#[test]
fn a_truncated_send_may_be_appended_again() {
    let mut log = PartitionLog::default();
    let producer = Producer { node: "n1".into(), life: 7 };
    for seq in 0..4 {
        log.append(entry(1, seq, "a"), &small(), Duration::ZERO);
    }
    log.truncate(2);
    assert_eq!(log.lookup_send(&producer, 2), SendLookup::Never);
    assert_eq!(log.append(entry(2, 3, "a"), &small(), Duration::ZERO), 2);
    assert_eq!((log.epoch_before(2), log.epoch_before(3), log.end_of_epoch(1)), (1, 2, 2));
    assert_eq!(log.not_after_epoch(3, 1), 2);
}

#[test]
fn the_sends_of_an_idle_producer_are_forgotten_when_a_new_one_comes() {
    let mut log = PartitionLog::default();
    let producer = |life| Producer { node: "n1".into(), life };
    let append = |log: &mut PartitionLog, life, seq, now| {
        let entry = Entry { producer: producer(life), ..entry(1, seq, "k") };
        log.append(entry, &small(), now)
    };
    let lookup = |log: &PartitionLog, seq| log.lookup_send(&producer(7), seq);
    append(&mut log, 7, 3, Duration::ZERO);
    append(&mut log, 8, 0, IDLE_MAX);
    assert_eq!(lookup(&log, 3), SendLookup::At { position: 0, offset: 0 });
    append(&mut log, 9, 0, IDLE_MAX + Duration::from_millis(1));
    assert_eq!((lookup(&log, 3), lookup(&log, 4)), (SendLookup::Stale, SendLookup::Never));
    // The log accepts the producer's next send, and replicas get the old one with its name.
    assert_eq!(append(&mut log, 7, 4, IDLE_MAX), 3);
    assert!(matches!(lookup(&log, 4), SendLookup::At { position: 3, .. }));
    assert_eq!(log.entry(0).map(|entry| (entry.producer.life, entry.seq)), Some((7, 3)));
}
