use super::*;
use crate::{
    bench::{
        campaign::Round,
        statistics::Random,
        trial::{Proof, Trial},
    },
    engine::Kind,
};

/// An entry whose phases take so long in each round, in microseconds, give or take a
/// little.
fn entry(name: &str, seed: u64, load: u64, kernel: u64) -> Entry {
    let mut random = Random::new(seed);
    let mut about = |micros: u64| {
        let thousandths = u64::try_from(random.below(100)).unwrap_or(0).saturating_add(950);
        micros.saturating_mul(thousandths)
    };
    let trial = |round| {
        let mut at: u64 = 0;
        let mut trial = Trial::new(Unit::Nanoseconds, Proof::default());
        for (phase, micros) in [(Phase::Parse, 100), (Phase::Load, load), (Phase::End, kernel)] {
            at = at.saturating_add(about(micros));
            trial = trial.reached(phase, at);
        }
        Round { round, trial }
    };
    Entry::of_trials(name, (1..=20).map(trial).collect())
}

fn phases(versus: &Versus) -> Vec<Metric> {
    versus.differing_phases().iter().map(|compared| compared.metric).collect()
}

#[test]
fn a_larger_load_is_found_in_that_phase_and_in_no_other() {
    let (base, other) = (entry("A", 1, 10_000, 90_000), entry("B", 2, 25_000, 90_000));
    let versus = Versus::new(&base, &other, Unit::Nanoseconds, Pairing::Rounds);
    assert_eq!(versus.total().map(|total| total.comparison.verdict), Some(Verdict::More));
    assert_eq!(phases(&versus), [Metric::Phase(Phase::Load)]);
    assert_eq!(versus.regressions().len(), 2);
}

#[test]
fn a_difference_that_the_total_hides_is_found_but_is_no_regression_if_it_is_small() {
    let (base, other) = (entry("A", 1, 100, 90_000), entry("B", 2, 300, 90_000));
    let versus = Versus::new(&base, &other, Unit::Nanoseconds, Pairing::Rounds);
    assert_eq!(versus.total().map(|total| total.comparison.verdict), Some(Verdict::Same));
    assert_eq!(phases(&versus), [Metric::Phase(Phase::Load)]);
    assert_eq!(versus.regressions(), Vec::<&Compared>::new());
}

#[test]
fn the_same_twice_does_not_differ() {
    let differ = |seed| {
        let (base, other) = (entry("A", seed, 10_000, 90_000), entry("B", !seed, 10_000, 90_000));
        let versus = Versus::new(&base, &other, Unit::Nanoseconds, Pairing::Rounds);
        versus.metrics.iter().any(Compared::differs)
    };
    assert_eq!((0..200).filter(|seed| differ(*seed)).count(), 0);
}

#[test]
fn what_is_better_is_no_regression() {
    let (base, other) = (entry("A", 1, 25_000, 90_000), entry("B", 2, 10_000, 90_000));
    let versus = Versus::new(&base, &other, Unit::Nanoseconds, Pairing::Rounds);
    assert_eq!(versus.total().map(|total| total.comparison.verdict), Some(Verdict::Less));
    assert_eq!(versus.regressions(), Vec::<&Compared>::new());
}

#[test]
fn what_different_engines_run_is_not_compared() {
    let base = entry("A", 1, 10_000, 90_000);
    let other = Entry { engine: Kind::Kvm, ..entry("B", 2, 10_000, 90_000) };
    let versus = Versus::new(&base, &other, Unit::Nanoseconds, Pairing::Rounds);
    assert_eq!(versus.metrics, []);
    let why = "A ran on tcg, B on kvm: what different engines run is not compared";
    assert_eq!(versus.refused.as_deref(), Some(why));
}

#[test]
fn phases_that_begin_at_different_moments_are_not_compared() {
    let base = entry("A", 1, 10_000, 90_000);
    let without_load = |round: Round| {
        let end = round.trial.value(Metric::Until(Phase::End)).unwrap_or_default();
        let parse = round.trial.value(Metric::Until(Phase::Parse)).unwrap_or_default();
        let trial = Trial::new(Unit::Nanoseconds, Proof::default());
        let trial = trial.reached(Phase::Parse, parse).reached(Phase::End, end);
        Round { round: round.round, trial }
    };
    let trials = base.trials.iter().cloned().map(without_load).collect();
    let other = Entry::of_trials("B", trials);
    let versus = Versus::new(&base, &other, Unit::Nanoseconds, Pairing::Rounds);
    let metrics: Vec<_> = versus.metrics.iter().map(|compared| compared.metric).collect();
    assert_eq!(metrics, [Metric::Until(Phase::End), Metric::Phase(Phase::Parse)]);
}

fn report(entries: Vec<Entry>) -> Report {
    Report::of_entries(entries)
}

#[test]
fn reports_are_compared_entry_by_entry_and_what_is_in_one_only_is_named() {
    let old = report(vec![entry("A", 1, 10_000, 90_000), entry("B", 2, 10_000, 90_000)]);
    let new = report(vec![entry("B", 3, 30_000, 90_000), entry("C", 4, 10_000, 90_000)]);
    let (found, left_out) = against(&old, &new);
    assert_eq!(found.len(), 1);
    assert_eq!(phases(&found[0]), [Metric::Phase(Phase::Load)]);
    let wanted = ["C is not in the earlier report", "A is only in the earlier report"];
    assert_eq!(left_out, wanted);
}

#[test]
fn the_only_entries_are_compared_whatever_they_are_called() {
    let old = report(vec![entry("old.efi", 1, 10_000, 90_000)]);
    let new = report(vec![entry("new.efi", 2, 10_000, 90_000)]);
    let (found, left_out) = against(&old, &new);
    assert_eq!((found.len(), left_out.len()), (1, 0));
    assert_eq!(found[0].regressions(), Vec::<&Compared>::new());
}

#[test]
fn times_of_another_host_or_machine_are_not_compared_and_counts_are() {
    let old = report(vec![entry("A", 1, 10_000, 90_000)]);
    let mut new = report(vec![entry("A", 2, 10_000, 90_000)]);
    new.host.cpu = "Z80".to_owned();
    let why =
        |old: &Report, new: &Report| against(old, new).0[0].refused.clone().unwrap_or_default();
    assert!(why(&old, &new).contains("processor"), "{}", why(&old, &new));
    let counted = |mut report: Report| {
        report.settings.unit = Unit::Instructions;
        report
    };
    assert_eq!(why(&counted(old.clone()), &counted(new.clone())), "");
    assert!(why(&old, &counted(new.clone())).contains("timed"));
    new.settings.memory = 1;
    assert!(why(&old, &new).contains("--memory"));
}
