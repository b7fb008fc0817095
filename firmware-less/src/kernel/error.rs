//! `Error`: why a kernel cannot be loaded.

use std::io;

use thiserror::Error;

use super::bzimage::{
    BOOT_FLAG, LOADED_HIGH, PREF_ADDRESS_MAX, VERSION_MIN, XLF_CAN_BE_LOADED_ABOVE_4G,
    XLF_KERNEL_64,
};
use crate::{file_format::FileFormat, range::PAGE};

/// Why a kernel cannot be loaded.
///
/// The first seven checks are those of `bzImage64_probe` in the kernel's
/// `arch/x86/kernel/kexec-bzimage64.c`, in its order; [`Error::SetupCut`] and
/// [`Error::LongerThanInitSize`] are what `bzImage64_load` and
/// `sanity_check_segment_list` (`kernel/kexec_core.c`) refuse. The rest is ours:
/// kexec's callers hand it kernels they trust.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read.
    #[error("the kernel cannot be read")]
    Read(#[from] io::Error),
    /// Nothing like a bzImage.
    #[error("the kernel is {found}, expected a bzImage{}", advice(*found))]
    NotBzImage {
        /// What it is.
        found: FileFormat,
    },
    /// A path to a kernel, as in lanzaboote's thin images.
    #[error("the section .linux holds the path of a kernel ({path:?}), expected a bzImage")]
    Path {
        /// The path.
        path: String,
    },
    /// Shorter than two sectors.
    #[error("the kernel has {found:#x} bytes, a bzImage has at least {need:#x}")]
    TooShort {
        /// Its length.
        found: u64,
        /// The least.
        need: u64,
    },
    /// No setup header.
    #[error("the kernel has {found:#010x} at 0x202, expected 0x53726448 (\"HdrS\")")]
    NoHeader {
        /// What is there.
        found: u32,
    },
    /// No boot sector.
    #[error("the kernel's boot_flag is {found:#06x}, expected {BOOT_FLAG:#06x}")]
    BootFlag {
        /// Its value.
        found: u16,
    },
    /// An old boot protocol.
    #[error(
        "the kernel speaks boot protocol {}, expected {} or later",
        protocol(*.found),
        protocol(VERSION_MIN)
    )]
    Version {
        /// Its version.
        found: u16,
    },
    /// A zImage.
    #[error(
        "the kernel's loadflags are {found:#x}, without LOADED_HIGH ({LOADED_HIGH:#x}): a zImage"
    )]
    NotLoadedHigh {
        /// Its flags.
        found: u8,
    },
    /// A 32-bit kernel.
    #[error(
        "the kernel's xloadflags are {found:#x}, without XLF_KERNEL_64 ({XLF_KERNEL_64:#x}): a \
         32-bit kernel"
    )]
    Not64Bit {
        /// Its flags.
        found: u16,
    },
    /// A kernel that must stay low.
    #[error(
        "the kernel's xloadflags are {found:#x}, without XLF_CAN_BE_LOADED_ABOVE_4G \
         ({XLF_CAN_BE_LOADED_ABOVE_4G:#x}): not relocatable"
    )]
    NotAbove4G {
        /// Its flags.
        found: u16,
    },
    /// Ends within its real-mode part.
    #[error("the kernel has {len:#x} bytes, its real-mode part alone has {kern16_size:#x}")]
    SetupCut {
        /// Its length.
        len: u64,
        /// The length of the real-mode part.
        kern16_size: u64,
    },
    /// Shorter than it says.
    #[error(
        "the kernel has {len:#x} bytes, its setup_sects and syssize make it {need:#x}: it is cut \
         short"
    )]
    Cut {
        /// Its length.
        len: u64,
        /// The length that its header gives.
        need: u64,
    },
    /// Room for nothing.
    #[error("the kernel's init_size is 0")]
    NoInitSize,
    /// Does not fit the room it asks for.
    #[error(
        "the kernel's protected-mode part has {len:#x} bytes, more than init_size makes room for: \
         {init_size:#x}"
    )]
    LongerThanInitSize {
        /// The length of the protected-mode part.
        len: u64,
        /// `init_size` rounded up to pages.
        init_size: u64,
    },
    /// An alignment that is none, or less than a page.
    #[error("kernel_alignment is {found:#x}, expected a power of two from {PAGE:#x} on")]
    Alignment {
        /// Its value.
        found: u32,
    },
    /// An address that no machine has.
    #[error("the kernel's pref_address is {found:#x}, expected at most {PREF_ADDRESS_MAX:#x}")]
    PrefAddress {
        /// Its value.
        found: u64,
    },
}

/// A version of the boot protocol as its documentation writes it.
#[must_use]
pub fn protocol(version: u16) -> String {
    format!("{}.{:02}", version >> 8, version & 0xff)
}

/// What to do about it, as the end of a sentence.
fn advice(found: FileFormat) -> &'static str {
    match found {
        FileFormat::Elf => ": give ukify the bzImage (arch/x86/boot/bzImage), not vmlinux",
        FileFormat::Compressed(_) => ": decompress it before giving it to ukify",
        FileFormat::Zboot => ": unpack it before giving it to ukify",
        _ => "",
    }
}
