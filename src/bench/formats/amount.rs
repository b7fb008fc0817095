//! Values as people write them.

use crate::bench::{statistics::Comparison, trial::Unit};

/// `value` with three or four digits that count, and its unit.
#[must_use]
pub fn amount(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Nanoseconds => time(value),
        Unit::Instructions => grouped(value),
    }
}

fn time(nanoseconds: f64) -> String {
    let scales = [(1e9, "s"), (1e6, "ms"), (1e3, "µs")];
    let scale = scales.into_iter().find(|(scale, _)| nanoseconds.abs() >= *scale);
    let (scale, unit) = scale.unwrap_or((1.0, "ns"));
    let value = nanoseconds / scale;
    let decimals = match value.abs() {
        _ if scale <= 1.0 => 0,
        100.0.. => 1,
        10.0.. => 2,
        _ => 3,
    };
    format!("{value:.decimals$} {unit}")
}

/// The same of a round value, without the zeros behind.
#[must_use]
pub(super) fn round_amount(unit: Unit, value: f64) -> String {
    let text = amount(unit, value);
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

/// `count` of something, in the plural where that is not one.
pub(super) fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// A whole number, its thousands apart.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        let left = digits.len().saturating_sub(place);
        if place > 0 && left.is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value <= -0.5 { format!("-{text}") } else { text }
}

/// The ratio of a comparison with its interval, and how probable it is by chance, if
/// chance has a part in it.
#[must_use]
pub fn ratio(comparison: &Comparison, unit: Unit) -> String {
    let Comparison { ratio, interval, p, .. } = comparison;
    if unit == Unit::Instructions {
        return format!("× {ratio:.6}");
    }
    let interval = interval.map(|(low, high)| format!(" ({low:.4} to {high:.4})"));
    format!("× {ratio:.4}{}, p {}", interval.unwrap_or_default(), probability(*p))
}

fn probability(p: f64) -> String {
    match p {
        ..0.000_1 => "< 0.0001".to_owned(),
        ..0.01 => format!("{p:.4}"),
        _ => format!("{p:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_the_unit_a_person_would_choose() {
        let shown = |value| amount(Unit::Nanoseconds, value);
        assert_eq!(shown(1.234_567e9), "1.235 s");
        assert_eq!(shown(12.345e6), "12.35 ms");
        assert_eq!(shown(-456_789.0), "-456.8 µs");
        assert_eq!(shown(999.4), "999 ns");
        assert_eq!(shown(0.0), "0 ns");
        assert_eq!(round_amount(Unit::Nanoseconds, 9e9), "9 s");
        assert_eq!(round_amount(Unit::Nanoseconds, 1.5e6), "1.5 ms");
        assert_eq!(round_amount(Unit::Nanoseconds, 200.0), "200 ns");
    }

    #[test]
    fn counts_have_their_thousands_apart() {
        let shown = |value| amount(Unit::Instructions, value);
        assert_eq!(shown(1_234_567_890.0), "1,234,567,890");
        assert_eq!(shown(123.0), "123");
        assert_eq!(shown(-1_000.0), "-1,000");
        assert_eq!(shown(0.0), "0");
    }
}
