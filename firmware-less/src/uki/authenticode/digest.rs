//! [`Digests`]: what a signature is over, and the PE checksum, in one pass.

use std::{fmt, io};

use super::Layout;
use crate::{
    range::{FileRange, index},
    read_at::{ReadAt, fetch},
    uki::pcr11::Bank,
};

/// The hashes that signatures and deny lists name: the same four that TPMs have.
pub type Hash = Bank;

/// How much of the file is in memory at once; even, so that no word is cut.
const CHUNK: usize = 1 << 18;
const _: () = assert!(CHUNK.is_multiple_of(2));

/// The digests of a file, and the checksums that it may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    digests: Vec<(Hash, Vec<u8>)>,
    /// What the file has in its field CheckSum.
    pub check_sum: CheckSum,
}

/// The field CheckSum, which no signature covers, and what it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckSum {
    /// As it is in the file.
    pub found: u32,
    /// As Windows' `CheckSumMappedFile` and `sbsign` compute it.
    pub computed: u32,
    /// As `systemd-sbsign` does, which counts the field itself, still zero, and
    /// passes over eight other bytes (`src/shared/pe-binary.c`, `pe_checksum`,
    /// compares an index of words with an offset of bytes).
    pub of_systemd: u32,
}

impl CheckSum {
    /// Whether some signing tool would have written it. Zero is what linkers and
    /// ukify write, and pesign leaves.
    #[must_use]
    pub fn is_good(&self) -> bool {
        [0, self.computed, self.of_systemd].contains(&self.found)
    }
}

impl Digests {
    /// The Authenticode digests of the file in `source`, by each of `hashes`.
    ///
    /// "Windows Authenticode Portable Executable Signature Format", "Calculating
    /// the PE Image Hash". What follows the last section is hashed as it is, as
    /// firmware and the kernel do, not padded as in that text. Reads the file once,
    /// in pieces.
    pub fn read(
        source: &(impl ReadAt + ?Sized),
        layout: &Layout,
        hashes: &[Hash],
    ) -> io::Result<Self> {
        let mut running: Vec<_> = hashes.iter().map(|&hash| (hash, hash.hash())).collect();
        let mut sums = Sums::new(layout);
        let mut buffer = vec![0; CHUNK.min(index(layout.file_len))];
        let mut offset = 0;
        while offset < layout.file_len {
            let step = layout.file_len.saturating_sub(offset).min(CHUNK as u64);
            let chunk = buffer.get_mut(..index(step)).unwrap_or_default();
            source.read_exact_at(offset, chunk)?;
            for part in hashed(layout, offset, step) {
                let part = part_of(chunk, offset, part);
                for (_, hasher) in &mut running {
                    hasher.update(part);
                }
            }
            sums.add(offset, chunk);
            offset = offset.saturating_add(step);
        }
        let field = fetch(source, layout.check_sum.offset(), 4)?;
        let found = field.first_chunk().copied().map_or(0, u32::from_le_bytes);
        let digests = running.into_iter().map(|(hash, hasher)| (hash, hasher.finalize().into()));
        Ok(Self { digests: digests.collect(), check_sum: sums.finish(found) })
    }

    /// The digest by `hash`, if it was asked for.
    #[must_use]
    pub fn get(&self, hash: Hash) -> Option<&[u8]> {
        let mut digests = self.digests.iter();
        digests.find_map(|(own, digest)| (*own == hash).then_some(digest.as_slice()))
    }
}

/// The parts of `len` bytes from `offset` on that are hashed.
fn hashed(layout: &Layout, offset: u64, len: u64) -> Vec<FileRange> {
    let end = offset.saturating_add(len);
    let mut from = offset;
    let mut parts = Vec::new();
    let beyond = FileRange::new(layout.file_len, 0).unwrap_or(FileRange::EMPTY);
    for left_out in [layout.check_sum, layout.directory, layout.table, beyond] {
        if left_out.is_empty() && left_out != beyond {
            continue;
        }
        let to = left_out.offset().min(end);
        parts.extend(FileRange::new(from, to.saturating_sub(from)));
        from = from.max(left_out.end());
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn part_of(chunk: &[u8], offset: u64, part: FileRange) -> &[u8] {
    let start = part.offset().saturating_sub(offset);
    chunk.get(index(start)..index(start.saturating_add(part.len()))).unwrap_or_default()
}

/// Sums of 16-bit words.
struct Sums {
    file_len: u64,
    check_sum: FileRange,
    /// What systemd's sum passes over.
    skipped: FileRange,
    all: u64,
    in_skipped: u64,
}

impl Sums {
    fn new(layout: &Layout) -> Self {
        let check_sum = layout.check_sum;
        let skipped = FileRange::new(check_sum.offset().saturating_mul(2), 8);
        let skipped = skipped.unwrap_or(FileRange::EMPTY);
        Self { file_len: layout.file_len, check_sum, skipped, all: 0, in_skipped: 0 }
    }

    /// Adds `chunk`, which is at `offset`; its CheckSum becomes zero.
    fn add(&mut self, offset: u64, chunk: &mut [u8]) {
        for at in self.check_sum.offset()..self.check_sum.end() {
            let byte = at.checked_sub(offset).and_then(|at| chunk.get_mut(index(at)));
            if let Some(byte) = byte {
                *byte = 0;
            }
        }
        self.all = self.all.saturating_add(sum(chunk));
        let start = self.skipped.offset().saturating_sub(offset);
        let end = self.skipped.end().saturating_sub(offset).min(chunk.len() as u64);
        let skipped = chunk.get(index(start)..index(end)).unwrap_or_default();
        self.in_skipped = self.in_skipped.saturating_add(sum(skipped));
    }

    fn finish(self, found: u32) -> CheckSum {
        let of_systemd = self.all.saturating_sub(self.in_skipped);
        CheckSum {
            found,
            computed: folded(self.all, self.file_len),
            of_systemd: folded(of_systemd, self.file_len),
        }
    }
}

/// The sum of the little-endian words in `bytes`, the last one filled with zeros.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<2>();
    let of_words = words.iter().map(|&word| u64::from(u16::from_le_bytes(word))).sum::<u64>();
    of_words.saturating_add(rest.first().copied().map_or(0, u64::from))
}

/// The sum with its carries added, and the file's length.
fn folded(mut sum: u64, file_len: u64) -> u32 {
    while sum > 0xffff {
        sum = (sum & 0xffff).saturating_add(sum >> 16);
    }
    // The field has 32 bits, and so have a PE file's offsets.
    u32::try_from(sum.wrapping_add(file_len) & 0xffff_ffff).unwrap_or(0)
}

impl fmt::Display for CheckSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carries_are_added_until_there_are_none() {
        assert_eq!(folded(0xffff, 1), 0x1_0000);
        assert_eq!(folded(0x1_0000, 0), 1);
        assert_eq!(folded(0xffff_ffff, 0x200), 0xffff + 0x200);
    }
}
