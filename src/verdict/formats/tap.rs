//! TAP version 14: <https://testanything.org/tap-version-14-specification.html>.

use std::fmt::Write as _;

use serde_json::json;

use super::{
    super::report::{Report, Result, Suite},
    title,
};

/// A test point a run, with a YAML block of what decided.
#[must_use]
pub fn tap(suite: &Suite) -> String {
    let mut text = format!("TAP version 14\n1..{}\n", suite.runs().count());
    let of_image = suite.images.iter().map(|image| (image.runs.len(), image));
    let runs = of_image.flat_map(|(of, image)| image.runs.iter().map(move |run| (of, run)));
    for (number, (of, run)) in runs.enumerate() {
        let word = match run.result {
            Result::Pass | Result::Skip => "ok",
            Result::Fail | Result::Error => "not ok",
        };
        let number = number.saturating_add(1);
        let name = description(&title(run, of));
        let skip = if run.result == Result::Skip { " # SKIP " } else { "" };
        let reason = if skip.is_empty() { String::new() } else { description(&run.summary) };
        // Writing to a string can't fail.
        let _ = writeln!(text, "{word} {number} - {name}{skip}{reason}");
        if run.result != Result::Skip {
            diagnosis(run, &mut text);
        }
    }
    text
}

/// Values as JSON, which YAML takes as they are.
fn diagnosis(run: &Report, text: &mut String) {
    let mut values = vec![
        ("exit_status", json!(run.exit_status)),
        ("cause", json!(run.cause)),
        ("message", json!(run.summary)),
        ("duration_ms", json!(run.duration_us / 1000)),
    ];
    values.extend(run.next_step.as_ref().map(|step| ("next_step", json!(step))));
    values.extend(run.decisive().map(|finding| ("excerpt", json!(finding.excerpt))));
    if run.result == Result::Fail {
        values.push(("last_lines", json!(run.tail())));
    }
    text.push_str("  ---\n");
    for (name, value) in values {
        let _ = writeln!(text, "  {name}: {value}");
    }
    text.push_str("  ...\n");
}

/// A description, where `#` and `\` have a meaning and a line's end would end it.
fn description(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.replace('\\', "\\\\").replace('#', "\\#")
}
