//! Any file, as a UKI, by every reading.
#![no_main]

use firmware_less::testing::{assert_uki_is_sound, assert_verdicts_are_sound};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let _accepted = assert_uki_is_sound(file);
    let _accepted = assert_verdicts_are_sound(file);
});
