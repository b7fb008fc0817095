//! Whether a guest was the one that was to be booted, and when what of it happened.

use std::time::Duration;

use super::{parts::Parts, program::Seen};
use crate::{
    bench::{
        arm::{Error, Mode},
        phase::Phase,
        trial::{Proof, Trial},
    },
    verdict::MarkName,
};

pub(super) const QUIET: &str =
    "the kernel did not print it on the console (loglevel, quiet or no console)";

/// What was seen of a guest, held against what was to be booted.
///
/// `adds` are words that the monitor is known to put on the command line by itself.
pub(super) fn proof(parts: &Parts, seen: &Seen, adds: &[&str]) -> Result<Proof, Error> {
    let mut proof = Proof { end: seen.how.to_owned(), ..Proof::default() };
    if let Some((_, line)) = seen.console.mark(MarkName::LinuxVersion, Duration::ZERO) {
        let found = release(line).unwrap_or_default().to_owned();
        if let Some(wanted) = parts.release().filter(|wanted| *wanted != found) {
            return Err(Error::Wrong { what: "kernel", found, wanted });
        }
        proof.release = Some(found);
    }
    // A line that goes on in the next is not put together again.
    if let Some(found) = cmdline(seen).filter(|found| !found.ends_with('\\')) {
        let wanted = parts.cmdline().to_string_lossy().into_owned();
        if !is_that_line(&wanted, found, adds) {
            let found = found.to_owned();
            return Err(Error::Wrong { what: "command line", found, wanted });
        }
        proof.more.insert("command line".to_owned(), found.to_owned());
    }
    Ok(proof)
}

/// The trial of a guest that was entered some time before `from`, where its first
/// output is the first byte, or line, from then on.
pub(super) fn until_end(trial: Trial, seen: &Seen, first: Option<Duration>) -> Trial {
    let reached = |trial: Trial, phase, at: Option<Duration>, why: &str| match at {
        Some(at) => trial.reached(phase, nanoseconds(at)),
        None => trial.without(phase, why),
    };
    let from = first.unwrap_or_default();
    let mark = |name| seen.console.mark(name, from).map(|(at, _)| at);
    let trial = reached(trial, Phase::FirstOutput, first, "the guest wrote nothing");
    let trial = reached(trial, Phase::LinuxVersion, mark(MarkName::LinuxVersion), QUIET);
    let trial = reached(trial, Phase::Init, mark(MarkName::InitStarted), QUIET);
    trial.reached(Phase::End, nanoseconds(seen.end))
}

/// A trial in which nothing has happened yet.
pub(super) fn trial(mode: Mode, proof: Proof) -> Trial {
    Trial::new(mode.unit(), proof)
}

pub(super) fn nanoseconds(at: Duration) -> u64 {
    u64::try_from(at.as_nanos()).unwrap_or(u64::MAX)
}

/// The release in a line "Linux version …".
pub(super) fn release(line: &str) -> Option<&str> {
    line.split_once("Linux version ")?.1.split_whitespace().next()
}

/// The command line that the kernel printed. init/main.c, `print_kernel_cmdline`.
fn cmdline(seen: &Seen) -> Option<&str> {
    let after = |line: &'_ str| line.find("Kernel command line: ").map(|at| at.saturating_add(21));
    seen.console.lines().iter().find_map(|line| line.text.get(after(&line.text)?..))
}

/// Whether `found` is `wanted`, but for blanks at its ends and words that were
/// added.
fn is_that_line(wanted: &str, found: &str, adds: &[&str]) -> bool {
    let wanted = wanted.trim();
    let found = found.trim();
    let Some(more) = found.strip_prefix(wanted) else { return false };
    more.is_empty()
        || (more.starts_with(' ') || wanted.is_empty())
            && more.split_whitespace().all(|word| adds.iter().any(|add| word.starts_with(add)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_the_word_after_linux_version() {
        let line = "[    0.000000] Linux version 6.12.1-cloud (builder@debian.org) #1 SMP";
        assert_eq!(release(line), Some("6.12.1-cloud"));
        assert_eq!(release("Linux"), None);
    }

    #[test]
    fn a_command_line_may_only_have_more_of_what_its_monitor_adds() {
        let adds = ["pci=off"];
        assert!(is_that_line("console=ttyS0 quiet", "console=ttyS0 quiet", &[]));
        assert!(is_that_line("console=ttyS0 quiet ", "console=ttyS0 quiet", &[]));
        assert!(is_that_line("quiet", "quiet pci=off", &adds));
        assert!(is_that_line("", "pci=off", &adds));
        assert!(!is_that_line("quiet", "quiet pci=off", &[]));
        assert!(!is_that_line("quiet", "quietly", &["ly"]));
        assert!(!is_that_line("quiet", "debug", &adds));
    }
}
