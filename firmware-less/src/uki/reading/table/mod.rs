//! The table of readings, a row each.

mod kernel;
mod specifications;
mod stub;
mod userspace;

pub(super) use kernel::{BPF_V7, KEXEC_V1, KEXEC_V2, KEXEC_V3};
pub(super) use specifications::{BLS, BLS_2023, UAPI, UAPI_2023};
pub(super) use stub::STUB;
pub(super) use userspace::{KEXEC_TOOLS, SYSTEMCTL_KEXEC};

use super::{Addons, Rule, Scope};

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
