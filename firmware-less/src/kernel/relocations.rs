//! [`Relocations`]: what is to be changed in a kernel that runs at another virtual
//! address than it is linked for.
//!
//! The table is the kernel's own, appended to it when it is built
//! (arch/x86/tools/relocs.c `emit_relocs`) and applied by its decompressor
//! (arch/x86/boot/compressed/misc.c `handle_relocations`). Words of 32 bits, each
//! the low half of a virtual address: 0, the places of 64-bit addresses, 0, the
//! places of negated 32-bit ones (before Linux 6.15 only), 0, the places of 32-bit ones.

use std::fmt;

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

/// The lists of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relocations<'a> {
    wide: &'a [u8],
    negated: &'a [u8],
    narrow: &'a [u8],
}

impl<'a> Relocations<'a> {
    /// Takes the table apart.
    pub fn read(table: &'a [u8]) -> Result<Self, Error> {
        if table.is_empty() {
            return Err(Error::None);
        }
        let (words, rest) = table.as_chunks::<WORD>();
        // A list begins behind each word that is zero.
        let numbers = words.iter().map(|&word| u32::from_le_bytes(word)).enumerate();
        let starts: Vec<usize> = numbers.filter(|(_, word)| *word == 0).map(|(at, _)| at).collect();
        let wrong = Error::Lists { len: table.len(), lists: starts.len() };
        if !rest.is_empty() || starts.first() != Some(&0) {
            return Err(wrong);
        }
        let end = words.len();
        let list = |from: usize, to: usize| {
            words.get(from.saturating_add(1)..to).unwrap_or_default().as_flattened()
        };
        match *starts.as_slice() {
            [a, b] => Ok(Self { wide: list(a, b), negated: &[], narrow: list(b, end) }),
            [a, b, c] => Ok(Self { wide: list(a, b), negated: list(b, c), narrow: list(c, end) }),
            _ => Err(wrong),
        }
    }

    /// Whether all that it names is in a kernel of `len` bytes that is linked for the
    /// physical address `linked`.
    pub fn check(&self, linked: u64, len: u64) -> Result<(), Error> {
        for (list, size) in [(self.wide, 8), (self.negated, 4), (self.narrow, 4)] {
            for address in addresses(list) {
                let offset = address.wrapping_sub(START_KERNEL_MAP).wrapping_sub(linked);
                if offset.checked_add(size).is_none_or(|end| end > len) {
                    return Err(Error::Outside { address });
                }
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
    table: Vec<u8>,
}

impl Relocation {
    /// By `offset`, of a kernel of `len` bytes that is linked for the physical address
    /// `linked`.
    pub fn new(table: Vec<u8>, (linked, len): (u64, u64), offset: u64) -> Result<Self, Error> {
        Relocations::read(&table)?.check(linked, len)?;
        Ok(Self { offset, linked, table })
    }

    /// Changes `image`, the whole kernel.
    pub fn apply(&self, image: &mut (impl Image + ?Sized)) {
        let Ok(Relocations { wide, negated, narrow }) = Relocations::read(&self.table) else {
            return;
        };
        let at =
            |address: u64| index(address.wrapping_sub(START_KERNEL_MAP).wrapping_sub(self.linked));
        let low = low_half(self.offset);
        for address in addresses(wide) {
            image.change_u64(at(address), |value| value.wrapping_add(self.offset));
        }
        for address in addresses(negated) {
            image.change_u32(at(address), |value| value.wrapping_sub(low));
        }
        for address in addresses(narrow) {
            image.change_u32(at(address), |value| value.wrapping_add(low));
        }
    }
}

impl fmt::Debug for Relocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Relocation by {:#x}, of {:#x}", self.offset, self.linked)
    }
}

/// Bytes that can be changed in place, wherever they are: all little-endian, at any
/// alignment. What is outside is left alone.
pub trait Image {
    /// Changes the 64 bits at `offset`.
    fn change_u64(&mut self, offset: usize, change: impl Fn(u64) -> u64);
    /// Changes the 32 bits at `offset`.
    fn change_u32(&mut self, offset: usize, change: impl Fn(u32) -> u32);
}

impl Image for [u8] {
    fn change_u64(&mut self, offset: usize, change: impl Fn(u64) -> u64) {
        if let Some(bytes) = self.get_mut(offset..).and_then(<[u8]>::first_chunk_mut) {
            *bytes = change(u64::from_le_bytes(*bytes)).to_le_bytes();
        }
    }

    fn change_u32(&mut self, offset: usize, change: impl Fn(u32) -> u32) {
        if let Some(bytes) = self.get_mut(offset..).and_then(<[u8]>::first_chunk_mut) {
            *bytes = change(u32::from_le_bytes(*bytes)).to_le_bytes();
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "addresses are kept by their low half")]
fn low_half(offset: u64) -> u32 {
    offset as u32
}

/// The virtual addresses of a list: sign-extended words.
fn addresses(list: &[u8]) -> impl Iterator<Item = u64> {
    let (words, _) = list.as_chunks::<WORD>();
    words.iter().map(|word| i64::from(i32::from_le_bytes(*word)).cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINKED: u64 = 0x100_0000;

    fn table(lists: &[&[u32]]) -> Vec<u8> {
        let list = |list: &&[u32]| [&[0], *list].concat();
        lists.iter().flat_map(list).flat_map(u32::to_le_bytes).collect()
    }

    fn relocate(image: &mut [u8], table: Vec<u8>, offset: u64) -> Result<(), Error> {
        let kernel = (LINKED, image.len() as u64);
        Relocation::new(table, kernel, offset).map(|relocation| relocation.apply(image))
    }

    fn at(offset: u32) -> u32 {
        0x8100_0000 + offset
    }

    #[test]
    fn each_kind_of_place_is_changed_in_its_own_way() {
        let mut image = [0x10; 24];
        let table = table(&[&[at(0)], &[at(8)], &[at(12), at(20)]]);
        relocate(&mut image, table, 0x0100_0000).unwrap();
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
        relocate(&mut image, table, 0x20_0000).unwrap();
        assert_eq!(image[..8], 0x20_0000u64.to_le_bytes());
        assert_eq!(image[8..], 0x20_0000u32.to_le_bytes());
    }

    #[test]
    fn a_table_of_another_form_is_refused() {
        assert_eq!(Relocations::read(&[]), Err(Error::None));
        let lists = |table: &[u8]| match Relocations::read(table) {
            Err(Error::Lists { lists, .. }) => lists,
            other => panic!("{other:?}"),
        };
        assert_eq!(lists(&table(&[&[at(0)]])), 1);
        assert_eq!(lists(&table(&[&[at(0)], &[], &[], &[]])), 4);
        assert_eq!(lists(&[&table(&[&[], &[]])[..], &[1]].concat()), 2);
        assert_eq!(lists(&[&[1, 0, 0, 0], &table(&[&[], &[]])[..]].concat()), 2);
    }

    #[test]
    fn nothing_outside_the_kernel_is_changed() {
        for (wide, narrow) in
            [(at(9), at(0)), (at(0), at(13)), (0x8000_0000, at(0)), (at(0), 0x7fff_ffff)]
        {
            let table = table(&[&[wide], &[narrow]]);
            let refused = relocate(&mut [0; 16], table, 0x20_0000);
            assert!(matches!(refused, Err(Error::Outside { .. })), "{wide:#x} {narrow:#x}");
        }
    }
}
