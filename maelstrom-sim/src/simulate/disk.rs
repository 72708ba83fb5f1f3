//! A simulated disk: records, and snapshots. A node writes a snapshot part by part. Once the
//! snapshot is complete, it replaces the records that it covers in one step.

use maelstrom_core::{Records, SnapshotPosition};

use super::machine::Program;

/// A snapshot begins after this many records. A real node waits much longer.
const RECORDS_BEFORE_SNAPSHOT: usize = 3;

/// Everything that a machine has made durable.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) records: Vec<Vec<u8>>,
    /// The approximate size of a part of a snapshot in bytes. `None`: there are no snapshots.
    part_bytes: Option<usize>,
    /// How many records were added since the last snapshot was completed.
    since: usize,
    replacement: Option<Replacement>,
    /// How many of the records existed when the last snapshot replaced the others. The records
    /// after them were added since.
    replaced: usize,
    /// The record lists that snapshots replaced, the oldest first, each with its value of
    /// `replaced`. Empty unless the folder may be restored.
    older: Vec<(Vec<Vec<u8>>, usize)>,
    keeps_older: bool,
}

/// An incomplete snapshot.
#[derive(Debug, Default)]
struct Replacement {
    records: Vec<Vec<u8>>,
    next_part: SnapshotPosition,
}

impl Disk {
    pub(super) fn new(part_bytes: Option<usize>) -> Self {
        Self { part_bytes, ..Self::default() }
    }

    /// Sets whether the disk keeps older copies.
    pub(super) fn keeping_older(self, keeps_older: bool) -> Self {
        Self { keeps_older, ..self }
    }

    /// Adds a durable record.
    pub(super) fn add(&mut self, record: Vec<u8>) {
        self.since += 1;
        if let Some(replacement) = &mut self.replacement {
            replacement.records.push(record.clone());
        }
        self.records.push(record);
    }

    /// Handles a crash: an incomplete snapshot is lost.
    pub(super) fn crash(&mut self) {
        self.replacement = None;
    }

    /// Replaces the folder of a killed node by an older copy. The copy lacks `percent` of the
    /// newest records that may be lost, but at least one if there is any.
    pub(super) fn restore(&mut self, percent: u8, is_losable: impl Fn(&[u8]) -> bool) {
        // A snapshot that replaced records comes after all of them.
        let present = (&self.records, self.replaced);
        let older = self.older.iter().rev().map(|(records, replaced)| (records, *replaced));
        let added = std::iter::once(present).chain(older);
        let added = added.flat_map(|(records, replaced)| records.iter().skip(replaced).rev());
        let losable = added.take_while(|record| is_losable(record)).count();
        let mut lost = (losable * usize::from(percent)).div_ceil(100);
        while lost > 0 {
            let added = self.records.len() - self.replaced;
            let lost_here = lost.min(added);
            self.records.truncate(self.records.len() - lost_here);
            lost -= lost_here;
            if lost > 0 {
                let Some(older) = self.older.pop() else { return };
                (self.records, self.replaced) = older;
            }
        }
    }

    /// Takes the next part of a snapshot, if snapshots are on. All records of the node must be
    /// durable.
    ///
    /// # Panics
    ///
    /// If the node cannot write its snapshot.
    pub(super) fn take_part(&mut self, node: &dyn Program) {
        let Some(part_bytes) = self.part_bytes else { return };
        if node.snapshot_bytes().is_none() {
            return;
        }
        if self.replacement.is_none() && self.since < RECORDS_BEFORE_SNAPSHOT {
            return;
        }
        let replacement = self.replacement.get_or_insert_default();
        let mut add = |record: &[u8]| replacement.records.push(record.to_vec());
        let mut records = Records::new(&mut add);
        let next = node.snapshot(replacement.next_part, part_bytes, &mut records);
        assert!(next.is_ok(), "a snapshot cannot be written: {:?}", next.err());
        if let Ok(Some(next)) = next {
            replacement.next_part = next;
        } else if let Some(replacement) = self.replacement.take() {
            let replaced = replacement.records.len();
            let replaced = std::mem::replace(&mut self.replaced, replaced);
            let records = std::mem::replace(&mut self.records, replacement.records);
            if self.keeps_older {
                self.older.push((records, replaced));
            }
            self.since = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(disk: &Disk) -> Vec<String> {
        disk.records.iter().map(|record| String::from_utf8(record.clone()).unwrap()).collect()
    }

    /// Acts as if the node had written a snapshot with this record.
    fn replace(disk: &mut Disk, snapshot: &str) {
        let older = std::mem::replace(&mut disk.records, vec![snapshot.as_bytes().to_vec()]);
        disk.older.push((older, std::mem::replace(&mut disk.replaced, 1)));
    }

    /// The records `1 2 3`, a snapshot of them, `4 5`, a snapshot of all, and `6`.
    fn disk() -> Disk {
        let mut disk = Disk::new(None).keeping_older(true);
        ["1", "2", "3"].into_iter().for_each(|it| disk.add(it.into()));
        replace(&mut disk, "123");
        ["4", "5"].into_iter().for_each(|it| disk.add(it.into()));
        replace(&mut disk, "12345");
        disk.add("6".into());
        disk
    }

    fn restored(percent: u8, kept: &str) -> Vec<String> {
        let mut disk = disk();
        disk.restore(percent, |record| !kept.as_bytes().contains(&record[0]));
        texts(&disk)
    }

    #[test]
    fn an_older_copy_is_the_folder_as_it_once_was() {
        assert_eq!(restored(100, "6"), ["12345", "6"]);
        assert_eq!(restored(100, "5"), ["12345"]);
        assert_eq!(restored(100, "4"), ["123", "4"]);
        assert_eq!(restored(100, "3"), ["123"]);
        assert_eq!(restored(100, "2"), ["1", "2"]);
        assert!(restored(100, "").is_empty());
    }

    #[test]
    fn a_part_of_the_records_that_may_be_lost_is_lost_at_least_one_and_none_that_may_not() {
        assert_eq!(restored(1, ""), ["12345"]);
        assert_eq!(restored(50, ""), ["123"]);
        assert_eq!(restored(100, "4"), ["123", "4"]);
        assert_eq!(restored(1, "6"), ["12345", "6"]);
    }

    #[test]
    fn records_that_are_added_to_an_older_copy_stand_behind_it() {
        let mut disk = disk();
        disk.restore(100, |record| *record != *b"4");
        disk.add("7".into());
        assert_eq!(texts(&disk), ["123", "4", "7"]);
        disk.restore(100, |_| true);
        assert!(disk.records.is_empty());
    }
}
