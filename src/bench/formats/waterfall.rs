//! The phases of an entry as bars, one below the other.

use crate::bench::{
    phase::Phase,
    report::Entry,
    statistics::{float, median_of},
};

/// A bar: a phase, from where to where by the medians of all trials.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bar {
    pub(super) phase: Phase,
    pub(super) start: f64,
    pub(super) end: f64,
}

/// The bars of `entry`, by where they begin.
pub(super) fn bars(entry: &Entry) -> Vec<Bar> {
    let spans = |phase| {
        let trials = entry.trials.iter();
        trials.filter_map(move |round| round.trial.span(phase))
    };
    let bar = |phase| {
        let start = median_of(spans(phase).map(|span| float(span.start)))?;
        let end = median_of(spans(phase).map(|span| float(span.end)))?;
        Some(Bar { phase, start, end })
    };
    let mut bars: Vec<_> = Phase::ALL.into_iter().filter_map(bar).collect();
    bars.sort_by(|one, two| one.start.total_cmp(&two.start).then(one.end.total_cmp(&two.end)));
    bars
}

/// Where all `bars` end.
pub(super) fn end(bars: &[Bar]) -> f64 {
    bars.iter().map(|bar| bar.end).fold(0.0, f64::max)
}

/// The bar drawn in `width` columns for a whole of `whole`: in eighths of a column,
/// and never less than one.
pub(super) fn drawn(bar: &Bar, whole: f64, width: usize) -> String {
    const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];
    let columns = float(width as u64);
    let scale = if whole > 0.0 { columns / whole } else { 0.0 };
    let start = (bar.start * scale).floor().min(columns - 1.0).max(0.0);
    let end = (bar.end * scale).max(start + 0.125).min(columns);
    let mut text = String::new();
    let mut column = 0.0;
    while column < end {
        let part = (end - column).min(1.0);
        let part = EIGHTHS.iter().zip(1_u8..=8).rev().find(|(_, n)| f64::from(*n) / 8.0 <= part);
        text.push(if column < start { ' ' } else { part.map_or('▏', |(c, _)| *c) });
        column += 1.0;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(start: f64, end: f64) -> String {
        drawn(&Bar { phase: Phase::Load, start, end }, 100.0, 10)
    }

    #[test]
    fn a_bar_stands_where_its_phase_was() {
        assert_eq!(bar(0.0, 100.0), "██████████");
        assert_eq!(bar(20.0, 45.0), "  ██▌");
        assert_eq!(bar(90.0, 100.0), "         █");
    }

    #[test]
    fn what_takes_next_to_nothing_is_still_seen() {
        assert_eq!(bar(0.0, 0.0), "▏");
        assert_eq!(bar(50.0, 50.1), "     ▏");
        assert_eq!(bar(100.0, 100.0), "         █");
        assert_eq!(drawn(&Bar { phase: Phase::Load, start: 0.0, end: 0.0 }, 0.0, 10), "▏");
    }
}
