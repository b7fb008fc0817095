//! Who may sign, and what is denied.

use firmware_less::{
    testing::{
        signing::{
            Pkcs7, Signatory, attributes, content, params, signed, signed_but, tlv, with_entries,
        },
        uki,
    },
    uki::authenticode::{Certificate, Denied, Error, Grounds, Hash, SbatLevel, Trust, Verified},
};

use super::{image, trust, verify};

fn signed_by(signer: &str, certificate: &str) -> Grounds {
    Grounds::Signed { signer: signer.into(), certificate: certificate.into() }
}

fn message(result: Result<Verified, Error>) -> String {
    let error = result.expect_err("a refusal");
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
    error.to_string() + &cause.unwrap_or_default()
}

#[test]
fn a_signature_by_the_certificate_given_is_accepted() {
    let somebody = Signatory::root("somebody");
    let file = signed(&image().build(), &somebody, &[]);
    let verified = verify(&trust(&somebody), &file).unwrap();
    assert_eq!(verified.grounds, signed_by("CN=somebody", "CN=somebody"));
    assert_eq!((verified.hash, verified.digest.len()), (Hash::Sha256, 32));
}

#[test]
fn a_signature_that_leads_to_a_certificate_given_is_accepted() {
    let root = Signatory::root("root");
    let middle = root.authority("middle");
    let signer = middle.signer("signer");
    let file = signed(&image().build(), &signer, &[&middle]);
    let grounds = |trusted, file| verify(&trust(trusted), file).unwrap().grounds;
    assert_eq!(grounds(&root, &file), signed_by("CN=signer", "CN=root"));
    assert_eq!(grounds(&middle, &file), signed_by("CN=signer", "CN=middle"));
    let without = signed(&image().build(), &signer, &[]);
    assert_eq!(grounds(&signer, &without), signed_by("CN=signer", "CN=signer"));
    assert_eq!(
        message(verify(&trust(&root), &without)),
        "it is signed by CN=signer, which leads to none of the certificates given"
    );
    let mut both = trust(&root);
    both.certificates.extend(trust(&middle).certificates);
    assert!(verify(&both, &without).is_ok());
}

#[test]
fn a_certificate_that_nothing_vouches_for_is_refused() {
    let middle = Signatory::root("root").authority("middle");
    let signer = middle.signer("signer");
    let file = signed(&image().build(), &signer, &[&middle]);
    assert_eq!(
        message(verify(&trust(&signer), &file)),
        "the signature holds the certificate of CN=middle, which none of the others, nor any that \
         was given, vouches for"
    );
}

#[test]
fn who_is_no_authority_can_vouch_for_nobody() {
    let root = Signatory::root("root");
    let refused = |middle: &Signatory| {
        let file = signed(&image().build(), &middle.signer("signer"), &[middle]);
        message(verify(&trust(&root), &file))
    };
    let begin = "it is signed by CN=signer, which leads to none of the certificates given: ";
    assert_eq!(
        refused(&root.signer("middle")),
        format!("{begin}CN=middle is not a certificate authority's")
    );
    let mut usage = params("middle", true);
    usage.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    assert_eq!(
        refused(&root.certify(usage)),
        format!("{begin}CN=middle has a key that is not for signing certificates")
    );
    let mut unknown = params("middle", true);
    let mut extension = rcgen::CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    extension.set_criticality(true);
    unknown.custom_extensions = vec![extension];
    assert_eq!(
        refused(&root.certify(unknown)),
        format!("{begin}CN=middle has a critical extension that is not understood")
    );
}

#[test]
fn a_limit_on_the_length_of_the_way_is_kept() {
    let root = Signatory::root("root");
    let mut short = params("short", true);
    short.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    let short = root.certify(short);
    let direct = signed(&image().build(), &short.signer("signer"), &[&short]);
    assert!(verify(&trust(&root), &direct).is_ok());
    let middle = short.authority("middle");
    let file = signed(&image().build(), &middle.signer("signer"), &[&middle, &short]);
    assert!(
        message(verify(&trust(&root), &file))
            .ends_with("CN=short allows fewer certificates between itself and the signer's")
    );
}

#[test]
fn somebody_of_the_same_name_is_somebody_else() {
    let (root, other) = (Signatory::root("root"), Signatory::root("root"));
    let file = signed(&image().build(), &other.signer("signer"), &[]);
    assert!(matches!(verify(&trust(&root), &file).unwrap_err(), Error::Untrusted { .. }));
}

#[test]
fn an_unsigned_file_is_refused_unless_its_digest_is_allowed() {
    let file = image().build();
    let mut trust = trust(&Signatory::root("root"));
    let Error::Unsigned { digest } = verify(&trust, &file).unwrap_err() else { panic!() };
    trust.allow(format!("# ours\n{digest}  # foo.efi\n").as_bytes()).unwrap();
    let verified = verify(&trust, &file).unwrap();
    assert_eq!(verified.grounds, Grounds::Allowed);
    assert!(trust.allow_hex(&digest));
    assert!(!trust.allow_hex(&digest[1..]));
    trust.denied = Denied::parse(digest.as_bytes()).unwrap();
    assert_eq!(
        message(verify(&trust, &file)),
        format!("its sha256 digest {digest} is on a deny list")
    );
}

/// An EFI_SIGNATURE_LIST with one entry.
/// An `EFI_SIGNATURE_LIST` of one entry.
pub(super) fn list(kind: [u8; 16], data: &[u8]) -> Vec<u8> {
    let number = |value: usize| u32::try_from(value).unwrap().to_le_bytes();
    let (size, entry) = (number(28 + 16 + data.len()), number(16 + data.len()));
    [&kind[..], &size, &[0; 4], &entry, &[0x77; 16], data].concat()
}

pub(super) const SHA256: [u8; 16] = [
    0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28,
];
pub(super) const X509: [u8; 16] = [
    0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72,
];
pub(super) const X509_SHA256: [u8; 16] = [
    0x92, 0xa4, 0xd2, 0x3b, 0xc0, 0x96, 0x79, 0x40, 0xb4, 0x20, 0xfc, 0xf9, 0x8e, 0xf1, 0x03, 0xed,
];

#[test]
fn what_is_on_a_deny_list_is_refused_at_every_remove() {
    let root = Signatory::root("root");
    let middle = root.authority("middle");
    let signer = middle.signer("signer");
    let file = signed(&image().build(), &signer, &[&middle]);
    let good = trust(&root);
    let digest = verify(&good, &file).unwrap().digest;
    let refused = |list: Vec<u8>| {
        let denied = Denied::parse(&list).unwrap();
        message(verify(&Trust { denied, ..good.clone() }, &file))
    };
    assert!(refused(list(SHA256, &digest)).ends_with("is on a deny list"));
    for one in [&root, &middle, &signer] {
        let tbs = Certificate::load(one.der()).unwrap()[0].digest(Hash::Sha256);
        for list in [
            list(X509, one.der()),
            one.pem().into_bytes(),
            list(X509_SHA256, &[&tbs[..], &[0; 16]].concat()),
        ] {
            let message = refused(list);
            assert!(message.starts_with("the certificate of CN="), "{message}");
        }
    }
    let other = Signatory::root("root");
    let denied = Denied::parse(&list(X509, other.der())).unwrap();
    assert!(verify(&Trust { denied, ..good }, &file).is_ok());
}

#[test]
fn a_generation_that_is_too_old_is_refused() {
    let root = Signatory::root("root");
    let check = |file: &[u8], level: &str| {
        let sbat_level = Some(SbatLevel::parse(level.as_bytes()).unwrap());
        verify(&Trust { sbat_level, ..trust(&root) }, file)
    };
    let file = signed(&image().build(), &root, &[]);
    assert!(check(&file, "sbat,1,2024010900\nstub.test,3\nshim,9\n").is_ok());
    assert_eq!(
        message(check(&file, "sbat,1,2024010900\nstub.test,4\n")),
        "section .sbat: stub.test has generation 3, the SbatLevel wants 4"
    );
    let without = signed(&uki().section(".linux", "kernel").build(), &root, &[]);
    assert_eq!(
        message(check(&without, "sbat,1,2024010900\n")),
        "the image has 0 sections .sbat, it must have one where a SbatLevel is given"
    );
    assert!(SbatLevel::parse(b"").unwrap_err().to_string().contains("empty"));
    assert!(SbatLevel::parse(b"shim").is_err());
    assert!(SbatLevel::parse(b"shim,x").is_err());
}

#[test]
fn of_several_signatures_one_must_lead_to_a_certificate_given() {
    let (ours, theirs) = (Signatory::root("ours"), Signatory::root("theirs"));
    let file = image().build();
    let entry = |signer: &Signatory| Pkcs7::of(&file, signer, &[]).build(signer);
    let both = with_entries(&file, &[entry(&theirs), entry(&ours)]);
    assert_eq!(verify(&trust(&ours), &both).unwrap().grounds, signed_by("CN=ours", "CN=ours"));
    let denied = Denied::parse(theirs.pem().as_bytes()).unwrap();
    let with_denied = Trust { denied, ..trust(&ours) };
    assert!(matches!(verify(&with_denied, &both).unwrap_err(), Error::DeniedCertificate { .. }));
    let mut forged = Pkcs7::of(&file, &theirs, &[]);
    forged.certificates = vec![theirs.der().to_vec()];
    let forged = with_entries(&file, &[forged.build(&theirs), forged.build(&ours)]);
    assert!(matches!(verify(&trust(&ours), &forged).unwrap_err(), Error::NoSigner));
}

/// What is said of a file whose signature `edit` made wrong before it was signed.
fn wrong(edit: impl FnOnce(&mut Pkcs7)) -> String {
    let somebody = Signatory::root("somebody");
    let file = signed_but(&image().build(), &somebody, &[], edit);
    message(verify(&trust(&somebody), &file))
}

#[test]
fn a_signature_of_another_file_is_refused() {
    let message = wrong(|parts| {
        parts.content = content(&parts.hash, &[7; 32]);
        parts.attributes = attributes(&parts.content);
    });
    assert!(message.starts_with("the file was changed after it was signed: "), "{message}");
    assert!(message.ends_with(&format!("CN=somebody signed {}", "07".repeat(32))), "{message}");
    let message = wrong(|parts| parts.content = content(&parts.hash, &[7; 32]));
    assert!(message.ends_with("attributes is not that of its content"), "{message}");
}

#[test]
fn what_nothing_vouches_for_is_refused() {
    let attribute = || tlv(0x30, &[tlv(6, &[vec![0x2a, 3, 4]]), tlv(0x31, &[tlv(5, &[])])]);
    assert!(wrong(|parts| parts.unsigned = tlv(0xa1, &[attribute()])).contains("unsigned"));
    assert!(wrong(|parts| parts.revocations = tlv(0xa1, &[])).contains("revocation lists"));
    assert!(wrong(|parts| parts.version = tlv(2, &[vec![3]])).contains("another version"));
    assert!(wrong(|parts| parts.attributes = Vec::new()).contains("do not name its content"));
    let twice = |parts: &mut Pkcs7| parts.attributes.extend(attributes(&parts.content));
    assert!(wrong(twice).contains("do not name its content once"));
    assert!(wrong(|parts| parts.certificates.clear()).contains("signer's certificate"));
    let rubbish = |parts: &mut Pkcs7| parts.certificates.push(tlv(0x30, &[tlv(5, &[])]));
    assert!(wrong(rubbish).contains("a certificate in the signature cannot be read"));
}

#[test]
fn weak_and_unknown_algorithms_are_refused() {
    let sha1 = |parts: &mut Pkcs7| {
        parts.hash = tlv(0x30, &[tlv(6, &[vec![0x2b, 0x0e, 3, 2, 0x1a]]), tlv(5, &[])]);
    };
    assert!(wrong(sha1).contains("SHA-1"));
    let unknown = |parts: &mut Pkcs7| parts.scheme = tlv(0x30, &[tlv(6, &[vec![0x2a, 3, 4]])]);
    assert!(wrong(unknown).starts_with("the signature's algorithms are not among"));
}

#[test]
fn a_key_of_another_kind_is_said_to_be_that_and_not_a_forgery() {
    const P256: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let other_curve = |parts: &mut Pkcs7| {
        let certificate = &mut parts.certificates[0];
        let at = certificate.windows(P256.len()).position(|window| window == P256).unwrap();
        certificate[at + P256.len() - 1] = 6;
    };
    assert_eq!(
        wrong(other_curve),
        "the signature by CN=somebody can't be checked: \
         the key is neither RSA nor on the curve P-256 or P-384"
    );
}

#[test]
fn who_has_no_name_is_said_to_have_none() {
    let nobody = Signatory::root("");
    assert_eq!(Certificate::load(nobody.der()).unwrap()[0].subject(), "CN=");
    let mut nameless = params("", true);
    nameless.distinguished_name = rcgen::DistinguishedName::new();
    let nameless = Signatory::root("root").certify(nameless);
    assert_eq!(Certificate::load(nameless.der()).unwrap()[0].subject(), "(without a name)");
}

#[test]
fn a_stale_checksum_is_refused_and_none_is_not() {
    let somebody = Signatory::root("somebody");
    let mut file = signed(&image().build(), &somebody, &[]);
    file[0x40 + 24 + 64] ^= 1;
    assert!(message(verify(&trust(&somebody), &file)).starts_with("CheckSum is 0x"));
    file[0x40 + 24 + 64..0x40 + 24 + 68].fill(0);
    assert!(verify(&trust(&somebody), &file).is_ok());
}
