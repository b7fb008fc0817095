//! systemd-stub.

use super::rule;
use crate::uki::{
    Name,
    reading::{
        Absent, Addons, Check, Cmdline, Finding, GivenCmdline, GivenInitrd, Length, Names, Pick,
        Rules, Scope, Table, Text,
    },
};

/// As firmware loads sections, and the stub finds them: since version 257 the
/// first one counts, and a VirtualSize of 0 is as good as none.
pub(super) const BY_THE_STUB: Finding = Finding {
    names: Names::UntilNul,
    table: Table::Profile,
    pick: Pick::First,
    absent: Absent::Empty,
    length: Length::Loaded,
};
const STUB_PE: &str = "systemd src/boot/pe.c";

pub(in super::super) const STUB: Rules = Rules {
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
