//! What the kernel is given of a UKI and of the user's options.

use firmware_less::{
    plan::{Content, FileId, FileSlice},
    range::FileRange,
    testing::{Image, bzimage, uki},
    uki::{
        Handed, Name, Selector, Uki,
        handed::{Choice, Console, Error, InitrdOrigin},
    },
};

fn image() -> Image {
    uki().section(".linux", bzimage().build())
}

fn try_read(image: &Image, choice: &Choice) -> Result<Handed, Error> {
    let file = image.build();
    Handed::read(&file, &Uki::read(&file).unwrap(), choice)
}

fn read(image: &Image, choice: &Choice) -> Handed {
    try_read(image, choice).unwrap()
}

fn cmdline(image: &Image, choice: &Choice) -> String {
    String::from_utf8(read(image, choice).cmdline).unwrap()
}

fn user_file(number: usize, len: u64) -> FileSlice {
    FileSlice { file: FileId(number), range: FileRange::new(0, len).unwrap() }
}

/// Without the console that the stub would append: most tests are not about it.
fn plain() -> Choice {
    Choice { console: Console::None, ..Choice::default() }
}

fn replaced(cmdline: &str) -> Choice {
    Choice { cmdline: Some(cmdline.to_owned()), ..plain() }
}

fn appended(words: &[&str]) -> Choice {
    Choice { append: words.iter().map(ToString::to_string).collect(), ..plain() }
}

#[test]
fn the_kernel_is_its_section_without_the_padding() {
    let kernel = bzimage().followed_by("signature").build();
    let handed = read(&uki().section(".linux", &kernel), &Choice::default());
    let range = FileRange::new(0x200, kernel.len() as u64).unwrap();
    assert_eq!(handed.kernel, FileSlice { file: FileId::UKI, range });
    assert_ne!(kernel.len() % 0x200, 0);
}

#[test]
fn the_embedded_command_line_is_mangled() {
    let image = image().section(".cmdline", "root=/dev/vda  quiet \n console=ttyS0\n");
    assert_eq!(cmdline(&image, &plain()), "root=/dev/vda  quiet   console=ttyS0");
    let image = uki().section(".linux", "k").section(".cmdline", "a\0b");
    assert_eq!(cmdline(&image, &plain()), "a");
}

#[test]
fn an_absent_or_empty_command_line_is_none() {
    assert_eq!(cmdline(&image(), &plain()), "");
    assert_eq!(cmdline(&image().section(".cmdline", ""), &plain()), "");
    assert_eq!(cmdline(&image().section(".cmdline", "\0\0"), &plain()), "");
}

#[test]
fn the_users_command_line_replaces_the_embedded_one() {
    let image = image().section(".cmdline", "quiet");
    assert_eq!(cmdline(&image, &replaced(" debug\t1\n")), "debug 1");
    assert_eq!(cmdline(&image, &replaced("")), "");
}

#[test]
fn appended_words_come_last() {
    let image = image().section(".cmdline", "quiet\n");
    assert_eq!(cmdline(&image, &appended(&["a  b ", "", "\n", "c"])), "quiet a  b c");
    let both = Choice { append: vec!["c".into()], ..replaced("debug") };
    assert_eq!(cmdline(&image, &both), "debug c");
    assert_eq!(cmdline(&uki().section(".linux", "k"), &appended(&["a"])), "a");
}

#[test]
fn a_profiles_command_line_is_that_profiles() {
    let image = image()
        .section(".cmdline", "base")
        .section(".profile", "ID=a")
        .section(".profile", "ID=b")
        .section(".cmdline", "other");
    let with = |profile: &str| {
        let Ok(profile) = profile.parse();
        cmdline(&image, &Choice { profile, ..plain() })
    };
    assert_eq!((with("0"), with("1")), ("base".to_owned(), "other".to_owned()));
    assert_eq!((with("a"), with("b")), ("base".to_owned(), "other".to_owned()));
    let missing = Choice { profile: Selector::Number(2), ..plain() };
    assert_eq!(
        try_read(&image, &missing).unwrap_err().to_string(),
        "there is no profile 2: this UKI has 0 (ID a), 1 (ID b)"
    );
}

#[test]
fn invalid_utf8_in_the_command_line_is_refused() {
    let error = try_read(&image().section(".cmdline", b"quiet \xc3("), &Choice::default());
    assert_eq!(error.unwrap_err().to_string(), "section .cmdline is not valid UTF-8 at offset 0x6");
}

#[test]
fn a_command_line_of_more_than_64_kib_is_refused() {
    let longest = image().section(".cmdline", vec![b'a'; 0x1_0000]);
    assert_eq!(cmdline(&longest, &plain()).len(), 0x1_0000);
    let error = try_read(&image().section(".cmdline", vec![b'a'; 0x1_0001]), &Choice::default());
    assert_eq!(
        error.unwrap_err().to_string(),
        "section .cmdline has 0x10001 bytes of text, at most 0x10000 are read"
    );
}

#[test]
fn without_an_initrd_there_are_no_parts() {
    for image in [image(), image().section(".initrd", "")] {
        let handed = read(&image, &Choice::default());
        assert_eq!((handed.initrd.len(), handed.initrd_len()), (0, 0));
        assert!(handed.initrd_pieces().is_empty());
    }
}

#[test]
fn a_single_initrd_is_not_padded() {
    let handed = read(&image().section(".initrd", "12345"), &Choice::default());
    let [part] = handed.initrd.as_slice() else { panic!("{:?}", handed.initrd) };
    assert_eq!(part.origin, InitrdOrigin::Section(Name::Initrd));
    assert_eq!((part.content.len(), part.padded_len), (5, 5));
    assert_eq!(handed.initrd_len(), 5);

    let users = Choice { initrds: vec![user_file(1, 7)], ..Choice::default() };
    assert_eq!(read(&image(), &users).initrd_len(), 7);
}

#[test]
fn several_initrds_are_padded_each() {
    let initrds = vec![user_file(1, 8), user_file(2, 0), user_file(3, 2)];
    let choice = Choice { initrds, ..Choice::default() };
    let handed = read(&image().section(".initrd", "12345"), &choice);
    let parts: Vec<_> = handed.initrd.iter().map(|part| (part.origin, part.padded_len)).collect();
    assert_eq!(
        parts,
        [
            (InitrdOrigin::Section(Name::Initrd), 8),
            (InitrdOrigin::User(0), 8),
            (InitrdOrigin::User(2), 4)
        ]
    );
    assert_eq!(handed.initrd_len(), 20);
    let pieces = handed.initrd_pieces();
    let offsets: Vec<_> = pieces.iter().map(|piece| piece.offset).collect();
    assert_eq!(offsets, [0, 8, 16]);
    assert_eq!(pieces[2].content, Content::File(user_file(3, 2)));
}

#[test]
fn initrds_that_cannot_be_counted_are_refused() {
    for initrds in [vec![user_file(1, u64::MAX), user_file(2, 1)], vec![user_file(1, 1 << 63); 2]] {
        let error = try_read(&image(), &Choice { initrds, ..Choice::default() }).unwrap_err();
        assert_eq!(error.to_string(), "the initrd parts together have more than 2⁶⁴ bytes");
    }
}
