//! One boot.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::phase::{Metric, Phase};

/// What a trial is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Nanoseconds of the host's monotonic clock.
    Nanoseconds,
    /// Instructions that the guest executed.
    Instructions,
}

/// When a phase was, in the trial's unit, counted from the trial's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Which.
    pub phase: Phase,
    /// The phase at whose end it begins; none where that is the trial's start. Only
    /// phases that begin alike are compared.
    pub after: Option<Phase>,
    /// Where it begins.
    pub start: u64,
    /// Where it ends, never before `start`.
    pub end: u64,
}

impl Span {
    /// How long it is.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether it took no time that could be told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What proves that the right kernel was booted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The release of the kernel that ran, as it said itself: the word after
    /// "Linux version". None where it said nothing.
    pub release: Option<String>,
    /// How the guest ended, in a word or two.
    pub end: String,
    /// More that an arm can show, by name: a digest of the initrd, a line of a log.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub more: BTreeMap<String, String>,
}

/// One boot that ended as it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// What it is measured in.
    pub unit: Unit,
    /// Its phases, by when they ended.
    pub phases: Vec<Span>,
    /// The phases that could not be told, and why not.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unseen: BTreeMap<Phase, String>,
    /// What proves it.
    pub proof: Proof,
}

impl Trial {
    /// A trial in which nothing has happened yet.
    #[must_use]
    pub fn new(unit: Unit, proof: Proof) -> Self {
        Self { unit, phases: Vec::new(), unseen: BTreeMap::new(), proof }
    }

    /// `phase` ended at `at`; it began where the phase before it ended.
    #[must_use]
    pub fn reached(self, phase: Phase, at: u64) -> Self {
        let last = self.phases.iter().max_by_key(|span| (span.end, span.phase));
        let (after, start) = last.map_or((None, 0), |span| (Some(span.phase), span.end));
        self.with(Span { phase, after, start, end: at.max(start) })
    }

    /// `phase` ended at `at`; it began where `after` ended, beside others that did.
    #[must_use]
    pub fn reached_since(self, after: Phase, phase: Phase, at: u64) -> Self {
        let start = self.span(after).map_or(0, |span| span.end);
        self.with(Span { phase, after: Some(after), start, end: at.max(start) })
    }

    /// `phase` could not be told, for this reason.
    #[must_use]
    pub fn without(mut self, phase: Phase, why: impl Into<String>) -> Self {
        self.unseen.insert(phase, why.into());
        self
    }

    fn with(mut self, span: Span) -> Self {
        let place = self.phases.partition_point(|other| other.end <= span.end);
        self.phases.insert(place, span);
        self
    }

    /// When `phase` was.
    #[must_use]
    pub fn span(&self, phase: Phase) -> Option<&Span> {
        self.phases.iter().find(|span| span.phase == phase)
    }

    /// The value of `metric`.
    #[must_use]
    pub fn value(&self, metric: Metric) -> Option<u64> {
        match metric {
            Metric::Phase(phase) => self.span(phase).map(Span::len),
            Metric::Until(phase) => self.span(phase).map(|span| span.end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial() -> Trial {
        Trial::new(Unit::Nanoseconds, Proof::default())
            .reached(Phase::Parse, 10)
            .reached(Phase::Plan, 25)
            .reached_since(Phase::Plan, Phase::Vm, 60)
            .reached_since(Phase::Plan, Phase::Load, 40)
            .reached(Phase::Entry, 70)
    }

    #[test]
    fn a_phase_begins_where_the_one_before_it_ended() {
        let trial = trial();
        let span = |phase| trial.span(phase).map(|span| (span.after, span.start, span.end));
        assert_eq!(span(Phase::Parse), Some((None, 0, 10)));
        assert_eq!(span(Phase::Plan), Some((Some(Phase::Parse), 10, 25)));
        assert_eq!(span(Phase::Init), None);
    }

    #[test]
    fn what_goes_on_side_by_side_begins_at_the_same_moment() {
        let trial = trial();
        assert_eq!(trial.value(Metric::Phase(Phase::Vm)), Some(35));
        assert_eq!(trial.value(Metric::Phase(Phase::Load)), Some(15));
        // It begins when both are done.
        assert_eq!(trial.value(Metric::Phase(Phase::Entry)), Some(10));
        assert_eq!(trial.value(Metric::Until(Phase::Entry)), Some(70));
        let order: Vec<_> = trial.phases.iter().map(|span| span.phase).collect();
        assert_eq!(order, [Phase::Parse, Phase::Plan, Phase::Load, Phase::Vm, Phase::Entry]);
    }

    #[test]
    fn no_phase_ends_before_it_begins() {
        let trial = trial().reached(Phase::Init, 3);
        assert_eq!(trial.value(Metric::Phase(Phase::Init)), Some(0));
        assert_eq!(trial.value(Metric::Until(Phase::Init)), Some(70));
    }

    #[test]
    fn a_trial_is_the_same_after_having_been_written() {
        let trial = trial().without(Phase::Decompress, "nobody tells");
        let json = serde_json::to_string(&trial).expect("JSON");
        assert_eq!(serde_json::from_str::<Trial>(&json).expect("a trial"), trial);
    }
}
