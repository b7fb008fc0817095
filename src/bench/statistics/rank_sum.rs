//! The rank-sum statistic of Wilcoxon, Mann and Whitney under all exchanges.

use super::{
    Random, float,
    ranks::doubled_ranks,
    signed_rank::{DRAWS, SEED},
};

/// Where counting would take more steps than this, exchanges are drawn.
const STEPS_MAX: usize = 20_000_000;

/// How probable it is that chance alone brings ranks at least as one-sided, were
/// every way to divide the values among the two alike.
pub(super) fn p(base: &[f64], other: &[f64]) -> f64 {
    if base.is_empty() || other.is_empty() {
        return 1.0;
    }
    let ranks = doubled_ranks(&[base, other].concat());
    let own: usize = ranks.iter().take(base.len()).sum();
    let all: usize = ranks.iter().sum();
    // Twice the distance from the mean, times the number of values: no fractions.
    let size = ranks.len();
    let distance = |sum: usize| sum.saturating_mul(size).abs_diff(all.saturating_mul(base.len()));
    let far = |sum: usize| distance(sum) >= distance(own);
    if all.saturating_mul(size).saturating_mul(base.len()) <= STEPS_MAX {
        let ways = ways(&ranks, base.len());
        let total: f64 = ways.iter().sum();
        let extreme: f64 =
            ways.iter().enumerate().filter(|(sum, _)| far(*sum)).map(|(_, ways)| ways).sum();
        (extreme / total).min(1.0)
    } else {
        drawn(ranks, base.len(), far)
    }
}

/// In how many ways `chosen` of `ranks` have each sum.
fn ways(ranks: &[usize], chosen: usize) -> Vec<f64> {
    let width = ranks.iter().sum::<usize>().saturating_add(1);
    let mut table = vec![vec![0.0; width]; chosen.saturating_add(1)];
    if let Some(none) = table.first_mut().and_then(|row| row.first_mut()) {
        *none = 1.0;
    }
    for &rank in ranks {
        for taken in (1..=chosen).rev() {
            let (below, own) = table.split_at_mut(taken);
            let (Some(below), Some(own)) = (below.last(), own.first_mut()) else { continue };
            for (place, without) in own.iter_mut().skip(rank).zip(below) {
                *place += without;
            }
        }
    }
    table.pop().unwrap_or_default()
}

fn drawn(mut ranks: Vec<usize>, chosen: usize, far: impl Fn(usize) -> bool) -> f64 {
    let mut random = Random::new(SEED);
    let mut extreme: u64 = 1;
    for _ in 0..DRAWS {
        for place in 0..chosen {
            let left = ranks.len().saturating_sub(place);
            ranks.swap(place, place.saturating_add(random.below(left)));
        }
        if far(ranks.iter().take(chosen).sum()) {
            extreme = extreme.saturating_add(1);
        }
    }
    float(extreme) / float(DRAWS.saturating_add(1))
}

/// The least that [`p`] can be with so many values.
pub(super) fn least_p(base: usize, other: usize) -> f64 {
    let one_sided = (1..=base).fold(1.0, |ways, place| {
        ways * super::count(place) / super::count(other.saturating_add(place))
    });
    // The other end is as far only where both are as many, or by symmetry of the
    // ranks, which holds without ties.
    f64::min(2.0 * one_sided, 1.0)
}

/// How many of the sorted differences are left out at each end of an interval that
/// holds the true one with a probability of `level`; none where there are too few
/// values for that.
pub(super) fn left_out(base: usize, other: usize, level: f64) -> Option<usize> {
    let pairs = base.saturating_mul(other);
    if pairs.saturating_mul(base).saturating_mul(base.saturating_add(other)) > STEPS_MAX {
        let (m, n) = (super::count(base), super::count(other));
        let sigma = (m * n * (m + n + 1.0) / 12.0).sqrt();
        return Some(super::floor((m * n / 2.0 - 1.96 * sigma).max(0.0)));
    }
    // Of the ranks 1 to N: the sum less its least possible is Mann and Whitney's U.
    let ranks: Vec<usize> = (1..=base.saturating_add(other)).collect();
    let ways = ways(&ranks, base);
    let total: f64 = ways.iter().sum();
    let least = base.saturating_mul(base.saturating_add(1)) / 2;
    let probable: Vec<f64> =
        ways.iter().skip(least).take(pairs.saturating_add(1)).map(|ways| ways / total).collect();
    super::comparison::fitting(&probable, (1.0 - level) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 1e-9, "{found}, wanted {wanted}");
    }

    #[test]
    fn small_cases_are_as_counted_by_hand() {
        // 2 of the 20 ways to choose 3 of 6.
        near(p(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]), 0.1);
        // Sums at most 7: 1+2+3, 1+2+4; and as many at the other end.
        near(p(&[1.0, 2.0, 4.0], &[3.0, 5.0, 6.0]), 0.2);
        near(p(&[1.0, 1.0], &[1.0, 1.0]), 1.0);
        near(p(&[], &[1.0]), 1.0);
    }

    #[test]
    fn sides_may_be_exchanged_and_values_scaled() {
        let (base, other) = ([0.3, 1.2, 2.0, 0.7], [0.0, 3.3, 0.1, 1.2, 5.0]);
        near(p(&base, &other), p(&other, &base));
        let scaled = base.map(|value| 17.0 * value);
        near(p(&base, &other), p(&scaled, &other.map(|value| 17.0 * value)));
    }

    #[test]
    fn five_and_five_are_needed_to_be_below_one_percent() {
        assert!(least_p(4, 4) > 0.01);
        near(least_p(5, 5), 2.0 / 252.0);
        near(p(&[1.0, 2.0, 3.0, 4.0, 5.0], &[6.0, 7.0, 8.0, 9.0, 10.0]), 2.0 / 252.0);
        near(least_p(1, 0), 1.0);
        near(least_p(2, 3), 0.2);
    }

    #[test]
    fn drawing_comes_near_to_counting() {
        let base: Vec<f64> = (0..10).map(|value| f64::from(3 * value)).collect();
        let other: Vec<f64> = (0..10).map(|value| f64::from(3 * value + 10)).collect();
        let counted = p(&base, &other);
        let ranks = doubled_ranks(&[base.as_slice(), &other].concat());
        let own: usize = ranks.iter().take(10).sum();
        let drawn = drawn(ranks, 10, |sum| sum.abs_diff(210) >= own.abs_diff(210));
        assert!((drawn - counted).abs() < 0.01, "{drawn}, {counted}");
    }
}
