//! For a person at a terminal.

use std::fmt::Write as _;

use firmware_less::plan::size;

use super::{
    amount::{amount, counted, ratio},
    waterfall::{bars, drawn, end},
};
use crate::{
    bench::{
        arm::Until,
        judge::{Compared, Versus},
        phase::{Metric, Phase},
        report::{Entry, Report, Settings},
        statistics::Verdict,
        trial::Unit,
    },
    visible::visible,
};

/// How wide the picture of phases is.
const WIDTH: usize = 40;

/// All of it.
#[must_use]
pub fn human(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string can't fail.
    for notice in &report.notices {
        let _ = writeln!(text, "NOTE: {notice}");
    }
    if !report.notices.is_empty() {
        text.push('\n');
    }
    let _ = writeln!(text, "host    {}", report.host);
    let _ = writeln!(text, "engine  {} ({})", report.engine.kind, report.engine.reason);
    let _ = writeln!(text, "boots   {}", boots(&report.settings));
    let whole = report.entries.iter().map(|entry| end(&bars(entry))).fold(0.0, f64::max);
    for one in &report.entries {
        let _ = write!(text, "\n{}", entry(one, report.settings.unit, whole));
    }
    for one in &report.comparisons {
        let _ = write!(text, "\n{}", versus(one, report.settings.unit));
    }
    text
}

/// What was asked for, in words.
pub(super) fn boots(settings: &Settings) -> String {
    let Settings { runs, warmup, until, memory, cpus, .. } = settings;
    let until = match until {
        Until::End => "the guest ends",
        Until::Init => "userspace shows that it runs",
        Until::Login => "a login prompt",
    };
    let rounds = counted(usize::try_from(*runs).unwrap_or(usize::MAX), "round");
    let what = match settings.unit {
        Unit::Nanoseconds => "timed",
        Unit::Instructions => "instructions counted",
    };
    format!(
        "{what}, {rounds} after {warmup} that did not count, until {until}; {}, {cpus} vCPU",
        size(*memory)
    )
}

fn entry(entry: &Entry, unit: Unit, whole: f64) -> String {
    let mut text = visible(&entry.name);
    let versions = entry.versions.iter().map(|(name, version)| format!("{name} {version}"));
    let versions: Vec<_> = versions.collect();
    let release = entry.release.as_deref().unwrap_or("?");
    let _ = writeln!(
        text,
        "\n  arm {} on {} ({}); {}, Linux {}",
        entry.arm,
        entry.engine,
        versions.join(", "),
        size(entry.image_len),
        visible(release)
    );
    if let Some(why) = &entry.unavailable {
        let _ = writeln!(text, "  left out: {}", visible(why));
    }
    if let Some(failure) = &entry.failure {
        let round = match failure.round {
            0 => "a warm-up".to_owned(),
            round => format!("round {round}"),
        };
        let why: Vec<_> = failure.why.lines().map(visible).collect();
        let _ = writeln!(text, "  FAILED in {round}, and was given up: {}", why.join("\n"));
    }
    if !entry.trials.is_empty() {
        measured(entry, unit, whole, &mut text);
    }
    text
}

fn measured(entry: &Entry, unit: Unit, whole: f64, text: &mut String) {
    let _ = writeln!(
        text,
        "  {:14} {:>13} {:>13} {:>12} {:>13} {:>13}",
        "", "median", "mean", "± stdev", "min", "max"
    );
    let bars = bars(entry);
    for measured in &entry.metrics {
        let summary = &measured.summary;
        let show = |value| amount(unit, value);
        let float = crate::bench::statistics::float;
        let bar = bars.iter().find(|bar| measured.metric == Metric::Phase(bar.phase));
        let line = format!(
            "  {:14} {:>13} {:>13} {:>12} {:>13} {:>13}  {}",
            measured.metric,
            show(summary.median),
            show(summary.mean),
            show(summary.stdev),
            show(float(summary.min)),
            show(float(summary.max)),
            bar.map(|bar| drawn(bar, whole, WIDTH)).unwrap_or_default(),
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let boots = counted(entry.trials.len(), "boot");
    let _ = writeln!(text, "  {boots}{}", outliers(entry, unit));
    for (phase, why) in &entry.unseen {
        let _ = writeln!(text, "  no {phase}: {why}");
    }
}

/// The boots that are far from the others in total.
pub(super) fn outliers(entry: &Entry, unit: Unit) -> String {
    let summary = entry.summary(Metric::Until(Phase::End));
    let outliers = summary.map(|summary| summary.outliers.as_slice()).unwrap_or_default();
    let named = outliers.iter().map(|outlier| {
        let round = entry.trials.get(outlier.index).map_or(0, |round| round.round);
        let value = amount(unit, crate::bench::statistics::float(outlier.value));
        format!("{value} in round {round}")
    });
    let named: Vec<_> = named.collect();
    match named.as_slice() {
        [] => ", no outliers".to_owned(),
        named => {
            let number = counted(named.len(), "outlier");
            format!(", of these {number}, which count: {}", named.join(", "))
        }
    }
}

/// One comparison.
#[must_use]
pub fn versus(versus: &Versus, unit: Unit) -> String {
    let (base, other) = (visible(&versus.base), visible(&versus.other));
    let mut text = format!("{other}, compared with {base}");
    if let Some(why) = &versus.refused {
        let _ = writeln!(text, "\n  not compared: {}", visible(why));
        return text;
    }
    let _ = writeln!(text, ": {}", verdict(versus, unit));
    for compared in &versus.metrics {
        let mark = match compared.comparison.verdict {
            Verdict::More => '+',
            Verdict::Less => '-',
            Verdict::Same => ' ',
            Verdict::TooFew => '?',
        };
        let difference = amount(unit, compared.difference());
        let ratio = ratio(&compared.comparison, unit);
        let _ = writeln!(text, "{mark} {:14} {difference:>13}  {ratio}", compared.metric);
    }
    text
}

/// What it comes to, in a sentence.
pub(super) fn verdict(versus: &Versus, unit: Unit) -> String {
    let Some(total) = versus.total() else {
        return "they have no total in common".to_owned();
    };
    let percent = 100.0 * (total.comparison.ratio - 1.0).abs();
    let (what, digits) = match unit {
        Unit::Nanoseconds => ("time", 1),
        Unit::Instructions => ("instructions", 2),
    };
    let whole = match total.comparison.verdict {
        Verdict::More => format!("{percent:.digits$} % more {what}"),
        Verdict::Less => format!("{percent:.digits$} % less {what}"),
        Verdict::Same => format!("no difference in total {what}"),
        Verdict::TooFew => {
            let least = match unit {
                Unit::Nanoseconds => 8,
                Unit::Instructions => 2,
            };
            format!("too few rounds to tell a difference: give --runs {least} or more")
        }
    };
    let named = |compared: &&Compared| {
        let sign = if compared.difference() < 0.0 { "" } else { "+" };
        format!("{} ({sign}{})", compared.metric, amount(unit, compared.difference()))
    };
    let phases: Vec<_> = versus.differing_phases().iter().take(3).map(named).collect();
    match phases.as_slice() {
        [] => whole,
        phases => format!("{whole}; phases that differ: {}", phases.join(", ")),
    }
}
