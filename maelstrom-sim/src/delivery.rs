//! The fate of single messages, where a test fixes it.

use std::time::Duration;

/// The fate of one message between servers. [`Exhaustive`](crate::sweep::Exhaustive) shows it in
/// use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Delivers it after its latency.
    #[default]
    Prompt,
    /// Delivers it this much later, so that messages sent later overtake it.
    Late(Duration),
    /// Loses it.
    Lost,
    /// Delivers it twice.
    Twice,
}

impl Delivery {
    /// How many copies arrive.
    pub(crate) fn copies(self) -> usize {
        match self {
            Self::Lost => 0,
            Self::Prompt | Self::Late(_) => 1,
            Self::Twice => 2,
        }
    }
}
