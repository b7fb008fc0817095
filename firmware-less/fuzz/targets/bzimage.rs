//! Any file, as a kernel.
#![no_main]

use firmware_less::{range::FileRange, testing::assert_kernel_is_sound};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let whole = FileRange::new(0, file.len() as u64).expect("a length alone cannot pass 2⁶⁴");
    let _accepted = assert_kernel_is_sound(file, whole);
});
