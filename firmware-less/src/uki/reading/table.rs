//! The table of readings, a row each.

use super::{
    Absent, Addons, Check, Cmdline, Finding, GivenCmdline, GivenInitrd, Length, Names, Pick, Rule,
    Rules, Scope, Table, Text,
};
use crate::uki::Name;

/// As firmware loads sections, and the stub finds them: since version 257 the
/// first one counts, and a VirtualSize of 0 is as good as none.
const BY_THE_STUB: Finding = Finding {
    names: Names::UntilNul,
    table: Table::Profile,
    pick: Pick::First,
    absent: Absent::Empty,
    length: Length::Loaded,
};
/// As the PE format has sections, and UAPI.5 the profiles.
const BY_UAPI: Finding = Finding { names: Names::Padded, absent: Absent::NoEntry, ..BY_THE_STUB };
/// The specification of 2023 knows no profiles.
const BY_UAPI_2023: Finding = Finding { table: Table::Whole, ..BY_UAPI };
/// `find_section` of the kernel patches: `strncmp` over eight bytes.
const BY_THE_PATCHES: Finding = Finding {
    names: Names::UntilNul,
    table: Table::Whole,
    pick: Pick::First,
    absent: Absent::NoEntry,
    length: Length::SizeOfRawData,
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
/// `process_uki_pe`: PE_SCAN_MAX entries, each match replacing the one before it.
///
/// For `.cmdline` it compares nine bytes of an array of eight, to which the name
/// was copied. What the ninth is, is the compiler's choice, nothing in the file;
/// it is taken for the NUL that the author meant, or no file would be accepted.
const BY_THE_BPF_PROGRAM: Finding = Finding {
    names: Names::UntilNul,
    table: Table::First(16),
    pick: Pick::Last,
    absent: Absent::PassedOver,
    length: Length::SizeOfRawData,
};

/// Only the sections themselves.
const fn nothing_else(rule: Rule) -> Scope {
    Scope {
        profiles: false,
        ucode: false,
        addons: Addons::None,
        extra: false,
        console: false,
        rule,
    }
}

const fn rule(text: &'static str, source: &'static str) -> Rule {
    Rule { text, source }
}

const UAPI_COMPONENTS: &str = "UAPI.5, UKI Components";
const BLS_TYPE_2: &str = "UAPI.1, Type #2 EFI Unified Kernel Images";
const STUB_PE: &str = "systemd src/boot/pe.c";

pub(super) const STUB: Rules = Rules {
    requires: &[(
        Name::Linux,
        rule("a profile needs a kernel of at least one byte", "systemd src/boot/stub.c, run"),
    )],
    checks: &[
        (Check::Subsystem, rule("a UKI is an EFI application", "UAPI.5, UKI File Format")),
        (
            Check::TableInHeaders,
            rule("firmware finds no section header past SizeOfHeaders", "PE format, SizeOfHeaders"),
        ),
        (
            Check::SectionsPastHeaders,
            rule("a digest over the file would count such bytes twice", "Authenticode"),
        ),
        (
            Check::SectionsInFile,
            rule("firmware loads no file that is cut short", "UEFI, LoadImage"),
        ),
        (
            Check::NamePadding,
            rule("the stub ignores what follows the NUL, bootctl and ukify do not", STUB_PE),
        ),
        (
            Check::VirtualSize,
            rule(
                "the stub sees zeros there, bootctl the bytes that follow, ukify nothing",
                "systemd src/shared/pe-binary.c, ukify",
            ),
        ),
        (
            Check::Alignment,
            rule("ukify reads such a section from where FileAlignment has it", "pefile"),
        ),
        (Check::InImage, rule("the stub passes over such a section", STUB_PE)),
        (
            Check::Singletons,
            rule("the stub takes the first since systemd 257, and took the last before", STUB_PE),
        ),
        (
            Check::OverlapInFile,
            rule("a digest over the file would count such bytes twice", "Authenticode"),
        ),
        (
            Check::OverlapInMemory,
            rule("firmware loads one over the other, others read both", "UEFI, LoadImage"),
        ),
    ],
    payload: BY_THE_STUB,
    text: BY_THE_STUB,
    cmdline: Cmdline {
        text: Text::Mangled,
        text_rule: Some(rule(
            "the stub drops silently what is not UTF-8",
            "systemd src/boot/efi-string.c",
        )),
        given: GivenCmdline::UnlessLocked {
            locked: rule(
                "under enforcement the stub drops the user's words where .cmdline is set",
                "systemd src/boot/stub.c, settle_command_line",
            ),
        },
        empty_is_given: true,
        append_last: true,
    },
    initrd: GivenInitrd::Appended {
        locked: rule(
            "under enforcement nothing joins the UKI's initrd that is not verified",
            "systemd src/boot/stub.c, run",
        ),
    },
    scope: Scope {
        profiles: true,
        ucode: true,
        addons: Addons::ByUname,
        extra: true,
        console: true,
        rule: rule("there is more than it takes", "systemd src/boot/stub.c"),
    },
};

pub(super) const UAPI: Rules = Rules {
    requires: &[(Name::Linux, rule("only .linux is required", UAPI_COMPONENTS))],
    checks: &[
        (
            Check::Subsystem,
            rule("the subsystem of UKIs should be EFI application", "UAPI.5, UKI File Format"),
        ),
        (
            Check::Singletons,
            rule("sections are singletons, in the base and in each profile", UAPI_COMPONENTS),
        ),
    ],
    payload: BY_UAPI,
    text: BY_UAPI,
    cmdline: Cmdline {
        text: Text::Verbatim,
        text_rule: None,
        given: GivenCmdline::IfAbsent(rule(
            "only where .cmdline is absent may it be overridden locally",
            UAPI_COMPONENTS,
        )),
        empty_is_given: true,
        append_last: false,
    },
    initrd: GivenInitrd::Never(rule(
        "the initrd is that of the UKI and its addons, no other is provided for",
        "UAPI.5, UKI Components, PE Addons",
    )),
    scope: Scope {
        profiles: true,
        ucode: true,
        addons: Addons::All,
        extra: false,
        console: false,
        rule: rule("it provides for nothing beside sections, addons and profiles", "UAPI.5"),
    },
};

/// `.linux`, `.initrd` and `.cmdline` were not yet called optional: d62ddf0 and
/// 8480530 are of 11 September 2023, 60e3e49 is of April 2024.
pub(super) const UAPI_2023: Rules = Rules {
    requires: &[
        (Name::Linux, rule("not called optional, so mandatory", UAPI_COMPONENTS_2023)),
        (Name::Initrd, rule("not called optional, so mandatory", UAPI_COMPONENTS_2023)),
        (Name::Cmdline, rule("not called optional, so mandatory", UAPI_COMPONENTS_2023)),
    ],
    checks: &[],
    payload: BY_UAPI_2023,
    text: BY_UAPI_2023,
    cmdline: Cmdline {
        text: Text::Verbatim,
        text_rule: None,
        given: GivenCmdline::Never(rule(
            "the command line is .cmdline, an override is not provided for",
            UAPI_COMPONENTS_2023,
        )),
        empty_is_given: true,
        append_last: false,
    },
    initrd: GivenInitrd::Never(rule(
        "the initrd is .initrd, no other is provided for",
        UAPI_COMPONENTS_2023,
    )),
    scope: nothing_else(rule(
        "it knew neither profiles nor addons, and provided for nothing beside sections",
        "UAPI.5 of September 2023",
    )),
};

const UAPI_COMPONENTS_2023: &str = "UAPI.5 of September 2023, UKI Components";

/// Since ac9cc61 of May 2025 it leaves all of this to UAPI.5; what it says itself,
/// that `.osrel` makes the menu entry, it does not require.
pub(super) const BLS: Rules = UAPI;

pub(super) const BLS_2023: Rules = Rules {
    requires: &[
        (
            Name::Linux,
            rule("a UKI is a stub, a kernel, an initrd and a command line", BLS_2023_TYPE_2),
        ),
        (Name::Cmdline, rule("a valid UKI must have it", BLS_2023_TYPE_2)),
        (Name::Osrel, rule("a valid UKI must have it", BLS_2023_TYPE_2)),
    ],
    checks: &[],
    payload: BY_UAPI_2023,
    text: BY_UAPI_2023,
    cmdline: Cmdline {
        text: Text::Verbatim,
        text_rule: None,
        given: GivenCmdline::Never(rule(
            ".cmdline is used instead of the options field of other entries",
            BLS_TYPE_2,
        )),
        empty_is_given: true,
        append_last: false,
    },
    initrd: GivenInitrd::Never(rule("entries of type #2 have no initrd field", BLS_TYPE_2)),
    scope: nothing_else(rule("it provided for nothing beside sections", BLS_2023_TYPE_2)),
};

const BLS_2023_TYPE_2: &str = "UAPI.1 of September 2023, Type #2 EFI Unified Kernel Images";

const UKI_PROBE: &str = "arch/x86/kernel/kexec-uki.c, uki_probe";
const UKI_LOAD: &str = "arch/x86/kernel/kexec-uki.c, uki_load";
const PATCHES_REQUIRE: Rule = rule("without it the file is no UKI, ENOEXEC", UKI_PROBE);
const PATCHES_CHECK: &[(Check, Rule)] = &[(
    Check::TableInHeaders,
    rule(
        "a section table past SizeOfHeaders is bad, ELIBBAD",
        "verify_pefile.c, pefile_parse_binary",
    ),
)];
const PATCHES_REFUSE_INITRD: Rule = rule("a UKI does not allow another initrd, EPERM", UKI_LOAD);
const PATCHES_SCOPE: Scope =
    nothing_else(rule("only .linux, .initrd and .cmdline are looked at", UKI_LOAD));

/// Length and last byte as `bzImage64_load` has them, to which the section is
/// handed as it is.
const fn cmdline_of_patches(given: GivenCmdline) -> Cmdline {
    Cmdline {
        text: Text::LastByteNul,
        text_rule: None,
        given,
        empty_is_given: false,
        append_last: false,
    }
}

pub(super) const KEXEC_V1: Rules = Rules {
    requires: &[
        (Name::Linux, PATCHES_REQUIRE),
        (Name::Initrd, PATCHES_REQUIRE),
        (Name::Cmdline, PATCHES_REQUIRE),
    ],
    checks: PATCHES_CHECK,
    payload: BY_THE_PATCHES,
    text: BY_THE_PATCHES,
    cmdline: cmdline_of_patches(GivenCmdline::Ignored),
    initrd: GivenInitrd::Ignored,
    scope: PATCHES_SCOPE,
};

pub(super) const KEXEC_V2: Rules = Rules {
    requires: &[(Name::Linux, PATCHES_REQUIRE), (Name::Initrd, PATCHES_REQUIRE)],
    cmdline: cmdline_of_patches(GivenCmdline::Never(rule(
        "a UKI does not allow another command line, EPERM",
        UKI_LOAD,
    ))),
    initrd: GivenInitrd::Never(PATCHES_REFUSE_INITRD),
    ..KEXEC_V1
};

pub(super) const KEXEC_V3: Rules = Rules {
    cmdline: cmdline_of_patches(GivenCmdline::UnlessLocked {
        locked: rule(
            "locked down, a UKI with .cmdline does not allow another command line, EPERM",
            UKI_LOAD,
        ),
    }),
    ..KEXEC_V2
};

pub(super) const KEXEC_TOOLS: Rules = Rules {
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
pub(super) const SYSTEMCTL_KEXEC: Rules = Rules {
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

pub(super) const BPF_V7: Rules = Rules {
    requires: &[
        (Name::Linux, BPF_REQUIRES),
        (Name::Initrd, BPF_REQUIRES),
        (Name::Cmdline, BPF_REQUIRES),
    ],
    checks: &[],
    payload: BY_THE_BPF_PROGRAM,
    text: BY_THE_BPF_PROGRAM,
    cmdline: Cmdline {
        text: Text::NulAdded,
        text_rule: None,
        given: GivenCmdline::Ignored,
        empty_is_given: false,
        append_last: false,
    },
    initrd: GivenInitrd::Never(rule(
        "the UKI itself is passed in the initrd's place",
        "kernel/kexec_bpf_loader.c, decompose_kexec_image",
    )),
    scope: nothing_else(rule(
        "only .linux, .initrd and .cmdline are looked at",
        "tools/kexec/uki_parser_bpf.c, process_uki_pe",
    )),
};

const BPF_REQUIRES: Rule = rule(
    "kernel, initrd and command line must all be among the first 16 sections, EINVAL",
    "kernel/kexec_bpf_loader.c, decompose_kexec_image",
);
