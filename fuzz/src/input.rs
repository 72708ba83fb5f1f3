//! Reads the bytes of a test case as choices.
//!
//! The invariant: any bytes are a valid case. A choice beyond the end is zero, and
//! [`Input::is_empty`] ends the case there. So a mutation in the middle of a case leaves the
//! choices before it unchanged.

/// A reader of choices.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// Reads these bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether no choice is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.rest.split_first().unwrap_or((&0, &[]));
        self.rest = rest;
        *first
    }

    /// A number below `end`. 0 if `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let byte = usize::from(self.byte());
        byte.checked_rem(end).unwrap_or(0)
    }

    /// True for one in `count` choices, if the bytes are evenly distributed.
    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == count - 1
    }

    /// One of these values.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}
