//! Extended System Description Table. ACPI 6.5, 5.2.8.

use acpi_tables::xsdt::XSDT;

use super::{OEM_ID, OEM_REVISION, OEM_TABLE_ID};

/// The list of `tables` by address; the FADT comes first.
pub(super) fn xsdt(tables: &[u64]) -> XSDT {
    let mut xsdt = XSDT::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    for table in tables {
        xsdt.add_entry(*table);
    }
    xsdt
}
