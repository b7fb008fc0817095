//! Whom a job's files must come from, and whom they came from.

use std::path::{Path, PathBuf};

use firmware_less::{
    read_at::fetch_prefix,
    uki::{
        Headers,
        authenticode::{
            self, Certificate, Denied, Grounds, Layout, ListError, Malformed, SbatError, SbatLevel,
            Trust, Verified,
        },
    },
};
use serde::Serialize;
use thiserror::Error;

use crate::{cli::VerifyOptions, digest::hex, error::Error, files::OpenFile};

/// The longest file of certificates, digests or generations that is read.
const MAX: u64 = 4 << 20;

/// Why a file that says what to trust can't be used.
#[derive(Debug, Error)]
pub enum TrustError {
    /// Longer than any of them is.
    #[error("it is longer than {MAX:#x} bytes")]
    TooLong,
    /// Not certificates.
    #[error(transparent)]
    Certificate(#[from] Malformed),
    /// Not a list.
    #[error(transparent)]
    List(#[from] ListError),
    /// Not generations.
    #[error(transparent)]
    Sbat(#[from] SbatError),
    /// Neither a digest nor a file.
    #[error("there is no such file, and it is no SHA-256 digest, which has 64 hex digits")]
    NoDigest,
}

/// What the options say that is to be trusted; `None` if they say nothing.
pub fn trust(options: &VerifyOptions) -> Result<Option<Trust>, Error> {
    if options.verify.is_empty() && options.allow_hash.is_empty() {
        return match (options.dbx.as_slice(), &options.sbat_level) {
            ([], None) => Ok(None),
            ([_, ..], _) => Err(Error::NothingTrusted { option: "--dbx" }),
            ([], Some(_)) => Err(Error::NothingTrusted { option: "--sbat-level" }),
        };
    }
    let mut trust = Trust::default();
    for path in &options.verify {
        trust.certificates.extend(parsed(path, |file| Ok(Certificate::load(file)?))?);
    }
    for path in &options.allow_hash {
        let is_digest = path.to_str().is_some_and(|text| trust.allow_hex(text));
        if !is_digest {
            if !path.exists() {
                return Err(Error::Trust { path: path.clone(), source: TrustError::NoDigest });
            }
            parsed(path, |file| Ok(trust.allow(file)?))?;
        }
    }
    for path in &options.dbx {
        trust.denied.extend(parsed(path, |file| Ok(Denied::parse(file)?))?);
    }
    let level = |path: &PathBuf| parsed(path, |file| Ok(SbatLevel::parse(file)?));
    trust.sbat_level = options.sbat_level.as_ref().map(level).transpose()?;
    Ok(Some(trust))
}

fn parsed<T>(path: &Path, parse: impl FnOnce(&[u8]) -> Result<T, TrustError>) -> Result<T, Error> {
    let file =
        OpenFile::open(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    // One byte more than there may be, so that it shows.
    let bytes = fetch_prefix(&file, MAX.saturating_add(1))
        .map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let result = if bytes.len() as u64 > MAX { Err(TrustError::TooLong) } else { parse(&bytes) };
    result.map_err(|source| Error::Trust { path: path.to_owned(), source })
}

/// Checks what can be told of `file` by its headers: so that no copy is made of one
/// that is refused anyway, and may be long and hollow.
pub fn check_layout(file: &OpenFile) -> Result<(), Error> {
    let path = || file.path.clone();
    let headers = Headers::read(file).map_err(|source| Error::Uki { path: path(), source })?;
    let layout = Layout::read(file, &headers);
    layout.map(drop).map_err(|source| Error::Verify { path: path(), source: source.into() })
}

/// Verifies `file`, which must be private: nobody can change it any more.
pub fn verify(file: &OpenFile, trust: &Trust) -> Result<Origin, Error> {
    let refused = |source| Error::Verify { path: file.path.clone(), source };
    let headers =
        Headers::read(file).map_err(|source| Error::Uki { path: file.path.clone(), source })?;
    let verified = trust.verify(file, &headers).map_err(refused)?;
    Ok(Origin::new(&file.path, verified))
}

/// What was verified of a file.
#[derive(Clone, Debug, Serialize)]
pub struct Origin {
    /// As the user named it, or as it was found.
    pub file: String,
    /// `signature` or `digest`.
    pub by: &'static str,
    /// Whose signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// The certificate given to which it leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The hash that the digest is by.
    pub hash: &'static str,
    /// The Authenticode digest, in hex.
    pub digest: String,
}

impl Origin {
    fn new(path: &Path, verified: Verified) -> Self {
        let (by, signer, certificate) = match verified.grounds {
            Grounds::Signed { signer, certificate } => {
                ("signature", Some(signer), Some(certificate))
            }
            Grounds::Allowed => ("digest", None, None),
        };
        Self {
            file: path.display().to_string(),
            by,
            signer,
            certificate,
            hash: verified.hash.as_str(),
            digest: hex(&verified.digest),
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { file, hash, digest, .. } = self;
        match (&self.signer, &self.certificate) {
            (Some(signer), Some(anchor)) if signer == anchor => {
                write!(f, "{file} verified: signed by {signer}, whose certificate was given")?;
            }
            (Some(signer), Some(anchor)) => {
                write!(f, "{file} verified: signed by {signer}, who leads to {anchor}")?;
            }
            _ => write!(f, "{file} verified: its digest is allowed")?,
        }
        write!(f, " ({hash} {digest})")
    }
}

/// Whether verifying failed only because the file can't be read.
#[must_use]
pub fn is_io(error: &authenticode::Error) -> bool {
    matches!(
        error,
        authenticode::Error::Read(_)
            | authenticode::Error::Layout(authenticode::LayoutError::Read(_))
            | authenticode::Error::Sbat(SbatError::Read(_))
    )
}
