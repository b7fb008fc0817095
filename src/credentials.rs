//! What the system in the guest is told: the user's options as credentials, and
//! those as SMBIOS strings.

use std::path::Path;

use firmware_less::{
    read_at::fetch_prefix,
    smbios::{Credential, CredentialError, OemStrings},
};
use thiserror::Error;

use crate::{cli::SystemOptions, devices::virtio::vsock, error::Error, job::open, readiness};

/// Why the system can't be told what it is to be told.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Unusable {
    /// systemd would not take it.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// It is no public key.
    #[error("is no public key for ssh: {found}; give the file that ends in .pub")]
    SshKey {
        /// What it is instead.
        found: &'static str,
    },
}

/// Names that options stand for. systemd.system-credentials(7).
mod id {
    pub(super) const HOSTNAME: &str = "system.hostname";
    pub(super) const AUTHORIZED_KEYS: &str = "ssh.authorized_keys.root";
    pub(super) const PLAINTEXT_PASSWORD: &str = "passwd.plaintext-password.root";
    pub(super) const NOTIFY_SOCKET: &str = "vmm.notify_socket";
    pub(super) const HASHED_PASSWORD: &str = "passwd.hashed-password.root";
}

/// The strings that tell all that `options` want told; reads the files they name.
pub fn oem_strings(options: &SystemOptions) -> Result<OemStrings, Error> {
    let mut strings = OemStrings::default();
    let mut told: Vec<String> = Vec::new();
    for credential in credentials(options)? {
        if told.iter().any(|id| id == credential.id()) {
            return Err(Error::CredentialTwice { id: credential.id().to_owned() });
        }
        told.push(credential.id().to_owned());
        let told = strings.push(credential.oem_string());
        told.unwrap_or_else(|error| unreachable!("a name, and text or Base64: {error}"));
    }
    Ok(strings)
}

fn credentials(options: &SystemOptions) -> Result<Vec<Credential>, Error> {
    let mut all = options.set_credential.clone();
    for loaded in &options.load_credential {
        all.push(credential(&loaded.id, content(&loaded.path)?, &loaded.path)?);
    }
    if let Some(hostname) = &options.hostname {
        all.push(given(id::HOSTNAME, hostname));
    }
    let mut keys = Vec::new();
    for path in &options.ssh_key {
        keys.extend(public_keys(path)?);
    }
    if let Some(path) = options.ssh_key.first() {
        all.push(credential(id::AUTHORIZED_KEYS, keys, path)?);
    }
    match options.root_password.as_deref().map(|text| (text, text.strip_prefix("hashed:"))) {
        Some((_, Some(hash))) => all.push(given(id::HASHED_PASSWORD, hash)),
        Some((text, None)) => all.push(given(id::PLAINTEXT_PASSWORD, text)),
        None => {}
    }
    if options.notify {
        let socket = format!("vsock-stream:{}:{}", vsock::HOST, readiness::PORT);
        all.push(given(id::NOTIFY_SOCKET, &socket));
    }
    Ok(all)
}

/// A credential of what the user typed: shorter than any limit.
fn given(id: &'static str, value: &str) -> Credential {
    Credential::new(id, value.as_bytes().to_vec())
        .unwrap_or_else(|error| unreachable!("a name of ours, an argument's length: {error}"))
}

fn credential(id: &str, value: Vec<u8>, path: &Path) -> Result<Credential, Error> {
    Credential::new(id, value)
        .map_err(|source| Error::System { path: path.to_owned(), source: source.into() })
}

/// The file's content, or one byte more of it than any credential has.
fn content(path: &Path) -> Result<Vec<u8>, Error> {
    let file = open(path)?;
    fetch_prefix(&file, Credential::len_max().saturating_add(1))
        .map_err(|source| Error::Read { path: path.to_owned(), source })
}

/// The lines of a file of public keys, ended by a line feed.
fn public_keys(path: &Path) -> Result<Vec<u8>, Error> {
    let mut content = content(path)?;
    let text = String::from_utf8_lossy(&content);
    let found = if text.contains("PRIVATE KEY-----") {
        Some("it is a private key")
    } else if text.contains('\u{fffd}') || text.contains('\0') {
        Some("it is not text")
    } else if !text.lines().any(|line| line.trim_start().contains(' ')) {
        Some("it has no line with a key's type and the key")
    } else {
        None
    };
    if let Some(found) = found {
        let source = Unusable::SshKey { found };
        return Err(Error::System { path: path.to_owned(), source });
    }
    if !content.ends_with(b"\n") {
        content.push(b'\n');
    }
    Ok(content)
}
