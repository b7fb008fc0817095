//! The devices that the user attached to the machine: what they stand on is open, and known
//! to be right, before there is a guest. Both engines make the same devices of it, each in
//! the same slot.

mod described;
mod disk;

use std::io;

use firmware_less::pci::Kind;

pub use self::{
    described::{Described, DescribedDisk},
    disk::{Disk, Error},
};
use crate::{
    cli::{DeviceOptions, DiskOption},
    devices::virtio::{Device, Random},
    error,
    files::Files,
};

/// What was attached.
#[derive(Debug, Default)]
pub struct Attached {
    /// The disks, in the order in which they were named.
    pub disks: Vec<Disk>,
}

/// What `options` put on the PCI bus, in order.
///
/// Where there is anything, a source of random numbers is the last: a guest that has disks has
/// keys to make.
#[must_use]
pub fn kinds(options: &DeviceOptions) -> Vec<Kind> {
    let mut kinds = vec![Kind::Disk; options.disk.len()];
    if !kinds.is_empty() {
        kinds.push(Kind::Random);
    }
    kinds
}

impl Attached {
    /// Opens what `options` name. None of `files`, which are read, may be written to.
    pub fn open(options: &DeviceOptions, files: &Files) -> Result<Self, error::Error> {
        let mut disks: Vec<Disk> = Vec::new();
        for option in &options.disk {
            let failed = |source| error::Error::Disk { path: option.path.clone(), source };
            let ephemeral = options.ephemeral || option.ephemeral;
            let option = DiskOption { ephemeral, ..option.clone() };
            let disk = Disk::open(&option, &disks).map_err(failed)?;
            if disk.is_written() && files.iter().any(|file| disk.is_in(&file.file)) {
                return Err(error::Error::SameFile { path: disk.path });
            }
            disks.push(disk);
        }
        Ok(Self { disks })
    }

    /// The devices in the order of [`kinds`], for an engine that has none of its own.
    pub fn devices(&self) -> io::Result<Vec<Box<dyn Device>>> {
        let mut devices: Vec<Box<dyn Device>> = Vec::new();
        for (number, disk) in self.disks.iter().enumerate() {
            devices.push(Box::new(disk.device(number)?));
        }
        if !devices.is_empty() {
            devices.push(Box::new(Random));
        }
        Ok(devices)
    }
}
