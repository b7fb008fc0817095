//! Signatures of register 11's values, held against the content.

use base64ct::{Base64, Encoding as _};
use firmware_less::{
    testing::{Image, Random, rsa, uki},
    uki::{
        Uki,
        pcr11::{Bank, Pcr11, PhasePath},
        pcrsig::{Error, Key, PcrSignatures, policy},
    },
};
use sha2::{Digest as _, Sha256};

fn pem() -> String {
    let text = Base64::encode_string(&rsa::public_key_info());
    format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
}

fn image(pcrsig: &str) -> Image {
    uki()
        .section(".linux", "KERNEL")
        .section(".cmdline", "quiet")
        .section(".pcrpkey", pem())
        .section(".pcrsig", pcrsig)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

fn value(image: &Image, bank: Bank, profile: usize, phases: &str) -> Pcr11 {
    let file = image.build();
    let uki = Uki::read(&file).unwrap();
    let Ok(path) = phases.parse::<PhasePath>();
    Pcr11::read(&file, &uki.profile(profile).unwrap(), &[bank]).unwrap()[0].after(&path)
}

/// An entry with what is signed of it made wrong by `edit`.
fn entry_but(pol: &str, edit: impl FnOnce(&mut Vec<u8>), more: &str) -> String {
    let pair = |at| u8::from_str_radix(&pol[at..at + 2], 16).unwrap();
    let mut message = (0..pol.len()).step_by(2).map(pair).collect();
    edit(&mut message);
    let sig = Base64::encode_string(&rsa::sign(&message));
    let pkfp = hex(&Sha256::digest(rsa::public_key()));
    format!(r#"{{"pcrs":[11],"pkfp":"{pkfp}",{more}"pol":"{pol}","sig":"{sig}"}}"#)
}

fn entry(pol: &str) -> String {
    entry_but(pol, |_| {}, "")
}

fn check(image: &Image) -> Result<Option<PcrSignatures>, Error> {
    let file = image.build();
    let uki = Uki::read(&file).unwrap();
    PcrSignatures::check(&file, &uki, &uki.profile(0).unwrap(), &[])
}

fn said(image: &Image) -> Vec<String> {
    check(image).unwrap().unwrap().0.iter().map(ToString::to_string).collect()
}

/// The policy of `image` with whatever `.pcrsig`: that section is not measured.
fn policy_of(bank: Bank, phases: &str) -> String {
    policy(&value(&image("{}"), bank, 0, phases))
}

#[test]
fn a_policy_is_that_of_the_tpm() {
    // As systemd-measure 262 prints it for a kernel of those bytes alone.
    let bare = uki().section(".linux", "KERNEL");
    assert_eq!(
        policy(&value(&bare, Bank::Sha256, 0, "enter-initrd")),
        "ed26816391dbc877bf98cbbd6720a9a703ac8ff4bcc9dc918207310aed55791d"
    );
    // The bytes that a TPM hashes for PolicyPCR, written out.
    let value = value(&image("{}"), Bank::Sha256, 0, "enter-initrd");
    let head = [0_u8; 32].into_iter().chain([0, 0, 1, 0x7f, 0, 0, 0, 1, 0, 0x0b, 3, 0, 8, 0]);
    let all: Vec<u8> = head.chain(Sha256::digest(&value.value)).collect();
    assert_eq!(policy(&value), hex(&Sha256::digest(all)));
}

#[test]
fn each_signature_is_said_to_be_of_its_phase_path() {
    let of = |bank, phases| entry(&policy_of(bank, phases));
    let paths = ["", "enter-initrd", "enter-initrd:leave-initrd:sysinit:ready"];
    let sha256 = paths.map(|path| of(Bank::Sha256, path)).join(",");
    let json =
        format!(r#"{{"sha512":[{}],"sha256":[{sha256}]}}"#, of(Bank::Sha512, "enter-initrd"));
    let image = image(&json);
    assert_eq!(
        said(&image),
        [
            "sha256 :: good",
            "sha256 enter-initrd: good",
            "sha256 enter-initrd:leave-initrd:sysinit:ready: good",
            "sha512 enter-initrd: good",
        ]
    );
    assert!(check(&image).unwrap().unwrap().are_good());
}

#[test]
fn a_signature_of_other_content_is_named() {
    let json = format!(r#"{{"sha256":[{}]}}"#, entry(&policy_of(Bank::Sha256, "enter-initrd")));
    let changed = image(&json).section(".initrd", "new");
    let pol = policy_of(Bank::Sha256, "enter-initrd");
    assert_eq!(
        said(&changed),
        [format!("sha256 policy {pol}: is of no content here after any known phase path")]
    );
    assert!(!check(&changed).unwrap().unwrap().are_good());
}

#[test]
fn a_path_that_was_given_is_known_too() {
    let json = format!(r#"{{"sha256":[{}]}}"#, entry(&policy_of(Bank::Sha256, "shutdown")));
    let file = image(&json).build();
    let uki = Uki::read(&file).unwrap();
    let Ok(path) = "shutdown".parse::<PhasePath>();
    let checked = PcrSignatures::check(&file, &uki, &uki.profile(0).unwrap(), &[path]).unwrap();
    assert_eq!(checked.unwrap().0[0].to_string(), "sha256 shutdown: good");
}

#[test]
fn a_signature_of_another_profile_is_said_to_be_that() {
    let profiles = |json: &str| image(json).section(".profile", "ID=a").section(".profile", "ID=b");
    let other = policy(&value(&profiles("{}"), Bank::Sha256, 1, "enter-initrd"));
    let json = format!(r#"{{"sha256":[{}]}}"#, entry(&other));
    assert_eq!(said(&profiles(&json)), ["sha256 profile 1 enter-initrd: good"]);
}

#[test]
fn a_bad_signature_and_another_key_are_named() {
    let pol = policy_of(Bank::Sha256, "enter-initrd");
    let forged = entry_but(&pol, |message| message[0] ^= 1, "");
    let of_another = entry(&pol).replacen("\"pkfp\":\"", "\"pkfp\":\"00", 1);
    let several = entry(&pol).replace("[11]", "[11,12]");
    let json = format!(r#"{{"sha256":[{forged},{of_another},{several}]}}"#);
    assert_eq!(
        said(&image(&json)),
        [
            "sha256 enter-initrd: was not made by the key in .pcrpkey".to_owned(),
            "sha256 enter-initrd: names another key than that in .pcrpkey".to_owned(),
            format!("sha256 policy {pol}: is not of register 11 alone"),
        ]
    );
}

#[test]
fn a_reference_is_signed_with_the_policy() {
    let pol = policy_of(Bank::Sha256, "enter-initrd");
    let good =
        entry_but(&pol, |message| message.extend(Sha256::digest("site")), r#""ref":"site","#);
    let bad = entry_but(&pol, |message| message.extend(Sha256::digest("site")), r#""ref":"sits","#);
    let checked = check(&image(&format!(r#"{{"sha256":[{good},{bad}]}}"#))).unwrap().unwrap();
    assert_eq!([checked.0[0].is_signed, checked.0[1].is_signed], [Some(true), Some(false)]);
    assert_eq!(checked.0[0].reference.as_deref(), Some("site"));
}

#[test]
fn without_a_key_nothing_is_said_to_be_good() {
    let json = format!(r#"{{"sha256":[{}]}}"#, entry(&policy_of(Bank::Sha256, "")));
    let image = uki().section(".linux", "KERNEL").section(".pcrsig", json);
    let checked = check(&image).unwrap().unwrap();
    assert_eq!((checked.0[0].key, checked.0[0].is_signed), (Key::Unknown, None));
    assert!(!checked.are_good());
}

#[test]
fn a_uki_without_signatures_has_none_and_rubbish_is_an_error() {
    assert!(check(&uki().section(".linux", "KERNEL")).unwrap().is_none());
    assert!(matches!(check(&image("[")).unwrap_err(), Error::Json(_)));
    assert!(matches!(check(&image(r#"{"sha256":[{"pcrs":[-1]}]}"#)).unwrap_err(), Error::Json(_)));
    let key = uki().section(".linux", "KERNEL").section(".pcrpkey", "x").section(".pcrsig", "{}");
    assert!(matches!(check(&key).unwrap_err(), Error::Key));
    let long = image(&" ".repeat((1 << 20) + 1));
    assert!(matches!(check(&long).unwrap_err(), Error::TooLong { .. }));
    assert!(check(&image(&"[".repeat(100_000))).is_err());
}

#[test]
fn mutated_signatures_never_panic() {
    let json = format!(r#"{{"sha256":[{}]}}"#, entry(&policy_of(Bank::Sha256, "enter-initrd")));
    let image = uki().section(".linux", "KERNEL").section(".pcrpkey", pem());
    let mut random = Random::seeded(0x7063_7273);
    for _ in 0..20_000 {
        let mut text = json.clone().into_bytes();
        for _ in 0..=random.below(3) {
            let at = random.below(text.len());
            text[at] = random.one_of(b"{}[]\",:0af9\\\0\xff+-e.");
        }
        drop(check(&image.clone().section(".pcrsig", text)));
    }
}
