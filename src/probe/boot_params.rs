//! What leads on from `boot_params`. Documentation/arch/x86/zero-page.rst.

use std::array;

/// Where the e820 table is, how long it may be, and the length of an entry.
const E820: usize = 0x2d0;
const E820_ENTRIES: usize = 0x1e8;
const E820_ENTRY_LEN: usize = 20;

/// The page, or as much of it as could be read; what is missing is zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page<'a> {
    bytes: &'a [u8],
}

impl<'a> Page<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(super) fn rsdp(self) -> u64 {
        u64::from_le_bytes(at(self.bytes, 0x70))
    }

    pub(super) fn cmdline(self) -> u64 {
        self.halves(0x228, 0xc8)
    }

    pub(super) fn setup_data(self) -> u64 {
        u64::from_le_bytes(at(self.bytes, 0x250))
    }

    /// Address and length.
    pub(super) fn initrd(self) -> (u64, u64) {
        (self.halves(0x218, 0xc0), self.halves(0x21c, 0xc4))
    }

    /// Each entry's address, length and type.
    pub(super) fn memory_map(self) -> impl Iterator<Item = (u64, u64, u32)> {
        let count = self.bytes.get(E820_ENTRIES).copied().unwrap_or_default();
        let table = self.bytes.get(E820..).unwrap_or_default();
        table.chunks_exact(E820_ENTRY_LEN).take(count.into()).map(|entry| {
            let number = |place| u64::from_le_bytes(at(entry, place));
            (number(0), number(8), u32::from_le_bytes(at(entry, 16)))
        })
    }

    fn halves(self, low: usize, high: usize) -> u64 {
        let half = |place| u64::from(u32::from_le_bytes(at(self.bytes, place)));
        half(low) | half(high) << 32
    }
}

/// The bytes at `place`, zeros where there are none.
pub(super) fn at<const LEN: usize>(bytes: &[u8], place: usize) -> [u8; LEN] {
    array::from_fn(|n| bytes.get(place.saturating_add(n)).copied().unwrap_or_default())
}
