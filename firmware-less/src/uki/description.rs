//! [`Description`]: what a profile says of itself.

use std::fmt;

use super::{Name, Uki, handed::TEXT_MAX};
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
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default();
        Self { number, id: field(&text, "ID"), title: field(&text, "TITLE") }
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

/// The last value of `key` in os-release text, as systemd-boot reads it: a line
/// each, blanks before the key ignored, quotes around the value dropped.
/// systemd `src/boot/efi-string.c`, `line_get_key_value`.
fn field(text: &str, key: &str) -> Option<String> {
    let until_nul = text.split('\0').next().unwrap_or_default();
    let lines = until_nul.split(['\n', '\r']).map(|line| line.trim_matches([' ', '\t']));
    let mut values = lines.filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.next_back().map(unquoted).filter(|value| !value.is_empty()).map(str::to_owned)
}

fn unquoted(value: &str) -> &str {
    let between = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    between('"').or_else(|| between('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_read_as_systemd_boot_reads_it() {
        let text = "# ID=no\nXID=no\n  ID=first\nID=main\r\nTITLE=\"A \"title\"\"\0ID=after";
        assert_eq!(field(text, "ID").as_deref(), Some("main"));
        assert_eq!(field(text, "TITLE").as_deref(), Some("A \"title\""));
        assert_eq!(field("ID='a'", "ID").as_deref(), Some("a"));
        assert_eq!(field("ID=\"a'", "ID").as_deref(), Some("\"a'"));
        assert_eq!(field("ID=\nTITLE", "ID"), None);
        assert_eq!(field("ID=\nTITLE", "TITLE"), None);
    }

    #[test]
    fn control_characters_of_a_title_are_escaped() {
        let title = Some("\u{1b}[2J".to_owned());
        let shown = Description { number: 1, id: None, title }.to_string();
        assert_eq!(shown, "1 (\"\\u{1b}[2J\")");
    }
}
