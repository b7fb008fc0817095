//! For a person.

use std::fmt::Write as _;

use super::super::report::{Overall, Report, Result, Suite, seconds};

/// Colours, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// ECMA-48 colours.
    Coloured,
    /// Text and nothing else.
    Plain,
}

impl Style {
    fn paint(self, colour: &str, text: &str) -> String {
        match self {
            Self::Coloured => format!("\x1b[{colour}m{text}\x1b[0m"),
            Self::Plain => text.to_owned(),
        }
    }
}

const GREEN: &str = "1;32";
const RED: &str = "1;31";
const YELLOW: &str = "1;33";

/// One run: the verdict, what proves it, and for a failure what there is to see.
#[must_use]
pub fn human(report: &Report, style: Style) -> String {
    let word = match report.result {
        Result::Pass => style.paint(GREEN, "PASS"),
        Result::Fail => style.paint(RED, "FAIL"),
        Result::Error => style.paint(RED, "ERROR"),
        Result::Skip => style.paint(YELLOW, "SKIP"),
    };
    let mut text = format!("{word} {}: {}", report.image, report.summary);
    let cause = match report.result {
        Result::Fail => format!(" [{}, status {}]", report.cause, report.exit_status),
        Result::Error => format!(" [status {}]", report.exit_status),
        Result::Pass | Result::Skip => String::new(),
    };
    // Writing to a string can't fail.
    let _ = writeln!(text, "{cause}, {:.3} s", report.seconds());
    for proof in &report.proofs {
        let line = proof.line.map(|line| format!("line {line}: ")).unwrap_or_default();
        let at = seconds(proof.at_us);
        let _ = writeln!(text, "  seen      {} ({line}{}; {at:.3} s)", proof.wanted, proof.text);
    }
    for missing in &report.missing {
        let _ = writeln!(text, "  not seen  {missing}");
    }
    noted(report, &mut text);
    if report.result == Result::Fail {
        failure(report, &mut text);
    }
    if let Some(step) = &report.next_step {
        let _ = writeln!(text, "  next: {step}");
    }
    text
}

/// What was noted beside what decided.
fn noted(report: &Report, text: &mut String) {
    let decisive = report.decisive();
    let others = report.findings.iter().filter(|one| Some(*one) != decisive);
    for (word, finding) in
        others.map(|one| ("noted", one)).chain(report.allowed.iter().map(|one| ("allowed", one)))
    {
        let _ =
            writeln!(text, "  {word:9} {} (line {}: {})", finding.name, finding.line, finding.text);
    }
}

fn failure(report: &Report, text: &mut String) {
    let mut block = |head: &str, lines: &[String]| {
        if !lines.is_empty() {
            let _ = writeln!(text, "  {head}:");
            for line in lines {
                let _ = writeln!(text, "    | {line}");
            }
        }
    };
    if let Some(finding) = report.decisive() {
        let cut = if finding.is_cut { ", cut" } else { "" };
        block(&format!("{}, from line {}{cut}", finding.name, finding.line), &finding.excerpt);
    }
    block("the last lines of the console", report.tail());
    block("the guest when it ended", &report.crash);
}

/// Several runs: a line each, and the numbers.
#[must_use]
pub fn suite_summary(suite: &Suite, style: Style) -> String {
    let mut text = String::new();
    for image in &suite.images {
        let word = match image.result {
            Overall::Pass => style.paint(GREEN, "pass "),
            Overall::Fail => style.paint(RED, "FAIL "),
            Overall::Flaky => style.paint(YELLOW, "FLAKY"),
            Overall::Skip => style.paint(YELLOW, "skip "),
        };
        let passed = image.runs.iter().filter(|run| run.result == Result::Pass).count();
        let mut causes: Vec<_> = image
            .runs
            .iter()
            .filter(|run| run.result != Result::Pass)
            .map(|run| format!("{} (status {})", run.cause, run.exit_status))
            .collect();
        causes.sort();
        causes.dedup();
        let seconds: f64 = image.runs.iter().map(Report::seconds).sum();
        let runs = image.runs.len();
        let of = if runs > 1 { format!(", {passed} of {runs} runs passed") } else { String::new() };
        let why =
            if causes.is_empty() { String::new() } else { format!(", {}", causes.join(", ")) };
        let _ = writeln!(text, "{word} {}{of}{why}, {seconds:.3} s", image.name);
    }
    let Suite { passed, failed, flaky, skipped, .. } = suite;
    let _ = writeln!(text, "{passed} passed, {failed} failed, {flaky} flaky, {skipped} skipped");
    text
}
