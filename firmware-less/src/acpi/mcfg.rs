//! Memory Mapped Configuration table: where ECAM is.
//! PCI Firmware Specification 3.3, 4.1.2.

use acpi_tables::mcfg::MCFG;

use super::{OEM_ID, OEM_REVISION, OEM_TABLE_ID};
use crate::{machine::ECAM, pci::LAST_BUS};

/// The bus that there is, of segment 0.
pub(super) fn mcfg() -> MCFG {
    let mut mcfg = MCFG::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    mcfg.add_ecam(ECAM.start(), 0, 0, LAST_BUS);
    mcfg
}
