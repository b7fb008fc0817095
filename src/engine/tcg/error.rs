//! What can be wrong on the host's side before the guest runs.

use std::{ffi::OsString, io, path::PathBuf};

use firmware_less::{plan::FileId, range::GuestRange};
use thiserror::Error;

use super::{count::Error as CountError, rom::Error as StateError};

/// Why the TCG engine can't run a plan.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// No QEMU.
    #[error("{} not found, try: apt-get install qemu-system-x86", program.display())]
    NoQemu {
        /// What was looked for.
        program: OsString,
    },
    /// QEMU is there but does not start.
    #[error("can't start {}", path.display())]
    Start {
        /// The program.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program does not say which QEMU it is.
    #[error("{} --version said {said:?}, need \"QEMU emulator version …\"", path.display())]
    NotQemu {
        /// The program.
        path: PathBuf,
        /// The first line of what it said.
        said: String,
    },
    /// Guest RAM can't be had.
    #[error("can't make a memory file of {size:#x} bytes")]
    Memory {
        /// How much RAM the machine has.
        size: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The boot ROM or a channel to QEMU can't be had.
    #[error("can't make {what}")]
    Channel {
        /// Which.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// RAM that the guest would not see.
    #[error("{name} at {at} lies behind QEMU's ROM at {rom}")]
    BehindRom {
        /// Which placement.
        name: &'static str,
        /// Where it is.
        at: GuestRange,
        /// What hides it.
        rom: GuestRange,
    },
    /// Bytes that can't be put into guest RAM.
    #[error("can't fill {name}")]
    Fill {
        /// Which placement.
        name: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that can't be copied into guest RAM.
    #[error("{}: can't copy it to {name}", path.display())]
    Copy {
        /// The file.
        path: PathBuf,
        /// Which placement it was for.
        name: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that became shorter after it was opened.
    #[error(
        "{}: ends at {found:#x}, had at least {wanted:#x} bytes when it was opened",
        path.display()
    )]
    Shrunk {
        /// The file.
        path: PathBuf,
        /// Where the wanted part ends.
        wanted: u64,
        /// Where the file ends.
        found: u64,
    },
    /// The plan names a file that the job doesn't have.
    #[error("the plan wants file {} for {name}, which the job does not have", file.0)]
    NoFile {
        /// Which placement it was for.
        name: &'static str,
        /// Its number.
        file: FileId,
    },
    /// The guest's instructions can't be counted.
    #[error("can't count the guest's instructions")]
    Count(#[from] CountError),
    /// QEMU's replay log can't be read.
    #[error("can't read QEMU's replay log")]
    ReplayLog(#[source] io::Error),
    /// The plan's CPU state can't be entered.
    #[error("no boot ROM leads to the plan's CPU state")]
    State(#[from] StateError),
}
