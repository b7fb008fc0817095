//! What is in a slot, for people and as JSON.

use std::fmt;

use firmware_less::{
    machine::Machine,
    pci::{Kind, Slot},
    plan::size,
};
use serde::{Deserialize, Serialize};

use super::{Attached, Disk, Network, Share};
use crate::{cli::DiskFormat, visible::visible};

/// A device in its slot, and what it stands on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Described {
    /// Where on PCI: bus, device, function.
    pub address: String,
    /// What it is.
    pub kind: Kind,
    /// The disk, if it is one.
    #[serde(flatten)]
    pub disk: Option<DescribedDisk>,
    /// The network, if it is a card.
    #[serde(flatten)]
    pub network: Option<DescribedNetwork>,
    /// The folder, if it is a share.
    #[serde(flatten)]
    pub share: Option<DescribedShare>,
}

/// A disk image, and how it is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribedDisk {
    /// As the user named it.
    pub path: String,
    /// How the disk lies in it.
    pub format: DiskFormat,
    /// How many bytes the disk has.
    pub len: u64,
    /// The guest can't write to it.
    pub read_only: bool,
    /// What the guest discards is taken out of it.
    pub discard: bool,
    /// What the guest writes does not go to it.
    pub ephemeral: bool,
    /// What the disk calls itself.
    pub serial: String,
}

/// What a network card is plugged into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribedNetwork {
    /// `user`, or `tap=NAME`.
    pub net: String,
    /// The card's address.
    pub mac: String,
    /// The ports at which the host is let in, as the user named them.
    pub publish: Vec<String>,
}

/// A folder of the host's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribedShare {
    /// As the user named it.
    pub share: String,
    /// By what the guest mounts it.
    pub tag: String,
    /// The guest can't write to it.
    pub read_only: bool,
}

impl Attached {
    /// What `machine` has on PCI.
    #[must_use]
    pub fn describe(&self, machine: &Machine) -> Vec<Described> {
        let mut disks = self.disks.iter();
        let mut networks = self.networks.iter();
        let mut shares = self.shares.iter();
        let describe = |Slot { number, kind }| Described {
            address: format!("00:{number:02x}.0"),
            kind,
            disk: if kind == Kind::Disk { disks.next().map(DescribedDisk::of) } else { None },
            network: if kind == Kind::Network {
                networks.next().map(DescribedNetwork::of)
            } else {
                None
            },
            share: if kind == Kind::Share { shares.next().map(DescribedShare::of) } else { None },
        };
        machine.slots().map(describe).collect()
    }
}

impl DescribedDisk {
    fn of(disk: &Disk) -> Self {
        Self {
            path: disk.path.display().to_string(),
            format: disk.format,
            len: disk.len,
            read_only: disk.read_only,
            discard: disk.discard,
            ephemeral: disk.ephemeral,
            serial: disk.serial.clone(),
        }
    }
}

impl DescribedNetwork {
    fn of(network: &Network) -> Self {
        Self {
            net: network.plug.to_string(),
            mac: network.mac.to_string(),
            publish: network.publish.iter().map(ToString::to_string).collect(),
        }
    }
}

impl DescribedShare {
    fn of(share: &Share) -> Self {
        let (tag, read_only) = (share.tag.clone(), share.read_only);
        Self { share: share.path.display().to_string(), tag, read_only }
    }
}

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", self.address, self.kind.name())?;
        if let Some(DescribedNetwork { net, mac, publish }) = &self.network {
            write!(f, "  {mac}  {}", visible(net))?;
            return publish.iter().try_for_each(|port| write!(f, ", {port}"));
        }
        if let Some(DescribedShare { share, tag, read_only }) = &self.share {
            let flag = if *read_only { ", ro" } else { "" };
            return write!(f, "  {}  {}{flag}", visible(tag), visible(share));
        }
        let Some(disk) = &self.disk else { return Ok(()) };
        write!(f, "  {:>10}  {}", size(disk.len), visible(&disk.path))?;
        let flags = [
            (disk.format == DiskFormat::Qcow2, "qcow2"),
            (disk.read_only, "ro"),
            (disk.discard, "discard"),
            (disk.ephemeral, "ephemeral"),
        ];
        for (_, flag) in flags.iter().filter(|(is_set, _)| *is_set) {
            write!(f, ", {flag}")?;
        }
        match disk.serial.as_str() {
            "" => Ok(()),
            serial => write!(f, ", serial {}", visible(serial)),
        }
    }
}
