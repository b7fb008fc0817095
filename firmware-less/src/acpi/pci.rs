//! What the DSDT says of PCI: the host bridge with its windows, and who owns ECAM.
//! PCI Firmware Specification 3.3, 4.1.2 and 4.6.1.

use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, Device, EISAName, IO, Memory32Fixed, Name,
    ResourceTemplate,
};

use super::{bytes, low_32};
use crate::{
    machine::ECAM,
    pci::{CONFIG_ADDRESS, LAST_BUS, PORTS, WINDOW},
};

/// The host bridge.
///
/// Without `_PRT`: devices interrupt by messages only. Without `_OSC`: the guest asks for
/// no native hot plug or error reporting, of which there is none.
pub(super) fn host_bridge() -> Vec<u8> {
    let buses = AddressSpace::new_bus_number(0u16, LAST_BUS.into());
    let config = IO::new(CONFIG_ADDRESS, CONFIG_ADDRESS, 1, 8);
    let ports = AddressSpace::new_io(PORTS.0, PORTS.1, None);
    let (first, last) = (low_32(WINDOW.start()), low_32(WINDOW.end()).wrapping_sub(1));
    let memory =
        AddressSpace::new_memory(AddressSpaceCacheable::NotCacheable, true, first, last, None);
    bytes(&Device::new(
        "PCI0".into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0A08")),
            &Name::new("_CID".into(), &EISAName::new("PNP0A03")),
            &Name::new("_SEG".into(), &0u8),
            &Name::new("_BBN".into(), &0u8),
            &Name::new("_UID".into(), &0u8),
            &Name::new(
                "_CRS".into(),
                &ResourceTemplate::new(vec![&buses, &config, &ports, &memory]),
            ),
        ],
    ))
}

/// The board, which owns ECAM: a guest that finds that nowhere reserved does without it.
pub(super) fn board() -> Vec<u8> {
    let ecam = Memory32Fixed::new(true, low_32(ECAM.start()), low_32(ECAM.len()));
    bytes(&Device::new(
        "MBRD".into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0C02")),
            &Name::new("_UID".into(), &0u8),
            &Name::new("_CRS".into(), &ResourceTemplate::new(vec![&ecam])),
        ],
    ))
}
