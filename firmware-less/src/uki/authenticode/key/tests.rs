//! Which keys there are, and which signatures each can check.

use der::AnyRef;
use ring::signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaEncoding};

use super::*;
use crate::testing::{
    rsa,
    signing::{oid, tlv},
};

const SCHEMES: [Scheme; 5] = [
    Scheme::Rsa(Hash::Sha256),
    Scheme::Rsa(Hash::Sha384),
    Scheme::Rsa(Hash::Sha512),
    Scheme::Ecdsa(Hash::Sha256),
    Scheme::Ecdsa(Hash::Sha384),
];

#[test]
fn an_rsa_key_checks_signatures_by_every_hash() {
    let key = PublicKey::Rsa(rsa::public_key());
    let encodings: [&dyn RsaEncoding; 3] =
        [&RSA_PKCS1_SHA256, &RSA_PKCS1_SHA384, &RSA_PKCS1_SHA512];
    for (signed_by, encoding) in SCHEMES.into_iter().zip(encodings) {
        let signature = rsa::signed_by(encoding, b"message");
        for scheme in &SCHEMES[..3] {
            let expected = if *scheme == signed_by { Ok(()) } else { Err(KeyError::Bad) };
            assert_eq!(key.verify(*scheme, b"message", &signature), expected, "{scheme:?}");
        }
    }
}

#[test]
fn a_key_checks_the_kinds_of_signatures_that_it_can_make_and_no_others() {
    let keys =
        [PublicKey::Rsa(rsa::public_key()), PublicKey::P256(vec![4]), PublicKey::P384(vec![4])];
    for (key, can_make) in keys.iter().zip([&SCHEMES[..3], &SCHEMES[3..], &SCHEMES[3..]]) {
        for scheme in SCHEMES {
            let error = if can_make.contains(&scheme) { KeyError::Bad } else { KeyError::Mismatch };
            assert_eq!(key.verify(scheme, b"", b""), Err(error), "{key:?} {scheme:?}");
        }
    }
    assert_eq!(keys[0].verify(Scheme::Rsa(Hash::Sha1), b"", b""), Err(KeyError::Mismatch));
}

#[test]
fn the_curve_of_a_key_is_the_one_that_it_names() {
    let of = |curve: &[u8]| {
        let algorithm = tlv(0x30, &[oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]), oid(curve)]);
        let info = tlv(0x30, &[algorithm, tlv(3, &[vec![0, 4, 5]])]);
        PublicKey::from_info(&SubjectPublicKeyInfoRef::from_der(&info).unwrap())
    };
    assert_eq!(of(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]), Ok(PublicKey::P256(vec![4, 5])));
    assert_eq!(of(&[0x2b, 0x81, 4, 0, 0x22]), Ok(PublicKey::P384(vec![4, 5])));
    assert_eq!(of(&[0x2b, 0x81, 4, 0, 0x23]), Err(KeyError::Kind));
}

#[test]
fn a_certificate_s_algorithm_has_the_parameters_of_its_kind() {
    let oids = [RSA_SHA256, RSA_SHA384, RSA_SHA512, ECDSA_SHA256, ECDSA_SHA384];
    for (oid, scheme) in oids.into_iter().zip(SCHEMES) {
        let of =
            |parameters| Scheme::of_certificate(&AlgorithmIdentifierRef { oid, parameters }).ok();
        let is_rsa = matches!(scheme, Scheme::Rsa(_));
        assert_eq!(of(None), Some(scheme));
        assert_eq!(of(Some(AnyRef::NULL)), Some(scheme).filter(|_| is_rsa));
        assert_eq!(of(Some(AnyRef::new(der::Tag::Integer, &[1]).unwrap())), None);
    }
}

#[test]
fn an_rsa_key_is_one_by_its_name_and_its_length() {
    let of = |algorithm: ObjectIdentifier, parameters: &[u8], modulus: &[u8]| {
        let key = tlv(0x30, &[tlv(2, &[modulus.to_vec()]), tlv(2, &[vec![1, 0, 1]])]);
        let algorithm = tlv(0x30, &[oid(algorithm.as_bytes()), parameters.to_vec()]);
        let info = tlv(0x30, &[algorithm, tlv(3, &[vec![0], key])]);
        PublicKey::from_info(&SubjectPublicKeyInfoRef::from_der(&info).unwrap()).map(|_| ())
    };
    let modulus = |len: usize, first: u8| [&[first][..], &vec![0xff; len - 1]].concat();
    let positive = |len: usize| [&[0][..], &vec![0xff; len]].concat();
    assert_eq!(of(RSA, &[], &positive(256)), Ok(()));
    assert_eq!(of(RSA, &[5, 0], &positive(1024)), Ok(()));
    assert_eq!(of(RSA, &[], &modulus(256, 0x7f)), Err(KeyError::RsaBits { bits: 2047 }));
    assert_eq!(of(RSA, &[], &modulus(1025, 1)), Err(KeyError::RsaBits { bits: 8193 }));
    assert_eq!(of(RSA, &[2, 1, 1], &positive(256)), Err(KeyError::Kind));
    assert_eq!(of(SHA256, &[], &positive(256)), Err(KeyError::Kind));
}

#[test]
fn a_hash_is_known_by_its_name_and_has_no_parameters() {
    let of = |oid, parameters| hash(&AlgorithmIdentifierRef { oid, parameters });
    let integer = AnyRef::new(der::Tag::Integer, &[1]).unwrap();
    let empty = AnyRef::new(der::Tag::OctetString, &[]).unwrap();
    for (oid, expected) in
        [(SHA1, Hash::Sha1), (SHA256, Hash::Sha256), (SHA384, Hash::Sha384), (SHA512, Hash::Sha512)]
    {
        assert_eq!(of(oid, None), Some(expected));
        assert_eq!(of(oid, Some(AnyRef::NULL)), Some(expected));
        assert_eq!((of(oid, Some(integer)), of(oid, Some(empty))), (None, None));
    }
    assert_eq!(of(RSA, None), None);
}
