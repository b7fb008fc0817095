//! Deny lists in their forms, and what is no list.

use firmware_less::{
    testing::signing::{Signatory, signed},
    uki::authenticode::{Denied, Hash, SbatLevel, Trust},
};

use super::{
    image, trust,
    trust::{SHA256, X509, X509_SHA256, list},
    verify,
};

/// `EFI_CERT_TYPE_PKCS7_GUID`.
const PKCS7: [u8; 16] = [
    0x9d, 0xd2, 0xaf, 0x4a, 0xdf, 0x68, 0xee, 0x49, 0x8a, 0xa9, 0x34, 0x7d, 0x37, 0x56, 0x65, 0xa7,
];

#[test]
fn a_deny_list_may_have_the_header_of_an_update_or_of_a_variable() {
    let lists = [list(SHA256, &[1; 32]), list(SHA256, &[2; 32])].concat();
    let header = [&[0; 16][..], &[26, 0, 0, 0, 0, 2, 0xf1, 0x0e], &PKCS7, &[0x30, 0]].concat();
    for prefix in [&[][..], &[0x27, 0, 0, 0], &header] {
        let denied = Denied::parse(&[prefix, &lists].concat()).unwrap();
        assert_eq!(denied.images, [(Hash::Sha256, vec![1; 32]), (Hash::Sha256, vec![2; 32])]);
    }
}

#[test]
fn a_list_that_is_not_understood_whole_is_refused() {
    let refused = |list: &[u8]| Denied::parse(list).unwrap_err().to_string();
    let good = list(SHA256, &[1; 32]);
    assert!(refused(&good[..40]).contains("longer than the file"));
    assert!(refused(&[&good[..], &[9; 7]].concat()).contains("at 0x4c is cut short"));
    assert!(refused(&list([7; 16], &[0; 32])).contains("not understood"));
    assert!(refused(&list(SHA256, &[1; 31])).contains("another size"));
    assert!(refused(&list(X509, &[1; 31])).contains("certificate in the list"));
    assert!(refused(b"0011\n").starts_with("line 1 is neither"));
    assert!(refused(b"\n").contains("empty"));
    assert!(refused(b"# nothing\n").contains("empty"));
    let mut entries = good.clone();
    entries[24] = 0;
    assert!(refused(&entries).contains("does not divide"));
}

#[test]
fn a_list_of_two_kinds_of_text_is_refused_and_not_read_in_part() {
    let refused = |list: String| Denied::parse(list.as_bytes()).unwrap_err().to_string();
    let (pem, digest) = (Signatory::root("somebody").pem(), "0a".repeat(32));
    let lines = pem.lines().count();
    assert_eq!(
        refused(format!("{pem} {digest} # evil.efi\n")),
        format!(
            "line {} is a digest, in a file of PEM certificates: \
             put digests into a file of their own",
            lines + 1
        )
    );
    assert!(refused(format!("{digest}\n{pem}")).starts_with("line 1 is a digest"));
    let other = pem.replace("CERTIFICATE", "TRUSTED CERTIFICATE");
    assert_eq!(
        refused(format!("{pem}{other}")),
        format!(
            "line {} begins a PEM block of another kind than CERTIFICATE, which can't be enforced",
            lines + 1
        )
    );
    let words = format!("Certificate:\n  Version: 3\n{pem}");
    assert_eq!(Denied::parse(words.as_bytes()).unwrap().certificates.len(), 1);
}

#[test]
fn an_update_that_is_cut_within_its_header_is_refused() {
    let update = |length: u32| {
        let header = [&length.to_le_bytes()[..], &[0, 2, 0xf1, 0x0e], &PKCS7].concat();
        [&[0; 16][..], &header].concat()
    };
    for length in [25, 0x100, u32::MAX] {
        let error = Denied::parse(&update(length)).unwrap_err().to_string();
        assert!(error.contains("past the end of the file"), "{error}");
    }
    assert!(Denied::parse(&update(24)).unwrap().images.is_empty());
}

#[test]
fn an_entry_is_longer_than_its_owner_and_its_size_divides_the_list() {
    for size in [16_u8, 47] {
        let mut entries = list(SHA256, &[1; 32]);
        entries[24] = size;
        let error = Denied::parse(&entries).unwrap_err().to_string();
        assert!(error.ends_with("has a size that its entries' size does not divide"), "{size}");
    }
}

#[test]
fn lists_are_added_to_each_other() {
    let mut both = Denied::parse(&list(SHA256, &[1; 32])).unwrap();
    both.extend(Denied::parse(&list(SHA256, &[2; 32])).unwrap());
    both.extend(Denied::parse(Signatory::root("somebody").pem().as_bytes()).unwrap());
    both.extend(Denied::parse(&list(X509_SHA256, &[3; 48])).unwrap());
    assert_eq!(both.images, [(Hash::Sha256, vec![1; 32]), (Hash::Sha256, vec![2; 32])]);
    assert_eq!((both.certificates.len(), both.digests.len()), (1, 1));
}

#[test]
fn a_digest_of_another_certificate_denies_nothing() {
    let root = Signatory::root("root");
    let file = signed(&image().build(), &root, &[]);
    let denied = Denied::parse(&list(X509_SHA256, &[3; 48])).unwrap();
    assert!(verify(&Trust { denied, ..trust(&root) }, &file).is_ok());
}

#[test]
fn only_digests_of_images_can_be_allowed() {
    for list in [list(X509_SHA256, &[3; 48]), Signatory::root("root").pem().into_bytes()] {
        let error = Trust::default().allow(&list).unwrap_err().to_string();
        assert!(error.ends_with("has other entries than images' digests"), "{error}");
    }
}

#[test]
fn a_generation_that_is_too_old_is_told_with_the_one_that_is_wanted() {
    let root = Signatory::root("root");
    let level = b"sbat,1,2024010900\nother.test,9\nstub.test,3\nstub.test,4\n";
    let sbat_level = Some(SbatLevel::parse(level).unwrap());
    let file = signed(&image().build(), &root, &[]);
    let error = verify(&Trust { sbat_level, ..trust(&root) }, &file).unwrap_err();
    assert_eq!(
        error.to_string(),
        "section .sbat: stub.test has generation 3, the SbatLevel wants 4"
    );
}
