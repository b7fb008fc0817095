//! Any bytes as a certificate table, certificates, a deny list and generations.
#![no_main]

use firmware_less::{
    testing::{signing::with_entries, uki},
    uki::{
        Headers,
        authenticode::{Certificate, Denied, Facts, SbatLevel, Trust},
    },
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
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
});
