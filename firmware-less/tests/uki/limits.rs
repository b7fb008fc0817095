//! What is exactly as long, as high or as many as it may be, and what is one more.

use firmware_less::{
    kernel::{Error, Kernel},
    plan::FileId,
    range::FileRange,
    testing::{
        BzImage, Counted, Image, bzimage, rsa,
        signing::{Pkcs7, Signatory, signed, with_entries},
        uki,
    },
    uki::{
        Addon, Headers, Name, Uki,
        authenticode::{Facts, SbatLevel, Trust},
        pcrsig::{self, PcrSignatures},
    },
};

use crate::signature;

/// The most text that is read of a section.
const TEXT_MAX: usize = 64 << 10;

fn read(kernel: BzImage) -> Result<Kernel, Error> {
    let file = kernel.build();
    Kernel::read(&file, FileRange::first(file.len() as u64))
}

fn message(image: &Image) -> String {
    Uki::read(&image.build()).map_or_else(|error| error.to_string(), |_| "accepted".to_owned())
}

#[test]
fn a_kernel_s_numbers_may_be_at_their_limits() {
    assert!(read(bzimage().with(|header| header.version = 0x20c)).is_ok());
    assert!(read(bzimage().with(|header| header.kernel_alignment = 0x1000)).is_ok());
    assert!(read(bzimage().with(|header| header.pref_address = 1 << 52)).is_ok());
    assert!(read(bzimage().with(|header| header.pref_address = (1 << 52) + 1)).is_err());
    let cut = read(bzimage().cut_at(0x400)).unwrap_err().to_string();
    assert_eq!(cut, "the kernel has 0x400 bytes, its real-mode part alone has 0x800");
    let kernel = read(bzimage()).unwrap();
    let (sectors, payload) = (kernel.header().setup_sects, kernel.header().payload_length);
    assert_eq!((sectors, payload), (3, 0x100));
}

#[test]
fn headers_may_end_where_the_file_does() {
    let whole = || uki().section(".linux", "kernel");
    assert_eq!(
        message(&whole().cut_at(0x40)),
        "the PE header is at 0x40 (e_lfanew), in a file of 0x40 bytes"
    );
    let last = whole().header(|header| header.e_lfanew = 0x3e8);
    assert_eq!(last.build().len(), 0x400);
    assert!(message(&last).starts_with("the PE signature at 0x3e8 is 0x00000000"));
    let shortest = whole().header(|header| {
        header.size_of_optional_header = 0x70;
        header.number_of_rva_and_sizes = 1;
    });
    assert_eq!(
        message(&shortest),
        "SizeOfOptionalHeader is 0x70, with 0x1 data directories it must be 0x78"
    );
    assert_eq!(message(&whole().header(|header| header.size_of_headers = 0x170)), "accepted");
    assert_eq!(
        message(&whole().header(|header| header.size_of_headers = 0x16f)),
        "SizeOfHeaders is 0x16f, but the section table ends at 0x170"
    );
}

#[test]
fn a_file_may_have_as_many_bytes_as_its_offsets_reach() {
    let beginning = uki().section(".linux", bzimage().build()).build();
    assert!(Uki::read(&Counted::sparse(beginning.clone(), 1 << 32)).is_ok());
    assert_eq!(
        Uki::read(&Counted::sparse(beginning, (1 << 32) + 1)).unwrap_err().to_string(),
        "the file has 0x100000001 bytes, a PE file's offsets reach only 0x100000000"
    );
}

#[test]
fn a_table_of_a_thousand_sections_takes_one_read() {
    let mut image = uki().section(".linux", "kernel");
    for _ in 1..1000 {
        image = image.section(".more", "");
    }
    let file = Counted::new(image.build());
    assert_eq!(Headers::read(&file).unwrap().sections.len(), 1000);
    // The first 4096 bytes, and the table.
    assert_eq!(file.reads(), 2);
}

#[test]
fn an_addon_s_text_may_be_as_long_as_any() {
    let addon = |len| {
        let image = uki().section(".cmdline", vec![b'a'; len]);
        Addon::read(&image.build(), FileId(1)).map(|addon| addon.cmdline.unwrap().len())
    };
    assert_eq!(addon(TEXT_MAX).unwrap(), TEXT_MAX);
    assert_eq!(
        addon(TEXT_MAX + 1).unwrap_err().to_string(),
        "section .cmdline has 0x10001 bytes of text, at most 0x10000 are read"
    );
}

#[test]
fn there_may_be_4096_signatures_of_pcr_values_and_a_long_key() {
    let check = |count, key_len: usize| {
        let entry = r#"{"pcrs":[],"pkfp":"","pol":"","sig":""}"#;
        let json = format!("{{\"sha256\":[{}]}}", vec![entry; count].join(","));
        let mut key = pem_of(&rsa::public_key_info());
        key.extend(vec![b'\n'; key_len.saturating_sub(key.len())]);
        let image = uki().section(".linux", "kernel").section(".pcrpkey", key);
        let file = image.section(".pcrsig", json).build();
        let uki = Uki::read(&file).unwrap();
        PcrSignatures::check(&file, &uki, &uki.profile(0).unwrap(), &[])
            .map(|found| found.unwrap().0.len())
    };
    assert_eq!(check(4096, TEXT_MAX).unwrap(), 4096);
    assert!(matches!(check(4097, 0), Err(pcrsig::Error::TooMany)));
    assert!(matches!(
        check(1, TEXT_MAX + 1),
        Err(pcrsig::Error::TooLong { section: Name::Pcrpkey, .. })
    ));
}

fn pem_of(info: &[u8]) -> Vec<u8> {
    use base64ct::{Base64, Encoding as _};
    let text = Base64::encode_string(info);
    format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n").into_bytes()
}

#[test]
fn a_signature_may_hold_32_certificates() {
    let root = Signatory::root("root");
    let file = signature::image().build();
    let parsed = |count| {
        let mut parts = Pkcs7::of(&file, &root, &[]);
        parts.certificates = vec![root.der().to_vec(); count];
        let file = with_entries(&file, &[parts.build(&root)]);
        let facts = Facts::read(&file, &Headers::read(&file).unwrap());
        facts.signatures.map(|signatures| signatures.len()).map_err(|error| error.to_string())
    };
    assert_eq!(parsed(32), Ok(1));
    assert!(parsed(33).unwrap_err().contains("more than 32 certificates"));
    assert!(parsed(34).is_err());
}

#[test]
fn a_file_s_generations_may_be_as_long_as_any_text() {
    let root = Signatory::root("root");
    let check = |len| {
        let mut sbat = b"sbat,1,a,b,c,d\nstub.test,3,a,b,c,d\n".to_vec();
        sbat.resize(len, 0);
        let image = uki().section(".linux", bzimage().build()).section(".sbat", sbat);
        let file = signed(&image.build(), &root, &[]);
        let sbat_level = Some(SbatLevel::parse(b"sbat,1,2024010900\n").unwrap());
        let trust = Trust { sbat_level, ..signature::trust(&root) };
        signature::verify(&trust, &file).map(|_| ()).map_err(|error| {
            std::error::Error::source(&error).map_or(error.to_string(), ToString::to_string)
        })
    };
    assert_eq!(check(TEXT_MAX), Ok(()));
    let error = check(TEXT_MAX + 1).unwrap_err();
    assert!(error.contains("0x10001 bytes of text, at most 0x10000 are read"), "{error}");
}
