//! Half-open ranges: of guest-physical addresses, and of offsets in a file.

use std::fmt;

use serde::Serialize;

/// The size of the smallest page, and of everything kexec rounds to.
pub const PAGE: u64 = 4096;

/// A half-open range of guest-physical addresses.
///
/// Never empty and never wraps: both are settled in [`GuestRange::new`], so
/// nothing that holds one has to check again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct GuestRange {
    start: u64,
    end: u64,
}

impl GuestRange {
    /// The range of `len` bytes from `start`; `None` if empty or past 2⁶⁴.
    #[must_use]
    pub const fn new(start: u64, len: u64) -> Option<Self> {
        match start.checked_add(len) {
            Some(end) if len > 0 => Some(Self { start, end }),
            _ => None,
        }
    }

    /// The range from `start` up to `end`; `None` unless `start < end`.
    #[must_use]
    pub const fn between(start: u64, end: u64) -> Option<Self> {
        if start < end { Some(Self { start, end }) } else { None }
    }

    /// A range known when the program is compiled.
    ///
    /// # Panics
    ///
    /// When empty or wrapping; in a constant that is a compile-time error.
    #[must_use]
    pub const fn constant(start: u64, len: u64) -> Self {
        match Self::new(start, len) {
            Some(range) => range,
            #[expect(clippy::panic, reason = "evaluated at compile time only")]
            None => panic!("a constant range must not be empty or wrap"),
        }
    }

    /// The first address.
    #[must_use]
    pub const fn start(self) -> u64 {
        self.start
    }

    /// The first address after the range.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.end
    }

    /// The size in bytes; a range is never empty.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    #[expect(clippy::arithmetic_side_effects, reason = "start < end by construction")]
    pub const fn len(self) -> u64 {
        self.end - self.start
    }

    /// Whether the two share an address.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Whether `other` lies wholly inside.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Whether `address` lies inside.
    #[must_use]
    pub const fn contains_address(self, address: u64) -> bool {
        self.start <= address && address < self.end
    }

    /// What the two share.
    #[must_use]
    pub fn intersection(self, other: Self) -> Option<Self> {
        Self::between(self.start.max(other.start), self.end.min(other.end))
    }
}

impl fmt::Display for GuestRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:#x}, {:#x})", self.start, self.end)
    }
}

impl fmt::Debug for GuestRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A half-open range of byte offsets in a file; never wraps, may be empty.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct FileRange {
    offset: u64,
    len: u64,
}

impl FileRange {
    /// No bytes, at the start of a file.
    pub const EMPTY: Self = Self { offset: 0, len: 0 };

    /// The first `len` bytes of a file.
    #[must_use]
    pub const fn first(len: u64) -> Self {
        Self { offset: 0, len }
    }

    /// The `len` bytes from `offset`; `None` if that passes 2⁶⁴.
    #[must_use]
    pub const fn new(offset: u64, len: u64) -> Option<Self> {
        match offset.checked_add(len) {
            Some(_) => Some(Self { offset, len }),
            None => None,
        }
    }

    /// The offset of the first byte.
    #[must_use]
    pub const fn offset(self) -> u64 {
        self.offset
    }

    /// The number of bytes.
    #[must_use]
    pub const fn len(self) -> u64 {
        self.len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The offset after the last byte.
    #[must_use]
    #[expect(clippy::arithmetic_side_effects, reason = "checked by construction")]
    pub const fn end(self) -> u64 {
        self.offset + self.len
    }

    /// Whether the two share a byte.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.offset < other.end() && other.offset < self.end() && self.len > 0 && other.len > 0
    }

    /// The part of this range from `skip` bytes on; `None` when there are not that many.
    #[must_use]
    pub const fn skip(self, skip: u64) -> Option<Self> {
        match self.len.checked_sub(skip) {
            Some(len) => match self.offset.checked_add(skip) {
                Some(offset) => Some(Self { offset, len }),
                None => None,
            },
            None => None,
        }
    }

    /// The first `len` bytes of this range, or all of it where it is shorter.
    #[must_use]
    pub const fn take(self, len: u64) -> Self {
        Self { offset: self.offset, len: if len < self.len { len } else { self.len } }
    }
}

impl fmt::Display for FileRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:#x}, {:#x})", self.offset, self.end())
    }
}

impl fmt::Debug for FileRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `address` rounded down to a multiple of `align`, which must be a power of two.
#[must_use]
pub const fn align_down(address: u64, align: u64) -> u64 {
    debug_assert!(align.is_power_of_two());
    address & !align.wrapping_sub(1)
}

/// `address` rounded up to a multiple of `align`, a power of two; `None` past 2⁶⁴.
#[must_use]
pub const fn align_up(address: u64, align: u64) -> Option<u64> {
    debug_assert!(align.is_power_of_two());
    match address.checked_add(align.wrapping_sub(1)) {
        Some(sum) => Some(align_down(sum, align)),
        None => None,
    }
}

/// `len` as an index; every machine that runs this has 64-bit addresses.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "usize is 64 bits, asserted below")]
pub const fn index(len: u64) -> usize {
    len as usize
}
const _: () = assert!(usize::BITS == 64, "ukivm addresses guest memory with usize");

#[cfg(test)]
mod exhaustive;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_range_is_never_empty() {
        assert_eq!(GuestRange::new(0x1000, 0), None);
        assert_eq!(GuestRange::between(0x1000, 0x1000), None);
        assert_eq!(GuestRange::between(0x1001, 0x1000), None);
    }

    #[test]
    fn a_range_never_wraps() {
        assert_eq!(GuestRange::new(u64::MAX, 1), None);
        assert!(GuestRange::new(u64::MAX - 1, 1).is_some());
        assert_eq!(FileRange::new(u64::MAX, 1), None);
    }

    #[test]
    fn neighbours_do_not_overlap() {
        let (low, high) = (GuestRange::constant(0, 0x10), GuestRange::constant(0x10, 0x10));
        assert!(!low.overlaps(high) && !high.overlaps(low));
        assert!(low.overlaps(GuestRange::constant(0xf, 1)));
    }

    #[test]
    fn an_empty_file_range_overlaps_nothing() {
        let (whole, empty) = (FileRange::new(0, 16).unwrap(), FileRange::new(4, 0).unwrap());
        assert!(!whole.overlaps(empty) && !empty.overlaps(whole));
    }

    #[test]
    fn rounding_keeps_what_is_already_aligned() {
        assert_eq!(align_up(0x2000, PAGE), Some(0x2000));
        assert_eq!(align_up(0x2001, PAGE), Some(0x3000));
        assert_eq!(align_up(u64::MAX, PAGE), None);
        assert_eq!(align_down(0x2fff, PAGE), 0x2000);
    }
}
