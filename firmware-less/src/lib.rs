//! What firmware and its boot stub would have done for a Unified Kernel Image,
//! as pure data: no KVM, no unsafe code, no clock, no files.
//!
//! # From a UKI to a plan
//!
//! A [`Reading`](uki::Reading) says what of a file the kernel is handed, a
//! [hand-off](handoff) where that goes, and a [`BootPlan`](plan::BootPlan) is all that a
//! virtual machine needs to know before its first instruction.
//!
//! ```
//! use firmware_less::{
//!     acceptance::Accepted,
//!     handoff::kexec::{self, Flavour, Options, Platform},
//!     machine::Machine,
//!     uki::{Reading, handed::Choice},
//! };
//!
//! # let file = firmware_less::testing::uki()
//! #     .section(".cmdline", "quiet")
//! #     .section(".linux", firmware_less::testing::bzimage().build())
//! #     .build();
//! // `file` has the bytes of a UKI, or can be read by offset (`ReadAt`).
//! let Accepted { handed, kernel, .. } =
//!     Accepted::read(&file, Reading::Stub, &Choice::default())?;
//! assert!(handed.cmdline.starts_with(b"quiet "));
//!
//! let machine = Machine::new(512 << 20, 1)?;
//! let platform = Platform::of(&machine);
//! let options = Options { flavour: Flavour::Modern, seed: [7; 32] };
//! let plan = kexec::lay_out(&machine, platform, &kernel, &handed, &options)?.plan(None)?;
//!
//! print!("{plan}");
//! let kernel = plan.placement("kernel").ok_or("no kernel")?;
//! assert!(kernel.range.contains_address(plan.cpu().registers.rip));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The crate `ukivm` runs such a plan.
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
