//! [`Uki`]: a Unified Kernel Image as sections, each a range of the file.
//!
//! UAPI.5 "Unified Kernel Image" defines the format, and systemd-stub how it is
//! read where the specification is silent; the source files named in this module
//! are systemd's.

mod description;
mod error;
mod identify;
mod os_release;
mod pe;
mod pem;
mod profile;
mod section;
mod strict;

pub mod addon;
pub mod authenticode;
pub mod cmdline;
pub mod cpio;
pub mod handed;
pub mod pcr11;
pub mod pcrsig;
pub mod reading;
pub mod selector;

pub use addon::{Addon, Release};
pub use description::Description;
pub use error::Error;
pub use handed::Handed;
pub use identify::{Machine, WrongFile};
pub use os_release::OsRelease;
pub use pe::Headers;
pub use profile::{Division, Profile, Sections};
pub use reading::Reading;
pub use section::{Name, RawName, Section};
pub use selector::Selector;

use crate::{read_at::ReadAt, uki::reading::Absent};

/// A Unified Kernel Image whose sections have been checked, as its [`Reading`]
/// wants them.
///
/// Whoever holds one of [`Reading::Stub`] need not check again: every set section
/// with a known [`Name`] lies wholly inside the file and overlaps no other such
/// section, each name occurs once in the base and once in each profile (but for
/// those that may repeat), and some profile has a kernel. Other readings promise
/// less, and what they find is for them to say: [`Handed`] follows them.
#[derive(Clone, Debug)]
pub struct Uki {
    reading: Reading,
    headers: Headers,
    profiles: Division,
}

impl Uki {
    /// Reads a UKI's headers by the default reading, or says why the file is not
    /// accepted as one.
    ///
    /// Reads nothing but headers from a file that is.
    pub fn read(source: &(impl ReadAt + ?Sized)) -> Result<Self, Error> {
        Self::read_as(source, Reading::default())
    }

    /// Reads a UKI's headers by that reading, or says why the file is not accepted
    /// as one.
    pub fn read_as(source: &(impl ReadAt + ?Sized), reading: Reading) -> Result<Self, Error> {
        Self::new(Headers::of_uki(source)?, reading)
    }

    /// A UKI with those headers, or why that reading does not accept it.
    pub fn new(headers: Headers, reading: Reading) -> Result<Self, Error> {
        let absent = reading.rules().payload.absent;
        strict::check(&headers, reading.rules())?;
        let uki = Self { reading, profiles: Division::of(&headers.sections), headers };
        let counts = |section: &Section| absent != Absent::Empty || section.is_set();
        let mut kernels = uki.whole().known().filter(|section| section.is(Name::Linux));
        let has_kernel = kernels.any(counts);
        drop(kernels);
        if has_kernel { Ok(uki) } else { Err(Error::EmptyLinux) }
    }

    /// Whose reading of it applies.
    #[must_use]
    pub fn reading(&self) -> Reading {
        self.reading
    }

    /// The headers as they are in the file.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The whole section table, in its order, unknown sections included.
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        &self.headers.sections
    }

    /// The sections before the first `.profile`: what all profiles share.
    #[must_use]
    pub fn base(&self) -> Sections<'_> {
        self.profiles.base(self.sections())
    }

    fn whole(&self) -> Sections<'_> {
        self.profiles.whole(self.sections())
    }

    /// The number of profiles; 0 for most UKIs.
    #[must_use]
    pub fn profile_count(&self) -> usize {
        self.profiles.count()
    }

    /// The base merged with the profile of that number, counted from 0.
    ///
    /// Profile 0 of a UKI without profiles is its base.
    pub fn profile(&self, number: usize) -> Result<Profile<'_>, Error> {
        let missing = || Error::NoSuchProfile { wanted: number, count: self.profile_count() };
        self.profiles.profile(self.sections(), number).ok_or_else(missing)
    }
}
