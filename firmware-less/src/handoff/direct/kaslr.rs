//! Where a kernel is put that nobody is to guess.
//!
//! arch/x86/boot/compressed/kaslr.c: one place in memory of all that are free, and,
//! independently of it, one place in the kernel's own gigabyte of virtual addresses.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::super::kexec::placement::Request;
use crate::{
    e820::MemoryMap,
    kernel::vmlinux::KERNEL_IMAGE_SIZE,
    range::{GuestRange, align_down, align_up},
};

/// Bytes of what is drawn from.
const SEED_LEN: usize = 32;

/// Whether the kernel's place is to be chosen at random, and what is drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It is to be where it is linked for.
    Off,
    /// At random, drawn from the seed.
    On([u8; SEED_LEN]),
    /// Its virtual addresses only: the command line says what memory there is.
    VirtualOnly([u8; SEED_LEN]),
}

impl Wish {
    /// What the command line makes of it, as the decompressor reads that: `nokaslr`
    /// forbids it, and where memory is limited or mapped by hand no other place is
    /// sure to be memory.
    pub(super) fn for_command_line(self, cmdline: &[u8]) -> Self {
        let mut words = cmdline.split(u8::is_ascii_whitespace);
        if words.clone().any(|word| word == b"nokaslr") {
            return Self::Off;
        }
        let limits = [&b"mem="[..], b"memmap=", b"hugepages="];
        let limited = words.any(|word| limits.iter().any(|limit| word.starts_with(limit)));
        match self {
            Self::On(seed) if limited => Self::VirtualOnly(seed),
            other => other,
        }
    }

    pub(super) fn seed(self) -> Option<[u8; SEED_LEN]> {
        match self {
            Self::Off => None,
            Self::On(seed) | Self::VirtualOnly(seed) => Some(seed),
        }
    }
}

/// Where a kernel came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Kaslr {
    /// Guest physical address of its start.
    pub physical: u64,
    /// How far it runs above the virtual addresses that it is linked for, in bytes;
    /// `None` where that was not chosen at random.
    pub virtual_offset: Option<u64>,
}

/// A number below `count`, which is not 0. The bias of the remainder is below 2⁻⁴⁰:
/// there are never more than 2²⁴ places.
fn draw(seed: &[u8; SEED_LEN], what: &str, count: u64) -> u64 {
    let hash: [u8; 32] = Sha256::new().chain_update(what).chain_update(seed).finalize().into();
    let number = hash.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    number.checked_rem(count).unwrap_or_default()
}

/// One of all places in RAM for what is requested that are free of what is `taken`;
/// `None` if there is none.
pub(super) fn physical(
    map: &MemoryMap,
    taken: &[GuestRange],
    request: Request,
    seed: &[u8; SEED_LEN],
) -> Option<GuestRange> {
    let runs: Vec<Run> = map
        .ram()
        .flat_map(|ram| free(ram, taken))
        .filter_map(|range| Run::in_range(range, request))
        .collect();
    let count = runs.iter().map(|run| run.count).sum();
    let mut number = if count == 0 { return None } else { draw(seed, "physical", count) };
    for run in runs {
        if number < run.count {
            let start = run.first.saturating_add(number.saturating_mul(request.align));
            return GuestRange::new(start, request.len);
        }
        number = number.saturating_sub(run.count);
    }
    None
}

/// How far above its linked virtual address a kernel of `len` bytes is to run, that
/// is linked for the physical address `linked`: a multiple of `align`. kaslr.c,
/// `find_random_virt_addr`.
pub(super) fn virtual_offset(linked: u64, len: u64, align: u64, seed: &[u8; SEED_LEN]) -> u64 {
    let room = KERNEL_IMAGE_SIZE.saturating_sub(linked).saturating_sub(len);
    let places = room.checked_div(align).unwrap_or_default().saturating_add(1);
    draw(seed, "virtual", places).saturating_mul(align)
}

/// What of `ram` is not `taken`.
fn free(ram: GuestRange, taken: &[GuestRange]) -> Vec<GuestRange> {
    let mut taken: Vec<GuestRange> = taken.iter().filter_map(|at| at.intersection(ram)).collect();
    taken.sort_unstable();
    let mut from = ram.start();
    let mut free = Vec::new();
    for at in taken {
        free.extend(GuestRange::between(from, at.start()));
        from = at.end();
    }
    free.extend(GuestRange::between(from, ram.end()));
    free
}

/// Places one alignment apart.
struct Run {
    first: u64,
    count: u64,
}

impl Run {
    fn in_range(range: GuestRange, Request { len, align, min }: Request) -> Option<Self> {
        let first = align_up(range.start().max(min), align)?;
        let last = align_down(range.end().checked_sub(len)?, align);
        let between = last.checked_sub(first)?.checked_div(align)?;
        Some(Self { first, count: between.saturating_add(1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::e820::{Entry, Kind};

    const SEED: [u8; SEED_LEN] = [7; SEED_LEN];
    const MIB: u64 = 1 << 20;

    fn map(ranges: &[(u64, u64)]) -> MemoryMap {
        let entry = |&(start, end): &(u64, u64)| Entry {
            range: GuestRange::between(start, end).unwrap(),
            kind: Kind::Ram,
        };
        MemoryMap::from_entries(ranges.iter().map(entry).collect())
    }

    fn seeds() -> impl Iterator<Item = [u8; SEED_LEN]> {
        (0..2_000u32).map(|number| {
            let mut seed = [0; SEED_LEN];
            seed[..4].copy_from_slice(&number.to_le_bytes());
            seed
        })
    }

    /// How often each is drawn.
    fn tally(values: impl Iterator<Item = u64>) -> Vec<(u64, usize)> {
        let mut counts = std::collections::BTreeMap::new();
        for value in values {
            *counts.entry(value).or_insert(0) += 1;
        }
        counts.into_iter().collect()
    }

    #[test]
    fn every_free_place_in_memory_is_drawn_and_none_that_is_taken() {
        let map = map(&[(0, MIB / 2), (MIB, 33 * MIB + 7), (64 * MIB, 70 * MIB)]);
        let taken = [GuestRange::constant(20 * MIB + 4096, 4096)];
        let request = Request { len: 3 * MIB, align: 2 * MIB, min: 16 * MIB };
        let starts = tally(seeds().map(|seed| {
            physical(&map, &taken, request, &seed).expect("there is room").start() / MIB
        }));
        let places: Vec<u64> = starts.iter().map(|(start, _)| *start).collect();
        // 20 holds what is taken, 18 reaches into it, 32 would end past its range.
        assert_eq!(places, [16, 22, 24, 26, 28, 30, 64, 66]);
        assert!(starts.iter().all(|(_, count)| (190..=320).contains(count)), "{starts:?}");
    }

    #[test]
    fn where_nothing_is_free_nothing_is_drawn() {
        let request = Request { len: 3 * MIB, align: 2 * MIB, min: 16 * MIB };
        assert_eq!(physical(&map(&[(0, 18 * MIB)]), &[], request, &SEED), None);
        let taken = [GuestRange::constant(0, 64 * MIB)];
        assert_eq!(physical(&map(&[(MIB, 64 * MIB)]), &taken, request, &SEED), None);
        assert_eq!(physical(&map(&[]), &[], request, &SEED), None);
    }

    #[test]
    fn virtual_addresses_stay_within_the_kernel_s_gigabyte_and_reach_its_end() {
        let len = 1000 * MIB;
        let offsets = tally(seeds().map(|seed| virtual_offset(16 * MIB, len, 2 * MIB, &seed)));
        let wanted: Vec<u64> = (0..=4).map(|place| place * 2 * MIB).collect();
        assert_eq!(offsets.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), wanted);
        assert!(offsets.iter().all(|(_, count)| (320..=480).contains(count)), "{offsets:?}");
        // As large as may be: one place.
        assert_eq!(virtual_offset(16 * MIB, KERNEL_IMAGE_SIZE - 16 * MIB, 2 * MIB, &SEED), 0);
        assert_eq!(virtual_offset(16 * MIB, KERNEL_IMAGE_SIZE, 2 * MIB, &SEED), 0);
    }

    /// Whether what was counted is as even as chance would have it: chi-squared, within
    /// five standard deviations of what it has to be on either side. With fixed seeds the
    /// result is always the same.
    fn is_even(counts: &[u32]) -> bool {
        let total: u32 = counts.iter().sum();
        let wanted = f64::from(total) / f64::from(places(counts));
        assert!(wanted >= 10.0, "too few draws for so many places");
        let off = |count: &u32| (f64::from(*count) - wanted).powi(2) / wanted;
        let chi_squared: f64 = counts.iter().map(off).sum();
        let freedom = f64::from(places(counts) - 1);
        (chi_squared - freedom).abs() < 5.0 * (2.0 * freedom).sqrt()
    }

    fn places(counts: &[u32]) -> u32 {
        u32::try_from(counts.len()).unwrap()
    }

    #[test]
    fn every_place_is_as_probable_as_every_other_in_memory_virtually_and_in_both() {
        // Linux 6.12 in a guest of 1 GiB.
        let len = 56 * MIB;
        let map = map(&[(MIB, 1024 * MIB)]);
        let taken = [GuestRange::constant(980 * MIB, 44 * MIB)];
        let request = Request { len, align: 2 * MIB, min: 16 * MIB };
        let (physical_places, virtual_places) = (455, 477);
        let mut in_memory = vec![0; physical_places];
        let mut virtually = vec![0; virtual_places];
        let mut both = vec![0; 7 * 9];
        for number in 0..60_000_u64 {
            let mut seed = [0; SEED_LEN];
            seed[..8].copy_from_slice(&number.to_le_bytes());
            let start = physical(&map, &taken, request, &seed).expect("there is room").start();
            let place = usize::try_from((start - 16 * MIB) / (2 * MIB)).unwrap();
            let offset = virtual_offset(16 * MIB, len, 2 * MIB, &seed);
            let slot = usize::try_from(offset / (2 * MIB)).unwrap();
            in_memory[place] += 1;
            virtually[slot] += 1;
            // As many of one as of the other fit in: 455 is 7 times 65, 477 9 times 53.
            both[place / 65 * 9 + slot / 53] += 1;
        }
        assert!(is_even(&in_memory) && is_even(&virtually) && is_even(&both));
    }

    #[test]
    fn what_is_not_even_is_told_from_what_is() {
        let even: Vec<u32> = (0..500).map(|place| 100 + (place * 7919) % 35 - 17).collect();
        assert!(is_even(&even));
        let mut some_never = even.clone();
        some_never[7..10].fill(0);
        let twice_as_often: Vec<u32> =
            even.iter().enumerate().map(|(place, n)| n * (1 + u32::from(place < 50))).collect();
        assert!(!is_even(&twice_as_often));
        assert!(!is_even(&vec![100; 500]), "too even to be drawn");
        assert!(!is_even(&some_never));
    }

    #[test]
    fn places_in_memory_and_virtual_addresses_are_drawn_independently() {
        assert_ne!(draw(&SEED, "physical", u64::MAX), draw(&SEED, "virtual", u64::MAX));
    }

    #[test]
    fn the_command_line_forbids_it_as_it_does_to_the_decompressor() {
        let wish = |line: &str| Wish::On(SEED).for_command_line(line.as_bytes());
        assert_eq!(wish("quiet nokaslr"), Wish::Off);
        assert_eq!(wish("nokaslr"), Wish::Off);
        assert_eq!(wish("quiet xnokaslr nokaslr=1"), Wish::On(SEED));
        assert_eq!(wish("console=ttyS0 mem=512M"), Wish::VirtualOnly(SEED));
        assert_eq!(wish("memmap=64M$1G quiet"), Wish::VirtualOnly(SEED));
        assert_eq!(Wish::Off.for_command_line(b"mem=1G"), Wish::Off);
    }
}
