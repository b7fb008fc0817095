//! The ways a kernel is given what it is given: where things lie, what
//! `boot_params` says, and the CPU's state at the first instruction.

pub mod kexec;
