//! Signed images: whose are accepted, and what else is refused.

mod digests;
mod lists;
mod mutated;
mod trust;

use firmware_less::{
    testing::{Image, bzimage, signing::Signatory, uki},
    uki::{
        Headers,
        authenticode::{Certificate, Error, Trust, Verified},
    },
};

pub(super) fn image() -> Image {
    uki()
        .section(".sbat", "sbat,1,SBAT Version,sbat,1,url\nstub.test,3,Test,stub,1,url\n")
        .section(".cmdline", "quiet")
        .section(".linux", bzimage().build())
        .section(".initrd", [0x5a; 3000])
}

pub(super) fn trust(signatory: &Signatory) -> Trust {
    let certificates = Certificate::load(signatory.der()).unwrap();
    Trust { certificates, ..Trust::default() }
}

pub(super) fn verify(trust: &Trust, file: &[u8]) -> Result<Verified, Error> {
    trust.verify(file, &Headers::read(file).unwrap())
}
