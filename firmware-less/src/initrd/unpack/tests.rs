//! Beside a model of the kernel's own code, which says what an initrd is to it.

use super::{super::model::Kernel, *};
use crate::testing::{Random, cpio::archive};

const LIMIT: u64 = 1 << 20;
const FORMATS: [Format; 4] = [Format::Gzip, Format::Xz, Format::Lz4, Format::Zstd];

fn some_archive(random: &mut Random) -> Vec<u8> {
    let content = vec![random.one_of(b"0123456789"); random.below(40)];
    let names = ["a", "some/longer/name", "bcd"];
    let files: Vec<_> = names.iter().take(random.below(4)).collect();
    archive(&files.iter().map(|name| (**name, &content[..])).collect::<Vec<_>>())
}

/// A piece of an initrd, sound more often than not.
fn piece(random: &mut Random) -> Vec<u8> {
    match random.below(24) {
        0..6 => some_archive(random),
        6..8 => vec![0; 4 * random.below(3)],
        8 => vec![0; random.below(9)],
        9 => {
            let mut cut = some_archive(random);
            cut.truncate(random.below(cut.len()));
            cut
        }
        10 => [&b"BZh9"[..], b"junk", b"0", b"\x1f\x8b\x08"][random.below(4)].to_vec(),
        _ => {
            let mut content = some_archive(random);
            while random.below(3) > 0 {
                content.extend(match random.below(16) {
                    0 => vec![0; random.below(9)],
                    1 => b"junk".to_vec(),
                    2 => piece(random),
                    _ => some_archive(random),
                });
            }
            random.one_of(&FORMATS).pack(&content)
        }
    }
}

/// Several parts are padded each.
fn concatenated(parts: &[Vec<u8>]) -> Vec<u8> {
    let align = if parts.len() > 1 { 4 } else { 1 };
    let mut whole: Vec<u8> = Vec::new();
    for part in parts {
        whole.extend(part);
        whole.resize(whole.len().next_multiple_of(align), 0);
    }
    whole
}

/// The parts unpacked, to the first that stays or of which something does.
fn handed_over(parts: &[Vec<u8>], unpacked: &mut usize, stopped: &mut usize) -> Vec<Vec<u8>> {
    let mut handed = parts.to_vec();
    for (number, part) in parts.iter().enumerate() {
        let is_last = number + 1 == parts.len();
        let part = unpack(Part { bytes: part, is_last }, LIMIT, 1);
        *unpacked += part.formats.len();
        handed[number] = part.bytes;
        if let Some(rest) = part.rest {
            *stopped += 1;
            return if rest.is_aligned() { handed } else { parts.to_vec() };
        }
    }
    handed
}

#[test]
fn to_the_kernel_an_unpacked_initrd_is_what_the_packed_one_was() {
    let mut random = Random::seeded(6);
    let (mut unpacked, mut stopped) = (0, 0);
    for round in 0..4000 {
        let count = 1 + random.below(3);
        let parts: Vec<Vec<u8>> = (0..count)
            .map(|_| (0..=random.below(3)).flat_map(|_| piece(&mut random)).collect())
            .collect();
        let was = concatenated(&parts);
        let is = concatenated(&handed_over(&parts, &mut unpacked, &mut stopped));
        assert_eq!(Kernel::of(&is, LIMIT), Kernel::of(&was, LIMIT), "{round}: {parts:02x?}");
    }
    assert!(unpacked > 1000 && stopped > 500, "{unpacked} {stopped}");
}

fn all(bytes: &[u8]) -> Unpacked {
    unpack(Part { bytes, is_last: true }, LIMIT, 2)
}

#[test]
fn microcode_stays_before_what_was_packed_behind_it() {
    let microcode = archive(&[("kernel/x86/microcode/AuthenticAMD.bin", b"code")]);
    let root = archive(&[("init", b"#!/bin/sh")]);
    for format in FORMATS {
        let initrd = [&microcode[..], &[0; 512], &format.pack(&root)].concat();
        let found = all(&initrd);
        assert_eq!(found.formats, [format]);
        assert_eq!(found.bytes, [&microcode[..], &[0; 512], &root].concat());
        assert!(found.rest.is_none());
    }
}

#[test]
fn members_may_follow_each_other_at_any_place() {
    let (first, second) = (archive(&[("a", b"1")]), archive(&[("b", b"2")]));
    let initrd = [Format::Gzip.pack(&first), vec![0], Format::Zstd.pack(&second)].concat();
    let found = all(&initrd);
    assert_eq!(found.formats, [Format::Gzip, Format::Zstd]);
    assert_eq!(found.rest.map(|rest| rest.to_string()), None);
    assert_eq!(Kernel::of(&found.bytes, LIMIT).records.len(), 4);
}

#[test]
fn what_is_left_to_the_kernel_says_why_and_is_as_it_was() {
    let root = archive(&[("init", b"#!/bin/sh")]);
    let left = |bytes: &[u8]| {
        let found = all(bytes);
        assert_eq!(found.bytes, bytes);
        assert_eq!(found.formats, []);
        found.rest.expect("a rest").to_string()
    };
    assert_eq!(left(b"BZh9"), "at 0x0 is neither an archive nor gzip, xz, zstd or lz4");
    assert_eq!(
        left(&[&root[..], b"0707"].concat()),
        format!("at {:#x} is no archive that is whole and sound", root.len())
    );
    assert_eq!(
        left(&Format::Xz.pack(b"#!/bin/sh")),
        "the xz data at 0x0 unpacks to something else than archives"
    );
    let bomb = Format::Zstd.pack(&vec![0; 2 << 20]);
    assert_eq!(left(&bomb), "at 0x0: it unpacks to more than 0x100000 bytes");
}

#[test]
fn what_came_before_the_rest_stays_unpacked() {
    let root = archive(&[("init", b"#!/bin/sh")]);
    let mut gzip = Format::Gzip.pack(&root);
    gzip.resize(gzip.len().next_multiple_of(4), 0);
    let found = all(&[&gzip[..], b"BZh9"].concat());
    assert!(found.bytes.starts_with(&root) && found.bytes.ends_with(b"\0BZh9"));
    assert_eq!(found.formats, [Format::Gzip]);
    assert_eq!(found.rest.expect("a rest").at, gzip.len() as u64);
}

#[test]
fn a_look_tells_what_there_is_to_unpack() {
    let root = archive(&[("init", b"#!/bin/sh")]);
    let gzip = Format::Gzip.pack(&root);
    let look = |bytes: &[u8]| {
        let file = [b"before", bytes, b"behind"].concat();
        look(&file, FileRange::new(6, bytes.len() as u64).unwrap()).unwrap()
    };
    assert_eq!(look(&root), Look::Archives);
    assert_eq!(look(&[&root[..], &gzip].concat()), Look::Packed);
    assert_eq!(look(&[&root[..], b"BZh9"].concat()), Look::Other);
    assert_eq!(look(&[&root[..], b"0"].concat()), Look::Other);
    assert_eq!(look(b"\x1f"), Look::Other);
    assert_eq!(look(b""), Look::Archives);
}

#[test]
fn what_its_decompressor_says_is_why_something_is_left_to_the_kernel() {
    let source = || io::Error::other("said so");
    let damaged = Error::Damaged { format: Format::Xz, source: source() };
    let cause = |why| std::error::Error::source(&Rest { at: 4, why }).map(ToString::to_string);
    assert_eq!(cause(Why::Packed(damaged)), Some("said so".into()));
    assert_eq!(cause(Why::Unknown), None);
}
