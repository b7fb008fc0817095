//! What is in a slot, for people and as JSON.

use std::fmt;

use firmware_less::{
    machine::Machine,
    pci::{Kind, Slot},
    plan::size,
};
use serde::Serialize;

use super::{Attached, Disk};
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

impl Attached {
    /// What `machine` has on PCI.
    #[must_use]
    pub fn describe(&self, machine: &Machine) -> Vec<Described> {
        let mut disks = self.disks.iter();
        let describe = |Slot { number, kind }| Described {
            address: format!("00:{number:02x}.0"),
            kind,
            disk: if kind == Kind::Disk { disks.next().map(DescribedDisk::of) } else { None },
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

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", self.address, self.kind.name())?;
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
