//! [`Credential`]: a systemd credential, as SMBIOS tells it.
//!
//! systemd.io/CREDENTIALS; `src/core/import-creds.c`, `import_credentials_smbios`.

use std::{fmt, str};

use base64ct::{Base64, Encoding as _};
use thiserror::Error;

/// The most that systemd takes of all credentials together.
/// `src/shared/creds-util.h`, `CREDENTIALS_TOTAL_SIZE_MAX`.
const TOTAL_MAX: usize = 1 << 20;

/// A credential with a name that systemd takes.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    id: String,
    value: Vec<u8>,
}

/// What is no credential.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// systemd would pass it by.
    #[error(
        "{0:?} is no name of a credential: need 1 to 255 printable ASCII characters, none of them \
         / : =, and neither . nor .."
    )]
    Id(String),
    /// systemd would refuse it.
    #[error("the credential {id} has {found} bytes or more, systemd takes at most {TOTAL_MAX}")]
    TooLong {
        /// Which one.
        id: String,
        /// Its length.
        found: usize,
    },
    /// An escape sequence that is none.
    #[error(
        "the value of the credential {id} has {escape:?} at {at}, which is no escape sequence; a \
         backslash is written as two"
    )]
    Escape {
        /// Which one.
        id: String,
        /// The sequence, as far as it was understood.
        escape: String,
        /// Where it begins.
        at: usize,
    },
}

impl Credential {
    /// The credential `id` with that `value`.
    pub fn new(id: &str, value: Vec<u8>) -> Result<Self, Error> {
        check_id(id)?;
        let found = value.len();
        if found > TOTAL_MAX {
            return Err(Error::TooLong { id: id.to_owned(), found });
        }
        Ok(Self { id: id.to_owned(), value })
    }

    /// The same of a value as typed: with C-style escape sequences, as
    /// `systemd-vmspawn --set-credential=` takes it.
    pub fn escaped(id: &str, value: &str) -> Result<Self, Error> {
        check_id(id)?;
        let value = unescaped(value).map_err(|(escape, at)| Error::Escape {
            id: id.to_owned(),
            escape,
            at,
        })?;
        Self::new(id, value)
    }

    /// The longest value that is of any use.
    #[must_use]
    pub const fn len_max() -> u64 {
        TOTAL_MAX as u64
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The string of SMBIOS type 11 that tells it: as it is where that is plain
    /// text, in Base64 where it is not.
    #[must_use]
    pub fn oem_string(&self) -> Vec<u8> {
        let Self { id, value } = self;
        match str::from_utf8(value) {
            Ok(text) if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) => {
                format!("io.systemd.credential:{id}={text}").into_bytes()
            }
            _ => {
                let value = Base64::encode_string(value);
                format!("io.systemd.credential.binary:{id}={value}").into_bytes()
            }
        }
    }
}

/// Shows no value: it may be a secret.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("id", &self.id).finish_non_exhaustive()
    }
}

/// `src/shared/creds-util.h`, `credential_name_valid`; and no `=`, where the name
/// would end.
fn check_id(id: &str) -> Result<(), Error> {
    let is_valid = (1..=255).contains(&id.len())
        && id.bytes().all(|byte| matches!(byte, b' '..=b'~') && !b"/:=".contains(&byte))
        && !matches!(id, "." | "..");
    if is_valid { Ok(()) } else { Err(Error::Id(id.to_owned())) }
}

/// `text` with its escape sequences resolved, or the first that is none.
/// `src/basic/escape.c`, `cunescape_one`.
fn unescaped(text: &str) -> Result<Vec<u8>, (String, usize)> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, sequence)) = rest.split_once('\\') {
        bytes.extend(before.as_bytes());
        let at = text.len().saturating_sub(sequence.len()).saturating_sub(1);
        let escape = || {
            let shown: String = sequence.chars().take(1).collect();
            (format!("\\{shown}"), at)
        };
        rest = unescape(sequence, &mut bytes).ok_or_else(escape)?;
    }
    bytes.extend(rest.as_bytes());
    Ok(bytes)
}

/// Puts what `sequence` begins with, the backslash gone, into `bytes`; gives what
/// follows it.
fn unescape<'a>(sequence: &'a str, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let mut chars = sequence.chars();
    let byte = match chars.next()? {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        's' => b' ',
        same @ ('\\' | '"' | '\'') => u8::try_from(same).ok()?,
        'x' => return number(chars.as_str(), 2, 16, bytes),
        'u' => return character(chars.as_str(), 4, bytes),
        'U' => return character(chars.as_str(), 8, bytes),
        _ => return number(sequence, 3, 8, bytes),
    };
    bytes.push(byte);
    Some(chars.as_str())
}

/// A byte by `digits` digits.
fn number<'a>(text: &'a str, digits: usize, radix: u32, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let (number, rest) = text.split_at_checked(digits)?;
    let is_number = number.chars().all(|digit| digit.is_digit(radix));
    let number = u32::from_str_radix(number, radix).ok().filter(|_| is_number)?;
    bytes.push(u8::try_from(number).ok()?);
    Some(rest)
}

/// A character by `digits` hexadecimal digits.
fn character<'a>(text: &'a str, digits: usize, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let (number, rest) = text.split_at_checked(digits)?;
    let is_number = number.chars().all(|digit| digit.is_ascii_hexdigit());
    let number = u32::from_str_radix(number, 16).ok().filter(|_| is_number)?;
    let character = char::from_u32(number)?;
    bytes.extend(character.encode_utf8(&mut [0; 4]).as_bytes());
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_told_as_text_where_it_is_text() {
        let told = |value: &[u8]| {
            let credential = Credential::new("a.b", value.to_vec()).unwrap();
            String::from_utf8(credential.oem_string()).unwrap()
        };
        assert_eq!(told(b"x = y:z "), "io.systemd.credential:a.b=x = y:z ");
        assert_eq!(told(b""), "io.systemd.credential:a.b=");
        assert_eq!(told(b"key\n"), "io.systemd.credential.binary:a.b=a2V5Cg==");
        assert_eq!(told(b"\0\xff"), "io.systemd.credential.binary:a.b=AP8=");
        assert_eq!(told("ä".as_bytes()), "io.systemd.credential.binary:a.b=w6Q=");
    }

    #[test]
    fn a_name_is_one_that_systemd_takes() {
        let longest = "a".repeat(255);
        for good in ["a", "passwd.hashed-password.root", "with space", "...", &longest] {
            assert!(Credential::new(good, Vec::new()).is_ok(), "{good}");
        }
        let long = "a".repeat(256);
        for bad in ["", ".", "..", "a/b", "a:b", "a=b", "a\n", "ä", "\x7f", &long] {
            assert_eq!(
                Credential::new(bad, Vec::new()),
                Err(Error::Id(bad.to_owned())),
                "{bad:?} must be refused"
            );
        }
    }

    #[test]
    fn a_typed_value_has_the_escape_sequences_of_c() {
        let value = |text: &str| Credential::escaped("a", text).map(|credential| credential.value);
        assert_eq!(value("plain:=text").unwrap(), b"plain:=text");
        assert_eq!(value(r#"\a\b\f\n\r\t\v\s\\\"\'"#).unwrap(), b"\x07\x08\x0c\n\r\t\x0b \\\"'");
        assert_eq!(value(r"\x00\xfF\101\377z").unwrap(), b"\0\xffA\xffz");
        assert_eq!(value(r"\u00e4\U0001F600!").unwrap(), "ä😀!".as_bytes());
        for (bad, escape, at) in [
            (r"ab\q", r"\q", 2),
            (r"\", r"\", 0),
            (r"\x1", r"\x", 0),
            (r"\x+1", r"\x", 0),
            (r"ä\400", r"\4", 2),
            (r"\ud800", r"\u", 0),
            (r"\12ä", r"\1", 0),
        ] {
            let error = Error::Escape { id: "a".to_owned(), escape: escape.to_owned(), at };
            assert_eq!(value(bad), Err(error), "{bad}");
        }
    }

    #[test]
    fn a_credential_that_systemd_would_refuse_for_its_length_is_refused() {
        assert!(Credential::new("a", vec![0; TOTAL_MAX]).is_ok());
        assert_eq!(
            Credential::new("a", vec![0; TOTAL_MAX + 1]).unwrap_err().to_string(),
            "the credential a has 1048577 bytes or more, systemd takes at most 1048576"
        );
    }

    #[test]
    fn a_credential_keeps_its_value_to_itself() {
        let credential = Credential::new("a", b"secret".to_vec()).unwrap();
        assert_eq!(format!("{credential:?}"), "Credential { id: \"a\", .. }");
    }

    #[test]
    fn a_credential_has_its_name_and_no_more_bytes_than_systemd_takes() {
        assert_eq!(Credential::new("a.b", Vec::new()).unwrap().id(), "a.b");
        assert_eq!(Credential::len_max(), 0x10_0000);
    }
}
