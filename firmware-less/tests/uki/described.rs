//! What a UKI says of itself, and what is made of it.

use firmware_less::{
    file_format::FileFormat,
    handoff::kexec::{Flavour, least_memory},
    inspection::{Depth, End, Inspection},
    read_at::ReadAt,
    testing::{Image, bzimage, uki},
    uki::{
        cpio::{Target, archive},
        handed::Choice,
    },
};

fn inspect(image: &Image, depth: Depth) -> Inspection {
    let file = image.build();
    let files: [&dyn ReadAt; 1] = [&file];
    Inspection::read(&files, &Choice::default(), depth, &mut |_, _| {}).unwrap()
}

fn image() -> Image {
    let kernel = bzimage().version("6.12.0-test (somebody)").payload(b"\x1f\x8b\x08 and so on");
    uki()
        .section(".osrel", "ID=test\nPRETTY_NAME=\"A Test\"\n")
        .section(".cmdline", "quiet\0")
        .section(".sbat", "sbat,1,a,b,c,d\nstub.test,3,e,f,g,h\n")
        .section(".linux", kernel.build())
        .section(".initrd", archive(&Target::EXTRA, &[("a", b"content"), ("b", b"")]).unwrap())
        .section(".pcrsig", "{}")
}

#[test]
fn the_system_and_its_generations_are_told() {
    let found = inspect(&image(), Depth::Headers);
    assert_eq!(found.os_release().name(), Some("A Test"));
    let sbat: Vec<_> = found.sbat().into_iter().map(|entry| entry.component).collect();
    assert_eq!(sbat, ["sbat", "stub.test"]);
}

#[test]
fn the_kernel_and_what_it_is_packed_with_are_told() {
    let found = inspect(&image(), Depth::Headers);
    let facts = found.kernel.as_ref().unwrap().as_ref().unwrap();
    assert!(facts.version.as_deref().is_some_and(|version| version.starts_with("6.12.0-test")));
    let (format, range) = facts.payload.unwrap();
    assert_eq!((format, range), (FileFormat::Compressed("gzip"), facts.kernel.payload().unwrap()));
    let least = found.least_memory().unwrap().unwrap();
    let expected = least_memory(&facts.kernel, found.given().unwrap(), Flavour::default());
    assert_eq!(Ok(least), expected.map_err(|error| error.to_string()));
    assert!(least >= 32 << 20, "{least:#x}");
}

#[test]
fn an_initrd_is_followed_record_by_record_whatever_the_depth() {
    for depth in [Depth::Headers, Depth::Whole] {
        let found = inspect(&image(), depth);
        let segment = found.initrd[0].segments[0];
        assert_eq!((segment.records, segment.end), (Some(3), End::Trailer), "{depth:?}");
    }
}

#[test]
fn signatures_of_pcr_values_are_looked_at_where_all_is() {
    assert!(inspect(&image(), Depth::Whole).pcr_signatures.is_some());
    assert!(inspect(&image(), Depth::Headers).pcr_signatures.is_none());
}

#[test]
fn nothing_is_measured_of_a_file_that_is_refused() {
    let refused = inspect(&image().section(".cmdline", "another"), Depth::Whole);
    assert!(refused.refused.is_some() && refused.pcr11().is_none());
    assert!(inspect(&image(), Depth::Whole).pcr11().is_some());
}

#[test]
fn text_is_shown_without_the_nuls_at_its_end() {
    let found = inspect(&image().section(".uname", "6.12\0more\0\0"), Depth::Headers);
    let shown: Vec<_> = found.contents.iter().filter_map(|one| one.shown()?.ok()).collect();
    assert_eq!(shown[1], "quiet");
    assert_eq!(shown.last().map(String::as_str), Some("6.12\\0more"));
}
