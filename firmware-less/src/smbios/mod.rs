//! The SMBIOS tables: who made the machine, and strings for the system in it.
//! They are there only when there is something to say: a kernel needs none.
//!
//! Found by the legacy scan, without EFI: the anchor lies at a multiple of 16 in
//! 0xf0000–0xfffff (drivers/firmware/dmi_scan.c, `dmi_scan_machine`). It is the
//! 64-bit one of SMBIOS 3. DMTF DSP0134 3.0, 5.2.2 and 7.

mod credential;
mod strings;
mod structures;

use thiserror::Error;

use self::structures::Structures;
pub use self::{
    credential::{Credential, Error as CredentialError},
    strings::{OemStrings, StringError},
};
use crate::{plan::Placement, range::GuestRange};

/// The length of the anchor, and what it takes: structures may start anywhere, but
/// the anchor's neighbours are looked at in steps of 16.
const ANCHOR_LEN: u8 = 0x18;
const ANCHOR_ROOM: u64 = 0x20;

/// Strings that do not fit where the tables are to lie.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "the SMBIOS tables would take {wanted} bytes, there is room for {room}: credentials and other \
     strings must be shorter"
)]
pub struct TooLarge {
    /// What they take, the anchor included.
    pub wanted: u64,
    /// What there is.
    pub room: u64,
}

/// The tables that tell `strings`, as one placement at the start of `area`; none if
/// there is nothing to tell. It ends where the tables end, so that it shows what
/// they take.
pub fn tables(strings: &OemStrings, area: GuestRange) -> Result<Option<Placement>, TooLarge> {
    if strings.is_empty() {
        return Ok(None);
    }
    let at = area.start().saturating_add(ANCHOR_ROOM);
    let structures = Structures::telling(strings).bytes();
    let len = structures.len() as u64;
    let wanted = len.saturating_add(ANCHOR_ROOM);
    let too_large = TooLarge { wanted, room: area.len() };
    let range = GuestRange::new(area.start(), wanted).filter(|range| area.contains(*range));
    let (range, len) = range.zip(u32::try_from(len).ok()).ok_or(too_large)?;
    let mut bytes = anchor(at, len).to_vec();
    bytes.resize(crate::range::index(ANCHOR_ROOM), 0);
    bytes.extend(structures);
    Ok(Some(Placement::of_bytes("SMBIOS tables", range, bytes)))
}

/// The entry point structure, for structures of `len` bytes at `at`. 5.2.2.
fn anchor(at: u64, len: u32) -> [u8; ANCHOR_LEN as usize] {
    /// Of SMBIOS: major, minor, revision of the document.
    const VERSION: [u8; 3] = [3, 0, 0];
    /// Of the entry point.
    const REVISION: u8 = 1;
    let [m, n, r] = VERSION;
    let [l0, l1, l2, l3] = len.to_le_bytes();
    let [a0, a1, a2, a3, a4, a5, a6, a7] = at.to_le_bytes();
    let mut anchor = [
        b'_', b'S', b'M', b'3', b'_', 0, ANCHOR_LEN, m, n, r, REVISION, 0, l0, l1, l2, l3, a0, a1,
        a2, a3, a4, a5, a6, a7,
    ];
    let sum = anchor.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    if let Some(checksum) = anchor.get_mut(5) {
        *checksum = sum.wrapping_neg();
    }
    anchor
}

#[cfg(test)]
mod tests;
