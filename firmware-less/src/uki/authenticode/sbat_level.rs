//! [`SbatLevel`]: which generations of which components are too old.

use std::io;

use sbat::{ImageSbat, ParseError, RevocationSbat, ValidationResult};
use thiserror::Error;

use crate::{
    read_at::{ReadAt, fetch},
    uki::{Headers, Name, handed::TEXT_MAX},
};

/// Revocations as shim has them in its variable `SbatLevel`: lines of a component
/// and the least generation of it that is accepted.
///
/// shim `SBAT.md`, `sbat.c`.
#[derive(Clone, Debug)]
pub struct SbatLevel(Vec<u8>);

/// Why an image is refused by its generations, or cannot be judged.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SbatError {
    /// The level itself is not CSV.
    #[error("it is no SbatLevel, lines of a component and a generation: {0}")]
    Level(ParseError),
    /// The level has no lines.
    #[error("it is no SbatLevel: it is empty")]
    Empty,
    /// The image's section cannot be read.
    #[error("section .sbat cannot be read")]
    Read(#[source] io::Error),
    /// None, or several.
    #[error("the image has {found} sections .sbat, it must have one where a SbatLevel is given")]
    Sections {
        /// How many.
        found: usize,
    },
    /// Longer than any text should be.
    #[error("section .sbat has {found:#x} bytes of text, at most {TEXT_MAX:#x} are read")]
    TooLong {
        /// Its length.
        found: u32,
    },
    /// Not CSV.
    #[error("section .sbat cannot be read: {0}")]
    Image(ParseError),
    /// Too old.
    #[error("section .sbat: {component} has generation {found}, the SbatLevel wants {wanted}")]
    Revoked {
        /// Which component.
        component: String,
        /// Its generation.
        found: String,
        /// The least one.
        wanted: String,
    },
}

impl SbatLevel {
    /// Reads revocations.
    pub fn parse(csv: &[u8]) -> Result<Self, SbatError> {
        let level = RevocationSbat::parse(csv).map_err(SbatError::Level)?;
        if level.revoked_components().next().is_none() {
            return Err(SbatError::Empty);
        }
        Ok(Self(csv.to_vec()))
    }

    /// Checks the image in `source`: of each of its components, the generation must
    /// be at least the one here, if there is one.
    pub(super) fn check(
        &self,
        source: &(impl ReadAt + ?Sized),
        headers: &Headers,
    ) -> Result<(), SbatError> {
        let all = headers.sections.iter().filter(|section| section.is(Name::Sbat));
        let all: Vec<_> = all.collect();
        let [section] = all.as_slice() else {
            return Err(SbatError::Sections { found: all.len() });
        };
        if section.virtual_size > TEXT_MAX {
            return Err(SbatError::TooLong { found: section.virtual_size });
        }
        let range = section.range();
        let csv = fetch(source, range.offset(), range.len()).map_err(SbatError::Read)?;
        let image = ImageSbat::parse(&csv).map_err(SbatError::Image)?;
        if image.entries().next().is_none() {
            return Err(SbatError::Sections { found: 0 });
        }
        let level = RevocationSbat::parse(&self.0).map_err(SbatError::Level)?;
        let ValidationResult::Revoked(entry) = level.validate_image(image) else { return Ok(()) };
        let component = entry.component;
        let wanted = level
            .revoked_components()
            .find(|one| one.name == component.name && one.generation > component.generation);
        Err(SbatError::Revoked {
            component: component.name.to_string(),
            found: component.generation.to_u32().to_string(),
            wanted: wanted.map(|one| one.generation.to_u32().to_string()).unwrap_or_default(),
        })
    }
}
