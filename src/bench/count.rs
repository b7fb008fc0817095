//! When a counted guest reached what, in its own instructions.

use std::{collections::BTreeMap, time::Duration};

use super::arm::Until;
use crate::{
    engine::tcg::Counts,
    outcome::End,
    timeline::Milestone,
    verdict::{MarkName, Policy, Proof, Watch},
};

/// The seed of the kernel's random numbers where nobody gives one: any will do, as
/// long as it is the same every time.
pub(crate) const SEED: [u8; 32] = *b"ukivm bench --count: always this";

/// After how many instructions a guest that ended with `end` had reached what.
///
/// A line counts from its last byte, which is when it is known what it says; `policy`
/// says what has to be seen until a trial is over.
pub(crate) fn milestones(
    counts: &Counts,
    policy: Policy,
    until: Until,
    end: &End,
) -> BTreeMap<Milestone, u64> {
    let watch = watched(counts, policy);
    let at = |name| watch.marks().iter().find(|mark| mark.name == name).map(|mark| mark.at_us);
    let proof = match until {
        Until::End => None,
        Until::Init => watch.userspace_proof(),
        Until::Login => watch.login_proof(),
    };
    let times = [
        (Milestone::FirstConsoleByte, counts.console().next().map(|(_, after)| after)),
        (Milestone::LinuxVersion, at(MarkName::LinuxVersion)),
        (Milestone::InitStarted, at(MarkName::InitStarted)),
        (Milestone::End, ended(counts, proof, end)),
    ];
    times.into_iter().filter_map(|(milestone, at)| Some((milestone, at?))).collect()
}

/// The same watch that times a guest, shown each byte with its count in the place of
/// microseconds.
fn watched(counts: &Counts, policy: Policy) -> Watch {
    let mut watch = Watch::new(policy);
    let mut last = Duration::ZERO;
    for (byte, after) in counts.console() {
        last = Duration::from_micros(after);
        watch.push(&[byte], last, &mut |_| {}, &mut |_| {});
    }
    watch.pause(last, &mut |_| {});
    watch
}

/// When the trial was over, if the guest's instructions tell.
fn ended(counts: &Counts, proof: Option<&Proof>, end: &End) -> Option<u64> {
    match end {
        End::Decided => proof.map(|proof| proof.at_us),
        // What it was ended by was the last of its instructions.
        End::PowerOff | End::Reset { .. } => Some(counts.executed()),
        _ => None,
    }
}

/// Why a trial has no end that is counted.
pub(crate) const NO_END: &str =
    "only power-off, a reset and what --until waits for are counted, not the status of port 0xf4";

/// Why no instructions of a decompressor are counted.
pub(crate) const UNKNOWN: &str = "where this kernel's decompressor ends is not known";
pub(crate) const ELSEWHERE: &str = "the kernel's decompressor did not end where it should";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::ResetBy,
        verdict::{Criterion, Goal},
    };

    /// A guest that writes each byte of `console` a hundred instructions after the one
    /// before, and powers off 1 instruction after the last.
    fn counts(console: &str) -> Counts {
        let after = (1..=console.len()).map(hundred);
        let last = hundred(console.len());
        Counts::of(console.as_bytes(), after.collect(), last | 1)
    }

    fn hundred(bytes: usize) -> u64 {
        u64::try_from(bytes).unwrap().checked_mul(100).unwrap()
    }

    const BOOT: &str = "[    0.000000] Linux version 6.12.1 (a@b) #1 SMP\n\
                        [    0.700000] Run /init as init process\n\
                        systemd[1]: Reached target Basic System\nhost login: ";

    /// The count at the end of the line that has `text`.
    fn end_of(text: &str) -> u64 {
        let (before, line) = BOOT.split_once(text).unwrap();
        let (rest, _) = line.split_once('\n').unwrap();
        hundred([before, text, rest, "\n"].concat().len())
    }

    fn reached(until: Until, goal: Option<Goal>, end: &End) -> BTreeMap<Milestone, u64> {
        let policy =
            Policy { criterion: Criterion { goal, ..Criterion::default() }, ..Policy::default() };
        milestones(&counts(BOOT), policy, until, end)
    }

    #[test]
    fn a_line_is_reached_with_its_last_byte() {
        let wanted = [
            (Milestone::FirstConsoleByte, 100),
            (Milestone::LinuxVersion, end_of("Linux version")),
            (Milestone::InitStarted, end_of("Run /init")),
            (Milestone::End, hundred(BOOT.len()) | 1),
        ];
        assert_eq!(reached(Until::End, None, &End::PowerOff), wanted.into());
    }

    #[test]
    fn what_is_waited_for_is_the_end() {
        let init = reached(Until::Init, Some(Goal::Init), &End::Decided);
        assert_eq!(init[&Milestone::End], end_of("Run /init"));
        let login = reached(Until::Login, Some(Goal::Login), &End::Decided);
        assert_eq!(login[&Milestone::End], hundred(BOOT.len()));
    }

    #[test]
    fn a_reset_is_the_last_instruction_and_a_status_has_no_count() {
        let reset = End::Reset { by: ResetBy::Unknown };
        let reached = |end: &End| reached(Until::End, None, end).get(&Milestone::End).copied();
        assert_eq!(reached(&reset), Some(hundred(BOOT.len()) | 1));
        assert_eq!(reached(&End::Status { status: 0 }), None);
    }

    #[test]
    fn a_silent_guest_reaches_its_end_only() {
        let silent = Counts::of(b"", Vec::new(), 5);
        let reached = milestones(&silent, Policy::default(), Until::End, &End::PowerOff);
        assert_eq!(reached, [(Milestone::End, 5)].into());
    }
}
