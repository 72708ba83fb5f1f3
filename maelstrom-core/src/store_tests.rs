//! Records on disk from one life to the next: snapshots, damage and other versions.

use std::io::{Seek, SeekFrom, Write};

use super::*;

const FORMAT: &str = "test 1";

pub(super) fn open(dir: &Path) -> Result<Store, StoreError> {
    Store::open(dir, "n1", FORMAT)
}

pub(super) fn read(store: &mut Store) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut all = Vec::new();
    let take = |record: &[u8]| {
        all.push(record.to_vec());
        Ok(())
    };
    store.records(take).map(|_| all)
}

/// The records that a process finds when it opens the folder now.
pub(super) fn found(dir: &Path) -> Result<Vec<Vec<u8>>, StoreError> {
    read(&mut open(dir)?)
}

pub(super) fn batch(numbers: std::ops::Range<u32>) -> Vec<Vec<u8>> {
    numbers.map(|number| format!("record {number}").into_bytes()).collect()
}

pub(super) fn part(name: &str) -> Vec<Vec<u8>> {
    ["first", "second"].map(|number| format!("{name}: {number}").into_bytes()).to_vec()
}

/// Adds a part of a snapshot, and waits until it is durable.
pub(super) fn add(store: &mut Store, part: Result<Vec<Vec<u8>>, Error>, is_last: bool) {
    store.add_part(part, is_last);
    complete(store);
}

/// Waits until no part of a snapshot is being written.
pub(super) fn complete(store: &mut Store) {
    while store.part_written().is_some() {
        store.complete_part();
    }
}

/// The names of the node's files, sorted.
pub(super) fn files(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir.join("n1")).unwrap();
    let mut names: Vec<String> =
        names.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A folder with `count` records, committed in two batches.
pub(super) fn folder_with(count: u32) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).unwrap();
    read(&mut store).unwrap();
    store.commit(&batch(0..count / 2)).unwrap();
    store.commit(&batch(count / 2..count)).unwrap();
    dir
}

#[test]
fn records_come_back_in_order_from_one_life_to_the_next() {
    let dir = folder_with(4);
    assert_eq!(found(dir.path()).unwrap(), batch(0..4));
    let mut store = open(dir.path()).unwrap();
    read(&mut store).unwrap();
    store.commit(&batch(4..300)).unwrap();
    drop(store);
    assert_eq!(found(dir.path()).unwrap(), batch(0..300));
}

#[test]
fn a_snapshot_takes_the_place_of_all_before_it() {
    let dir = folder_with(100);
    let mut store = open(dir.path()).unwrap();
    read(&mut store).unwrap();
    store.begin_snapshot();
    add(&mut store, Ok(part("one")), false);
    store.commit(&batch(100..101)).unwrap();
    add(&mut store, Ok(part("two")), false);
    // Large records do not wait in memory for the next part.
    store.commit(&[vec![b'x'; 2 << 20]]).unwrap();
    store.commit(&batch(101..102)).unwrap();
    assert_eq!(files(dir.path()), ["records.count", "records.new", "records.redb"]);
    add(&mut store, Ok(part("three")), true);
    assert!(!store.is_replacing());
    store.commit(&batch(102..103)).unwrap();
    assert!(!files(dir.path()).contains(&"records.new".into()));
    drop(store);
    let large = vec![vec![b'x'; 2 << 20]];
    let parts = [part("one"), batch(100..101), part("two"), large, batch(101..102)];
    let rest = [part("three"), batch(102..103)];
    assert_eq!(
        found(dir.path()).unwrap(),
        parts.into_iter().chain(rest).flatten().collect::<Vec<_>>()
    );
}

/// The first part already contains their effects, and a handler may not understand records before
/// it.
#[test]
fn records_before_the_first_part_are_not_put_before_the_snapshot() {
    let dir = folder_with(100);
    let mut store = open(dir.path()).unwrap();
    read(&mut store).unwrap();
    store.begin_snapshot();
    store.commit(&batch(100..101)).unwrap();
    store.commit(&[vec![b'x'; 2 << 20]]).unwrap();
    add(&mut store, Ok(part("one")), false);
    store.commit(&batch(101..102)).unwrap();
    add(&mut store, Ok(part("two")), true);
    drop(store);
    let all = [part("one"), batch(101..102), part("two")].concat();
    assert_eq!(found(dir.path()).unwrap(), all);
}

#[test]
fn a_snapshot_that_fails_leaves_all_as_it_was() {
    let dir = folder_with(100);
    let mut store = open(dir.path()).unwrap();
    read(&mut store).unwrap();
    store.begin_snapshot();
    add(&mut store, Ok(part("half of it")), false);
    add(&mut store, Err(Error::crash("no more")), true);
    assert!(!store.is_replacing());
    store.commit(&batch(100..101)).unwrap();
    assert_eq!(files(dir.path()), ["records.count", "records.redb"]);
    drop(store);
    assert_eq!(found(dir.path()).unwrap(), batch(0..101));
}

#[test]
fn a_process_that_ends_before_its_snapshot_does_leaves_all_as_it_was() {
    let dir = folder_with(100);
    let mut store = open(dir.path()).unwrap();
    read(&mut store).unwrap();
    store.begin_snapshot();
    add(&mut store, Ok(part("half of it")), false);
    store.commit(&batch(100..101)).unwrap();
    // The process is killed, so it cleans nothing up.
    std::mem::forget(store.replacement.take());
    drop(store);
    assert_eq!(files(dir.path()), ["records.count", "records.new", "records.redb"]);
    assert_eq!(found(dir.path()).unwrap(), batch(0..101));
    assert_eq!(files(dir.path()), ["records.count", "records.redb"]);
}

#[test]
fn a_snapshot_that_the_disk_does_not_take_does_no_harm() {
    let dir = folder_with(100);
    let mut store = open(dir.path()).unwrap();
    read(&mut store).unwrap();
    // A folder blocks the path of the snapshot's file.
    fs::create_dir(dir.path().join("n1").join("records.new")).unwrap();
    store.begin_snapshot();
    assert!(!store.is_replacing());
    store.commit(&batch(100..101)).unwrap();
    fs::remove_dir(dir.path().join("n1").join("records.new")).unwrap();
    store.begin_snapshot();
    // A folder blocks the path of the journal that the snapshot would replace.
    let journal = dir.path().join("n1").join(FILE);
    let aside = dir.path().join("aside");
    fs::rename(&journal, &aside).unwrap();
    fs::create_dir(&journal).unwrap();
    add(&mut store, Ok(part("all")), true);
    assert!(!store.is_replacing());
    assert_eq!(files(dir.path()), ["records.count", "records.redb"]);
    fs::remove_dir(&journal).unwrap();
    fs::rename(&aside, &journal).unwrap();
    store.begin_snapshot();
    // The file disappears before it can replace the journal.
    fs::remove_file(dir.path().join("n1").join("records.new")).unwrap();
    add(&mut store, Ok(part("all")), true);
    assert_eq!(files(dir.path()), ["records.count", "records.redb"]);
    store.commit(&batch(101..102)).unwrap();
    drop(store);
    assert_eq!(found(dir.path()).unwrap(), batch(0..102));
}

#[test]
fn a_snapshot_is_worth_its_time_only_where_much_can_go() {
    let dir = folder_with(0);
    let mut store = open(dir.path()).unwrap();
    store.commit(&[vec![0; 3 << 20]]).unwrap();
    assert!(store.is_worth_replacing(1 << 19) && !store.is_worth_replacing(1 << 20));
    drop(store);
    let mut store = open(dir.path()).unwrap();
    read(&mut store).unwrap();
    assert!(store.is_worth_replacing(1 << 19), "it is known in the next life as well");
}

#[test]
fn an_estimate_that_is_too_low_does_not_cause_snapshots_without_end() {
    let dir = folder_with(0);
    let mut store = open(dir.path()).unwrap();
    store.begin_snapshot();
    add(&mut store, Ok(vec![vec![0; 3 << 20]]), true);
    assert!(!store.is_worth_replacing(1));
    store.commit(&[vec![0; 3 << 20]]).unwrap();
    assert!(!store.is_worth_replacing(1));
    store.commit(&[vec![0; 2 << 20]]).unwrap();
    assert!(store.is_worth_replacing(1));
}

#[test]
fn a_snapshot_needs_no_file_system_that_links() {
    let dir = folder_with(100);
    let mut store = open(dir.path()).unwrap();
    read(&mut store).unwrap();
    store.begin_snapshot();
    let (path, old) = (dir.path().join("n1/records.redb"), dir.path().join("none/records.old"));
    let mut replacement = store.replacement.take().unwrap();
    replacement.add(part("all"), true).unwrap();
    replacement.take_place(&path, &old).unwrap();
    drop(store);
    assert_eq!(found(dir.path()).unwrap(), part("all"));
}

#[test]
fn a_folder_is_one_process_s_at_a_time() {
    let dir = folder_with(1);
    let store = open(dir.path()).unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::InUse(_))));
    drop(store);
    assert_eq!(found(dir.path()).unwrap(), batch(0..1));
}

#[test]
fn nodes_do_not_share_a_folder_whatever_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["n1", "N1", "..", "a/b", "a%2Fb", "a b", ""];
    for name in names {
        let mut store = Store::open(dir.path(), name, FORMAT).unwrap();
        store.commit(&[name.as_bytes().to_vec()]).unwrap();
    }
    for name in names {
        let mut store = Store::open(dir.path(), name, FORMAT).unwrap();
        assert_eq!(read(&mut store).unwrap(), [name.as_bytes()]);
    }
    // The node without a name has its two files here.
    let expected = names.len() + 1;
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), expected, "and none is elsewhere");
}

#[test]
fn a_file_of_another_node_or_program_is_refused_and_left_alone() {
    let dir = folder_with(2);
    let error = Store::open(dir.path(), "n1", "other 7").unwrap_err().to_string();
    assert!(error.ends_with("holds the format `test 1`, not `other 7`"), "{error}");
    fs::rename(dir.path().join("n1"), dir.path().join("n2")).unwrap();
    let error = Store::open(dir.path(), "n2", FORMAT).unwrap_err().to_string();
    assert!(error.ends_with("holds the node `n1`, not `n2`"), "{error}");
    fs::rename(dir.path().join("n2"), dir.path().join("n1")).unwrap();
    assert_eq!(found(dir.path()).unwrap(), batch(0..2));
}

#[test]
fn a_later_layout_is_refused() {
    let dir = folder_with(1);
    let database = Database::create(dir.path().join("n1").join(FILE)).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(OWNER).unwrap().insert("layout", "2").unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = open(dir.path()).unwrap_err().to_string();
    assert!(error.ends_with("holds the layout `2`, not `1`"), "{error}");
}

#[test]
fn a_missing_record_and_one_that_makes_no_sense_are_named() {
    let dir = folder_with(5);
    let refusal = |code| {
        let take = |record: &[u8]| {
            if record == b"record 3" { Err(Error::new(code, "odd")) } else { Ok(()) }
        };
        open(dir.path()).unwrap().records(take).unwrap_err().to_string()
    };
    let error = refusal(ErrorCode::Crash);
    assert!(error.ends_with("records.redb: damaged: record 3: odd"), "{error}");
    let error = refusal(ErrorCode::PreconditionFailed);
    assert!(error.ends_with("records.redb: odd"), "{error}");
    let database = Database::create(dir.path().join("n1").join(FILE)).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(JOURNAL).unwrap().remove(1).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = found(dir.path()).unwrap_err().to_string();
    assert!(error.ends_with("record 1: it is missing, the next one is 2"), "{error}");
}

/// Copies the open file after each commit, as a process leaves it that is killed at that moment.
#[test]
fn nothing_that_was_committed_is_lost_when_a_process_is_killed() {
    let dir = folder_with(10);
    let mut store = open(dir.path()).unwrap();
    read(&mut store).unwrap();
    for number in 10..30 {
        store.commit(&batch(number..number + 1)).unwrap();
        let copy = tempfile::tempdir().unwrap();
        fs::create_dir(copy.path().join("n1")).unwrap();
        fs::copy(dir.path().join("n1").join(FILE), copy.path().join("n1").join(FILE)).unwrap();
        assert_eq!(found(copy.path()).unwrap(), batch(0..number + 1));
    }
}

/// Checks that damage causes an error or has no effect: the store never returns fewer or other
/// records.
fn harmless(dir: &Path, what: &str, all: &[Vec<u8>]) -> bool {
    match std::panic::catch_unwind(|| found(dir)) {
        Ok(Ok(records)) => {
            assert_eq!(records, all, "{what}");
            true
        }
        Ok(Err(StoreError::Damaged { .. } | StoreError::OtherVersion { .. })) => false,
        Ok(Err(other)) => panic!("{what}: {other}"),
        Err(_) => panic!("{what}: panics"),
    }
}

#[test]
fn a_file_that_was_cut_off_is_an_error() {
    let dir = folder_with(400);
    let path = dir.path().join("n1").join(FILE);
    let whole = fs::read(&path).unwrap();
    // An empty file is no error: a process that ends before its first commit leaves one.
    for part in 1..32 {
        let length = whole.len() * part / 32 + part % 3;
        fs::write(&path, &whole[..length]).unwrap();
        harmless(dir.path(), &format!("cut off after {length}"), &batch(0..400));
    }
    fs::write(&path, b"something else").unwrap();
    assert!(!harmless(dir.path(), "something else", &[]));
}

#[test]
fn a_flipped_bit_is_an_error_or_does_no_harm() {
    let dir = folder_with(400);
    let path = dir.path().join("n1").join(FILE);
    let whole = fs::read(&path).unwrap();
    let mut errors = 0;
    for at in (0..whole.len()).step_by(997) {
        fs::write(&path, &whole).unwrap();
        let mut file = File::options().write(true).open(&path).unwrap();
        file.seek(SeekFrom::Start(at as u64)).unwrap();
        file.write_all(&[whole[at] ^ 0x10]).unwrap();
        drop(file);
        errors += usize::from(!harmless(dir.path(), &format!("bit at {at}"), &batch(0..400)));
    }
    assert!(errors > 0, "some of the file is records");
}

/// The files of a process that was killed after its last commit, and the places in the journal's
/// file that the commit changed.
fn killed() -> (tempfile::TempDir, Vec<usize>) {
    let dir = folder_with(20);
    let (folder, copy) = (dir.path().join("n1"), tempfile::tempdir().unwrap());
    let mut store = open(dir.path()).unwrap();
    read(&mut store).unwrap();
    let before = fs::read(folder.join(FILE)).unwrap();
    store.commit(&batch(20..21)).unwrap();
    let after = fs::read(folder.join(FILE)).unwrap();
    fs::create_dir(copy.path().join("n1")).unwrap();
    for name in files(dir.path()) {
        fs::copy(folder.join(&name), copy.path().join("n1").join(&name)).unwrap();
    }
    let pairs = before.iter().zip(&after).enumerate();
    (copy, pairs.filter(|(_, (before, after))| before != after).map(|(at, _)| at).collect())
}

#[test]
fn damage_to_the_last_commit_of_a_killed_process_is_an_error_too() {
    let (dir, changed) = killed();
    let folder = dir.path().join("n1");
    let (whole, count) =
        (fs::read(folder.join(FILE)).unwrap(), fs::read(folder.join("records.count")).unwrap());
    let mut refused = 0;
    let step = (changed.len() / 20).max(1);
    for at in changed.into_iter().step_by(step) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(folder.join(FILE), damaged).unwrap();
        fs::write(folder.join("records.count"), &count).unwrap();
        let before = "it has 20 records, and 21 were committed, as `records.count` says";
        match found(dir.path()) {
            Err(StoreError::Damaged { what, .. }) => refused += usize::from(what == before),
            Err(StoreError::OtherVersion { .. }) => {}
            other => assert_eq!(other.unwrap(), batch(0..21), "bit at {at}"),
        }
    }
    assert!(refused > 0, "some of the file is the last commit");
}

#[test]
fn a_number_of_records_that_is_old_or_damaged_or_of_another_journal_does_no_harm() {
    let (dir, _) = killed();
    let path = dir.path().join("n1/records.count");
    let count = fs::read(&path).unwrap();
    for byte in (0..count.len()).step_by(5) {
        let mut damaged = count.clone();
        damaged[byte] ^= 0x10;
        for content in [&damaged, &count[..byte], &[0; 24][..]] {
            fs::write(&path, content).unwrap();
            assert_eq!(found(dir.path()).unwrap(), batch(0..21), "byte {byte}");
        }
    }
    let old = fs::read(folder_with(30).path().join("n1/records.count")).unwrap();
    fs::write(&path, old).unwrap();
    assert_eq!(found(dir.path()).unwrap(), batch(0..21));
    fs::remove_file(&path).unwrap();
    assert_eq!(found(dir.path()).unwrap(), batch(0..21));
}
