//! The end of a run: what was proven, what is missing, and the verdict in words.

use super::{
    patterns::{PATTERNS, Severity},
    proof::{Goal, Proof},
    rules::{self, Facts, Verdict},
    scanner::Finding,
    watch::Watch,
};
use crate::outcome::End;

/// What a run comes to, and why.
#[derive(Clone, Debug)]
pub struct Conclusion {
    /// The verdict.
    pub verdict: Verdict,
    /// What was wanted and seen.
    pub proofs: Vec<Proof>,
    /// What was wanted and not seen.
    pub missing: Vec<String>,
    /// The verdict in words.
    pub summary: String,
    /// What to do about it, where there is something to do.
    pub next_step: Option<String>,
}

/// How a run ended, beside what its console told.
#[derive(Clone, Debug)]
pub struct Ending {
    /// How.
    pub end: End,
    /// When, in microseconds since the start of `main`.
    pub at_us: u64,
    /// The guest was started again as often as it may be.
    pub restarted: bool,
}

/// Concludes from what `watch` has seen, all of it, and from how the run ended.
#[must_use]
pub fn conclude(watch: &Watch, ending: &Ending) -> Conclusion {
    let (proofs, missing) = evidence(watch, ending);
    let fail_on = watch.policy().fail_on;
    let failing = |finding: &&Finding| finding.severity >= fail_on;
    let is_panic = |finding: &&Finding| finding.severity == Severity::Panic;
    let panic = watch.findings().iter().find(is_panic);
    let pattern = watch.findings().iter().find(|one| failing(one) && !is_panic(one));
    let (panic, pattern) =
        (panic.map(|one| origin(one, watch)), pattern.map(|one| origin(one, watch)));
    let facts = Facts {
        end: ending.end.clone(),
        panic: panic.map(|finding| finding.name.clone()),
        pattern: pattern.map(|finding| finding.name.clone()),
        expected_status: watch.policy().criterion.status,
        proven: missing.is_empty(),
        userspace: watch.userspace(),
        restarted: ending.restarted,
    };
    let verdict = rules::smoke(&facts);
    let decisive = panic.or(pattern).filter(|finding| finding.name == verdict.cause);
    let words = Words { watch, end: &ending.end, missing: &missing, decisive };
    let (summary, next_step) = (words.summary(&verdict), words.next_step(&verdict));
    Conclusion { verdict, proofs, missing, summary, next_step }
}

/// What `finding` comes of, where that was found too; else itself. A panic comes of
/// what was before it; who opens a shell may say only later what was missing.
fn origin<'a>(finding: &'a Finding, watch: &'a Watch) -> &'a Finding {
    let is_panic = finding.severity == Severity::Panic;
    let pattern = PATTERNS
        .iter()
        .find(|row| row.name == finding.name && (row.severity == Severity::Panic) == is_panic);
    let follows = pattern.map_or(&[][..], |row| row.follows);
    let is_origin = |other: &&Finding| {
        follows.contains(&other.name.as_str()) && (!is_panic || other.line < finding.line)
    };
    watch.findings().iter().find(is_origin).unwrap_or(finding)
}

/// What was wanted: seen, and not.
fn evidence(watch: &Watch, ending: &Ending) -> (Vec<Proof>, Vec<String>) {
    let criterion = &watch.policy().criterion;
    let (mut proofs, mut missing) = (watch.proofs().cloned().collect::<Vec<_>>(), Vec::new());
    missing.extend(watch.missing());
    let mut note = |wanted: &str, proof: Option<Proof>| match proof {
        Some(proof) => proofs.push(proof),
        None => missing.push(wanted.to_owned()),
    };
    let done = |wanted: &str, text: String| Proof {
        wanted: wanted.to_owned(),
        line: None,
        text,
        at_us: ending.at_us,
    };
    if let Some(status) = criterion.status {
        let wanted = format!("status {status}");
        let seen = ending.end == End::Status { status };
        note(&wanted, seen.then(|| done(&wanted, "the guest ended with it".to_owned())));
    }
    match criterion.goal() {
        Some(Goal::PowerOff) => {
            note("userspace started", watch.userspace_proof().cloned());
            let text = match ending.end {
                End::PowerOff => Some("the guest powered off"),
                End::Status { status: 0 } => Some("the guest ended with status 0"),
                _ => None,
            };
            note("a clean end", text.map(|text| done("a clean end", text.to_owned())));
        }
        Some(Goal::Init) => note("userspace started", watch.userspace_proof().cloned()),
        Some(Goal::Login) => note("a login prompt", watch.login_proof().cloned()),
        None => {}
    }
    (proofs, missing)
}

/// What is said of a verdict.
struct Words<'a> {
    watch: &'a Watch,
    end: &'a End,
    missing: &'a [String],
    /// The finding that decided.
    decisive: Option<&'a Finding>,
}

impl Words<'_> {
    fn summary(&self, verdict: &Verdict) -> String {
        if let Some(finding) = self.decisive {
            return format!("{} (line {}: {})", finding.cause, finding.line, finding.text);
        }
        if verdict.is_pass() {
            return "all that was wanted was seen".to_owned();
        }
        let happened = match self.end {
            End::PowerOff => "the guest powered off".to_owned(),
            End::Reset { .. } if verdict.cause == "reboot-loop" => {
                "the guest reset itself again and again".to_owned()
            }
            End::Reset { .. } => "the guest reset itself".to_owned(),
            End::Status { status } => format!("the guest ended with its own status {status}"),
            End::Panic => "the kernel panicked, and said nothing of it on the console".to_owned(),
            End::TripleFault => "the guest triple-faulted".to_owned(),
            End::TimeLimit => "the time limit passed".to_owned(),
            End::BootLimit => "userspace did not start in time".to_owned(),
            End::Silence if self.watch.amount().0 == 0 => {
                "the guest wrote nothing to its console".to_owned()
            }
            End::Silence => "the guest fell silent".to_owned(),
            End::Halted => "the guest stopped for good: every processor is halted, with \
                            interrupts off"
                .to_owned(),
            End::Decided => "the guest was ended".to_owned(),
            End::Interrupted { .. } => "interrupted".to_owned(),
            End::ConsoleClosed => "nobody reads the console any more".to_owned(),
            End::EngineFailure { reason } => format!("the engine failed: {reason}"),
        };
        let unproven = !self.missing.is_empty() && is_about_proof(verdict);
        let missing = unproven.then(|| format!("; not seen: {}", self.missing.join(", ")));
        happened + &missing.unwrap_or_default()
    }

    fn next_step(&self, verdict: &Verdict) -> Option<String> {
        if let Some(finding) = self.decisive {
            return Some(finding.next_step.clone());
        }
        let step = match verdict.cause.as_str() {
            "silence" => "if the guest is only slow, give it more with --silence-timeout",
            "halted" => {
                "the last lines say what it did before; with --append 'earlyprintk=ttyS0 loglevel=7' \
                 the kernel says more"
            }
            "boot-time-limit" => "if the guest is only slow, give it more with --boot-timeout",
            "time-limit" | "time-limit-without-proof" => {
                "if the guest is only slow, give it more with --timeout"
            }
            "power-off-without-proof" if self.watch.userspace_proof().is_none() => {
                "nothing on the console tells that userspace started; is it quiet? \
                 Say with --expect what the guest prints when all is well"
            }
            "status-without-proof" => "say with --expect-status which status is the right one",
            "reset-without-proof" => "a guest that is to reset itself needs --reboot restart",
            _ => return None,
        };
        Some(step.to_owned())
    }
}

/// Whether what decided is that something was not seen.
fn is_about_proof(verdict: &Verdict) -> bool {
    use crate::exit::{NO_PROOF, SILENCE, TIME_LIMIT};
    [NO_PROOF, SILENCE, TIME_LIMIT].contains(&verdict.status)
}
