//! Where `kexec_file_load(2)` puts a segment.
//!
//! kernel/kexec_file.c `kexec_add_buffer`, `kexec_walk_resources` and
//! `locate_mem_hole_top_down`. "System RAM" is the e820's RAM without page 0,
//! which the kernel keeps to itself.

use serde::Serialize;

use crate::{
    e820::MemoryMap,
    range::{GuestRange, PAGE, align_down, align_up},
};

/// Which kernel's placement is mirrored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavour {
    /// Linux 6.12 and later: the highest resource first.
    #[default]
    Modern,
    /// Linux 6.1: the lowest resource first, and a segment's start one byte
    /// too low before it is aligned.
    Legacy,
}

/// What is asked of a hole: kexec's `kexec_buf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Request {
    /// Bytes needed, rounded up to whole pages by [`Request::memsz`].
    pub(in super::super) len: u64,
    /// Alignment, at least a page.
    pub(in super::super) align: u64,
    /// The lowest start.
    pub(in super::super) min: u64,
}

impl Request {
    /// The bytes a segment takes: `len` in whole pages.
    pub(in super::super) fn memsz(self) -> Option<u64> {
        align_up(self.len, PAGE)
    }
}

/// The highest hole for `request` in the first resource that has one, clear of
/// everything in `taken`; `None` if there is none.
pub(in super::super) fn place(
    map: &MemoryMap,
    flavour: Flavour,
    taken: &[GuestRange],
    request: Request,
) -> Option<GuestRange> {
    let memsz = request.memsz()?;
    let hole = |resource| hole_in(resource, flavour, taken, Request { len: memsz, ..request });
    let mut resources = map.ram().filter_map(without_page_0);
    match flavour {
        Flavour::Modern => resources.rev().find_map(hole),
        Flavour::Legacy => resources.find_map(hole),
    }
}

fn without_page_0(ram: GuestRange) -> Option<GuestRange> {
    GuestRange::between(ram.start().max(PAGE), ram.end())
}

/// kexec steps down a page at a time until nothing is in the way; all addresses
/// are whole pages, so going straight below what is in the way is the same.
fn hole_in(
    resource: GuestRange,
    flavour: Flavour,
    taken: &[GuestRange],
    Request { len, align, min }: Request,
) -> Option<GuestRange> {
    if resource.len() < len {
        return None;
    }
    let mut start = match flavour {
        Flavour::Modern => resource.end().checked_sub(len)?,
        Flavour::Legacy => resource.end().checked_sub(len)?.checked_sub(1)?,
    };
    loop {
        start = align_down(start, align);
        if start < resource.start() || start < min {
            return None;
        }
        let hole = GuestRange::new(start, len)?;
        match taken.iter().find(|segment| segment.overlaps(hole)) {
            Some(segment) => start = segment.start().checked_sub(len)?,
            None => return Some(hole),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::e820::{Entry, Kind};

    /// The kernel's own loop, a page at a time.
    fn hole_by_steps(
        resource: GuestRange,
        flavour: Flavour,
        taken: &[GuestRange],
        Request { len, align, min }: Request,
    ) -> Option<GuestRange> {
        let (first, last) = (resource.start(), resource.end() - 1);
        if last - first + 1 < len {
            return None;
        }
        let mut start = (last + u64::from(flavour == Flavour::Modern)).checked_sub(len)?;
        loop {
            start = align_down(start, align);
            if start < first || start < min {
                return None;
            }
            let hole = GuestRange::new(start, len)?;
            if !taken.iter().any(|segment| segment.overlaps(hole)) {
                return Some(hole);
            }
            start = start.checked_sub(PAGE)?;
        }
    }

    #[test]
    fn going_straight_below_an_obstacle_is_what_stepping_by_pages_finds() {
        let mut state = 1u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        let mut found = 0;
        for _ in 0..20_000 {
            let resource = GuestRange::new(random(8) * 0x777, 1 + random(64 * PAGE)).unwrap();
            let taken: Vec<_> = (0..random(4))
                .map(|_| GuestRange::constant(random(64) * PAGE, (1 + random(6)) * PAGE))
                .collect();
            let request = Request {
                len: (1 + random(6)) * PAGE,
                align: PAGE << random(4),
                min: random(16) * PAGE,
            };
            for flavour in [Flavour::Modern, Flavour::Legacy] {
                let hole = hole_in(resource, flavour, &taken, request);
                assert_eq!(hole, hole_by_steps(resource, flavour, &taken, request));
                found += usize::from(hole.is_some());
            }
        }
        assert!(found > 10_000, "the inputs must mostly have holes, {found} had");
    }

    #[test]
    fn every_small_request_gets_the_highest_place_that_there_is() {
        const PAGES: u64 = 6;
        let ranges = |pages: u64| {
            let ends =
                (0..pages).flat_map(move |from| (from + 1..=pages).map(move |to| (from, to)));
            ends.map(|(from, to)| GuestRange::between(from * PAGE, to * PAGE).unwrap())
        };
        for (resource, obstacle) in ranges(PAGES).flat_map(|a| ranges(PAGES).map(move |b| (a, b))) {
            for (len, min, shift) in (1..=PAGES)
                .flat_map(|len| (0..PAGES).map(move |min| (len, min)))
                .flat_map(|(len, min)| (0..3).map(move |shift| (len, min, shift)))
            {
                let (len, min, align) = (len * PAGE, min * PAGE, PAGE << shift);
                // The place of every page that would do, from the last on.
                let mut places = (0..PAGES).rev().filter_map(|page| {
                    let start = page * PAGE;
                    let hole = GuestRange::new(start, len)?;
                    let fits = start.is_multiple_of(align) && start >= min;
                    (fits && resource.contains(hole) && !hole.overlaps(obstacle)).then_some(hole)
                });
                let request = Request { len, align, min };
                let found = hole_in(resource, Flavour::Modern, &[obstacle], request);
                assert_eq!(found, places.next(), "{resource} {obstacle} {request:?}");
            }
        }
    }

    fn ram(ranges: &[(u64, u64)]) -> MemoryMap {
        let entry = |&(start, end): &(u64, u64)| Entry {
            range: GuestRange::between(start, end).unwrap(),
            kind: Kind::Ram,
        };
        MemoryMap::from_entries(ranges.iter().map(entry).collect())
    }

    /// purgatory, params, kernel, initrd: sizes, alignments and minima of
    /// real segments on Debian kernels.
    const SEGMENTS: [Request; 4] = [
        Request { len: 0x5000, align: 0x1000, min: 0x3000 },
        Request { len: 0x10e0, align: 0x1000, min: 0x3000 },
        Request { len: 0x3c3_b000, align: 0x20_0000, min: 0x100_0000 },
        Request { len: 0x3_0d8d, align: 0x1000, min: 0x100_0000 },
    ];

    fn starts(map: &MemoryMap, flavour: Flavour) -> Vec<u64> {
        let mut taken = Vec::new();
        for request in SEGMENTS {
            taken.push(place(map, flavour, &taken, request).expect("room"));
        }
        taken.iter().map(|range| range.start()).collect()
    }

    const RAM_512M: &[(u64, u64)] = &[(0, 0x9_fc00), (0x10_0000, 0x1ffe_0000)];
    const RAM_6G: &[(u64, u64)] =
        &[(0, 0x9_fc00), (0x10_0000, 0x7ffe_0000), (0x1_0000_0000, 0x2_0000_0000)];

    #[test]
    fn modern_placement_is_as_measured_on_real_kernels() {
        assert_eq!(
            starts(&ram(RAM_512M), Flavour::Modern),
            [0x1ffd_b000, 0x1ffd_9000, 0x1c20_0000, 0x1ffa_8000]
        );
        assert_eq!(
            starts(&ram(RAM_6G), Flavour::Modern),
            [0x1_ffff_b000, 0x1_ffff_9000, 0x1_fc20_0000, 0x1_fffc_8000]
        );
    }

    #[test]
    fn legacy_placement_goes_forward_and_forgets_the_one() {
        assert_eq!(
            starts(&ram(RAM_512M), Flavour::Legacy),
            [0x9_a000, 0x9_8000, 0x1c20_0000, 0x1ffa_e000]
        );
        assert_eq!(
            starts(&ram(RAM_6G), Flavour::Legacy),
            [0x9_a000, 0x9_8000, 0x7c20_0000, 0x7ffa_e000]
        );
    }

    #[test]
    fn page_0_is_never_used() {
        let request = Request { len: PAGE, align: PAGE, min: 0 };
        assert_eq!(place(&ram(&[(0, 0x1000)]), Flavour::Modern, &[], request), None);
    }
}
