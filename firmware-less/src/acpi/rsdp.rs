//! Root System Description Pointer. ACPI 6.5, 5.2.5.3.

use acpi_tables::rsdp::Rsdp;

use super::OEM_ID;

/// Bytes of a revision 2 RSDP.
pub(super) const LEN: u64 = 36;

/// The pointer to the XSDT at `xsdt`.
pub(super) fn rsdp(xsdt: u64) -> Rsdp {
    Rsdp::new(OEM_ID, xsdt)
}
