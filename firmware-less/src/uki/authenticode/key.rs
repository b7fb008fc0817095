//! [`PublicKey`]: what a signature is checked with.

use der::{Decode as _, asn1::ObjectIdentifier, asn1::UintRef};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    UnparsedPublicKey, VerificationAlgorithm,
};
use thiserror::Error;
use x509_cert::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use super::{Hash, has_no_parameters, inside};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

/// The least bits of an RSA key.
const RSA_MIN: usize = 2048;
/// The most.
const RSA_MAX: usize = 8192;

/// A public key of a kind that is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// RSA: the DER form of PKCS#1's `RSAPublicKey`.
    Rsa(Vec<u8>),
    /// ECDSA on the curve P-256: a point.
    P256(Vec<u8>),
    /// ECDSA on the curve P-384: a point.
    P384(Vec<u8>),
}

/// How a signature is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// RSASSA-PKCS1-v1_5.
    Rsa(Hash),
    /// ECDSA.
    Ecdsa(Hash),
}

/// Why a key or a signature cannot be used or is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not a key, or of a kind that is not understood.
    #[error("the key is neither RSA nor on the curve P-256 or P-384")]
    Kind,
    /// Too weak, or absurd.
    #[error("the RSA key has {bits} bits, it must have {RSA_MIN} to {RSA_MAX}")]
    RsaBits {
        /// How many it has.
        bits: usize,
    },
    /// Another kind of signature than the key can make.
    #[error("the signature is of another kind than its key, or by a hash that is not understood")]
    Mismatch,
    /// The signature does not hold.
    #[error("the signature does not fit what it is over")]
    Bad,
}

impl PublicKey {
    /// The key in a `SubjectPublicKeyInfo`.
    pub fn from_info(info: &SubjectPublicKeyInfoRef<'_>) -> Result<Self, KeyError> {
        let bits = info.subject_public_key.as_bytes().ok_or(KeyError::Kind)?.to_vec();
        if info.algorithm.oid == RSA && has_no_parameters(&info.algorithm) {
            rsa_bits(&bits).map(|()| Self::Rsa(bits))
        } else if info.algorithm.oid == EC {
            match info.algorithm.parameters_oid() {
                Ok(P256) => Ok(Self::P256(bits)),
                Ok(P384) => Ok(Self::P384(bits)),
                _ => Err(KeyError::Kind),
            }
        } else {
            Err(KeyError::Kind)
        }
    }

    /// Whether `signature` is this key's over `message`.
    pub fn verify(&self, scheme: Scheme, message: &[u8], signature: &[u8]) -> Result<(), KeyError> {
        let (algorithm, bytes): (&dyn VerificationAlgorithm, _) = match (self, scheme) {
            (Self::Rsa(key), Scheme::Rsa(Hash::Sha256)) => (&RSA_PKCS1_2048_8192_SHA256, key),
            (Self::Rsa(key), Scheme::Rsa(Hash::Sha384)) => (&RSA_PKCS1_2048_8192_SHA384, key),
            (Self::Rsa(key), Scheme::Rsa(Hash::Sha512)) => (&RSA_PKCS1_2048_8192_SHA512, key),
            (Self::P256(key), Scheme::Ecdsa(Hash::Sha256)) => (&ECDSA_P256_SHA256_ASN1, key),
            (Self::P256(key), Scheme::Ecdsa(Hash::Sha384)) => (&ECDSA_P256_SHA384_ASN1, key),
            (Self::P384(key), Scheme::Ecdsa(Hash::Sha256)) => (&ECDSA_P384_SHA256_ASN1, key),
            (Self::P384(key), Scheme::Ecdsa(Hash::Sha384)) => (&ECDSA_P384_SHA384_ASN1, key),
            _ => return Err(KeyError::Mismatch),
        };
        let key = UnparsedPublicKey::new(algorithm, bytes);
        key.verify(message, signature).or(Err(KeyError::Bad))
    }
}

impl Scheme {
    /// How a certificate is signed. RFC 4055 and RFC 5758: RSA has the parameter
    /// NULL, or none; ECDSA has none.
    pub(super) fn of_certificate(algorithm: &AlgorithmIdentifierRef<'_>) -> Result<Self, KeyError> {
        let rsa = has_no_parameters(algorithm);
        let ecdsa = algorithm.parameters.is_none();
        match algorithm.oid {
            RSA_SHA256 if rsa => Ok(Self::Rsa(Hash::Sha256)),
            RSA_SHA384 if rsa => Ok(Self::Rsa(Hash::Sha384)),
            RSA_SHA512 if rsa => Ok(Self::Rsa(Hash::Sha512)),
            ECDSA_SHA256 if ecdsa => Ok(Self::Ecdsa(Hash::Sha256)),
            ECDSA_SHA384 if ecdsa => Ok(Self::Ecdsa(Hash::Sha384)),
            _ => Err(KeyError::Mismatch),
        }
    }

    /// How a PKCS#7 signer signs, whose digest is by `hash`. For RSA that names the
    /// key alone, as the kernel has it (`pkcs7_parser.c`, `pkcs7_sig_note_pkey_algo`).
    pub(super) fn of_signer(
        algorithm: &AlgorithmIdentifierRef<'_>,
        hash: Hash,
    ) -> Result<Self, KeyError> {
        if algorithm.oid == RSA && has_no_parameters(algorithm) {
            return Ok(Self::Rsa(hash));
        }
        let own = Self::of_certificate(algorithm)?;
        if own == Self::Ecdsa(hash) { Ok(own) } else { Err(KeyError::Mismatch) }
    }
}

/// The hash that an algorithm identifier names.
pub(super) fn hash(algorithm: &AlgorithmIdentifierRef<'_>) -> Option<Hash> {
    match algorithm.oid {
        _ if !has_no_parameters(algorithm) => None,
        SHA1 => Some(Hash::Sha1),
        SHA256 => Some(Hash::Sha256),
        SHA384 => Some(Hash::Sha384),
        SHA512 => Some(Hash::Sha512),
        _ => None,
    }
}

/// Checks how long the modulus is.
fn rsa_bits(key: &[u8]) -> Result<(), KeyError> {
    let modulus = || -> der::Result<usize> {
        let mut key = inside(&mut der::SliceReader::new(key)?, der::Tag::Sequence)?;
        let modulus = UintRef::decode(&mut key)?;
        let bytes = modulus.as_bytes();
        let unused = bytes.first().map_or(0, |first| first.leading_zeros() as usize);
        Ok(bytes.len().saturating_mul(8).saturating_sub(unused))
    };
    match modulus() {
        Ok(RSA_MIN..=RSA_MAX) => Ok(()),
        Ok(bits) => Err(KeyError::RsaBits { bits }),
        Err(_) => Err(KeyError::Kind),
    }
}

#[cfg(test)]
mod tests;
