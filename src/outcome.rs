//! How a run ended, and the exit status that says so.

use std::fmt;

use serde::{Deserialize, Serialize};

pub use crate::exits::Exits;

/// Where the guest asked for a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResetBy {
    /// The ACPI reset register, port 0xcf9.
    ResetRegister,
    /// The keyboard controller, 0xfe to port 0x64.
    KeyboardController,
    /// The engine can't tell which.
    Unknown,
}

/// A signal that ends a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Signal {
    /// ^C where it is ours, or the escape key.
    Int,
    /// `kill`.
    Term,
    /// The terminal went away.
    Hup,
}

/// How a run ended. What the guest did is never an error of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum End {
    /// ACPI S5.
    PowerOff,
    /// The guest asked for a reset.
    Reset {
        /// By which means.
        by: ResetBy,
    },
    /// The guest wrote its own status to the exit port.
    Status {
        /// The byte it wrote.
        status: u8,
    },
    /// The kernel panicked.
    Panic,
    /// A triple fault (KVM_EXIT_SHUTDOWN).
    TripleFault,
    /// The time limit passed.
    TimeLimit,
    /// The time limit for userspace to start passed.
    BootLimit,
    /// Nothing on the console for the time allowed.
    Silence,
    /// Every vCPU was halted with interrupts off: nothing can wake the guest.
    Halted,
    /// The verdict stands, and the guest had time to make it a worse one.
    Decided,
    /// The user or the system ended it.
    Interrupted {
        /// By which signal.
        signal: Signal,
    },
    /// Nobody reads our standard output any more.
    ConsoleClosed,
    /// The engine failed under the guest.
    EngineFailure {
        /// What it said.
        reason: String,
    },
}

impl End {
    /// The exit status of `ukivm run`; [`crate::exit`] has the table.
    #[must_use]
    pub fn run_status(&self) -> u8 {
        match self {
            Self::PowerOff | Self::Reset { .. } | Self::Decided => 0,
            Self::Status { status } => (*status).min(crate::exit::GUEST_STATUS_MAX),
            Self::Panic => crate::exit::PANIC,
            Self::TripleFault => crate::exit::TRIPLE_FAULT,
            Self::TimeLimit | Self::BootLimit => crate::exit::TIME_LIMIT,
            Self::Silence | Self::Halted => crate::exit::SILENCE,
            Self::Interrupted { signal } => crate::exit::of_signal(*signal),
            Self::ConsoleClosed => crate::exit::IO,
            Self::EngineFailure { .. } => crate::exit::ENGINE_FAILURE,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PowerOff => f.write_str("power-off"),
            Self::Reset { .. } => f.write_str("reset"),
            Self::Status { status } => write!(f, "status {status}"),
            Self::Panic => f.write_str("panic"),
            Self::TripleFault => f.write_str("triple fault"),
            Self::TimeLimit => f.write_str("time limit"),
            Self::BootLimit => f.write_str("time limit before userspace"),
            Self::Silence => f.write_str("silence"),
            Self::Halted => f.write_str("halted for good"),
            Self::Decided => f.write_str("ended by us, all that was wanted being seen"),
            Self::Interrupted { .. } => f.write_str("interrupted"),
            Self::ConsoleClosed => f.write_str("console closed"),
            Self::EngineFailure { reason } => write!(f, "engine failure: {reason}"),
        }
    }
}

impl End {
    /// Whether the guest had not ended, and nobody knows what it was at.
    #[must_use]
    pub fn is_hang(&self) -> bool {
        matches!(self, Self::TimeLimit | Self::BootLimit | Self::Silence | Self::Halted)
    }
}

/// What is worth printing about a guest that crashed or an engine that failed:
/// exit reason by name, registers, the bytes at RIP, the placement RIP lies in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CrashReport {
    /// Lines ready for a person.
    pub lines: Vec<String>,
}

/// What a vCPU was at, at one moment of a guest that hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Which vCPU.
    pub cpu: u32,
    /// Its instruction pointer.
    pub rip: u64,
    /// It waited for an interrupt (HLT), or to be started.
    pub is_halted: bool,
    /// It would have taken an interrupt (RFLAGS.IF).
    pub takes_interrupts: bool,
}

impl Sample {
    /// Whether no interrupt could wake it. An NMI could, which only another vCPU
    /// sends here.
    #[must_use]
    pub fn is_stopped_for_good(&self) -> bool {
        self.is_halted && !self.takes_interrupts
    }
}

/// A write to an I/O port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortWrite {
    /// The port.
    pub port: u16,
    /// What was written.
    pub value: u32,
}

/// What an engine reports at the end of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// Exits by kind; `None` where the engine can't count them.
    pub exits: Option<Exits>,
    /// For a crash or a failure.
    pub crash: Option<CrashReport>,
    /// For a guest that hangs: ten or more of each vCPU, while it ran.
    pub samples: Vec<Sample>,
    /// The guest's last write to an I/O port; `None` also where the engine can't
    /// tell.
    pub last_write: Option<PortWrite>,
    /// For a guest that hangs: where its interrupt descriptor table says that the
    /// handler of page faults is, a linear address.
    pub page_fault_handler: Option<u64>,
}
