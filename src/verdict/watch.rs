//! A guest's console from the first byte to the last: what it says of the guest's
//! way, of its failures, and of what has to be proven.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    limits::Limits,
    line::{Line, Lines},
    lists::{Allow, Deny},
    patterns::Severity,
    proof::{Criterion, Expects, Goal, Proof},
    said::Sayings,
    scanner::{Finding, Scanner},
    sight::Sight,
};
use crate::{outcome::End, readiness::Notice, timeline::micros};

/// What decides a run's verdict.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What has to be seen.
    pub criterion: Criterion,
    /// What fails beside the built-in patterns.
    pub deny: Deny,
    /// What passes though a pattern matches.
    pub allow: Allow,
    /// From which severity on a finding is a failure.
    pub fail_on: Severity,
    /// How long it may take.
    pub limits: Limits,
}

impl Default for Policy {
    /// Nothing is wanted but a look at the built-in patterns.
    fn default() -> Self {
        Self {
            criterion: Criterion::default(),
            deny: Deny::default(),
            allow: Allow::default(),
            fail_on: Severity::Fail,
            limits: Limits::NONE,
        }
    }
}

/// Something that a line told, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// What it is.
    pub name: MarkName,
    /// The line, or what of it counts.
    pub text: String,
    /// The number of the line in the raw output.
    pub line: u64,
    /// In microseconds since the start of `main`.
    pub at_us: u64,
    /// How bad it is, for a finding.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub severity: Option<Severity>,
}

/// What a [`Mark`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkName {
    /// `Linux version …`
    LinuxVersion,
    /// `Run … as init process`
    InitStarted,
    /// Something that only a program makes happen.
    Userspace,
    /// systemd reached a target.
    Target,
    /// A prompt that ends in `login:`.
    LoginPrompt,
    /// An expected line.
    Expected,
    /// A finding.
    Finding,
    /// The kernel said that it powers off, halts or restarts.
    Ending,
    /// The last line of a panic.
    PanicEnd,
}

/// The most marks that are kept; a guest may print without end.
pub(super) const MARKS_MAX: usize = 500;

/// Watches one guest's console. No clock is in it: whoever calls says how late
/// it is, counted from the start of `main`.
#[derive(Debug)]
pub struct Watch {
    lines: Lines,
    scanner: Scanner,
    expects: Expects,
    sayings: Sayings,
    facts: Seen,
    policy: Policy,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) bytes: u64,
    pub(super) last_byte: Option<Duration>,
    pub(super) marks: Vec<Mark>,
    /// What proves that userspace runs.
    pub(super) userspace: Option<Proof>,
    /// When it first looked as if it did.
    pub(super) program: Option<Duration>,
    pub(super) login: Option<Proof>,
    /// When all was seen that a running guest can show.
    pub(super) proven: Option<Duration>,
    /// When a failure's last line was seen, and before that its first.
    pub(super) failed: Option<Duration>,
    pub(super) failing: Option<Duration>,
    /// The partial line was looked at already.
    pub(super) prompt_sought: bool,
}

impl Seen {
    /// Notes when nothing is left to be shown by a running guest, of which `all` that was
    /// expected has come.
    pub(super) fn prove(&mut self, criterion: &Criterion, all: bool, at: Duration) {
        let goal = match criterion.goal() {
            None => !criterion.expects.is_empty() || !criterion.sayings.is_empty(),
            Some(Goal::Init) => self.userspace.is_some(),
            Some(Goal::Login) => self.login.is_some(),
            Some(Goal::PowerOff) => false,
        };
        if goal && criterion.status.is_none() && all {
            self.proven.get_or_insert(at);
        }
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::new(Policy::default())
    }
}

impl Watch {
    /// A watch that has seen nothing.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            lines: Lines::default(),
            scanner: Scanner::new(policy.deny.clone(), policy.allow.clone()),
            expects: Expects::new(&policy.criterion),
            sayings: Sayings::new(&policy.criterion.sayings),
            facts: Seen::default(),
            policy,
        }
    }

    /// The guest wrote `bytes`. `see` is told of what they mean, and `text` is
    /// given each line.
    pub fn push(
        &mut self,
        bytes: &[u8],
        at: Duration,
        see: &mut dyn FnMut(&Mark),
        text: &mut dyn FnMut(&Line<'_>),
    ) {
        let Self { lines, scanner, expects, sayings, facts, policy } = self;
        facts.bytes = facts.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        facts.last_byte = Some(at);
        facts.prompt_sought = false;
        let mut sight = Sight { scanner, expects, sayings, facts, policy, at, is_last: false };
        lines.push(bytes, |line| {
            sight.line(&line, see);
            text(&line);
        });
    }

    /// The system in the guest said something of itself.
    pub fn hear(&mut self, notice: &Notice, at: Duration) {
        let Self { expects, sayings, facts, policy, .. } = self;
        sayings.hear(notice, at);
        facts.userspace.get_or_insert_with(|| Proof {
            wanted: "userspace started".to_owned(),
            line: None,
            text: "the system says something of itself by vsock".to_owned(),
            at_us: micros(at),
        });
        facts.prove(&policy.criterion, expects.are_met() && sayings.are_met(), at);
    }

    /// The guest has written nothing for a while: a line that is not over may be a
    /// prompt.
    pub fn pause(&mut self, at: Duration, see: &mut dyn FnMut(&Mark)) {
        let Self { lines, scanner, expects, sayings, facts, policy } = self;
        if !std::mem::replace(&mut facts.prompt_sought, true)
            && let Some(line) = lines.partial()
        {
            Sight { scanner, expects, sayings, facts, policy, at, is_last: false }.line(&line, see);
        }
    }

    /// There will be no more output.
    pub fn finish(
        &mut self,
        at: Duration,
        see: &mut dyn FnMut(&Mark),
        text: &mut dyn FnMut(&Line<'_>),
    ) {
        let Self { lines, scanner, expects, sayings, facts, policy } = self;
        let mut sight = Sight { scanner, expects, sayings, facts, policy, at, is_last: true };
        lines.finish(|line| {
            sight.line(&line, see);
            text(&line);
        });
        self.scanner.finish();
    }

    /// What ends the run by itself next, and when, for a guest that was entered
    /// at `entered`.
    #[must_use]
    pub fn due(&self, entered: Option<Duration>, panicked: bool) -> Option<(Duration, End)> {
        let Limits { total, boot, silence, settle } = self.policy.limits;
        let facts = &self.facts;
        let total = total.map(|at| (at, End::TimeLimit));
        let boot = boot.filter(|_| !self.userspace()).map(|at| (at, End::BootLimit));
        let silence = silence
            .and_then(|silence| {
                entered?.max(facts.last_byte.unwrap_or_default()).checked_add(silence)
            })
            .map(|at| (at, End::Silence));
        // A panicked guest is given time for its trace by other means.
        let decided = |at: Option<Duration>, times: u32| {
            let at = at.filter(|_| !panicked)?.checked_add(settle.checked_mul(times)?)?;
            Some((at, End::Decided))
        };
        let ends = [
            total,
            boot.filter(|_| !panicked),
            silence.filter(|_| !panicked),
            decided(facts.proven, 1),
            decided(facts.failed, 1),
            decided(facts.failing, 5),
        ];
        ends.into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Whether userspace has started, as far as anything tells.
    #[must_use]
    pub fn userspace(&self) -> bool {
        let facts = &self.facts;
        facts.userspace.is_some()
            || facts.program.is_some()
            || self.expects.proofs().next().is_some()
    }

    /// What proves that userspace has started.
    #[must_use]
    pub fn userspace_proof(&self) -> Option<&Proof> {
        self.facts.userspace.as_ref()
    }

    /// The login prompt.
    #[must_use]
    pub fn login_proof(&self) -> Option<&Proof> {
        self.facts.login.as_ref()
    }

    /// Findings that are not allowed, in order.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        self.scanner.findings()
    }

    /// Findings that are allowed, in order.
    #[must_use]
    pub fn allowed(&self) -> &[Finding] {
        self.scanner.allowed()
    }

    /// What the lines told, in order.
    #[must_use]
    pub fn marks(&self) -> &[Mark] {
        &self.facts.marks
    }

    /// The last lines, oldest first.
    pub fn recent(&self) -> impl Iterator<Item = &str> {
        self.scanner.recent()
    }

    /// How many bytes there were, and how many lines.
    #[must_use]
    pub fn amount(&self) -> (u64, u64) {
        (self.facts.bytes, self.lines.count())
    }

    /// When the last byte came.
    #[must_use]
    pub fn last_byte(&self) -> Option<Duration> {
        self.facts.last_byte
    }

    /// What decides.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The expected lines that were seen, in the order of the options, and then what the
    /// system said.
    pub fn proofs(&self) -> impl Iterator<Item = &Proof> {
        self.expects.proofs().chain(self.sayings.proofs())
    }

    /// The expected lines that were not.
    pub fn missing(&self) -> impl Iterator<Item = String> {
        self.expects.missing().chain(self.sayings.missing())
    }
}
