//! UAPI.5 and UAPI.1, as they are and as they were.

use super::{nothing_else, rule, stub::BY_THE_STUB};
use crate::uki::{
    Name,
    reading::{
        Absent, Addons, Check, Cmdline, Finding, GivenCmdline, GivenInitrd, Names, Rules, Scope,
        Table, Text,
    },
};

/// As the PE format has sections, and UAPI.5 the profiles.
const BY_UAPI: Finding = Finding { names: Names::Padded, absent: Absent::NoEntry, ..BY_THE_STUB };
/// The specification of 2023 knows no profiles.
const BY_UAPI_2023: Finding = Finding { table: Table::Whole, ..BY_UAPI };
const UAPI_COMPONENTS: &str = "UAPI.5, UKI Components";
const BLS_TYPE_2: &str = "UAPI.1, Type #2 EFI Unified Kernel Images";
pub(in super::super) const UAPI: Rules = Rules {
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
pub(in super::super) const UAPI_2023: Rules = Rules {
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
pub(in super::super) const BLS: Rules = UAPI;

pub(in super::super) const BLS_2023: Rules = Rules {
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
