//! `ukivm inspect --section`: a section's content, and nothing else.

use std::io::{IsTerminal as _, stdout};

use firmware_less::{
    inspection::{Contents, Inspection},
    range::FileRange,
    read_at::fetch,
    uki::Sections,
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
/// The longest text that is shown on a terminal.
const TEXT_MAX: u64 = 1 << 20;

/// Writes the section that is asked for.
pub(super) fn run(
    options: &InspectOptions,
    wanted: &SectionName,
    subject: &Subject,
) -> Result<(), Error> {
    let file = subject.files.uki();
    let range = find(&subject.inspection, wanted).map_err(|count| Error::NoSection {
        path: options.image.clone(),
        section: wanted.name.clone(),
        profile: subject.inspection.profile,
        count,
    })?;
    let path = options.output.as_deref().unwrap_or(STANDARD_OUTPUT.as_ref());
    if path == STANDARD_OUTPUT && stdout().is_terminal() && !is_harmless(file, range)? {
        return Err(Error::BinaryToTerminal { section: wanted.name.clone() });
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

/// Where the section is: the profile's own, or else the base's. If there is none,
/// how many of that name there are.
fn find(inspection: &Inspection, wanted: &SectionName) -> Result<FileRange, usize> {
    let profile = inspection.sections();
    let of_that_name = |sections: Sections<'_>| -> Vec<FileRange> {
        let named = sections
            .iter()
            .filter(|section| section.raw_name.to_string() == wanted.name)
            .filter_map(|section| inspection.contents.get(inspection.place(section)?));
        named.map(|contents: &Contents| contents.range).collect()
    };
    let mut found = of_that_name(profile.own());
    if found.is_empty() {
        found = of_that_name(profile.base());
    }
    found.get(wanted.number).copied().ok_or(found.len())
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
