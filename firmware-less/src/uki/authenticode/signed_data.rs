//! [`SignedData`]: one signature, taken apart.

use der::{
    Decode as _, Reader as _, SliceReader, Tag, TagNumber,
    asn1::{ObjectIdentifier, OctetStringRef},
};
use x509_cert::spki::AlgorithmIdentifierRef;

use super::{
    Certificate, Error, Hash, Scheme,
    certificate::tagged,
    context, inside, is_next,
    key::{self, KeyError},
    value,
};

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const SPC_INDIRECT_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.4");
const SPC_PE_IMAGE_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.15");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
/// The version of both structures that PKCS#7 (RFC 2315) defines.
const VERSION: u8 = 1;

/// The most certificates in a signature: each may be tried with each.
const CERTIFICATES_MAX: usize = 32;

/// A PKCS#7 SignedData with Authenticode's content, and nothing in it that is not
/// looked at.
///
/// RFC 2315, 9; "Windows Authenticode Portable Executable Signature Format". Every
/// byte is either signed, or what this expects: so there are exactly one digest
/// algorithm and one signer, no revocation lists and no unsigned attributes.
#[derive(Debug)]
pub(super) struct SignedData {
    pub certificates: Vec<Certificate>,
    /// The hash that the content's digest is by, and that digest.
    pub image: (Hash, Vec<u8>),
    /// The signer's certificate, by name and number, as encoded.
    pub issuer: Vec<u8>,
    pub serial: Vec<u8>,
    /// The hash that the signer used.
    hash: Hash,
    scheme: Scheme,
    /// What is signed: the attributes, under the tag that they are signed with.
    attributes: Vec<u8>,
    signature: Vec<u8>,
    /// What the attributes say that the content's digest is, and what it is.
    message_digest: (Vec<u8>, Vec<u8>),
}

impl SignedData {
    /// Takes one entry of the certificate table apart.
    pub(super) fn parse(entry: &[u8]) -> Result<Self, Error> {
        let mut file = SliceReader::new(entry)?;
        let mut info = inside(&mut file, Tag::Sequence)?;
        expect_oid(&mut info, SIGNED_DATA, "another content than PKCS#7 SignedData")?;
        let mut explicit = inside(&mut info, context(TagNumber::N0))?;
        let mut data = inside(&mut explicit, Tag::Sequence)?;
        for done in [file, info, explicit] {
            done.finish(())?;
        }
        expect_version(&mut data)?;
        let hash = only_hash(inside(&mut data, Tag::Set)?)?;
        let content = content(inside(&mut data, Tag::Sequence)?)?;
        let image = image_digest(content)?;
        let mut certificates = Vec::new();
        if is_next(&data, context(TagNumber::N0)) {
            let mut all = inside(&mut data, context(TagNumber::N0))?;
            while !all.is_finished() {
                certificates.push(Certificate::parse(all.tlv_bytes()?).map_err(Error::Embedded)?);
                if certificates.len() > CERTIFICATES_MAX {
                    return Err(Error::Unexpected("more than 32 certificates"));
                }
            }
        }
        if is_next(&data, context(TagNumber::N1)) {
            return Err(Error::Unexpected("revocation lists"));
        }
        let mut signers = inside(&mut data, Tag::Set)?;
        data.finish(())?;
        let signer = Signer::parse(inside(&mut signers, Tag::Sequence)?, hash)?;
        if !signers.is_finished() {
            return Err(Error::Unexpected("more than one signer"));
        }
        let mut hasher = hash.hash();
        hasher.update(content);
        Ok(Self {
            certificates,
            image,
            issuer: signer.issuer.to_vec(),
            serial: signer.serial.to_vec(),
            hash,
            scheme: signer.scheme,
            attributes: tagged(Tag::Set, signer.attributes)?,
            signature: signer.signature.to_vec(),
            message_digest: (signer.message_digest.to_vec(), hasher.finalize().into()),
        })
    }

    /// The certificate of the signer, which must be in the signature.
    pub(super) fn signer(&self) -> Option<&Certificate> {
        self.certificates.iter().find(|one| one.is(&self.issuer, &self.serial))
    }

    /// Checks that the signer signed the content, whoever that is.
    pub(super) fn verify(&self) -> Result<&Certificate, Error> {
        let signer = self.signer().ok_or(Error::NoSigner)?;
        if self.message_digest.0 != self.message_digest.1 {
            return Err(Error::MessageDigest { hash: self.hash });
        }
        let subject = || signer.subject();
        match signer.verify(self.scheme, &self.attributes, &self.signature) {
            Ok(()) => Ok(signer),
            Err(source @ (KeyError::Kind | KeyError::RsaBits { .. })) => {
                Err(Error::SignersKey { signer: subject(), source })
            }
            Err(source) => Err(Error::Signature { signer: subject(), source }),
        }
    }
}

/// What a SignerInfo holds.
struct Signer<'a> {
    issuer: &'a [u8],
    serial: &'a [u8],
    scheme: Scheme,
    attributes: &'a [u8],
    signature: &'a [u8],
    message_digest: &'a [u8],
}

impl<'a> Signer<'a> {
    fn parse(mut info: SliceReader<'a>, hash: Hash) -> Result<Self, Error> {
        expect_version(&mut info)?;
        let mut id = inside(&mut info, Tag::Sequence)?;
        let (issuer, serial) = (id.tlv_bytes()?, id.tlv_bytes()?);
        id.finish(())?;
        let own = info.decode::<AlgorithmIdentifierRef<'_>>()?;
        if key::hash(&own) != Some(hash) {
            return Err(Error::Unexpected("two digest algorithms"));
        }
        if !is_next(&info, context(TagNumber::N0)) {
            return Err(Error::Unexpected("no signed attributes"));
        }
        let attributes = value(&mut info, context(TagNumber::N0))?;
        let algorithm = info.decode::<AlgorithmIdentifierRef<'_>>()?;
        let scheme = Scheme::of_signer(&algorithm, hash).map_err(unsupported)?;
        let signature = value(&mut info, Tag::OctetString)?;
        if !info.is_finished() {
            return Err(Error::UnsignedAttributes);
        }
        let message_digest = message_digest(attributes)?;
        Ok(Self { issuer, serial, scheme, attributes, signature, message_digest })
    }
}

fn unsupported(source: KeyError) -> Error {
    Error::Unsupported { source }
}

/// The content's digest, as the signed attributes have it; they must also say of
/// what type the content is.
fn message_digest(attributes: &[u8]) -> Result<&[u8], Error> {
    let mut reader = SliceReader::new(attributes)?;
    let (mut types, mut digests) = (Vec::new(), Vec::new());
    while !reader.is_finished() {
        let mut attribute = inside(&mut reader, Tag::Sequence)?;
        let oid = attribute.decode::<ObjectIdentifier>()?;
        let mut values = inside(&mut attribute, Tag::Set)?;
        attribute.finish(())?;
        match oid {
            CONTENT_TYPE => types.push(values.decode::<ObjectIdentifier>()?),
            MESSAGE_DIGEST => digests.push(value(&mut values, Tag::OctetString)?),
            _ => continue,
        }
        values.finish(())?;
    }
    match (types.as_slice(), digests.as_slice()) {
        ([SPC_INDIRECT_DATA], [digest]) => Ok(digest),
        _ => Err(Error::Unexpected("signed attributes that do not name its content once")),
    }
}

/// The one digest algorithm that there may be.
fn only_hash(mut set: SliceReader<'_>) -> Result<Hash, Error> {
    let algorithm = set.decode::<AlgorithmIdentifierRef<'_>>()?;
    if !set.is_finished() {
        return Err(Error::Unexpected("more than one digest algorithm"));
    }
    strong_hash(&algorithm)
}

/// The hash, unless it is unknown or too weak.
fn strong_hash(algorithm: &AlgorithmIdentifierRef<'_>) -> Result<Hash, Error> {
    match key::hash(algorithm) {
        Some(Hash::Sha1) => Err(Error::Sha1),
        Some(hash) => Ok(hash),
        None => Err(Error::Unsupported { source: KeyError::Mismatch }),
    }
}

/// What is signed: the value of an SpcIndirectDataContent. Its tag and length are
/// not (RFC 2315, 9.3).
fn content(mut info: SliceReader<'_>) -> Result<&[u8], Error> {
    expect_oid(&mut info, SPC_INDIRECT_DATA, "another content than Authenticode's")?;
    let mut explicit = inside(&mut info, context(TagNumber::N0))?;
    let content = value(&mut explicit, Tag::Sequence)?;
    explicit.finish(())?;
    info.finish(())?;
    Ok(content)
}

/// The image's digest in the content.
fn image_digest(content: &[u8]) -> Result<(Hash, Vec<u8>), Error> {
    let mut reader = SliceReader::new(content)?;
    let mut data = inside(&mut reader, Tag::Sequence)?;
    expect_oid(&mut data, SPC_PE_IMAGE_DATA, "the digest of something else than a PE file")?;
    let mut info = inside(&mut reader, Tag::Sequence)?;
    reader.finish(())?;
    let hash = strong_hash(&info.decode()?)?;
    let digest = OctetStringRef::decode(&mut info)?.as_bytes().to_vec();
    info.finish(())?;
    Ok((hash, digest))
}

fn expect_oid(
    reader: &mut SliceReader<'_>,
    wanted: ObjectIdentifier,
    otherwise: &'static str,
) -> Result<(), Error> {
    let found = reader.decode::<ObjectIdentifier>()?;
    if found == wanted { Ok(()) } else { Err(Error::Unexpected(otherwise)) }
}

fn expect_version(reader: &mut SliceReader<'_>) -> Result<(), Error> {
    let found = reader.decode::<u8>()?;
    if found == VERSION { Ok(()) } else { Err(Error::Unexpected("another version than 1")) }
}
