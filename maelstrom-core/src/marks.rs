//! Marks: rare and interesting events that a handler reports, for tests.
//!
//! A sweep of thousands of seeds says nothing about a branch that no seed reaches. A handler marks
//! such a branch with [`Node::mark`](crate::Node::mark). A sweep then reports which marks its seeds
//! reached, how often, and which seed was the first. The idea is that of marks in TigerBeetle's
//! tests and of `sometimes` assertions.

/// The marks of a node that its driver has not taken yet.
///
/// If the driver does not ask for marks, each mark costs one comparison.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// `None`: the driver did not ask for marks.
    reached: Option<Vec<&'static str>>,
}

impl Marks {
    pub(crate) fn record(&mut self) {
        self.reached.get_or_insert_default();
    }

    pub(crate) fn mark(&mut self, name: &'static str) {
        if let Some(reached) = &mut self.reached {
            reached.push(name);
        }
    }

    pub(crate) fn take(&mut self) -> Vec<&'static str> {
        self.reached.as_mut().map(std::mem::take).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_kept_only_where_they_are_asked_for_and_taken_once() {
        let mut marks = Marks::default();
        marks.mark("before");
        assert!(marks.take().is_empty());
        marks.record();
        marks.mark("a");
        marks.mark("b");
        marks.record();
        assert_eq!(marks.take(), ["a", "b"]);
        assert!(marks.take().is_empty());
    }
}
