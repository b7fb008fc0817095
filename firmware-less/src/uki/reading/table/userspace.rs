//! kexec in userspace.

use super::{kernel::BY_THE_PATCHES, nothing_else, rule};
use crate::uki::{
    Name,
    reading::{
        Absent, Check, Cmdline, Finding, GivenCmdline, GivenInitrd, Length, Names, Pick, Rules,
        Table, Text,
    },
};

/// `uki_image_probe`: `strcmp`, each match replacing the one before it. Lengths
/// are SizeOfRawData in every release up to 2.0.32; e18a71f is in none.
const BY_KEXEC_TOOLS: Finding = Finding { pick: Pick::Last, ..BY_THE_PATCHES };
/// `pe_header_find_section` over the whole table, `pe_section_to_memfd`.
const BY_EXTRACT_UKI: Finding = Finding {
    names: Names::Padded,
    table: Table::Whole,
    pick: Pick::First,
    absent: Absent::NoEntry,
    length: Length::Lesser,
};
/// `pe_find_uki_sections` for the menu entry, `pe_read_section_data`.
const BY_THE_MENU: Finding = Finding {
    names: Names::Padded,
    table: Table::FirstProfile,
    pick: Pick::First,
    absent: Absent::Empty,
    length: Length::VirtualSize,
};
pub(in super::super) const KEXEC_TOOLS: Rules = Rules {
    requires: &[(Name::Linux, rule("it finds no kernel without it", UKI_IMAGE_PROBE))],
    checks: &[],
    payload: BY_KEXEC_TOOLS,
    text: BY_KEXEC_TOOLS,
    cmdline: Cmdline {
        text: Text::Unused,
        text_rule: None,
        given: GivenCmdline::Alone,
        empty_is_given: true,
        append_last: false,
    },
    initrd: GivenInitrd::Instead {
        one: rule("it hands over one initrd", "kexec/arch/x86_64/kexec-bzImage64.c"),
    },
    scope: nothing_else(rule("only .linux and .initrd are looked at", UKI_IMAGE_PROBE)),
};

const UKI_IMAGE_PROBE: &str = "kexec-tools kexec/kexec-uki.c, uki_image_probe";

/// The menu entry is that of the first profile; kernel and initrd are the first
/// of the whole table. A comment there lists what is yet to be done: profiles,
/// `.dtb`, `.ucode`, signatures of PCRs, addons, measurements.
pub(in super::super) const SYSTEMCTL_KEXEC: Rules = Rules {
    requires: &[
        (Name::Linux, rule("without it the file is no UKI", PE_IS_UKI)),
        (Name::Osrel, rule("without it there is no menu entry", PE_IS_UKI)),
    ],
    checks: &[
        (Check::Subsystem, rule("a UKI is an EFI application", PE_IS_UKI)),
        (
            Check::SectionsInFile,
            rule(
                "a section must lie in the file",
                "systemd src/shared/pe-binary.c, pe_load_sections",
            ),
        ),
    ],
    payload: BY_EXTRACT_UKI,
    text: BY_THE_MENU,
    cmdline: Cmdline {
        text: Text::Trimmed,
        text_rule: Some(rule(
            "text has no NUL within",
            "systemd src/shared/pe-binary.c, pe_read_section_data",
        )),
        given: GivenCmdline::Appended,
        empty_is_given: true,
        append_last: false,
    },
    initrd: GivenInitrd::Instead {
        one: rule("several initrds are not supported", "systemctl-start-special.c"),
    },
    scope: nothing_else(rule(
        "profiles, addons and all else are yet to be done there",
        "systemd src/shared/reboot-util.c, extract_uki",
    )),
};

const PE_IS_UKI: &str = "systemd src/shared/pe-binary.c, pe_is_uki";
