//! Targets that take the bytes for a whole file.

use crate::{
    inspection::{Depth, Inspection},
    range::FileRange,
    read_at::ReadAt,
    testing::{
        assert_kernel_is_sound, assert_uki_is_sound, assert_verdicts_are_sound,
        bzimage as kernel_file,
        signing::{Pkcs7, Signatory, with_entries},
        uki,
    },
    uki::{
        Headers,
        authenticode::{Certificate, Denied, Facts, SbatLevel, Trust},
        handed::Choice,
    },
};

/// A UKI, by every reading.
pub(super) fn sections(file: &[u8]) {
    let _accepted = assert_uki_is_sound(file);
    let _accepted = assert_verdicts_are_sound(file);
}

/// A file to be described.
pub(super) fn inspection(file: &[u8]) {
    for depth in [Depth::Headers, Depth::Whole] {
        let files = [&file.to_vec() as &dyn ReadAt];
        if let Ok(found) = Inspection::read(&files, &Choice::default(), depth, &mut |_, _| {}) {
            assert_eq!(found.contents.len(), found.headers.sections.len());
            assert!(found.contents.iter().all(|one| one.range.end() <= file.len() as u64));
            drop((found.cmdline(), found.uname(), found.sbat(), found.stub(), found.pcr11()));
        }
    }
}

/// A kernel.
pub(super) fn bzimage(file: &[u8]) {
    let whole = FileRange::first(file.len() as u64);
    let _accepted = assert_kernel_is_sound(file, whole);
}

/// A certificate table, certificates, a deny list, and generations.
pub(super) fn signature(bytes: &[u8]) {
    let image = uki().section(".sbat", "sbat,1\n").section(".linux", "kernel").build();
    let file = with_entries(&image, &[bytes.to_vec()]);
    let headers = Headers::read(&file).expect("the headers are good");
    let facts = Facts::read(&file, &headers);
    let mut trust = Trust::default();
    if let Ok(signatures) = &facts.signatures {
        assert!(signatures.len() <= 1);
        // Nothing but what was given can make a file trusted.
        assert!(trust.verify(&file, &headers).is_err());
    }
    if let Ok(certificates) = Certificate::load(bytes) {
        assert!(!certificates.is_empty());
        trust.certificates = certificates;
    }
    if let Ok(denied) = Denied::parse(bytes) {
        trust.denied = denied;
    }
    trust.sbat_level = SbatLevel::parse(bytes).ok();
    drop(trust.verify(&file, &headers));
}

pub(super) fn images() -> Vec<Vec<u8>> {
    let plain = uki().section(".cmdline", "quiet").section(".linux", kernel_file().build());
    let profiles = plain
        .clone()
        .section(".initrd", "cpio")
        .section(".profile", "ID=main")
        .section(".profile", "ID=other")
        .section(".cmdline", "");
    let addon = uki()
        .section(".sdmagic", "#### LoaderInfo: systemd-addon 257 ####")
        .section(".cmdline", "debug");
    [plain, profiles, addon].map(|image| image.build()).to_vec()
}

pub(super) fn kernels() -> Vec<Vec<u8>> {
    vec![kernel_file().build(), kernel_file().version("6.12.0 (a@b) #1").build()]
}

pub(super) fn signatures() -> Vec<Vec<u8>> {
    let root = Signatory::root("root");
    let signer = root.signer("signer");
    let image = uki().section(".sbat", "sbat,1\n").section(".linux", "kernel").build();
    vec![
        Pkcs7::of(&image, &signer, &[&root]).build(&signer),
        root.pem().into_bytes(),
        root.der().to_vec(),
        b"00".repeat(32),
        b"sbat,1,2024010900\nshim,4\n".to_vec(),
    ]
}
