//! [`Relocation`]: what is to be changed in a kernel that runs at another virtual
//! address than it is linked for.
//!
//! The table is the kernel's own, appended to it when it is built
//! (arch/x86/tools/relocs.c `emit_relocs`) and applied by its decompressor
//! (arch/x86/boot/compressed/misc.c `handle_relocations`). Words of 32 bits, each
//! the low half of a virtual address: 0, the places of 64-bit addresses, 0, the
//! places of negated 32-bit ones (before Linux 6.15 only), 0, the places of 32-bit ones.

use std::{fmt, mem, ops::Range, sync::Arc};

use serde::Serialize;
use thiserror::Error;

use crate::range::index;

/// Where the kernel's own mapping begins, `__START_KERNEL_map`.
/// arch/x86/include/asm/page_64_types.h.
const START_KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;
/// Bytes of an entry of the table.
const WORD: usize = 4;

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

/// A list of a table: which of its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct List {
    bytes: Range<usize>,
    /// How far from the kernel's start what it names is, at most.
    farthest: u64,
}

/// The lists of a table.
#[derive(Clone, PartialEq, Eq)]
struct Lists {
    wide: List,
    negated: List,
    narrow: List,
}

impl Lists {
    /// Takes the table apart, of a kernel that begins at the virtual address `start`.
    fn read(table: &[u8], start: u64) -> Result<Self, Error> {
        if table.is_empty() {
            return Err(Error::None);
        }
        let (words, rest) = table.as_chunks::<WORD>();
        let mut lists = [const { None }; 3];
        let mut count = 0_usize;
        let mut list = List::default();
        // A list begins behind each word that is zero; what is before the first is none.
        for (word, at) in words.iter().zip((0..).step_by(WORD)) {
            if *word == [0; WORD] {
                list.bytes.end = at;
                let behind = at.saturating_add(WORD)..table.len();
                let whole = mem::replace(&mut list, List { bytes: behind, farthest: 0 });
                if let Some(place) = lists.get_mut(count) {
                    *place = Some(whole);
                }
                count = count.saturating_add(1);
            } else {
                // What is below the kernel is far above it so.
                list.farthest = list.farthest.max(address(*word).wrapping_sub(start));
            }
        }
        let is_whole = rest.is_empty() && words.first() == Some(&[0; WORD]);
        match (is_whole, count, lists) {
            (true, 2, [_, Some(wide), ..]) => {
                Ok(Self { wide, negated: List::default(), narrow: list })
            }
            (true, 3, [_, Some(wide), Some(negated)]) => Ok(Self { wide, negated, narrow: list }),
            _ => Err(Error::Lists { len: table.len(), lists: count }),
        }
    }

    /// Whether all that they name is in a kernel of `len` bytes that begins at the virtual
    /// address `start`.
    fn check(&self, start: u64, len: u64) -> Result<(), Error> {
        for (list, size) in [(&self.wide, 8), (&self.negated, 4), (&self.narrow, 4)] {
            let end = list.farthest.checked_add(size);
            if !list.bytes.is_empty() && end.is_none_or(|end| end > len) {
                return Err(Error::Outside { address: start.wrapping_add(list.farthest) });
            }
        }
        Ok(())
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
        let start = START_KERNEL_MAP.wrapping_add(linked);
        let lists = Lists::read(&table, start)?;
        lists.check(start, len)?;
        Ok(Self { offset, linked, table, lists })
    }

    /// Changes `image`, the whole kernel.
    pub fn apply(&self, image: &mut (impl Image + ?Sized)) {
        let (offset, low) = (self.offset, low_half(self.offset));
        let start = low_half(START_KERNEL_MAP.wrapping_add(self.linked));
        let Lists { wide, negated, narrow } = &self.lists;
        each(image, (self.words(wide), start), |bytes| {
            *bytes = u64::from_le_bytes(*bytes).wrapping_add(offset).to_le_bytes();
        });
        each(image, (self.words(negated), start), |bytes| {
            *bytes = u32::from_le_bytes(*bytes).wrapping_sub(low).to_le_bytes();
        });
        each(image, (self.words(narrow), start), |bytes| {
            *bytes = u32::from_le_bytes(*bytes).wrapping_add(low).to_le_bytes();
        });
    }

    fn words(&self, list: &List) -> &[[u8; WORD]] {
        self.table.get(list.bytes.clone()).unwrap_or_default().as_chunks().0
    }
}

/// Changes the `N` bytes at each address of `words` in an image that begins at `start`; of
/// both that is the low half. Kernels' lists ascend, so that many are changed of what is
/// shown at once; any other order is only slower.
fn each<const N: usize>(
    image: &mut (impl Image + ?Sized),
    (words, start): (&[[u8; WORD]], u32),
    change: impl Fn(&mut [u8; N]),
) {
    let at = |word: &[u8; WORD]| index(u32::from_le_bytes(*word).wrapping_sub(start).into());
    let mut rest = words;
    while let Some((first, others)) = rest.split_first() {
        let first = at(first);
        let mut behind = others;
        image.change(first, &mut |bytes| {
            while let Some((word, others)) = rest.split_first() {
                let bytes = bytes.get_mut(at(word).wrapping_sub(first)..);
                let Some(bytes) = bytes.and_then(<[u8]>::first_chunk_mut) else { break };
                change(bytes);
                rest = others;
                behind = others;
            }
        });
        rest = behind;
    }
}

impl fmt::Debug for Relocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Relocation by {:#x}, of {:#x}", self.offset, self.linked)
    }
}

/// Bytes that can be changed in place, wherever they are.
pub trait Image {
    /// Lets `change` have bytes from `offset` on: a page or so, or as many as there are.
    fn change(&mut self, offset: usize, change: &mut dyn FnMut(&mut [u8]));
}

impl Image for [u8] {
    fn change(&mut self, offset: usize, change: &mut dyn FnMut(&mut [u8])) {
        self.get_mut(offset..).into_iter().for_each(change);
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
}
