//! What firmware and its boot stub would have done for a Unified Kernel Image,
//! as pure data: no KVM, no unsafe code, no clock, no files.
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    expect(clippy::arithmetic_side_effects, reason = "an overflow in a test fails it")
)]

pub mod acceptance;
pub mod acpi;
pub mod boot_params;
pub mod bytes;
pub mod cpu_state;
pub mod e820;
pub mod file_format;
pub mod handoff;
pub mod initrd;
pub mod inspection;
pub mod kernel;
pub mod layout;
pub mod machine;
pub mod page_tables;
pub mod pci;
pub mod plan;
pub mod range;
pub mod read_at;
pub mod reset_vector;
pub mod smbios;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod uki;
