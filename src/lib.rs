//! ukivm boots a Unified Kernel Image in a virtual machine with no firmware.

pub mod devices;
pub mod engine;
pub mod exit;
pub mod files;
pub mod outcome;
pub mod session;
