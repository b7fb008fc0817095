//! What one line tells.

use std::time::Duration;

use super::{
    line::Line,
    matcher,
    patterns::Severity,
    proof::{Expects, Proof},
    said::Sayings,
    scanner::{Scanner, shown},
    signs::{Sign, looks_like_a_program, repeats_cmdline},
    watch::{MARKS_MAX, Mark, MarkName, Policy, Seen},
};
use crate::timeline::micros;

/// A look at one line.
pub(super) struct Sight<'a> {
    pub(super) scanner: &'a mut Scanner,
    pub(super) expects: &'a mut Expects,
    pub(super) sayings: &'a Sayings,
    pub(super) facts: &'a mut Seen,
    pub(super) policy: &'a Policy,
    pub(super) at: Duration,
    /// There is no more to come, so this line may lack its end.
    pub(super) is_last: bool,
}

impl Sight<'_> {
    pub(super) fn line(&mut self, line: &Line<'_>, see: &mut dyn FnMut(&Mark)) {
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
        // Of a line that is cut short nobody knows whose it is.
        let is_over = line.is_whole && !self.is_last;
        if is_over && looks_like_a_program(line.text) && self.scanner.open().is_none() {
            self.facts.program.get_or_insert(self.at);
        }
        if !repeats_cmdline(line.text) && self.expects.see(line, self.at) {
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
        let is_kept = self.facts.marks.len() < MARKS_MAX;
        // What ends a run is told in any case.
        if is_kept || severity == Some(Severity::Panic) || name == MarkName::PanicEnd {
            see(&mark);
        }
        if is_kept {
            self.facts.marks.push(mark);
        }
    }

    /// Notes when nothing that a running guest can do would still change a pass
    /// into a better one, or a failure into a pass.
    fn decide(&mut self) {
        let criterion = &self.policy.criterion;
        self.facts.prove(criterion, self.expects.are_met() && self.sayings.are_met(), self.at);
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
