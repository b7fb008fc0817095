//! No byte of a signed file can change unnoticed, and no signature, however made,
//! makes anything panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use firmware_less::{
    testing::{
        Random,
        signing::{Signatory, signed, with_check_sum},
        uki,
    },
    uki::{
        Headers,
        authenticode::{Certificate, Denied, Facts, SbatLevel, Trust},
    },
};

use super::{image, trust, verify};

/// Mutated signatures in all.
const MUTATIONS: usize = 200_000;
/// Every Nth mutated signature is also verified: that takes longer than reading it.
const VERIFIED: usize = 8;
/// Where CheckSum is.
const CHECK_SUM: usize = 0x40 + 24 + 64;
/// Every Nth byte of the content is changed.
const SAMPLE: usize = 53;

/// A file signed by one that the root knows through another, and who trusts the root.
///
/// Its CheckSum is zero, so that it does not give away what the signature misses.
fn signed_image() -> (Vec<u8>, Trust) {
    let root = Signatory::root("root");
    let middle = root.authority("middle");
    let mut file = signed(&image().build(), &middle.signer("signer"), &[&middle]);
    file[CHECK_SUM..CHECK_SUM + 4].fill(0);
    (file, trust(&root))
}

/// Where the certificate table is.
fn table(file: &[u8]) -> usize {
    let layout = Facts::read(file, &Headers::read(file).unwrap()).layout.unwrap();
    layout.table.offset().try_into().unwrap()
}

/// Whether the file is accepted with the byte at `at` changed to `value`.
fn is_accepted(file: &mut [u8], at: usize, value: u8, trust: &Trust) -> bool {
    let before = std::mem::replace(&mut file[at], value);
    let accepted = Headers::read(&*file).is_ok_and(|headers| {
        assert_ne!(before, value);
        trust.verify(&*file, &headers).is_ok()
    });
    file[at] = before;
    accepted
}

/// The bytes among `places` of which some change goes unnoticed, with that change.
fn unnoticed(
    file: &mut [u8],
    places: impl Iterator<Item = usize>,
    trust: &Trust,
) -> Vec<(usize, u8)> {
    let mut found = Vec::new();
    for at in places {
        let before = file[at];
        let bits = (0..8).map(|bit| before ^ 1 << bit);
        let others = [0, 1, 0x7f, 0x80, 0xff, !before, before.wrapping_add(1)];
        for value in bits.chain(others).filter(|&value| value != before) {
            if is_accepted(file, at, value, trust) {
                found.push((at, value));
            }
        }
    }
    found
}

#[test]
fn a_byte_changed_anywhere_in_the_headers_is_noticed() {
    let (mut file, trust) = signed_image();
    assert!(verify(&trust, &file).is_ok());
    let headers = Headers::read(&file).unwrap().size_of_headers.try_into().unwrap();
    assert_eq!(unnoticed(&mut file, 0..headers, &trust), []);
}

#[test]
fn a_byte_changed_in_the_content_is_noticed() {
    let (mut file, trust) = signed_image();
    let headers = Headers::read(&file).unwrap().size_of_headers.try_into().unwrap();
    let content = (headers..table(&file)).step_by(SAMPLE);
    assert_eq!(unnoticed(&mut file, content, &trust), []);
}

#[test]
fn a_byte_changed_anywhere_in_the_signature_is_noticed() {
    let (mut file, trust) = signed_image();
    let length = table(&file);
    let others = length + 1..file.len();
    assert_eq!(unnoticed(&mut file, others, &trust), []);
}

/// The one byte that can change unnoticed, and only where there is no CheckSum: some
/// tools count a signature's padding, some do not.
#[test]
fn the_length_of_a_signature_has_two_values_at_most() {
    let (mut file, trust) = signed_image();
    let at = table(&file);
    let exact = file[at];
    let others = || (0..=u8::MAX).filter(move |&value| value != exact);
    let accepted: Vec<_> =
        others().filter(|&value| is_accepted(&mut file, at, value, &trust)).collect();
    let padded = (!exact.is_multiple_of(8)).then(|| exact.next_multiple_of(8));
    assert_eq!(accepted, padded.into_iter().collect::<Vec<_>>());
    let mut file = with_check_sum(file);
    assert!(verify(&trust, &file).is_ok());
    assert!(others().all(|value| !is_accepted(&mut file, at, value, &trust)));
    assert_eq!(unnoticed(&mut file, CHECK_SUM..CHECK_SUM + 4, &trust), []);
}

#[test]
fn a_signed_file_cut_anywhere_is_refused() {
    let (file, trust) = signed_image();
    for len in (0..file.len()).step_by(SAMPLE).chain([file.len() - 1, table(&file)]) {
        let cut = &file[..len];
        let refused =
            Headers::read(cut).map_or(true, |headers| trust.verify(cut, &headers).is_err());
        assert!(refused, "cut at {len:#x}");
    }
}

/// A change that keeps some of the structure: lengths, tags and values near what
/// was there, bytes left out or twice.
fn mutate(random: &mut Random, signature: &mut [u8]) {
    let at = random.below(signature.len());
    let tags = [2, 3, 4, 5, 6, 0x30, 0x31, 0x80, 0x81, 0x82, 0x84, 0xa0, 0xa1, 0xa3];
    match random.below(5) {
        0 => signature[at] = random.one_of(&tags),
        1 => signature[at] = signature[at].wrapping_add(random.one_of(&[1, 2, 0xfe, 0xff])),
        2 => signature[at] ^= 1 << random.below(8),
        3 => {
            let from = random.below(signature.len());
            let len = random.below(40).min(signature.len() - at.max(from));
            signature.copy_within(from..from + len, at);
        }
        _ => signature[at] = random.number().to_le_bytes()[0],
    }
}

#[test]
fn mutated_signatures_never_panic_and_are_never_accepted() {
    let root = Signatory::root("root");
    let middle = root.authority("middle");
    let small = uki().section(".linux", "kernel").build();
    let original = signed(&small, &middle.signer("signer"), &[&middle]);
    let (trust, start) = (trust(&root), table(&original));
    let mut random = Random::seeded(0x7369_676e);
    let mut readable = 0;
    for round in 0..MUTATIONS {
        let mut file = original.clone();
        for _ in 0..=random.below(4) {
            mutate(&mut random, &mut file[start + 4..]);
        }
        let headers = Headers::read(&file).unwrap();
        let result = catch_unwind(AssertUnwindSafe(|| {
            let readable = Facts::read(&file, &headers).signatures.is_ok();
            (readable, round.is_multiple_of(VERIFIED) && trust.verify(&file, &headers).is_ok())
        }));
        let Ok((is_readable, accepted)) = result else { panic!("round {round} panicked") };
        readable += usize::from(is_readable);
        assert!(!accepted || file == original, "round {round} was accepted");
    }
    assert!(readable > MUTATIONS / 10, "only {readable} could be read at all");
}

#[test]
fn mutated_certificates_lists_and_levels_never_panic() {
    let certificate = Signatory::root("root").der().to_vec();
    let list = [&[0x27; 28][..], &[1; 48]].concat();
    let level = b"sbat,1,2024010900\nshim,4\n".to_vec();
    let mut random = Random::seeded(0x6c69_7374);
    for _ in 0..MUTATIONS / 4 {
        for original in [&certificate, &list, &level] {
            let mut file = original.clone();
            for _ in 0..=random.below(4) {
                mutate(&mut random, &mut file);
            }
            drop(Certificate::load(&file));
            drop(Denied::parse(&file));
            drop(SbatLevel::parse(&file));
        }
    }
}
