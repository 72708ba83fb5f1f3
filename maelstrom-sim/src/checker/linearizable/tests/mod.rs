//! Tests the checker with hand-written histories, and against a naive checker.

mod by_hand;
mod contracts;
mod dominance;
mod naive;
mod properties;
mod scale;

use super::*;
