//! [`InitrdPart`]: the parts of the initrd, in the order of systemd-stub.

use std::fmt;

use super::{Choice, Credential, Error, extra};
use crate::{
    plan::{Content, FileId, FileSlice},
    range::align_up,
    read_at::ReadAt,
    uki::{
        Addon, Name, Profile,
        cpio::{Target, archive},
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

/// The parts that have any bytes, each padded if there are several.
///
/// `src/boot/stub.c`, `run`: the kernel takes the first microcode that it finds,
/// so the last addon's comes first; it lets later files replace earlier ones, so
/// addons follow what is the UKI's own. The user's parts, which the stub has
/// not, come last of all.
pub(super) fn parts(
    source: &(impl ReadAt + ?Sized),
    profile: &Profile<'_>,
    addons: &[&Addon],
    choice: &Choice,
) -> Result<Vec<InitrdPart>, Error> {
    let section = |name| {
        let section = profile.section(name)?;
        let content = FileSlice { file: FileId::UKI, range: section.range() };
        Some((InitrdOrigin::Section(name), Content::File(content)))
    };
    let of_addon = |addon: &&Addon, name, content: Option<FileSlice>| {
        Some((InitrdOrigin::Addon(addon.file, name), Content::File(content?)))
    };
    let ucode = addons.iter().rev().filter_map(|a| of_addon(a, Name::Ucode, a.ucode));
    let initrds = addons.iter().filter_map(|a| of_addon(a, Name::Initrd, a.initrd));
    let users = choice.initrds.iter().enumerate();

    let mut parts: Vec<_> = ucode.collect();
    parts.extend([Name::Ucode, Name::Initrd].into_iter().filter_map(section));
    parts.extend(credentials(&choice.credentials)?);
    parts.extend(extra::parts(source, profile)?);
    parts.extend(initrds);
    parts.extend(users.map(|(n, file)| (InitrdOrigin::User(n), Content::File(*file))));
    parts.retain(|(_, content)| !content.is_empty());
    padded(parts)
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
fn padded(parts: Vec<(InitrdOrigin, Content)>) -> Result<Vec<InitrdPart>, Error> {
    let align = if parts.len() > 1 { ALIGN } else { 1 };
    let mut total = 0_u64;
    let mut padded = Vec::with_capacity(parts.len());
    for (origin, content) in parts {
        let padded_len = align_up(content.len(), align).ok_or(Error::InitrdTooLong)?;
        total = total.checked_add(padded_len).ok_or(Error::InitrdTooLong)?;
        padded.push(InitrdPart { origin, content, padded_len });
    }
    Ok(padded)
}
