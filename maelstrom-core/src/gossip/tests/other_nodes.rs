//! Tests clusters that start with the records of an earlier run: with other names, with more nodes,
//! or with fewer.

use std::collections::BTreeSet;

use super::*;

type Folder = Vec<Vec<u8>>;

/// A finished run.
struct Past<S: Values> {
    cluster: Cluster<S>,
    /// The values that each node has appended. It told no other node the last of them.
    own: Vec<BTreeSet<u32>>,
}

impl<S: Values> Past<S> {
    fn new(size: usize) -> Self {
        let cluster = Cluster::new(size as u64, size, Config::default(), steady(10));
        let mut past = Self { cluster, own: vec![BTreeSet::new(); size] };
        for _ in 0..3 {
            past.append_everywhere();
            past.cluster.run_for(secs(3));
        }
        past.cluster.assert_converged();
        past.append_everywhere();
        past
    }

    fn append_everywhere(&mut self) {
        for (index, own) in self.own.iter_mut().enumerate() {
            own.insert(self.cluster.append(index));
        }
    }

    /// A new run. Each node has the folder of a node of this run, or an empty one.
    fn next_run(&self, folders: &[Option<usize>]) -> Cluster<S> {
        let folder = |from: &Option<usize>| from.map(|from| self.cluster.records(from));
        let folders: Vec<Folder> =
            folders.iter().map(|from| folder(from).unwrap_or_default()).collect();
        self.cluster.next_run(folders)
    }
}

/// Asserts that all nodes append, and that every node gets everything. Each node has begun a log
/// under its current name.
fn assert_works<S: Values>(cluster: &mut Cluster<S>) {
    for index in 0..cluster.size() {
        cluster.append(index);
        assert_eq!(cluster.engine(index).origin.node, name(index));
    }
    cluster.run_for(bound(cluster));
    cluster.assert_converged();
    cluster.run_for(secs(60));
    assert_eq!(cluster.messages_in(secs(60)), 0);
}

fn loses_nothing_with<S: Values>(size: usize, folders: &[Option<usize>]) {
    let past = Past::<S>::new(size);
    let mut cluster = past.next_run(folders);
    cluster.run_for(bound(&cluster));
    cluster.assert_converged();
    assert_works(&mut cluster);
}

fn lose_nothing_with(size: usize, folders: &[Option<usize>]) {
    loses_nothing_with::<Set>(size, folders);
    loses_nothing_with::<Sums>(size, folders);
    loses_nothing_with::<monotonic::Whole>(size, folders);
}

#[test]
fn nodes_that_swap_names_lose_nothing() {
    lose_nothing_with(2, &[Some(1), Some(0)]);
    lose_nothing_with(3, &[Some(1), Some(2), Some(0)]);
}

#[test]
fn a_node_with_a_new_name_loses_nothing_nor_does_an_empty_one_that_gets_its_old_name() {
    lose_nothing_with(1, &[None, Some(0)]);
    lose_nothing_with(2, &[Some(0), None, Some(1)]);
}

#[test]
fn nodes_that_are_added_get_everything() {
    lose_nothing_with(1, &[Some(0), None]);
    lose_nothing_with(3, &[Some(0), Some(1), Some(2), None, None]);
    // All other nodes have new names, and the added node is the hub.
    lose_nothing_with(3, &[None, Some(0), Some(1), Some(2)]);
}

#[test]
fn nodes_on_copies_of_one_folder_append_to_logs_of_their_own() {
    lose_nothing_with(1, &[Some(0), Some(0)]);
    lose_nothing_with(2, &[Some(0), Some(1), Some(1), Some(0)]);
}

/// A node that is alone continues the log of its earlier life.
#[test]
fn a_node_that_was_alone_in_between_loses_nothing() {
    let past = Past::<Set>::new(2);
    let mut alone = past.next_run(&[Some(0)]);
    let origin = past.cluster.engine(0).origin.clone();
    assert_eq!(alone.engine(0).origin, origin);
    alone.append(0);
    let folders = vec![alone.records(0), past.cluster.records(1)];
    let mut cluster = alone.next_run(folders);
    assert_ne!(cluster.engine(0).origin, origin);
    cluster.run_for(bound(&cluster));
    cluster.assert_converged();
    assert_works(&mut cluster);
}

/// The values that all nodes have some time after they started without the last node.
fn without_the_last<S: Values>(past: &Past<S>) -> (Cluster<S>, BTreeSet<u32>) {
    let left: Vec<_> = (0..past.cluster.size() - 1).map(Some).collect();
    let mut cluster = past.next_run(&left);
    cluster.run_for(bound(&cluster));
    let values = cluster.values(0);
    assert!(cluster.alive().all(|index| cluster.values(index) == values));
    (cluster, values)
}

#[test]
fn of_a_node_that_is_removed_stay_entries_that_others_have_on_record() {
    let past = Past::<Set>::new(3);
    let (_, values) = without_the_last(&past);
    assert_eq!(values, &past.own[0] | &past.own[1]);
    // If the state is monotonic, these are all values that the others were told.
    let past = Past::<monotonic::Whole>::new(3);
    let (_, values) = without_the_last(&past);
    let untold = past.own[2].last().unwrap();
    let told: BTreeSet<u32> =
        past.cluster.appended.iter().copied().filter(|value| value != untold).collect();
    assert_eq!(values, told);
}

#[test]
fn a_node_that_was_removed_and_comes_back_under_any_name_brings_all_that_it_had() {
    let past = Past::<Set>::new(3);
    let (cluster, _) = without_the_last(&past);
    for place in 0..3 {
        let mut folders: Vec<_> = (0..2).map(|index| cluster.records(index)).collect();
        folders.insert(place, past.cluster.records(2));
        let mut cluster = cluster.next_run(folders);
        cluster.run_for(bound(&cluster));
        cluster.assert_converged();
        assert_works(&mut cluster);
    }
}
