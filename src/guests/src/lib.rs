//! The machine code of ukivm's own guests.
//!
//! It is assembled when this crate is built (`build/`), so that neither an
//! assembler nor a binary file is needed to have it.
#![forbid(unsafe_code)]

pub mod machine;

/// The probe: reports over the serial port what a kernel in its place was handed,
/// and powers off.
///
/// It goes where the 64-bit entry of a kernel is, and may lie at any address. It
/// says a line for each thing, `probe: NAME=HEX`: numbers with 16 digits, memory
/// byte by byte as it lies, digests (SHA-256) likewise. The last line is
/// `probe: end=`. Apart from [`machine::SCRATCH_END`]'s it writes to no memory, so
/// all that it was handed stays as it was.
pub const PROBE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/probe"));
