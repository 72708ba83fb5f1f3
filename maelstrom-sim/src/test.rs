//! A test: a workload, and the options that any test has.

use std::any::Any;
use std::sync::Arc;

use crate::options::Options;
use crate::workload::Workload;

/// A workload, and the options of its test.
///
/// ```
/// use maelstrom_sim::Test;
/// use maelstrom_sim::options::Options;
/// use maelstrom_sim::workload::Kafka;
///
/// let options = Options { rate: 100.0, seed: 7, ..Options::default() };
/// let test = Test::new(Kafka::default(), options)
///     .with_workload(|kafka: &mut Kafka| kafka.keys.key_count = 2);
/// assert_eq!((test.workload.name(), test.options.seed), ("kafka", 7));
/// ```
///
/// [`simulate`](crate::simulate::simulate) runs a test in virtual time.
#[derive(Clone, Debug)]
pub struct Test {
    /// The operations of the clients, and the checker of the history.
    pub workload: Arc<dyn Workload>,
    /// Nodes, time, rate, faults and the seed.
    pub options: Options,
}

impl Test {
    /// A test of this workload.
    #[must_use]
    pub fn new(workload: impl Workload, options: Options) -> Self {
        Self { workload: Arc::new(workload), options }
    }

    /// Changes the workload's own options. Sweeps draw some of these options for each seed, and
    /// keep the others.
    ///
    /// # Panics
    ///
    /// If the workload of the test is not a `W`.
    #[expect(clippy::panic, reason = "this is a mistake in a test")]
    #[must_use]
    #[track_caller]
    pub fn with_workload<W: Workload + Clone>(mut self, change: impl FnOnce(&mut W)) -> Self {
        let any: &dyn Any = self.workload.as_ref();
        let Some(mut workload) = any.downcast_ref::<W>().cloned() else {
            panic!(
                "the test is of {}, not of {}",
                self.workload.name(),
                std::any::type_name::<W>()
            );
        };
        change(&mut workload);
        self.workload = Arc::new(workload);
        self
    }
}
