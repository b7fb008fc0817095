//! [`Handed`]: what the kernel is given, as systemd-stub would give it.

mod console;
mod credential;
mod error;
mod extra;
mod initrd;

pub use console::Console;
pub use credential::{CREDENTIAL_MAX, Credential, Error as CredentialError, is_taken_by_the_stub};
pub use error::Error;
pub use initrd::{InitrdOrigin, InitrdPart};

use super::{
    Addon, Name, Profile, Section, Selector, Uki,
    addon::Release,
    cmdline::{append, mangle},
};
use crate::{
    plan::{FileId, FileSlice, Piece},
    read_at::{ReadAt, fetch},
};

/// The longest section of text that is read.
pub const TEXT_MAX: u32 = 64 << 10;

/// What the user asked for, beside the UKI itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Which profile.
    pub profile: Selector,
    /// The command line instead of the UKI's. An empty one is one too: it replaces
    /// the UKI's by nothing, which nobody can ask of the stub.
    pub cmdline: Option<String>,
    /// Words for the end of the command line.
    pub append: Vec<String>,
    /// The console, if the command line is to name another.
    pub console: Console,
    /// Files that add to the UKI, in order.
    pub addons: Vec<Addon>,
    /// Files for `/.extra/credentials`.
    pub credentials: Vec<Credential>,
    /// Further initrds, after all others.
    pub initrds: Vec<FileSlice>,
}

/// What was done that nobody asked for by name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// The command line named no console.
    Console {
        /// What was appended.
        appended: &'static str,
    },
    /// An addon is for another kernel.
    AddonLeftOut {
        /// Which one.
        addon: FileId,
        /// The version that it is for.
        wanted: Release,
        /// The UKI's.
        found: Release,
    },
}

/// What the kernel is given: bytes, not yet places for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    /// The kernel's file.
    pub kernel: FileSlice,
    /// The initrd, in order; no parts if there is none.
    pub initrd: Vec<InitrdPart>,
    /// The command line, without a NUL.
    pub cmdline: Vec<u8>,
    /// What the user should be told.
    pub notes: Vec<Note>,
}

impl Handed {
    /// What systemd-stub hands over of `uki`, which was read from `source`.
    pub fn read(
        source: &(impl ReadAt + ?Sized),
        uki: &Uki,
        choice: &Choice,
    ) -> Result<Self, Error> {
        let profile = uki.profile(choice.profile.find(source, uki)?)?;
        let kernel = FileSlice { file: FileId::UKI, range: profile.linux()?.range() };
        let mut notes = Vec::new();
        let addons = addons_for(source, &profile, &choice.addons, &mut notes)?;
        Ok(Self {
            kernel,
            initrd: initrd::parts(source, &profile, &addons, choice)?,
            cmdline: cmdline(source, &profile, &addons, choice, &mut notes)?.into_bytes(),
            notes,
        })
    }

    /// The length of the whole initrd.
    #[must_use]
    pub fn initrd_len(&self) -> u64 {
        self.initrd.iter().fold(0, |sum, part| part.padded_len.saturating_add(sum))
    }

    /// The initrd's parts as pieces of one placement.
    #[must_use]
    pub fn initrd_pieces(&self) -> Vec<Piece> {
        let mut end = 0_u64;
        let pieces = self.initrd.iter().map(|part| {
            let offset = end;
            end = end.saturating_add(part.padded_len);
            Piece { offset, content: part.content.clone() }
        });
        pieces.collect()
    }
}

/// The addons that are for the kernel of `profile`.
fn addons_for<'a>(
    source: &(impl ReadAt + ?Sized),
    profile: &Profile<'_>,
    addons: &'a [Addon],
    notes: &mut Vec<Note>,
) -> Result<Vec<&'a Addon>, Error> {
    let uname = profile.section(Name::Uname).filter(|_| !addons.is_empty());
    let raw = uname.map(|section| section_bytes(source, Name::Uname, section, TEXT_MAX));
    let kernel = raw.transpose()?.map(|raw| Release::new(&raw));
    let (fit, other): (Vec<_>, Vec<_>) =
        addons.iter().partition(|addon| addon.is_for(kernel.as_ref()));
    notes.extend(other.into_iter().filter_map(|addon| {
        let (wanted, found) = (addon.uname.clone()?, kernel.clone()?);
        Some(Note::AddonLeftOut { addon: addon.file, wanted, found })
    }));
    Ok(fit)
}

/// The command line: the user's, or else the UKI's, and what is appended.
///
/// `src/boot/stub.c`, `settle_command_line`, as it is without Secure Boot: a
/// command line that is passed replaces the embedded one. Then, as in `run`, the
/// addons', what the host adds (there by SMBIOS), and the console.
fn cmdline(
    source: &(impl ReadAt + ?Sized),
    profile: &Profile<'_>,
    addons: &[&Addon],
    choice: &Choice,
    notes: &mut Vec<Note>,
) -> Result<String, Error> {
    let not_utf8 = |source| Error::NotUtf8 { section: Name::Cmdline, source };
    let base = match (&choice.cmdline, profile.section(Name::Cmdline)) {
        (Some(given), _) => given.clone().into_bytes(),
        (None, Some(section)) => section_bytes(source, Name::Cmdline, section, TEXT_MAX)?,
        (None, None) => Vec::new(),
    };
    let mut cmdline = mangle(&base).map_err(not_utf8)?;
    let of_addons = addons.iter().filter_map(|addon| addon.cmdline.as_deref());
    let of_user = choice.append.iter().map(String::as_str);
    for words in of_addons.chain(of_user) {
        append(&mut cmdline, &mangle(words.as_bytes()).map_err(not_utf8)?);
    }
    let appended = choice.console.append_to(&mut cmdline);
    if choice.console == Console::Stub {
        notes.extend(appended.map(|appended| Note::Console { appended }));
    }
    Ok(cmdline)
}

fn section_bytes(
    source: &(impl ReadAt + ?Sized),
    name: Name,
    section: Section,
    max: u32,
) -> Result<Vec<u8>, Error> {
    let found = section.virtual_size;
    if found > max {
        return Err(Error::TextTooLong { section: name, found, max });
    }
    fetch(source, section.range().offset(), found.into())
        .map_err(|source| Error::Read { section: name, source })
}
