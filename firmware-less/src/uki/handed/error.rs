//! `Error`: why a UKI's content cannot be handed to a kernel.

use std::{io, str::Utf8Error};

use thiserror::Error;

use super::Input;
use crate::uki::{self, Name, reading::Rule, selector};

/// Why the UKI's content cannot be handed to a kernel.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The profile has no kernel.
    #[error(transparent)]
    Uki(#[from] uki::Error),
    /// A section is missing that the reading requires.
    #[error("section {section} is missing")]
    Missing {
        /// Which one.
        section: Name,
        /// By which rule.
        rule: Rule,
    },
    /// The reading knows nothing of the kind.
    #[error("{input} has no place")]
    NoPlace {
        /// What was given.
        input: Input,
        /// By which rule.
        rule: Rule,
    },
    /// The reading does not leave that to the user.
    #[error("{input} is given{}", and_section(*beside))]
    NotAllowed {
        /// What was given.
        input: Input,
        /// The UKI's own section, and its length.
        beside: Option<(Name, u32)>,
        /// By which rule.
        rule: Rule,
    },
    /// The reading takes one of the user's initrds, no more.
    #[error("{given} initrds are given")]
    SeveralInitrds {
        /// How many there are.
        given: usize,
        /// By which rule.
        rule: Rule,
    },
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
        found: u64,
        /// The most there may be.
        max: u32,
    },
    /// The text would end there.
    #[error("section {section} has a NUL at offset {at:#x}, and text after it")]
    NulWithin {
        /// Which section.
        section: Name,
        /// Where.
        at: usize,
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

impl Error {
    /// The rule that the error itself knows.
    #[must_use]
    pub fn rule(&self) -> Option<Rule> {
        match self {
            Self::Missing { rule, .. }
            | Self::NoPlace { rule, .. }
            | Self::NotAllowed { rule, .. }
            | Self::SeveralInitrds { rule, .. } => Some(*rule),
            _ => None,
        }
    }
}

fn and_section(beside: Option<(Name, u32)>) -> String {
    beside.map(|(name, len)| format!(", and section {name} has {len:#x} bytes")).unwrap_or_default()
}
