//! The payload of a bzImage: the kernel proper as its decompressor finds it, packed
//! in one of the ways that Linux knows, and how to unpack it.
//!
//! lib/decompress.c has the magic numbers, scripts/Makefile.lib what is appended:
//! behind every packing but gzip, which has it itself, the unpacked size as 32 bits
//! (`size_append`), which the header's `payload_length` counts as well.

use std::{fmt, io, io::Read, thread};

use thiserror::Error;

use crate::range::index;

/// Bytes of the unpacked size at the payload's end.
const SIZE_LEN: usize = 4;
/// What a decompressor may take beside what it unpacks, in KiB: kernels are packed
/// with windows of 32 MiB (scripts/xz_wrap.sh) and 128 MiB (`zstd -22 --ultra`).
pub(crate) const WINDOW_MAX_KIB: u32 = 192 << 10;
/// Bytes that a block of a legacy lz4 frame unpacks to, the last excepted.
/// lib/decompress_unlz4.c, `LZ4_DEFAULT_UNCOMPRESSED_CHUNK_SIZE`.
pub(crate) const LZ4_BLOCK: usize = 8 << 20;
/// What a legacy lz4 frame begins with. The same, `ARCHIVE_MAGICNUMBER`.
pub(crate) const LZ4_MAGIC: u32 = 0x184c_2102;

/// How a payload is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the format of that name")]
pub enum Compression {
    Gzip,
    Bzip2,
    Lzma,
    Xz,
    Lzo,
    Lz4,
    Zstd,
    /// Not at all: an ELF file.
    None,
}

impl Compression {
    /// Every way, with what a payload packed so begins with.
    const MAGIC: [(Self, &[u8]); 8] = [
        (Self::Gzip, &[0x1f, 0x8b]),
        (Self::Bzip2, b"BZh"),
        (Self::Lzma, &[0x5d, 0x00]),
        (Self::Xz, &[0xfd, b'7', b'z', b'X', b'Z', 0x00]),
        (Self::Lzo, &[0x89, b'L', b'Z', b'O']),
        (Self::Lz4, &LZ4_MAGIC.to_le_bytes()),
        (Self::Zstd, &[0x28, 0xb5, 0x2f, 0xfd]),
        (Self::None, b"\x7fELF"),
    ];

    /// How `payload` is packed, by its first bytes.
    #[must_use]
    pub fn of(payload: &[u8]) -> Option<Self> {
        Self::MAGIC.iter().find(|(_, magic)| payload.starts_with(magic)).map(|(way, _)| *way)
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Lzma => "lzma",
            Self::Xz => "xz",
            Self::Lzo => "lzo",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
            Self::None => "uncompressed",
        })
    }
}

/// Why a payload can't be unpacked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// Begins with the magic number of nothing that Linux knows.
    #[error("the kernel's payload is packed in no way that is known: it begins with {start:02x?}")]
    Unknown {
        /// Its first bytes.
        start: Vec<u8>,
    },
    /// A packing for which there is no kept decompressor.
    #[error("the kernel's payload is packed by lzo, which can't be unpacked here")]
    Lzo,
    /// Shorter than the least that there is.
    #[error("the kernel's payload has {found} bytes, too few to be anything")]
    Short {
        /// Its length.
        found: usize,
    },
    /// More than is wanted.
    #[error("the kernel's payload unpacks to {size:#x} bytes, {limit:#x} are accepted")]
    Large {
        /// The size that it says.
        size: u64,
        /// The most.
        limit: u64,
    },
    /// Unpacks to less than it says.
    #[error("the kernel's payload unpacks to fewer bytes than it says: {size:#x} are wanted")]
    Less {
        /// The size that it says.
        size: u64,
    },
    /// Unpacks to more than it says.
    #[error("the kernel's payload unpacks to more bytes than it says: {size:#x} are wanted")]
    More {
        /// The size that it says.
        size: u64,
    },
    /// A sound beginning and then something else.
    #[error("the kernel's payload, packed by {by}, is damaged")]
    Damaged {
        /// How it is packed.
        by: Compression,
        /// What its decompressor says.
        #[source]
        source: io::Error,
    },
}

/// A payload of which it is known how, and to how many bytes, it unpacks.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    compression: Compression,
    packed: &'a [u8],
    size: usize,
}

impl<'a> Payload<'a> {
    /// Looks at the ends of a bzImage's payload. What would unpack to more than
    /// `limit` bytes is refused.
    pub fn read(payload: &'a [u8], limit: u64) -> Result<Self, Error> {
        let start = || payload.get(..payload.len().min(8)).unwrap_or_default().to_vec();
        let compression =
            Compression::of(payload).ok_or_else(|| Error::Unknown { start: start() })?;
        if compression == Compression::Lzo {
            return Err(Error::Lzo);
        }
        let short = Error::Short { found: payload.len() };
        let (rest, size) = payload.split_last_chunk::<SIZE_LEN>().ok_or(short)?;
        let (packed, size) = match compression {
            // The size stands in its own last bytes. RFC 1952, 2.3.1, ISIZE.
            Compression::Gzip => (payload, u64::from(u32::from_le_bytes(*size))),
            // Nothing packed it, so nothing appended a size.
            Compression::None => (payload, payload.len() as u64),
            _ => (rest, u64::from(u32::from_le_bytes(*size))),
        };
        if size > limit {
            return Err(Error::Large { size, limit });
        }
        Ok(Self { compression, packed, size: index(size) })
    }

    /// How it is packed.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// The number of bytes that it unpacks to.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Unpacks it, by up to `threads` threads where its parts stand alone.
    pub fn unpack(&self, threads: usize) -> Result<Vec<u8>, Error> {
        let mut out = vec![0; self.size];
        self.unpack_into(&mut out, threads)?;
        Ok(out)
    }

    fn unpack_into(&self, out: &mut [u8], threads: usize) -> Result<(), Error> {
        let packed = self.packed;
        match self.compression {
            Compression::Gzip => self.read_whole(flate2::bufread::GzDecoder::new(packed), out),
            Compression::Bzip2 => self.read_whole(bzip2::bufread::BzDecoder::new(packed), out),
            Compression::Lzma => {
                let reader = lzma_rust2::LzmaReader::new_mem_limit(packed, WINDOW_MAX_KIB, None);
                self.read_whole(reader.map_err(|source| self.damaged(source))?, out)
            }
            Compression::Xz => self.read_whole(
                lzma_rust2::XzReader::new_mem_limit(packed, false, WINDOW_MAX_KIB),
                out,
            ),
            Compression::Lzo => Err(Error::Lzo),
            Compression::Lz4 => self.lz4(out, threads),
            Compression::Zstd => self.zstd(out),
            Compression::None => {
                out.copy_from_slice(packed);
                Ok(())
            }
        }
    }

    fn damaged(&self, source: io::Error) -> Error {
        Error::Damaged { by: self.compression, source }
    }

    /// All that `reader` has, which is to be as much as there is room for.
    fn read_whole(&self, mut reader: impl Read, out: &mut [u8]) -> Result<(), Error> {
        let size = out.len() as u64;
        reader.read_exact(out).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => Error::Less { size },
            _ => self.damaged(source),
        })?;
        // To the end, where checksums are.
        match reader.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(Error::More { size }),
            Err(source) => Err(self.damaged(source)),
        }
    }

    fn zstd(&self, out: &mut [u8]) -> Result<(), Error> {
        let size = out.len() as u64;
        let said = |code| io::Error::other(zstd_safe::get_error_name(code));
        let len =
            zstd_safe::decompress(out, self.packed).map_err(|code| self.damaged(said(code)))?;
        if len as u64 == size { Ok(()) } else { Err(Error::Less { size }) }
    }

    /// A legacy frame: blocks that stand alone, each behind its packed length.
    fn lz4(&self, out: &mut [u8], threads: usize) -> Result<(), Error> {
        let size = out.len() as u64;
        let blocks = self.lz4_blocks()?;
        let room = out.len().div_ceil(LZ4_BLOCK);
        match blocks.len() {
            found if found < room => return Err(Error::Less { size }),
            found if found > room => return Err(Error::More { size }),
            _ => {}
        }
        let mut parts: Vec<_> = blocks.into_iter().zip(out.chunks_mut(LZ4_BLOCK)).collect();
        let each = parts.len().div_ceil(threads.max(1)).max(1);
        let unpack = |parts: &mut [(&[u8], &mut [u8])]| {
            parts.iter_mut().try_for_each(|(block, out)| self.lz4_block(block, out))
        };
        thread::scope(|scope| {
            let mut shares = parts.chunks_mut(each);
            let own = shares.next().unwrap_or_default();
            let workers: Vec<_> = shares.map(|share| scope.spawn(move || unpack(share))).collect();
            let first = unpack(own);
            let join = |worker: thread::ScopedJoinHandle<'_, _>| {
                worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            // All are waited for, whatever one of them says.
            let rest: Vec<Result<(), Error>> = workers.into_iter().map(join).collect();
            first.and(rest.into_iter().collect())
        })
    }

    fn lz4_blocks(&self) -> Result<Vec<&'a [u8]>, Error> {
        let cut = || self.damaged(io::ErrorKind::UnexpectedEof.into());
        let mut rest = self.packed;
        let mut blocks = Vec::new();
        while let Some((word, behind)) = rest.split_first_chunk() {
            let len = u32::from_le_bytes(*word);
            // Frames may follow each other, as from a linker of archives.
            if len == LZ4_MAGIC {
                rest = behind;
                continue;
            }
            let block = behind.split_at_checked(index(len.into())).ok_or_else(cut)?;
            blocks.push(block.0);
            rest = block.1;
        }
        if rest.is_empty() { Ok(blocks) } else { Err(cut()) }
    }

    fn lz4_block(&self, block: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let len = unlz4(block, out).map_err(|source| self.damaged(source))?;
        if len == out.len() { Ok(()) } else { Err(Error::Less { size: self.size as u64 }) }
    }
}

/// Unpacks a block of lz4 to the beginning of `out`, which has to be large enough, and
/// gives how many bytes there are.
pub(crate) fn unlz4(block: &[u8], out: &mut [u8]) -> io::Result<usize> {
    // Lengths are C's there, and one that is cut short is another.
    i32::try_from(block.len()).map_err(io::Error::other)?;
    let room = i32::try_from(out.len()).map_err(io::Error::other)?;
    lz4::block::decompress_to_buffer(block, Some(room), out)
}

#[cfg(test)]
mod tests;
