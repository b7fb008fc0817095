//! All boots of a benchmark, one after the other.

use std::{collections::BTreeMap, sync::atomic::AtomicBool, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    arm::{self, Arm, Mode, Request, Subject, Until, Why},
    schedule::{Turn, schedule},
    trial::Trial,
};
use crate::messages::chain;

/// Who takes part: a UKI, booted by an arm.
#[derive(Debug)]
pub struct Contender<'a> {
    /// What reports call it.
    pub name: String,
    /// What is booted.
    pub subject: Subject,
    /// How.
    pub arm: &'a dyn Arm,
    /// The release that the UKI's kernel has by its header.
    pub release: Option<String>,
}

/// What is measured, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// What is measured.
    pub mode: Mode,
    /// How far guests have to come.
    pub until: Until,
    /// How many boots of each come first and do not count.
    pub warm_ups: u32,
    /// How many rounds count.
    pub rounds: u32,
    /// How long a boot may take.
    pub time_limit: Duration,
}

/// What a contender has to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Why its arm could not be used, if so.
    pub unavailable: Option<Why>,
    /// Its trials.
    pub trials: Vec<Round>,
    /// Why it was given up, if so.
    pub failure: Option<Failure>,
}

/// A trial that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// Which round it was in, from 1.
    pub round: u32,
    /// What was measured.
    #[serde(flatten)]
    pub trial: Trial,
}

/// A boot that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// In which round, from 1; 0 in a warm-up.
    pub round: u32,
    /// What went wrong.
    pub why: String,
}

/// Something that happens, for whoever shows it.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A boot begins.
    Turn {
        /// Whose.
        name: &'a str,
        /// Which.
        turn: Turn,
        /// How many boots have been.
        done: usize,
        /// How many there are in all, those of contenders that were given up left out.
        of: usize,
    },
    /// It ended well.
    Trial {
        /// Whose.
        name: &'a str,
        /// Which.
        turn: Turn,
        /// What was measured.
        trial: &'a Trial,
    },
    /// It did not, and there will be no more of it.
    Failed {
        /// Whose.
        name: &'a str,
        /// What went wrong.
        failure: &'a Failure,
    },
    /// An arm can't be used.
    Unavailable {
        /// Whose.
        name: &'a str,
        /// Why.
        why: &'a Why,
    },
}

/// Boots `contenders` in turns until all is done or `stop` is set; what each has to
/// show, in their order.
pub fn run(
    contenders: &[Contender<'_>],
    extent: &Extent,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(&Event<'_>),
) -> Vec<Record> {
    let mut records: Vec<Record> =
        contenders.iter().map(|contender| enter(contender, extent.mode, tell)).collect();
    let turns: Vec<_> = schedule(contenders.len(), extent.warm_ups, extent.rounds).collect();
    let mut done: usize = 0;
    for (at, turn) in turns.iter().enumerate() {
        let Some(contender) = contenders.get(turn.contender) else { continue };
        let is_in = |turn: &&Turn| records.get(turn.contender).is_some_and(Record::is_in);
        if !is_in(&turn) {
            continue;
        }
        let left = turns.get(at..).unwrap_or_default().iter().filter(is_in).count();
        let of = done.saturating_add(left);
        tell(&Event::Turn { name: &contender.name, turn: *turn, done, of });
        let request = Request {
            subject: &contender.subject,
            mode: extent.mode,
            until: extent.until,
            time_limit: extent.time_limit,
            stop,
        };
        let trial = contender.arm.trial(&request).and_then(|trial| contender.checked(trial));
        if request.is_stopped() {
            break;
        }
        done = done.saturating_add(1);
        if let Some(record) = records.get_mut(turn.contender) {
            record.take(&contender.name, *turn, trial, tell);
        }
    }
    records
}

fn enter(contender: &Contender<'_>, mode: Mode, tell: &mut dyn FnMut(&Event<'_>)) -> Record {
    let unavailable = contender.arm.available(mode).err();
    if let Some(why) = &unavailable {
        tell(&Event::Unavailable { name: &contender.name, why });
    }
    Record { unavailable, ..Record::default() }
}

impl Contender<'_> {
    /// The trial, if it was of this contender's kernel.
    fn checked(&self, trial: Trial) -> Result<Trial, arm::Error> {
        match (&self.release, &trial.proof.release) {
            (Some(wanted), Some(found)) if wanted != found => Err(arm::Error::Wrong {
                what: "kernel",
                found: found.clone(),
                wanted: wanted.clone(),
            }),
            _ => Ok(trial),
        }
    }
}

impl Record {
    /// Whether there is to be more of it.
    fn is_in(&self) -> bool {
        self.unavailable.is_none() && self.failure.is_none()
    }

    fn take(
        &mut self,
        name: &str,
        turn: Turn,
        trial: Result<Trial, arm::Error>,
        tell: &mut dyn FnMut(&Event<'_>),
    ) {
        match trial {
            Ok(trial) => {
                tell(&Event::Trial { name, turn, trial: &trial });
                if !turn.is_warm_up() {
                    self.trials.push(Round { round: turn.round, trial });
                }
            }
            Err(error) => {
                let failure = Failure { round: turn.round, why: chain(&error) };
                tell(&Event::Failed { name, failure: &failure });
                self.failure = Some(failure);
            }
        }
    }

    /// Its trials by round.
    #[must_use]
    pub fn by_round(&self) -> BTreeMap<u32, &Trial> {
        self.trials.iter().map(|round| (round.round, &round.trial)).collect()
    }
}

#[cfg(test)]
mod tests;
