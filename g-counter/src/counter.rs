//! The counter: a row for each writer. A writer is one life of one node, and only the writer
//! changes its row.
//!
//! The invariant: a row only grows, and its writer never takes back a total that it has sent. So of
//! two totals of a row the larger one is the newer one. The join of two replicas takes the larger
//! total of each row. Lost, repeated and late messages do no harm. (Shapiro, Preguiça, Baquero,
//! Zawirski, *A comprehensive study of convergent and commutative replicated data types*, 2011,
//! section 3.1.1.)

use std::collections::BTreeMap;

use maelstrom_core::Error;
use maelstrom_core::gossip::{Entry, Origin, State};
use serde::{Deserialize, Serialize};

/// The entry that a node appends: the present total of its row.
///
/// A total replaces all earlier totals of the row. So a node keeps one total for each row, and a
/// message has no more than that, at any rate of adds. No node ever needs a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total(pub u64);

impl Entry for Total {
    const CUMULATIVE: bool = true;

    fn encoded_len(&self) -> usize {
        const COMMA: u32 = 1;
        let digits = self.0.checked_ilog10().unwrap_or(0).saturating_add(1);
        usize::try_from(digits.saturating_add(COMMA)).unwrap_or(usize::MAX)
    }
}

/// Estimated size of a row in a record, in bytes.
const ROW_BYTES: usize = 96;

/// A sum of rows, none of which ever shrinks.
#[derive(Clone, Debug, Default)]
pub struct Counter {
    rows: BTreeMap<Origin, u64>,
    /// Always the sum of `rows`.
    sum: u128,
}

impl Counter {
    /// The sum, exact: 2⁶⁴ rows would have to be full for it to overflow.
    #[must_use]
    pub fn sum(&self) -> u128 {
        self.sum
    }

    /// The total of a row, as far as this replica knows.
    #[must_use]
    pub fn row(&self, row: &Origin) -> u64 {
        self.rows.get(row).copied().unwrap_or(0)
    }

    /// Number of rows.
    #[must_use]
    pub fn row_count(&self) -> usize {
        self.rows.len()
    }
}

impl State for Counter {
    type Entry = Total;
    /// There are no snapshots.
    type Piece = ();

    fn apply(&mut self, row: &Origin, totals: Vec<Total>) {
        for Total(total) in totals {
            if let Some(growth) = total.checked_sub(self.row(row)).filter(|growth| *growth > 0) {
                self.sum = self.sum.saturating_add(growth.into());
                self.rows.insert(row.clone(), total);
            }
        }
    }

    fn piece(&self, _position: u64, _bytes_max: usize) -> ((), Option<u64>) {
        ((), None)
    }

    fn bytes(&self) -> usize {
        self.rows.len().saturating_mul(ROW_BYTES)
    }

    /// Refuses a snapshot. If it did not, this node would believe that it has entries that it
    /// lacks.
    fn merge(&mut self, _pieces: Vec<()>) -> Result<(), Error> {
        Err(Error::malformed_request("field `piece`: a counter has no snapshots"))
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow makes a test fail, and shall")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origin(node: usize, incarnation: u64) -> Origin {
        Origin { node: format!("n{node}").into(), incarnation }
    }

    /// Up to seven rows, each as the list of its adds.
    fn any_adds() -> impl Strategy<Value = Vec<Vec<u64>>> {
        let delta = prop_oneof![0..5_u64, Just(u64::MAX / 32), any::<u32>().prop_map(u64::from)];
        prop::collection::vec(prop::collection::vec(delta, 1..12), 1..8)
    }

    /// The row's totals after each of its adds.
    fn totals(adds: &[u64]) -> Vec<u64> {
        let next = |sum: &mut u64, delta: &u64| {
            *sum += delta;
            Some(*sum)
        };
        adds.iter().scan(0, next).collect()
    }

    proptest! {
        #[test]
        fn rows_make_the_sum_in_any_order_whatever_is_lost_or_comes_twice(
            adds in any_adds(),
            deliveries in prop::collection::vec((any::<prop::sample::Index>(), 0..12_usize), 0..80),
        ) {
            let rows: Vec<Vec<u64>> = adds.iter().map(|adds| totals(adds)).collect();
            let mut counter = Counter::default();
            let mut naive = vec![0; rows.len()];
            // Totals of any row in any order. Some never come, some come twice, and some come
            // before earlier ones. In the end comes the last total of each row.
            let ends = (0..rows.len()).map(|n| (n, usize::MAX));
            let some = deliveries.iter().map(|(row, at)| (row.index(rows.len()), *at));
            for (n, at) in some.chain(ends) {
                let total = rows[n][at.min(rows[n].len() - 1)];
                counter.apply(&origin(n / 2, n as u64), vec![Total(total)]);
                naive[n] = total.max(naive[n]);
                prop_assert_eq!(counter.sum(), naive.iter().copied().map(u128::from).sum());
            }
            let all = adds.iter().flatten().copied().map(u128::from).sum::<u128>();
            prop_assert_eq!(counter.sum(), all);
        }

        #[test]
        fn an_entry_is_about_as_long_as_it_says(total: u64) {
            let text = serde_json::to_string(&Total(total)).unwrap();
            prop_assert_eq!(text.len() + 1, Total(total).encoded_len());
            prop_assert_eq!(serde_json::from_str::<Total>(&text).unwrap(), Total(total));
        }
    }

    #[test]
    fn full_rows_make_a_sum_beyond_64_bits() {
        let mut counter = Counter::default();
        for n in 0..3 {
            counter.apply(&origin(n, 1), vec![Total(5), Total(u64::MAX)]);
        }
        assert_eq!(counter.sum(), 3 * u128::from(u64::MAX));
        assert_eq!(counter.row_count(), 3);
        assert_eq!(counter.row(&origin(2, 1)), u64::MAX);
    }

    #[test]
    fn there_are_no_snapshots() {
        let mut counter = Counter::default();
        assert_eq!(counter.piece(0, 1), ((), None));
        assert!(counter.merge(vec![()]).is_err());
    }
}
