//! `Error`: why a UKI's content cannot be handed to a kernel.

use std::{io, str::Utf8Error};

use thiserror::Error;

use crate::uki::{self, Name, selector};

/// Why the UKI's content cannot be handed to a kernel.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The profile has no kernel.
    #[error(transparent)]
    Uki(#[from] uki::Error),
    /// There is no such profile.
    #[error(transparent)]
    Profile(#[from] selector::Error),
    /// A section cannot be read.
    #[error("section {section} cannot be read")]
    Read {
        /// Which one.
        section: Name,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Longer than any text should be.
    #[error("section {section} has {found:#x} bytes of text, at most {max:#x} are read")]
    TextTooLong {
        /// Which section.
        section: Name,
        /// Its length.
        found: u32,
        /// The most there may be.
        max: u32,
    },
    /// The stub would drop some of it silently.
    #[error("section {section} is not valid UTF-8 at offset {:#x}", source.valid_up_to())]
    NotUtf8 {
        /// Which section.
        section: Name,
        /// Where and how.
        #[source]
        source: Utf8Error,
    },
    /// Two files that would be one.
    #[error("two credentials are called {name}")]
    SameCredential {
        /// The name of both.
        name: String,
    },
    /// More than can be counted.
    #[error("the initrd parts together have more than 2⁶⁴ bytes")]
    InitrdTooLong,
}
