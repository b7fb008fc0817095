//! [`Profile`]: one way to boot a UKI, of the several it may hold.

use super::{
    error::Error,
    section::{Name, Section},
};

/// Consecutive entries of the section table: the base's, or one profile's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sections<'a> {
    all: &'a [Section],
    /// Those of them that have a known name.
    known: &'a [Section],
}

impl<'a> Sections<'a> {
    /// The entries, in the order of the table.
    #[must_use]
    pub fn iter(self) -> impl DoubleEndedIterator<Item = &'a Section> {
        self.all.iter()
    }

    /// The entries with a name that means something, in the order of the table.
    #[must_use]
    pub fn known(self) -> impl DoubleEndedIterator<Item = &'a Section> {
        self.known.iter()
    }

    /// The first entry of that name, which may be empty.
    #[must_use]
    pub fn entry(self, name: Name) -> Option<Section> {
        self.known.iter().find(|section| section.is(name)).copied()
    }
}

/// Where in a section table its profiles begin: at each `.profile`.
/// `src/boot/pe.c`, `pe_section_table_find_profile_start`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Division {
    /// Ascending.
    starts: Vec<Start>,
    /// The sections with a known name: few, where those without may be thousands.
    known: Vec<Section>,
}

/// Where a profile begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Start {
    /// In the table.
    all: usize,
    /// Among the sections with a known name.
    known: usize,
}

impl Division {
    /// How `table` is divided, whatever else is the matter with it.
    #[must_use]
    pub fn of(table: &[Section]) -> Self {
        let mut division = Self { starts: Vec::new(), known: Vec::new() };
        for (all, section) in table.iter().enumerate() {
            let Some(name) = section.name else { continue };
            if name == Name::Profile {
                division.starts.push(Start { all, known: division.known.len() });
            }
            division.known.push(*section);
        }
        division
    }

    /// The number of profiles; 0 for most UKIs.
    #[must_use]
    pub fn count(&self) -> usize {
        self.starts.len()
    }

    /// The entries of `table` before the first `.profile`.
    #[must_use]
    pub fn base<'a>(&'a self, table: &'a [Section]) -> Sections<'a> {
        self.between(table, Start { all: 0, known: 0 }, self.starts.first())
    }

    /// Every entry of `table`.
    pub(super) fn whole<'a>(&'a self, table: &'a [Section]) -> Sections<'a> {
        Sections { all: table, known: &self.known }
    }

    /// The entries of `table` from `start` up to `end`, or to the last one.
    fn between<'a>(
        &'a self,
        table: &'a [Section],
        start: Start,
        end: Option<&Start>,
    ) -> Sections<'a> {
        let end = end.copied().unwrap_or(Start { all: table.len(), known: self.known.len() });
        Sections {
            all: table.get(start.all..end.all).unwrap_or_default(),
            known: self.known.get(start.known..end.known).unwrap_or_default(),
        }
    }

    /// The base merged with the profile of that number, counted from 0. Profile 0
    /// of a table without profiles is its base. `src/boot/pe.c`,
    /// `pe_locate_profile_sections`.
    #[must_use]
    pub fn profile<'a>(&'a self, table: &'a [Section], number: usize) -> Option<Profile<'a>> {
        let own = match self.starts.get(number) {
            Some(&start) => {
                let end = number.checked_add(1).and_then(|next| self.starts.get(next));
                self.between(table, start, end)
            }
            None if number == 0 => Sections::default(),
            None => return None,
        };
        Some(Profile::new(number, self.base(table), own))
    }
}

/// The sections of a UKI that hold for one of its profiles.
#[derive(Clone, Copy, Debug, Default)]
pub struct Profile<'a> {
    number: usize,
    base: Sections<'a>,
    own: Sections<'a>,
}

impl<'a> Profile<'a> {
    pub(super) fn new(number: usize, base: Sections<'a>, own: Sections<'a>) -> Self {
        Self { number, base, own }
    }

    /// The profile's number, counted from 0.
    #[must_use]
    pub fn number(&self) -> usize {
        self.number
    }

    /// What all profiles share.
    #[must_use]
    pub fn base(&self) -> Sections<'a> {
        self.base
    }

    /// What this one has of its own, its `.profile` first.
    #[must_use]
    pub fn own(&self) -> Sections<'a> {
        self.own
    }

    /// The section of that name: the profile's own, or else the base's.
    ///
    /// A section of the profile replaces the base's even where it is empty, and
    /// an empty section is as good as none, so it masks the base's.
    /// `src/boot/pe.h`, `PE_SECTION_VECTOR_IS_SET`.
    #[must_use]
    pub fn section(&self, name: Name) -> Option<Section> {
        self.own.entry(name).or_else(|| self.base.entry(name)).filter(Section::is_set)
    }

    /// The kernel. A profile without one cannot be booted.
    pub fn linux(&self) -> Result<Section, Error> {
        self.section(Name::Linux).ok_or(Error::NoLinux { profile: self.number })
    }
}
