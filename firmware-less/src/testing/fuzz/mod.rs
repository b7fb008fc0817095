//! Targets for fuzzing: each takes any bytes at all, and panics where something that
//! must hold does not.
//!
//! They are driven in two ways: by libFuzzer, for as long as one likes (`make fuzz`),
//! and by [`Target::run_changed`] in the tests, for a moment and the same each time.

mod built;
mod input;
mod plans;
mod unpacking;
mod whole;

use std::panic;

pub use input::Input;

use super::Random;

/// Something to be fuzzed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// Bytes to begin with, which lead to where it gets interesting.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// The targets of this crate.
pub const TARGETS: [Target; 11] = [
    Target { name: "sections", run: whole::sections, seeds: whole::images },
    Target { name: "inspection", run: whole::inspection, seeds: whole::images },
    Target { name: "signature", run: whole::signature, seeds: whole::signatures },
    Target { name: "bzimage", run: whole::bzimage, seeds: whole::kernels },
    Target { name: "payload", run: unpacking::payload, seeds: unpacking::payloads },
    Target { name: "initrd", run: unpacking::initrd, seeds: unpacking::initrds },
    Target { name: "profiles", run: built::profiles, seeds: built::profile_seeds },
    Target { name: "cmdline", run: built::cmdline, seeds: built::cmdline_seeds },
    Target { name: "addons", run: built::addons, seeds: built::addon_seeds },
    Target { name: "cpio", run: built::cpio, seeds: built::cpio_seeds },
    Target { name: "plan", run: plans::plan, seeds: plans::seeds },
];

impl Target {
    /// The target of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        TARGETS.into_iter().find(|target| target.name == name)
    }

    /// Runs it on its seeds, and `runs` times on one of them that was changed by chance.
    ///
    /// # Panics
    ///
    /// Where something does not hold, with the bytes that show it.
    pub fn run_changed(&self, runs: usize) {
        let seeds = (self.seeds)();
        assert!(!seeds.is_empty(), "{} has no seeds", self.name);
        for seed in &seeds {
            self.try_on(seed);
        }
        let mut random = Random::seeded(self.name.bytes().map(u64::from).sum());
        let mut bytes = Vec::new();
        for _ in 0..runs {
            // Now and then what was changed is changed further.
            if bytes.is_empty() || random.below(4) > 0 {
                bytes.clone_from(&seeds[random.below(seeds.len())]);
            }
            for _ in 0..=random.below(3) {
                change(&mut bytes, &mut random);
            }
            self.try_on(&bytes);
        }
    }

    fn try_on(&self, bytes: &[u8]) {
        let held = panic::catch_unwind(|| (self.run)(bytes)).is_ok();
        assert!(held, "{} fails on {bytes:02x?}", self.name);
    }
}

/// The longest that bytes grow by changes.
const LEN_MAX: usize = 1 << 14;

/// Changes one thing.
fn change(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let some = (1 + random.below(16)).min(bytes.len() - at);
    match random.below(8) {
        0 => drop(bytes.drain(at..at + some)),
        1 if bytes.len() < LEN_MAX => {
            let copy = bytes[at..at + some].to_vec();
            let to = random.below(bytes.len() + 1);
            bytes.splice(to..to, copy);
        }
        2 if bytes.len() < LEN_MAX => {
            let new = random.number().to_le_bytes();
            bytes.splice(at..at, new[..=random.below(8)].iter().copied());
        }
        3 if random.below(4) == 0 => bytes.truncate(at),
        _ => {
            let width = random.one_of(&[1, 1, 2, 4, 8]).min(bytes.len() - at);
            let mut field = [0; 8];
            field[..width].copy_from_slice(&bytes[at..at + width]);
            let value = random.edge(u64::from_le_bytes(field), bytes.len() as u64);
            bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A test of each target, with as many runs as take a second or two.
    macro_rules! hold {
        ($($test:ident: $target:literal, $runs:literal;)*) => {
            $(
                #[test]
                fn $test() {
                    Target::named($target).unwrap().run_changed($runs);
                }
            )*

            #[test]
            fn every_target_is_tested() {
                assert_eq!(TARGETS.map(|target| target.name), [$($target),*]);
            }
        };
    }

    hold! {
        sections_are_sound_whatever_the_file: "sections", 20_000;
        any_file_can_be_described: "inspection", 20_000;
        no_bytes_make_a_file_trusted: "signature", 20_000;
        a_kernel_is_sound_whatever_its_header: "bzimage", 20_000;
        a_payload_unpacks_to_its_size_or_is_refused: "payload", 20_000;
        an_initrd_is_to_the_kernel_what_it_was_whatever_it_is: "initrd", 20_000;
        a_profile_has_its_own_sections_or_the_base_s: "profiles", 20_000;
        a_command_line_is_text_whatever_it_is_made_of: "cmdline", 20_000;
        addons_give_words_in_order_and_microcode_in_reverse: "addons", 20_000;
        an_archive_has_all_that_it_is_made_of: "cpio", 20_000;
        what_is_laid_out_is_a_plan: "plan", 20_000;
    }
}
