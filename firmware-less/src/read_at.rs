//! [`ReadAt`]: the only way this crate looks at a file.

use std::io;

use crate::range::index;

/// Something whose bytes can be read by offset.
///
/// Whoever implements it decides where the bytes come from; this crate opens no
/// files. Parsers read small prefixes and tables through it, never a whole image.
pub trait ReadAt {
    /// Fills `buf` with the bytes from `offset` on; fails where there are not enough.
    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;

    /// The length in bytes.
    fn len(&self) -> u64;

    /// The `len` bytes from `offset` on, where they are at hand and need not be read.
    fn at_hand(&self, _offset: u64, _len: u64) -> Option<&[u8]> {
        None
    }

    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let found = index(offset)
            .checked_add(buf.len())
            .and_then(|end| self.get(index(offset)..end))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(found);
        Ok(())
    }

    fn len(&self) -> u64 {
        self.len() as u64
    }

    fn at_hand(&self, offset: u64, len: u64) -> Option<&[u8]> {
        self.get(index(offset)..index(offset.checked_add(len)?))
    }
}

impl ReadAt for Vec<u8> {
    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.as_slice().read_exact_at(offset, buf)
    }

    fn len(&self) -> u64 {
        self.as_slice().len() as u64
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        (**self).read_exact_at(offset, buf)
    }

    fn len(&self) -> u64 {
        (**self).len()
    }
}

/// The `len` bytes from `offset` on.
///
/// Nothing is allocated where `source` does not have them; how many there may be
/// is for the caller to settle first, since only the caller can say why.
pub fn fetch(source: &(impl ReadAt + ?Sized), offset: u64, len: u64) -> io::Result<Vec<u8>> {
    let end = offset.checked_add(len).filter(|&end| end <= source.len());
    if end.is_none() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut bytes = vec![0; index(len)];
    source.read_exact_at(offset, &mut bytes)?;
    Ok(bytes)
}

/// The first bytes: `cap` of them, or all where there are fewer.
pub fn fetch_prefix(source: &(impl ReadAt + ?Sized), cap: u64) -> io::Result<Vec<u8>> {
    fetch(source, 0, cap.min(source.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_past_the_end_fails_and_never_panics() {
        let source = [1, 2, 3].as_slice();
        let mut buf = [0; 2];
        assert!(source.read_exact_at(1, &mut buf).is_ok());
        assert_eq!(buf, [2, 3]);
        for offset in [2, 3, 4, u64::MAX - 1, u64::MAX] {
            let error = source.read_exact_at(offset, &mut buf).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn nothing_is_allocated_for_bytes_that_are_not_there() {
        for (offset, len) in [(1, 1 << 60), (u64::MAX, 2), (9, 0)] {
            let error = fetch([0; 8].as_slice(), offset, len).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn a_prefix_is_what_there_is() {
        let source = [1, 2, 3].as_slice();
        assert_eq!(fetch_prefix(source, 2).unwrap(), [1, 2]);
        assert_eq!(fetch_prefix(source, 50).unwrap(), [1, 2, 3]);
    }

    #[test]
    fn bytes_are_at_hand_in_memory_and_nowhere_else() {
        struct Elsewhere(u64);
        impl ReadAt for Elsewhere {
            fn read_exact_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
                Ok(())
            }
            fn len(&self) -> u64 {
                self.0
            }
        }
        let source = [1, 2, 3].as_slice();
        assert_eq!(source.at_hand(1, 2), Some([2, 3].as_slice()));
        assert_eq!((source.at_hand(2, 2), source.at_hand(u64::MAX, 1)), (None, None));
        assert_eq!(Elsewhere(3).at_hand(1, 2), None);
        assert!(ReadAt::is_empty(&Elsewhere(0)) && !ReadAt::is_empty(&Elsewhere(1)));
    }

    #[test]
    fn a_reference_reads_what_it_refers_to() {
        let mut buf = [0; 2];
        <&Vec<u8> as ReadAt>::read_exact_at(&&vec![1, 2, 3], 1, &mut buf).unwrap();
        assert_eq!((buf, <&Vec<u8> as ReadAt>::len(&&vec![1, 2, 3])), ([2, 3], 3));
    }
}
