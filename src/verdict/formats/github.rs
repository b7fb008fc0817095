//! Workflow commands and the step summary of GitHub Actions:
//! <https://docs.github.com/actions/reference/workflow-commands-for-github-actions>.

use std::fmt::Write as _;

use super::{
    super::report::{Report, Result, Suite, seconds},
    title,
};

/// For a step's log: an annotation for each run that did not pass, and the end of
/// its console, folded. The console's own lines are kept from being taken for
/// commands by `token`, which no guest may know.
#[must_use]
pub fn github(suite: &Suite, token: &str) -> String {
    let mut text = String::new();
    for image in &suite.images {
        for run in &image.runs {
            one(run, image.runs.len(), token, &mut text);
        }
    }
    let Suite { passed, failed, flaky, skipped, .. } = suite;
    // Writing to a string can't fail.
    let _ = writeln!(text, "{passed} passed, {failed} failed, {flaky} flaky, {skipped} skipped");
    text
}

fn one(run: &Report, of: usize, token: &str, text: &mut String) {
    let title = title(run, of);
    let command = match run.result {
        Result::Pass => None,
        Result::Skip => Some("notice"),
        Result::Fail | Result::Error => Some("error"),
    };
    if let Some(command) = command {
        let step = run.next_step.as_ref().map(|step| format!("\nnext: {step}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "::{command} file={},title={}::{}",
            property(&run.image),
            property(&format!("{title}: {} (status {})", run.cause, run.exit_status)),
            data(&format!("{}{step}", run.summary)),
        );
    } else {
        let _ = writeln!(text, "{}", data(&format!("pass {title}, {:.3} s", run.seconds())));
    }
    let excerpt = run.decisive().map(|finding| finding.excerpt.as_slice()).unwrap_or_default();
    for (head, lines) in [("what decided", excerpt), ("end of the console", &run.last_lines)] {
        if !lines.is_empty() {
            let _ = writeln!(text, "::group::{}", data(&format!("{title}: {head}")));
            let _ = writeln!(text, "::stop-commands::{token}");
            for line in lines {
                let _ = writeln!(text, "{line}");
            }
            let _ = writeln!(text, "::{token}::\n::endgroup::");
        }
    }
}

/// For `$GITHUB_STEP_SUMMARY`: a table of runs, and one of milestones for each.
#[must_use]
pub fn step_summary(suite: &Suite) -> String {
    let mut text =
        "### ukivm smoke\n\n| UKI | verdict | what decided | s |\n|---|---|---|--:|\n".to_owned();
    let runs =
        || suite.images.iter().flat_map(|image| image.runs.iter().map(move |run| (image, run)));
    for (image, run) in runs() {
        let word = match run.result {
            Result::Pass => "✅ pass",
            Result::Fail => "❌ fail",
            Result::Error => "❌ error",
            Result::Skip => "⏭️ skipped",
        };
        let (title, summary) = (cell(&title(run, image.runs.len())), cell(&run.summary));
        let _ = writeln!(text, "| {title} | {word} | {summary} | {:.3} |", run.seconds());
    }
    for (image, run) in runs().filter(|(_, run)| !run.milestones.is_empty()) {
        let title = cell(&title(run, image.runs.len()));
        let _ = writeln!(text, "\n<details><summary>Milestones of {title}</summary>\n");
        text.push_str("| s | milestone | line |\n|--:|---|---|\n");
        for stamp in &run.milestones {
            let line = stamp.text.as_deref().map(cell).unwrap_or_default();
            let _ = writeln!(text, "| {:.3} | {} | {line} |", seconds(stamp.at_us), stamp.name);
        }
        text.push_str("\n</details>\n");
    }
    text
}

/// The text of a command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of a command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// A cell of a table: a guest's words are not to be markup.
fn cell(text: &str) -> String {
    let plain = |c: char| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '!' | '@' | '#' | '~' => {
            format!("&#{};", u32::from(c))
        }
        c if c.is_control() => " ".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(plain).collect()
}
