//! The digest, beside that of the crate `authenticode`.

use authenticode::{AttributeCertificateIterator, authenticode_digest};
use firmware_less::{
    testing::signing::{Signatory, signed},
    uki::{
        Headers,
        authenticode::{Digests, Facts, Hash, Layout, LayoutError},
    },
};
use object::read::pe::PeFile64;
use sha2::Digest as _;

use super::image;

/// The two digests of `file`: ours, and the crate's.
fn both(file: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let layout = Layout::read(file, &Headers::read(file).unwrap()).unwrap();
    let ours = Digests::read(file, &layout, &[Hash::Sha256]).unwrap();
    let mut hasher = Hasher(Vec::new());
    authenticode_digest(&PeFile64::parse(file).unwrap(), &mut hasher).unwrap();
    (ours.get(Hash::Sha256).unwrap().to_vec(), hasher.digest())
}

/// What is hashed, gathered: the crate is of an older `digest` than ours.
struct Hasher(Vec<u8>);

impl Hasher {
    fn digest(&self) -> Vec<u8> {
        sha2::Sha256::digest(&self.0).to_vec()
    }
}

impl digest::Update for Hasher {
    fn update(&mut self, data: &[u8]) {
        self.0.extend(data);
    }
}

#[test]
fn the_digest_is_that_of_another_implementation() {
    let signer = Signatory::root("somebody");
    for file in [image().build(), image().section(".more", vec![1; 700_000]).build()] {
        let (ours, theirs) = both(&file);
        assert_eq!(ours, theirs);
        let file = signed(&file, &signer, &[]);
        assert_eq!(both(&file), (ours, theirs), "a signature is not part of it");
    }
}

#[test]
fn a_signature_is_read_as_another_implementation_reads_it() {
    let root = Signatory::root("root");
    let file = signed(&image().build(), &root.signer("somebody"), &[&root]);
    let pe = PeFile64::parse(file.as_slice()).unwrap();
    let theirs = AttributeCertificateIterator::new(&pe).unwrap().unwrap().next().unwrap();
    let theirs = theirs.unwrap().get_authenticode_signature().unwrap();
    let facts = Facts::read(&file, &Headers::read(&file).unwrap());
    let [ours] = facts.signatures.as_ref().unwrap().as_slice() else { panic!("{facts:?}") };
    assert_eq!(ours.digest, theirs.digest());
    assert_eq!(theirs.certificates().count(), 2);
    assert_eq!((ours.signer.as_deref(), ours.issuer.as_str()), (Some("CN=somebody"), "CN=root"));
    assert_eq!(ours.serial.len(), 40);
    assert_eq!(facts.digests_match(&file).unwrap(), [true]);
}

#[test]
fn facts_hash_nothing_and_tell_of_an_unsigned_file_that_it_is() {
    let file = image().build();
    let facts = Facts::read(&file, &Headers::read(&file).unwrap());
    assert!(facts.signatures.unwrap().is_empty());
    assert!(facts.layout.unwrap().table.is_empty());
}

#[test]
fn a_gap_between_sections_is_named() {
    let gap = image().section(".gap", [1; 600]).but(|section| {
        section.pointer_to_raw_data += 0x200;
    });
    let file = gap.followed_by([0; 0x200]).build();
    let error = Layout::read(&file, &Headers::read(&file).unwrap()).unwrap_err();
    assert!(matches!(error, LayoutError::Gap { .. }), "{error}");
    assert!(error.to_string().starts_with("section .gap begins at 0x"), "{error}");
}

#[test]
fn bytes_behind_the_sections_are_refused() {
    let layout = |file: &[u8]| Layout::read(file, &Headers::read(file).unwrap());
    let after = image().followed_by([0; 16]).build();
    assert!(matches!(layout(&after).unwrap_err(), LayoutError::After { .. }));
    let mut signed = signed(&image().build(), &Signatory::root("somebody"), &[]);
    signed.extend([0; 8]);
    assert!(matches!(layout(&signed).unwrap_err(), LayoutError::Table { .. }));
}

/// `pe_checksum` of systemd's `src/shared/pe-binary.c`, step by step.
fn check_sum_of_systemd(file: &[u8], field: usize) -> u32 {
    let mut sum = 0_u32;
    let (buffers, size) = (file.chunks(64 << 10), 64 << 10);
    for (number, buffer) in buffers.enumerate() {
        for (index, word) in buffer.chunks(2).enumerate() {
            let place = number * size + index;
            if !(field..field + 4).contains(&place) {
                sum += u32::from(u16::from_le_bytes([word[0], word[1]]));
                sum = (sum >> 16) + (sum & 0xffff);
            }
        }
    }
    (sum >> 16) + (sum & 0xffff) + u32::try_from(file.len()).unwrap()
}

#[test]
fn the_checksum_may_be_systemds() {
    // So that there is something in what that sum passes over.
    const PE_HEADER: usize = 0x80;
    const FIELD: usize = PE_HEADER + 24 + 64;
    let image = image().section(".more", vec![0xa5; 200_000]).pe_header_at(PE_HEADER);
    let mut file = signed(&image.build(), &Signatory::root("somebody"), &[]);
    let check_sum = |file: &[u8]| {
        let layout = Layout::read(file, &Headers::read(file).unwrap()).unwrap();
        Digests::read(file, &layout, &[]).unwrap().check_sum
    };
    let right = check_sum(&file);
    assert_eq!(right.found, right.computed);
    file[FIELD..FIELD + 4].fill(0);
    let of_systemd = check_sum_of_systemd(&file, FIELD);
    assert_ne!(of_systemd, right.computed);
    file[FIELD..FIELD + 4].copy_from_slice(&of_systemd.to_le_bytes());
    assert!(check_sum(&file).is_good());
    assert_eq!(check_sum(&file).of_systemd, of_systemd);
    file[FIELD] ^= 1;
    assert!(!check_sum(&file).is_good());
}
