//! Benchmarks of hand-offs: the same UKIs, booted again and again, by several arms,
//! taking turns.
//!
//! ```text
//!  A.efi, B.efi ─┐                    Schedule           Trial              Report
//!                ├──► Contenders ───► A B, B A, … ─────► phases, each ────► summaries,   ──► table, JSON,
//!  Arm ──────────┘    who takes part  whose turn it is   from when to when  comparisons      CSV, Markdown, HTML
//!  how it boots                                          and proof
//! ```
//!
//! - A [`Phase`] is a stretch of a boot, named by what is done in it, and ends at a
//!   moment that can be told from outside or by the arm itself.
//! - An [`Arm`] is a way to boot a UKI: ukivm's own hand-off, a real kexec, the
//!   firmware, another monitor. It makes one [`Trial`] when asked, in processes of
//!   its own, so that no trial inherits anything from another.
//! - A [`Trial`] is one boot: its phases, in nanoseconds or in guest instructions,
//!   and what proves that it was the right kernel and that it ended well. One that
//!   did not is no trial but an [`arm::Error`].
//! - The [`schedule`] says whose turn it is: warm-ups first, then rounds in which
//!   each takes part once, and every other round backwards, so that a host that
//!   grows slower or faster does so to all alike.
//! - [`statistics`] is arithmetic on numbers: no clock, no host, no randomness but
//!   from a fixed seed. The same trials give the same report, everywhere.

pub mod arm;
pub mod arms;
pub mod campaign;
pub mod clock;
pub(crate) mod count;
pub mod formats;
pub mod host;
pub mod judge;
pub mod phase;
mod process;
pub mod report;
pub mod schedule;
pub mod statistics;
pub mod trial;

pub use arm::{Arm, Mode, Request, Subject, Until, Why};
pub use phase::{Metric, Phase};
pub use trial::{Proof, Span, Trial, Unit};
