//! What happens in a run, told as it happens.

use serde::Serialize;

use crate::{outcome::End, timeline::Milestone, verdict::Mark};

/// Something that happened. Times are in microseconds since the start of `main`.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum News {
    /// A milestone that the engine or the program sees.
    Milestone {
        /// Which.
        name: Milestone,
        /// When.
        at_us: u64,
    },
    /// Something that a line on the console told.
    Console(Mark),
    /// A byte on the milestone port.
    GuestMilestone {
        /// The byte.
        value: u8,
        /// When.
        at_us: u64,
    },
    /// The run is over.
    End {
        /// How it ended.
        outcome: End,
        /// When.
        at_us: u64,
    },
}
