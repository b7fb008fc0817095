//! [`Difference`]: one thing in which two UKIs differ.

use std::collections::{BTreeMap, HashMap};

use firmware_less::{
    inspection::{Contents, Inspection},
    kernel::protocol,
    plan::size,
    range::FileRange,
    read_at::{ReadAt as _, fetch},
    uki::{Sections, authenticode::Signature},
};
use serde::Serialize;

use super::words::{self, Words};
use crate::{
    commands::inspect::{Subject, compression},
    digest::hex,
    error::Error,
    files::OpenFile,
};

/// One thing, as it is in either.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Difference {
    /// Of which profile, where there are several.
    profile: Option<String>,
    /// What kind of thing.
    what: &'static str,
    /// What it is called among its kind; may be empty.
    pub(super) name: String,
    /// How it is in the old one; `None` where it has none.
    pub(super) old: Option<String>,
    /// How it is in the new one.
    pub(super) new: Option<String>,
}

/// Facts of one kind by name, in order.
type Facts = Vec<(String, String)>;

/// As many profiles as systemd-boot looks at are compared beyond their sections
/// (`src/fundamental/uki.h`, `UNIFIED_PROFILES_MAX`).
const PROFILES_MAX: usize = 256;

impl Difference {
    /// Under which heading it belongs.
    pub(super) fn title(&self) -> String {
        match &self.profile {
            Some(profile) => format!("{} of profile {profile}", self.what),
            None => self.what.to_owned(),
        }
    }

    /// Whether it says the same as `other`, of whichever profile.
    pub(super) fn repeats(&self, other: &Self) -> bool {
        (self.what, &self.name, &self.old, &self.new)
            == (other.what, &other.name, &other.old, &other.new)
    }
}

/// The numbers of the profiles that belong together: those of one ID, or without
/// an ID of one number.
pub(super) fn matched(old: &Inspection, new: &Inspection) -> Vec<(Option<usize>, Option<usize>)> {
    if old.profiles.is_empty() || new.profiles.is_empty() {
        return vec![(Some(0), Some(0))];
    }
    let keyed = |inspection: &Inspection| -> Vec<(Result<String, usize>, usize)> {
        let key = |profile: &firmware_less::uki::Description| {
            (profile.id.clone().ok_or(profile.number), profile.number)
        };
        inspection.profiles.iter().map(key).collect()
    };
    let mut of_new: HashMap<_, _> = keyed(new).into_iter().rev().collect();
    let mut pairs: Vec<_> =
        keyed(old).into_iter().map(|(key, number)| (Some(number), of_new.remove(&key))).collect();
    let mut rest: Vec<_> = of_new.into_values().collect();
    rest.sort_unstable();
    pairs.extend(rest.into_iter().map(|number| (None, Some(number))));
    pairs.truncate(PROFILES_MAX);
    pairs
}

/// In what the sections differ: size and content.
pub(super) fn of_sections(old: &Inspection, new: &Inspection) -> Vec<Difference> {
    let base = |inspection| sections(inspection, inspection.sections().base());
    let mut all = compare(None, "sections", &base(old), &base(new));
    if old.profiles.is_empty() && new.profiles.is_empty() {
        return all;
    }
    for (of_old, of_new) in matched(old, new) {
        let own = |inspection: &Inspection, number: Option<usize>| {
            let profile = inspection.division.profile(&inspection.headers.sections, number?)?;
            Some(sections(inspection, profile.own()))
        };
        let (of_old_own, of_new_own) = (own(old, of_old), own(new, of_new));
        let name = of_old.map_or_else(|| label(new, of_new), |_| label(old, of_old));
        let (left, right) = (of_old_own.unwrap_or_default(), of_new_own.unwrap_or_default());
        all.extend(compare(Some(&name), "sections", &left, &right));
    }
    all
}

/// What a profile is called: its ID, or else its number.
fn label(inspection: &Inspection, number: Option<usize>) -> String {
    let number = number.unwrap_or_default();
    let id = inspection.profiles.get(number).and_then(|profile| profile.id.clone());
    id.unwrap_or_else(|| number.to_string())
}

/// Each section's size and digest; several of a name are numbered.
fn sections(inspection: &Inspection, sections: Sections<'_>) -> Facts {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let facts = sections.iter().filter_map(|section| {
        let contents: &Contents = inspection.contents.get(inspection.place(section)?)?;
        let name = section.raw_name.to_string();
        let before = seen.entry(name.clone()).or_default();
        let numbered = if *before == 0 { name } else { format!("{name}@{before}") };
        *before = before.saturating_add(1);
        let digest = contents.sha256.map(|digest| format!(", sha256 {}", hex(&digest)));
        let digest = digest.unwrap_or_default();
        Some((numbered, format!("{} ({}){digest}", size(contents.size), contents.size)))
    });
    facts.collect()
}

/// In what a profile differs from another, beyond the bytes of its sections.
pub(super) fn between(old: &Subject, new: &Subject) -> Vec<Difference> {
    let (old, new) = (&old.inspection, &new.inspection);
    let profile =
        (old.profiles.len().max(new.profiles.len()) > 1).then(|| label(old, Some(old.profile)));
    let both = |what, facts: fn(&Inspection) -> Facts| {
        compare(profile.as_deref(), what, &facts(old), &facts(new))
    };
    let mut all = both("stub", stub);
    all.extend(both("os-release", os_release));
    all.extend(both("kernel", kernel));
    let Words { removed, added, order } =
        words::compare(&old.cmdline().unwrap_or_default(), &new.cmdline().unwrap_or_default());
    let word = |name: &str, old, new| Difference {
        profile: profile.clone(),
        what: "command line",
        name: name.to_owned(),
        old,
        new,
    };
    all.extend(removed.into_iter().map(|gone| word("", Some(gone), None)));
    all.extend(added.into_iter().map(|come| word("", None, Some(come))));
    all.extend(order.map(|(old, new)| word("in another order:", Some(old), Some(new))));
    all.extend(both("initrd", initrd));
    all.extend(both("SBAT", sbat));
    all.extend(both("signature", signatures));
    all
}

fn stub(inspection: &Inspection) -> Facts {
    inspection.stub().map(|stub| (String::new(), stub.to_string())).into_iter().collect()
}

fn os_release(inspection: &Inspection) -> Facts {
    // Of several values of a key the last one counts.
    let release = inspection.os_release();
    let last: BTreeMap<_, _> = release.fields().collect();
    last.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn kernel(inspection: &Inspection) -> Facts {
    let mut facts = Facts::new();
    let mut add = |name: &str, value: Option<String>| {
        facts.extend(value.map(|value| (name.to_owned(), value)));
    };
    add("uname", inspection.uname());
    match &inspection.kernel {
        None => {}
        Some(Err(error)) => add("refused", Some(error.to_string())),
        Some(Ok(found)) => {
            add("version", found.version.clone());
            add("boot protocol", Some(protocol(found.kernel.version())));
            add("init_size", Some(size(found.kernel.init_size())));
            add("payload", found.payload.map(|(format, _)| compression(format)));
        }
    }
    facts
}

/// Each segment of each part: its format, its size, and its digest if there is one.
fn initrd(inspection: &Inspection) -> Facts {
    let mut facts = Facts::new();
    for part in &inspection.initrd {
        for (number, segment) in part.segments.iter().enumerate() {
            let name = match part.segments.len() {
                1 => part.origin.to_string(),
                _ => format!("{} segment {number}", part.origin),
            };
            let digest = part.digests.get(number).copied().flatten();
            let digest = digest.map(|digest| format!(", sha256 {}", hex(&digest)));
            let (format, len) = (segment.format, segment.range.len());
            let digest = digest.unwrap_or_default();
            facts.push((name, format!("{format}, {} ({len}){digest}", size(len))));
        }
    }
    facts
}

fn sbat(inspection: &Inspection) -> Facts {
    let entries = inspection.sbat().into_iter();
    entries.map(|entry| (entry.component, entry.generation)).collect()
}

/// Who claims to have signed it.
fn signatures(inspection: &Inspection) -> Facts {
    let signatures = inspection.signature.facts.signatures.as_deref().unwrap_or_default();
    let claim = |(number, signature): (usize, &Signature)| {
        let signer = signature.signer.as_deref().unwrap_or("unknown");
        (number.to_string(), format!("by {signer}, issued by {}", signature.issuer))
    };
    signatures.iter().enumerate().map(claim).collect()
}

/// What is not the same on both sides, in the order of the old one, and then what
/// only the new one has.
fn compare(profile: Option<&str>, what: &'static str, old: &Facts, new: &Facts) -> Vec<Difference> {
    let of_old: HashMap<_, _> = old.iter().map(|(name, value)| (name, value)).collect();
    let of_new: HashMap<_, _> = new.iter().map(|(name, value)| (name, value)).collect();
    let difference = |name: &String| Difference {
        profile: profile.map(str::to_owned),
        what,
        name: name.clone(),
        old: of_old.get(name).map(|value| (*value).clone()),
        new: of_new.get(name).map(|value| (*value).clone()),
    };
    let only_new = new.iter().filter(|(name, _)| !of_old.contains_key(name));
    let names = old.iter().chain(only_new).map(|(name, _)| name);
    names.map(difference).filter(|difference| difference.old != difference.new).collect()
}

/// How much is compared at once.
const CHUNK: u64 = 1 << 18;

/// Where two files first differ: in headers, padding, or after the last section.
pub(super) fn of_bytes(old: &OpenFile, new: &OpenFile) -> Result<Option<Difference>, Error> {
    let difference = |name: String, old: String, new: String| {
        let what = "bytes outside of sections";
        Ok(Some(Difference { profile: None, what, name, old: Some(old), new: Some(new) }))
    };
    let mut rest = FileRange::first(old.len().min(new.len()));
    while !rest.is_empty() {
        let piece = rest.take(CHUNK);
        let bytes = |file: &OpenFile| {
            fetch(file, piece.offset(), piece.len())
                .map_err(|source| Error::Read { path: file.path.clone(), source })
        };
        let (of_old, of_new) = (bytes(old)?, bytes(new)?);
        let mut pairs = of_old.iter().zip(&of_new).zip(piece.offset()..);
        if let Some(((old, new), at)) = pairs.find(|((old, new), _)| old != new) {
            return difference(
                format!("from {at:#x} on:"),
                format!("{old:#04x}"),
                format!("{new:#04x}"),
            );
        }
        rest = rest.skip(piece.len()).unwrap_or(FileRange::EMPTY);
    }
    if old.len() == new.len() {
        return Ok(None);
    }
    difference("length".into(), format!("{:#x}", old.len()), format!("{:#x}", new.len()))
}
