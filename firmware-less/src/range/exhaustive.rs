//! Ranges beside sets of numbers, over every small one and every one at the end of what
//! there is.

use std::collections::BTreeSet;

use super::*;

/// How many numbers there are at each end.
const SMALL: u64 = 7;

/// Every number at either end of 64 bits.
fn numbers() -> impl Iterator<Item = u64> + Clone {
    (0..SMALL).chain(u64::MAX - SMALL + 1..=u64::MAX)
}

/// Every pair of them.
fn pairs() -> impl Iterator<Item = (u64, u64)> {
    numbers().flat_map(|a| numbers().map(move |b| (a, b)))
}

/// Start and end, of numbers that do not wrap.
type Ends = (u128, u128);

/// The addresses of a range that are among the small and the large ones.
fn set((start, end): Ends) -> BTreeSet<u64> {
    numbers().filter(|number| (start..end).contains(&u128::from(*number))).collect()
}

fn ends_of(range: GuestRange) -> Ends {
    (range.start().into(), range.end().into())
}

fn ends_in_file(range: FileRange) -> Ends {
    (range.offset().into(), range.end().into())
}

fn guest_ranges() -> Vec<GuestRange> {
    pairs().filter_map(|(start, end)| GuestRange::between(start, end)).collect()
}

fn file_ranges() -> Vec<FileRange> {
    pairs().filter_map(|(offset, len)| FileRange::new(offset, len)).collect()
}

#[test]
fn there_is_a_range_wherever_one_is_neither_empty_nor_wraps() {
    for (a, b) in pairs() {
        let sum = u128::from(a) + u128::from(b);
        let fits = sum <= u64::MAX.into();
        let ends = (fits && b > 0).then_some((a.into(), sum));
        assert_eq!(GuestRange::new(a, b).map(ends_of), ends, "{a:#x} {b:#x}");
        let between = (a < b).then_some((a.into(), b.into()));
        assert_eq!(GuestRange::between(a, b).map(ends_of), between, "{a:#x} {b:#x}");
        let ends = fits.then_some((a.into(), sum));
        assert_eq!(FileRange::new(a, b).map(ends_in_file), ends, "{a:#x} {b:#x}");
    }
}

#[test]
fn what_two_ranges_share_is_what_their_sets_share() {
    for one in guest_ranges() {
        assert_eq!(u128::from(one.len()), ends_of(one).1 - ends_of(one).0);
        for address in numbers() {
            assert_eq!(one.contains_address(address), set(ends_of(one)).contains(&address));
        }
        for other in guest_ranges() {
            let (a, b) = (set(ends_of(one)), set(ends_of(other)));
            let shared: BTreeSet<u64> = a.intersection(&b).copied().collect();
            assert_eq!(one.overlaps(other), !shared.is_empty(), "{one} {other}");
            let intersection = one.intersection(other).map(|range| set(ends_of(range)));
            assert_eq!(intersection.unwrap_or_default(), shared, "{one} {other}");
            assert_eq!(one.contains(other), b.is_subset(&a), "{one} {other}");
        }
    }
}

#[test]
fn parts_of_a_file_share_what_their_sets_share() {
    for one in file_ranges() {
        let a = set(ends_in_file(one));
        let len = ends_in_file(one).1 - ends_in_file(one).0;
        assert_eq!((u128::from(one.len()), one.is_empty()), (len, len == 0));
        for number in numbers() {
            let (start, end) = ends_in_file(one);
            let skipped = start + u128::from(number);
            let rest = (skipped <= end).then_some((skipped, end));
            assert_eq!(one.skip(number).map(ends_in_file), rest, "{one} {number:#x}");
            let taken = (start, end.min(skipped));
            assert_eq!(ends_in_file(one.take(number)), taken, "{one} {number:#x}");
        }
        for other in file_ranges() {
            let b = set(ends_in_file(other));
            assert_eq!(one.overlaps(other), !a.is_disjoint(&b), "{one} {other}");
        }
    }
}

#[test]
fn rounding_gives_the_nearest_multiple_that_there_is() {
    for (number, shift) in numbers().flat_map(|number| (0..64).map(move |shift| (number, shift))) {
        let align = 1_u64 << shift;
        let below = number / align * align;
        assert_eq!(align_down(number, align), below, "{number:#x} {align:#x}");
        let above = if below == number { Some(below) } else { below.checked_add(align) };
        assert_eq!(align_up(number, align), above, "{number:#x} {align:#x}");
    }
}

#[test]
fn ranges_show_where_they_begin_and_end() {
    let guest = GuestRange::constant(0x1000, 0x20);
    assert_eq!(format!("{guest} {guest:?}"), "[0x1000, 0x1020) [0x1000, 0x1020)");
    let file = FileRange::new(0x1000, 0x20).unwrap();
    assert_eq!(format!("{file} {file:?}"), "[0x1000, 0x1020) [0x1000, 0x1020)");
    assert_eq!(FileRange::first(7), FileRange::new(0, 7).unwrap());
    assert_eq!(FileRange::EMPTY, FileRange::first(0));
    assert_eq!(index(7), 7);
}
