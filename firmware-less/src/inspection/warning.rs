//! [`Warning`]: what may surprise whoever boots or signs a UKI.

use std::{collections::HashMap, fmt, io};

use super::{End, Format, Inspection, Stub};
use crate::{
    range::FileRange,
    read_at::{ReadAt, fetch},
    uki::{
        Name, RawName, Section,
        handed::{InitrdOrigin, Note},
    },
};

/// Something that is allowed, or at least readable, but hardly meant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The command line names no console.
    NoConsole {
        /// What the newest stub appends.
        appended: &'static str,
    },
    /// A name stands twice in the base or in one profile.
    Duplicate {
        /// The name.
        section: Name,
        /// Its places in the section table, and those of all others of that name.
        entries: Vec<usize>,
    },
    /// Text that is none.
    NotUtf8 {
        /// Which section.
        section: RawName,
        /// Where in it.
        at: usize,
    },
    /// A NUL in the middle of a command line.
    CmdlineNul {
        /// Where in it.
        at: usize,
    },
    /// Bytes that some readers take for content, others for padding.
    Padding {
        /// After which section.
        section: RawName,
        /// How many bytes.
        len: u64,
    },
    /// More padding than FileAlignment asks for.
    LongPadding {
        /// After which section.
        section: RawName,
        /// How many bytes.
        len: u64,
        /// What content is aligned to.
        file_alignment: u32,
    },
    /// A stub that finds sections by other rules than today's.
    OldStub {
        /// Which one.
        stub: Stub,
    },
    /// A section that the stub does not know.
    UnknownToStub {
        /// Which stub.
        stub: Stub,
        /// Which section.
        section: Name,
        /// The first release that knows it.
        since: u32,
    },
    /// A part of the initrd that the kernel can't unpack.
    InitrdFormat {
        /// Which part.
        origin: InitrdOrigin,
        /// Where in it.
        at: u64,
        /// What it looks like.
        format: Format,
    },
    /// An archive without its end.
    InitrdCut {
        /// Which part.
        origin: InitrdOrigin,
        /// Where in it.
        at: u64,
    },
    /// A line of `.sbat` that shim can't read, or not as it is meant.
    Sbat {
        /// Its number, counted from 1.
        line: usize,
    },
    /// Sections that overlap so much that not all were hashed.
    NotHashed {
        /// The first of them.
        section: RawName,
    },
}

/// The first release of systemd whose stub takes the first section of a name, and
/// compares names whole (commits 9e63e28aa6, fb974ac485).
const FIRST_MATCH_SINCE: u32 = 257;
/// As much padding of one section as is looked at.
const PADDING_MAX: u64 = 4096;

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoConsole { appended } => {
                write!(
                    f,
                    "the command line names no console: systemd-stub from 261 on adds {appended}, older ones nothing"
                )
            }
            Self::Duplicate { section, entries } => write!(
                f,
                "section {section} occurs twice in one profile (entries {entries:?} of the section table): the stub takes the first, kexec-tools the last"
            ),
            Self::NotUtf8 { section, at } => {
                write!(f, "section {section} is not valid UTF-8 at offset {at:#x}")
            }
            Self::CmdlineNul { at } => {
                write!(
                    f,
                    "section .cmdline has a NUL at offset {at:#x}: what follows it is ignored"
                )
            }
            Self::Padding { section, len } => write!(
                f,
                "section {section} is followed by {len:#x} bytes of padding that are not all NUL: readers that go by SizeOfRawData take them for content"
            ),
            Self::LongPadding { section, len, file_alignment } => write!(
                f,
                "section {section} is followed by {len:#x} bytes of padding, more than FileAlignment {file_alignment:#x} asks for"
            ),
            Self::OldStub { stub } => write!(
                f,
                "{stub} is older than {FIRST_MATCH_SINCE}: of sections with names that begin alike it takes the last"
            ),
            Self::UnknownToStub { stub, section, since } => {
                write!(f, "{stub} ignores section {section}, which is known since {since}")
            }
            Self::InitrdFormat { origin, at, format } => {
                write!(f, "{origin} has at {at:#x} what the kernel does not unpack: {format}")
            }
            Self::InitrdCut { origin, at } => {
                write!(f, "the cpio archive at {at:#x} in {origin} is cut short or damaged")
            }
            Self::Sbat { line } => write!(
                f,
                "line {line} of .sbat is not a component, its generation and four more fields: shim refuses a file where they are fewer, and takes what is no number for generation 0"
            ),
            Self::NotHashed { section } => write!(
                f,
                "sections from {section} on were not hashed: sections overlap to more than twice the file"
            ),
        }
    }
}

/// Everything to warn of in `found`, which was read from `source`.
pub(super) fn of(source: &dyn ReadAt, found: &Inspection) -> io::Result<Vec<Warning>> {
    let mut warnings = Vec::new();
    warnings.extend(console(found));
    warnings.extend(duplicates(&found.headers.sections));
    warnings.extend(texts(found));
    if found.refused.is_none() {
        warnings.extend(paddings(source, found)?);
    }
    warnings.extend(stub(found));
    warnings.extend(initrd(found));
    let sbat = found.sbat().into_iter().filter(|entry| !entry.is_sound());
    warnings.extend(sbat.map(|entry| Warning::Sbat { line: entry.line }));
    let hashed = found.contents.iter().any(|contents| contents.sha256.is_some());
    let mut all = found.headers.sections.iter().zip(&found.contents);
    let first = all.find(|(_, contents)| contents.sha256.is_none() && hashed);
    warnings.extend(first.map(|(section, _)| Warning::NotHashed { section: section.raw_name }));
    Ok(warnings)
}

fn console(found: &Inspection) -> Option<Warning> {
    let handed = found.handed.as_ref()?.as_ref().ok()?;
    handed.notes.iter().find_map(|note| match note {
        Note::Console { appended } => Some(Warning::NoConsole { appended }),
        _ => None,
    })
}

/// Names that stand more than once in the base or in one profile.
fn duplicates(table: &[Section]) -> Vec<Warning> {
    let mut places: HashMap<(usize, Name), Vec<usize>> = HashMap::new();
    let mut profile = 0;
    for (place, section) in table.iter().enumerate() {
        let Some(name) = section.name.filter(|name| !name.repeats()) else { continue };
        if name == Name::Profile {
            profile = place;
        }
        places.entry((profile, name)).or_default().push(place);
    }
    let mut several: Vec<_> = places.into_iter().filter(|(_, places)| places.len() > 1).collect();
    several.sort_unstable_by(|(_, left), (_, right)| left.cmp(right));
    let warning = |((_, section), entries)| Warning::Duplicate { section, entries };
    several.into_iter().map(warning).collect()
}

/// Texts that are not what they should be.
fn texts(found: &Inspection) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for (section, contents) in found.headers.sections.iter().zip(&found.contents) {
        if section.is(Name::Sdmagic) {
            continue;
        }
        let Some(text) = contents.text.as_deref() else { continue };
        if let Err(error) = str::from_utf8(text) {
            let at = error.valid_up_to();
            warnings.push(Warning::NotUtf8 { section: section.raw_name, at });
        }
        let nul = text.iter().position(|&byte| byte == 0).filter(|_| section.is(Name::Cmdline));
        if let Some(at) = nul
            && text.iter().skip(at).any(|&byte| byte != 0)
        {
            warnings.push(Warning::CmdlineNul { at });
        }
    }
    warnings
}

/// What stands between sections, where it is not as every tool writes it.
fn paddings(source: &dyn ReadAt, found: &Inspection) -> io::Result<Vec<Warning>> {
    let file_alignment = found.headers.file_alignment;
    let mut warnings = Vec::new();
    let known = found.headers.sections.iter().filter(|section| section.name.is_some());
    for section in known.filter(|section| section.is_set()) {
        let padding = section.raw_range().skip(section.range().len()).unwrap_or(FileRange::EMPTY);
        let (section, len) = (section.raw_name, padding.len());
        if len >= file_alignment.into() && file_alignment != 0 {
            warnings.push(Warning::LongPadding { section, len, file_alignment });
        }
        let bytes = fetch(source, padding.offset(), len.min(PADDING_MAX))?;
        if bytes.iter().any(|&byte| byte != 0) {
            warnings.push(Warning::Padding { section, len });
        }
    }
    Ok(warnings)
}

fn stub(found: &Inspection) -> Vec<Warning> {
    let Some((stub, release)) = found.stub().and_then(|stub| Some((stub.clone(), stub.release()?)))
    else {
        return Vec::new();
    };
    let profile = found.sections();
    let unknown = Name::ALL.into_iter().filter_map(|section| {
        let since = since(section).filter(|&since| release < since)?;
        profile.section(section)?;
        Some(Warning::UnknownToStub { stub: stub.clone(), section, since })
    });
    let old = (release < FIRST_MATCH_SINCE).then(|| Warning::OldStub { stub: stub.clone() });
    old.into_iter().chain(unknown).collect()
}

/// The first release whose stub gives a section its meaning; `None` where all
/// that write `.sdmagic` do. systemd `NEWS`.
fn since(section: Name) -> Option<u32> {
    match section {
        Name::Uname => Some(254),
        Name::Ucode => Some(256),
        Name::Profile | Name::DtbAuto | Name::Hwids => Some(257),
        Name::EfiFw => Some(258),
        _ => None,
    }
}

fn initrd(found: &Inspection) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for part in &found.initrd {
        for segment in &part.segments {
            let (origin, format) = (part.origin, segment.format);
            let begin = part.segments.first().map_or(0, |first| first.range.offset());
            let at = segment.range.offset().saturating_sub(begin);
            if !format.is_for_the_kernel() {
                warnings.push(Warning::InitrdFormat { origin, at, format });
            } else if segment.end == End::Cut {
                warnings.push(Warning::InitrdCut { origin, at });
            }
        }
    }
    warnings
}
