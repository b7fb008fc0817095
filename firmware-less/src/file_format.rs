//! [`FileFormat`]: what a file or a section is, going by its first bytes.
//!
//! Asked only when something turned out not to be what it should, so that the
//! refusal can say what it is instead.

use std::fmt;

/// How many bytes from the start tell every format apart, that of CD images
/// being the last to show itself.
pub const RECOGNISED_WITHIN: u64 = 0x8800;

/// What bytes are, as far as somebody might take them for a UKI or a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// No bytes at all.
    Empty,
    /// ELF: a vmlinux, or a program.
    Elf,
    /// A Linux/x86 boot image, with or without a PE header.
    BzImage,
    /// A compressed kernel in an EFI program that unpacks it.
    Zboot,
    /// Some other PE or DOS program.
    Pe,
    /// Compressed with the program of that name.
    Compressed(&'static str),
    /// A cpio archive, as initial RAM disks are.
    Cpio,
    /// A script.
    Script,
    /// Other text.
    Text,
    /// A CD image.
    Iso9660,
    /// A disk image or a boot sector.
    Disk,
    /// None of these.
    Unknown,
}

/// Formats that begin with a fixed string. The compressed ones are those of the
/// kernel's `lib/decompress.c`.
const MAGIC: [(&[u8], FileFormat); 14] = [
    (b"\x7fELF", FileFormat::Elf),
    (b"\x1f\x8b", FileFormat::Compressed("gzip")),
    (b"\xfd7zXZ\0", FileFormat::Compressed("xz")),
    (b"\x28\xb5\x2f\xfd", FileFormat::Compressed("zstd")),
    (b"\x04\x22\x4d\x18", FileFormat::Compressed("lz4 (frames)")),
    (b"\x02\x21\x4c\x18", FileFormat::Compressed("lz4")),
    (b"BZh", FileFormat::Compressed("bzip2")),
    (b"\x5d\0\0", FileFormat::Compressed("lzma")),
    (b"\x89LZO\0", FileFormat::Compressed("lzop")),
    (b"07070", FileFormat::Cpio),
    (b"#!", FileFormat::Script),
    (b"QFI\xfb", FileFormat::Disk),
    (b"KDMV", FileFormat::Disk),
    (b"MZ", FileFormat::Pe),
];

impl FileFormat {
    /// What begins with `prefix`: the first [`RECOGNISED_WITHIN`] bytes, or all.
    #[must_use]
    pub fn of(prefix: &[u8]) -> Self {
        let has = |offset: usize, magic: &[u8]| {
            prefix.get(offset..).is_some_and(|rest| rest.starts_with(magic))
        };
        if prefix.is_empty() {
            Self::Empty
        } else if has(0x1fe, b"\x55\xaa") && has(0x202, b"HdrS") {
            Self::BzImage
        } else if has(0, b"MZ") && has(4, b"zimg") {
            Self::Zboot
        } else if let Some((_, format)) = MAGIC.iter().find(|(magic, _)| has(0, magic)) {
            *format
        } else if has(0x8001, b"CD001") {
            Self::Iso9660
        } else if has(0x200, b"EFI PART") || has(0x1fe, b"\x55\xaa") {
            Self::Disk
        } else if is_text(prefix) {
            Self::Text
        } else {
            Self::Unknown
        }
    }
}

/// Whether `prefix` is text; its last character may be cut short.
fn is_text(prefix: &[u8]) -> bool {
    let text = match std::str::from_utf8(prefix) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            let (whole, _) = prefix.split_at(error.valid_up_to());
            str::from_utf8(whole).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.chars().any(|c| c.is_control() && !c.is_whitespace())
}

impl fmt::Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "an empty file",
            Self::Elf => "an ELF file (a vmlinux?)",
            Self::BzImage => "a bare kernel (bzImage)",
            Self::Zboot => "a compressed kernel in an EFI program (zboot)",
            Self::Pe => "a PE or DOS program",
            Self::Compressed(with) => return write!(f, "data compressed with {with}"),
            Self::Cpio => "a cpio archive (an initrd?)",
            Self::Script => "a script",
            Self::Text => "a text file",
            Self::Iso9660 => "a CD image (ISO 9660)",
            Self::Disk => "a disk image",
            Self::Unknown => "of an unknown format",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_may_end_within_a_character() {
        assert_eq!(FileFormat::of("root=/dev/vda é".as_bytes()), FileFormat::Text);
        assert_eq!(FileFormat::of(b"root=/dev/vda \xc3"), FileFormat::Text);
        assert_eq!(FileFormat::of(b"root=/dev/vda \xc3("), FileFormat::Unknown);
        assert_eq!(FileFormat::of(b"root\0"), FileFormat::Unknown);
    }

    #[test]
    fn a_bzimage_is_known_with_and_without_a_pe_header() {
        let mut image = vec![0; 0x400];
        image[0x1fe..0x200].copy_from_slice(b"\x55\xaa");
        assert_eq!(FileFormat::of(&image), FileFormat::Disk);
        image[0x202..0x206].copy_from_slice(b"HdrS");
        assert_eq!(FileFormat::of(&image), FileFormat::BzImage);
        image[..2].copy_from_slice(b"MZ");
        assert_eq!(FileFormat::of(&image), FileFormat::BzImage);
    }

    #[test]
    fn a_cd_image_shows_itself_late() {
        let mut image = vec![0; 0x8800];
        assert_eq!(FileFormat::of(&image), FileFormat::Unknown);
        image[0x8001..0x8006].copy_from_slice(b"CD001");
        assert_eq!(FileFormat::of(&image), FileFormat::Iso9660);
    }
}
