//! Addons: what is read of them, which are refused, what they add.

use firmware_less::{
    plan::{FileId, FileSlice},
    range::FileRange,
    testing::{Image, bzimage, uki},
    uki::{
        Addon, Handed, Name, Uki,
        handed::{Choice, InitrdOrigin, Note},
    },
};

const UCODE: InitrdOrigin = InitrdOrigin::Section(Name::Ucode);
const INITRD: InitrdOrigin = InitrdOrigin::Section(Name::Initrd);

/// Addons in the job's files 1, 2 and so on.
fn addons(images: &[Image]) -> Vec<Addon> {
    let read = |(number, image): (usize, &Image)| {
        Addon::read(&image.build(), FileId(number + 1)).unwrap_or_else(|error| panic!("{error}"))
    };
    images.iter().enumerate().map(read).collect()
}

fn handed(image: &Image, choice: &Choice) -> Handed {
    let file = image.build();
    Handed::read(&file, &Uki::read(&file).unwrap(), choice).unwrap()
}

fn with(image: &Image, images: &[Image]) -> Handed {
    handed(image, &Choice { addons: addons(images), ..Choice::default() })
}

fn cmdline(handed: &Handed) -> &str {
    str::from_utf8(&handed.cmdline).unwrap()
}

fn kernel() -> Image {
    uki().section(".linux", bzimage().build()).section(".cmdline", "console=tty0\n")
}

fn refusal(image: &Image) -> String {
    let error = Addon::read(&image.build(), FileId(1)).unwrap_err();
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

#[test]
fn command_lines_of_addons_are_mangled_and_appended_in_order() {
    let images = [" a\n", "\n", "b  c\0d"].map(|words| uki().section(".cmdline", words));
    let handed = handed(
        &kernel(),
        &Choice { addons: addons(&images), append: vec!["last".to_owned()], ..Choice::default() },
    );
    assert_eq!(cmdline(&handed), "console=tty0 a b  c last");
}

#[test]
fn addons_append_to_the_users_command_line_too() {
    let choice = Choice {
        cmdline: Some("console=hvc0".to_owned()),
        addons: addons(&[uki().section(".cmdline", "a")]),
        ..Choice::default()
    };
    assert_eq!(cmdline(&handed(&kernel(), &choice)), "console=hvc0 a");
}

#[test]
fn a_console_that_an_addon_names_is_one() {
    let image = uki().section(".linux", bzimage().build());
    let named = with(&image, &[uki().section(".cmdline", "console=ttyS0")]);
    assert_eq!((cmdline(&named), named.notes.len()), ("console=ttyS0", 0));
    let unnamed = with(&image, &[uki().section(".cmdline", "a")]);
    assert_eq!(cmdline(&unnamed), "a console=uart,io,0x3f8");
    assert_eq!(unnamed.notes, [Note::Console { appended: "console=uart,io,0x3f8" }]);
}

#[test]
fn microcode_of_addons_comes_first_and_in_reverse() {
    let image = kernel().section(".initrd", "initrd").section(".ucode", "ucode");
    let addon = |initrd, ucode| uki().section(".initrd", initrd).section(".ucode", ucode);
    let handed = with(&image, &[addon("1", "11"), addon("2", "22")]);
    let origins: Vec<_> = handed.initrd.iter().map(|part| part.origin).collect();
    let of = |file, name| InitrdOrigin::Addon(FileId(file), name);
    assert_eq!(
        origins,
        [
            of(2, Name::Ucode),
            of(1, Name::Ucode),
            UCODE,
            INITRD,
            of(1, Name::Initrd),
            of(2, Name::Initrd)
        ]
    );
    let lengths: Vec<_> = handed.initrd.iter().map(|part| part.padded_len).collect();
    assert_eq!(lengths, [4, 4, 8, 8, 4, 4]);
}

#[test]
fn the_users_initrds_follow_those_of_addons() {
    let file = FileSlice { file: FileId(9), range: FileRange::first(1) };
    let choice = Choice {
        addons: addons(&[uki().section(".initrd", "1")]),
        initrds: vec![file],
        ..Choice::default()
    };
    let origins: Vec<_> =
        handed(&kernel(), &choice).initrd.iter().map(|part| part.origin).collect();
    assert_eq!(origins, [InitrdOrigin::Addon(FileId(1), Name::Initrd), InitrdOrigin::User(0)]);
}

#[test]
fn an_addon_for_another_kernel_is_left_out_and_said() {
    let image = kernel().section(".uname", "6.12.1");
    let addon = |uname| uki().section(".cmdline", "a").section(".uname", uname);
    for fits in ["6.12.1", " 6.12.1\n\0"] {
        assert_eq!(cmdline(&with(&image, &[addon(fits)])), "console=tty0 a", "{fits:?}");
    }
    for other in ["6.12", "6.12.10", "\0"] {
        let handed = with(&image, &[addon(other)]);
        assert_eq!(cmdline(&handed), "console=tty0", "{other:?}");
        let [Note::AddonLeftOut { addon, found, .. }] = handed.notes.as_slice() else {
            panic!("{:?}", handed.notes)
        };
        assert_eq!((*addon, found.to_string().as_str()), (FileId(1), "6.12.1"));
    }
}

#[test]
fn where_either_names_no_version_the_addon_fits() {
    let plain = uki().section(".cmdline", "a");
    let image = kernel().section(".uname", "6.12.1");
    assert_eq!(cmdline(&with(&image, std::slice::from_ref(&plain))), "console=tty0 a");
    assert_eq!(cmdline(&with(&kernel(), &[plain.section(".uname", "6")])), "console=tty0 a");
}

#[test]
fn an_addon_with_a_kernel_is_refused() {
    assert_eq!(
        refusal(&kernel()),
        "the file is a UKI (section .linux), expected an addon, which has no kernel"
    );
}

#[test]
fn an_addon_for_another_machine_is_refused() {
    let image = uki().section(".cmdline", "a").header(|header| header.machine = 0xaa64);
    assert_eq!(
        refusal(&image),
        "the file is for aarch64 (0xaa64), expected an addon for x86-64 (0x8664)"
    );
}

#[test]
fn an_addon_that_adds_nothing_is_refused() {
    let nothing = "the file has none of .cmdline, .initrd and .ucode: it adds nothing for a kernel";
    assert_eq!(refusal(&uki().section(".uname", "6.12")), nothing);
    assert_eq!(refusal(&uki().section(".cmdline", "")), nothing);
    assert_eq!(refusal(&uki().section(".dtb", "tree")), nothing);
}

#[test]
fn an_addon_is_checked_as_a_uki_is() {
    let image = uki().section(".cmdline", "a").but(|section| section.virtual_size = 0x201);
    assert_eq!(
        refusal(&image),
        "the file is no addon to UKIs: section .cmdline has VirtualSize 0x201, more than its \
         SizeOfRawData 0x200: ukify and objcopy write the content's exact length as VirtualSize"
    );
    assert_eq!(
        refusal(&uki().section(".cmdline", b"a\xff")),
        "section .cmdline is not valid UTF-8 at offset 0x1: invalid utf-8 sequence of 1 bytes from \
         index 1"
    );
    assert_eq!(
        refusal(&uki().section(".cmdline", vec![b'a'; 0x1_0001])),
        "section .cmdline has 0x10001 bytes of text, at most 0x10000 are read"
    );
    let text = Addon::read(b"text".as_slice(), FileId(1)).unwrap_err();
    assert_eq!(text.to_string(), "the file is no addon to UKIs");
}
