//! What is in a slot, for people and as JSON.

use std::fmt;

use firmware_less::{
    machine::Machine,
    pci::{Kind, Slot},
    plan::size,
};
use serde::Serialize;

use super::{Attached, Disk, Network};
use crate::visible::visible;

/// A device in its slot, and what it stands on.
#[derive(Debug, Serialize)]
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
}

/// A disk image, and how it is used.
#[derive(Debug, Serialize)]
pub struct DescribedDisk {
    /// As the user named it.
    pub path: String,
    /// How many bytes it has.
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
#[derive(Debug, Serialize)]
pub struct DescribedNetwork {
    /// `user`, or `tap=NAME`.
    pub net: String,
    /// The card's address.
    pub mac: String,
    /// The ports at which the host is let in, as the user named them.
    pub publish: Vec<String>,
}

impl Attached {
    /// What `machine` has on PCI.
    #[must_use]
    pub fn describe(&self, machine: &Machine) -> Vec<Described> {
        let mut disks = self.disks.iter();
        let mut networks = self.networks.iter();
        let describe = |Slot { number, kind }| Described {
            address: format!("00:{number:02x}.0"),
            kind,
            disk: if kind == Kind::Disk { disks.next().map(DescribedDisk::of) } else { None },
            network: if kind == Kind::Network {
                networks.next().map(DescribedNetwork::of)
            } else {
                None
            },
        };
        machine.slots().map(describe).collect()
    }
}

impl DescribedDisk {
    fn of(disk: &Disk) -> Self {
        Self {
            path: disk.path.display().to_string(),
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

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", self.address, self.kind.name())?;
        if let Some(DescribedNetwork { net, mac, publish }) = &self.network {
            write!(f, "  {mac}  {}", visible(net))?;
            return publish.iter().try_for_each(|port| write!(f, ", {port}"));
        }
        let Some(disk) = &self.disk else { return Ok(()) };
        write!(f, "  {:>10}  {}", size(disk.len), visible(&disk.path))?;
        let flags =
            [(disk.read_only, "ro"), (disk.discard, "discard"), (disk.ephemeral, "ephemeral")];
        for (_, flag) in flags.iter().filter(|(is_set, _)| *is_set) {
            write!(f, ", {flag}")?;
        }
        match disk.serial.as_str() {
            "" => Ok(()),
            serial => write!(f, ", serial {}", visible(serial)),
        }
    }
}
