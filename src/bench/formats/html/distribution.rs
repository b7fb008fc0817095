//! How the values of each metric lie, entry by entry.

use std::{collections::BTreeSet, fmt::Write as _};

use super::{
    scale::Scale,
    svg::{drawing, escaped, text, upright},
};
use crate::bench::{
    formats::amount::{amount, round_amount},
    phase::Metric,
    report::{Entry, Report},
    statistics::{Summary, float},
    trial::Unit,
};

const WIDTH: f64 = 440.0;
const LEFT: f64 = 12.0;
const RIGHT: f64 = 428.0;
const ROW: f64 = 46.0;

/// A card for each metric that an entry has.
pub(super) fn all(report: &Report) -> String {
    let measured = report.entries.iter().filter(|entry| !entry.trials.is_empty());
    let entries: Vec<_> = measured.collect();
    let metrics: Vec<Metric> = entries
        .iter()
        .flat_map(|entry| entry.metrics.iter().map(|measured| measured.metric))
        .collect();
    // Each once, in the order in which they are met.
    let mut seen = BTreeSet::new();
    let metrics = metrics.into_iter().filter(|metric| seen.insert(*metric));
    metrics.map(|metric| card(metric, &entries, report.settings.unit)).collect()
}

fn card(metric: Metric, entries: &[&Entry], unit: Unit) -> String {
    let rows: Vec<_> =
        entries.iter().filter_map(|entry| Some((*entry, entry.summary(metric)?))).collect();
    let low = rows.iter().map(|(_, summary)| float(summary.min)).fold(f64::INFINITY, f64::min);
    let high = rows.iter().map(|(_, summary)| float(summary.max)).fold(0.0, f64::max);
    let scale = Scale::new((low, high), (LEFT, RIGHT));
    let bottom = ROW * float(rows.len() as u64);
    let mut content = String::new();
    for tick in scale.ticks(4.0) {
        let x = scale.place(tick);
        content += &upright(x, 0.0, bottom, "grid");
        content += &text(
            x.clamp(30.0, WIDTH - 30.0),
            bottom + 15.0,
            "middle",
            "faint",
            &round_amount(unit, tick),
        );
    }
    for (row, (entry, summary)) in (0_u32..).zip(&rows) {
        let y = ROW * f64::from(row);
        content += &drawn(entry, summary, metric, unit, (&scale, y));
    }
    let label = format!("Distribution of {metric}");
    let svg = drawing(WIDTH, bottom + 22.0, &label, &content);
    format!("<figure><figcaption>{metric}</figcaption>\n{svg}</figure>\n")
}

fn drawn(
    entry: &Entry,
    summary: &Summary,
    metric: Metric,
    unit: Unit,
    (scale, y): (&Scale, f64),
) -> String {
    let (left, right) = (scale.place(summary.p25), scale.place(summary.p75));
    let middle = y + 29.0;
    let mut content = text(LEFT, y + 13.0, "start", "faint", &entry.name);
    // Writing to a string can't fail.
    let _ = writeln!(
        content,
        "<rect x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"18\" class=\"box\"/>",
        middle - 9.0,
        (right - left).max(1.0)
    );
    content += &upright(scale.place(summary.median), middle - 10.0, middle + 10.0, "median");
    let outliers: BTreeSet<_> = summary.outliers.iter().map(|outlier| outlier.index).collect();
    for (index, (round, value)) in entry.values(metric).into_iter().enumerate() {
        let class = if outliers.contains(&index) { "outlier" } else { "dot" };
        // Neighbours side by side, the same in every report of the same boots.
        let up = f64::from(round.wrapping_mul(7) % 9) * 1.6 - 6.4;
        let title = escaped(&format!("round {round}: {}", amount(unit, float(value))));
        let _ = writeln!(
            content,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" class=\"{class}\"><title>{title}</title></circle>",
            scale.place(float(value)),
            middle + up
        );
    }
    content
}
