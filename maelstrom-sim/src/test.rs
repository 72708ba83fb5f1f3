//! A test: a workload, and the options of any test.

use std::any::Any;
use std::sync::Arc;

use crate::options::Options;
use crate::workload::Workload;

/// A workload, and the options of a test of it.
#[derive(Clone, Debug)]
pub struct Test {
    /// It decides what clients do, and how the history is judged.
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

    /// Changes the workload's own options. Sweeps draw some of these options for each seed; the others
    /// stay as they are.
    ///
    /// # Panics
    ///
    /// If the test is of another workload than `W`.
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
