//! Findings: what matched a fail pattern, with an excerpt from its first line to
//! its last.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{
    line::Line,
    lists::{Allow, Deny},
    matcher::{self, Hits},
    patterns::{DENIED, PATTERNS, Pattern, Severity},
};

/// The longest line of an excerpt, in bytes.
const EXCERPT_LINE_MAX: usize = 512;
/// The most findings of a severity that are kept; more are only counted.
const FINDINGS_MAX: usize = 50;
/// How many of the last lines are kept.
pub const RECENT: usize = 100;

/// Something on the console that matched a fail pattern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The pattern's name.
    pub name: String,
    /// How bad it is.
    pub severity: Severity,
    /// The number of its first line in the raw output, from 1.
    pub line: u64,
    /// When that line was over, in microseconds since the start of `main`.
    pub at_us: u64,
    /// Its first line.
    pub text: String,
    /// What it means.
    pub cause: String,
    /// What to do about it.
    pub next_step: String,
    /// The regular expression of a `--deny` or `--allow` list that decided.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub listed: Option<String>,
    /// From what led to it to its last line.
    pub excerpt: Vec<String>,
    /// Whether the excerpt was ended by its bound and not by its last line.
    pub is_cut: bool,
}

/// A finding whose last line is still to come.
#[derive(Debug)]
struct Open {
    row: Option<usize>,
    finding: Finding,
    lines_left: usize,
    /// The kernel's counter of deaths was seen, and won't come again in this one.
    died: bool,
}

/// Looks for findings, line by line.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    deny: Deny,
    allow: Allow,
    open: Option<Open>,
    findings: Vec<Finding>,
    allowed: Vec<Finding>,
    recent: VecDeque<String>,
    /// How many have begun.
    begun: u64,
    /// The partial line that began a finding: it does not begin another when it
    /// is over.
    begun_by: Option<u64>,
}

impl Scanner {
    pub(super) fn new(deny: Deny, allow: Allow) -> Self {
        Self { deny, allow, ..Self::default() }
    }

    /// Takes the next line, or a partial one that has stood for a while.
    pub(super) fn see(&mut self, line: &Line<'_>, hits: &Hits, at_us: u64) {
        let begun_before = self.begun_by == Some(line.number);
        let denied = if begun_before { None } else { self.deny.find(line) };
        let start = match (hits.row, denied) {
            _ if begun_before => None,
            (Some(row), _) => Some((Some(row), None)),
            (None, Some(listed)) => Some((None, Some(listed))),
            (None, None) => None,
        };
        let text = shown(line);
        match start {
            Some((row, listed)) if !self.is_part(row, line.text) => {
                self.close();
                self.begin(row, listed, (line.number, at_us, text.clone()));
                self.begun_by = (!line.is_whole).then_some(line.number);
            }
            _ if line.is_whole => self.go_on(line.text, &text, begun_before),
            _ => return,
        }
        if line.is_whole {
            self.remember(text);
            self.begun_by = None;
        }
        if self.open.as_ref().is_some_and(|open| open.lines_left == 0) {
            self.close();
        }
    }

    /// There will be no more lines.
    pub(super) fn finish(&mut self) {
        self.close();
    }

    /// Those that are not allowed; the open one is not among them.
    pub(super) fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Those that an `--allow` list lets pass.
    pub(super) fn allowed(&self) -> &[Finding] {
        &self.allowed
    }

    /// How many have begun so far.
    pub(super) fn begun(&self) -> u64 {
        self.begun
    }

    /// The one that began last, as long as it is kept.
    pub(super) fn latest(&self) -> Option<&Finding> {
        let open = self.open.as_ref().map(|open| &open.finding);
        let closed = [self.findings.last(), self.allowed.last()].into_iter().flatten();
        open.or_else(|| closed.max_by_key(|finding| finding.at_us))
    }

    /// How bad the open one is.
    pub(super) fn open(&self) -> Option<Severity> {
        self.open.as_ref().map(|open| open.finding.severity)
    }

    /// The last lines, oldest first.
    pub(super) fn recent(&self) -> impl Iterator<Item = &str> {
        self.recent.iter().map(String::as_str)
    }

    /// Whether a line that could begin a finding belongs to the open one: a panic
    /// has everything behind it, and an oops is announced before the kernel counts
    /// it. Anything else is a finding of its own, or one that is allowed would
    /// hide it.
    fn is_part(&self, row: Option<usize>, text: &[u8]) -> bool {
        let Some(open) = &self.open else { return false };
        if open.finding.severity == Severity::Panic {
            return true;
        }
        let Some(row) = row else { return false };
        if open.row == Some(row) && matcher::is_end(row, text) {
            return true;
        }
        let Some(pattern) = PATTERNS.get(row) else { return false };
        let dies = open.row.and_then(|row| PATTERNS.get(row)).is_some_and(|open| open.dies);
        pattern.severity != Severity::Panic && dies && !open.died && counts_a_death(text)
    }

    fn begin(
        &mut self,
        row: Option<usize>,
        listed: Option<String>,
        (line, at_us, text): (u64, u64, String),
    ) {
        let pattern = row.and_then(|row| PATTERNS.get(row)).unwrap_or(&DENIED);
        let from = self.recent.len().saturating_sub(pattern.before);
        let mut excerpt: Vec<_> = self.recent.range(from..).cloned().collect();
        excerpt.push(text.clone());
        let finding = Finding { listed, excerpt, ..finding(pattern, line, at_us, text) };
        let lines_left = pattern.lines_max.saturating_sub(1);
        let died = counts_a_death(finding.text.as_bytes());
        self.begun = self.begun.saturating_add(1);
        self.open = Some(Open { row, finding, lines_left, died });
    }

    fn go_on(&mut self, raw: &[u8], text: &str, is_first: bool) {
        let Some(open) = &mut self.open else { return };
        open.died |= counts_a_death(raw);
        if is_first {
            // What was a partial line is over now.
            open.finding.excerpt.pop();
        } else {
            open.lines_left = open.lines_left.saturating_sub(1);
        }
        open.finding.excerpt.push(text.to_owned());
        if open.row.is_some_and(|row| matcher::is_end(row, raw)) {
            self.close();
        } else if open.lines_left == 0 {
            open.finding.is_cut = open.finding.excerpt.len() > 3;
        }
    }

    fn close(&mut self) {
        let Some(Open { mut finding, .. }) = self.open.take() else { return };
        let allowed = self.allow.find(&finding.excerpt);
        let kept = if finding.severity < Severity::Panic && allowed.is_some() {
            finding.listed = allowed;
            &mut self.allowed
        } else {
            &mut self.findings
        };
        let same = kept.iter().filter(|other| other.severity == finding.severity).count();
        if same < FINDINGS_MAX {
            kept.push(finding);
        }
    }

    fn remember(&mut self, text: String) {
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(text);
    }
}

fn finding(pattern: &Pattern, line: u64, at_us: u64, text: String) -> Finding {
    Finding {
        name: pattern.name.to_owned(),
        severity: pattern.severity,
        line,
        at_us,
        text,
        cause: pattern.cause.to_owned(),
        next_step: pattern.next_step.to_owned(),
        listed: None,
        excerpt: Vec::new(),
        is_cut: false,
    }
}

/// A line as reports show it: text, of bounded length.
pub(super) fn shown(line: &Line<'_>) -> String {
    let fresh = line.text.get(line.fresh..).unwrap_or_default();
    let bounded = fresh.get(..EXCERPT_LINE_MAX).unwrap_or(fresh);
    let text = String::from_utf8_lossy(bounded);
    text.trim_end().to_owned()
}

/// Whether the kernel counts its deaths here: `[#1]`. `arch/x86/kernel/dumpstack.c`.
fn counts_a_death(text: &[u8]) -> bool {
    text.windows(3).any(|three| matches!(three, [b'[', b'#', digit] if digit.is_ascii_digit()))
}
