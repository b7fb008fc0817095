//! Any file, described.
#![no_main]

use firmware_less::{
    inspection::{Depth, Inspection},
    uki::handed::Choice,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    for depth in [Depth::Headers, Depth::Whole] {
        let files = [&file.to_vec() as &dyn firmware_less::read_at::ReadAt];
        if let Ok(found) = Inspection::read(&files, &Choice::default(), depth, &mut |_, _| {}) {
            assert_eq!(found.contents.len(), found.headers.sections.len());
            assert!(found.contents.iter().all(|one| one.range.end() <= file.len() as u64));
            drop((found.cmdline(), found.uname(), found.sbat(), found.stub(), found.pcr11()));
        }
    }
});
