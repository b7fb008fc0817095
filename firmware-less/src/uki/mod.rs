//! [`Uki`]: a Unified Kernel Image as sections, each a range of the file.
//!
//! UAPI.5 "Unified Kernel Image" defines the format, and systemd-stub how it is
//! read where the specification is silent; the source files named in this module
//! are systemd's.

mod description;
mod error;
mod identify;
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
pub mod selector;

pub use addon::Addon;
pub use description::Description;
pub use error::Error;
pub use handed::Handed;
pub use identify::{Machine, WrongFile};
pub use pe::Headers;
pub use profile::{Profile, Sections};
pub use section::{Name, RawName, Section};
pub use selector::Selector;

use crate::read_at::ReadAt;

/// A Unified Kernel Image whose sections have been checked.
///
/// Whoever holds one need not check again: every set section with a known
/// [`Name`] lies wholly inside the file and overlaps no other such section,
/// each name occurs once in the base and once in each profile (but for those
/// that may repeat), and some profile has a kernel.
#[derive(Clone, Debug)]
pub struct Uki {
    headers: Headers,
    /// Where in the section table each profile begins, ascending.
    profiles: Vec<usize>,
}

impl Uki {
    /// Reads a UKI's headers, or says why the file is not accepted as one.
    ///
    /// Reads nothing but headers from a file that is.
    pub fn read(source: &(impl ReadAt + ?Sized)) -> Result<Self, Error> {
        let headers = Headers::read(source)?;
        if let Some(wrong) = WrongFile::by_sections(source, &headers.sections)? {
            return Err(wrong.into());
        }
        strict::check(&headers)?;
        let uki = Self { profiles: profile::starts(&headers.sections), headers };
        let mut kernels = uki.sections().iter().filter(|section| section.is(Name::Linux));
        if kernels.any(Section::is_set) { Ok(uki) } else { Err(Error::EmptyLinux) }
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
        let end = self.profiles.first().copied();
        Sections::between(self.sections(), 0, end)
    }

    /// The number of profiles; 0 for most UKIs.
    #[must_use]
    pub fn profile_count(&self) -> usize {
        self.profiles.len()
    }

    /// The base merged with the profile of that number, counted from 0.
    ///
    /// Profile 0 of a UKI without profiles is its base. `src/boot/pe.c`,
    /// `pe_locate_profile_sections`.
    pub fn profile(&self, number: usize) -> Result<Profile<'_>, Error> {
        let own = match self.profiles.get(number) {
            Some(&start) => {
                let end = number.checked_add(1).and_then(|next| self.profiles.get(next)).copied();
                Sections::between(self.sections(), start, end)
            }
            None if number == 0 => Sections::default(),
            None => {
                return Err(Error::NoSuchProfile { wanted: number, count: self.profile_count() });
            }
        };
        Ok(Profile::new(number, self.base(), own))
    }
}
