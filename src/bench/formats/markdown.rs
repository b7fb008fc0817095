//! Tables for READMEs, issues and merge requests.

use std::fmt::Write as _;

use super::{
    amount::{amount, counted, ratio},
    human::{boots, outliers, verdict},
};
use crate::{
    bench::{
        judge::Versus,
        report::{Entry, Report},
        statistics::float,
        trial::Unit,
    },
    visible::visible,
};

/// All of it.
#[must_use]
pub fn markdown(report: &Report) -> String {
    let unit = report.settings.unit;
    let mut text = String::from("# ukivm bench\n\n");
    // Writing to a string can't fail.
    for notice in &report.notices {
        let _ = writeln!(text, "> **Note:** {}\n", cell(notice));
    }
    let _ = writeln!(text, "- host: {}", cell(&report.host.to_string()));
    let _ = writeln!(text, "- engine: {} ({})", report.engine.kind, cell(&report.engine.reason));
    let _ = writeln!(text, "- boots: {}", boots(&report.settings));
    let _ = writeln!(text, "- ukivm {}, `{}`", report.ukivm, command(report));
    for one in &report.entries {
        entry(one, unit, &mut text);
    }
    for one in &report.comparisons {
        versus(one, unit, &mut text);
    }
    text
}

/// The command, without what would end a piece of code.
pub(super) fn command(report: &Report) -> String {
    let arguments: Vec<_> =
        report.settings.arguments.iter().map(|argument| visible(argument)).collect();
    format!("ukivm {}", arguments.join(" ")).replace('`', "'")
}

fn entry(entry: &Entry, unit: Unit, text: &mut String) {
    let _ = writeln!(text, "\n## {}\n", cell(&entry.name));
    if let Some(why) = &entry.unavailable {
        let _ = writeln!(text, "Left out: {}", cell(why));
    }
    if let Some(failure) = &entry.failure {
        let why = failure.why.lines().next().unwrap_or_default();
        let _ = writeln!(text, "Failed in round {} and given up: {}\n", failure.round, cell(why));
    }
    if entry.trials.is_empty() {
        return;
    }
    let _ = writeln!(text, "| | median | mean ± stdev | min … max |\n|---|---:|---:|---:|");
    for measured in &entry.metrics {
        let show = |value| amount(unit, value);
        let summary = &measured.summary;
        let _ = writeln!(
            text,
            "| {} | {} | {} ± {} | {} … {} |",
            measured.metric,
            show(summary.median),
            show(summary.mean),
            show(summary.stdev),
            show(float(summary.min)),
            show(float(summary.max))
        );
    }
    let boots = counted(entry.trials.len(), "boot");
    let _ = writeln!(text, "\n{boots}{}.", outliers(entry, unit));
}

fn versus(versus: &Versus, unit: Unit, text: &mut String) {
    let (base, other) = (cell(&versus.base), cell(&versus.other));
    let _ = writeln!(text, "\n## {other}, compared with {base}\n");
    if let Some(why) = &versus.refused {
        let _ = writeln!(text, "Not compared: {}", cell(why));
        return;
    }
    let _ = writeln!(text, "**{}**\n", cell(&verdict(versus, unit)));
    let _ = writeln!(text, "| | difference | ratio | |\n|---|---:|---|---|");
    for compared in &versus.metrics {
        let called = if compared.differs() { "**differs**" } else { "" };
        let difference = amount(unit, compared.difference());
        let ratio = ratio(&compared.comparison, unit);
        let _ = writeln!(text, "| {} | {difference} | {ratio} | {called} |", compared.metric);
    }
}

/// Text that is neither a cell's end nor markup.
fn cell(text: &str) -> String {
    let mut escaped = String::new();
    for c in visible(text).chars() {
        if matches!(c, '|' | '\\' | '*' | '_' | '`' | '<' | '[' | '#') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::formats::sample;

    #[test]
    fn every_row_of_a_table_has_as_many_cells_as_its_head() {
        let text = markdown(&sample());
        assert!(text.contains("## B|.efi, compared with A.efi") || text.contains("B\\|.efi"));
        let mut columns = None;
        for line in text.lines() {
            if !line.starts_with('|') {
                columns = None;
                continue;
            }
            let count = line.replace("\\|", "").matches('|').count();
            assert_eq!(*columns.get_or_insert(count), count, "{line}");
        }
    }

    #[test]
    fn what_differs_is_said_before_the_numbers() {
        let text = markdown(&sample());
        assert!(text.contains("more time; phases that differ: load"), "{text}");
    }
}
