//! The certificate table: one or more signatures, each a `WIN_CERTIFICATE`.

use der::{Reader as _, SliceReader};

use super::{Error, layout::ALIGNMENT};
use crate::{
    range::{FileRange, index},
    read_at::{ReadAt, fetch},
};

/// The longest table that is read. A signature has a few thousand bytes.
const TABLE_MAX: u64 = 1 << 20;
/// The most signatures that are looked at.
const ENTRIES_MAX: usize = 16;
/// The size of an entry's header.
const HEADER: usize = 8;
/// `WIN_CERT_REVISION_2_0`.
const REVISION: u16 = 0x0200;
/// `WIN_CERT_TYPE_PKCS_SIGNED_DATA`.
const PKCS_SIGNED_DATA: u16 = 2;

/// The PKCS#7 structures in the table at `range`, each without what pads it.
///
/// PE format, "The Attribute Certificate Table". An entry's length may or may not
/// count its padding: `sbsign` does not, `systemd-sbsign` does. The padding must
/// be zeros, and no more than there has to be.
pub(super) fn read(
    source: &(impl ReadAt + ?Sized),
    range: FileRange,
) -> Result<Vec<Vec<u8>>, Error> {
    if range.len() > TABLE_MAX {
        return Err(Error::TableTooLong { found: range.len(), max: TABLE_MAX });
    }
    let table = fetch(source, range.offset(), range.len()).map_err(Error::Read)?;
    let mut rest = table.as_slice();
    let mut entries = Vec::new();
    while !rest.is_empty() {
        if entries.len() == ENTRIES_MAX {
            return Err(Error::TooManySignatures { max: ENTRIES_MAX });
        }
        let at = table.len().saturating_sub(rest.len());
        let (entry, after) = split(rest, at)?;
        entries.push(entry.to_vec());
        rest = after;
    }
    Ok(entries)
}

/// The first entry's content, and what follows the entry.
fn split(rest: &[u8], at: usize) -> Result<(&[u8], &[u8]), Error> {
    let wrong = |what| Error::Entry { at, what };
    let Some((&[ref length @ .., r0, r1, t0, t1], _)) = rest.split_first_chunk::<HEADER>() else {
        return Err(wrong("is cut short"));
    };
    if u16::from_le_bytes([r0, r1]) != REVISION {
        return Err(wrong("has another revision than 0x0200"));
    }
    if u16::from_le_bytes([t0, t1]) != PKCS_SIGNED_DATA {
        return Err(wrong("has another type than 2 (PKCS#7)"));
    }
    let length = u64::from(u32::from_le_bytes(*length));
    let content = rest
        .get(HEADER..index(length))
        .ok_or_else(|| wrong("has a length that is not in the table"))?;
    let der = SliceReader::new(content)
        .and_then(|mut reader| reader.tlv_bytes())
        .map_err(|source| Error::Pkcs7 { source })?;
    let exact = (HEADER as u64).saturating_add(der.len() as u64);
    let padded = exact.next_multiple_of(ALIGNMENT);
    if length != exact && length != padded {
        return Err(wrong("has another length than its content"));
    }
    let after = rest.get(index(padded)..).ok_or_else(|| wrong("is not padded to 8 bytes"))?;
    let padding = rest.get(index(exact)..index(padded)).unwrap_or_default();
    if padding.iter().any(|&byte| byte != 0) {
        return Err(wrong("is padded with other bytes than zeros"));
    }
    Ok((der, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_up_to_a_mib() {
        let of = |len: u64| read(&vec![0; index(len)], FileRange::first(len)).unwrap_err();
        assert!(matches!(of(1 << 20), Error::Entry { at: 0, .. }));
        for len in [(1 << 20) + 1, (1 << 20) + 2] {
            assert!(matches!(of(len), Error::TableTooLong { max: 0x10_0000, .. }), "{len:#x}");
        }
    }
}
