//! The result of a run as JSON.

use std::collections::BTreeMap;

use firmware_less::{
    handoff::{direct::Kaslr, kexec::Flavour},
    uki::Reading,
};
use serde::Serialize;

use crate::{
    attached::Described,
    digest::hex,
    engine::Engine,
    job::{self, Job, Planned},
    outcome::{CrashReport, End, Exits, Outcome},
    readiness::Readiness,
    timeline::{GuestMilestone, Milestone, Timeline, micros},
    verdict::{Finding, Watch},
    verify::Origin,
};

/// The version of the JSON form: it grows only when something is taken away or
/// changes its meaning.
pub const SCHEMA: u32 = 1;

/// What `ukivm run --json=FILE` writes.
#[derive(Debug, Serialize)]
pub struct RunReport<'a> {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The program and its version.
    pub ukivm: &'static str,
    /// The UKI as it was named.
    pub image: String,
    /// Whose reading of the UKI applied.
    pub reading: Reading,
    /// What was verified, the UKI first; not there where nothing was.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub verified: &'a [Origin],
    /// How it ended.
    pub outcome: &'a End,
    /// The exit status of the program.
    pub exit_status: u8,
    /// What ran the guest's code.
    pub engine: &'a Engine,
    /// How the kernel was handed over.
    pub handoff: Handoff,
    /// RAM in bytes.
    pub memory: u64,
    /// The number of vCPUs.
    pub cpus: u32,
    /// What the machine had on PCI; not there where it had nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Described>,
    /// The command line, bytes that are not UTF-8 replaced.
    pub cmdline: String,
    /// Each milestone's time.
    pub timeline: BTreeMap<Milestone, Time>,
    /// What the system in the guest said of itself; not there where it said nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness: Option<&'a Readiness>,
    /// What the guest wrote to the milestone port.
    pub guest_milestones: &'a [GuestMilestone],
    /// Exits by kind.
    pub exits: Observed<Exits>,
    /// What the console told of failures.
    pub findings: &'a [Finding],
    /// For a crash or a failure of the engine.
    pub crash: Option<&'a CrashReport>,
}

/// What there is to report of a run that is over.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// How it ended.
    pub outcome: &'a Outcome,
    /// When what happened.
    pub timeline: &'a Timeline,
    /// What the console told.
    pub watch: &'a Watch,
    /// The exit status of the program.
    pub status: u8,
}

/// How the kernel was handed over.
#[derive(Debug, Serialize)]
pub struct Handoff {
    /// The kind: `kexec` or `direct`.
    pub kind: &'static str,
    /// Where a kernel that was entered directly is, and whether at random.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kaslr: Option<Kaslr>,
    /// Why a kernel that was to be entered directly was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_direct: Option<String>,
    /// Whose placement.
    pub flavour: Flavour,
    /// SHA-256 over the segments, verified over guest memory before the first
    /// entry; null without `--digest`.
    pub digest: Option<String>,
}

impl Handoff {
    /// How `job` was handed over.
    #[must_use]
    pub fn new(job: &Job, planned: &Planned) -> Self {
        let (kind, kaslr) = match planned.handoff {
            job::Handoff::Kexec => ("kexec", None),
            job::Handoff::Direct(kaslr) => ("direct", Some(kaslr)),
        };
        Self {
            kind,
            kaslr,
            not_direct: planned.not_direct.clone(),
            flavour: job.kexec.flavour,
            digest: planned.digest().map(|digest| hex(&digest)),
        }
    }
}

/// When something happened.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Time {
    /// Microseconds since the start of the program's `main`.
    At {
        /// The microseconds.
        at_us: u64,
    },
    /// Not seen.
    Unseen {
        /// Always null.
        at_us: Option<u64>,
        /// Why not.
        reason: &'static str,
    },
}

/// What an engine may or may not be able to observe.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Observed<T> {
    /// It did.
    Value(T),
    /// It can't.
    Unobservable {
        /// Always null.
        value: Option<T>,
        /// Why not.
        reason: &'static str,
    },
}

impl<'a> RunReport<'a> {
    /// The report of one run.
    #[must_use]
    pub fn new(job: &'a Job, engine: &'a Engine, planned: &Planned, run: &'a Run<'a>) -> Self {
        let Run { outcome, timeline, watch, status } = *run;
        let machine = planned.plan.machine();
        let counted = outcome.exits.is_some();
        let time = |milestone| (milestone, Time::of(timeline, milestone, counted));
        Self {
            schema: SCHEMA,
            ukivm: env!("CARGO_PKG_VERSION"),
            image: job.files.uki().path.display().to_string(),
            reading: job.uki.reading(),
            verified: &job.verified,
            outcome: &outcome.end,
            exit_status: status,
            engine,
            handoff: Handoff::new(job, planned),
            memory: machine.memory(),
            cpus: machine.cpus(),
            devices: job.attached.describe(machine),
            cmdline: String::from_utf8_lossy(&job.handed.cmdline).into_owned(),
            timeline: Milestone::ALL.into_iter().map(time).collect(),
            readiness: Some(timeline.readiness()).filter(|said| **said != Readiness::default()),
            guest_milestones: timeline.guest(),
            exits: outcome.exits.clone().map_or(
                Observed::Unobservable { value: None, reason: "QEMU does not count them" },
                Observed::Value,
            ),
            findings: watch.findings(),
            crash: outcome.crash.as_ref(),
        }
    }
}

impl Time {
    fn of(timeline: &Timeline, milestone: Milestone, engine_counts_exits: bool) -> Self {
        match timeline.at(milestone) {
            Some(at) => Self::At { at_us: micros(at) },
            None => {
                Self::Unseen { at_us: None, reason: milestone.reason_unseen(engine_counts_exits) }
            }
        }
    }
}
