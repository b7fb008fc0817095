//! What a run comes to, from what the guest's console says and how it ended.
//!
//! ```text
//!  bytes ──► line ──► matcher ──► scanner (findings) ──┐
//!            clean    tables:     proof (expects)  ────┼──► rules ──► Verdict
//!            lines    patterns    signs (milestones) ──┘    order     exit status
//!                     signs                    End ───────────┘
//! ```
//!
//! There is no clock here: times are passed in, counted from the start of `main`.

mod conclusion;
pub(crate) mod consoles;
mod expression;
pub mod formats;
mod limits;
mod line;
pub mod lists;
mod matcher;
mod patterns;
mod proof;
pub mod report;
pub mod rules;
mod said;
mod scanner;
mod sight;
mod signs;
pub mod silence;
mod watch;

#[cfg(test)]
mod tests;

pub use conclusion::{Conclusion, Ending, conclude};
pub use expression::{Expression, Invalid};
pub use limits::{EMULATION_FACTOR, Limits};
pub use line::{CARRY, LINE_MAX, Line, Lines};
pub use patterns::{PATTERNS, Pattern, Severity, Speaker};
pub use proof::{Criterion, Goal, Proof};
pub use said::Saying;
pub use scanner::{Finding, RECENT};
pub use watch::{Mark, MarkName, Policy, Watch};
