//! [`Rules`]: what a row of the table of readings says.

use std::fmt;

use crate::uki::{Error, Name};

/// Why a reading refuses something: the rule, and where it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The rule, a sentence in lower case without its full stop.
    pub text: &'static str,
    /// Specification, or file and function, that has it.
    pub source: &'static str,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text, self.source)
    }
}

/// How a reading reads UKIs.
///
/// Beside these rules two hold for every reading: the headers are those of a
/// PE32+ file for x86-64, wholly inside the file ([`crate::uki::Headers`]); and
/// what is handed over is in the file.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The sections without which a file is no UKI.
    pub requires: &'static [(Name, Rule)],
    /// What else must be true of the headers.
    pub checks: &'static [(Check, Rule)],
    /// How `.linux`, `.initrd` and `.ucode` are found.
    pub payload: Finding,
    /// How sections of text are found.
    pub text: Finding,
    /// What becomes of the command line.
    pub cmdline: Cmdline,
    /// What becomes of initrds that the user gives.
    pub initrd: GivenInitrd,
    /// What else is handed over.
    pub scope: Scope,
}

impl Rules {
    /// The rule by which `section` is required.
    #[must_use]
    pub fn requires(&self, section: Name) -> Option<Rule> {
        self.requires.iter().find(|(name, _)| *name == section).map(|(_, rule)| *rule)
    }

    /// The rule by which the headers are checked so.
    #[must_use]
    pub fn checks(&self, check: Check) -> Option<Rule> {
        self.checks.iter().find(|(known, _)| *known == check).map(|(_, rule)| *rule)
    }

    /// Every rule of the row by which something may be refused.
    #[must_use]
    pub fn all(&self) -> Vec<Rule> {
        let required = self.requires.iter().map(|(_, rule)| *rule);
        let checked = self.checks.iter().map(|(_, rule)| *rule);
        let cmdline = match self.cmdline.given {
            GivenCmdline::UnlessLocked { locked: rule, .. }
            | GivenCmdline::IfAbsent(rule)
            | GivenCmdline::Never(rule) => Some(rule),
            GivenCmdline::Ignored | GivenCmdline::Alone | GivenCmdline::Appended => None,
        };
        let initrd = match self.initrd {
            GivenInitrd::Appended { locked: rule }
            | GivenInitrd::Instead { one: rule }
            | GivenInitrd::Never(rule) => Some(rule),
            GivenInitrd::Ignored => None,
        };
        let rest = [self.cmdline.text_rule, cmdline, initrd, Some(self.scope.rule)];
        required.chain(checked).chain(rest.into_iter().flatten()).collect()
    }
}

/// Something that is checked of the headers, beside what every reading checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// The subsystem is EFI application.
    Subsystem,
    /// The section table ends within SizeOfHeaders.
    TableInHeaders,
    /// No section begins within SizeOfHeaders.
    SectionsPastHeaders,
    /// Every section of the table lies in the file.
    SectionsInFile,
    /// Only NULs follow the name of a known section.
    NamePadding,
    /// VirtualSize is at most SizeOfRawData, for known sections.
    VirtualSize,
    /// Known sections lie at multiples of FileAlignment.
    Alignment,
    /// No section ends past SizeOfImage.
    InImage,
    /// A name stands once in the base, and once in each profile.
    Singletons,
    /// Known sections share no bytes of the file.
    OverlapInFile,
    /// Sections share no addresses.
    OverlapInMemory,
}

impl Check {
    /// What was checked where `error` was found; `None` for what every reading checks.
    #[must_use]
    pub const fn of(error: &Error) -> Option<Self> {
        Some(match error {
            Error::Subsystem { .. } => Self::Subsystem,
            Error::HeadersCut { .. } => Self::TableInHeaders,
            Error::WithinHeaders { .. } => Self::SectionsPastHeaders,
            Error::PastEndOfFile { .. } => Self::SectionsInFile,
            Error::BytesAfterName { .. } => Self::NamePadding,
            Error::VirtualSize { .. } => Self::VirtualSize,
            Error::Unaligned { .. } => Self::Alignment,
            Error::PastImage { .. } => Self::InImage,
            Error::Duplicate { .. } => Self::Singletons,
            Error::OverlapInFile { .. } => Self::OverlapInFile,
            Error::OverlapInMemory { .. } => Self::OverlapInMemory,
            _ => return None,
        })
    }
}

/// How a section is found, and what its bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// When a name is the one looked for.
    pub names: Names,
    /// Where in the section table it is looked for.
    pub table: Table,
    /// Which of several it is.
    pub pick: Pick,
    /// When there is none.
    pub absent: Absent,
    /// How long it is.
    pub length: Length,
}

/// When a section's name is the one looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Up to the first NUL, whatever follows.
    UntilNul,
    /// All eight bytes, NULs at the end.
    Padded,
}

/// Which part of the section table counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// The chosen profile's, or else the base's.
    Profile,
    /// The first profile's, or else the base's, whatever was chosen.
    FirstProfile,
    /// The whole table: profiles are not known.
    Whole,
    /// So many entries from its beginning.
    First(usize),
}

/// Which of several sections of one name counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The first.
    First,
    /// The last.
    Last,
}

/// When a section counts as absent although the table may have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// Never: an empty section is one.
    NoEntry,
    /// Where the one that counts has a VirtualSize of 0.
    Empty,
    /// Entries without SizeOfRawData, or past the end of the file, are passed
    /// over, so that another one counts.
    PassedOver,
}

/// How many bytes a section has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// VirtualSize: zeros where the file has fewer, as when an image is loaded.
    Loaded,
    /// VirtualSize bytes of the file, whatever section they belong to.
    VirtualSize,
    /// SizeOfRawData: padding is content.
    SizeOfRawData,
    /// The lesser of both.
    Lesser,
}

/// What becomes of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cmdline {
    /// What is made of `.cmdline`.
    pub text: Text,
    /// The rule by which its bytes may be refused.
    pub text_rule: Option<Rule>,
    /// What becomes of the user's.
    pub given: GivenCmdline,
    /// Whether an empty one of the user's is one.
    pub empty_is_given: bool,
    /// Whether appended words follow all others, and are no part of the user's.
    pub append_last: bool,
}

/// What is made of the bytes of `.cmdline`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// Nothing: the section is not looked at.
    Unused,
    /// Valid UTF-8 up to the first NUL, control characters made blanks, ends trimmed.
    Mangled,
    /// The bytes as they are.
    Verbatim,
    /// The bytes as they are, with a NUL instead of the last one.
    LastByteNul,
    /// The bytes as they are, with a NUL after them unless the last one is one.
    NulAdded,
    /// Ends trimmed; a NUL may be followed by NULs only.
    Trimmed,
}

/// What becomes of the user's command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenCmdline {
    /// It replaces the section's. Under enforcement, only where there is none.
    UnlessLocked {
        /// Why not under enforcement.
        locked: Rule,
    },
    /// It is used where there is no section, and refused where there is.
    IfAbsent(Rule),
    /// It is refused.
    Never(Rule),
    /// It is ignored.
    Ignored,
    /// It is all there is.
    Alone,
    /// It follows the section's.
    Appended,
}

/// What becomes of initrds that the user gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenInitrd {
    /// They follow all other parts. Under enforcement they are refused.
    Appended {
        /// Why, under enforcement.
        locked: Rule,
    },
    /// One is taken, and `.initrd` is not.
    Instead {
        /// Why only one.
        one: Rule,
    },
    /// They are refused.
    Never(Rule),
    /// They are ignored.
    Ignored,
}

/// What is handed over beside `.linux`, `.initrd` and `.cmdline`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "columns of a table, each yes or no")]
pub struct Scope {
    /// A profile may be chosen.
    pub profiles: bool,
    /// `.ucode`, before all other parts of the initrd.
    pub ucode: bool,
    /// Addons.
    pub addons: Addons,
    /// Sections as files in `/.extra`, and the user's credentials.
    pub extra: bool,
    /// A `console=` word, the stub's or one that the user asks for.
    pub console: bool,
    /// Why there is no more than that.
    pub rule: Rule,
}

/// Whether addons are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addons {
    /// Not known.
    None,
    /// All that are given.
    All,
    /// Those that are for the UKI's kernel.
    ByUname,
}
