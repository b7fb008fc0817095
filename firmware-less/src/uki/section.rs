//! One entry of a PE file's section table, raw and as a UKI names it.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::{bytes::until_nul, range::FileRange};

/// The sections that the UKI specification or systemd-stub gives a meaning to.
///
/// In the order of systemd's `src/fundamental/uki.h`, which is also the order in
/// which the stub measures them; `.sdmagic`, the stub's own version marker, is
/// last. `.compat` is not here: it belongs to the kernel within `.linux`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// The kernel: a bzImage, as it is. The only section that a UKI must have.
    Linux,
    /// os-release text of the system.
    Osrel,
    /// The kernel command line.
    Cmdline,
    /// The initial RAM disk.
    Initrd,
    /// Microcode, an uncompressed cpio archive.
    Ucode,
    /// Boot splash, a bitmap.
    Splash,
    /// Device tree.
    Dtb,
    /// The kernel's version as `uname -r` gives it.
    Uname,
    /// Revocation metadata for shim.
    Sbat,
    /// Signatures of expected PCR values, JSON.
    Pcrsig,
    /// Public key of those signatures, PEM.
    Pcrpkey,
    /// Begins a profile, and describes it.
    Profile,
    /// One of several device trees, chosen by the hardware.
    DtbAuto,
    /// Table by which hardware is recognised.
    Hwids,
    /// One of several firmware blobs, chosen by the hardware.
    EfiFw,
    /// The stub's name and version.
    Sdmagic,
}

impl Name {
    /// Every name there is.
    pub const ALL: [Self; 16] = [
        Self::Linux,
        Self::Osrel,
        Self::Cmdline,
        Self::Initrd,
        Self::Ucode,
        Self::Splash,
        Self::Dtb,
        Self::Uname,
        Self::Sbat,
        Self::Pcrsig,
        Self::Pcrpkey,
        Self::Profile,
        Self::DtbAuto,
        Self::Hwids,
        Self::EfiFw,
        Self::Sdmagic,
    ];

    /// The name as it is written in the section table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Linux => ".linux",
            Self::Osrel => ".osrel",
            Self::Cmdline => ".cmdline",
            Self::Initrd => ".initrd",
            Self::Ucode => ".ucode",
            Self::Splash => ".splash",
            Self::Dtb => ".dtb",
            Self::Uname => ".uname",
            Self::Sbat => ".sbat",
            Self::Pcrsig => ".pcrsig",
            Self::Pcrpkey => ".pcrpkey",
            Self::Profile => ".profile",
            Self::DtbAuto => ".dtbauto",
            Self::Hwids => ".hwids",
            Self::EfiFw => ".efifw",
            Self::Sdmagic => ".sdmagic",
        }
    }

    /// Whether one profile may have several.
    #[must_use]
    pub const fn repeats(self) -> bool {
        matches!(self, Self::DtbAuto | Self::EfiFw)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The eight bytes of a section's name, whatever they are.
///
/// Displays as the text before the first NUL, with everything else than
/// printable ASCII escaped.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RawName(pub [u8; 8]);

impl RawName {
    /// Whether this is `name`, as systemd-stub compares names: up to the first
    /// NUL, whatever follows it (`src/boot/pe.c`, `pe_section_name_equal`).
    #[must_use]
    pub fn is(self, name: Name) -> bool {
        self.known() == Some(name)
    }

    /// Whether only NULs follow the first NUL. The stub never looks there;
    /// bootctl and ukify take the name for another one otherwise.
    #[must_use]
    pub fn is_padded_with_nuls(self) -> bool {
        self.0.iter().skip_while(|&&byte| byte != 0).all(|&byte| byte == 0)
    }

    /// The meaning of the name, if it has one, by the comparison of [`RawName::is`].
    #[must_use]
    #[inline]
    pub fn known(self) -> Option<Name> {
        let number = self.until_nul_as_number();
        let (known, name) = *NAMES_BY_SLOT.get(slot(number))?;
        if known == number { name } else { None }
    }

    /// The bytes before the first NUL, as one number: there are files with tens
    /// of thousands of sections.
    fn until_nul_as_number(self) -> u64 {
        let number = u64::from_le_bytes(self.0);
        // The top bit of the first byte that is zero; of later ones it may be wrong.
        let zeros = number.wrapping_sub(EACH_BYTE) & !number & (EACH_BYTE << 7);
        let first = zeros & zeros.wrapping_neg();
        number & (first >> 7).wrapping_sub(1)
    }

    /// The bytes before the first NUL.
    #[must_use]
    pub fn until_nul(&self) -> &[u8] {
        until_nul(&self.0)
    }
}

impl fmt::Display for RawName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.until_nul().escape_ascii(), f)
    }
}

impl fmt::Debug for RawName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl From<Name> for RawName {
    fn from(name: Name) -> Self {
        Self(padded(name))
    }
}

/// The name as eight bytes, NULs at the end.
#[expect(clippy::arithmetic_side_effects, reason = "counts to 8 at most")]
const fn padded(name: Name) -> [u8; 8] {
    let text = name.as_str().as_bytes();
    let mut raw = [0; 8];
    let mut at = 0;
    while at < text.len() {
        raw[at] = text[at];
        at += 1;
    }
    raw
}

/// One in each byte.
const EACH_BYTE: u64 = u64::from_le_bytes([1; 8]);

/// [`Name::ALL`], each in the [`slot`] of its number, as
/// [`RawName::until_nul_as_number`] has it.
const NAMES_BY_SLOT: [(u64, Option<Name>); SLOTS] = {
    let mut slots = [(0, None); SLOTS];
    let mut at = 0;
    while at < Name::ALL.len() {
        let number = u64::from_le_bytes(padded(Name::ALL[at]));
        let free = &mut slots[slot(number)];
        assert!(free.1.is_none(), "two names share a slot: SPREAD has to be another number");
        *free = (number, Some(Name::ALL[at]));
        at += 1;
    }
    slots
};

const SLOTS: usize = 1 << SLOT_BITS;
const SLOT_BITS: u32 = 5;
/// Found by trying, so that no two names share a slot.
const SPREAD: u64 = 0x8853_4206_fc4a_447f;

/// Where a name's number is looked for, and nowhere else.
const fn slot(number: u64) -> usize {
    (number.wrapping_mul(SPREAD) >> (u64::BITS - SLOT_BITS)) as usize
}

/// A section, with the fields of its table entry as they are in the file.
///
/// Only the fields that some reader of UKIs looks at; nothing about them has
/// been checked by this type. PE format, "Section Table (Section Headers)".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// The name as it is written.
    pub raw_name: RawName,
    /// What that means, if anything.
    pub name: Option<Name>,
    /// Length of the content in memory, and of the content proper in the file.
    pub virtual_size: u32,
    /// Where firmware puts it, from the start of the image.
    pub virtual_address: u32,
    /// Length in the file, padding included.
    pub size_of_raw_data: u32,
    /// Where in the file it is.
    pub pointer_to_raw_data: u32,
    /// Code or data, readable, writable and so on.
    pub characteristics: u32,
}

impl Section {
    /// Whether this is the section of that name, or one of them.
    #[must_use]
    pub fn is(&self, name: Name) -> bool {
        self.name == Some(name)
    }

    /// Whether it is set in the stub's sense: its VirtualSize is not zero
    /// (systemd `src/boot/pe.h`, `PE_SECTION_VECTOR_IS_SET`).
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.virtual_size != 0
    }

    /// The content: VirtualSize bytes. What follows up to SizeOfRawData is padding.
    #[must_use]
    pub fn range(&self) -> FileRange {
        file_range(self.pointer_to_raw_data, self.virtual_size)
    }

    /// Content and padding: SizeOfRawData bytes.
    #[must_use]
    pub fn raw_range(&self) -> FileRange {
        file_range(self.pointer_to_raw_data, self.size_of_raw_data)
    }

    /// So many bytes of the file from where it begins there.
    #[must_use]
    pub fn first_bytes(&self, len: u32) -> FileRange {
        file_range(self.pointer_to_raw_data, len)
    }

    /// The address after its last byte once loaded, from the start of the image.
    #[must_use]
    pub fn virtual_end(&self) -> u64 {
        u64::from(self.virtual_address).saturating_add(self.virtual_size.into())
    }
}

#[expect(clippy::expect_used, reason = "cannot fail")]
fn file_range(start: u32, len: u32) -> FileRange {
    FileRange::new(start.into(), len.into()).expect("two 32-bit numbers cannot pass 2⁶⁴")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_finds_itself_and_fits_its_field() {
        for name in Name::ALL {
            assert!(name.as_str().len() <= 8, "{name}");
            assert_eq!(RawName::from(name).known(), Some(name));
            assert_eq!(RawName::from(name).to_string(), name.as_str());
        }
    }

    #[test]
    fn a_name_of_eight_bytes_needs_no_nul() {
        assert_eq!(RawName(*b".cmdline").known(), Some(Name::Cmdline));
        assert!(RawName(*b".cmdline").is_padded_with_nuls());
    }

    #[test]
    fn bytes_after_the_nul_are_seen() {
        let name = RawName(*b".linux\0x");
        assert_eq!(name.known(), Some(Name::Linux));
        assert!(!name.is_padded_with_nuls());
        assert_eq!(RawName(*b".dtb\0xyz").known(), Some(Name::Dtb));
    }

    #[test]
    fn names_are_compared_whole() {
        assert_eq!(RawName(*b".linuxh\0").known(), None);
        assert_eq!(RawName(*b".linu\0\0\0").known(), None);
        assert_eq!(RawName(*b".LINUX\0\0").known(), None);
    }

    #[test]
    fn a_name_that_is_not_ascii_is_escaped() {
        assert_eq!(RawName(*b".\xffa\x1b[1m\0").to_string(), r".\xffa\x1b[1m");
    }

    #[test]
    fn a_name_is_the_one_that_it_is_known_as() {
        assert!(RawName(*b".linux\0x").is(Name::Linux));
        assert!(!RawName(*b".linux\0x").is(Name::Initrd));
        assert!(!RawName(*b".text\0\0\0").is(Name::Linux));
    }
}
