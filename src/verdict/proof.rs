//! What has to be seen for a run to pass, and what was.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{expression::Expression, line::Line, said::Saying, scanner::shown};
use crate::timeline::micros;

/// What a run has to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// Userspace started, then a clean end: a power-off, or status 0.
    PowerOff,
    /// Userspace started.
    Init,
    /// A prompt that ends in `login:`.
    Login,
}

/// What has to be seen, all of it.
#[derive(Clone, Debug, Default)]
pub struct Criterion {
    /// These expressions, on the console.
    pub expects: Vec<Expression>,
    /// In whatever order they come.
    pub in_any_order: bool,
    /// These sayings of the system in the guest.
    pub sayings: Vec<Saying>,
    /// This status, on the exit port.
    pub status: Option<u8>,
    /// This goal.
    pub goal: Option<Goal>,
}

impl Criterion {
    /// The goal: as asked, and [`Goal::PowerOff`] where nothing at all was.
    #[must_use]
    pub fn goal(&self) -> Option<Goal> {
        let nothing_else =
            self.expects.is_empty() && self.sayings.is_empty() && self.status.is_none();
        self.goal.or(nothing_else.then_some(Goal::PowerOff))
    }
}

/// Something that was wanted and was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// What was wanted.
    pub wanted: String,
    /// The number of the line in the raw output, where it was a line.
    pub line: Option<u64>,
    /// What that line says, or what was done.
    pub text: String,
    /// When, in microseconds since the start of `main`.
    pub at_us: u64,
}

impl Proof {
    /// A proof by a line.
    pub(super) fn by_line(wanted: String, line: &Line<'_>, at: Duration) -> Self {
        Self { wanted, line: Some(line.number), text: shown(line), at_us: micros(at) }
    }
}

/// Looks for expressions, line by line.
#[derive(Debug)]
pub(super) struct Expects {
    wanted: Vec<(Expression, Option<Proof>)>,
    in_any_order: bool,
    /// The line that the last match was on, and where it ended: in order, the next
    /// may follow on the same line.
    last: (u64, usize),
}

impl Expects {
    pub(super) fn new(criterion: &Criterion) -> Self {
        let wanted = criterion.expects.iter().map(|regex| (regex.clone(), None)).collect();
        Self { wanted, in_any_order: criterion.in_any_order, last: (0, 0) }
    }

    /// Takes the next line, or a partial one; whether it proved something.
    pub(super) fn see(&mut self, line: &Line<'_>, at: Duration) -> bool {
        if self.in_any_order { self.see_any(line, at) } else { self.see_next(line, at) }
    }

    fn see_any(&mut self, line: &Line<'_>, at: Duration) -> bool {
        let mut some = false;
        for (regex, proof) in self.wanted.iter_mut().filter(|(_, proof)| proof.is_none()) {
            if regex.is_match(line.text) {
                *proof = Some(Proof::by_line(wanted(regex), line, at));
                some = true;
            }
        }
        some
    }

    fn see_next(&mut self, line: &Line<'_>, at: Duration) -> bool {
        let mut some = false;
        let (last_line, last_end) = self.last;
        let mut from =
            if last_line == line.number { last_end.saturating_sub(line.before) } else { 0 };
        while let Some((regex, proof)) = self.wanted.iter_mut().find(|(_, proof)| proof.is_none()) {
            let Some(found) = found_at(regex, line.text, from) else { break };
            *proof = Some(Proof::by_line(wanted(regex), line, at));
            from = found;
            self.last = (line.number, line.before.saturating_add(found));
            some = true;
        }
        some
    }

    /// Whether all of them were seen.
    pub(super) fn are_met(&self) -> bool {
        self.wanted.iter().all(|(_, proof)| proof.is_some())
    }

    pub(super) fn proofs(&self) -> impl Iterator<Item = &Proof> {
        self.wanted.iter().filter_map(|(_, proof)| proof.as_ref())
    }

    pub(super) fn missing(&self) -> impl Iterator<Item = String> {
        self.wanted.iter().filter(|(_, proof)| proof.is_none()).map(|(regex, _)| wanted(regex))
    }
}

/// Where the first match at or behind `from` ends.
fn found_at(expression: &Expression, text: &[u8], from: usize) -> Option<usize> {
    (from <= text.len()).then(|| expression.end_of_match(text, from))?
}

fn wanted(regex: &Expression) -> String {
    format!("expect {:?}", regex.as_str())
}
