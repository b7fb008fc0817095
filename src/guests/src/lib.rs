//! The machine code of ukivm's own guests.
//!
//! It is assembled when this crate is built (`build/`), so that neither an
//! assembler nor a binary file is needed to have it.
#![forbid(unsafe_code)]

pub mod kexec;
pub mod machine;

/// The probe: reports over the serial port what a kernel in its place was handed,
/// and powers off.
///
/// It goes where the 64-bit entry of a kernel is, and may lie at any address. It
/// says a line for each thing, `probe: NAME=HEX`: numbers with 16 digits, memory
/// byte by byte as it lies, digests (SHA-256) likewise. The last line is
/// `probe: end=`. Apart from memory below [`machine::SCRATCH_END`] it writes to none, so
/// all that it was handed stays as it was.
pub const PROBE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/probe"));

/// What makes a bzImage of [`PROBE`], for loaders that enter a kernel in other ways.
pub mod bzimage {
    /// Setup code, from 0x26c of the image on: for a BIOS's boot loader.
    pub const SETUP: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/probe-setup"));
    /// Protected-mode code up to the 64-bit entry, with the 32-bit entry at its start.
    pub const BEFORE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/probe-before"));
    /// What follows [`PROBE`](super::PROBE).
    pub const BEHIND: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/probe-behind"));
    /// `handover_offset`: of the entry of the EFI handover protocol.
    pub const HANDOVER: u32 = include!(concat!(env!("OUT_DIR"), "/probe-efi"));
}

/// A program that does a real kexec, process 1 of a Linux guest: a static ELF file.
///
/// It loads `/kernel` by `kexec_file_load(2)`, with `/initrd` if there is such a file
/// and with the command line that `/cmdline` holds to its last byte, and reboots into
/// it; [`kexec`] has what it says meanwhile. An initrd of these files and this program
/// as `/init` is all that the guest needs.
pub const KEXEC_INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kexec"));
