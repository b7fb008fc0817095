//! The ways that are not ukivm's own to boot a UKI.
//!
//! Each gives another program the kernel, initrd and command line that ukivm would
//! hand over, or the UKI itself, and listens to the guest's serial port on that
//! program's standard output. What it can tell apart from there are its phases; what
//! a guest prints is held against what was to be booted.

mod cloud_hypervisor;
mod console;
mod firecracker;
mod firmware;
mod judge;
pub(crate) mod kexec;
mod parts;
mod peer;
mod program;
mod qemu;
mod scratch;

pub use self::{
    cloud_hypervisor::CloudHypervisor, firecracker::Firecracker, firmware::Firmware, kexec::Kexec,
    qemu::Qemu,
};
