//! The machine's PCI bus: what is in which slot, and the windows that the guest finds
//! it through.
//!
//! One bus, one function a slot. Slot 0 is the host bridge; on a q35 the last one is
//! the LPC bridge. A machine of which no device is asked for has no bus, and nothing of
//! it is told.

use serde::{Deserialize, Serialize};

use crate::{
    machine::{ECAM, IOAPIC},
    range::GuestRange,
};

/// What a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A disk: virtio-blk.
    Disk,
    /// A network card: virtio-net.
    Network,
    /// A source of random numbers: virtio-rng.
    Random,
    /// A console: virtio-console.
    Console,
    /// Sockets between guest and host: virtio-vsock.
    Vsock,
    /// A folder of the host's: virtio-fs.
    Share,
}

impl Kind {
    /// Its name, for a person.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Network => "network",
            Self::Random => "random",
            Self::Console => "console",
            Self::Vsock => "vsock",
            Self::Share => "share",
        }
    }
}

/// A device in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Slot {
    /// The device number on bus 0.
    pub number: u8,
    /// What is there.
    pub kind: Kind,
}

/// The first slot that a device can have.
pub const FIRST_SLOT: u8 = 1;
/// The slot that is the LPC bridge's on a q35.
pub const LPC_SLOT: u8 = 31;
/// The most devices.
pub const DEVICES_MAX: usize = (LPC_SLOT - FIRST_SLOT) as usize;

/// Memory that BARs may lie in: what ECAM leaves of the hole, up to the APICs.
pub const WINDOW: GuestRange = GuestRange::constant(ECAM.end(), IOAPIC.start() - ECAM.end());
/// Ports that BARs may lie at.
pub const PORTS: (u16, u16) = (0x1000, 0xffff);
/// The last bus that the guest is told of: the only one. [`ECAM`] has room for 256, a bus has
/// 1 MiB of it; but Linux asks all 32 devices of each of which it is told whether they are there,
/// by configuration mechanism 1 (arch/x86/pci/legacy.c, `pcibios_fixup_peer_bridges`), which for
/// 255 that are not takes 16,320 exits, as many as a verbose boot's console.
pub const LAST_BUS: u8 = 0;

/// Configuration mechanism 1: bus, device, function and register.
/// PCI Local Bus Specification 3.0, 3.2.2.3.2.
pub const CONFIG_ADDRESS: u16 = 0xcf8;
/// Configuration mechanism 1: the register's four bytes.
pub const CONFIG_DATA: u16 = 0xcfc;

const _: () = assert!(
    ECAM.end() - ECAM.start() >= (LAST_BUS as u64 + 1) << 20,
    "each bus has 32 devices of 8 functions of 4 KiB"
);

/// `devices`, each in its slot, in order.
pub(crate) fn slots(devices: &[Kind]) -> impl Iterator<Item = Slot> + '_ {
    (FIRST_SLOT..LPC_SLOT).zip(devices).map(|(number, &kind)| Slot { number, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_called_as_it_is_written() {
        let kinds = [Kind::Disk, Kind::Network, Kind::Random, Kind::Console];
        for kind in kinds.into_iter().chain([Kind::Vsock, Kind::Share]) {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }

    #[test]
    fn what_ecam_leaves_of_the_hole_is_for_bars() {
        assert_eq!(WINDOW, GuestRange::constant(0xc000_0000, 0x3ec0_0000));
    }
}
