//! [`WrongFile`]: what a file is that is no UKI for this machine.

use std::{fmt, io};

use goblin::pe::header::{
    COFF_MACHINE_ARM, COFF_MACHINE_ARM64, COFF_MACHINE_ARMNT, COFF_MACHINE_EBC, COFF_MACHINE_IA64,
    COFF_MACHINE_LOONGARCH64, COFF_MACHINE_RISCV64, COFF_MACHINE_X86,
};
use thiserror::Error;

use super::section::{Name, RawName, Section};
use crate::{
    file_format::{FileFormat, RECOGNISED_WITHIN},
    read_at::{ReadAt, fetch, fetch_prefix},
};

/// The sections whose presence makes a PE file without `.linux` an addon.
/// systemd `src/boot/stub.c`, `load_addons`.
const OF_ADDONS: [Name; 5] = [Name::Cmdline, Name::Dtb, Name::DtbAuto, Name::Initrd, Name::Ucode];
/// How much of `.sdmagic` is looked at: `#### LoaderInfo: systemd-stub 257 ####`.
const SDMAGIC_MAX: u64 = 128;

/// A file that is no UKI for x86-64, whatever else is wrong with it.
///
/// Each message says what the file is, what was expected, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WrongFile {
    /// Nothing that begins like a PE file.
    #[error(
        "the file is {found}, expected a Unified Kernel Image, a PE file with a .linux section{}",
        advice(*found)
    )]
    NotPe {
        /// What it is.
        found: FileFormat,
    },
    /// A PE file for another architecture.
    #[error(
        "the file is {} for {machine}, expected a UKI for x86-64 (0x8664)",
        if *has_kernel { "a UKI" } else { "a PE file" }
    )]
    OtherMachine {
        /// Which architecture.
        machine: Machine,
        /// Whether it has a kernel in it.
        has_kernel: bool,
    },
    /// A kernel that is an EFI program by itself.
    #[error(
        "the file is a bare kernel (bzImage), expected a UKI: \
         make one with `ukify build --linux=… --initrd=…`"
    )]
    BareKernel,
    /// An EFI program that unpacks a kernel.
    #[error(
        "the file is a compressed kernel in an EFI program (zboot), expected a UKI with a bzImage"
    )]
    Zboot,
    /// A file with `.profile` and no kernel, made to be joined to a UKI.
    #[error(
        "the file is a profile of a UKI (section .profile, but no .linux), expected a whole UKI: \
         join it to one with `ukify build --join-profile=…`"
    )]
    Profile,
    /// A file that extends UKIs.
    #[error("the file is an addon to UKIs (section {section}, but no .linux), expected a UKI")]
    Addon {
        /// The first section that makes it one.
        section: Name,
    },
    /// systemd-stub, or its kind for addons, with nothing added.
    #[error(
        "the file is a stub without a kernel (no .linux section), expected a UKI: \
         make one with `ukify build --stub=… --linux=… --initrd=…`"
    )]
    Stub,
    /// A lanzaboote image: names its kernel and initrd, but does not hold them.
    #[error(
        "the file is a thin image of lanzaboote (section {section}), which names its kernel and \
         initrd by path, expected a UKI that holds them"
    )]
    Thin {
        /// The section that gives it away.
        section: RawName,
    },
    /// Any other PE file.
    #[error("the file is a PE file without a .linux section, expected a UKI")]
    NoKernel,
}

impl WrongFile {
    /// What a file is that does not begin like a PE file.
    pub(super) fn by_content(source: &(impl ReadAt + ?Sized)) -> io::Result<Self> {
        let found = FileFormat::of(&fetch_prefix(source, RECOGNISED_WITHIN)?);
        Ok(Self::NotPe { found })
    }

    /// What a PE file for another architecture is.
    pub(super) fn other_machine(machine: u16, sections: &[Section]) -> Self {
        let has_kernel = sections.iter().any(|section| section.is(Name::Linux));
        Self::OtherMachine { machine: Machine(machine), has_kernel }
    }

    /// What a PE file for x86-64 is that these `sections` do not make a UKI;
    /// `None` if they do.
    pub(super) fn by_sections(
        source: &(impl ReadAt + ?Sized),
        sections: &[Section],
    ) -> io::Result<Option<Self>> {
        let mut names = sections.iter().map(|section| section.raw_name);
        if let Some(section) = names.find(|name| is_of_thin_images(*name)) {
            return Ok(Some(Self::Thin { section }));
        }
        let has = |name| sections.iter().any(|section| section.is(name));
        Ok(if has(Name::Linux) {
            None
        } else if has(Name::Profile) {
            Some(Self::Profile)
        } else if let Some(section) = OF_ADDONS.into_iter().find(|&name| has(name)) {
            Some(Self::Addon { section })
        } else if is_stub(source, sections) {
            Some(Self::Stub)
        } else {
            Some(match FileFormat::of(&fetch_prefix(source, RECOGNISED_WITHIN)?) {
                FileFormat::BzImage => Self::BareKernel,
                FileFormat::Zboot => Self::Zboot,
                _ => Self::NoKernel,
            })
        })
    }
}

/// Whether only lanzaboote's thin images have a section of that name: its hashes of the kernel
/// and initrd files, which the file itself names by path.
/// nix-community/lanzaboote `rust/tool/shared/src/pe.rs`.
fn is_of_thin_images(name: RawName) -> bool {
    // As numbers: there are files with tens of thousands of sections.
    const OF_KERNEL: u64 = u64::from_le_bytes(*b".linuxh\0");
    const OF_INITRD: u64 = u64::from_le_bytes(*b".initrdh");
    matches!(u64::from_le_bytes(name.0), OF_KERNEL | OF_INITRD)
}

/// Whether `.sdmagic` says so. The section may lie anywhere, this early.
fn is_stub(source: &(impl ReadAt + ?Sized), sections: &[Section]) -> bool {
    let magic = sections.iter().find(|section| section.is(Name::Sdmagic));
    magic
        .map(|section| section.range().take(SDMAGIC_MAX))
        .and_then(|range| fetch(source, range.offset(), range.len()).ok())
        .is_some_and(|text| {
            ["systemd-stub", "systemd-addon"]
                .iter()
                .any(|kind| text.windows(kind.len()).any(|window| window == kind.as_bytes()))
        })
}

/// What to do with a file that is not a PE file, as the end of a sentence.
fn advice(found: FileFormat) -> &'static str {
    match found {
        FileFormat::Elf => ": make one from the bzImage with `ukify build --linux=… --initrd=…`",
        FileFormat::BzImage | FileFormat::Cpio => {
            ": make one with `ukify build --linux=… --initrd=…`"
        }
        FileFormat::Compressed(_) => ": decompress it first",
        FileFormat::Iso9660 | FileFormat::Disk => ": UKIs lie in its EFI partition, in /EFI/Linux",
        _ => "",
    }
}

/// An architecture, by its number in the COFF header.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Machine(pub u16);

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            COFF_MACHINE_X86 => "ia32",
            COFF_MACHINE_ARM64 => "aarch64",
            COFF_MACHINE_ARM | COFF_MACHINE_ARMNT => "arm",
            COFF_MACHINE_RISCV64 => "riscv64",
            COFF_MACHINE_LOONGARCH64 => "loongarch64",
            COFF_MACHINE_IA64 => "ia64",
            COFF_MACHINE_EBC => "EFI byte code",
            _ => return write!(f, "machine {:#06x}", self.0),
        };
        write!(f, "{name} ({:#06x})", self.0)
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_called_what_systemd_calls_it() {
        let shown = [0x14c, 0xaa64, 0x1c0, 0x1c4, 0x5064, 0x6264, 0x200, 0xebc, 0x8664]
            .map(|number| Machine(number).to_string());
        assert_eq!(
            shown,
            [
                "ia32 (0x014c)",
                "aarch64 (0xaa64)",
                "arm (0x01c0)",
                "arm (0x01c4)",
                "riscv64 (0x5064)",
                "loongarch64 (0x6264)",
                "ia64 (0x0200)",
                "EFI byte code (0x0ebc)",
                "machine 0x8664",
            ]
        );
    }
}
