//! The report for people and for other programs.

mod amount;
mod csv;
mod html;
mod human;
mod markdown;
mod waterfall;

pub use amount::{amount, ratio};
pub use csv::csv;
pub use html::html;
pub use human::{human, versus};
pub use markdown::markdown;

/// A report of two UKIs, the second of which takes longer to load.
#[cfg(test)]
fn sample() -> super::report::Report {
    use super::{
        campaign::Round,
        phase::Phase,
        report::{Entry, Report},
        trial::{Proof, Trial, Unit},
    };
    let trial = |round: u32, load: u64| {
        let late = u64::from(round).saturating_mul(10_000);
        let spike = if round == 7 { 40_000_000 } else { 0 };
        let at = |time: u64| time.saturating_add(late);
        let trial = Trial::new(Unit::Nanoseconds, Proof::default())
            .reached(Phase::Parse, 100_000)
            .reached(Phase::Plan, 200_000)
            .reached_since(Phase::Plan, Phase::Vm, at(900_000))
            .reached_since(Phase::Plan, Phase::Load, at(load))
            .reached(Phase::Entry, at(load.saturating_add(1_000_000)))
            .reached(Phase::End, at(load.saturating_add(90_000_000).saturating_add(spike)))
            .without(Phase::Init, "quiet");
        Round { round, trial }
    };
    let entry =
        |name, load| Entry::of_trials(name, (1..=20).map(|round| trial(round, load)).collect());
    Report::of_entries(vec![entry("A.efi", 10_000_000), entry("B|.efi", 35_000_000)])
}
