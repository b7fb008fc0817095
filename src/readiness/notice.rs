//! [`Notice`]: one line of what systemd says.

use std::str;

/// The most of a text that is kept, in bytes.
const TEXT_MAX: usize = 1024;

/// Something that was said, and that is worth noting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// All has started that was to start (`READY=1`).
    Ready,
    /// What it is at (`STATUS=`).
    Status(String),
    /// A unit is active (`X_SYSTEMD_UNIT_ACTIVE=`).
    UnitActive(String),
    /// What the system calls itself (`X_SYSTEMD_HOSTNAME=`).
    Hostname(String),
    /// It ends with this status (`EXIT_STATUS=`).
    ExitStatus(u8),
}

impl Notice {
    /// What a line says, without its line feed; nothing where it is of no interest, or
    /// does not make sense.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        let split = line.iter().position(|byte| *byte == b'=')?;
        let (key, value) = line.split_at_checked(split)?;
        let value = value.get(1..)?;
        match key {
            b"READY" if value == b"1" => Some(Self::Ready),
            b"STATUS" => text(value).map(Self::Status),
            b"X_SYSTEMD_UNIT_ACTIVE" => text(value).map(Self::UnitActive),
            b"X_SYSTEMD_HOSTNAME" => text(value).map(Self::Hostname),
            b"EXIT_STATUS" => str::from_utf8(value).ok()?.parse().ok().map(Self::ExitStatus),
            _ => None,
        }
    }
}

/// Text that is safe to show: no control characters, and not too long. Nothing where there
/// is none.
fn text(value: &[u8]) -> Option<String> {
    let value = value.get(..TEXT_MAX).unwrap_or(value);
    let text = String::from_utf8_lossy(value);
    let shown: String = text
        .chars()
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    (!shown.is_empty()).then_some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_what_sd_notify_has_them_say() {
        for (line, notice) in [
            ("READY=1", Some(Notice::Ready)),
            ("READY=0", None),
            ("READY=11", None),
            ("STATUS=Startup finished in 3s = fine", {
                Some(Notice::Status("Startup finished in 3s = fine".to_owned()))
            }),
            ("STATUS=", None),
            ("X_SYSTEMD_UNIT_ACTIVE=a.service", Some(Notice::UnitActive("a.service".to_owned()))),
            ("X_SYSTEMD_UNIT_INACTIVE=a.service", None),
            ("X_SYSTEMD_HOSTNAME=web", Some(Notice::Hostname("web".to_owned()))),
            ("EXIT_STATUS=0", Some(Notice::ExitStatus(0))),
            ("EXIT_STATUS=255", Some(Notice::ExitStatus(255))),
            ("EXIT_STATUS=256", None),
            ("EXIT_STATUS=-1", None),
            ("EXIT_STATUS=", None),
            ("MAINPID=1", None),
            ("ready=1", None),
            ("READY", None),
            ("=", None),
            ("", None),
        ] {
            assert_eq!(Notice::parse(line.as_bytes()), notice, "{line}");
        }
    }

    #[test]
    fn text_is_safe_to_show_and_not_too_long() {
        let hostile = b"STATUS=\x1b[2J\xff\0ok";
        let shown = "\u{fffd}[2J\u{fffd}\u{fffd}ok".to_owned();
        assert_eq!(Notice::parse(hostile), Some(Notice::Status(shown)));
        let long = [b"STATUS=".to_vec(), vec![b'x'; 5000]].concat();
        assert_eq!(Notice::parse(&long), Some(Notice::Status("x".repeat(TEXT_MAX))));
    }
}
