//! The devices that the user attached to the machine: what they stand on is open, and known
//! to be right, before there is a guest. Both engines make the same devices of it, each in
//! the same slot.

mod described;
mod disk;
mod farewell;
mod network;
mod qcow2;
mod share;

use std::{io, os::fd::OwnedFd, path::PathBuf};

use firmware_less::pci::Kind;

use self::farewell::farewell;
pub use self::{
    described::{Described, DescribedDisk, DescribedNetwork, DescribedShare},
    disk::{Disk, Error},
    network::{Error as NetworkError, Network},
    qcow2::Error as Qcow2Error,
    share::{Error as ShareError, Share, virtiofsd},
};
use crate::{
    cli::{DeviceOptions, DiskOption, Plug},
    devices::virtio::{Device, Random},
    error,
    files::{Files, OpenFile},
    visible::visible,
};

/// What was attached.
#[derive(Debug, Default)]
pub struct Attached {
    /// The disks, in the order in which they were named.
    pub disks: Vec<Disk>,
    /// The network cards, in the order in which they were named.
    pub networks: Vec<Network>,
    /// The folders that are shared, in the order in which they were named.
    pub shares: Vec<Share>,
}

/// What `options` put on the PCI bus, in order.
///
/// Where there is anything, a source of random numbers is the last: a guest that has disks has
/// keys to make.
#[must_use]
pub fn kinds(options: &DeviceOptions) -> Vec<Kind> {
    let mut kinds = vec![Kind::Disk; options.disk.len()];
    kinds.extend(vec![Kind::Network; options.net.len()]);
    kinds.extend(vec![Kind::Share; options.share.len()]);
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
            if disk.is_written()
                && files.iter().filter_map(OpenFile::file).any(|file| disk.is_in(file))
            {
                return Err(error::Error::SameFile { path: disk.path });
            }
            disks.push(disk);
        }
        let has_user = options.net.iter().any(|net| net.plug == Plug::User);
        if let Some(port) = options.publish.first().filter(|_| !has_user) {
            return Err(error::Error::NothingToPublish { port: *port });
        }
        let mut shares = Vec::new();
        for option in &options.share {
            let failed = |source| error::Error::Share { path: option.path.clone(), source };
            shares.push(Share::new(option, &shares).map_err(failed)?);
        }
        Ok(Self { disks, networks: Network::all(options), shares })
    }

    /// Plugs in all network cards that are not. With `anew`, those too whose other end an
    /// engine had that was ended. Not for a process that is confined, unless all are.
    pub fn plug_in(&self, anew: bool) -> Result<(), (Plug, NetworkError)> {
        for network in &self.networks {
            network.plug_in(anew).map_err(|error| (network.plug.clone(), error))?;
        }
        Ok(())
    }

    /// Has all shares served that are not. With `anew`, by others than before. As for
    /// [`Attached::plug_in`], who may ask for it.
    pub fn serve(&self, anew: bool) -> Result<(), (PathBuf, ShareError)> {
        for share in &self.shares {
            share.serve(anew).map_err(|error| (share.path.clone(), error))?;
        }
        Ok(())
    }

    /// Whether other processes are a part of the machine.
    #[must_use]
    pub fn has_others(&self) -> bool {
        !self.networks.is_empty() || !self.shares.is_empty()
    }

    /// What those processes are connected to.
    pub(crate) fn sockets(&self) -> io::Result<Vec<OwnedFd>> {
        let shares = self.shares.iter().map(Share::socket);
        self.passts().map(|network| Ok(network.file()?.0)).chain(shares).collect()
    }

    /// What is to be said when that one of them has ended.
    pub(crate) fn obituary(&self, number: usize) -> String {
        let mut passts = self.passts().map(|network| format!("passt, of --net {}", network.plug));
        if let Some(passt) = passts.nth(number) {
            return format!("{passt}, has ended before the guest");
        }
        let share = number.checked_sub(self.passts().count());
        let Some(share) = share.and_then(|number| self.shares.get(number)) else {
            return "a process has ended before the guest".to_owned();
        };
        let path = visible(&share.path.display().to_string());
        let said = share.said().map_or_else(String::new, |said| format!(": {said}"));
        format!("virtiofsd, of --share {path}, has ended before the guest{said}")
    }

    /// The networks of processes.
    fn passts(&self) -> impl Iterator<Item = &Network> {
        self.networks.iter().filter(|network| network.plug == Plug::User)
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
        for (number, share) in self.shares.iter().enumerate() {
            devices.push(Box::new(share.device(number)?));
        }
        if !devices.is_empty() {
            devices.push(Box::new(Random));
        }
        Ok(devices)
    }
}
