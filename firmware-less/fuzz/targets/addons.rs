//! Any addons to a UKI: those for its kernel give their words in order, and their
//! microcode in reverse.
#![no_main]

use firmware_less::{
    plan::FileId,
    testing::{assert_handed_is_sound, uki},
    uki::{
        Addon, Handed, Name, Uki,
        handed::{Choice, InitrdOrigin, Note},
    },
};
use libfuzzer_sys::fuzz_target;

/// The UKI's `.uname`; each addon's `.uname`, `.cmdline`, `.initrd` and `.ucode`.
type Job = (Option<Vec<u8>>, Vec<[Option<Vec<u8>>; 4]>);

fuzz_target!(|job: Job| {
    let (uname, addons) = job;
    let mut image = uki().section(".linux", "kernel").section(".cmdline", "base");
    if let Some(uname) = uname {
        image = image.section(".uname", uname);
    }
    let file = image.build();
    let uki = Uki::read(&file).expect("a valid image, whatever its content");
    let read = |(number, sections): (usize, [Option<Vec<u8>>; 4])| {
        let names = [".uname", ".cmdline", ".initrd", ".ucode"];
        let sections = names.into_iter().zip(sections);
        let image = sections.fold(uki_without_kernel(), |image, (name, content)| match content {
            Some(content) => image.section(name, content),
            None => image,
        });
        Addon::read(&image.build(), FileId(number + 1)).ok()
    };
    let addons: Vec<_> = addons.into_iter().take(16).enumerate().filter_map(read).collect();
    let given = addons.len();
    let choice = Choice { addons, ..Choice::default() };
    let Ok(handed) = Handed::read(&file, &uki, &choice) else { return };
    assert_handed_is_sound(&handed);
    let left_out = handed.notes.iter().filter(|note| matches!(note, Note::AddonLeftOut { .. }));
    assert!(left_out.count() <= given);
    let of = |name| {
        let parts = handed.initrd.iter().filter_map(move |part| match part.origin {
            InitrdOrigin::Addon(file, found) if found == name => Some(file.0),
            _ => None,
        });
        parts.collect::<Vec<_>>()
    };
    assert!(of(Name::Initrd).is_sorted());
    assert!(of(Name::Ucode).is_sorted_by(|a, b| a >= b));
    assert!(handed.cmdline.starts_with(b"base"));
});

fn uki_without_kernel() -> firmware_less::testing::Image {
    uki().section(".sdmagic", "#### LoaderInfo: systemd-addon 257 ####")
}
