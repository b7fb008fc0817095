//! [`OsRelease`]: text of `KEY=value` lines, as `.osrel` and `.profile` are.

use crate::bytes::until_nul;

/// The fields of os-release text, in its order. `os-release(5)`.
///
/// Read as systemd-boot reads it: a line each, blanks before the key ignored,
/// quotes around the value dropped, nothing unescaped, everything from the first
/// NUL on ignored. systemd `src/boot/efi-string.c`, `line_get_key_value`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OsRelease {
    fields: Vec<(String, String)>,
}

/// Whose value names the system, the first that is there. systemd
/// `src/fundamental/bootspec.c`, `bootspec_pick_name_version_sort_key`.
const NAMES: [&str; 4] = ["PRETTY_NAME", "IMAGE_ID", "NAME", "ID"];
/// Whose value is its version. The same function.
const VERSIONS: [&str; 4] = ["IMAGE_VERSION", "VERSION", "VERSION_ID", "BUILD_ID"];

impl OsRelease {
    /// The fields in `text`; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let until_nul = until_nul(text);
        let text = String::from_utf8_lossy(until_nul);
        let lines = text.split(['\n', '\r']).map(|line| line.trim_matches([' ', '\t']));
        let fields = lines.filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (key, value) = line.split_once('=')?;
            Some((key.to_owned(), unquoted(value).to_owned()))
        });
        Self { fields: fields.collect() }
    }

    /// Every field, in order; a key may stand several times.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The last value of `key`; `None` where it is empty, too.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let values = self.fields().filter(|(found, _)| *found == key).map(|(_, value)| value);
        values.last().filter(|value| !value.is_empty())
    }

    /// What boot menus call the system. Without one they list no entry.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        NAMES.into_iter().find_map(|key| self.get(key))
    }

    /// The system's version, as boot menus sort by it.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        VERSIONS.into_iter().find_map(|key| self.get(key))
    }
}

fn unquoted(value: &str) -> &str {
    let between = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    between('"').or_else(|| between('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(text: &str, key: &str) -> Option<String> {
        OsRelease::parse(text.as_bytes()).get(key).map(str::to_owned)
    }

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
    fn the_name_and_the_version_are_those_of_boot_menus() {
        let text = b"ID=debian\nNAME=Debian\nVERSION_ID=13\nPRETTY_NAME=\nBUILD_ID=7\n";
        let release = OsRelease::parse(text);
        assert_eq!((release.name(), release.version()), (Some("Debian"), Some("13")));
        let text = b"IMAGE_ID=appliance\nNAME=Debian\nIMAGE_VERSION=2\nVERSION=13";
        let release = OsRelease::parse(text);
        assert_eq!((release.name(), release.version()), (Some("appliance"), Some("2")));
        assert_eq!(OsRelease::parse(b"\xff=\n").name(), None);
    }
}
