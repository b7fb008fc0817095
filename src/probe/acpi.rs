//! Headers of ACPI tables. ACPI 6.5, 5.2.5.3 and 5.2.6.

use ukivm_guests::machine::ACPI_TABLES_MAX;

use super::boot_params::at;
use crate::visible::visible;

/// Bytes of an RSDP of revision 2.
pub(super) const RSDP_LEN: u64 = 36;
/// What every other table begins with.
pub(super) const HEADER_LEN: u64 = 36;

/// Where an RSDP says that the XSDT is.
pub(super) fn xsdt_of(rsdp: &[u8]) -> u64 {
    u64::from_le_bytes(at(rsdp, 24))
}

/// How many tables an XSDT with that header names; none where that can't be.
pub(super) fn entries_of(header: &[u8]) -> usize {
    let len = u32::from_le_bytes(at(header, 4));
    let count = len.wrapping_sub(36) >> 3;
    if count > ACPI_TABLES_MAX { 0 } else { count.try_into().unwrap_or_default() }
}

/// An RSDP in words.
pub(super) fn rsdp_text(rsdp: &[u8]) -> String {
    let oem = text(&at::<6>(rsdp, 9));
    let revision = at::<1>(rsdp, 15)[0];
    let older = u32::from_le_bytes(at(rsdp, 16));
    let sum = if is_sound(rsdp) { "" } else { ", its checksum is wrong" };
    let xsdt = if revision < 2 { String::new() } else { format!(", XSDT {:#x}", xsdt_of(rsdp)) };
    format!("{oem}, revision {revision}, RSDT {older:#x}{xsdt}{sum}")
}

/// Before revision 2 it is shorter.
fn is_sound(rsdp: &[u8]) -> bool {
    let len = if at::<1>(rsdp, 15)[0] < 2 { 20 } else { rsdp.len() };
    rsdp.iter().take(len).fold(0_u8, |sum, byte| sum.wrapping_add(*byte)) == 0
}

/// The signature of a table with that header.
pub(super) fn signature(header: &[u8]) -> String {
    text(&at::<4>(header, 0))
}

/// A header in words.
pub(super) fn header_text(address: u64, header: &[u8]) -> String {
    let len = u32::from_le_bytes(at(header, 4));
    let [revision, checksum] = at(header, 8);
    let (oem, table) = (text(&at::<6>(header, 10)), text(&at::<8>(header, 16)));
    format!(
        "{address:#x}, {len} bytes, revision {revision}, checksum {checksum:#04x}, {oem} {table}"
    )
}

fn text(bytes: &[u8]) -> String {
    visible(String::from_utf8_lossy(bytes).trim_end())
}
