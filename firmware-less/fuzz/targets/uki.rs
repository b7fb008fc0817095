//! Any file, as a UKI.
#![no_main]

use firmware_less::testing::assert_uki_is_sound;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let _accepted = assert_uki_is_sound(file);
});
