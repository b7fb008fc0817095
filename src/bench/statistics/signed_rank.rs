//! Wilcoxon's signed-rank statistic under all flips of signs.

use super::{Random, count, float, ranks::doubled_ranks};

/// With more differences than this their signs are drawn, not counted.
const EXACT_MAX: usize = 200;
/// How often they are drawn.
pub(super) const DRAWS: u64 = 20_000;
/// What drawing begins at.
pub(super) const SEED: u64 = 0x75_6b_69_76_6d;

/// How probable it is that chance alone brings ranks at least as one-sided, were
/// each difference as likely to have the other sign. Differences of zero speak for
/// neither side, but take their ranks (Pratt 1959).
pub(super) fn p(differences: &[f64]) -> f64 {
    let sizes: Vec<f64> = differences.iter().map(|difference| difference.abs()).collect();
    let ranks = doubled_ranks(&sizes);
    let signed = || ranks.iter().zip(differences).filter(|(_, difference)| **difference != 0.0);
    let own: Vec<usize> = signed().map(|(rank, _)| *rank).collect();
    let positive: usize =
        signed().filter(|(_, difference)| **difference > 0.0).map(|(rank, _)| *rank).sum();
    let all: usize = own.iter().sum();
    // By symmetry both tails are alike: take the smaller.
    let tail = positive.min(all.saturating_sub(positive));
    if own.len() <= EXACT_MAX {
        (2.0 * distribution(&own).iter().take(tail.saturating_add(1)).sum::<f64>()).min(1.0)
    } else {
        drawn(&own, tail)
    }
}

/// How probable each sum of `ranks` with a positive sign is.
fn distribution(ranks: &[usize]) -> Vec<f64> {
    let mut probable = vec![0.0; ranks.iter().sum::<usize>().saturating_add(1)];
    if let Some(none) = probable.first_mut() {
        *none = 1.0;
    }
    for &rank in ranks {
        for sum in (0..probable.len()).rev() {
            let with = sum.checked_sub(rank).and_then(|rest| probable.get(rest).copied());
            if let Some(place) = probable.get_mut(sum) {
                *place = f64::midpoint(*place, with.unwrap_or(0.0));
            }
        }
    }
    probable
}

/// The same by drawing. What was observed counts as one of the draws, which keeps
/// the test from being too sure.
fn drawn(ranks: &[usize], tail: usize) -> f64 {
    let all: usize = ranks.iter().sum();
    let mut random = Random::new(SEED);
    let mut extreme: u64 = 1;
    for _ in 0..DRAWS {
        let positive: usize = ranks.iter().filter(|_| random.bits() >> 63 == 1).sum();
        if positive.min(all.saturating_sub(positive)) <= tail {
            extreme = extreme.saturating_add(1);
        }
    }
    float(extreme) / float(DRAWS.saturating_add(1))
}

/// The least that [`p`] can be with so many differences.
pub(super) fn least_p(differences: usize) -> f64 {
    2.0 * 0.5_f64.powf(count(differences)).min(0.5)
}

/// How many of the sorted means of two (Walsh averages) are left out at each end of
/// an interval that holds the true difference with a probability of `level`; none
/// where there are too few for that.
pub(super) fn left_out(differences: usize, level: f64) -> Option<usize> {
    if differences > EXACT_MAX {
        // Mean and variance of the statistic; the normal distribution by now.
        let n = count(differences);
        let mean = n * (n + 1.0) / 4.0;
        let sigma = (n * (n + 1.0) * (2.0 * n + 1.0) / 24.0).sqrt();
        return Some(super::floor((mean - 1.96 * sigma).max(0.0)));
    }
    let ranks: Vec<usize> = (1..=differences).collect();
    super::comparison::fitting(&distribution(&ranks), (1.0 - level) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 1e-9, "{found}, wanted {wanted}");
    }

    #[test]
    fn small_cases_are_as_counted_by_hand() {
        // All of n on one side: 2 of the 2^n choices of signs.
        near(p(&[1.0, 2.0, 3.0]), 0.25);
        near(p(&[-1.0, -2.0, -3.0, -4.0, -5.0]), 2.0 / 32.0);
        // Positive ranks sum to 1: {} and {1} are at most that, and so at the other end.
        near(p(&[1.0, -2.0, -3.0, -4.0]), 4.0 / 16.0);
        near(p(&[1.0, -1.0]), 1.0);
        near(p(&[0.0; 9]), 1.0);
        near(p(&[]), 1.0);
    }

    #[test]
    fn the_values_are_those_of_the_published_table() {
        // Hollander and Wolfe, table A.4: n = 10, P(T+ ≥ 47) = 0.0244 / 2 tail 0.024.
        let exact: f64 = distribution(&(1..=10).collect::<Vec<_>>()).iter().take(9).sum();
        near(exact, 25.0 / 1024.0);
    }

    #[test]
    fn drawing_comes_near_to_counting() {
        let ranks: Vec<usize> = (1..=20).map(|rank| 2 * rank).collect();
        let counted: f64 = 2.0 * distribution(&ranks).iter().take(105).sum::<f64>();
        let drawn = drawn(&ranks, 104);
        assert!((drawn - counted).abs() < 0.005, "{drawn}, {counted}");
    }

    #[test]
    fn signs_may_be_exchanged_and_sizes_scaled() {
        let values = [0.3, -1.2, 2.0, 0.7, 0.0, 3.3, -0.1];
        near(p(&values), p(&values.map(|value| -value)));
        near(p(&values), p(&values.map(|value| value * 17.0)));
    }

    #[test]
    fn eight_pairs_are_needed_to_be_below_one_percent() {
        assert!(least_p(7) > 0.01);
        assert!(least_p(8) < 0.01);
        near(least_p(0), 1.0);
        near(p(&[1.0; 8]), least_p(8));
    }
}
