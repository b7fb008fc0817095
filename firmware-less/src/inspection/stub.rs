//! [`Stub`]: which boot stub a UKI was made with.

use std::fmt;

/// What `.sdmagic` says: the program and its version.
///
/// systemd `src/boot/stub.c` and `addon.c`: the section holds
/// `#### LoaderInfo: systemd-stub 257 ####`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stub {
    /// `systemd-stub`, or `systemd-addon`.
    pub program: String,
    /// Its version, a distribution's suffix included; may be empty.
    pub version: String,
}

const BEFORE: &str = "#### LoaderInfo: ";
const AFTER: &str = " ####";

impl Stub {
    /// What the content of `.sdmagic` says.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once(BEFORE)?;
        let (info, _) = rest.split_once(AFTER)?;
        let (program, version) = info.split_once(' ').unwrap_or((info, ""));
        Some(Self { program: program.to_owned(), version: version.to_owned() })
    }

    /// The number of the systemd release.
    #[must_use]
    pub fn release(&self) -> Option<u32> {
        let digits = self.version.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok()
    }
}

impl fmt::Display for Stub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.program, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_and_version_are_told_apart() {
        let stub = Stub::parse("#### LoaderInfo: systemd-stub 257.13-1~deb13u1 ####\0").unwrap();
        assert_eq!(stub.to_string(), "systemd-stub 257.13-1~deb13u1");
        assert_eq!((stub.program.as_str(), stub.release()), ("systemd-stub", Some(257)));
    }

    #[test]
    fn what_is_no_marker_is_none() {
        for text in ["", "systemd-stub 257", "#### LoaderInfo: systemd-stub 257"] {
            assert_eq!(Stub::parse(text), None);
        }
        assert_eq!(Stub::parse("#### LoaderInfo: other ####").unwrap().release(), None);
    }
}
