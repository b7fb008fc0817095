//! [`InitrdPart`]: the parts of the initrd, in order.

use std::fmt;

use super::{Choice, Credential, Error, Input, Note, extra};
use crate::{
    plan::{Content, FileId, FileSlice},
    range::align_up,
    read_at::ReadAt,
    uki::{
        Addon, Name,
        cpio::{Target, archive},
        reading::{GivenInitrd, View},
    },
};

/// Several parts are padded to a multiple of this. `src/boot/initrd.c`,
/// `combine_initrds`.
const ALIGN: u64 = 4;

/// Where a part of the initrd comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InitrdOrigin {
    /// A section of the UKI as it is.
    Section(Name),
    /// A section of an addon as it is.
    Addon(FileId, Name),
    /// The user's credentials, packed into `/.extra/credentials`.
    Credentials,
    /// A section of the UKI, packed as a file into `/.extra`.
    Extra(Name),
    /// One of the user's, counted from 0.
    User(usize),
}

impl fmt::Display for InitrdOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Section(name) => write!(f, "{name}"),
            Self::Addon(_, name) => write!(f, "addon's {name}"),
            Self::Credentials => write!(f, "/{}", Target::CREDENTIALS.dir),
            Self::Extra(name) => {
                let file = extra::file_name(*name).unwrap_or_default();
                write!(f, "/{}/{file} ({name})", Target::EXTRA.dir)
            }
            Self::User(_) => write!(f, "--initrd"),
        }
    }
}

/// A part of the initrd; the kernel sees them one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitrdPart {
    /// Where it comes from.
    pub origin: InitrdOrigin,
    /// Its bytes; never none.
    pub content: Content,
    /// Its length with the NULs that follow it.
    pub padded_len: u64,
}

/// A part before padding, and how many NULs belong to it.
type Unpadded = (InitrdOrigin, Content, u64);

/// The parts that have any bytes, each padded if there are several.
///
/// `src/boot/stub.c`, `run`: the kernel takes the first microcode that it finds,
/// so the last addon's comes first; it lets later files replace earlier ones, so
/// addons follow what is the UKI's own. The user's parts, which the stub has
/// not, come last of all. Other readings have less of it.
pub(super) fn parts(
    source: &(impl ReadAt + ?Sized),
    view: &View<'_>,
    addons: &[&Addon],
    choice: &Choice,
    notes: &mut Vec<Note>,
) -> Result<Vec<InitrdPart>, Error> {
    let scope = &view.reading().rules().scope;
    let users = users(view, choice, notes)?;
    let of_addon = |addon: &&Addon, name, content: Option<FileSlice>| {
        Some((InitrdOrigin::Addon(addon.file, name), Content::File(content?), 0))
    };
    let ucode = addons.iter().rev().filter_map(|a| of_addon(a, Name::Ucode, a.ucode));
    let initrds = addons.iter().filter_map(|a| of_addon(a, Name::Initrd, a.initrd));

    let mut parts: Vec<Unpadded> = ucode.collect();
    if scope.ucode {
        parts.extend(section(view, Name::Ucode)?);
    }
    if !users.replace {
        parts.extend(section(view, Name::Initrd)?);
    }
    if scope.extra {
        let archives = credentials(&choice.credentials)?.into_iter();
        let archives = archives.chain(extra::parts(source, view)?);
        parts.extend(archives.map(|(origin, content)| (origin, content, 0)));
    }
    parts.extend(initrds);
    parts.extend(users.parts);
    parts.retain(|(_, content, _)| !content.is_empty());
    padded(parts)
}

fn section(view: &View<'_>, name: Name) -> Result<Option<Unpadded>, Error> {
    let slice = |range| Content::File(FileSlice { file: FileId::UKI, range });
    let found = view.bytes_of(name)?;
    Ok(found.map(|found| (InitrdOrigin::Section(name), slice(found.range), found.zeros)))
}

/// What the user adds.
#[derive(Default)]
struct Users {
    parts: Vec<Unpadded>,
    /// Whether it stands in the place of `.initrd`.
    replace: bool,
}

/// The user's initrds, so far as the reading takes them.
fn users(view: &View<'_>, choice: &Choice, notes: &mut Vec<Note>) -> Result<Users, Error> {
    let given = choice.initrds.len();
    if given == 0 {
        return Ok(Users::default());
    }
    let reading = view.reading();
    let section = view.entry(Name::Initrd);
    let not_allowed = |rule| {
        let beside = section.map(|section| (Name::Initrd, section.virtual_size));
        Err(Error::NotAllowed { input: Input::Initrd, beside, rule })
    };
    let replace = match reading.rules().initrd {
        GivenInitrd::Appended { locked } if choice.enforced => return not_allowed(locked),
        GivenInitrd::Never(rule) => return not_allowed(rule),
        GivenInitrd::Instead { one: rule } if given > 1 => {
            return Err(Error::SeveralInitrds { given, rule });
        }
        GivenInitrd::Ignored => {
            notes.push(Note::Ignored { input: Input::Initrd, reading });
            return Ok(Users::default());
        }
        GivenInitrd::Instead { .. } => true,
        GivenInitrd::Appended { .. } => false,
    };
    if replace && section.is_some() {
        notes.push(Note::SectionUnused { section: Name::Initrd, reading });
    }
    let users = choice.initrds.iter().enumerate();
    let part = |(n, file): (usize, &FileSlice)| (InitrdOrigin::User(n), Content::File(*file), 0);
    Ok(Users { parts: users.map(part).collect(), replace })
}

/// The credentials in one archive, sorted by name as the stub sorts them
/// (`src/boot/cpio.c`, `pack_cpio`).
fn credentials(given: &[Credential]) -> Result<Option<(InitrdOrigin, Content)>, Error> {
    if given.is_empty() {
        return Ok(None);
    }
    let mut files: Vec<_> = given.iter().map(Credential::file).collect();
    files.sort_unstable();
    let mut neighbours = files.iter().zip(files.iter().skip(1));
    if let Some(((name, _), _)) = neighbours.find(|((first, _), (second, _))| first == second) {
        return Err(Error::SameCredential { name: (*name).to_owned() });
    }
    let archive = archive(&Target::CREDENTIALS, &files).ok_or(Error::InitrdTooLong)?;
    Ok(Some((InitrdOrigin::Credentials, Content::Bytes(archive))))
}

/// Pads each part if there are several; a single one is handed over as it is.
/// `src/boot/initrd.c`, `combine_initrds`.
fn padded(parts: Vec<Unpadded>) -> Result<Vec<InitrdPart>, Error> {
    let align = if parts.len() > 1 { ALIGN } else { 1 };
    let mut total = 0_u64;
    let mut padded = Vec::with_capacity(parts.len());
    for (origin, content, zeros) in parts {
        let len = content.len().checked_add(zeros);
        let padded_len = len.and_then(|len| align_up(len, align)).ok_or(Error::InitrdTooLong)?;
        total = total.checked_add(padded_len).ok_or(Error::InitrdTooLong)?;
        padded.push(InitrdPart { origin, content, padded_len });
    }
    Ok(padded)
}
