//! Following archives and the NULs between them, by their headers alone.

use std::io;

use super::{ALIGN, Record};
use crate::{
    range::{align_up, index},
    read_at::{ReadAt, fetch},
};

/// The longest name. `PATH_MAX`.
const NAME_MAX: u64 = 4096;
/// As many NULs are looked at at once.
const NULS_CHUNK: u64 = 4096;
/// A mode's bits that tell what kind of file it is, and those of a symbolic link.
const KIND: u64 = 0o170_000;
const SYMBOLIC_LINK: u64 = 0o120_000;
const REGULAR: u64 = 0o100_000;

/// What comes where there is no archive and no NUL any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The end, and no archive is open there.
    End,
    /// Something else, at that offset.
    Other(u64),
    /// At that offset something that the kernel stops at, or does not say a word of.
    Odd(u64),
}

/// What comes before what is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// Something that was packed: what follows may begin anywhere.
    Packed,
    /// Perhaps an archive: what follows begins at a multiple of 4 (`do_reset`).
    Archive,
}

/// Follows whole archives in `source` from `at` on. Offsets count from where the
/// kernel counts from, for alignment.
///
/// What only the kernel's own code says what it does with (names without an end, links
/// longer than a path) is odd, though it might come through.
pub(super) fn follow(
    source: &(impl ReadAt + ?Sized),
    mut at: u64,
    mut before: Before,
) -> io::Result<Next> {
    loop {
        let Some((here, byte)) = skip_nuls(source, at)? else { return Ok(Next::End) };
        match before {
            Before::Archive if !here.is_multiple_of(ALIGN) => return Ok(Next::Odd(here)),
            _ if byte != b'0' => return Ok(Next::Other(here)),
            _ => before = Before::Archive,
        }
        at = match archive(source, here)? {
            Some(end) => end,
            None => return Ok(Next::Odd(here)),
        };
    }
}

/// The first byte from `at` on that is no NUL, and where it is.
fn skip_nuls(source: &(impl ReadAt + ?Sized), mut at: u64) -> io::Result<Option<(u64, u8)>> {
    // Most often there are none.
    let mut step = 1;
    while at < source.len() {
        let bytes = fetch(source, at, source.len().saturating_sub(at).min(step))?;
        if let Some(nuls) = bytes.iter().position(|byte| *byte != 0) {
            let byte = bytes.get(nuls).copied().unwrap_or_default();
            return Ok(Some((at.saturating_add(nuls as u64), byte)));
        }
        at = at.saturating_add(bytes.len() as u64);
        step = NULS_CHUNK;
    }
    Ok(None)
}

/// Where the archive that begins at `at` ends, if it is a whole one.
fn archive(source: &(impl ReadAt + ?Sized), mut at: u64) -> io::Result<Option<u64>> {
    loop {
        let Some((end, is_trailer)) = record(source, at)? else { return Ok(None) };
        if is_trailer {
            return Ok(Some(end));
        }
        at = end;
    }
}

/// Where the record at `at` ends, and whether it ends the archive; `None` for one that
/// is odd.
fn record(source: &(impl ReadAt + ?Sized), at: u64) -> io::Result<Option<(u64, bool)>> {
    if !at.is_multiple_of(ALIGN) {
        return Ok(None);
    }
    let there = source.len().saturating_sub(at);
    // Most names are short: one read for both.
    let bytes = fetch(source, at, there.min(Record::HEADER.saturating_add(ALIGN << 5)))?;
    let Some(record) = Record::parse(&bytes) else { return Ok(None) };
    let end = record.end(at).filter(|end| *end <= source.len());
    let (Some(end), 1..=NAME_MAX) = (end, record.name_size) else { return Ok(None) };
    let size_max = match record.mode & KIND {
        REGULAR => u64::MAX,
        SYMBOLIC_LINK => NAME_MAX,
        _ => 0,
    };
    if record.file_size > size_max {
        return Ok(None);
    }
    let name_end = Record::HEADER.saturating_add(record.name_size);
    let name = match bytes.get(index(Record::HEADER)..index(name_end)) {
        Some(name) => name.to_vec(),
        None => fetch(source, at.saturating_add(Record::HEADER), record.name_size)?,
    };
    if name.last() != Some(&0) {
        return Ok(None);
    }
    // strcmp(3), as the kernel has it: to the first NUL.
    Ok(Some((end, name.starts_with(Record::TRAILER))))
}

/// Where something that stood at `at` may stand, from `free` on: aligned as it was.
pub(super) fn congruent(free: u64, at: u64) -> Option<u64> {
    let aligned = align_up(free, ALIGN)?;
    let residue = at.checked_rem(ALIGN)?;
    let before = aligned.checked_sub(ALIGN.checked_sub(residue)?).filter(|place| *place >= free);
    before.or_else(|| aligned.checked_add(residue))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        Counted,
        cpio::{archive, record},
    };

    fn next(bytes: &[u8]) -> Next {
        follow(bytes, 0, Before::Archive).unwrap()
    }

    #[test]
    fn archives_and_nuls_are_followed_to_what_is_neither() {
        let two = [archive(&[("a", b"x"), ("b", b"")]), archive(&[("c", b"content")])].concat();
        assert_eq!(next(&[]), Next::End);
        assert_eq!(next(&[0; 9000]), Next::End);
        assert_eq!(next(&two), Next::End);
        let behind = [&two[..], &[0; 5000], b"\x1f\x8b"].concat();
        assert_eq!(next(&behind), Next::Other(two.len() as u64 + 5000));
    }

    #[test]
    fn what_is_packed_is_aligned_behind_an_archive_only() {
        let packed = b"\0\x1f\x8b";
        assert_eq!(next(packed), Next::Odd(1));
        assert_eq!(follow(&packed[..], 0, Before::Packed).unwrap(), Next::Other(1));
        let behind = [&archive(&[])[..], packed].concat();
        let odd = Next::Odd(archive(&[]).len() as u64 + 1);
        assert_eq!(follow(&behind, 0, Before::Packed).unwrap(), odd);
    }

    #[test]
    fn what_is_no_whole_archive_is_odd() {
        let sound = archive(&[("a", b"content")]);
        for len in 1..sound.len() {
            assert_eq!(next(&sound[..len]), Next::Odd(0), "{len}");
        }
        assert_eq!(next(&[&[0], &sound[..]].concat()), Next::Odd(1), "not aligned");
        assert_eq!(next(&[&sound[..], b"0"].concat()), Next::Odd(sound.len() as u64));
        assert_eq!(next(b"070707and so on"), Next::Odd(0));
    }

    #[test]
    fn what_the_kernel_reads_in_its_own_way_is_odd() {
        let trailer = record("TRAILER!!!\0", 0, b"");
        let with = |record: Vec<u8>| next(&[record, trailer.clone()].concat());
        assert_eq!(with(record("name\0", 0o100_644, b"content")), Next::End);
        assert_eq!(with(record("name", 0o100_644, b"content")), Next::Odd(0), "no NUL");
        assert_eq!(with(record("", 0o100_644, b"content")), Next::Odd(0), "no name");
        let long = format!("{}\0", "n".repeat(4095));
        assert_eq!(with(record(&long, 0o100_644, b"content")), Next::End);
        assert_eq!(with(record(&format!("n{long}"), 0o100_644, b"content")), Next::Odd(0));
        assert_eq!(with(record("link\0", 0o120_777, &[b'a'; 4096])), Next::End);
        assert_eq!(with(record("link\0", 0o120_777, &[b'a'; 4097])), Next::Odd(0));
        assert_eq!(with(record("folder\0", 0o040_755, b"")), Next::End);
        assert_eq!(with(record("folder\0", 0o040_755, b"content")), Next::Odd(0));
        assert_eq!(next(&record("TRAILER!!!\0more\0", 0, b"")), Next::End);
    }

    #[test]
    fn a_place_is_as_aligned_as_another() {
        for free in 0..9 {
            for at in 0..9 {
                let place = congruent(free, at).unwrap();
                assert!(place >= free && place < free + 4 && place % 4 == at % 4, "{free} {at}");
            }
        }
        assert_eq!(congruent(u64::MAX, 1), None);
    }

    #[test]
    fn a_record_with_a_short_name_takes_one_read() {
        let short = Counted::new(archive(&[("a/name/of/some/length", b"x"), ("b", b"")]));
        assert_eq!(follow(&short, 0, Before::Archive).unwrap(), Next::End);
        // And one for the byte that the archive begins with.
        assert_eq!(short.reads(), 3 + 1);
    }
}
