//! The probe as a UKI.
//!
//! It has no code for firmware to run: that is systemd-stub's, and `ukify` adds it.

use super::{kernel::bzimage, pe};

/// The command line in it.
pub const CMDLINE: &str = "console=ttyS0 ukivm.probe";
const OSREL: &str = "ID=ukivm-probe\nNAME=\"ukivm probe\"\nPRETTY_NAME=\"ukivm probe\"\n";
/// An odd number of bytes, for which each digest takes another step.
const INITRD_LEN: usize = 4096 + 59;

/// The initrd in it: bytes of which none is like its neighbours.
#[must_use]
pub fn initrd() -> Vec<u8> {
    (0..251).cycle().step_by(7).take(INITRD_LEN).collect()
}

/// A UKI with the probe as its kernel.
#[must_use]
pub fn uki() -> Vec<u8> {
    pe::image(&[
        (".osrel", OSREL.into()),
        (".cmdline", CMDLINE.into()),
        (".initrd", initrd()),
        (".linux", bzimage()),
    ])
}
