//! What a certificate says, and whether it may sign others.

use super::*;
use crate::testing::signing::{Signatory, params};

#[test]
fn a_certificate_is_its_bytes_and_says_whose_it_is_and_who_signed_it() {
    let signer = Signatory::root("root").signer("signer");
    let certificate = Certificate::parse(signer.der()).unwrap();
    assert_eq!(certificate.der(), signer.der());
    assert_eq!(
        (certificate.subject(), certificate.issuer()),
        ("CN=signer".into(), "CN=root".into())
    );
}

#[test]
fn without_constraints_only_an_old_certificate_that_is_its_own_issuer_may_sign() {
    let may_sign = |is_v3, subject, issuer| {
        may_sign(&Fields {
            is_v3,
            serial: &[],
            algorithm: &[],
            issuer,
            subject,
            key: &[],
            extensions: Vec::new(),
        })
    };
    assert_eq!(may_sign(false, b"a", b"a"), Ok(None));
    assert_eq!(may_sign(false, b"a", b"b"), Err(NO_CA));
    assert_eq!(may_sign(true, b"a", b"a"), Err(NO_CA));
}

#[test]
fn a_new_certificate_that_is_its_own_issuer_may_not_sign_by_that_alone() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = params("self", false);
    params.is_ca = rcgen::IsCa::NoCa;
    let certificate = params.self_signed(&key).unwrap();
    let certificate = Certificate::parse(certificate.der()).unwrap();
    assert_eq!(
        (certificate.subject(), certificate.may_sign(0)),
        (certificate.issuer(), Err(NO_CA))
    );
}

#[test]
fn a_certificate_is_known_by_its_issuer_and_its_number_together() {
    let certificate = Certificate::parse(Signatory::root("root").der()).unwrap();
    let (issuer, serial) = (&certificate.issuer, &certificate.serial);
    assert!(certificate.is(issuer, serial));
    assert!(!certificate.is(issuer, b"another") && !certificate.is(b"another", serial));
}
