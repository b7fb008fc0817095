//! Whether two rows of values differ.

use serde::{Deserialize, Serialize};

use super::{float, median, rank_sum, signed_rank};

/// The probability with which an interval holds the true ratio.
const LEVEL: f64 = 0.95;

/// When a difference is called one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// It has to be less probable by chance alone than this.
    pub p: f64,
    /// The ratio has to be further from 1 than this.
    pub effect: f64,
}

impl Rule {
    /// For times: 5 %.
    pub const TIME: Self = Self { p: 0.01, effect: 0.05 };
    /// For counts of instructions: 0.1 %.
    pub const COUNT: Self = Self { p: 0.01, effect: 0.001 };
}

/// What a comparison comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The other takes less.
    Less,
    /// No difference is called.
    Same,
    /// The other takes more.
    More,
    /// No values would be enough of a difference: there are too few.
    TooFew,
}

/// How one row of values compares with another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// How many values of the base were compared.
    pub base_count: usize,
    /// How many of the other.
    pub other_count: usize,
    /// The other, divided by the base.
    pub ratio: f64,
    /// Between these it is, with a probability of 95 %; none where there are too few
    /// values to say.
    pub interval: Option<(f64, f64)>,
    /// How probable so much of a difference is by chance alone.
    pub p: f64,
    /// What that comes to.
    pub verdict: Verdict,
}

/// Compares pairs of a base and another, each pair measured side by side.
#[must_use]
pub fn paired(pairs: &[(u64, u64)], rule: &Rule) -> Comparison {
    let ratios: Vec<f64> =
        pairs.iter().map(|(base, other)| logarithm(*other) - logarithm(*base)).collect();
    let place = |index: usize| ratios.get(index).copied().unwrap_or(f64::NAN);
    let walsh = (0..ratios.len())
        .flat_map(|one| (one..ratios.len()).map(move |two| (one, two)))
        .map(|(one, two)| f64::midpoint(place(one), place(two)));
    Comparison::new(
        (pairs.len(), pairs.len()),
        Estimate::new(walsh.collect(), signed_rank::left_out(pairs.len(), LEVEL)),
        signed_rank::p(&ratios),
        rule,
    )
    .or_too_few(signed_rank::least_p(pairs.len()), rule)
}

/// Compares values of a base with those of another that were measured at another
/// time.
#[must_use]
pub fn unpaired(base: &[u64], other: &[u64], rule: &Rule) -> Comparison {
    let logarithms = |values: &[u64]| values.iter().map(|value| logarithm(*value)).collect();
    let (own, others): (Vec<f64>, Vec<f64>) = (logarithms(base), logarithms(other));
    let differences = others.iter().flat_map(|other| own.iter().map(move |base| other - base));
    Comparison::new(
        (base.len(), other.len()),
        Estimate::new(differences.collect(), rank_sum::left_out(base.len(), other.len(), LEVEL)),
        rank_sum::p(&own, &others),
        rule,
    )
    .or_too_few(rank_sum::least_p(base.len(), other.len()), rule)
}

/// Compares exact values of a base with those of another: two of each show that they
/// are the same every time, and a difference is one in which all of one's are larger
/// than all of the other's.
#[must_use]
pub fn exact(base: &[u64], other: &[u64], rule: &Rule) -> Comparison {
    let comparison = unpaired(base, other, &Rule { p: f64::INFINITY, ..*rule });
    let verdict = match comparison.verdict {
        _ if base.len() < 2 || other.len() < 2 => Verdict::TooFew,
        Verdict::More if base.iter().max() >= other.iter().min() => Verdict::Same,
        Verdict::Less if base.iter().min() <= other.iter().max() => Verdict::Same,
        verdict => verdict,
    };
    Comparison { verdict, ..comparison }
}

impl Comparison {
    fn new(counts: (usize, usize), estimate: Estimate, p: f64, rule: &Rule) -> Self {
        let Estimate { ratio, interval } = estimate;
        let verdict = match ratio {
            _ if p >= rule.p => Verdict::Same,
            ratio if ratio > 1.0 + rule.effect => Verdict::More,
            ratio if ratio < 1.0 - rule.effect => Verdict::Less,
            _ => Verdict::Same,
        };
        Self { base_count: counts.0, other_count: counts.1, ratio, interval, p, verdict }
    }

    /// That there is no difference can't be said where none could be called.
    fn or_too_few(self, least_p: f64, rule: &Rule) -> Self {
        let verdict = if least_p >= rule.p { Verdict::TooFew } else { self.verdict };
        Self { verdict, ..self }
    }
}

/// Hodges and Lehmann's estimate: the median of all differences.
#[derive(Clone, Copy)]
struct Estimate {
    ratio: f64,
    interval: Option<(f64, f64)>,
}

impl Estimate {
    fn new(mut differences: Vec<f64>, left_out: Option<usize>) -> Self {
        differences.sort_by(f64::total_cmp);
        let bounds = |skip: usize| {
            let low = differences.get(skip)?;
            let high = differences.iter().rev().nth(skip)?;
            (low <= high).then(|| (low.exp(), high.exp()))
        };
        let interval = left_out.and_then(bounds);
        Self { ratio: median(&differences).exp(), interval }
    }
}

/// How many values are left out at each end: one less than there are places of
/// `probable` that together are at most `tail`.
pub(super) fn fitting(probable: &[f64], tail: f64) -> Option<usize> {
    let mut sum = 0.0;
    let fits = probable.iter().take_while(|probable| {
        sum += **probable;
        sum <= tail
    });
    fits.count().checked_sub(1)
}

/// The logarithm; nothing counts as the least that there is, which is 1.
fn logarithm(value: u64) -> f64 {
    float(value.max(1)).ln()
}

#[cfg(test)]
mod tests;
