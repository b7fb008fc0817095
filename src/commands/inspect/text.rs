//! What `ukivm inspect` prints for people. Everything from the file is escaped.

use std::fmt::Write as _;

use firmware_less::{
    inspection::{
        End, Given, InitrdFacts, KernelFacts, ReadingFacts, SbatEntry, Segment, SignatureFacts,
    },
    kernel::protocol,
    plan::{Content, FileId, FileSlice, size},
    uki::{Addon, Section, Sections, authenticode::Signature, pcr11::Pcr11},
};

use super::{
    json::{compression, entry, is_shown},
    subject::{AddonFacts, Applies, Subject},
};
use crate::{digest::hex, messages::chain, visible::visible};

/// How wide the names of facts are.
const LABEL: usize = 15;

/// The whole description.
pub(super) fn text(subject: &Subject, all: bool) -> String {
    let inspection = &subject.inspection;
    let mut text = String::new();
    let mut part = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{title}\n  {}\n", lines.join("\n  "));
        }
    };
    part("file", identity(subject));
    part("sections", sections(subject, inspection.sections().base(), all));
    for profile in &inspection.profiles {
        let own = inspection.division.profile(&inspection.headers.sections, profile.number);
        let own = own.unwrap_or_default().own();
        part(&format!("profile {}", visible(&profile.to_string())), sections(subject, own, all));
    }
    part(&titled("command line", subject), command_line(subject));
    part(&titled("initrd", subject), initrd(subject));
    part("addons", subject.addons.iter().map(addon).collect());
    part(&titled("kernel", subject), kernel(subject));
    part("SBAT", sbat(subject));
    part("signature", signature(subject));
    part(&titled("PCR 11", subject), pcr11(subject));
    part(&titled("readings", subject), readings(subject));
    let warnings = inspection.warnings.iter().map(|warning| visible(&warning.to_string()));
    part("warnings", warnings.collect());
    text.pop();
    text
}

/// `title`, and of which profile, where there are several.
fn titled(title: &str, subject: &Subject) -> String {
    let inspection = &subject.inspection;
    match inspection.profiles.len() {
        0 | 1 => title.to_owned(),
        _ => format!("{title} of profile {}", inspection.profile),
    }
}

fn fact(label: &str, value: &str) -> String {
    format!("{label:<LABEL$}{}", visible(value))
}

fn identity(subject: &Subject) -> Vec<String> {
    let inspection = &subject.inspection;
    let file = subject.files.uki();
    let mut lines =
        vec![format!("{}, {}", visible(&file.path.display().to_string()), size(file.len))];
    let release = inspection.os_release();
    if let Some(name) = release.name() {
        let id = release.get("ID").map(|id| format!(" (ID {id})")).unwrap_or_default();
        let version = release.version().map(|version| format!(", version {version}"));
        lines.push(fact("system", &format!("{name}{id}{}", version.unwrap_or_default())));
    }
    lines.extend(inspection.uname().map(|uname| fact("uname", &uname)));
    lines.extend(inspection.stub().map(|stub| fact("stub", &stub.to_string())));
    lines
}

/// A line for each section that is shown, and one that names the others.
fn sections(subject: &Subject, sections: Sections<'_>, all: bool) -> Vec<String> {
    let inspection = &subject.inspection;
    let (shown, others): (Vec<_>, Vec<_>) =
        sections.iter().partition(|section| all || section.name.is_some() || is_shown(section));
    let line = |section: &&Section| {
        let contents = inspection.place(section).and_then(|place| inspection.contents.get(place));
        let digest = contents.and_then(|contents| contents.sha256);
        let digest = digest.map(|digest| format!("  sha256 {}", hex(&digest)));
        let len = contents.map_or(0, |contents| contents.size);
        let name = section.raw_name.to_string();
        let at = section.pointer_to_raw_data;
        format!("{name:<9} {:>10}  at {at:#010x}{}", size(len), digest.unwrap_or_default())
    };
    let mut lines: Vec<_> = shown.iter().map(line).collect();
    if !others.is_empty() {
        let names: Vec<_> =
            others.iter().take(8).map(|section| section.raw_name.to_string()).collect();
        let more = others.len().checked_sub(names.len()).filter(|&more| more > 0);
        let more = more.map(|more| format!(" and {more} more")).unwrap_or_default();
        lines.push(format!("and {}{more} (--all)", names.join(" ")));
    }
    lines
}

fn command_line(subject: &Subject) -> Vec<String> {
    match subject.inspection.cmdline() {
        Some(cmdline) if cmdline.is_empty() => vec!["(empty)".to_owned()],
        Some(cmdline) => vec![visible(&cmdline)],
        None => vec!["(none)".to_owned()],
    }
}

fn initrd(subject: &Subject) -> Vec<String> {
    let parts = &subject.inspection.initrd;
    if parts.is_empty() {
        return vec!["(none)".to_owned()];
    }
    parts.iter().flat_map(|part| initrd_part(subject, part)).collect()
}

/// A line for the part, and for each of its segments, if there are several.
fn initrd_part(subject: &Subject, part: &InitrdFacts) -> Vec<String> {
    let origin = visible(&part.origin.to_string());
    let (base, place) = match &part.content {
        Content::File(slice) => {
            let file = subject.files.get(slice.file).filter(|_| slice.file != FileId::UKI);
            let path = file.map(|file| format!("{} ", visible(&file.path.display().to_string())));
            (slice.range.offset(), format!(", {}{}", path.unwrap_or_default(), slice.range))
        }
        Content::Bytes(_) => (0, String::new()),
    };
    let line = |offset, len, what: &str| {
        let offset = format!("+{offset:#x}");
        format!("{offset:<11} {:>10}  {what}", size(len))
    };
    let whole = |what: &str| line(part.offset, part.content.len(), what);
    if let [only] = part.segments.as_slice() {
        return vec![whole(&format!("{origin}: {}{place}", segment_facts(only)))];
    }
    let segments = part.segments.iter().map(|segment| {
        let at = part.offset.saturating_add(segment.range.offset().saturating_sub(base));
        line(at, segment.range.len(), &format!("  {}", segment_facts(segment)))
    });
    std::iter::once(whole(&format!("{origin}{place}"))).chain(segments).collect()
}

fn segment_facts(segment: &Segment) -> String {
    let Some(records) = segment.records else { return segment.format.to_string() };
    let more = match segment.end {
        End::Trailer => "",
        End::Cut => ", then cut short or damaged",
        End::NotFollowed => " or more",
    };
    let entries = if records == 1 { "entry" } else { "entries" };
    format!("{}, {records} {entries}{more}", segment.format)
}

fn addon(facts: &AddonFacts) -> String {
    let path = visible(&facts.path.display().to_string());
    let what = match &facts.found {
        Ok(addon) => added(addon),
        Err(refusal) => format!("refused: {}", visible(refusal)),
    };
    let why = match facts.applies {
        Applies::Yes => "",
        Applies::NotAskedFor if facts.found.is_err() => "",
        Applies::NotAskedFor => "not applied (--addons): ",
        Applies::OtherKernel => "left out, for another kernel: ",
    };
    format!("{path}: {why}{what}")
}

fn added(addon: &Addon) -> String {
    let part = |name, slice: Option<FileSlice>| {
        slice.map(|slice| format!("{name} {}", size(slice.range.len())))
    };
    let cmdline = addon.cmdline.as_deref().map(|words| format!(".cmdline {}", visible(words)));
    let uname = addon.uname.as_ref().map(|uname| format!("for Linux {}", visible(uname.as_str())));
    let all = [cmdline, part(".initrd", addon.initrd), part(".ucode", addon.ucode), uname];
    all.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn kernel(subject: &Subject) -> Vec<String> {
    match &subject.inspection.kernel {
        None => vec!["(none)".to_owned()],
        Some(Err(error)) => vec![visible(&chain(error))],
        Some(Ok(facts)) => kernel_facts(subject, facts),
    }
}

fn kernel_facts(subject: &Subject, facts: &KernelFacts) -> Vec<String> {
    let kernel = &facts.kernel;
    let mut lines = Vec::new();
    lines.extend(facts.version.as_ref().map(|version| fact("version", version)));
    lines.push(fact("boot protocol", &protocol(kernel.version())));
    lines.push(fact("entry", &format!("64-bit, at {:#x} in the file", entry(kernel))));
    let five_level =
        if kernel.allows_five_level() { ", with four or five levels of paging" } else { "" };
    lines.push(fact(
        "runs at",
        &format!(
            "{:#x} or above, aligned to {}{five_level}",
            kernel.pref_address(),
            size(kernel.kernel_alignment())
        ),
    ));
    lines.push(fact("init_size", &size(kernel.init_size())));
    lines.extend(facts.payload.map(|(format, range)| {
        let len = size(range.len());
        fact("payload", &format!("{}, {len}, {range}", compression(format)))
    }));
    lines.push(fact("command line", &format!("at most {} bytes", kernel.cmdline_size())));
    lines.extend(subject.inspection.least_memory().map(|least| match least {
        Ok(least) => fact("RAM needed", &format!("{} to be loaded, more to run", size(least))),
        Err(error) => fact("RAM needed", &chain(&error)),
    }));
    lines
}

fn sbat(subject: &Subject) -> Vec<String> {
    let entries = subject.inspection.sbat();
    let width = entries.iter().map(|entry| visible(&entry.component).len()).max().unwrap_or(0);
    let line = |entry: &SbatEntry| {
        let rest = entry.rest.get(1..).unwrap_or_default().join(" ");
        let component = visible(&entry.component);
        format!("{component:<width$}  {:>3}  {}", visible(&entry.generation), visible(&rest))
    };
    entries.iter().map(line).collect()
}

/// A line for each signature: what it claims, and whether that is of this file.
fn signature(subject: &Subject) -> Vec<String> {
    let SignatureFacts { facts, digests_match } = &subject.inspection.signature;
    let signatures = match &facts.signatures {
        Err(error) => return vec![visible(&chain(error))],
        Ok(signatures) if signatures.is_empty() => return vec!["(none)".to_owned()],
        Ok(signatures) => signatures,
    };
    let line = |(number, signature): (usize, &Signature)| {
        let signer = signature.signer.as_deref().unwrap_or("somebody whose certificate is missing");
        let by = format!("by {signer}, issued by {}, {}", signature.issuer, signature.hash);
        let matches = match digests_match.get(number) {
            Some(true) => ", digest matches",
            Some(false) => ", digest is not that of this file",
            None => "",
        };
        format!("{}{matches}", visible(&by))
    };
    let layout = facts.layout.as_ref().err().map(|error| visible(&chain(error)));
    signatures.iter().enumerate().map(line).chain(layout).collect()
}

/// Whether the signatures in `.pcrsig` are good, and if not, which are not and why.
fn pcr_signatures(subject: &Subject) -> Vec<String> {
    match &subject.inspection.pcr_signatures {
        None => Vec::new(),
        Some(Err(error)) => vec![format!(".pcrsig: {}", visible(&chain(error)))],
        Some(Ok(all)) if all.are_good() => {
            vec![format!(".pcrsig: all signatures are good ({})", all.0.len())]
        }
        Some(Ok(all)) if all.0.is_empty() => vec![".pcrsig: has no signatures".to_owned()],
        Some(Ok(all)) => {
            let wrong = all.0.iter().filter(|one| !one.wrong().is_empty());
            wrong.map(|one| format!(".pcrsig: {}", visible(&one.to_string()))).collect()
        }
    }
}

fn pcr11(subject: &Subject) -> Vec<String> {
    let value = subject.inspection.pcr11();
    let line =
        |value: Pcr11| format!("{} {}, before any boot phase", value.bank, hex(&value.value));
    value.map(line).into_iter().chain(pcr_signatures(subject)).collect()
}

/// A line for each reading: what it hands over, as far as that is not what the
/// stub hands over, or why it refuses.
fn readings(subject: &Subject) -> Vec<String> {
    match &subject.inspection.readings {
        Err(error) => vec![format!("none accepts it: {}", visible(&chain(error)))],
        Ok(all) => all.iter().map(reading).collect(),
    }
}

fn reading(facts: &ReadingFacts) -> String {
    let (verdict, why) = match &facts.verdict {
        Ok(given) => ("accepts", lengths(given)),
        Err(refusal) => ("refuses", refusal.reason()),
    };
    format!("{:<LABEL$}  {verdict}  {}", facts.reading, visible(&why))
}

fn lengths(given: &Given) -> String {
    let Given { kernel, initrd, cmdline, unlike_stub } = given;
    let all = [
        (format!("kernel {kernel}"), unlike_stub.is_none_or(|unlike| unlike.kernel)),
        (format!("initrd {initrd}"), unlike_stub.is_none_or(|unlike| unlike.initrd)),
        (format!("command line {cmdline}"), unlike_stub.is_none_or(|unlike| unlike.cmdline)),
    ];
    let told: Vec<_> = all.into_iter().filter(|(_, told)| *told).map(|(text, _)| text).collect();
    match told.as_slice() {
        [] => "as stub".to_owned(),
        [_, _, _] => format!("{} bytes", told.join(", ")),
        told => format!("{} bytes, else as stub", told.join(", ")),
    }
}
