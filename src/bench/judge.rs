//! Who takes longer, and where.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    phase::{Metric, Phase},
    report::{Entry, Report, metrics},
    statistics::{Comparison, Rule, Summary, Verdict, exact, float, paired, unpaired},
    trial::Unit,
};

/// What part of the total a phase's difference must be to fail a comparison with an
/// earlier report: more of what takes no time is no regression.
const GATE: f64 = 0.01;

/// Which values belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// Those of the same round.
    Rounds,
    /// None.
    None,
}

/// One entry compared with another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Versus {
    /// The name of the one it is compared with.
    pub base: String,
    /// Its name.
    pub other: String,
    /// Why there is no comparison, if there is none.
    pub refused: Option<String>,
    /// Each metric that both have and that means the same for both; the total first.
    pub metrics: Vec<Compared>,
}

/// A metric of both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Which.
    pub metric: Metric,
    /// The median of the base.
    pub base_median: f64,
    /// The median of the other.
    pub other_median: f64,
    /// When a difference is called one.
    pub rule: Rule,
    /// How they compare.
    #[serde(flatten)]
    pub comparison: Comparison,
}

impl Compared {
    /// By how much the other's median is larger.
    #[must_use]
    pub fn difference(&self) -> f64 {
        self.other_median - self.base_median
    }

    /// Whether a difference is called.
    #[must_use]
    pub fn differs(&self) -> bool {
        matches!(self.comparison.verdict, Verdict::Less | Verdict::More)
    }
}

impl Versus {
    /// Compares `other` with `base`.
    #[must_use]
    pub fn new(base: &Entry, other: &Entry, unit: Unit, pairing: Pairing) -> Self {
        let refused = (base.engine != other.engine).then(|| {
            format!(
                "{} ran on {}, {} on {}: what different engines run is not compared",
                base.name, base.engine, other.name, other.engine
            )
        });
        let metrics =
            if refused.is_some() { Vec::new() } else { compared(base, other, unit, pairing) };
        Self { base: base.name.clone(), other: other.name.clone(), refused, metrics }
    }

    fn refused(base: &Entry, other: &Entry, why: String) -> Self {
        let (base, other) = (base.name.clone(), other.name.clone());
        Self { base, other, refused: Some(why), metrics: Vec::new() }
    }

    /// The total of both.
    #[must_use]
    pub fn total(&self) -> Option<&Compared> {
        self.metrics.iter().find(|compared| compared.metric == Metric::Until(Phase::End))
    }

    /// The phases in which a difference is called, the largest difference first.
    #[must_use]
    pub fn differing_phases(&self) -> Vec<&Compared> {
        let is_phase = |compared: &&Compared| matches!(compared.metric, Metric::Phase(_));
        let mut phases: Vec<_> =
            self.metrics.iter().filter(is_phase).filter(|compared| compared.differs()).collect();
        phases.sort_by(|one, two| two.difference().abs().total_cmp(&one.difference().abs()));
        phases
    }

    /// What takes longer, and enough so to fail a comparison with an earlier report.
    #[must_use]
    pub fn regressions(&self) -> Vec<&Compared> {
        let whole = self.total().map_or(f64::INFINITY, |total| total.base_median);
        let counts = |compared: &&Compared| {
            compared.comparison.verdict == Verdict::More
                && (compared.metric == Metric::Until(Phase::End)
                    || compared.difference() >= GATE * whole)
        };
        self.metrics.iter().filter(counts).collect()
    }
}

fn compared(base: &Entry, other: &Entry, unit: Unit, pairing: Pairing) -> Vec<Compared> {
    let common: Vec<_> = metrics(&base.trials)
        .into_iter()
        .filter(|metric| is_common(*metric, base, other))
        .collect();
    let phases = common.iter().filter(|metric| matches!(metric, Metric::Phase(_))).count();
    let compare = |metric: Metric| {
        let rule = rule(unit, metric, phases);
        let (one, two) = (base.values(metric), other.values(metric));
        let plain = |values: &[(u32, u64)]| values.iter().map(|(_, value)| *value).collect();
        let (ones, twos): (Vec<u64>, Vec<u64>) = (plain(&one), plain(&two));
        let comparison = match (unit, pairing) {
            (Unit::Instructions, _) => exact(&ones, &twos, &rule),
            (Unit::Nanoseconds, Pairing::Rounds) => paired(&pairs(&one, &two), &rule),
            (Unit::Nanoseconds, Pairing::None) => unpaired(&ones, &twos, &rule),
        };
        Some(Compared {
            metric,
            base_median: Summary::of(&ones)?.median,
            other_median: Summary::of(&twos)?.median,
            rule,
            comparison,
        })
    };
    common.into_iter().filter_map(compare).collect()
}

/// The rule for a metric. Whoever looks at many phases has to be surer of each.
fn rule(unit: Unit, metric: Metric, phases: usize) -> Rule {
    let rule = match unit {
        Unit::Nanoseconds => Rule::TIME,
        Unit::Instructions => Rule::COUNT,
    };
    match metric {
        Metric::Phase(_) => Rule { p: rule.p / float(phases.max(1) as u64), ..rule },
        Metric::Until(_) => rule,
    }
}

/// The values of the rounds that both have.
fn pairs(base: &[(u32, u64)], other: &[(u32, u64)]) -> Vec<(u64, u64)> {
    let others: BTreeMap<u32, u64> = other.iter().copied().collect();
    base.iter().filter_map(|(round, value)| Some((*value, *others.get(round)?))).collect()
}

/// Whether every trial of both has it, and it begins at the same moment in all.
fn is_common(metric: Metric, base: &Entry, other: &Entry) -> bool {
    let phase = match metric {
        Metric::Phase(phase) | Metric::Until(phase) => phase,
    };
    let mut begins = base.trials.iter().chain(&other.trials).map(|round| {
        let span = round.trial.span(phase)?;
        Some(if matches!(metric, Metric::Phase(_)) { span.after } else { None })
    });
    match begins.next() {
        Some(Some(first)) => begins.all(|begin| begin == Some(first)),
        _ => false,
    }
}

/// Compares the entries of `new` with those of `old` that they correspond to: those
/// of the same name, or the only one of each. The others are left out, and named.
#[must_use]
pub fn against(old: &Report, new: &Report) -> (Vec<Versus>, Vec<String>) {
    let measured = |report: &'_ Report| -> Vec<Entry> {
        report.entries.iter().filter(|entry| !entry.trials.is_empty()).cloned().collect()
    };
    let (olds, news) = (measured(old), measured(new));
    let only = olds.len() == 1 && news.len() == 1;
    let counterpart = |entry: &Entry| olds.iter().find(|old| only || old.name == entry.name);
    let mut found = Vec::new();
    let mut left_out = Vec::new();
    for entry in &news {
        match counterpart(entry) {
            Some(base) => found.push(versus(old, new, base, entry)),
            None => left_out.push(format!("{} is not in the earlier report", entry.name)),
        }
    }
    let is_missing = |entry: &&Entry| !only && !news.iter().any(|new| new.name == entry.name);
    let missing = olds.iter().filter(is_missing);
    left_out.extend(missing.map(|entry| format!("{} is only in the earlier report", entry.name)));
    (found, left_out)
}

fn versus(old: &Report, new: &Report, base: &Entry, entry: &Entry) -> Versus {
    match incomparable(old, new, base, entry) {
        Some(why) => Versus::refused(base, entry, why),
        None => Versus::new(base, entry, new.settings.unit, Pairing::None),
    }
}

/// Why the two can't be compared, if so.
fn incomparable(old: &Report, new: &Report, base: &Entry, entry: &Entry) -> Option<String> {
    let (was, is) = (&old.settings, &new.settings);
    if was.unit != is.unit {
        return Some("one was timed, the other counted".to_owned());
    }
    if (was.memory, was.cpus, was.until) != (is.memory, is.cpus, is.until) {
        return Some("they were made with other --memory, --cpus or --until".to_owned());
    }
    if base.arm != entry.arm {
        return Some(format!("arm {}, then {}", base.arm, entry.arm));
    }
    // Instructions are the same wherever they are counted.
    let host = old.host.differs(&new.host).filter(|_| is.unit == Unit::Nanoseconds);
    host.map(|what| format!("they are from different hosts: {what}"))
}

#[cfg(test)]
mod tests;
