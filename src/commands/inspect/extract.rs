//! `ukivm inspect --section`: a section's content, and nothing else.

use std::{
    collections::BTreeSet,
    io::{IsTerminal as _, stdout},
};

use firmware_less::{
    inspection::Inspection,
    range::FileRange,
    read_at::fetch,
    uki::{Section, Sections},
};

use crate::{
    cli::{InspectOptions, STANDARD_OUTPUT, SectionName},
    commands::{inspect::subject::Subject, output_file::OutputFile},
    error::Error,
    files::OpenFile,
    signals::Signals,
};

/// How much is copied at once.
const CHUNK: u64 = 1 << 20;
/// The most names that a message lists.
const NAMES_MAX: usize = 16;
/// The longest text that is shown on a terminal.
const TEXT_MAX: u64 = 1 << 20;

/// Writes the section that is asked for.
pub(super) fn run(
    options: &InspectOptions,
    wanted: &SectionName,
    subject: &Subject,
) -> Result<(), Error> {
    let file = subject.files.uki();
    let range = find(&subject.inspection, wanted).ok_or_else(|| Error::NoSection {
        path: options.image.clone(),
        section: wanted.as_str().to_owned(),
        profile: subject.inspection.profile,
        others: names(&subject.inspection),
    })?;
    let path = options.output.as_deref().unwrap_or(STANDARD_OUTPUT.as_ref());
    if path == STANDARD_OUTPUT && stdout().is_terminal() && !is_harmless(file, range)? {
        return Err(Error::BinaryToTerminal { section: wanted.as_str().to_owned() });
    }
    let signals = Signals::catch()
        .map_err(|source| Error::Host { what: "can't wait for signals", source })?;
    OutputFile::prepare(path, &subject.files)?.write(|sink| {
        let mut rest = range;
        while !rest.is_empty() {
            if let Some(signal) = signals.pending() {
                return Err(Error::Interrupted { signal });
            }
            let piece = rest.take(CHUNK);
            sink.put(&bytes(file, piece)?)?;
            rest = rest.skip(piece.len()).unwrap_or(FileRange::EMPTY);
        }
        Ok(())
    })
}

/// Where the section is.
fn find(inspection: &Inspection, wanted: &SectionName) -> Option<FileRange> {
    wanted.meanings().iter().find_map(|(name, number)| {
        let found = of_name(inspection, name).into_iter().nth(*number)?;
        let contents = inspection.contents.get(inspection.place(found)?)?;
        Some(contents.range)
    })
}

/// The sections of that name: the profile's own, or else the base's.
fn of_name<'a>(inspection: &'a Inspection, name: &str) -> Vec<&'a Section> {
    let profile = inspection.sections();
    let in_part = |sections: Sections<'a>| -> Vec<&'a Section> {
        sections.iter().filter(|section| section.raw_name.to_string() == name).collect()
    };
    let own = in_part(profile.own());
    if own.is_empty() { in_part(profile.base()) } else { own }
}

/// The names that may be asked for, each with how many there are, if several.
fn names(inspection: &Inspection) -> Vec<String> {
    let profile = inspection.sections();
    let all = profile.base().iter().chain(profile.own().iter());
    let names: BTreeSet<_> = all.map(|section| section.raw_name.to_string()).collect();
    let counted = |name: String| match of_name(inspection, &name).len() {
        0 | 1 => name,
        count => format!("{name} ({count})"),
    };
    let more = names.len().checked_sub(NAMES_MAX).filter(|&more| more > 0);
    let more = more.map(|more| format!("and {more} more"));
    names.into_iter().take(NAMES_MAX).map(counted).chain(more).collect()
}

fn bytes(file: &OpenFile, range: FileRange) -> Result<Vec<u8>, Error> {
    fetch(file, range.offset(), range.len())
        .map_err(|source| Error::Read { path: file.path.clone(), source })
}

/// Whether it is text that a terminal shows as it is.
fn is_harmless(file: &OpenFile, range: FileRange) -> Result<bool, Error> {
    if range.len() > TEXT_MAX {
        return Ok(false);
    }
    let is_harmless = |c: char| c == '\n' || c == '\t' || !c.is_control();
    let bytes = bytes(file, range)?;
    Ok(str::from_utf8(&bytes).is_ok_and(|text| text.chars().all(is_harmless)))
}
