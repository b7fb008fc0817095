//! Options that tell the system in the guest what it is to be, by systemd's
//! credentials.

use std::path::PathBuf;

use clap::Args;
use firmware_less::smbios::Credential;

/// What the system is told, by SMBIOS strings that systemd looks for.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "What the system is told")]
pub struct SystemOptions {
    /// Set a credential, with the escape sequences of C; may be repeated
    ///
    /// As systemd-vmspawn(1) has it. Whoever may list this host's processes sees the value: secrets
    /// are better loaded.
    #[arg(long, value_name = "ID:VALUE", value_parser = set)]
    pub set_credential: Vec<Credential>,

    /// Set a credential to the content of a file; may be repeated
    #[arg(long, value_name = "ID:PATH", value_parser = load)]
    pub load_credential: Vec<LoadCredential>,

    /// Give the system a name, where it has none in /etc/hostname (credential system.hostname)
    #[arg(long, value_name = "NAME", value_parser = hostname)]
    pub hostname: Option<String>,

    /// Let who has the private key log in as root by ssh; FILE is a public key, or several; may be
    /// repeated (credential ssh.authorized_keys.root)
    #[arg(long, value_name = "FILE")]
    pub ssh_key: Vec<PathBuf>,

    /// Set root's password, where it has none: as it is, or hashed behind `hashed:` (credential
    /// passwd.plaintext-password.root or passwd.hashed-password.root)
    #[arg(long, value_name = "TEXT")]
    pub root_password: Option<String>,

    /// Have the system say when it is ready, which units are active, and with what status it ends
    /// (credential vmm.notify_socket)
    ///
    /// By a vsock device. That status, where there is one, is the guest's own, as if it were
    /// written to the exit port.
    #[arg(long)]
    pub notify: bool,
}

impl SystemOptions {
    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { set_credential, load_credential, hostname, ssh_key, root_password, notify } =
            self;
        set_credential.is_empty()
            && load_credential.is_empty()
            && ssh_key.is_empty()
            && hostname.is_none()
            && root_password.is_none()
            && !notify
    }
}

/// `--load-credential`: a credential whose value is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadCredential {
    /// Its name, not yet checked by the file's content.
    pub id: String,
    /// Where the value is.
    pub path: PathBuf,
}

fn set(text: &str) -> Result<Credential, String> {
    let (id, value) = text.split_once(':').ok_or("give ID:VALUE, with a colon between")?;
    Credential::escaped(id, value).map_err(|error| error.to_string())
}

fn load(text: &str) -> Result<LoadCredential, String> {
    let (id, path) = text.split_once(':').ok_or("give ID:PATH, with a colon between")?;
    Credential::new(id, Vec::new()).map_err(|error| error.to_string())?;
    if path.is_empty() {
        return Err("there is no path behind the colon".into());
    }
    Ok(LoadCredential { id: id.to_owned(), path: path.into() })
}

/// A name that Linux and systemd take. systemd's `src/basic/hostname-util.c`,
/// `hostname_is_valid`.
fn hostname(text: &str) -> Result<String, String> {
    /// `HOST_NAME_MAX` of `<limits.h>`.
    const MAX: usize = 64;
    let is_label = |label: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let ends_plainly = !label.starts_with('-') && !label.ends_with('-');
        !label.is_empty() && ends_plainly && label.bytes().all(is_plain)
    };
    if text.len() <= MAX && text.split('.').all(is_label) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "need at most {MAX} characters: letters, digits, - and _ in parts joined by dots, no \
             part empty or with - at an end"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_an_id_and_a_value_with_a_colon_between() {
        assert_eq!(set("a:b:c").unwrap(), Credential::new("a", b"b:c".to_vec()).unwrap());
        assert_eq!(set(r"a:\x00\n").unwrap(), Credential::new("a", b"\0\n".to_vec()).unwrap());
        assert_eq!(set("a").unwrap_err(), "give ID:VALUE, with a colon between");
        assert!(set("a=b:c").unwrap_err().starts_with("\"a=b\" is no name of a credential"));
        assert!(set(r"a:\q").unwrap_err().contains(r#""\\q" at 0, which is no escape sequence"#));
    }

    #[test]
    fn a_credential_is_loaded_from_what_is_behind_the_first_colon() {
        let loaded = LoadCredential { id: "a".into(), path: "/b:c".into() };
        assert_eq!(load("a:/b:c"), Ok(loaded));
        assert_eq!(load("a:").unwrap_err(), "there is no path behind the colon");
        assert!(load("/etc/passwd").is_err());
        assert!(load(":x").is_err());
    }

    #[test]
    fn a_hostname_is_one_that_systemd_takes() {
        let longest = "a".repeat(64);
        for good in ["a", "web-1.example", "A_b", &longest] {
            assert_eq!(hostname(good), Ok(good.to_owned()));
        }
        let long = "a".repeat(65);
        for bad in ["", ".", "a..b", "-a", "a-", "a b", "ä", "a.", &long] {
            assert!(hostname(bad).is_err(), "{bad}");
        }
    }
}
