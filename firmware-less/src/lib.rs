//! What firmware and its boot stub would have done for a Unified Kernel Image,
//! as pure data: no KVM, no unsafe code, no clock, no files.
#![forbid(unsafe_code)]

pub mod cpu_state;
pub mod e820;
pub mod file_format;
pub mod kernel;
pub mod machine;
pub mod plan;
pub mod range;
pub mod read_at;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod uki;
