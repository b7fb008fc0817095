//! [`Relocations`]: what is to be changed in a kernel that runs at another virtual
//! address than it is linked for.
//!
//! The table is the kernel's own, appended to it when it is built
//! (arch/x86/tools/relocs.c `emit_relocs`) and applied by its decompressor
//! (arch/x86/boot/compressed/misc.c `handle_relocations`). Words of 32 bits, each
//! the low half of a virtual address: 0, the places of 64-bit addresses, 0, the
//! places of negated 32-bit ones (before Linux 6.15 only), 0, the places of 32-bit ones.

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
        let starts: Vec<usize> =
            (0..words.len()).filter(|&at| words.get(at) == Some(&[0; WORD])).collect();
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

    /// Changes `image`, which begins with the byte linked for the physical address
    /// `linked`, to run `offset` bytes above the virtual addresses that it is linked for.
    pub fn apply(&self, image: &mut [u8], linked: u64, offset: u64) -> Result<(), Error> {
        let narrow = low_half(offset);
        for address in addresses(self.wide) {
            let place = place::<8>(image, linked, address)?;
            *place = u64::from_le_bytes(*place).wrapping_add(offset).to_le_bytes();
        }
        for address in addresses(self.negated) {
            let place = place::<4>(image, linked, address)?;
            *place = u32::from_le_bytes(*place).wrapping_sub(narrow).to_le_bytes();
        }
        for address in addresses(self.narrow) {
            let place = place::<4>(image, linked, address)?;
            *place = u32::from_le_bytes(*place).wrapping_add(narrow).to_le_bytes();
        }
        Ok(())
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

/// The `N` bytes of `image` that are linked for the virtual `address`.
fn place<const N: usize>(
    image: &mut [u8],
    linked: u64,
    address: u64,
) -> Result<&mut [u8; N], Error> {
    let offset = address.checked_sub(START_KERNEL_MAP).and_then(|at| at.checked_sub(linked));
    offset
        .and_then(|offset| image.get_mut(index(offset)..)?.first_chunk_mut())
        .ok_or(Error::Outside { address })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINKED: u64 = 0x100_0000;

    fn table(lists: &[&[u32]]) -> Vec<u8> {
        let list = |list: &&[u32]| [&[0], *list].concat();
        lists.iter().flat_map(list).flat_map(u32::to_le_bytes).collect()
    }

    fn at(offset: u32) -> u32 {
        0x8100_0000 + offset
    }

    #[test]
    fn each_kind_of_place_is_changed_in_its_own_way() {
        let mut image = [0x10; 24];
        let table = table(&[&[at(0)], &[at(8)], &[at(12), at(20)]]);
        let relocations = Relocations::read(&table).unwrap();
        relocations.apply(&mut image, LINKED, 0x0100_0000).unwrap();
        assert_eq!(image[..8], 0x1010_1010_1110_1010u64.to_le_bytes());
        assert_eq!(image[8..12], 0x0f10_1010u32.to_le_bytes());
        assert_eq!(image[12..16], 0x1110_1010u32.to_le_bytes());
        assert_eq!(image[16..20], [0x10; 4]);
        assert_eq!(image[20..], 0x1110_1010u32.to_le_bytes());
    }

    #[test]
    fn newer_kernels_have_two_lists() {
        let table = table(&[&[at(0)], &[at(8)]]);
        let relocations = Relocations::read(&table).unwrap();
        let mut image = [0; 12];
        relocations.apply(&mut image, LINKED, 0x20_0000).unwrap();
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
            let relocations = Relocations::read(&table).unwrap();
            let refused = relocations.apply(&mut [0; 16], LINKED, 0x20_0000);
            assert!(matches!(refused, Err(Error::Outside { .. })), "{wide:#x} {narrow:#x}");
        }
    }
}
