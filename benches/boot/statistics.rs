//! Of many times: the middle, the least, the spread, and how sure a ratio is.

use firmware_less::testing::Random;
use serde::Serialize;

/// How often trials are drawn anew for an interval.
const RESAMPLES: usize = 2000;

/// A few numbers for many.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Summary {
    /// The middle one.
    pub(crate) median: f64,
    /// The least.
    pub(crate) min: f64,
    /// From the first to the third quartile.
    pub(crate) spread: f64,
}

impl Summary {
    /// Of `samples`; not a number where there are none.
    pub(crate) fn of(samples: &[f64]) -> Self {
        let sorted = sorted(samples);
        Self {
            median: quantile(&sorted, 0.5),
            min: quantile(&sorted, 0.0),
            spread: quantile(&sorted, 0.75) - quantile(&sorted, 0.25),
        }
    }
}

/// How many times longer one takes than the other.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Ratio {
    /// Of the medians.
    pub(crate) of_medians: f64,
    /// Of the least.
    pub(crate) of_minima: f64,
    /// In between lies the ratio of medians in 95 of 100 resamplings.
    pub(crate) interval: [f64; 2],
}

impl Ratio {
    /// Of `ours` to `base`, which were taken in turns: rounds are drawn, so that
    /// a noisy time counts for both.
    pub(crate) fn of(ours: &[f64], base: &[f64]) -> Self {
        let mut random = Random::seeded(1);
        let rounds: Vec<(f64, f64)> = ours.iter().copied().zip(base.iter().copied()).collect();
        let mut resample = || {
            let drawn = (0..rounds.len()).filter_map(|_| rounds.get(random.below(rounds.len())));
            let (ours, base): (Vec<f64>, Vec<f64>) = drawn.copied().unzip();
            Summary::of(&ours).median / Summary::of(&base).median
        };
        let ratios: Vec<f64> = (0..RESAMPLES).map(|_| resample()).collect();
        let ratios = sorted(&ratios);
        let (ours, base) = (Summary::of(ours), Summary::of(base));
        Self {
            of_medians: ours.median / base.median,
            of_minima: ours.min / base.min,
            interval: [quantile(&ratios, 0.025), quantile(&ratios, 0.975)],
        }
    }
}

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Between the two nearest, in proportion.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "positions in a short list"
)]
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let at = part * sorted.len().saturating_sub(1) as f64;
    let number = |place: f64| sorted.get(place as usize).copied().unwrap_or(f64::NAN);
    let (low, high) = (number(at.floor()), number(at.ceil()));
    low + (high - low) * at.fract()
}
