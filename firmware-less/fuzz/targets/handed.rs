//! Any command line, embedded or the user's, and initrds of any length.
#![no_main]

use firmware_less::{
    plan::{FileId, FileSlice},
    range::FileRange,
    testing::{assert_handed_is_sound, uki},
    uki::{Handed, Uki, handed::Choice},
};
use libfuzzer_sys::fuzz_target;

/// `.cmdline`, `.initrd`, then the user's command line, words, and initrds.
type Job = (Vec<u8>, Vec<u8>, Option<String>, Vec<String>, Vec<(u64, u64)>);

fuzz_target!(|job: Job| {
    let (embedded, initrd, cmdline, append, added) = job;
    let image = uki().section(".linux", "kernel").section(".cmdline", embedded);
    let file = image.section(".initrd", initrd).build();
    let uki = Uki::read(&file).expect("a valid image, whatever its content");
    let slice =
        |(offset, len)| Some(FileSlice { file: FileId(1), range: FileRange::new(offset, len)? });
    let initrds = added.into_iter().filter_map(slice).collect();
    let choice = Choice { cmdline, append, initrds, ..Choice::default() };
    if let Ok(handed) = Handed::read(&file, &uki, &choice) {
        assert_handed_is_sound(&handed);
        assert_eq!(handed.initrd_pieces().len(), handed.initrd.len());
    }
});
