//! The devices that the user attached to the machine: what they stand on is open, and known
//! to be right, before there is a guest. Both engines make the same devices of it, each in
//! the same slot.

mod described;
mod disk;
mod network;

use std::io;

use firmware_less::pci::Kind;

pub use self::{
    described::{Described, DescribedDisk, DescribedNetwork},
    disk::{Disk, Error},
    network::{Error as NetworkError, Network},
};
use crate::{
    cli::{DeviceOptions, DiskOption, Plug},
    devices::virtio::{Device, Random},
    error,
    files::Files,
};

/// What was attached.
#[derive(Debug, Default)]
pub struct Attached {
    /// The disks, in the order in which they were named.
    pub disks: Vec<Disk>,
    /// The network cards, in the order in which they were named.
    pub networks: Vec<Network>,
}

/// What `options` put on the PCI bus, in order.
///
/// Where there is anything, a source of random numbers is the last: a guest that has disks has
/// keys to make.
#[must_use]
pub fn kinds(options: &DeviceOptions) -> Vec<Kind> {
    let mut kinds = vec![Kind::Disk; options.disk.len()];
    kinds.extend(vec![Kind::Network; options.net.len()]);
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
        let has_user = options.net.iter().any(|net| net.plug == Plug::User);
        if let Some(port) = options.publish.first().filter(|_| !has_user) {
            return Err(error::Error::NothingToPublish { port: *port });
        }
        Ok(Self { disks, networks: Network::all(options) })
    }

    /// Plugs in all network cards that are not. With `anew`, those too whose other end an
    /// engine had that was ended. Not for a process that is confined, unless all are.
    pub fn plug_in(&self, anew: bool) -> Result<(), (Plug, NetworkError)> {
        for network in &self.networks {
            network.plug_in(anew).map_err(|error| (network.plug.clone(), error))?;
        }
        Ok(())
    }

    /// The devices in the order of [`kinds`], for an engine that has none of its own.
    pub fn devices(&self) -> io::Result<Vec<Box<dyn Device>>> {
        let mut devices: Vec<Box<dyn Device>> = Vec::new();
        for (number, disk) in self.disks.iter().enumerate() {
            devices.push(Box::new(disk.device(number)?));
        }
        for (number, network) in self.networks.iter().enumerate() {
            devices.push(Box::new(network.device(number)?));
        }
        if !devices.is_empty() {
            devices.push(Box::new(Random));
        }
        Ok(devices)
    }
}
