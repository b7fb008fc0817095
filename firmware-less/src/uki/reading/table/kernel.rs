//! Loaders proposed for the kernel.

use super::{nothing_else, rule};
use crate::uki::{
    Name,
    reading::{
        Absent, Check, Cmdline, Finding, GivenCmdline, GivenInitrd, Length, Names, Pick, Rule,
        Rules, Scope, Table, Text,
    },
};

/// `find_section` of the kernel patches: `strncmp` over eight bytes.
pub(super) const BY_THE_PATCHES: Finding = Finding {
    names: Names::UntilNul,
    table: Table::Whole,
    pick: Pick::First,
    absent: Absent::NoEntry,
    length: Length::SizeOfRawData,
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

pub(in super::super) const KEXEC_V1: Rules = Rules {
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

pub(in super::super) const KEXEC_V2: Rules = Rules {
    requires: &[(Name::Linux, PATCHES_REQUIRE), (Name::Initrd, PATCHES_REQUIRE)],
    cmdline: cmdline_of_patches(GivenCmdline::Never(rule(
        "a UKI does not allow another command line, EPERM",
        UKI_LOAD,
    ))),
    initrd: GivenInitrd::Never(PATCHES_REFUSE_INITRD),
    ..KEXEC_V1
};

pub(in super::super) const KEXEC_V3: Rules = Rules {
    cmdline: cmdline_of_patches(GivenCmdline::UnlessLocked {
        locked: rule(
            "locked down, a UKI with .cmdline does not allow another command line, EPERM",
            UKI_LOAD,
        ),
    }),
    ..KEXEC_V2
};

pub(in super::super) const BPF_V7: Rules = Rules {
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
