//! `Error`: why a file is not accepted as verified.

use std::io;

use thiserror::Error;

use super::{CheckSum, Hash, LayoutError, Malformed, SbatError, key::KeyError};

/// Why a file is not accepted as verified.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read.
    #[error("reading it failed")]
    Read(#[source] io::Error),
    /// A signature cannot cover all of it.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// More than signatures are.
    #[error("the certificate table has {found:#x} bytes, at most {max:#x} are read")]
    TableTooLong {
        /// Its length.
        found: u64,
        /// The most.
        max: u64,
    },
    /// More than anybody makes.
    #[error("there are more than {max} signatures")]
    TooManySignatures {
        /// The most.
        max: usize,
    },
    /// The wrapper around a signature is wrong.
    #[error("the certificate table's entry at {at:#x} {what}")]
    Entry {
        /// Where in the table.
        at: usize,
        /// What about it.
        what: &'static str,
    },
    /// Not DER.
    #[error("the signature is not well-formed PKCS#7")]
    Pkcs7 {
        /// What of it.
        #[from]
        source: der::Error,
    },
    /// Well-formed, but not as Authenticode has it.
    #[error("the signature has {0}")]
    Unexpected(&'static str),
    /// Something that nothing vouches for.
    #[error(
        "the signature has unsigned attributes (a time stamp?), which nothing vouches for: sign \
         without them"
    )]
    UnsignedAttributes,
    /// A hash that can be forged.
    #[error("the signature is by SHA-1, which is no longer accepted: sign with SHA-256")]
    Sha1,
    /// Unknown algorithms.
    #[error("the signature's algorithms are not among RSA and ECDSA with SHA-256, 384 and 512")]
    Unsupported {
        /// In which way.
        #[source]
        source: KeyError,
    },
    /// A certificate in the signature is not one.
    #[error("a certificate in the signature cannot be read")]
    Embedded(#[source] Malformed),
    /// The signer's certificate is missing.
    #[error("the signature does not hold its signer's certificate")]
    NoSigner,
    /// The content is not what was signed.
    #[error("the {hash} digest in the signature's attributes is not that of its content")]
    MessageDigest {
        /// The hash.
        hash: Hash,
    },
    /// The signer's key is of no use.
    #[error("the signature by {signer} can't be checked")]
    SignersKey {
        /// Who it should be.
        signer: String,
        /// Why not.
        #[source]
        source: KeyError,
    },
    /// The signature is not the signer's.
    #[error("the signature is not that of its signer, {signer}")]
    Signature {
        /// Who it should be.
        signer: String,
        /// In which way.
        #[source]
        source: KeyError,
    },
    /// The file is not what was signed.
    #[error(
        "the file was changed after it was signed: its {hash} digest is {found}, {signer} signed \
         {wanted}"
    )]
    Digest {
        /// The hash.
        hash: Hash,
        /// The file's.
        found: String,
        /// The signature's.
        wanted: String,
        /// Who signed it.
        signer: String,
    },
    /// A field that no signature covers was changed.
    #[error(
        "CheckSum is {check_sum}, it should be {:#010x}, or zero: the file was changed after it \
         was signed, or the tool that did so left it stale", check_sum.computed
    )]
    CheckSum {
        /// What it is, and should be.
        check_sum: CheckSum,
    },
    /// Its digest is on a deny list.
    #[error("its {hash} digest {digest} is on a deny list")]
    DeniedImage {
        /// The hash.
        hash: Hash,
        /// The digest.
        digest: String,
    },
    /// A signature leads to a certificate on a deny list.
    #[error("the certificate of {subject}, to which a signature leads, is on a deny list")]
    DeniedCertificate {
        /// Whose.
        subject: String,
    },
    /// There is no signature, and its digest is not allowed either.
    #[error("it is not signed, and its sha256 digest {digest} is not allowed either")]
    Unsigned {
        /// The digest.
        digest: String,
    },
    /// Nobody trusted signed it.
    #[error("it is signed by {signer}, which leads to none of the certificates given{}", why(.refused.as_deref()))]
    Untrusted {
        /// Who signed it, all of them.
        signer: String,
        /// A certificate on the way that may not be there.
        refused: Option<String>,
    },
    /// A certificate that could be any other.
    #[error(
        "the signature holds the certificate of {subject}, which none of the others, nor any that \
         was given, vouches for"
    )]
    Unvouched {
        /// Whose.
        subject: String,
    },
    /// Its generation is too old, or it has none.
    #[error(transparent)]
    Sbat(#[from] SbatError),
}

fn why(refused: Option<&str>) -> String {
    refused.map(|refused| format!(": {refused}")).unwrap_or_default()
}
