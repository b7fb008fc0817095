//! What stands in the way of a hand-off, and what merely deserves a word.

use thiserror::Error;

use super::params::ELFCOREHDR_SLOT;

/// Why a kernel can't be handed over like this.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A command line over kexec's limit.
    #[error(
        "the command line has {len} bytes, kexec takes {max}: the kernel's cmdline_size {cmdline_size} \
         less 1 for the NUL and {ELFCOREHDR_SLOT} for the elfcorehdr= slot"
    )]
    CmdlineTooLong {
        /// Its bytes, without NUL.
        len: u64,
        /// The most that kexec takes.
        max: u64,
        /// What the kernel's header says.
        cmdline_size: u64,
    },
    /// A NUL inside the command line.
    #[error("the command line has a NUL at byte {at}, and would end there")]
    CmdlineNul {
        /// Where.
        at: usize,
    },
    /// A kernel that can't be entered with five-level paging.
    #[error(
        "the kernel's xloadflags are {xloadflags:#x}, without XLF_5LEVEL: it can't be entered with five-level paging"
    )]
    NoFiveLevel {
        /// What its header says.
        xloadflags: u16,
    },
    /// No room for a segment.
    #[error(
        "no room for {name}: it needs {len:#x} bytes of free RAM at or above {min:#x}, aligned to \
         {align:#x}"
    )]
    NoRoom {
        /// Which segment.
        name: &'static str,
        /// Its bytes.
        len: u64,
        /// Its alignment.
        align: u64,
        /// The lowest address it may have.
        min: u64,
    },
    /// Page tables too large for low memory.
    #[error(
        "page tables need {len:#x} bytes, there is room for {room:#x} in low memory; 1 GiB leaves need less"
    )]
    PageTables {
        /// Bytes needed.
        len: u64,
        /// Bytes there are.
        room: u64,
    },
}

/// What a real kexec would refuse though this one can do it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// kernel/kexec_core.c `sanity_check_segment_list`.
    #[error(
        "a real kexec would refuse this: its segments take {total:#x} bytes, more than half of \
         {memory:#x} bytes of RAM"
    )]
    OverHalfOfRam {
        /// All segments together.
        total: u64,
        /// RAM.
        memory: u64,
    },
}
