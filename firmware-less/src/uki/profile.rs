//! [`Profile`]: one way to boot a UKI, of the several it may hold.

use super::{
    error::Error,
    section::{Name, Section},
};

/// Consecutive entries of the section table: the base's, or one profile's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sections<'a>(&'a [Section]);

impl<'a> Sections<'a> {
    /// The entries of `table` from `start` up to `end`, or to the last one.
    pub(super) fn between(table: &'a [Section], start: usize, end: Option<usize>) -> Self {
        Self(table.get(start..end.unwrap_or(table.len())).unwrap_or_default())
    }

    /// The entries, in the order of the table.
    #[must_use]
    pub fn iter(self) -> impl DoubleEndedIterator<Item = &'a Section> {
        self.0.iter()
    }

    /// The first entry of that name, which may be empty.
    #[must_use]
    pub fn entry(self, name: Name) -> Option<Section> {
        self.0.iter().find(|section| section.is(name)).copied()
    }
}

/// Where in the section table the profiles begin: at each `.profile`.
/// `src/boot/pe.c`, `pe_section_table_find_profile_start`.
pub(super) fn starts(table: &[Section]) -> Vec<usize> {
    let profiles = table.iter().enumerate();
    profiles.filter(|(_, section)| section.is(Name::Profile)).map(|(place, _)| place).collect()
}

/// The sections of a UKI that hold for one of its profiles.
#[derive(Clone, Copy, Debug)]
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

    /// The sections before the first `.profile`.
    #[must_use]
    pub fn base(&self) -> Sections<'a> {
        self.base
    }

    /// The profile's own sections, from its `.profile` on.
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
