//! A million files changed by chance: no reader of them panics, reads past their
//! end, or takes more memory than twice the file.
//!
//! A binary of its own with one test in it: memory is counted for the whole
//! process.
#![expect(clippy::arithmetic_side_effects, reason = "a test stops at an overflow")]

#[cfg(test)]
mod million;
#[cfg(test)]
mod subject;
