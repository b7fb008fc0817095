//! Beside a model of the kernel's own code, which says what an initrd is to it.

use super::*;
use crate::testing::{Random, cpio::archive};

const LIMIT: u64 = 1 << 20;
const FORMATS: [Format; 4] = [Format::Gzip, Format::Xz, Format::Lz4, Format::Zstd];

/// init/initramfs.c, as far as records, NULs, alignment and errors go.
#[derive(Debug, Default, PartialEq, Eq)]
struct Kernel {
    /// Names and contents of what was unpacked, trailers too.
    records: Vec<(Vec<u8>, Vec<u8>)>,
    failed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Reset,
    /// In the middle of a record.
    Inside,
}

impl Kernel {
    /// `unpack_to_rootfs`.
    fn of(bytes: &[u8]) -> Self {
        let mut kernel = Self::default();
        let (mut at, mut header, mut state) = (0, 0, State::Start);
        while !kernel.failed && at < bytes.len() {
            let before = header;
            match bytes[at] {
                b'0' if header % 4 == 0 => {
                    state = State::Start;
                    at += kernel.write_buffer(&bytes[at..], &mut state, &mut header);
                }
                0 => (at, header) = (at + 1, header + 1),
                _ => {
                    let Some(format) = Format::of(&bytes[at..]) else {
                        kernel.failed = true;
                        break;
                    };
                    let Ok(member) = member(format, &bytes[at..], LIMIT, (1, true)) else {
                        kernel.failed = true;
                        break;
                    };
                    kernel.flush_buffer(&member.bytes, &mut state);
                    kernel.failed |= state != State::Reset;
                    (at, header) = (at + member.packed_len, before + member.packed_len);
                }
            }
        }
        kernel
    }

    fn flush_buffer(&mut self, bytes: &[u8], state: &mut State) {
        let (mut at, mut header) = (0, 0);
        loop {
            at += self.write_buffer(&bytes[at..], state, &mut header);
            match bytes.get(at) {
                _ if self.failed => break,
                None => break,
                Some(b'0') => *state = State::Start,
                Some(0) => *state = State::Reset,
                Some(_) => self.failed = true,
            }
        }
    }

    /// How many bytes of it were taken.
    fn write_buffer(&mut self, bytes: &[u8], state: &mut State, header: &mut usize) -> usize {
        let mut at = 0;
        if *state == State::Start && !bytes.is_empty() {
            let Some(record) = bytes.get(..110) else {
                *state = State::Inside;
                return bytes.len();
            };
            if !record.starts_with(b"070701") {
                self.failed = true;
                *header += 110;
                return 110;
            }
            // `simple_strtoul` stops at what is no digit.
            let number = |at: usize| {
                let digits = record[at..at + 8].iter().map(|digit| char::from(*digit).to_digit(16));
                digits.map_while(|digit| digit).fold(0, |sum, digit| sum * 16 + digit as usize)
            };
            let (size, name) = (number(54), number(94));
            let content = (110 + name).next_multiple_of(4);
            let end = (*header + content + size).next_multiple_of(4) - *header;
            if end > bytes.len() {
                *state = State::Inside;
                return bytes.len();
            }
            let content = bytes[content..content + size].to_vec();
            self.records.push((bytes[110..110 + name].to_vec(), content));
            *state = State::Reset;
            (at, *header) = (end, *header + end);
        }
        if *state == State::Reset {
            let nuls = bytes[at..].iter().take_while(|byte| **byte == 0).count();
            (at, *header) = (at + nuls, *header + nuls);
            self.failed |= at < bytes.len() && !header.is_multiple_of(4);
        }
        at
    }
}

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
        assert_eq!(Kernel::of(&is), Kernel::of(&was), "{round}: {parts:02x?}");
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
    assert_eq!(Kernel::of(&found.bytes).records.len(), 4);
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
