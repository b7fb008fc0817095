//! What each exit status means, for help, man pages and README.

use std::{fmt::Write as _, ops::RangeInclusive};

use super::{
    BUG, DATA, DIFFERS, ENGINE_FAILURE, FAIL_PATTERN, GUEST_STATUS_MAX, HUNG_UP, INTERRUPTED, IO,
    NO_ENGINE, NO_PROOF, PANIC, SILENCE, SKIPPED, TERMINATED, TIME_LIMIT, TRIPLE_FAULT, USAGE,
    WORSE,
};

/// What a status means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// The status, or several.
    pub statuses: RangeInclusive<u8>,
    /// The commands that give it with this meaning, by name; all if there are none.
    pub commands: &'static [&'static str],
    /// In words, without a full stop.
    pub text: &'static str,
}

const fn of(status: u8, commands: &'static [&'static str], text: &'static str) -> Meaning {
    Meaning { statuses: status..=status, commands, text }
}

/// The commands that run a guest.
const GUESTS: &[&str] = &["run", "smoke"];
/// The commands that boot something of the user's.
const BOOTERS: &[&str] = &["run", "smoke", "bench"];
/// The commands that run one guest, the one whose guest is ours with them.
const RUNS: &[&str] = &["run", "smoke", "probe"];
/// All of those.
const ENGINES: &[&str] = &["run", "smoke", "probe", "bench"];
/// The commands that read a UKI.
const IMAGES: &[&str] = &["run", "smoke", "plan", "probe", "inspect", "diff", "measure"];
const ALL: &[&str] = &[];

/// Every status, in order.
pub const TABLE: &[Meaning] = &[
    of(0, &["run"], "the guest powered off or rebooted of its own will"),
    of(0, &["smoke"], "the proof was seen"),
    of(0, &["plan", "inspect", "measure", "help"], "it was told"),
    of(0, &["probe"], "the probe found what was planned, or there was no plan to compare with"),
    of(0, &["diff"], "nothing differs"),
    of(0, &["bench"], "it was measured; with --compare, nothing takes longer"),
    of(0, &["doctor"], "an engine is usable"),
    Meaning {
        statuses: 1..=GUEST_STATUS_MAX,
        commands: GUESTS,
        text: "the guest's own status, a byte written to I/O port 0xf4; 63 also for more",
    },
    of(DIFFERS, &["diff"], "something differs"),
    of(DIFFERS, &["probe"], "the probe found something else than was planned"),
    of(WORSE, &["bench"], "with --compare, something takes longer than it did"),
    of(USAGE, ALL, "wrong usage"),
    of(
        DATA,
        IMAGES,
        "the file is no UKI, or one that is refused or can't be handed over; probe --read: no whole report",
    ),
    of(DATA, &["bench"], "a UKI is refused, or a report can't be read or compared with"),
    of(DATA, &["measure"], "with --check, a signature does not fit, or there is none"),
    of(NO_ENGINE, &["run", "smoke", "probe", "bench", "doctor"], "no usable engine"),
    of(BUG, ALL, "a bug of ukivm"),
    of(IO, ALL, "a file can't be opened, read or written, or nobody reads the output"),
    of(SKIPPED, BOOTERS, "skipped, only with --skip-without-engine"),
    of(NO_PROOF, &["smoke"], "the guest ended, or its time once userspace was up, without proof"),
    of(NO_PROOF, &["bench"], "a boot failed, and the UKI was given up; the others were measured"),
    of(PANIC, GUESTS, "the kernel panicked"),
    of(TRIPLE_FAULT, RUNS, "triple fault"),
    of(FAIL_PATTERN, GUESTS, "a fail pattern: an oops, a BUG, a rescue shell, an own pattern"),
    of(
        SILENCE,
        &["smoke", "probe"],
        "nothing on the console for the time allowed, or every processor halted for good",
    ),
    of(ENGINE_FAILURE, RUNS, "the engine failed under the guest"),
    of(TIME_LIMIT, &["run", "probe"], "the time limit passed"),
    of(TIME_LIMIT, &["smoke"], "the time limit passed before userspace had started"),
    of(HUNG_UP, ENGINES, "hung up"),
    of(INTERRUPTED, ENGINES, "interrupted or quit"),
    of(TERMINATED, ENGINES, "terminated"),
];

/// Which of several applies, for commands that run a guest.
pub const ORDER: &str = "\
Where several apply, the first of: engine failure, triple fault, panic, fail pattern, guest status, proof, limits.";

impl Meaning {
    /// Whether `command` gives it.
    #[must_use]
    pub fn is_of(&self, command: &str) -> bool {
        self.commands.is_empty() || self.commands.contains(&command)
    }

    /// The statuses as text: `7`, or `1–63` with `dash` between.
    #[must_use]
    pub fn statuses(&self, dash: &str) -> String {
        let (first, last) = (self.statuses.start(), self.statuses.end());
        if first == last { first.to_string() } else { format!("{first}{dash}{last}") }
    }
}

/// The end of `command`'s help.
#[must_use]
pub fn help(command: &str) -> String {
    let mut text = "Exit status:".to_owned();
    for meaning in TABLE.iter().filter(|meaning| meaning.is_of(command)) {
        // Writing to a string can't fail.
        let _ = write!(text, "\n  {:5} {}", meaning.statuses("-"), meaning.text);
    }
    text
}

/// The same of every command, as a table in Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut text = "| status | meaning |\n|---|---|\n".to_owned();
    for meaning in TABLE {
        let commands: Vec<_> = meaning.commands.iter().map(|name| format!("`{name}`")).collect();
        let whose = if [ALL, GUESTS, BOOTERS, RUNS, ENGINES, IMAGES].contains(&meaning.commands) {
            String::new()
        } else {
            format!("{}: ", commands.join(", "))
        };
        let _ = writeln!(text, "| {} | {whose}{} |", meaning.statuses("–"), meaning.text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_one_meaning_a_command_and_they_ascend() {
        for command in ["run", "smoke", "plan", "probe", "inspect", "diff", "bench", "doctor"] {
            let own: Vec<_> = TABLE.iter().filter(|meaning| meaning.is_of(command)).collect();
            let ascends = |pair: &[&Meaning]| pair[0].statuses.end() < pair[1].statuses.start();
            assert!(own.windows(2).all(ascends), "{command}: {own:?}");
        }
    }

    #[test]
    fn every_status_of_a_signal_and_of_an_error_is_in_it() {
        use crate::outcome::Signal;
        let signals = [Signal::Int, Signal::Term, Signal::Hup].map(super::super::of_signal);
        for status in signals.into_iter().chain([USAGE, DATA, BUG, IO]) {
            assert!(TABLE.iter().any(|meaning| *meaning.statuses.start() == status), "{status}");
        }
    }

    #[test]
    fn the_readme_has_the_table() {
        let readme = include_str!("../../README.md");
        assert!(readme.contains(&markdown()), "README.md should have\n{}", markdown());
        assert!(readme.contains(ORDER));
    }
}
