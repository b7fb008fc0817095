//! [`View`]: a UKI's sections as a reading finds them.

use super::{Absent, Finding, Length, Names, Pick, Reading, Table};
use crate::{
    range::FileRange,
    uki::{Error, Name, Profile, Section, Uki},
};

/// The sections of one profile of a UKI, as its reading finds them.
#[derive(Clone, Copy, Debug)]
pub(in crate::uki) struct View<'a> {
    uki: &'a Uki,
    chosen: Profile<'a>,
    first: Profile<'a>,
}

/// A section's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionBytes {
    /// Those that are in the file; wholly inside it.
    pub range: FileRange,
    /// The number of NULs that follow them.
    pub zeros: u64,
}

impl<'a> View<'a> {
    /// That profile, for readings that know profiles.
    pub(in crate::uki) fn new(uki: &'a Uki, profile: usize) -> Result<Self, Error> {
        Ok(Self { uki, chosen: uki.profile(profile)?, first: uki.profile(0)? })
    }

    pub(in crate::uki) fn reading(&self) -> Reading {
        self.uki.reading()
    }

    /// The number of the profile that was chosen.
    pub(in crate::uki) fn profile(&self) -> usize {
        self.chosen.number()
    }

    /// The entry of the section table that counts for `name`, which may be empty.
    pub(in crate::uki) fn entry(&self, name: Name) -> Option<Section> {
        let finding = self.finding(name);
        let found = match finding.table {
            Table::Profile => self.of_profile(self.chosen, name, finding),
            Table::FirstProfile => self.of_profile(self.first, name, finding),
            Table::Whole => self.pick(self.uki.whole().known(), name, finding),
            Table::First(count) => self.pick(self.uki.sections().iter().take(count), name, finding),
        };
        found.filter(|section| finding.absent != Absent::Empty || section.is_set())
    }

    /// Its bytes, if there is one; not more than the file has.
    pub(in crate::uki) fn bytes_of(&self, name: Name) -> Result<Option<SectionBytes>, Error> {
        self.entry(name).map(|section| self.bytes(name, section)).transpose()
    }

    fn bytes(&self, name: Name, section: Section) -> Result<SectionBytes, Error> {
        let Section { virtual_size, size_of_raw_data, .. } = section;
        let lesser = virtual_size.min(size_of_raw_data);
        let (len, zeros) = match self.finding(name).length {
            Length::Loaded => (lesser, virtual_size.saturating_sub(lesser)),
            Length::VirtualSize => (virtual_size, 0),
            Length::SizeOfRawData => (size_of_raw_data, 0),
            Length::Lesser => (lesser, 0),
        };
        // Where no bytes are is of no account.
        let range = if len == 0 { FileRange::first(0) } else { section.first_bytes(len) };
        let file_len = self.uki.headers().file_len;
        if range.end() > file_len {
            let end = range.end();
            return Err(Error::PastEndOfFile { section: section.raw_name, end, file_len });
        }
        Ok(SectionBytes { range, zeros: zeros.into() })
    }

    fn finding(&self, name: Name) -> Finding {
        let rules = self.reading().rules();
        match name {
            Name::Linux | Name::Initrd | Name::Ucode => rules.payload,
            _ => rules.text,
        }
    }

    fn of_profile(&self, profile: Profile<'a>, name: Name, finding: Finding) -> Option<Section> {
        let own = self.pick(profile.own().known(), name, finding);
        own.or_else(|| self.pick(profile.base().known(), name, finding))
    }

    fn pick(
        &self,
        sections: impl DoubleEndedIterator<Item = &'a Section>,
        name: Name,
        finding: Finding,
    ) -> Option<Section> {
        let mut found = sections.filter(|section| self.is_meant(section, name, finding));
        match finding.pick {
            Pick::First => found.next(),
            Pick::Last => found.next_back(),
        }
        .copied()
    }

    fn is_meant(&self, section: &Section, name: Name, finding: Finding) -> bool {
        let named = match finding.names {
            Names::UntilNul => section.is(name),
            Names::Padded => section.is(name) && section.raw_name.is_padded_with_nuls(),
        };
        let passed_over = finding.absent == Absent::PassedOver
            && (section.size_of_raw_data == 0
                || section.raw_range().end() > self.uki.headers().file_len);
        named && !passed_over
    }
}
