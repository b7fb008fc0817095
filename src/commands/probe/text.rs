//! A comparison for people.

use std::fmt::Write as _;

use crate::probe::{Comparison, Pair, Value};

/// What is shown only where it differs: it says again what fields by name say.
const RAW: &str = "bytes ";

/// Each group with its rows, the plan's value behind those that differ, and what it
/// comes to.
pub(super) fn of(comparison: &Comparison, has_plan: bool) -> String {
    let mut text = String::new();
    let mut group = "";
    let shown = |pair: &&Pair| pair.differs || !pair.name.starts_with(RAW);
    for pair in comparison.pairs.iter().filter(shown) {
        if pair.group != group {
            group = pair.group;
            // Writing to a string can't fail.
            let _ = writeln!(text, "{}{group}", if text.is_empty() { "" } else { "\n" });
        }
        let _ =
            writeln!(text, "  {:<22} {}{}", pair.name, value(pair.found.as_ref()), beside(pair));
    }
    if has_plan {
        let _ = writeln!(text, "\n{}", conclusion(comparison));
    }
    text
}

fn value(value: Option<&Value>) -> String {
    value.map_or_else(|| "–".to_owned(), ToString::to_string)
}

/// What is to be said of the plan.
fn beside(pair: &Pair) -> String {
    let planned = value(pair.planned.as_ref());
    match (pair.differs, pair.note) {
        (true, _) => format!("\n  {:<22} {planned}  planned", ""),
        (false, Some(note)) => format!("  (planned {planned}: {note})"),
        (false, None) => String::new(),
    }
}

fn conclusion(comparison: &Comparison) -> String {
    let all = comparison.pairs.len();
    let differences: Vec<_> =
        comparison.differences().map(|pair| format!("  {}, {}", pair.group, pair.name)).collect();
    match differences.len() {
        0 => format!("as planned: all of {all} values"),
        count => format!("not as planned: {count} of {all} values\n{}", differences.join("\n")),
    }
}
