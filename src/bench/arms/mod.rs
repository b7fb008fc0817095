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

use std::{ffi::OsString, path::PathBuf};

use super::arm::Arm;
use crate::engine::Kind;

/// The UKI as it is, by UEFI firmware and its own stub.
#[must_use]
pub fn firmware(engine: Kind) -> Box<dyn Arm> {
    Box::new(firmware::Firmware { engine })
}

/// QEMU's direct boot.
#[must_use]
pub fn qemu(engine: Kind) -> Box<dyn Arm> {
    Box::new(qemu::Qemu { engine })
}

/// Firecracker.
#[must_use]
pub fn firecracker(engine: Kind) -> Box<dyn Arm> {
    Box::new(firecracker::Firecracker { engine })
}

/// Cloud Hypervisor.
#[must_use]
pub fn cloud_hypervisor(engine: Kind) -> Box<dyn Arm> {
    Box::new(cloud_hypervisor::CloudHypervisor { engine })
}

/// A real kexec from a first kernel, which `program` boots when it is started with
/// `arguments`, those of `ukivm bench`, and a few more.
#[must_use]
pub fn kexec(engine: Kind, program: PathBuf, arguments: Vec<OsString>) -> Box<dyn Arm> {
    Box::new(kexec::Kexec::new(engine, program, arguments))
}
