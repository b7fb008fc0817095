//! [`Selector`]: which profile of a UKI is meant.

use std::{convert::Infallible, fmt, str::FromStr};

use thiserror::Error;

use super::{Description, Uki};
use crate::read_at::ReadAt;

/// How many of a UKI's profiles an error lists; there may be tens of thousands.
const LISTED: usize = 16;

/// A profile by its number or by its ID. What is all digits is a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// Counted from 0.
    Number(usize),
    /// The `ID=` of its `.profile` section.
    Id(String),
}

impl Default for Selector {
    fn default() -> Self {
        Self::Number(0)
    }
}

impl FromStr for Selector {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.parse().map_or_else(|_| Self::Id(text.to_owned()), Self::Number))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Id(id) => write!(f, "{id:?}"),
        }
    }
}

/// Why no one profile is meant.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// There is none.
    #[error("there is no profile {wanted}: {}", available(there, *count))]
    Missing {
        /// What was asked for.
        wanted: Selector,
        /// The first of those there are.
        there: Vec<Description>,
        /// The number of those there are.
        count: usize,
    },
    /// There are several.
    #[error("profiles {first} and {second} both have the ID {id:?}: name one by its number")]
    Ambiguous {
        /// What both are called.
        id: String,
        /// The number of one.
        first: usize,
        /// The number of the other.
        second: usize,
    },
}

impl Selector {
    /// The number of the profile of `uki`, which was read from `source`.
    pub fn find(&self, source: &(impl ReadAt + ?Sized), uki: &Uki) -> Result<usize, Error> {
        self.find_among(uki.profile_count(), |number| Description::read(source, uki, number))
    }

    /// The number of the profile, of `count` that `describe` knows by their numbers.
    pub fn find_among(
        &self,
        count: usize,
        describe: impl Fn(usize) -> Description,
    ) -> Result<usize, Error> {
        let found = match self {
            Self::Number(number) if *number < count.max(1) => Some(*number),
            Self::Number(_) => None,
            Self::Id(id) => {
                let has_it = |number: &usize| describe(*number).id.as_ref() == Some(id);
                let mut numbers = (0..count).filter(has_it);
                let first = numbers.next();
                if let (Some(first), Some(second)) = (first, numbers.next()) {
                    return Err(Error::Ambiguous { id: id.clone(), first, second });
                }
                first
            }
        };
        found.ok_or_else(|| Error::Missing {
            wanted: self.clone(),
            there: (0..count.min(LISTED)).map(&describe).collect(),
            count,
        })
    }
}

fn available(there: &[Description], count: usize) -> String {
    let listed: Vec<_> = there.iter().map(Description::to_string).collect();
    match count.saturating_sub(there.len()) {
        _ if there.is_empty() => "this UKI has no profiles, so only 0 will do".to_owned(),
        0 => format!("this UKI has {}", listed.join(", ")),
        more => format!("this UKI has {}, and {more} more", listed.join(", ")),
    }
}
