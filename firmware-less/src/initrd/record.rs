//! [`Record`]: what is to be known of a record's header in a cpio archive.

use super::ALIGN;
use crate::range::align_up;

/// The fields of a header that say where a record ends.
/// Documentation/driver-api/early-userspace/buffer-format.rst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) mode: u64,
    pub(crate) file_size: u64,
    pub(crate) name_size: u64,
}

impl Record {
    /// The length of a header, without the name.
    pub(crate) const HEADER: u64 = 110;
    /// The name of the record that ends an archive, and its NUL.
    pub(crate) const TRAILER: &[u8] = b"TRAILER!!!\0";

    /// What a header of the formats "newc" and "crc" says.
    pub(crate) fn parse(header: &[u8]) -> Option<Self> {
        let magic = header.get(..6)?;
        if magic != b"070701" && magic != b"070702" {
            return None;
        }
        let field = |at: usize| {
            let digits = str::from_utf8(header.get(at..at.checked_add(8)?)?).ok()?;
            if digits.starts_with('+') {
                return None;
            }
            u64::from_str_radix(digits, 16).ok()
        };
        Some(Self { mode: field(14)?, file_size: field(54)?, name_size: field(94)? })
    }

    /// Where the name of a record that begins at `at` ends.
    pub(crate) fn name_end(&self, at: u64) -> Option<u64> {
        at.checked_add(Self::HEADER)?.checked_add(self.name_size)
    }

    /// Where the record that begins at `at` ends, with what aligns the next one.
    pub(crate) fn end(&self, at: u64) -> Option<u64> {
        let content = align_up(self.name_end(at)?, ALIGN)?;
        align_up(content.checked_add(self.file_size)?, ALIGN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_of_one_of_two_formats() {
        let header = |magic: &str| format!("{magic}{}", "0".repeat(104)).into_bytes();
        let empty = Record { mode: 0, file_size: 0, name_size: 0 };
        assert_eq!(Record::parse(&header("070701")), Some(empty));
        assert_eq!(Record::parse(&header("070702")), Some(empty));
        assert_eq!(Record::parse(&header("070707")), None);
    }
}
