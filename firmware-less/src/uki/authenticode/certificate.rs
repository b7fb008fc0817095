//! [`Certificate`]: an X.509 certificate, as far as it matters here.

use std::fmt::{self, Write as _};

use der::{Decode as _, Encode as _, Reader as _, SliceReader, Tag, asn1::ObjectIdentifier};
use thiserror::Error;
use x509_cert::{
    ext::pkix::{BasicConstraints, KeyUsage},
    spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef},
};

use super::{Hash, PublicKey, Scheme, inside, key::KeyError, value};
use crate::{bytes::hex, uki::pem};

const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
/// Critical extensions that change nothing here: what a key is for beside signing
/// certificates, other names, and policies.
const HARMLESS: [ObjectIdentifier; 4] = [
    ObjectIdentifier::new_unwrap("2.5.29.37"),
    ObjectIdentifier::new_unwrap("2.5.29.17"),
    ObjectIdentifier::new_unwrap("2.5.29.18"),
    ObjectIdentifier::new_unwrap("2.5.29.32"),
];
/// The label of a certificate in PEM.
const LABEL: &str = "CERTIFICATE";

/// An X.509 certificate (RFC 5280) whose signature has not been checked.
///
/// The time in which it is valid does not count: firmware and kexec know no time
/// that they could trust, and check none.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    /// What is signed.
    tbs: Vec<u8>,
    scheme: Result<Scheme, ()>,
    signature: Vec<u8>,
    /// The names, as they are encoded.
    subject: Vec<u8>,
    issuer: Vec<u8>,
    /// The serial number, as it is encoded.
    serial: Vec<u8>,
    key: Result<PublicKey, KeyError>,
    may_sign: Result<PathLen, &'static str>,
}

/// How many certificates may come between one and the last, if that is limited.
type PathLen = Option<u8>;

/// Why bytes are no certificate.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Malformed {
    /// Not DER, or not a certificate's.
    #[error("it is no X.509 certificate")]
    Der(#[from] der::Error),
    /// The algorithm is named twice, and not the same.
    #[error("the certificate names two signature algorithms")]
    Algorithms,
    /// No signature in whole bytes.
    #[error("the certificate's signature is not in whole bytes")]
    Signature,
    /// Nothing in the file.
    #[error("there is no certificate in it, neither PEM nor DER")]
    None,
    /// A block that cannot be read.
    #[error("a PEM block has no end, or is not Base64")]
    Pem,
}

impl Certificate {
    /// The certificates in a file: one or more as PEM, or one as DER.
    pub fn load(file: &[u8]) -> Result<Vec<Self>, Malformed> {
        let blocks = pem::contents(file, LABEL).or(Err(Malformed::Pem))?;
        match (blocks.as_slice(), file.first()) {
            ([], Some(0x30)) => Ok(vec![Self::parse(file)?]),
            ([], _) => Err(Malformed::None),
            (blocks, _) => blocks.iter().map(|der| Self::parse(der)).collect(),
        }
    }

    /// The certificate that `der` is, all of it.
    pub fn parse(der: &[u8]) -> Result<Self, Malformed> {
        let mut file = SliceReader::new(der)?;
        let mut outer = inside(&mut file, Tag::Sequence)?;
        file.finish(())?;
        let tbs = outer.tlv_bytes()?;
        let outer_algorithm = outer.tlv_bytes()?;
        let signature = outer.decode::<der::asn1::BitStringRef<'_>>()?;
        outer.finish(())?;
        let signature = signature.as_bytes().ok_or(Malformed::Signature)?;
        let fields = Fields::parse(tbs)?;
        if fields.algorithm != outer_algorithm {
            return Err(Malformed::Algorithms);
        }
        let algorithm = AlgorithmIdentifierRef::from_der(outer_algorithm)?;
        let info = SubjectPublicKeyInfoRef::from_der(fields.key)?;
        // Checks of the rest, and of the form of all.
        x509_cert::Certificate::from_der(der)?;
        Ok(Self {
            der: der.to_vec(),
            tbs: tbs.to_vec(),
            scheme: Scheme::of_certificate(&algorithm).or(Err(())),
            signature: signature.to_vec(),
            subject: fields.subject.to_vec(),
            issuer: fields.issuer.to_vec(),
            serial: fields.serial.to_vec(),
            key: PublicKey::from_info(&info),
            may_sign: may_sign(&fields),
        })
    }

    /// All of it, in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whose it is, in the form of RFC 4514.
    #[must_use]
    pub fn subject(&self) -> String {
        name(&self.subject)
    }

    /// Who signed it, in the form of RFC 4514.
    #[must_use]
    pub fn issuer(&self) -> String {
        name(&self.issuer)
    }

    /// Whether it is the one that its issuer gave that number; both as encoded.
    #[must_use]
    pub(super) fn is(&self, issuer: &[u8], serial: &[u8]) -> bool {
        self.issuer == issuer && self.serial == serial
    }

    /// The digest of what is signed of it, by which deny lists name certificates.
    #[must_use]
    pub fn digest(&self, hash: Hash) -> Vec<u8> {
        let mut hasher = hash.hash();
        hasher.update(&self.tbs);
        hasher.finalize().into()
    }

    /// Checks a signature by its key.
    pub(super) fn verify(
        &self,
        scheme: Scheme,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), KeyError> {
        let key = self.key.as_ref().map_err(|&error| error)?;
        key.verify(scheme, message, signature)
    }

    /// Whether `issuer`'s key signed it, whether or not that was its right.
    #[must_use]
    pub fn is_signed_by(&self, issuer: &Self) -> bool {
        let Ok(scheme) = self.scheme else { return false };
        self.issuer == issuer.subject && issuer.verify(scheme, &self.tbs, &self.signature).is_ok()
    }

    /// Whether it may sign certificates, with `between` others between it and the
    /// last one; or why not.
    pub(super) fn may_sign(&self, between: usize) -> Result<(), &'static str> {
        match self.may_sign? {
            Some(max) if between > usize::from(max) => {
                Err("allows fewer certificates between itself and the signer's")
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate").field(&self.subject()).finish()
    }
}

/// The fields of what is signed, as they are encoded.
struct Fields<'a> {
    is_v3: bool,
    serial: &'a [u8],
    algorithm: &'a [u8],
    issuer: &'a [u8],
    subject: &'a [u8],
    key: &'a [u8],
    extensions: Vec<Extension<'a>>,
}

struct Extension<'a> {
    oid: ObjectIdentifier,
    critical: bool,
    value: &'a [u8],
}

impl<'a> Fields<'a> {
    /// RFC 5280, 4.1.
    fn parse(tbs: &'a [u8]) -> der::Result<Self> {
        let mut reader = inside(&mut SliceReader::new(tbs)?, Tag::Sequence)?;
        let mut is_v3 = false;
        if super::is_next(&reader, super::context(der::TagNumber::N0)) {
            let version = value(&mut reader, super::context(der::TagNumber::N0))?;
            is_v3 = u8::from_der(version)? == 2;
        }
        let serial = reader.tlv_bytes()?;
        let algorithm = reader.tlv_bytes()?;
        let issuer = reader.tlv_bytes()?;
        let _validity = reader.tlv_bytes()?;
        let subject = reader.tlv_bytes()?;
        let key = reader.tlv_bytes()?;
        let mut extensions = Vec::new();
        while !reader.is_finished() {
            if super::is_next(&reader, super::context(der::TagNumber::N3)) {
                let mut list = inside(&mut reader, super::context(der::TagNumber::N3))?;
                let mut list = inside(&mut list, Tag::Sequence)?;
                while !list.is_finished() {
                    extensions.push(Extension::parse(&mut list)?);
                }
            } else {
                reader.tlv_bytes()?;
            }
        }
        Ok(Self { is_v3, serial, algorithm, issuer, subject, key, extensions })
    }

    fn extension(&self, oid: ObjectIdentifier) -> Option<&'a [u8]> {
        self.extensions.iter().find(|extension| extension.oid == oid).map(|found| found.value)
    }
}

impl<'a> Extension<'a> {
    fn parse(list: &mut SliceReader<'a>) -> der::Result<Self> {
        let mut reader = inside(list, Tag::Sequence)?;
        let oid = reader.decode()?;
        let critical = super::is_next(&reader, Tag::Boolean) && reader.decode::<bool>()?;
        let value = value(&mut reader, Tag::OctetString)?;
        reader.finish(Self { oid, critical, value })
    }
}

/// Whether the certificate may sign others. As OpenSSL's `X509_check_ca` has it,
/// which firmware uses: by the basic constraints, or, where there can be none,
/// because it is its own issuer; and if the key's usage is limited, by that.
fn may_sign(fields: &Fields<'_>) -> Result<PathLen, &'static str> {
    let understood = |oid: ObjectIdentifier| {
        oid == BASIC_CONSTRAINTS || oid == KEY_USAGE || HARMLESS.contains(&oid)
    };
    if fields.extensions.iter().any(|one| one.critical && !understood(one.oid)) {
        return Err("has a critical extension that is not understood");
    }
    if let Some(usage) = fields.extension(KEY_USAGE) {
        let usage = KeyUsage::from_der(usage).or(Err("has a key usage that cannot be read"))?;
        if !usage.key_cert_sign() {
            return Err("has a key that is not for signing certificates");
        }
    }
    match fields.extension(BASIC_CONSTRAINTS) {
        Some(value) => {
            let constraints = BasicConstraints::from_der(value)
                .or(Err("has basic constraints that cannot be read"))?;
            if constraints.ca { Ok(constraints.path_len_constraint) } else { Err(NO_CA) }
        }
        None if !fields.is_v3 && fields.subject == fields.issuer => Ok(None),
        None => Err(NO_CA),
    }
}

const NO_CA: &str = "is not a certificate authority's";

/// The name that `der` is, in the form of RFC 4514, fit for a terminal.
pub(super) fn name(der: &[u8]) -> String {
    let Ok(name) = x509_cert::name::Name::from_der(der) else { return "(unreadable)".into() };
    let mut text = String::new();
    // A value that cannot be shown ends the name.
    let _ = write!(text, "{name}");
    if text.is_empty() {
        return "(without a name)".into();
    }
    text.chars().flat_map(escaped).collect()
}

fn escaped(c: char) -> Vec<char> {
    if c.is_control() { c.escape_default().collect() } else { vec![c] }
}

/// The digits of an encoded serial number, in hex.
pub(super) fn serial(der: &[u8]) -> String {
    der::asn1::Int::from_der(der).map(|number| hex(number.as_bytes())).unwrap_or_default()
}

/// `value` under another tag.
pub(super) fn tagged(tag: Tag, value: &[u8]) -> der::Result<Vec<u8>> {
    let header = der::Header::new(tag, der::Length::try_from(value.len())?)?;
    let mut bytes = header.to_der()?;
    bytes.extend(value);
    Ok(bytes)
}

#[cfg(test)]
mod tests;
