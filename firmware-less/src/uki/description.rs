//! [`Description`]: what a profile says of itself.

use std::fmt;

use super::{Name, OsRelease, Uki, handed::TEXT_MAX};
use crate::read_at::{ReadAt, fetch};

/// The ID and title of a profile, from its `.profile` section.
///
/// UAPI.5 "Unified Kernel Image", "Multi-Profile UKIs": both are for people, and
/// both may be missing. So is one that cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// The profile's number, counted from 0.
    pub number: usize,
    /// `ID=`.
    pub id: Option<String>,
    /// `TITLE=`.
    pub title: Option<String>,
}

impl Description {
    /// What profile `number` of `uki`, which was read from `source`, says.
    #[must_use]
    pub fn read(source: &(impl ReadAt + ?Sized), uki: &Uki, number: usize) -> Self {
        let section = uki.profile(number).ok().and_then(|profile| profile.section(Name::Profile));
        let text = section
            .filter(|section| section.virtual_size <= TEXT_MAX)
            .and_then(|section| fetch(source, section.range().offset(), section.range().len()).ok())
            .unwrap_or_default();
        Self::parse(number, &text)
    }

    /// What the `.profile` section with that `text` says of profile `number`.
    #[must_use]
    pub fn parse(number: usize, text: &[u8]) -> Self {
        let fields = OsRelease::parse(text);
        let owned = |key| fields.get(key).map(str::to_owned);
        Self { number, id: owned("ID"), title: owned("TITLE") }
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number)?;
        match (&self.id, &self.title) {
            (None, None) => Ok(()),
            (Some(id), None) => write!(f, " (ID {})", id.escape_debug()),
            (None, Some(title)) => write!(f, " ({title:?})"),
            (Some(id), Some(title)) => write!(f, " (ID {}, {title:?})", id.escape_debug()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_a_title_are_escaped() {
        let shown = Description::parse(1, b"TITLE=\x1b[2J").to_string();
        assert_eq!(shown, "1 (\"\\u{1b}[2J\")");
    }
}
