//! What a benchmark came to, as data. `src/bench/README.md` has the schema.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::{
    arm::{Until, Why},
    campaign::{Contender, Extent, Failure, Record, Round},
    host::Host,
    judge::{Pairing, Versus},
    phase::{Metric, Phase},
    statistics::Summary,
    trial::Unit,
};
use crate::{
    engine::{Engine, Kind},
    outcome::Signal,
};

/// The version of the JSON form: it grows only when something is taken away or
/// changes its meaning.
pub const SCHEMA: u32 = 1;

/// A benchmark that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The version of the program.
    pub ukivm: String,
    /// When it ended, in seconds since 1970.
    pub at: u64,
    /// What has to be known before any number is looked at.
    pub notices: Vec<String>,
    /// The signal that ended it before its time.
    pub interrupted: Option<Signal>,
    /// Where it was made.
    pub host: Host,
    /// The engine, and why it was that one.
    pub engine: Engine,
    /// What was asked for.
    pub settings: Settings,
    /// Who took part.
    pub entries: Vec<Entry>,
    /// The others, each compared with the first that has trials.
    pub comparisons: Vec<Versus>,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// What everything is measured in.
    pub unit: Unit,
    /// How many rounds.
    pub runs: u32,
    /// How many boots of each came first.
    pub warmup: u32,
    /// How far guests had to come.
    pub until: Until,
    /// How long a boot might take, in seconds.
    pub time_limit_s: f64,
    /// Guest memory in bytes.
    pub memory: u64,
    /// The number of vCPUs.
    pub cpus: u32,
    /// The arguments of the command.
    pub arguments: Vec<String>,
}

/// One who took part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// What it is called, unlike all others.
    pub name: String,
    /// The arm.
    pub arm: String,
    /// What ran the guest's code.
    pub engine: Kind,
    /// The programs that the arm uses, and their versions.
    pub versions: BTreeMap<String, String>,
    /// The UKI as it was named.
    pub image: String,
    /// Its length in bytes.
    pub image_len: u64,
    /// The release of its kernel, by its header.
    pub release: Option<String>,
    /// The command line, bytes that are not UTF-8 replaced.
    pub cmdline: String,
    /// Why its arm could not be used, if so.
    pub unavailable: Option<String>,
    /// Why it was given up, if so.
    pub failure: Option<Failure>,
    /// What its trials come to.
    pub metrics: Vec<Measured>,
    /// The phases that could not be told, and why not.
    pub unseen: BTreeMap<Phase, String>,
    /// Its trials.
    pub trials: Vec<Round>,
}

/// What a metric came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Which.
    pub metric: Metric,
    /// Its values, summed up.
    #[serde(flatten)]
    pub summary: Summary,
}

/// What is known of a UKI before it is booted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its length in bytes.
    pub len: u64,
    /// The command line, bytes that are not UTF-8 replaced.
    pub cmdline: String,
}

/// All that a report is made of beside who took part.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Where it was made.
    pub host: Host,
    /// The engine.
    pub engine: Engine,
    /// Why a kernel can't run there as on hardware, if so.
    pub emulates: Option<String>,
    /// The signal that ended it.
    pub interrupted: Option<Signal>,
    /// Guest memory in bytes, and the number of vCPUs.
    pub machine: (u64, u32),
    /// The arguments of the command.
    pub arguments: Vec<String>,
}

impl Report {
    /// The report of a campaign that is over: who took part, each with its record.
    #[must_use]
    pub fn new(
        setting: Setting,
        extent: &Extent,
        parts: &[(&Contender<'_>, &Image, Record)],
    ) -> Self {
        let unit = extent.mode.unit();
        let entries: Vec<_> =
            parts.iter().map(|(who, image, record)| Entry::new(who, image, record)).collect();
        let settings = Settings {
            unit,
            runs: extent.rounds,
            warmup: extent.warm_ups,
            until: extent.until,
            time_limit_s: extent.time_limit.as_secs_f64(),
            memory: setting.machine.0,
            cpus: setting.machine.1,
            arguments: setting.arguments,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            schema: SCHEMA,
            ukivm: env!("CARGO_PKG_VERSION").to_owned(),
            at: now.map_or(0, |since| since.as_secs()),
            notices: notices(unit, setting.emulates, setting.interrupted, &entries),
            interrupted: setting.interrupted,
            host: setting.host,
            engine: setting.engine,
            settings,
            comparisons: compared(&entries, unit),
            entries,
        }
    }

    /// Whether each who took part was measured to the end.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.interrupted.is_none() && self.entries.iter().all(|entry| entry.failure.is_none())
    }
}

/// What has to be known before any number is looked at.
fn notices(
    unit: Unit,
    emulates: Option<String>,
    interrupted: Option<Signal>,
    entries: &[Entry],
) -> Vec<String> {
    let kvm = emulates.filter(|_| entries.iter().any(|entry| entry.engine == Kind::Kvm));
    let kvm = kvm.map(|why| {
        format!(
            "This KVM emulates: {why}. Guest code takes many times as long as on hardware, and \
             whole kernels do not run."
        )
    });
    let is_tcg = unit == Unit::Nanoseconds && entries.iter().any(|entry| entry.engine == Kind::Tcg);
    let tcg = is_tcg.then(|| {
        "QEMU's TCG emulates the guest's processor: its times are not those of hardware, and what \
         is slow here need not be slow there."
            .to_owned()
    });
    let cut = interrupted.map(|_| "Interrupted: only what there was by then is here.".to_owned());
    [kvm, tcg, cut].into_iter().flatten().collect()
}

/// Each compared with the first that has trials.
fn compared(entries: &[Entry], unit: Unit) -> Vec<Versus> {
    let mut measured = entries.iter().filter(|entry| !entry.trials.is_empty());
    let Some(base) = measured.next() else { return Vec::new() };
    // Exact counts owe nothing to the moment: there is nothing to pair.
    let pairing = match unit {
        Unit::Nanoseconds => Pairing::Rounds,
        Unit::Instructions => Pairing::None,
    };
    measured.map(|other| Versus::new(base, other, unit, pairing)).collect()
}

impl Entry {
    fn new(who: &Contender<'_>, image: &Image, record: &Record) -> Self {
        let trials = record.trials.clone();
        let unseen = trials.iter().flat_map(|round| round.trial.unseen.clone()).collect();
        Self {
            name: who.name.clone(),
            arm: who.arm.name().to_owned(),
            engine: who.arm.engine(),
            versions: who.arm.versions().into_iter().collect(),
            image: who.subject.image.display().to_string(),
            image_len: image.len,
            release: who.release.clone(),
            cmdline: image.cmdline.clone(),
            unavailable: record.unavailable.as_ref().map(said),
            failure: record.failure.clone(),
            metrics: measured(&trials),
            unseen,
            trials,
        }
    }

    /// The values of `metric`, of the trials that have one, each with its round.
    #[must_use]
    pub fn values(&self, metric: Metric) -> Vec<(u32, u64)> {
        let value = |round: &Round| Some((round.round, round.trial.value(metric)?));
        self.trials.iter().filter_map(value).collect()
    }

    /// What `metric` comes to.
    #[must_use]
    pub fn summary(&self, metric: Metric) -> Option<&Summary> {
        let measured = self.metrics.iter().find(|measured| measured.metric == metric);
        measured.map(|measured| &measured.summary)
    }
}

#[cfg(test)]
impl Entry {
    /// An entry of which only the trials matter.
    pub(super) fn of_trials(name: &str, trials: Vec<Round>) -> Self {
        Self {
            name: name.to_owned(),
            arm: "ukivm".to_owned(),
            engine: Kind::Tcg,
            versions: BTreeMap::new(),
            image: name.to_owned(),
            image_len: 1 << 20,
            release: None,
            cmdline: String::new(),
            unavailable: None,
            failure: None,
            metrics: measured(&trials),
            unseen: BTreeMap::new(),
            trials,
        }
    }
}

#[cfg(test)]
impl Report {
    /// A report of which only the entries matter.
    pub(super) fn of_entries(entries: Vec<Entry>) -> Self {
        let unit = Unit::Nanoseconds;
        Self {
            schema: SCHEMA,
            ukivm: "0".to_owned(),
            at: 0,
            notices: notices(unit, None, None, &entries),
            interrupted: None,
            host: Host::gather(),
            engine: Engine { kind: Kind::Tcg, reason: "as asked".to_owned() },
            settings: Settings {
                unit,
                runs: 20,
                warmup: 1,
                until: Until::End,
                time_limit_s: 120.0,
                memory: 1 << 30,
                cpus: 1,
                arguments: Vec::new(),
            },
            comparisons: compared(&entries, unit),
            entries,
        }
    }
}

fn said(why: &Why) -> String {
    match &why.mend {
        Some(mend) => format!("{}; mend: {mend}", why.reason),
        None => why.reason.clone(),
    }
}

/// The metrics that `trials` have, in the order in which reports show them: the
/// total, what ukivm itself takes, the phases.
pub fn metrics(trials: &[Round]) -> Vec<Metric> {
    let phases: BTreeSet<Phase> =
        trials.iter().flat_map(|round| &round.trial.phases).map(|span| span.phase).collect();
    let has = |phase: &Phase| phases.contains(phase);
    // Of a counted boot the guest's own way to init is what is looked at.
    let is_counted = trials.iter().any(|round| round.trial.unit == Unit::Instructions);
    let wanted = |phase: &Phase| *phase != Phase::Init || is_counted;
    let until = [Phase::End, Phase::Init, Phase::Entry].into_iter().filter(wanted);
    let until = until.filter(has).map(Metric::Until);
    until.chain(phases.iter().copied().map(Metric::Phase)).collect()
}

fn measured(trials: &[Round]) -> Vec<Measured> {
    let measured = |metric| {
        let values: Vec<_> = trials.iter().filter_map(|round| round.trial.value(metric)).collect();
        Some(Measured { metric, summary: Summary::of(&values)? })
    };
    metrics(trials).into_iter().filter_map(measured).collect()
}
