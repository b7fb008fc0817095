//! [`Handed`]: what the kernel is given, as the UKI's reading has it.
//!
//! Tests boot the same UKIs by firmware and systemd-stub and compare what the guests
//! see. The table in the project's README, "Beside firmware and systemd-stub", has
//! all that differs, with the reasons.

mod cmdline;
mod console;
mod credential;
mod error;
mod extra;
mod initrd;
mod input;

pub use console::Console;
pub use credential::{CREDENTIAL_MAX, Credential, Error as CredentialError, is_taken_by_the_stub};
pub use error::Error;
pub use initrd::{InitrdOrigin, InitrdPart};
pub use input::Input;

use super::{
    Addon, Name, Reading, Selector, Uki,
    addon::Release,
    reading::{Addons, Rule, SectionBytes, View},
};
use crate::{
    plan::{FileId, FileSlice, Piece},
    range::FileRange,
    read_at::{ReadAt, fetch},
    uki,
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
    /// Whether only what was verified may be handed over: Secure Boot for the
    /// stub, lockdown for the kernel.
    pub enforced: bool,
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
    /// Text in `.cmdline` follows a NUL, and so is not read.
    CmdlineCut {
        /// Where in it the NUL is.
        at: usize,
    },
    /// The reading ignores what the user gave.
    Ignored {
        /// What.
        input: Input,
        /// Whose reading.
        reading: Reading,
    },
    /// The reading does not use a section that there is, or not beside the user's.
    SectionUnused {
        /// Which one.
        section: Name,
        /// Whose reading.
        reading: Reading,
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
    /// The kernel's file. Of one that is longer in memory, which some readings
    /// accept, what the file has.
    pub kernel: FileSlice,
    /// The initrd, in order; no parts if there is none.
    pub initrd: Vec<InitrdPart>,
    /// The command line, without a NUL.
    pub cmdline: Vec<u8>,
    /// How many bytes follow the NUL after it, where a section's padding is handed
    /// over with it. The kernel never looks at them, but they count.
    pub cmdline_padding: u64,
    /// What the user should be told.
    pub notes: Vec<Note>,
}

impl Handed {
    /// What the reading of `uki`, which was read from `source`, hands over.
    pub fn read(
        source: &(impl ReadAt + ?Sized),
        uki: &Uki,
        choice: &Choice,
    ) -> Result<Self, Error> {
        let rules = uki.reading().rules();
        input::admit(rules, choice)?;
        let view = View::new(uki, choice.profile.find(source, uki)?)?;
        for &(section, rule) in rules.requires {
            if view.entry(section).is_none() {
                return Err(missing(&view, section, rule));
            }
        }
        let linux = view.bytes_of(Name::Linux)?.map_or(FileRange::first(0), |linux| linux.range);
        let mut notes = Vec::new();
        let addons = addons_for(source, &view, &choice.addons, &mut notes)?;
        let initrd = initrd::parts(source, &view, &addons, choice, &mut notes)?;
        let line = cmdline::line(source, &view, &addons, choice, &mut notes)?;
        Ok(Self {
            kernel: FileSlice { file: FileId::UKI, range: linux },
            initrd,
            cmdline: line.text,
            cmdline_padding: line.padding,
            notes,
        })
    }

    /// The length of the command line with its padding, one NUL not counted.
    #[must_use]
    pub fn cmdline_len(&self) -> u64 {
        self.cmdline_padding.saturating_add(self.cmdline.len() as u64)
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

fn missing(view: &View<'_>, section: Name, rule: Rule) -> Error {
    match section {
        Name::Linux if view.reading().rules().scope.profiles => {
            uki::Error::NoLinux { profile: view.profile() }.into()
        }
        _ => Error::Missing { section, rule },
    }
}

/// The addons that are for the UKI's kernel, if the reading looks at that.
fn addons_for<'a>(
    source: &(impl ReadAt + ?Sized),
    view: &View<'_>,
    addons: &'a [Addon],
    notes: &mut Vec<Note>,
) -> Result<Vec<&'a Addon>, Error> {
    if addons.is_empty() || view.reading().rules().scope.addons != Addons::ByUname {
        return Ok(addons.iter().collect());
    }
    let uname = view.bytes_of(Name::Uname)?;
    let raw = uname.map(|found| section_bytes(source, Name::Uname, found, TEXT_MAX));
    let kernel = raw.transpose()?.map(|raw| Release::new(&raw));
    let (fit, other): (Vec<_>, Vec<_>) =
        addons.iter().partition(|addon| addon.is_for(kernel.as_ref()));
    notes.extend(other.into_iter().filter_map(|addon| {
        let (wanted, found) = (addon.uname.clone()?, kernel.clone()?);
        Some(Note::AddonLeftOut { addon: addon.file, wanted, found })
    }));
    Ok(fit)
}

/// A section's bytes, without the NULs that may follow what the file has of it.
fn section_bytes(
    source: &(impl ReadAt + ?Sized),
    section: Name,
    found: SectionBytes,
    max: u32,
) -> Result<Vec<u8>, Error> {
    let len = found.range.len();
    if len > max.into() {
        return Err(Error::TextTooLong { section, found: len, max });
    }
    fetch(source, found.range.offset(), len).map_err(|source| Error::Read { section, source })
}
