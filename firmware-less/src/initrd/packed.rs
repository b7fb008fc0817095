//! [`Format`]: how the archives of an initrd are packed, and what one unpacks to.

use std::{
    fmt,
    io::{self, Read},
    thread,
};

use thiserror::Error;

use crate::{
    kernel::payload::{LZ4_BLOCK, LZ4_MAGIC, WINDOW_MAX_KIB, unlz4},
    range::index,
};

/// What a decompressor of zstd may take for its window. lib/zstd, `ZSTD_WINDOWLOG_MAX`
/// as the kernel has it (include/linux/zstd_lib.h).
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// By how much there is room for more, where it is not known how much there is.
const STEP: usize = 4 << 20;

/// A way of packing that is undone here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the format of that name")]
pub enum Format {
    Gzip,
    Xz,
    Lz4,
    Zstd,
}

impl Format {
    /// Each with the two bytes that the kernel knows it by. lib/decompress.c,
    /// `compressed_formats`.
    const MAGIC: [(Self, [u8; 2]); 4] = [
        (Self::Gzip, [0x1f, 0x8b]),
        (Self::Xz, [0xfd, 0x37]),
        (Self::Lz4, [0x02, 0x21]),
        (Self::Zstd, [0x28, 0xb5]),
    ];

    /// How `packed` is packed, by its first bytes.
    pub(super) fn of(packed: &[u8]) -> Option<Self> {
        Self::MAGIC.iter().find(|(_, magic)| packed.starts_with(magic)).map(|(format, _)| *format)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

/// Why something is not unpacked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// Not for the kernel, or not for this decompressor.
    #[error("the {format} data is damaged, or not as the kernel wants it")]
    Damaged {
        /// How it is packed.
        format: Format,
        /// What its decompressor says.
        #[source]
        source: io::Error,
    },
    /// A header with what the kernel does not know.
    #[error("the kernel reads no {format} data with {what}")]
    Unread {
        /// How it is packed.
        format: Format,
        /// What it does not know.
        what: &'static str,
    },
    /// More than is wanted.
    #[error("it unpacks to more than {limit:#x} bytes")]
    Large {
        /// The most.
        limit: u64,
    },
}

/// What came out, and how many bytes of the packed ones it was.
pub(super) struct Member {
    pub(super) bytes: Vec<u8>,
    pub(super) packed_len: usize,
}

/// Unpacks what `packed` begins with, as far as the kernel's decompressor of that
/// format would: what follows is for the next. More than `limit` bytes are refused.
/// `is_last` says whether nothing follows `packed`.
pub(super) fn member(
    format: Format,
    packed: &[u8],
    limit: u64,
    (threads, is_last): (usize, bool),
) -> Result<Member, Error> {
    match format {
        Format::Gzip => gzip(packed, limit),
        Format::Xz => xz(packed, limit),
        Format::Lz4 => Lz4::find(packed, is_last)?.unpack(limit, threads),
        Format::Zstd => zstd(packed, limit),
    }
}

fn damaged(format: Format) -> impl Fn(io::Error) -> Error {
    move |source| Error::Damaged { format, source }
}

/// All that `reader` has.
fn read_all(reader: impl Read, format: Format, limit: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut reader = reader.take(limit.saturating_add(1));
    reader.read_to_end(&mut bytes).map_err(damaged(format))?;
    if bytes.len() as u64 > limit { Err(Error::Large { limit }) } else { Ok(bytes) }
}

/// lib/decompress_inflate.c, which knows of all that may be in a header the name only,
/// and does not look at the check sum. RFC 1952, 2.3.1.
fn gzip(packed: &[u8], limit: u64) -> Result<Member, Error> {
    const TEXT: u8 = 1;
    const NAME: u8 = 1 << 3;
    let flags = packed.get(3).copied().unwrap_or_default();
    if flags & !(TEXT | NAME) != 0 {
        return Err(Error::Unread { format: Format::Gzip, what: "more than a name in its header" });
    }
    let mut reader = flate2::bufread::GzDecoder::new(packed);
    let bytes = read_all(&mut reader, Format::Gzip, limit)?;
    let packed_len = packed.len().saturating_sub(reader.into_inner().len());
    Ok(Member { bytes, packed_len })
}

/// lib/xz, which is built without `XZ_DEC_ANY_CHECK`. The .xz file format, 2.1.1.2.
fn xz(packed: &[u8], limit: u64) -> Result<Member, Error> {
    const CRC32: u8 = 1;
    if packed.get(7).is_some_and(|check| *check > CRC32) {
        return Err(Error::Unread { format: Format::Xz, what: "a check other than CRC32" });
    }
    let mut reader = lzma_rust2::XzReader::new_mem_limit(packed, false, WINDOW_MAX_KIB);
    let bytes = read_all(&mut reader, Format::Xz, limit)?;
    let packed_len = packed.len().saturating_sub(reader.into_inner().len());
    Ok(Member { bytes, packed_len })
}

/// lib/decompress_unzstd.c: one frame.
fn zstd(packed: &[u8], limit: u64) -> Result<Member, Error> {
    let said = |code| damaged(Format::Zstd)(io::Error::other(zstd_safe::get_error_name(code)));
    let mut context = zstd_safe::DCtx::create();
    let window = zstd_safe::DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX);
    context.set_parameter(window).map_err(said)?;
    let mut input = zstd_safe::InBuffer::around(packed);
    let mut bytes = Vec::new();
    // What the frame says of its size is a wish: nobody has to keep to it.
    let told = zstd_safe::get_frame_content_size(packed).ok().flatten().unwrap_or_default();
    let mut room = index(told.min(limit)).max(STEP);
    loop {
        bytes.reserve(room);
        room = STEP;
        let done = bytes.len();
        let mut output = zstd_safe::OutBuffer::around_pos(&mut bytes, done);
        let more = context.decompress_stream(&mut output, &mut input).map_err(said)?;
        let is_full = output.pos() == output.capacity();
        if bytes.len() as u64 > limit {
            return Err(Error::Large { limit });
        }
        if more == 0 {
            return Ok(Member { bytes, packed_len: input.pos() });
        }
        // Where it left room, it has given all that there was (zstd.h, ZSTD_decompressStream).
        if !is_full {
            return Err(damaged(Format::Zstd)(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// A legacy frame of lz4: blocks that stand alone.
struct Lz4<'a> {
    blocks: Vec<&'a [u8]>,
    packed_len: usize,
}

impl<'a> Lz4<'a> {
    /// lib/decompress_unlz4.c, `unlz4`: to a block of no bytes, or to the end.
    ///
    /// Anything else that follows is taken for a block by the kernel, which then stops;
    /// so that what is not the last part of an initrd has to end in a block of none.
    fn find(packed: &'a [u8], is_last: bool) -> Result<Self, Error> {
        let damaged = |kind: io::ErrorKind| damaged(Format::Lz4)(kind.into());
        let cut = || damaged(io::ErrorKind::UnexpectedEof);
        if !packed.starts_with(&LZ4_MAGIC.to_le_bytes()) {
            return Err(damaged(io::ErrorKind::InvalidData));
        }
        let mut blocks = Vec::new();
        let mut rest = packed;
        while let Some((word, behind)) = rest.split_first_chunk() {
            let len = u32::from_le_bytes(*word);
            if len == 0 {
                return Ok(Self { blocks, packed_len: packed.len().saturating_sub(rest.len()) });
            }
            rest = behind;
            // Frames may follow each other.
            if len != LZ4_MAGIC {
                let (block, behind) = rest.split_at_checked(index(len.into())).ok_or_else(cut)?;
                blocks.push(block);
                rest = behind;
            }
        }
        // Padding may make a length of the last bytes.
        if !is_last || rest.iter().any(|byte| *byte != 0) {
            let what = "anything but zeros behind it";
            return Err(Error::Unread { format: Format::Lz4, what });
        }
        Ok(Self { blocks, packed_len: packed.len().saturating_sub(rest.len()) })
    }

    /// By as many threads, as many blocks at once.
    fn unpack(&self, limit: u64, threads: usize) -> Result<Member, Error> {
        let mut bytes = Vec::new();
        for some in self.blocks.chunks(threads.max(1)) {
            let unpacked = thread::scope(|scope| {
                let (first, others) = some.split_first()?;
                let others: Vec<_> =
                    others.iter().map(|block| scope.spawn(|| lz4_block(block))).collect();
                let first = lz4_block(first);
                let join = |worker: thread::ScopedJoinHandle<'_, _>| {
                    worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                };
                let others: Vec<_> = others.into_iter().map(join).collect();
                Some(std::iter::once(first).chain(others).collect::<Vec<_>>())
            });
            for block in unpacked.unwrap_or_default() {
                bytes.extend_from_slice(&block?);
                if bytes.len() as u64 > limit {
                    return Err(Error::Large { limit });
                }
            }
        }
        Ok(Member { bytes, packed_len: self.packed_len })
    }
}

fn lz4_block(block: &[u8]) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; LZ4_BLOCK];
    let len = unlz4(block, &mut bytes).map_err(damaged(Format::Lz4))?;
    bytes.truncate(len);
    Ok(bytes)
}

#[cfg(test)]
impl Format {
    /// `content` packed so.
    pub(super) fn pack(self, content: &[u8]) -> Vec<u8> {
        use crate::testing::pack::{gzip, lz4, xz, zstd};
        match self {
            Self::Gzip => gzip(content),
            Self::Xz => xz(content),
            Self::Lz4 => lz4(content),
            Self::Zstd => zstd(content),
        }
    }
}

#[cfg(test)]
mod tests;
