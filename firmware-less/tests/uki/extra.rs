//! The initrd parts that systemd-stub makes, and the order of all parts.

use firmware_less::{
    plan::Content,
    testing::{Image, bzimage, uki},
    uki::{
        Handed, Name, Uki,
        cpio::{Target, archive},
        handed::{Choice, Credential, InitrdOrigin},
    },
};

/// The sections in another order than that of the parts.
fn image() -> Image {
    uki()
        .section(".osrel", "ID=test\n")
        .section(".pcrpkey", "key")
        .section(".linux", bzimage().build())
        .section(".initrd", "initrd")
        .section(".ucode", "ucode")
        .section(".profile", "ID=main")
        .section(".pcrsig", "{}\0\0\0")
}

fn handed(image: &Image, choice: &Choice) -> Handed {
    let file = image.build();
    Handed::read(&file, &Uki::read(&file).unwrap(), choice).unwrap()
}

fn credential(name: &str, content: &str) -> Credential {
    Credential::new(name, content.into()).unwrap()
}

#[test]
fn the_parts_are_in_the_order_of_the_stub() {
    let credentials = vec![credential("a.cred", "secret")];
    let handed = handed(&image(), &Choice { credentials, ..Choice::default() });
    let origins: Vec<_> = handed.initrd.iter().map(|part| part.origin.to_string()).collect();
    assert_eq!(
        origins,
        [
            ".ucode",
            ".initrd",
            "/.extra/credentials",
            "/.extra/tpm2-pcr-signature.json (.pcrsig)",
            "/.extra/tpm2-pcr-public-key.pem (.pcrpkey)",
            "/.extra/os-release (.osrel)",
            "/.extra/profile (.profile)",
        ]
    );
}

#[test]
fn a_section_becomes_a_file_with_all_its_bytes() {
    let handed = handed(&image(), &Choice::default());
    let content = |name| {
        let mut parts = handed.initrd.iter();
        parts.find(|part| part.origin == InitrdOrigin::Extra(name)).unwrap().content.clone()
    };
    let packed =
        |file, bytes: &[u8]| Content::Bytes(archive(&Target::EXTRA, &[(file, bytes)]).unwrap());
    assert_eq!(content(Name::Pcrsig), packed("tpm2-pcr-signature.json", b"{}\0\0\0"));
    assert_eq!(content(Name::Pcrpkey), packed("tpm2-pcr-public-key.pem", b"key"));
    assert_eq!(content(Name::Osrel), packed("os-release", b"ID=test\n"));
    assert_eq!(content(Name::Profile), packed("profile", b"ID=main"));
}

#[test]
fn a_profile_hands_over_its_own_files_and_masks_the_bases() {
    let image = image().section(".profile", "ID=other").section(".osrel", "");
    let Ok(profile) = "other".parse();
    let handed = handed(&image, &Choice { profile, ..Choice::default() });
    let origins: Vec<_> = handed.initrd.iter().map(|part| part.origin).collect();
    assert!(!origins.contains(&InitrdOrigin::Extra(Name::Osrel)));
    assert!(!origins.contains(&InitrdOrigin::Extra(Name::Pcrsig)), "it belongs to profile 0");
    let last = handed.initrd.last().unwrap();
    let file: &[(&str, &[u8])] = &[("profile", b"ID=other")];
    assert_eq!(last.content, Content::Bytes(archive(&Target::EXTRA, file).unwrap()));
}

#[test]
fn made_parts_are_padded_by_themselves_so_that_none_is_added() {
    let handed = handed(&image(), &Choice::default());
    let made = handed.initrd.iter().filter(|part| matches!(part.content, Content::Bytes(_)));
    assert!(made.into_iter().all(|part| part.content.len() == part.padded_len));
}

#[test]
fn a_made_part_alone_is_the_whole_initrd() {
    let image = uki().section(".linux", "k").section(".osrel", "ID=test\nPRETTY_NAME=\"Test\"\n");
    let handed = handed(&image, &Choice::default());
    assert_eq!((handed.initrd.len(), handed.initrd_len()), (1, 400));
}

#[test]
fn credentials_are_one_archive_sorted_by_name() {
    let image = uki().section(".linux", "k");
    let credentials = vec![credential("b.cred", "2"), credential("B.cred", "1")];
    let handed = handed(&image, &Choice { credentials, ..Choice::default() });
    let files: &[(&str, &[u8])] = &[("B.cred", b"1"), ("b.cred", b"2")];
    assert_eq!(
        handed.initrd[0].content,
        Content::Bytes(archive(&Target::CREDENTIALS, files).unwrap())
    );
}

#[test]
fn two_credentials_of_one_name_are_refused() {
    let file = uki().section(".linux", "k").build();
    let credentials = vec![credential("a.cred", "1"), credential("a.cred", "2")];
    let choice = Choice { credentials, ..Choice::default() };
    let error = Handed::read(&file, &Uki::read(&file).unwrap(), &choice).unwrap_err();
    assert_eq!(error.to_string(), "two credentials are called a.cred");
}

#[test]
fn a_section_of_text_that_is_too_long_is_refused_by_name() {
    let refused = |name, len| {
        let file = uki().section(".linux", "k").section(name, vec![b'a'; len]).build();
        let handed = Handed::read(&file, &Uki::read(&file).unwrap(), &Choice::default());
        handed.err().map(|error| error.to_string())
    };
    assert_eq!(refused(".pcrsig", 1 << 20), None);
    assert_eq!(
        refused(".pcrsig", (1 << 20) + 1).unwrap(),
        "section .pcrsig has 0x100001 bytes of text, at most 0x100000 are read"
    );
    assert_eq!(
        refused(".osrel", (64 << 10) + 1).unwrap(),
        "section .osrel has 0x10001 bytes of text, at most 0x10000 are read"
    );
}
