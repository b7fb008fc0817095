//! What a row of values comes to.

use serde::{Deserialize, Serialize};

use super::{count, float, median, quantile};

/// From which modified z-score on a value is an outlier. Iglewicz and Hoaglin: How
/// to detect and handle outliers, 1993.
const OUTLIER_SCORE: f64 = 3.5;
/// Of fewer values none is far from the others.
const OUTLIERS_FROM: usize = 5;
/// What makes a median absolute deviation comparable with a standard deviation,
/// were the values normal.
const MAD_TO_SIGMA: f64 = 1.482_602_218_505_602;
/// The same for a mean absolute deviation, for values of which more than half are
/// equal.
const MEAN_AD_TO_SIGMA: f64 = 1.253_314_137_315_500_1;

/// What a row of values comes to. Nothing is left out of it: outliers count, and
/// are named.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many there are.
    pub count: usize,
    /// The mean.
    pub mean: f64,
    /// The standard deviation (of a sample: n - 1); 0 for a single value.
    pub stdev: f64,
    /// The median.
    pub median: f64,
    /// The median absolute deviation from the median, as it is: not scaled.
    pub mad: f64,
    /// The least.
    pub min: u64,
    /// The 5th percentile.
    pub p5: f64,
    /// The 25th percentile.
    pub p25: f64,
    /// The 75th percentile.
    pub p75: f64,
    /// The 95th percentile.
    pub p95: f64,
    /// The most.
    pub max: u64,
    /// The values far from the others.
    pub outliers: Vec<Outlier>,
}

/// A value that is far from the others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outlier {
    /// Which of them it is, from 0.
    pub index: usize,
    /// The value.
    pub value: u64,
    /// How many deviations it is from the median, with its sign.
    pub score: f64,
}

impl Summary {
    /// The summary of `values`; none where there are none.
    #[must_use]
    pub fn of(values: &[u64]) -> Option<Self> {
        let (min, max) = (*values.iter().min()?, *values.iter().max()?);
        let mut sorted: Vec<f64> = values.iter().map(|value| float(*value)).collect();
        sorted.sort_by(f64::total_cmp);
        let number = count(sorted.len());
        let mean = sorted.iter().sum::<f64>() / number;
        let squares: f64 = sorted.iter().map(|value| (value - mean).powi(2)).sum();
        let middle = median(&sorted);
        let mut deviations: Vec<f64> = sorted.iter().map(|value| (value - middle).abs()).collect();
        deviations.sort_by(f64::total_cmp);
        let mad = median(&deviations);
        let mean_deviation = deviations.iter().sum::<f64>() / number;
        Some(Self {
            count: values.len(),
            mean,
            stdev: (squares / (number - 1.0).max(1.0)).sqrt(),
            median: middle,
            mad,
            min,
            p5: quantile(&sorted, 0.05),
            p25: quantile(&sorted, 0.25),
            p75: quantile(&sorted, 0.75),
            p95: quantile(&sorted, 0.95),
            max,
            outliers: outliers(values, middle, sigma(mad, mean_deviation)),
        })
    }
}

/// The robust stand-in for a standard deviation.
fn sigma(mad: f64, mean_deviation: f64) -> f64 {
    if mad > 0.0 { mad * MAD_TO_SIGMA } else { mean_deviation * MEAN_AD_TO_SIGMA }
}

fn outliers(values: &[u64], middle: f64, sigma: f64) -> Vec<Outlier> {
    let enough = values.len() >= OUTLIERS_FROM;
    let score =
        |value: u64| if enough && sigma > 0.0 { (float(value) - middle) / sigma } else { 0.0 };
    let scored = values.iter().enumerate();
    let scored = scored.map(|(index, &value)| Outlier { index, value, score: score(value) });
    scored.filter(|outlier| outlier.score.abs() > OUTLIER_SCORE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 1e-9, "{found}, wanted {wanted}");
    }

    #[test]
    fn a_small_row_is_summed_up_as_by_hand() {
        let summary = Summary::of(&[4, 2, 10, 8, 6]).unwrap();
        assert_eq!((summary.count, summary.min, summary.max), (5, 2, 10));
        near(summary.mean, 6.0);
        near(summary.median, 6.0);
        // Squares of the deviations: 4 + 16 + 16 + 4 = 40, divided by 4.
        near(summary.stdev, 10_f64.sqrt());
        // Deviations from 6: 0 2 2 4 4.
        near(summary.mad, 2.0);
        near(summary.p25, 4.0);
        near(summary.p5, 2.4);
        assert_eq!(summary.outliers, []);
    }

    #[test]
    fn an_outlier_is_named_and_still_counts() {
        let values = [100, 101, 99, 102, 98, 100, 400];
        let summary = Summary::of(&values).unwrap();
        let named: Vec<_> = summary.outliers.iter().map(|one| (one.index, one.value)).collect();
        assert_eq!(named, [(6, 400)]);
        assert_eq!(summary.max, 400);
        near(summary.mean, 1000.0 / 7.0);
    }

    #[test]
    fn what_stands_out_of_equal_values_is_an_outlier_too() {
        let mut values = [1000; 20];
        assert_eq!(Summary::of(&values).unwrap().outliers, []);
        values[7] = 1001;
        let summary = Summary::of(&values).unwrap();
        assert_eq!(summary.outliers.iter().map(|one| one.index).collect::<Vec<_>>(), [7]);
        near(summary.mad, 0.0);
    }

    #[test]
    fn one_value_has_no_spread_and_none_has_no_summary() {
        let summary = Summary::of(&[42]).unwrap();
        near(summary.stdev, 0.0);
        near(summary.p95, 42.0);
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[10, 11, 900]).unwrap().outliers, []);
    }
}
