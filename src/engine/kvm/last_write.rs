//! The last I/O port that the guest wrote to.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::outcome::PortWrite;

/// Set once there was one.
const IS_SOME: u64 = 1 << 63;

/// The last write of any vCPU. Noting one is a store: it is done for every write.
#[derive(Debug, Default)]
pub(super) struct LastWrite(AtomicU64);

impl LastWrite {
    /// The guest wrote `data` to `port`: a byte, a word or a doubleword, of a string
    /// as many as KVM gives at once, of which only the last byte is noted.
    #[inline]
    pub(super) fn note(&self, port: u16, data: &[u8]) {
        let value = match *data {
            [byte] => u32::from(byte),
            [low, high] => u32::from(u16::from_le_bytes([low, high])),
            [a, b, c, d] => u32::from_le_bytes([a, b, c, d]),
            [.., last] => u32::from(last),
            [] => return,
        };
        let packed = IS_SOME | u64::from(port) << 32 | u64::from(value);
        self.0.store(packed, Ordering::Relaxed);
    }

    /// What was noted last.
    pub(super) fn get(&self) -> Option<PortWrite> {
        let packed = self.0.load(Ordering::Relaxed);
        let bytes = packed.to_le_bytes();
        let [a, b, c, d, low, high, ..] = bytes;
        let (port, value) = (u16::from_le_bytes([low, high]), u32::from_le_bytes([a, b, c, d]));
        (packed & IS_SOME != 0).then_some(PortWrite { port, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_write_is_kept_whole() {
        let last = LastWrite::default();
        assert_eq!(last.get(), None);
        for (port, data, value) in [
            (0, &[0][..], 0),
            (0xffff, &[0x12], 0x12),
            (0xcf8, &[0x34, 0x12], 0x1234),
            (0xcf8, &[0x78, 0x56, 0x34, 0x92], 0x9234_5678),
            (0x3f8, b"hello", 0x6f),
        ] {
            last.note(port, data);
            assert_eq!(last.get(), Some(PortWrite { port, value }));
        }
    }
}
