//! [`Segment`]: what an initrd consists of, as far as that shows from outside.

use std::{fmt, io};

use crate::{
    file_format::FileFormat,
    initrd::{ALIGN, Record},
    range::{FileRange, index},
    read_at::{ReadAt, fetch},
};

/// What the kernel would take a segment for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An uncompressed cpio archive, "newc".
    Newc,
    /// The same with check sums.
    NewcCrc,
    /// Compressed, with the program of that name.
    Compressed(&'static str),
    /// Nothing that the kernel unpacks.
    Other(FileFormat),
}

impl Format {
    /// Whether the kernel unpacks it. `lib/decompress.c`, `compressed_formats`:
    /// of LZ4 only the legacy format, which has no frames.
    #[must_use]
    pub fn is_for_the_kernel(self) -> bool {
        !matches!(self, Self::Other(_) | Self::Compressed("lz4 (frames)"))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newc => f.write_str("cpio newc"),
            Self::NewcCrc => f.write_str("cpio newc (crc)"),
            Self::Compressed(with) => f.write_str(with),
            Self::Other(FileFormat::Cpio) => f.write_str("cpio of another kind"),
            Self::Other(found) => write!(f, "{found}"),
        }
    }
}

/// A stretch of one format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its format.
    pub format: Format,
    /// Where it is in its source. What is compressed reaches to the end: only
    /// unpacking it could tell.
    pub range: FileRange,
    /// The records of an uncompressed archive, its trailer not counted.
    pub records: Option<u32>,
    /// How far it was followed.
    pub end: End,
}

/// How the end of a segment was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The archive has a trailer.
    Trailer,
    /// The archive is cut short, or damaged.
    Cut,
    /// Nobody looked: what is compressed, or has too many records.
    NotFollowed,
}

/// How many records of archives are looked at.
#[derive(Clone, Copy, Debug)]
pub struct RecordsMax(pub u32);

/// How many bytes tell a format.
const MAGIC: u64 = 16;
/// NULs between segments are followed no further.
const NULS_MAX: u64 = 64 << 10;
/// As many NULs are looked at at once.
const NULS_CHUNK: u64 = 512;

/// The segments of the initrd that `part` of `source` holds.
///
/// Follows the kernel's `init/initramfs.c`, `unpack_to_rootfs`: archives, NULs
/// between them, then what is compressed. Reads headers only, no content.
pub(super) fn segments(
    source: &(impl ReadAt + ?Sized),
    part: FileRange,
    records_max: RecordsMax,
) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    let mut budget = records_max.0;
    let mut rest = part;
    while let Some(start) = skip_nuls(source, rest)? {
        let at = start.offset().saturating_sub(part.offset());
        let magic = fetch(source, start.offset(), start.len().min(MAGIC))?;
        let format = match format_of(&magic) {
            // The kernel looks for archives at multiples of 4 only.
            Format::Newc | Format::NewcCrc if !at.is_multiple_of(ALIGN) => {
                Format::Other(FileFormat::Unknown)
            }
            format => format,
        };
        if !matches!(format, Format::Newc | Format::NewcCrc) {
            segments.push(Segment { format, range: start, records: None, end: End::NotFollowed });
            break;
        }
        let Archive { len, records, end } = archive(source, start, &mut budget)?;
        let range = if end == End::Trailer { start.take(len) } else { start };
        segments.push(Segment { format, range, records: Some(records), end });
        rest = start.skip(range.len()).unwrap_or(FileRange::EMPTY);
    }
    Ok(segments)
}

fn format_of(magic: &[u8]) -> Format {
    match FileFormat::of(magic) {
        FileFormat::Cpio if magic.starts_with(b"070701") => Format::Newc,
        FileFormat::Cpio if magic.starts_with(b"070702") => Format::NewcCrc,
        FileFormat::Compressed(with) => Format::Compressed(with),
        found => Format::Other(found),
    }
}

/// `rest` from its first byte on that is no NUL; `None` if there is none within
/// reach.
fn skip_nuls(source: &(impl ReadAt + ?Sized), rest: FileRange) -> io::Result<Option<FileRange>> {
    let mut skipped = 0;
    while skipped < rest.len().min(NULS_MAX) {
        let Some(here) = rest.skip(skipped) else { break };
        let bytes = fetch(source, here.offset(), here.len().min(NULS_CHUNK))?;
        match bytes.iter().position(|&byte| byte != 0) {
            Some(nuls) => return Ok(here.skip(nuls as u64)),
            None => skipped = skipped.saturating_add(NULS_CHUNK),
        }
    }
    Ok(None)
}

struct Archive {
    len: u64,
    records: u32,
    end: End,
}

/// Follows an archive from record to record.
fn archive(
    source: &(impl ReadAt + ?Sized),
    from: FileRange,
    budget: &mut u32,
) -> io::Result<Archive> {
    let mut found = Archive { len: 0, records: 0, end: End::Cut };
    while let Some(rest) = from.skip(found.len).filter(|rest| rest.len() >= Record::HEADER) {
        let Some(left) = budget.checked_sub(1) else {
            found.end = End::NotFollowed;
            break;
        };
        *budget = left;
        let start = rest.take(Record::HEADER.saturating_add(Record::TRAILER.len() as u64));
        let bytes = fetch(source, start.offset(), start.len())?;
        let Some(record) = Record::parse(&bytes) else { break };
        let is_trailer = is_trailer(record, &bytes);
        // Nothing need follow the trailer, not even what aligns it.
        let next = if is_trailer { record.name_end(found.len) } else { record.end(found.len) };
        let Some(next) = next.filter(|&next| next <= from.len()) else { break };
        found.len = next;
        if is_trailer {
            found.end = End::Trailer;
            break;
        }
        found.records = found.records.saturating_add(1);
    }
    Ok(found)
}

/// Whether a record, of which these are the first bytes, ends its archive.
fn is_trailer(record: Record, bytes: &[u8]) -> bool {
    record.name_size == Record::TRAILER.len() as u64
        && bytes.get(index(Record::HEADER)..) == Some(Record::TRAILER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uki::cpio::{Target, archive};

    const MANY: RecordsMax = RecordsMax(1000);

    fn found(initrd: &[u8]) -> Vec<(String, u64, u64, Option<u32>)> {
        let part = FileRange::first(initrd.len() as u64);
        let segments = segments(initrd, part, MANY).unwrap();
        let shown = |segment: &Segment| {
            let range = segment.range;
            (segment.format.to_string(), range.offset(), range.len(), segment.records)
        };
        segments.iter().map(shown).collect()
    }

    fn cpio() -> Vec<u8> {
        archive(&Target::EXTRA, &[("a", b"content"), ("b", b"")]).unwrap()
    }

    #[test]
    fn microcode_is_told_from_what_follows_it() {
        let mut initrd = cpio();
        let len = initrd.len() as u64;
        initrd.resize(1024, 0);
        initrd.extend(b"\x28\xb5\x2f\xfd and so on");
        assert_eq!(
            found(&initrd),
            [
                ("cpio newc".into(), 0, len - 3, Some(3)),
                ("zstd".into(), 1024, initrd.len() as u64 - 1024, None)
            ]
        );
    }

    #[test]
    fn formats_are_those_of_the_kernel() {
        for (magic, name, is_for_the_kernel) in [
            (&b"\x1f\x8b\x08"[..], "gzip", true),
            (b"\xfd7zXZ\0", "xz", true),
            (b"\x02\x21\x4c\x18", "lz4", true),
            (b"\x04\x22\x4d\x18", "lz4 (frames)", false),
            (b"BZh9", "bzip2", true),
            (b"\x5d\0\0\x80\0", "lzma", true),
            (b"070701", "cpio newc", true),
            (b"070702", "cpio newc (crc)", true),
            (b"070707", "cpio of another kind", false),
            (b"hsqs\xff\xfe", "of an unknown format", false),
        ] {
            let format = format_of(magic);
            assert_eq!(
                (format.to_string().as_str(), format.is_for_the_kernel()),
                (name, is_for_the_kernel)
            );
        }
    }

    #[test]
    fn an_archive_that_is_cut_or_too_long_is_incomplete() {
        let whole = cpio();
        for len in [1, 50, 200, whole.len() - 5] {
            let part = FileRange::first(len as u64);
            let segments = segments(whole.as_slice(), part, MANY).unwrap();
            assert!(
                segments.iter().all(|segment| segment.end != End::Trailer),
                "{len}: {segments:?}"
            );
        }
        let part = FileRange::first(whole.len() as u64);
        let segments = segments(whole.as_slice(), part, RecordsMax(2)).unwrap();
        assert_eq!((segments[0].records, segments[0].end), (Some(2), End::NotFollowed));
    }

    #[test]
    fn an_archive_at_an_odd_place_is_not_one() {
        let mut initrd = vec![0; 2];
        initrd.extend(cpio());
        assert_eq!(found(&initrd)[0].0, "of an unknown format");
        assert_eq!(found(&[0; 1000]), []);
        assert_eq!(found(&[]), []);
    }

    #[test]
    fn nuls_are_followed_so_far_and_no_further() {
        let behind = |nuls: usize| [&vec![0; nuls][..], b"\x1f\x8b\x08"].concat();
        assert_eq!(found(&behind(65_535))[0].1, 65_535);
        assert_eq!(found(&behind(65_536)), []);
    }
}
