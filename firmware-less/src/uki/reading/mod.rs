//! [`Reading`]: one way to read UKIs, of the several that contradict each other.
//!
//! What a reading does is not code but a row of data, [`Rules`]: what is
//! required, how a section is found and how long it is, who owns the command
//! line and the initrd. The code that follows the rows is the same for all.

mod rules;
mod table;
mod view;

pub use rules::{
    Absent, Addons, Check, Cmdline, Finding, GivenCmdline, GivenInitrd, Length, Names, Pick, Rule,
    Rules, Scope, Table, Text,
};
pub use view::SectionBytes;
pub(super) use view::View;

use std::fmt;

use serde::{Serialize, Serializer};

/// Whose reading of a UKI applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reading {
    /// systemd-stub's, less what other readers of today would read differently.
    #[default]
    Stub,
    /// UAPI.5 as it is today.
    Uapi,
    /// UAPI.5 as it was when the kernel patches were posted.
    Uapi2023,
    /// UAPI.1, type #2, as it is today.
    Bls,
    /// UAPI.1, type #2, as it was when the kernel patches were posted.
    Bls2023,
    /// The kernel patch of 9 September 2023.
    KexecV1,
    /// Its second version, of 11 September 2023.
    KexecV2,
    /// Its third, which was never posted.
    KexecV3,
    /// kexec-tools 2.0.32.
    KexecTools,
    /// `systemctl kexec` of systemd 261 and later.
    SystemctlKexec,
    /// The BPF program for UKIs of 22 March 2026.
    BpfV7,
}

impl Reading {
    /// Every reading there is, the default first.
    pub const ALL: [Self; 11] = [
        Self::Stub,
        Self::Uapi,
        Self::Uapi2023,
        Self::Bls,
        Self::Bls2023,
        Self::KexecV1,
        Self::KexecV2,
        Self::KexecV3,
        Self::KexecTools,
        Self::SystemctlKexec,
        Self::BpfV7,
    ];

    /// What it is called, on the command line too.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stub => "stub",
            Self::Uapi => "uapi",
            Self::Uapi2023 => "uapi-2023",
            Self::Bls => "bls",
            Self::Bls2023 => "bls-2023",
            Self::KexecV1 => "kexec-v1",
            Self::KexecV2 => "kexec-v2",
            Self::KexecV3 => "kexec-v3",
            Self::KexecTools => "kexec-tools",
            Self::SystemctlKexec => "systemctl-kexec",
            Self::BpfV7 => "bpf-v7",
        }
    }

    /// What it is, in a few words.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Stub => "systemd-stub, less what other readers of today read differently",
            Self::Uapi => "UAPI.5, the specification of UKIs, as it is today, and nothing more",
            Self::Uapi2023 => "UAPI.5 as it stood on 9 September 2023",
            Self::Bls => "UAPI.1, the Boot Loader Specification, type #2: what UAPI.5 says",
            Self::Bls2023 => "UAPI.1, type #2, as it stood on 9 September 2023",
            Self::KexecV1 => "kernel patch of 9 September 2023: three sections, all required",
            Self::KexecV2 => "kernel patch of 11 September 2023: .cmdline optional, none beside it",
            Self::KexecV3 => "kernel patch, never posted: the user's line, unless locked down",
            Self::KexecTools => "kexec-tools 2.0.32: the last .linux and .initrd, no .cmdline",
            Self::SystemctlKexec => "systemctl kexec since systemd 261: an entry of the boot menu",
            Self::BpfV7 => "kexec's BPF program of 22 March 2026: three of the first 16 sections",
        }
    }

    /// The primary source of its row.
    #[must_use]
    pub const fn source(self) -> &'static str {
        match self {
            Self::Stub => "systemd src/boot/stub.c, src/boot/pe.c",
            Self::Uapi => "uapi-group/specifications ed66b52, unified_kernel_image.md",
            Self::Uapi2023 => "uapi-group/specifications 894103c, unified_kernel_image.md",
            Self::Bls => "uapi-group/specifications ed66b52, boot_loader_specification.md",
            Self::Bls2023 => "uapi-group/specifications 894103c, boot_loader_specification.md",
            Self::KexecV1 => "LKML 20230909161851.223627-1-kernel@jfarr.cc",
            Self::KexecV2 => "LKML 20230911052535.335770-1-kernel@jfarr.cc",
            Self::KexecV3 => "Cydox/linux, arch/x86/kernel/kexec-uki.c",
            Self::KexecTools => "kexec-tools v2.0.32, kexec/kexec-uki.c",
            Self::SystemctlKexec => "systemd src/shared/reboot-util.c, src/shared/bootspec.c",
            Self::BpfV7 => "LKML 20260322014402.8815-1-piliu@redhat.com, uki_parser_bpf.c",
        }
    }

    /// Its row of the table.
    #[must_use]
    pub const fn rules(self) -> &'static Rules {
        match self {
            Self::Stub => &table::STUB,
            Self::Uapi => &table::UAPI,
            Self::Uapi2023 => &table::UAPI_2023,
            Self::Bls => &table::BLS,
            Self::Bls2023 => &table::BLS_2023,
            Self::KexecV1 => &table::KEXEC_V1,
            Self::KexecV2 => &table::KEXEC_V2,
            Self::KexecV3 => &table::KEXEC_V3,
            Self::KexecTools => &table::KEXEC_TOOLS,
            Self::SystemctlKexec => &table::SYSTEMCTL_KEXEC,
            Self::BpfV7 => &table::BPF_V7,
        }
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Reading {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uki::{Error, Name, RawName};

    #[test]
    fn every_reading_has_a_name_and_a_title_of_its_own() {
        for (place, reading) in Reading::ALL.into_iter().enumerate() {
            let others = Reading::ALL.iter().skip(place + 1);
            for other in others {
                assert_ne!(reading.as_str(), other.as_str());
                assert_ne!(reading.title(), other.title());
            }
            assert!(reading.title().len() <= 80, "{reading}");
        }
    }

    #[test]
    fn every_reading_says_where_it_stands_and_is_written_as_it_is_called() {
        for (place, reading) in Reading::ALL.into_iter().enumerate() {
            let mut others = Reading::ALL.iter().skip(place + 1);
            assert!(others.all(|other| other.source() != reading.source()), "{reading}");
            assert_eq!(serde_json::to_value(reading).unwrap(), reading.as_str());
        }
    }

    #[test]
    fn every_reading_requires_a_kernel() {
        for reading in Reading::ALL {
            let mut required = reading.rules().requires.iter();
            assert!(required.any(|(section, _)| *section == Name::Linux), "{reading}");
        }
    }

    #[test]
    fn every_rule_is_a_sentence_with_a_source() {
        for reading in Reading::ALL {
            assert!(reading.rules().all().len() >= 2, "{reading}");
            for rule in reading.rules().all() {
                let Rule { text, source } = rule;
                assert!(!text.is_empty() && !text.ends_with('.'), "{reading}: {text}");
                assert!(!source.is_empty(), "{reading}: {text}");
            }
        }
    }

    #[test]
    fn what_is_wrong_with_headers_says_which_check_found_it() {
        let section = RawName(*b".linux\0x");
        let (first, second) = (section, section);
        let (first_end, second_start) = (2, 1);
        for (error, check) in [
            (Error::Subsystem { found: 1, wanted: 10 }, Check::Subsystem),
            (Error::HeadersCut { size_of_headers: 1, table_end: 2 }, Check::TableInHeaders),
            (
                Error::WithinHeaders { section, pointer: 1, size_of_headers: 2 },
                Check::SectionsPastHeaders,
            ),
            (Error::PastEndOfFile { section, end: 2, file_len: 1 }, Check::SectionsInFile),
            (Error::BytesAfterName { name: Name::Linux, raw: section }, Check::NamePadding),
            (
                Error::VirtualSize { section, virtual_size: 2, size_of_raw_data: 1 },
                Check::VirtualSize,
            ),
            (Error::Unaligned { section, pointer: 1, file_alignment: 2 }, Check::Alignment),
            (Error::PastImage { section, end: 2, size_of_image: 1 }, Check::InImage),
            (Error::Duplicate { section: Name::Linux, first: 0, second: 1 }, Check::Singletons),
            (Error::OverlapInFile { first, first_end, second, second_start }, Check::OverlapInFile),
            (
                Error::OverlapInMemory { first, first_end, second, second_start },
                Check::OverlapInMemory,
            ),
        ] {
            assert_eq!(Check::of(&error), Some(check), "{error}");
        }
        assert_eq!(Check::of(&Error::EmptyLinux), None);
    }
}
