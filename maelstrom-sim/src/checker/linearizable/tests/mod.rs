//! The checker against histories by hand, and against a naive one.

mod by_hand;
mod contracts;
mod dominance;
mod naive;
mod properties;
mod scale;

use super::*;
