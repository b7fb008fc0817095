//! What a UKI says of itself, and what is made of it.

use firmware_less::{
    file_format::FileFormat,
    handoff::kexec::{Flavour, least_memory},
    inspection::{Depth, End, Inspection, Unlike, Warning},
    read_at::ReadAt,
    testing::{
        Image, bzimage,
        cpio::record,
        signing::{Signatory, signed},
        uki,
    },
    uki::{
        Reading,
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

#[test]
fn a_signature_is_held_against_the_file_where_all_of_it_is_read() {
    let mut file = signed(&image().build(), &Signatory::root("somebody"), &[]);
    let matches = |file: &[u8], depth| {
        let file = file.to_vec();
        let files: [&dyn ReadAt; 1] = [&file];
        let found = Inspection::read(&files, &Choice::default(), depth, &mut |_, _| {});
        found.unwrap().signature.digests_match
    };
    assert_eq!(matches(&file, Depth::Whole), [true]);
    assert!(matches(&file, Depth::Headers).is_empty());
    let initrd = file.windows(6).position(|window| window == b"070701").unwrap();
    file[initrd + 20] ^= 1;
    assert_eq!(matches(&file, Depth::Whole), [false]);
}

#[test]
fn each_reading_is_told_and_what_it_hands_over_otherwise_than_the_stub() {
    let readings = inspect(&image(), Depth::Headers).readings.unwrap();
    let order: Vec<_> = readings.iter().map(|facts| facts.reading).collect();
    assert_eq!(order, Reading::ALL);
    let unlike = |reading| {
        let facts = readings.iter().find(|facts| facts.reading == reading).unwrap();
        facts.verdict.as_ref().unwrap().unlike_stub
    };
    assert_eq!(unlike(Reading::Stub), None);
    // Which appends a console, and the os-release file.
    let all = Unlike { kernel: false, initrd: true, cmdline: true };
    assert_eq!(unlike(Reading::Uapi), Some(all));
    let plain = uki()
        .section(".cmdline", "console=ttyS0")
        .section(".linux", bzimage().build())
        .section(".initrd", "initrd");
    let readings = inspect(&plain, Depth::Headers).readings.unwrap();
    let alike = readings.iter().filter_map(|facts| facts.verdict.as_ref().ok()?.unlike_stub);
    let alike: Vec<_> = alike.filter(|unlike| *unlike == Unlike::default()).collect();
    assert!(!alike.is_empty(), "{readings:?}");
}

/// The warnings about `image`, as text.
fn warnings(image: &Image) -> Vec<String> {
    inspect(image, Depth::Whole).warnings.iter().map(Warning::to_string).collect()
}

fn sound() -> Image {
    uki().section(".linux", bzimage().build())
}

#[test]
fn a_command_line_that_is_not_what_it_seems_is_warned_of() {
    let of = |cmdline: &[u8]| warnings(&sound().section(".cmdline", cmdline));
    let no_console = "the command line names no console: systemd-stub from 261 on adds \
                      console=uart,io,0x3f8, older ones nothing";
    assert_eq!(of(b"quiet"), [no_console]);
    assert_eq!(of(b"console=ttyS0\0\0"), [""; 0]);
    let nul = "section .cmdline has a NUL at offset 0xd: what follows it is ignored";
    assert_eq!(of(b"console=ttyS0\0\0debug"), [nul]);
    assert_eq!(of(b"console=a\xff"), ["section .cmdline is not valid UTF-8 at offset 0x9"]);
}

#[test]
fn an_initrd_that_the_kernel_does_not_unpack_is_warned_of() {
    let of = |initrd: &[u8]| {
        warnings(&sound().section(".cmdline", "console=ttyS0").section(".initrd", initrd))
    };
    let whole = archive(&Target::EXTRA, &[("abc", b"content")]).unwrap();
    assert_eq!(of(&whole), [""; 0]);
    let cut = of(&whole[..whole.len() - 8]);
    assert!(cut[0].starts_with("the cpio archive at 0x0 in ") && cut.len() == 1, "{cut:?}");
    let other = of(b"070707 and so on");
    assert!(other[0].ends_with("does not unpack: cpio of another kind"), "{other:?}");
}

#[test]
fn a_name_as_long_as_the_trailer_s_is_not_the_trailer() {
    let bytes = [record("ten-bytes!\0", 0o100_644, b"x"), record("TRAILER!!!\0", 0, b"")];
    let found = inspect(&sound().section(".initrd", bytes.concat()), Depth::Headers);
    let segment = found.initrd[0].segments[0];
    assert_eq!((segment.records, segment.end), (Some(1), End::Trailer));
}

#[test]
fn a_line_of_sbat_that_shim_can_t_read_is_warned_of() {
    let image = sound().section(".cmdline", "console=ttyS0");
    let of = |sbat: &str| warnings(&image.clone().section(".sbat", sbat));
    assert_eq!(of("sbat,1,a,b,c,d\n"), [""; 0]);
    let warned = of("sbat,1,a,b,c,d\nstub.test,x,a,b,c,d\n");
    assert!(warned[0].starts_with("line 2 of .sbat is not") && warned.len() == 1, "{warned:?}");
}

#[test]
fn a_stub_knows_the_sections_of_its_release_and_of_older_ones() {
    let unknown = |release: &str, section: &str, content: &[u8]| {
        let magic = format!("#### LoaderInfo: systemd-stub {release} ####");
        let image = sound().section(".cmdline", "console=ttyS0").section(".sdmagic", magic);
        let warned = warnings(&image.section(section, content));
        warned.iter().filter(|warning| warning.contains("ignores")).count()
    };
    let ucode = archive(&Target::EXTRA, &[]).unwrap();
    for (section, since, content) in [
        (".uname", 254, &b"6.12"[..]),
        (".ucode", 256, &ucode),
        (".profile", 257, b"ID=a"),
        (".efifw", 258, b"firmware"),
    ] {
        let count = |release: u32| unknown(&release.to_string(), section, content);
        assert_eq!((count(since - 1), count(since)), (1, 0), "{section}");
    }
}
