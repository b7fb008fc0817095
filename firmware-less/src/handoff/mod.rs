//! The ways a kernel is given what it is given: where things lie, what
//! `boot_params` says, and the CPU's state at the first instruction.
//!
//! [`kexec`] is the one that is mirrored, byte for byte. [`direct`] takes all of it
//! over but the kernel, which it enters unpacked.

pub mod direct;
pub mod kexec;
mod laid_out;

pub use laid_out::LaidOut;
