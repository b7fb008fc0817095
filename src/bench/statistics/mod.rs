//! The arithmetic: what a row of values comes to, and whether two differ.
//!
//! Times of boots are skewed, and a busy host adds spikes. So what is compared is
//! ranks, which no spike moves far, of the logarithms of ratios, in which twice as
//! slow weighs as much as twice as fast:
//!
//! - Trials of one run come in pairs that are neighbours in time. For those it is
//!   Wilcoxon's signed-rank statistic under all flips of signs ([`paired`]).
//! - Trials of different runs do not. For those it is the rank-sum statistic under
//!   all exchanges ([`unpaired`]).
//!
//! - Counts of instructions are the same every time. Where they are not, a difference
//!   has to be larger than what chance made of them ([`exact`]).
//!
//! The former two are permutation tests, exact where the permutations can be counted and by
//! drawing from a fixed seed where there are too many. What goes with them is Hodges
//! and Lehmann's estimate of the ratio and its interval. Hollander, Wolfe, Chicken:
//! Nonparametric Statistical Methods, chapters 3 and 4.
//!
//! A difference is called only if it is both unlikely by chance and large enough
//! for anyone to care: [`Rule`].

mod comparison;
mod random;
mod rank_sum;
mod ranks;
mod signed_rank;
mod summary;

pub use comparison::{Comparison, Rule, Verdict, exact, paired, unpaired};
pub use random::Random;
pub use summary::{Outlier, Summary};

/// The number as a float: exact up to 2^53, which is 104 days of nanoseconds.
#[expect(clippy::cast_precision_loss, reason = "16 digits are more than any clock's")]
pub(crate) fn float(value: u64) -> f64 {
    value as f64
}

/// The count as a float.
fn count(value: usize) -> f64 {
    float(value as u64)
}

/// The value at `place`, from 0 to 1, of `sorted`: between two of them, in
/// proportion (Hyndman and Fan's definition 7, as in R and NumPy). Not a number
/// where there are none.
fn quantile(sorted: &[f64], place: f64) -> f64 {
    let last = count(sorted.len().saturating_sub(1));
    let at = place.clamp(0.0, 1.0) * last;
    let below = floor(at);
    let value = |index: usize| sorted.get(index).copied();
    match (value(below), value(below.saturating_add(1))) {
        (Some(low), Some(high)) => (high - low).mul_add(at - count(below), low),
        (Some(low), None) => low,
        _ => f64::NAN,
    }
}

/// The middle of `sorted`.
fn median(sorted: &[f64]) -> f64 {
    quantile(sorted, 0.5)
}

/// The middle of `values`; none where there are none.
pub(super) fn median_of(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    (!sorted.is_empty()).then(|| median(&sorted))
}

/// `value` without its fraction; it is not negative.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place in a list: small, and not negative"
)]
fn floor(value: f64) -> usize {
    value as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_r_and_numpy() {
        // numpy.quantile([1, 2, 4, 8], [0, .25, .5, .9, 1])
        let values = [1.0, 2.0, 4.0, 8.0];
        for (place, wanted) in [(0.0, 1.0), (0.25, 1.75), (0.5, 3.0), (0.9, 6.8), (1.0, 8.0)] {
            assert!((quantile(&values, place) - wanted).abs() < 1e-12, "{place}");
        }
        assert!((quantile(&[7.0], 0.3) - 7.0).abs() < 1e-12);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
