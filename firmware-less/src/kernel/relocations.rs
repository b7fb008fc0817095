//! [`Relocation`]: what is to be changed in a kernel that runs at another virtual
//! address than it is linked for.
//!
//! The table is the kernel's own, appended to it when it is built
//! (arch/x86/tools/relocs.c `emit_relocs`) and applied by its decompressor
//! (arch/x86/boot/compressed/misc.c `handle_relocations`). Words of 32 bits, each
//! the low half of a virtual address: 0, the places of 64-bit addresses, 0, the
//! places of negated 32-bit ones (before Linux 6.15 only), 0, the places of 32-bit ones.

use std::{fmt, ops::Range, sync::Arc};

use serde::Serialize;
use thiserror::Error;

use crate::range::index;

/// Where the kernel's own mapping begins, `__START_KERNEL_map`.
/// arch/x86/include/asm/page_64_types.h.
const START_KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;
/// Bytes of an entry of the table.
const WORD: usize = 4;
/// Bytes of the numbers that lists name: of the first, and of the others.
const WIDE: u32 = 8;
const NARROW: u32 = 4;

/// Why a kernel can't be relocated.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Nothing behind the kernel: built without `CONFIG_RANDOMIZE_BASE`.
    #[error("the kernel has no table of relocations")]
    None,
    /// A table of another form.
    #[error(
        "the kernel's table of relocations has {len} bytes and {lists} lists, expected 2 or 3 lists of 4-byte words"
    )]
    Lists {
        /// Bytes of the table.
        len: usize,
        /// Lists in it.
        lists: usize,
    },
    /// An entry that points elsewhere.
    #[error("the kernel's table of relocations names {address:#x}, which is not in the kernel")]
    Outside {
        /// The virtual address that it names.
        address: u64,
    },
}

/// What a table's words are of: a kernel, by the low half of the virtual address that it
/// is linked for, and its length.
#[derive(Clone, Copy)]
struct Bounds {
    start: u32,
    len: u32,
}

impl Bounds {
    /// None of a kernel that does not lie where kernels are mapped.
    fn of(linked: u64, len: u64) -> Option<Self> {
        let end = linked.checked_add(len)?;
        let start = low_half(START_KERNEL_MAP.wrapping_add(linked));
        (end <= START_KERNEL_MAP.wrapping_neg()).then(|| Self { start, len: low_half(len) })
    }

    /// How many of `words` name numbers of `size` bytes in the kernel, up to the first that
    /// does not. That may be the zero before the next list: where it would be is outside.
    fn count(self, words: &[[u8; WORD]], size: u32) -> usize {
        let Some(last) = self.len.checked_sub(size) else { return 0 };
        let is_outside =
            |word: &[u8; WORD]| u32::from_le_bytes(*word).wrapping_sub(self.start) > last;
        // By fours, until one of them is: that takes fewer instructions for each.
        let (fours, _) = words.as_chunks();
        let is_inside = |[a, b, c, d]: &&[_; 4]| {
            !(is_outside(a) || is_outside(b) || is_outside(c) || is_outside(d))
        };
        let inside = fours.iter().take_while(is_inside).count().saturating_mul(4);
        let rest = words.get(inside..).unwrap_or_default();
        inside.saturating_add(rest.iter().take_while(|word| !is_outside(word)).count())
    }
}

/// The lists of a table: which of its words.
#[derive(Clone, PartialEq, Eq)]
struct Lists {
    wide: Range<usize>,
    negated: Range<usize>,
    narrow: Range<usize>,
}

impl Lists {
    /// Takes the table apart, of a kernel that lies in `bounds`.
    fn read(table: &[u8], bounds: Option<Bounds>) -> Result<Self, Error> {
        if table.is_empty() {
            return Err(Error::None);
        }
        let (words, rest) = table.as_chunks::<WORD>();
        let lists_in = |words: &[_]| words.iter().filter(|word| **word == [0; WORD]).count();
        let refused = || Error::Lists { len: table.len(), lists: lists_in(words) };
        if !rest.is_empty() || words.first() != Some(&[0; WORD]) {
            return Err(refused());
        }
        // A list begins behind each word that is zero.
        let (mut lists, mut count, mut end) = ([const { 0..0 }; 3], 0_usize, 0_usize);
        while let Some(list) = lists.get_mut(count) {
            let size = if count == 0 { WIDE } else { NARROW };
            let start = end.saturating_add(1);
            let of_it = words.get(start..).unwrap_or_default();
            let len = bounds.map_or(0, |bounds| bounds.count(of_it, size));
            end = start.saturating_add(len);
            *list = start..end;
            count = count.saturating_add(1);
            match words.get(end) {
                Some([0, 0, 0, 0]) => {}
                // Of a table of another form there is no telling.
                Some(_) if !(2..=3).contains(&lists_in(words)) => return Err(refused()),
                Some(word) => return Err(Error::Outside { address: address(*word) }),
                None => break,
            }
        }
        match (end >= words.len(), count, lists) {
            (true, 2, [wide, narrow, _]) => Ok(Self { wide, negated: 0..0, narrow }),
            (true, 3, [wide, negated, narrow]) => Ok(Self { wide, negated, narrow }),
            _ => Err(refused()),
        }
    }
}

/// A kernel's relocation: what is to be changed in it, in memory, and by how much.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Relocation {
    /// How far above the virtual addresses that it is linked for it is to run, in bytes.
    pub offset: u64,
    /// The physical address that it is linked for.
    pub linked: u64,
    /// What the kernel says of itself, checked.
    #[serde(skip)]
    table: Arc<Vec<u8>>,
    #[serde(skip)]
    lists: Lists,
}

impl Relocation {
    /// By `offset`, of a kernel of `len` bytes that is linked for the physical address
    /// `linked`.
    pub fn new(table: Arc<Vec<u8>>, (linked, len): (u64, u64), offset: u64) -> Result<Self, Error> {
        let lists = Lists::read(&table, Bounds::of(linked, len))?;
        Ok(Self { offset, linked, table, lists })
    }

    /// Changes `image`, the whole kernel.
    pub fn apply(&self, image: &mut (impl Image + ?Sized)) {
        let (offset, low) = (self.offset, low_half(self.offset));
        let Lists { wide, negated, narrow } = &self.lists;
        image.change(self.places(wide), |bytes| {
            u64::from_le_bytes(bytes).wrapping_add(offset).to_le_bytes()
        });
        for (list, addend) in [(negated, low.wrapping_neg()), (narrow, low)] {
            image.change(self.places(list), |bytes| {
                u32::from_le_bytes(bytes).wrapping_add(addend).to_le_bytes()
            });
        }
    }

    fn places(&self, list: &Range<usize>) -> Places<'_> {
        let words = self.table.as_chunks().0.get(list.clone()).unwrap_or_default();
        Places { words, start: low_half(START_KERNEL_MAP.wrapping_add(self.linked)) }
    }
}

/// Where in a kernel something is to be changed.
#[derive(Clone, Copy, Debug)]
pub struct Places<'t> {
    words: &'t [[u8; WORD]],
    start: u32,
}

impl Places<'_> {
    /// How many bytes from the kernel's start each is.
    pub fn offsets(self) -> impl Iterator<Item = usize> {
        let offset = move |word: &[u8; WORD]| {
            index(u32::from_le_bytes(*word).wrapping_sub(self.start).into())
        };
        self.words.iter().map(offset)
    }
}

impl fmt::Debug for Relocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Relocation by {:#x}, of {:#x}", self.offset, self.linked)
    }
}

/// Bytes that can be changed in place, wherever they are.
pub trait Image {
    /// Replaces the `N` bytes at each of `places` by what `change` makes of them. A place
    /// that is not wholly among the bytes is passed over.
    fn change<const N: usize>(&mut self, places: Places<'_>, change: impl Fn([u8; N]) -> [u8; N]);
}

impl Image for [u8] {
    fn change<const N: usize>(&mut self, places: Places<'_>, change: impl Fn([u8; N]) -> [u8; N]) {
        for offset in places.offsets() {
            let bytes = self.get_mut(offset..).and_then(<[u8]>::first_chunk_mut);
            if let Some(bytes) = bytes {
                *bytes = change(*bytes);
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "addresses are kept by their low half")]
fn low_half(offset: u64) -> u32 {
    offset as u32
}

/// The virtual address that a word is: sign-extended.
fn address(word: [u8; WORD]) -> u64 {
    i64::from(i32::from_le_bytes(word)).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINKED: u64 = 0x100_0000;

    fn table(lists: &[&[u32]]) -> Vec<u8> {
        let list = |list: &&[u32]| [&[0], *list].concat();
        lists.iter().flat_map(list).flat_map(u32::to_le_bytes).collect()
    }

    fn relocate(image: &mut [u8], table: &[u8], offset: u64) -> Result<(), Error> {
        let kernel = (LINKED, image.len() as u64);
        Relocation::new(Arc::new(table.to_vec()), kernel, offset)
            .map(|relocation| relocation.apply(image))
    }

    fn at(offset: u32) -> u32 {
        0x8100_0000 + offset
    }

    #[test]
    fn each_kind_of_place_is_changed_in_its_own_way() {
        let mut image = [0x10; 24];
        let table = table(&[&[at(0)], &[at(8)], &[at(12), at(20)]]);
        relocate(&mut image, &table, 0x0100_0000).unwrap();
        assert_eq!(image[..8], 0x1010_1010_1110_1010u64.to_le_bytes());
        assert_eq!(image[8..12], 0x0f10_1010u32.to_le_bytes());
        assert_eq!(image[12..16], 0x1110_1010u32.to_le_bytes());
        assert_eq!(image[16..20], [0x10; 4]);
        assert_eq!(image[20..], 0x1110_1010u32.to_le_bytes());
    }

    #[test]
    fn newer_kernels_have_two_lists() {
        let table = table(&[&[at(0)], &[at(8)]]);
        let mut image = [0; 12];
        relocate(&mut image, &table, 0x20_0000).unwrap();
        assert_eq!(image[..8], 0x20_0000u64.to_le_bytes());
        assert_eq!(image[8..], 0x20_0000u32.to_le_bytes());
    }

    #[test]
    fn a_table_of_another_form_is_refused() {
        assert_eq!(relocate(&mut [0; 16], &[], 0x20_0000), Err(Error::None));
        let lists = |table: &[u8]| match relocate(&mut [0; 16], table, 0x20_0000) {
            Err(Error::Lists { lists, .. }) => lists,
            other => panic!("{other:?}"),
        };
        assert_eq!(lists(&table(&[&[at(0)]])), 1);
        assert_eq!(lists(&table(&[&[at(0)], &[], &[], &[]])), 4);
        assert_eq!(lists(&[&table(&[&[], &[]])[..], &[1]].concat()), 2);
        assert_eq!(lists(&[&[1, 0, 0, 0], &table(&[&[], &[]])[..]].concat()), 2);
    }

    #[test]
    fn every_place_is_changed_once_whatever_their_order_and_however_far_apart() {
        let mut image = vec![0; 5 * 4096];
        let far: Vec<u32> = (0..1700).map(|number| at(number * 12)).collect();
        let (some, others) = far.split_at(700);
        let upside_down: Vec<u32> = others.iter().rev().copied().collect();
        let table = table(&[&[], &[some, &upside_down].concat()]);
        relocate(&mut image, &table, 0x20_0000).unwrap();
        let (words, _) = image.as_chunks::<WORD>();
        for (number, word) in words.iter().enumerate() {
            let wanted = if number % 3 == 0 && number / 3 < far.len() { 0x20_0000u32 } else { 0 };
            assert_eq!(u32::from_le_bytes(*word), wanted, "word {number}");
        }
    }

    #[test]
    fn nothing_outside_the_kernel_is_changed() {
        for (wide, narrow) in
            [(at(9), at(0)), (at(0), at(13)), (0x8000_0000, at(0)), (at(0), 0x7fff_ffff)]
        {
            let table = table(&[&[wide], &[narrow]]);
            let refused = relocate(&mut [0; 16], &table, 0x20_0000);
            assert!(matches!(refused, Err(Error::Outside { .. })), "{wide:#x} {narrow:#x}");
        }
    }

    #[test]
    fn one_place_outside_the_kernel_is_noticed_wherever_it_stands() {
        for outside in 0..9 {
            let mut narrow: Vec<u32> = (0..9).map(|number| at(number * 4)).collect();
            narrow[outside] = at(0x100);
            let table = table(&[&[], &narrow]);
            assert_eq!(
                relocate(&mut [0; 40], &table, 0x20_0000),
                Err(Error::Outside { address: 0xffff_ffff_8100_0100 }),
                "{outside}"
            );
        }
    }

    #[test]
    fn a_table_of_another_form_is_said_to_be_that_whatever_it_names() {
        let other = table(&[&[at(0)], &[at(0x100)], &[], &[]]);
        let refused = relocate(&mut [0; 16], &other, 0x20_0000);
        assert_eq!(refused, Err(Error::Lists { len: other.len(), lists: 4 }));
    }
}
