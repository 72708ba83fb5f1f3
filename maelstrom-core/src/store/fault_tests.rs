//! The reaction of a node to each error of the disk.

#![expect(clippy::arithmetic_side_effects, reason = "an overflow makes a test fail, and shall")]

use std::cell::Cell;
use std::fs;
use std::path::Path;

use super::faulty::{Call, fill_disk};
use super::tests::{add, batch, complete, files, folder_with, found, open, part, read};
use super::*;

fn is_new(path: &Path, _: Call) -> bool {
    path.extension().is_some_and(|extension| extension == NEW_EXTENSION)
}

fn never(_: &Path, _: Call) -> bool {
    false
}

fn always(_: &Path, _: Call) -> bool {
    true
}

/// The disk has room for the journal alone, but not while the file of a snapshot exists.
fn journal_while_there_is_another(path: &Path, call: Call) -> bool {
    !is_new(path, call) && path.with_extension(NEW_EXTENSION).exists()
}

/// The same, but only a sync reports it.
fn sync_while_there_is_another(path: &Path, call: Call) -> bool {
    call == Call::Sync && journal_while_there_is_another(path, call)
}

/// A store with 100 records that has begun to write a snapshot, with one part added.
fn replacing() -> (tempfile::TempDir, Store) {
    let dir = folder_with(100);
    let mut store = open(dir.path()).unwrap();
    read(&mut store).unwrap();
    store.begin_snapshot();
    add(&mut store, Ok(part("one")), false);
    assert!(store.is_replacing());
    (dir, store)
}

/// Checks that the store goes on without a snapshot, accepts records, and wants a snapshot later.
fn goes_on(dir: &Path, mut store: Store, count: u32) {
    assert!(!store.is_replacing());
    assert_eq!(files(dir), ["records.count", FILE]);
    fill_disk(never);
    store.commit(&batch(count..count + 1)).unwrap();
    assert!(!store.is_worth_replacing(0), "not with the next record again");
    store.commit(&[vec![0; 3 << 20]]).unwrap();
    assert!(store.is_worth_replacing(1 << 10), "but later");
    drop(store);
    let mut all = batch(0..count + 1);
    all.push(vec![0; 3 << 20]);
    assert_eq!(found(dir).unwrap(), all);
}

#[test]
fn a_snapshot_for_which_the_disk_has_no_room_is_given_up() {
    // The disk fills up at the beginning, at a part, at the last part, at records between the
    // parts.
    let dir = folder_with(100);
    let mut store = open(dir.path()).unwrap();
    read(&mut store).unwrap();
    fill_disk(is_new);
    store.begin_snapshot();
    goes_on(dir.path(), store, 100);
    for is_last in [false, true] {
        let (dir, mut store) = replacing();
        fill_disk(is_new);
        add(&mut store, Ok(part("two")), is_last);
        goes_on(dir.path(), store, 100);
    }
    let (dir, mut store) = replacing();
    fill_disk(is_new);
    // These are more bytes than may wait for the next part.
    let large = vec![b'x'; 2 << 20];
    store.commit(std::slice::from_ref(&large)).unwrap();
    complete(&mut store);
    assert!(!store.is_replacing());
    assert_eq!(files(dir.path()), ["records.count", FILE]);
    drop(store);
    fill_disk(never);
    assert_eq!(found(dir.path()).unwrap(), [batch(0..100), vec![large]].concat());
}

#[test]
fn a_snapshot_gives_way_if_the_journal_has_no_room() {
    let (dir, mut store) = replacing();
    fill_disk(journal_while_there_is_another);
    store.commit(&batch(100..103)).unwrap();
    goes_on(dir.path(), store, 103);
}

/// After a sync has failed, a system may report the next one as a success without the data on disk.
#[test]
fn a_sync_that_failed_is_not_tried_again() {
    let (dir, mut store) = replacing();
    fill_disk(sync_while_there_is_another);
    assert!(matches!(store.commit(&batch(100..103)), Err(StoreError::Io { .. })));
    drop(store);
    fill_disk(never);
    let records = found(dir.path()).unwrap();
    assert!(records == batch(0..103) || records == batch(0..100));
}

#[test]
fn a_journal_that_has_no_room_ends_the_node_with_all_that_was_acknowledged() {
    // Once without a snapshot, and once with a snapshot that is given up first.
    let dir = folder_with(100);
    let mut store = open(dir.path()).unwrap();
    read(&mut store).unwrap();
    for (dir, mut store) in [(dir, store), replacing()] {
        fill_disk(always);
        let error = store.commit(&batch(100..101)).unwrap_err();
        assert!(matches!(error, StoreError::Io { .. }), "{error}");
        drop(store);
        fill_disk(never);
        assert_eq!(found(dir.path()).unwrap(), batch(0..100));
        assert_eq!(files(dir.path()), ["records.count", FILE]);
    }
}

/// A loss of power could bring the old file back, which lacks the records committed from now on.
#[test]
fn a_folder_that_cannot_be_synced_ends_the_node_before_anything_is_acknowledged() {
    let (dir, mut store) = replacing();
    store.sync_folder = |folder| {
        let source = io::ErrorKind::Other.into();
        Err(StoreError::Io { path: folder.to_owned(), source })
    };
    add(&mut store, Ok(part("two")), true);
    assert!(matches!(store.commit(&batch(100..101)), Err(StoreError::Io { .. })));
    drop(store);
    assert_eq!(found(dir.path()).unwrap(), [part("one"), part("two")].concat());
}

#[test]
fn a_file_that_cannot_be_removed_keeps_no_node_from_its_records() {
    let dir = folder_with(100);
    for left_over in ["records.new", "records.old"] {
        // The store cannot remove a folder where it expects a file.
        let folder = dir.path().join("n1").join(left_over);
        fs::create_dir(&folder).unwrap();
        let mut store = open(dir.path()).unwrap();
        assert_eq!(read(&mut store).unwrap(), batch(0..100));
        store.begin_snapshot();
        add(&mut store, Ok(part("all")), true);
        drop(store);
        fs::remove_dir(&folder).unwrap();
        assert_eq!(found(dir.path()).unwrap(), batch(0..100));
    }
}

thread_local! {
    /// Whether this is the node's thread.
    static IS_NODE: Cell<bool> = const { Cell::new(false) };
}

/// A sync can take arbitrarily long. The node waits for the sync of its journal, and for no other.
#[test]
fn a_snapshot_is_written_and_put_in_place_without_a_sync_on_the_nodes_thread() {
    let (dir, mut store) = replacing();
    IS_NODE.set(true);
    fill_disk(|path, call| is_new(path, call) && IS_NODE.get());
    store.sync_folder = |folder| {
        let source = io::ErrorKind::Other.into();
        let failed = || StoreError::Io { path: folder.to_owned(), source };
        if IS_NODE.get() { Err(failed()) } else { sync_folder(folder) }
    };
    add(&mut store, Ok(part("two")), false);
    store.add_part(Ok(part("three")), true);
    // These are more bytes than the node's thread writes itself after the last part.
    let large = vec![b'x'; 1 << 17];
    store.commit(std::slice::from_ref(&large)).unwrap();
    complete(&mut store);
    store.commit(&batch(100..101)).unwrap();
    drop(store);
    fill_disk(never);
    let snapshot = ["one", "two", "three"].map(part).concat();
    assert_eq!(found(dir.path()).unwrap(), [snapshot, vec![large], batch(100..101)].concat());
}

#[test]
fn records_that_come_while_parts_are_written_keep_their_place_whatever_their_size() {
    let (dir, mut store) = replacing();
    let mut all = part("one");
    for (number, bytes) in (100..).zip([10, 5 << 18, (8 << 20) + 1, 10]) {
        let name = number.to_string();
        store.add_part(Ok(part(&name)), false);
        let records = [batch(number..number + 1), vec![vec![b'x'; bytes]]].concat();
        store.commit(&records).unwrap();
        all.extend([part(&name), records].concat());
        complete(&mut store);
    }
    store.add_part(Ok(part("last")), true);
    store.commit(&batch(104..105)).unwrap();
    complete(&mut store);
    assert!(!store.is_replacing());
    drop(store);
    assert_eq!(found(dir.path()).unwrap(), [all, part("last"), batch(104..105)].concat());
}
