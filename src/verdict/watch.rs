//! A guest's console from the first byte to the last: what it says of the guest's
//! way, of its failures, and of what has to be proven.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    limits::Limits,
    line::{Line, Lines},
    lists::{Allow, Deny},
    matcher,
    patterns::Severity,
    proof::{Criterion, Expects, Goal, Proof},
    scanner::{Finding, Scanner, shown},
    signs::{Sign, looks_like_a_program},
};
use crate::{outcome::End, timeline::micros};

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
const MARKS_MAX: usize = 500;

/// Watches one guest's console. No clock is in it: whoever calls says how late
/// it is, counted from the start of `main`.
#[derive(Debug)]
pub struct Watch {
    lines: Lines,
    scanner: Scanner,
    expects: Expects,
    facts: Seen,
    policy: Policy,
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Seen {
    bytes: u64,
    last_byte: Option<Duration>,
    marks: Vec<Mark>,
    /// What proves that userspace runs.
    userspace: Option<Proof>,
    /// When it first looked as if it did.
    program: Option<Duration>,
    login: Option<Proof>,
    /// When all was seen that a running guest can show.
    proven: Option<Duration>,
    /// When a failure's last line was seen, and before that its first.
    failed: Option<Duration>,
    failing: Option<Duration>,
    /// The partial line was looked at already.
    prompt_sought: bool,
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
        let Self { lines, scanner, expects, facts, policy } = self;
        facts.bytes = facts.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        facts.last_byte = Some(at);
        facts.prompt_sought = false;
        let mut sight = Sight { scanner, expects, facts, policy, at };
        lines.push(bytes, |line| {
            sight.line(&line, see);
            text(&line);
        });
    }

    /// The guest has written nothing for a while: a line that is not over may be a
    /// prompt.
    pub fn pause(&mut self, at: Duration, see: &mut dyn FnMut(&Mark)) {
        let Self { lines, scanner, expects, facts, policy } = self;
        if !std::mem::replace(&mut facts.prompt_sought, true)
            && let Some(line) = lines.partial()
        {
            Sight { scanner, expects, facts, policy, at }.line(&line, see);
        }
    }

    /// There will be no more output.
    pub fn finish(
        &mut self,
        at: Duration,
        see: &mut dyn FnMut(&Mark),
        text: &mut dyn FnMut(&Line<'_>),
    ) {
        let Self { lines, scanner, expects, facts, policy } = self;
        let mut sight = Sight { scanner, expects, facts, policy, at };
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

    /// The expected lines that were seen, in the order of the options.
    pub fn proofs(&self) -> impl Iterator<Item = &Proof> {
        self.expects.proofs()
    }

    /// The expected lines that were not.
    pub fn missing(&self) -> impl Iterator<Item = String> {
        self.expects.missing()
    }
}

/// A look at one line.
struct Sight<'a> {
    scanner: &'a mut Scanner,
    expects: &'a mut Expects,
    facts: &'a mut Seen,
    policy: &'a Policy,
    at: Duration,
}

impl Sight<'_> {
    fn line(&mut self, line: &Line<'_>, see: &mut dyn FnMut(&Mark)) {
        let hits = matcher::hits(line);
        let before = self.scanner.begun();
        self.scanner.see(line, &hits, micros(self.at));
        if self.scanner.begun() != before {
            let text = self.scanner.latest().map(|latest| latest.name.clone()).unwrap_or_default();
            self.mark(MarkName::Finding, line, text, see);
        }
        for sign in hits.signs {
            self.sign(sign, line, see);
        }
        if looks_like_a_program(line.text) && self.scanner.open().is_none() {
            self.facts.program.get_or_insert(self.at);
        }
        if self.expects.see(line, self.at) {
            self.mark(MarkName::Expected, line, shown(line), see);
        }
        self.decide();
    }

    fn sign(&mut self, sign: Sign, line: &Line<'_>, see: &mut dyn FnMut(&Mark)) {
        let name = match sign {
            Sign::LinuxVersion => MarkName::LinuxVersion,
            Sign::InitStarted => MarkName::InitStarted,
            Sign::Systemd => MarkName::Userspace,
            Sign::Target => MarkName::Target,
            Sign::Login => MarkName::LoginPrompt,
            Sign::Ending => MarkName::Ending,
            Sign::PanicEnd => MarkName::PanicEnd,
        };
        if !matches!(sign, Sign::LinuxVersion | Sign::PanicEnd) {
            let proof = || Proof::by_line("userspace started".to_owned(), line, self.at);
            self.facts.userspace.get_or_insert_with(proof);
        }
        if sign == Sign::Login {
            let proof = || Proof::by_line("a login prompt".to_owned(), line, self.at);
            self.facts.login.get_or_insert_with(proof);
        }
        let repeats = matches!(name, MarkName::Target);
        if repeats || !self.facts.marks.iter().any(|mark| mark.name == name) {
            self.mark(name, line, shown(line), see);
        }
    }

    fn mark(&mut self, name: MarkName, line: &Line<'_>, text: String, see: &mut dyn FnMut(&Mark)) {
        let latest = || self.scanner.latest().map(|latest| latest.severity);
        let severity = (name == MarkName::Finding).then(latest).flatten();
        let mark = Mark { name, text, line: line.number, at_us: micros(self.at), severity };
        see(&mark);
        if self.facts.marks.len() < MARKS_MAX {
            self.facts.marks.push(mark);
        }
    }

    /// Notes when nothing that a running guest can do would still change a pass
    /// into a better one, or a failure into a pass.
    fn decide(&mut self) {
        let Criterion { expects, status, .. } = &self.policy.criterion;
        let goal = match self.policy.criterion.goal() {
            None => !expects.is_empty(),
            Some(Goal::Init) => self.facts.userspace.is_some(),
            Some(Goal::Login) => self.facts.login.is_some(),
            Some(Goal::PowerOff) => false,
        };
        if goal && status.is_none() && self.expects.are_met() {
            self.facts.proven.get_or_insert(self.at);
        }
        let fail_on = self.policy.fail_on;
        if self.scanner.findings().iter().any(|finding| finding.severity >= fail_on) {
            self.facts.failed.get_or_insert(self.at);
        }
        self.facts.failing = match self.scanner.open() {
            Some(severity) if severity >= fail_on => self.facts.failing.or(Some(self.at)),
            _ => None,
        };
    }
}
