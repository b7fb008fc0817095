//! Certificates and signatures for tests, made here and not by any tool.

use std::slice::from_ref;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair,
    SigningKey as _,
};
use sha2::{Digest as _, Sha256};

use super::put;
use crate::uki::{
    Headers,
    authenticode::{Digests, Hash, Layout},
};

/// Somebody with a key and a certificate.
#[derive(Debug)]
pub struct Signatory {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Signatory {
    /// One whose certificate is its own, and a certificate authority's.
    #[must_use]
    pub fn root(name: &str) -> Self {
        let (params, key) = (params(name, true), key());
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// One whose certificate this one signed, as that of an authority.
    #[must_use]
    pub fn authority(&self, name: &str) -> Self {
        self.certify(params(name, true))
    }

    /// One whose certificate this one signed, as nobody's who may sign others.
    #[must_use]
    pub fn signer(&self, name: &str) -> Self {
        self.certify(params(name, false))
    }

    /// One whose certificate this one signed, whatever it says.
    #[must_use]
    pub fn certify(&self, params: CertificateParams) -> Self {
        let key = key();
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// The certificate.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        self.certificate.der()
    }

    /// The certificate.
    #[must_use]
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.issuer.key().sign(message).expect("a signature")
    }
}

/// The parameters of a certificate.
#[must_use]
pub fn params(name: &str, is_authority: bool) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca =
        if is_authority { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
    params
}

fn key() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key")
}

/// The parts of a PKCS#7 signature, each encoded, to be made wrong.
#[derive(Clone, Debug)]
pub struct Pkcs7 {
    /// The INTEGER.
    pub version: Vec<u8>,
    /// The AlgorithmIdentifier of the digests.
    pub hash: Vec<u8>,
    /// The value of the SpcIndirectDataContent.
    pub content: Vec<u8>,
    /// The certificates.
    pub certificates: Vec<Vec<u8>>,
    /// What follows the certificates.
    pub revocations: Vec<u8>,
    /// The signed attributes.
    pub attributes: Vec<Vec<u8>>,
    /// The AlgorithmIdentifier of the signature.
    pub scheme: Vec<u8>,
    /// What follows the signature.
    pub unsigned: Vec<u8>,
}

/// `file` signed by `signer`, who adds the certificates of `others`.
#[must_use]
pub fn signed(file: &[u8], signer: &Signatory, others: &[&Signatory]) -> Vec<u8> {
    signed_but(file, signer, others, |_| {})
}

/// The same, after `edit` has changed what is signed.
#[must_use]
pub fn signed_but(
    file: &[u8],
    signer: &Signatory,
    others: &[&Signatory],
    edit: impl FnOnce(&mut Pkcs7),
) -> Vec<u8> {
    let mut parts = Pkcs7::of(file, signer, others);
    edit(&mut parts);
    with_entries(file, &[parts.build(signer)])
}

/// `file` with these PKCS#7 structures as its certificate table, in place of any
/// that it has, and the checksum that it should have.
#[must_use]
pub fn with_entries(file: &[u8], entries: &[Vec<u8>]) -> Vec<u8> {
    let mut file = unsigned(file);
    file.resize(file.len().next_multiple_of(8), 0);
    let start = file.len();
    for entry in entries {
        let length = u32::try_from(entry.len() + 8).expect("a short signature");
        file.extend(length.to_le_bytes());
        file.extend([0, 2, 2, 0]);
        file.extend(entry);
        file.resize(file.len().next_multiple_of(8), 0);
    }
    let size = file.len() - start;
    let optional = usize::try_from(headers(&file).optional_header).expect("a short file");
    let number = |value: usize| u32::try_from(value).expect("a short file").to_le_bytes();
    put(&mut file, optional + 144, &[number(start), number(size)].concat());
    with_check_sum(file)
}

/// `file` with the checksum that it should have.
#[must_use]
pub fn with_check_sum(mut file: Vec<u8>) -> Vec<u8> {
    let layout = Layout::read(&file, &headers(&file)).expect("a file without gaps");
    let sum = Digests::read(&file, &layout, &[]).expect("a whole file").check_sum;
    let at = usize::try_from(layout.check_sum.offset()).expect("a short file");
    put(&mut file, at, &sum.computed.to_le_bytes());
    file
}

/// `file` without its signatures.
fn unsigned(file: &[u8]) -> Vec<u8> {
    let layout = Layout::read(&file, &headers(file)).expect("a file without gaps");
    let mut file = file.to_vec();
    if !layout.table.is_empty() {
        file.truncate(usize::try_from(layout.table.offset()).expect("a short file"));
        put(&mut file, usize::try_from(layout.directory.offset()).expect("a short file"), &[0; 8]);
    }
    file
}

fn headers(file: &[u8]) -> Headers {
    Headers::read(file).expect("a PE file")
}

impl Pkcs7 {
    /// The right ones.
    #[must_use]
    pub fn of(file: &[u8], signer: &Signatory, others: &[&Signatory]) -> Self {
        let mut file = unsigned(file);
        file.resize(file.len().next_multiple_of(8), 0);
        let layout = Layout::read(&file, &headers(&file)).expect("a file without gaps");
        let digests = Digests::read(&file, &layout, &[Hash::Sha256]).expect("a whole file");
        let digest = digests.get(Hash::Sha256).expect("the one asked for");
        let hash = tlv(0x30, &[oid(SHA256), tlv(5, &[])]);
        let certificates = [&[signer], others].concat();
        let content = content(&hash, digest);
        Self {
            version: tlv(2, &[vec![1]]),
            attributes: attributes(&content),
            hash,
            content,
            certificates: certificates.iter().map(|one| one.der().to_vec()).collect(),
            revocations: Vec::new(),
            scheme: tlv(0x30, &[oid(ECDSA_SHA256)]),
            unsigned: Vec::new(),
        }
    }

    /// The whole, signed by `signer`.
    #[must_use]
    pub fn build(&self, signer: &Signatory) -> Vec<u8> {
        let signature = tlv(4, &[signer.sign(&tlv(0x31, &self.attributes))]);
        let (issuer, serial) = name_and_number(signer.der());
        let info = [
            self.version.clone(),
            tlv(0x30, &[issuer, serial]),
            self.hash.clone(),
            tlv(0xa0, &self.attributes),
            self.scheme.clone(),
            signature,
            self.unsigned.clone(),
        ];
        let content = tlv(0xa0, &[tlv(0x30, from_ref(&self.content))]);
        let data = [
            self.version.clone(),
            tlv(0x31, from_ref(&self.hash)),
            tlv(0x30, &[oid(SPC_INDIRECT_DATA), content]),
            tlv(0xa0, &self.certificates),
            self.revocations.clone(),
            tlv(0x31, &[tlv(0x30, &info)]),
        ];
        tlv(0x30, &[oid(SIGNED_DATA), tlv(0xa0, &[tlv(0x30, &data)])])
    }
}

/// The signed attributes for that content.
#[must_use]
pub fn attributes(content: &[u8]) -> Vec<Vec<u8>> {
    let attribute = |name, value| tlv(0x30, &[oid(name), tlv(0x31, &[value])]);
    let digest = tlv(4, &[Sha256::digest(content).to_vec()]);
    vec![attribute(CONTENT_TYPE, oid(SPC_INDIRECT_DATA)), attribute(MESSAGE_DIGEST, digest)]
}

/// The value of an SpcIndirectDataContent.
#[must_use]
pub fn content(hash: &[u8], digest: &[u8]) -> Vec<u8> {
    let file = tlv(0xa0, &[tlv(0xa2, &[tlv(0x80, &[])])]);
    let data = tlv(0x30, &[oid(SPC_PE_IMAGE_DATA), tlv(0x30, &[tlv(3, &[vec![0]]), file])]);
    [data, tlv(0x30, &[hash.to_vec(), tlv(4, &[digest.to_vec()])])].concat()
}

const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 3];
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 4];
const SPC_INDIRECT_DATA: &[u8] = &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 1, 4];
const SPC_PE_IMAGE_DATA: &[u8] = &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 1, 15];

/// An OBJECT IDENTIFIER of those bytes.
#[must_use]
pub fn oid(bytes: &[u8]) -> Vec<u8> {
    tlv(6, &[bytes.to_vec()])
}

/// An element of DER: tag, length, and `parts` one after the other.
#[must_use]
pub fn tlv(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    let value = parts.concat();
    let mut element = vec![tag];
    match value.len() {
        short @ ..0x80 => element.push(u8::try_from(short).expect("below 0x80")),
        len => {
            let bytes = len.to_be_bytes();
            let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
            let bytes = &bytes[zeros..];
            element.push(0x80 | u8::try_from(bytes.len()).expect("at most 8"));
            element.extend(bytes);
        }
    }
    element.extend(value);
    element
}

/// The issuer and the serial number in a certificate, as encoded.
fn name_and_number(certificate: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (tbs, _) = split(&split(certificate).0);
    let (_version, rest) = element(&tbs);
    let (serial, rest) = element(&rest);
    let (_algorithm, rest) = element(&rest);
    (element(&rest).0, serial)
}

/// The value of the first element, and what follows it.
fn split(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (header, len) = match bytes[1] {
        short @ ..0x80 => (2, usize::from(short)),
        long => {
            let count = usize::from(long & 0x7f);
            let len = bytes[2..2 + count].iter().fold(0, |len, &byte| len << 8 | usize::from(byte));
            (2 + count, len)
        }
    };
    (bytes[header..header + len].to_vec(), bytes[header + len..].to_vec())
}

/// The first element, whole, and what follows it.
fn element(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (_, rest) = split(bytes);
    (bytes[..bytes.len() - rest.len()].to_vec(), rest)
}
