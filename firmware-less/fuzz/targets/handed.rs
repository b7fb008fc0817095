//! Any command line, embedded or the user's, and initrds of any length, by any
//! reading.
#![no_main]

use firmware_less::{
    plan::{FileId, FileSlice},
    range::FileRange,
    testing::{assert_handed_is_sound_for, uki},
    uki::{Handed, Reading, Uki, handed::Choice},
};
use libfuzzer_sys::fuzz_target;

/// The reading and whether it is enforced; `.cmdline`, `.initrd`; then the user's
/// command line, words, and initrds.
type Job = ((u8, bool), Vec<u8>, Vec<u8>, Option<String>, Vec<String>, Vec<(u64, u64)>);

fuzz_target!(|job: Job| {
    let ((reading, enforced), embedded, initrd, cmdline, append, added) = job;
    let reading = Reading::ALL[usize::from(reading) % Reading::ALL.len()];
    let image = uki().section(".osrel", "ID=a").section(".linux", "kernel");
    let image = image.section(".cmdline", embedded).section(".initrd", initrd);
    let file = image.build();
    let uki = Uki::read_as(&file, reading).expect("a valid image, whatever its content");
    let slice =
        |(offset, len)| Some(FileSlice { file: FileId(1), range: FileRange::new(offset, len)? });
    let initrds = added.into_iter().filter_map(slice).collect();
    let choice = Choice { cmdline, append, initrds, enforced, ..Choice::default() };
    if let Ok(handed) = Handed::read(&file, &uki, &choice) {
        assert_handed_is_sound_for(reading, &handed);
        assert_eq!(handed.initrd_pieces().len(), handed.initrd.len());
    }
});
