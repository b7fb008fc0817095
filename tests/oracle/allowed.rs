//! In what a plan may differ from a real kexec, and why.

use std::{collections::BTreeSet, ops::Range};

use super::record::Record;

/// Where there may be a difference.
#[derive(Clone, Debug)]
enum Place {
    /// In values whose names begin so.
    Values(&'static str),
    /// In those bits of numbers whose names begin so.
    Bits(&'static str, u64),
    /// In those bytes of the params segment.
    Params(Range<usize>),
}

struct Allowed {
    place: Place,
    /// The kernels with which there is one.
    on: &'static [&'static str],
    /// Why.
    reason: &'static str,
}

const ALL: &[&str] = &["6.1", "6.12", "7"];
const MODERN: &[&str] = &["6.12", "7"];

/// Each of these must occur, in one case with one of its kernels at least.
const TABLE: &[Allowed] = &[
    params(0x004..0x040, ALL, "screen_info: the console that the first kernel's loader set up"),
    bits("rflags", ZF | PF, ALL, "left by purgatory's comparison of digests"),
    bits("cs attributes", 1 << 8, ALL, ACCESSED),
    bits("gdt 0x10", 1 << 40, ALL, ACCESSED),
    values("gdt 0x00", ALL, "never loaded: it holds the table's own address"),
    values("gdtr base", ALL, "where in purgatory the compiler put the table"),
    values("idtr", &["7"], "7.x has a table of traps in a page of its own, for its own debugging"),
    bits(
        "ldtr attributes",
        1 << 15,
        ALL,
        "nothing is loaded, so it matters not whether that is present",
    ),
    values("tr base", ALL, TASK),
    values("tr limit", ALL, TASK),
    values("tr attributes", ALL, TASK),
    values("cr2", ALL, LEFT),
    values("xmm", ALL, LEFT),
    values("lapic ldr", ALL, APIC_LEFT),
    values("lapic icr", ALL, APIC_LEFT),
    values("lapic dcr", ALL, APIC_LEFT),
    values("lapic initial count", ALL, APIC_LEFT),
    values("lapic irr", ALL, "the old kernel's timer, which may be due by then"),
    bits(
        "pic0 mask",
        1 << 0,
        ALL,
        "the old kernel's timer, which some runs on a busy host leave open (seen; not traced)",
    ),
    values("cr3", ALL, "kexec's page tables lie where there was a free page"),
    bits("mapped by tables", 1 << 58, MODERN, "for software: Linux keeps a note in it"),
    values(
        "mapped in the upper half",
        ALL,
        "the old kernel's address of the page that it leaves by",
    ),
];

const PF: u64 = 1 << 2;
const ZF: u64 = 1 << 6;
const ACCESSED: &str = "a processor marks a descriptor that it uses, QEMU's does not";
const TASK: &str =
    "stale: the old kernel's, whose selector is in no table any more; VMX and SVM want one";
const LEFT: &str = "left by the old kernel's programs";
const APIC_LEFT: &str = "left by the old kernel; the next one writes it before it relies on it";

const fn values(
    prefix: &'static str,
    on: &'static [&'static str],
    reason: &'static str,
) -> Allowed {
    Allowed { place: Place::Values(prefix), on, reason }
}

const fn bits(
    prefix: &'static str,
    mask: u64,
    on: &'static [&'static str],
    reason: &'static str,
) -> Allowed {
    Allowed { place: Place::Bits(prefix, mask), on, reason }
}

const fn params(range: Range<usize>, on: &'static [&'static str], reason: &'static str) -> Allowed {
    Allowed { place: Place::Params(range), on, reason }
}

/// The bytes of the params segment in which there may be a difference.
pub(super) fn free_params() -> impl Iterator<Item = Range<usize>> {
    TABLE.iter().filter_map(|allowed| match &allowed.place {
        Place::Params(range) => Some(range.clone()),
        Place::Values(_) | Place::Bits(..) => None,
    })
}

/// Which entries of the table occurred.
#[derive(Default)]
pub(super) struct Used(BTreeSet<usize>);

impl Used {
    /// The differences between `found` and `planned` that are not allowed.
    pub(super) fn differences(
        &mut self,
        kernel: &'static str,
        found: &Record,
        planned: &Record,
    ) -> Vec<String> {
        let mut differences = Vec::new();
        let names: BTreeSet<_> = found.values.keys().chain(planned.values.keys()).collect();
        for name in names {
            let (is, was) = (found.values.get(name), planned.values.get(name));
            let at = |allowed: &Allowed| match allowed.place {
                Place::Values(prefix) => name.starts_with(prefix),
                Place::Bits(prefix, mask) => {
                    let others = |value| Some(number(value)? & !mask);
                    name.starts_with(prefix) && others(is).is_some() && others(is) == others(was)
                }
                Place::Params(_) => false,
            };
            if is != was && !self.is_allowed(kernel, at) {
                differences.push(format!("{name}: found {is:?}, planned {was:?}"));
            }
        }
        let (is, was) = (&found.params, &planned.params);
        for byte in 0..is.len().max(was.len()) {
            let at = |allowed: &Allowed| match &allowed.place {
                Place::Params(range) => range.contains(&byte),
                Place::Values(_) | Place::Bits(..) => false,
            };
            let (is, was) = (is.get(byte), was.get(byte));
            if is != was && !self.is_allowed(kernel, at) {
                differences
                    .push(format!("params {byte:#06x}: found {is:02x?}, planned {was:02x?}"));
            }
        }
        differences
    }

    fn is_allowed(&mut self, kernel: &'static str, at: impl Fn(&Allowed) -> bool) -> bool {
        let mut entries = TABLE.iter().enumerate();
        let entry = entries.find(|(_, allowed)| allowed.on.contains(&kernel) && at(allowed));
        let Some((number, _)) = entry else { return false };
        self.0.insert(number);
        true
    }

    /// What is allowed but never occurred.
    pub(super) fn unused(&self) -> Vec<String> {
        let entries = TABLE.iter().enumerate().filter(|(number, _)| !self.0.contains(number));
        let text = |(_, Allowed { place, on, reason }): (usize, &Allowed)| {
            format!("{place:x?} with {on:?}: {reason}")
        };
        entries.map(text).collect()
    }
}

/// A value that is one number.
fn number(value: Option<&String>) -> Option<u64> {
    u64::from_str_radix(value?.strip_prefix("0x")?, 16).ok()
}
