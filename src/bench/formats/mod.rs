//! The report for people and for other programs.

mod amount;
mod human;
mod waterfall;

pub use amount::{amount, ratio};
pub use human::{human, versus};
