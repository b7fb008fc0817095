//! How long a guest may take.

use std::time::Duration;

/// How much slower an emulated guest may be.
pub const EMULATION_FACTOR: u32 = 5;

/// The limits of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For all of it, from the start of `main`.
    pub total: Option<Duration>,
    /// Until userspace has started, from the start of `main`.
    pub boot: Option<Duration>,
    /// Without a byte on the console, from the first instruction on.
    pub silence: Option<Duration>,
    /// For the guest to go on once the verdict stands: what it does then may still
    /// make it a worse one.
    pub settle: Duration,
}

impl Limits {
    /// The limits where nobody asks for others.
    pub const DEFAULT: Self = Self {
        total: Some(Duration::from_mins(2)),
        boot: Some(Duration::from_mins(1)),
        silence: Some(Duration::from_secs(30)),
        settle: Duration::from_secs(2),
    };
    /// Nothing is limited, nothing ends a run.
    pub const NONE: Self = Self { total: None, boot: None, silence: None, settle: Duration::MAX };
}
