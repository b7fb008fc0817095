//! [`Credential`]: a file for `/.extra/credentials`.

use std::fmt;

use thiserror::Error;

/// The most that systemd reads of an encrypted credential: 1 MiB, and 128 KiB for
/// its own wrapping. `src/shared/creds-util.h`, `CREDENTIAL_ENCRYPTED_SIZE_MAX`.
pub const CREDENTIAL_MAX: u64 = (1 << 20) + (128 << 10);

/// A credential for the system in the UKI, with a name that the stub would take.
///
/// What comes by this way systemd takes as encrypted, since anybody can write to
/// the partition that the stub finds it in. `systemd-stub(7)`.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    name: String,
    content: Vec<u8>,
}

/// Why a file is not taken as a credential.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The stub would pass it by.
    #[error(
        "the name {0:?} is not one that systemd-stub takes for a credential's: ASCII, at most 255 \
         characters, no dot at its beginning, .cred at its end"
    )]
    Name(String),
    /// systemd would refuse it.
    #[error("the credential has {found:#x} bytes, systemd takes at most {CREDENTIAL_MAX:#x}")]
    TooLong {
        /// Its length.
        found: u64,
    },
}

impl Credential {
    /// A file of that name, without its folder.
    pub fn new(name: &str, content: Vec<u8>) -> Result<Self, Error> {
        if !is_taken_by_the_stub(name, ".cred") {
            return Err(Error::Name(name.to_owned()));
        }
        let found = content.len() as u64;
        if found > CREDENTIAL_MAX {
            return Err(Error::TooLong { found });
        }
        Ok(Self { name: name.to_owned(), content })
    }

    pub(super) fn file(&self) -> (&str, &[u8]) {
        (&self.name, &self.content)
    }
}

/// Shows no content: it may be a secret.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Whether the stub would take a file of that name, in the folder beside the
/// UKI, for one of those whose names end in `suffix`. `src/boot/stub.c`,
/// `load_addons_from_dir`, and `src/boot/cpio.c`, `pack_cpio`.
#[must_use]
pub fn is_taken_by_the_stub(name: &str, suffix: &str) -> bool {
    let stem = name.len().checked_sub(suffix.len());
    let end = stem.and_then(|stem| name.get(stem..));
    name.is_ascii()
        && name.len() <= 255
        && !name.starts_with('.')
        && end.is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filtered_as_the_stub_filters_them() {
        for good in ["a.cred", "A.CRED", "passwd.hashed-password.root.cred"] {
            assert!(is_taken_by_the_stub(good, ".cred"), "{good}");
        }
        let long = format!("{}.cred", "a".repeat(251));
        for bad in [".cred", ".a.cred", "a.crede", "cred", "é.cred", "a.creé", "", &long] {
            assert!(!is_taken_by_the_stub(bad, ".cred"), "{bad}");
        }
        assert!(is_taken_by_the_stub("50-debug.Addon.EFI", ".addon.efi"));
    }

    #[test]
    fn a_credential_has_a_name_and_a_length_that_systemd_takes() {
        assert!(Credential::new("a.cred", vec![0; 0x12_0000]).is_ok());
        assert_eq!(
            Credential::new("a.cred", vec![0; 0x12_0001]).unwrap_err().to_string(),
            "the credential has 0x120001 bytes, systemd takes at most 0x120000"
        );
        let error = Credential::new("a.txt", Vec::new()).unwrap_err().to_string();
        assert!(error.contains("the name \"a.txt\" is not one"), "{error}");
    }

    #[test]
    fn a_credential_keeps_its_content_to_itself() {
        let credential = Credential::new("a.cred", b"secret".to_vec()).unwrap();
        assert_eq!(format!("{credential:?}"), "Credential { name: \"a.cred\", .. }");
    }
}
