//! The phases of an entry, each below the one before it.

use super::{
    super::waterfall::{Bar, bars, end},
    scale::Scale,
    svg::{drawing, escaped, text, upright},
};
use crate::bench::{
    formats::amount::{amount, round_amount},
    report::{Entry, Report},
    statistics::float,
    trial::Unit,
};

const WIDTH: f64 = 900.0;
const LEFT: f64 = 110.0;
const RIGHT: f64 = 800.0;
const TOP: f64 = 8.0;
const ROW: f64 = 20.0;
/// The least that is seen.
const THIN: f64 = 1.5;

/// Where the longest of all ends: all are drawn to one scale.
pub(super) fn whole(report: &Report) -> f64 {
    report.entries.iter().map(|entry| end(&bars(entry))).fold(0.0, f64::max)
}

/// The drawing.
pub(super) fn svg(entry: &Entry, unit: Unit, whole: f64) -> String {
    let bars = bars(entry);
    let scale = Scale::new((0.0, whole), (LEFT, RIGHT));
    let bottom = ROW.mul_add(float(bars.len() as u64), TOP);
    let mut content = String::new();
    for tick in scale.ticks(6.0) {
        let x = scale.place(tick);
        content += &upright(x, TOP, bottom, "grid");
        content += &text(x, bottom + 15.0, "middle", "faint", &round_amount(unit, tick));
    }
    for (row, bar) in (0_u32..).zip(&bars) {
        content += &drawn(bar, unit, &scale, ROW.mul_add(f64::from(row), TOP));
    }
    let label = format!("Phases of {}, by medians", entry.name);
    drawing(WIDTH, bottom + 22.0, &label, &content)
}

fn drawn(bar: &Bar, unit: Unit, scale: &Scale, y: f64) -> String {
    let x = scale.place(bar.start);
    let width = (scale.place(bar.end) - x).max(THIN);
    let value = amount(unit, bar.end - bar.start);
    let from = amount(unit, bar.start);
    let title = escaped(&format!("{}: {value}, from {from} on", bar.phase));
    let middle = y + 14.0;
    format!(
        "{}<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\" rx=\"2\" \
         class=\"bar\"><title>{title}</title></rect>\n{}",
        text(LEFT - 8.0, middle, "end", "", bar.phase.name()),
        y + 3.0,
        ROW - 6.0,
        text(x + width + 6.0, middle, "start", "faint", &value)
    )
}
