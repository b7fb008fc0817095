//! ukivm's own hand-off.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Arm, Error, Mode, Request, Why};
use crate::{
    bench::{
        Phase, Proof, Trial, Unit, count,
        process::{self, Finished},
    },
    engine::{Kind, tcg},
    messages::chain,
    outcome::End,
    timeline::Milestone,
};

/// How much longer a trial's process may take than its guest.
const GRACE: Duration = Duration::from_secs(10);

/// ukivm itself, a process a trial: this program, started again.
#[derive(Debug)]
pub struct Ukivm {
    engine: Kind,
    program: PathBuf,
    arguments: Vec<OsString>,
    is_direct: bool,
}

/// What a trial's process says on standard output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// When its `main` began, by [`clock::now`](crate::bench::clock::now).
    pub main_at: u64,
    /// When what happened, in nanoseconds since then.
    pub times: BTreeMap<Milestone, u64>,
    /// After how many of the guest's instructions, if these were counted.
    pub counts: Option<BTreeMap<Milestone, u64>>,
    /// What of these the kernel's decompressor executed.
    pub decompressor: Option<Decompressor>,
    /// How the guest ended.
    pub end: End,
    /// The status of such a run; 0 if all is well.
    pub status: u8,
    /// What speaks against the guest, if something does.
    pub finding: Option<String>,
    /// The text of the "Linux version" line.
    pub linux_version: Option<String>,
    /// The last lines on the console.
    pub console: Vec<String>,
}

/// What is known of a decompressor's instructions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decompressor {
    /// How many there were, up to the jump to what it unpacked.
    Counted(u64),
    /// Why nobody can tell.
    Unseen(String),
}

impl Ukivm {
    /// An arm that starts `program` with `arguments`, those of `ukivm bench`, to which
    /// it adds what makes a trial of it.
    #[must_use]
    pub fn new(engine: Kind, program: PathBuf, arguments: Vec<OsString>) -> Self {
        Self { engine, program, arguments, is_direct: false }
    }

    /// The same with `--handoff direct`, as an arm of its own.
    #[must_use]
    pub fn direct(self) -> Self {
        Self { is_direct: true, ..self }
    }

    fn arguments(&self, request: &Request<'_>) -> Vec<OsString> {
        let mut own = self.arguments.iter().cloned();
        let command = own.next();
        let mut image = OsString::from("--trial=");
        image.push(&request.subject.image);
        let engine = format!("--trial-engine={}", self.engine).into();
        let direct = self.is_direct.then(|| "--trial-direct".into());
        command.into_iter().chain([image, engine]).chain(direct).chain(own).collect()
    }
}

impl Arm for Ukivm {
    fn name(&self) -> &'static str {
        if self.is_direct { "direct" } else { "ukivm" }
    }

    fn engine(&self) -> Kind {
        self.engine
    }

    fn available(&self, mode: Mode) -> Result<(), Why> {
        match (mode, self.engine) {
            (Mode::Time, _) => Ok(()),
            (Mode::Count, Kind::Tcg) => {
                let qemu = tcg::qemu().map_err(|error| why(&error))?;
                tcg::count::check_qemu(&qemu).map_err(|error| why(&error))
            }
            (Mode::Count, Kind::Kvm) => Err(Why {
                reason: "KVM does not count a guest's instructions".to_owned(),
                mend: Some("give --engine tcg".to_owned()),
            }),
        }
    }

    fn versions(&self) -> Vec<(String, String)> {
        let own = ("ukivm".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        let qemu = (self.engine == Kind::Tcg).then(tcg::qemu).and_then(Result::ok);
        [own].into_iter().chain(qemu.map(|qemu| ("QEMU".to_owned(), qemu.version))).collect()
    }

    fn trial(&self, request: &Request<'_>) -> Result<Trial, Error> {
        let limit = request.time_limit.saturating_add(GRACE);
        let Finished { started, status, stdout, stderr } =
            process::run(&self.program, &self.arguments(request), request, limit)?;
        let told: Told = serde_json::from_slice(&stdout).map_err(|_not_told| Error::Program {
            program: self.program.clone(),
            what: format!("no trial: it ended with {status}: {}", stderr.trim()),
            source: None,
        })?;
        told.trial(self.engine, started)
    }
}

fn why(error: &dyn std::error::Error) -> Why {
    Why { reason: chain(error), mend: None }
}

/// What a milestone is the end of.
const PHASES: [(Milestone, Phase); 15] = [
    (Milestone::ProcessStart, Phase::Start),
    (Milestone::FilesOpened, Phase::Open),
    (Milestone::ImageParsed, Phase::Parse),
    (Milestone::KernelUnpacked, Phase::Unpack),
    (Milestone::EngineChosen, Phase::Engine),
    (Milestone::Planned, Phase::Plan),
    (Milestone::VmCreated, Phase::Vm),
    (Milestone::SourcesDigested, Phase::Digest),
    (Milestone::MemoryLoaded, Phase::Load),
    (Milestone::MemoryVerified, Phase::Verify),
    (Milestone::FirstEntry, Phase::Entry),
    (Milestone::FirstConsoleByte, Phase::FirstOutput),
    (Milestone::LinuxVersion, Phase::LinuxVersion),
    (Milestone::InitStarted, Phase::Init),
    (Milestone::End, Phase::End),
];

/// Why nobody can tell when the kernel has unpacked itself.
const DECOMPRESSOR: &str = "a kernel unpacks itself silently: what it takes is in the next phase";

impl Told {
    /// The trial, of a process that was started at `started`.
    fn trial(self, engine: Kind, started: u64) -> Result<Trial, Error> {
        if self.status != 0 {
            let how = self.finding.unwrap_or_else(|| self.end.to_string());
            return Err(Error::End { how, console: self.console });
        }
        let release = self.linux_version.as_deref().and_then(release);
        let proof = Proof { release, end: self.end.to_string(), ..Proof::default() };
        match &self.counts {
            Some(counts) => counted(counts, self.decompressor, proof),
            None => Ok(self.timed(engine, started, proof)),
        }
    }

    fn timed(&self, engine: Kind, started: u64, proof: Proof) -> Trial {
        let main = self.main_at.saturating_sub(started);
        let mut trial = Trial::new(Unit::Nanoseconds, proof);
        for (milestone, phase) in PHASES {
            // KVM's VM is made while memory is filled, and what fills it hashed.
            let beside =
                engine == Kind::Kvm && matches!(phase, Phase::Vm | Phase::Digest | Phase::Load);
            let at = self.times.get(&milestone).map(|since_main| main.saturating_add(*since_main));
            trial = match at {
                Some(at) if beside => trial.reached_since(Phase::Plan, phase, at),
                Some(at) => trial.reached(phase, at),
                None if matches!(phase, Phase::Unpack | Phase::Digest | Phase::Verify) => trial,
                None => trial.without(phase, milestone.reason_unseen(true)),
            };
        }
        trial.without(Phase::Decompress, DECOMPRESSOR)
    }
}

/// A trial in instructions, which begin with the kernel's first.
fn counted(
    counts: &BTreeMap<Milestone, u64>,
    decompressor: Option<Decompressor>,
    proof: Proof,
) -> Result<Trial, Error> {
    if !counts.contains_key(&Milestone::End) {
        return Err(Error::Unseen { what: "the end", why: count::NO_END.to_owned() });
    }
    let (decompressed, why) = match decompressor {
        Some(Decompressor::Counted(count)) => (Some(count), String::new()),
        Some(Decompressor::Unseen(why)) => (None, why),
        None => (None, DECOMPRESSOR.to_owned()),
    };
    let of_the_guest = PHASES.into_iter().filter(|(first, _)| *first > Milestone::FirstEntry);
    let mut reached = vec![(decompressed, Phase::Decompress, why)];
    reached.extend(of_the_guest.map(|(milestone, phase)| {
        let why = milestone.reason_unseen(true).to_owned();
        (counts.get(&milestone).copied(), phase, why)
    }));
    // A decompressor that speaks does so before it is done.
    reached.sort_by_key(|(at, phase, _)| (*at, *phase));
    let trial = Trial::new(Unit::Instructions, proof);
    Ok(reached.into_iter().fold(trial, |trial, (at, phase, why)| match at {
        Some(at) => trial.reached(phase, at),
        None => trial.without(phase, why),
    }))
}

/// The release in a "Linux version" line.
pub(super) fn release(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("Linux version ")?;
    rest.split_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Metric;

    fn told() -> Told {
        let times = [
            (Milestone::ProcessStart, 0),
            (Milestone::FilesOpened, 10),
            (Milestone::ImageParsed, 30),
            (Milestone::EngineChosen, 31),
            (Milestone::Planned, 40),
            (Milestone::VmCreated, 90),
            (Milestone::MemoryLoaded, 70),
            (Milestone::FirstEntry, 100),
            (Milestone::FirstConsoleByte, 400),
            (Milestone::LinuxVersion, 410),
            (Milestone::End, 900),
        ];
        let line = "[    0.000000] Linux version 6.12.1-test (root@host) #1 SMP";
        Told {
            main_at: 1_005,
            times: times.into(),
            counts: None,
            decompressor: None,
            end: End::PowerOff,
            status: 0,
            finding: None,
            linux_version: Some(line.to_owned()),
            console: vec!["last".to_owned()],
        }
    }

    fn spans(trial: &Trial) -> Vec<(Phase, u64, u64)> {
        trial.phases.iter().map(|span| (span.phase, span.start, span.end)).collect()
    }

    #[test]
    fn a_trial_counts_from_the_start_of_its_process() {
        let trial = told().trial(Kind::Kvm, 1_000).expect("a trial");
        assert_eq!(trial.value(Metric::Phase(Phase::Start)), Some(5));
        assert_eq!(trial.value(Metric::Until(Phase::End)), Some(905));
        assert_eq!(trial.proof.release.as_deref(), Some("6.12.1-test"));
        assert_eq!(trial.proof.end, "power-off");
        let unseen: Vec<_> = trial.unseen.keys().copied().collect();
        assert_eq!(unseen, [Phase::Decompress, Phase::Init]);
    }

    #[test]
    fn on_kvm_memory_is_filled_beside_the_making_of_the_vm() {
        let on = |engine| spans(&told().trial(engine, 1_000).expect("a trial"));
        let kvm = on(Kind::Kvm);
        assert!(kvm.contains(&(Phase::Load, 45, 75)), "{kvm:?}");
        assert!(kvm.contains(&(Phase::Vm, 45, 95)), "{kvm:?}");
        assert!(kvm.contains(&(Phase::Entry, 95, 105)), "{kvm:?}");
        let tcg = on(Kind::Tcg);
        assert!(tcg.contains(&(Phase::Vm, 45, 95)), "{tcg:?}");
        assert!(tcg.contains(&(Phase::Load, 95, 95)), "{tcg:?}");
    }

    #[test]
    fn a_counted_trial_begins_with_the_kernel() {
        let counts = [(Milestone::LinuxVersion, 7_000), (Milestone::End, 9_000)];
        let told = Told { counts: Some(counts.into()), ..told() };
        let trial = told.trial(Kind::Tcg, 1_000).expect("a trial");
        assert_eq!(trial.unit, Unit::Instructions);
        assert_eq!(spans(&trial), [(Phase::LinuxVersion, 0, 7_000), (Phase::End, 7_000, 9_000)]);
    }

    #[test]
    fn a_decompressor_ends_where_it_was_seen_to_whatever_it_said_before() {
        let counts = [(Milestone::FirstConsoleByte, 100), (Milestone::End, 9_000)];
        let of = |decompressor| {
            let decompressor = Some(decompressor);
            let told = Told { counts: Some(counts.into()), decompressor, ..told() };
            told.trial(Kind::Tcg, 1_000).expect("a trial")
        };
        let trial = of(Decompressor::Counted(7_000));
        let wanted = [
            (Phase::FirstOutput, 0, 100),
            (Phase::Decompress, 100, 7_000),
            (Phase::End, 7_000, 9_000),
        ];
        assert_eq!(spans(&trial), wanted);
        let trial = of(Decompressor::Unseen("gone".to_owned()));
        assert_eq!(trial.unseen[&Phase::Decompress], "gone");
    }

    #[test]
    fn a_guest_whose_end_has_no_count_is_no_trial() {
        let told = Told { counts: Some(BTreeMap::new()), ..told() };
        let error = told.trial(Kind::Tcg, 1_000).expect_err("an error").to_string();
        assert!(error.starts_with("the end was never seen: only power-off"), "{error}");
    }

    #[test]
    fn what_unpacking_takes_is_in_its_phase_and_in_no_other() {
        let mut told = told();
        told.times.insert(Milestone::KernelUnpacked, 30_530);
        for at in told.times.values_mut().filter(|at| (31..30_530).contains(*at)) {
            *at = at.saturating_add(30_500);
        }
        let trial = told.trial(Kind::Kvm, 1_000).expect("a trial");
        assert_eq!(trial.value(Metric::Phase(Phase::Unpack)), Some(30_500));
        assert_eq!(trial.value(Metric::Phase(Phase::Engine)), Some(1));
        assert_eq!(trial.value(Metric::Phase(Phase::Plan)), Some(9));
    }

    #[test]
    fn a_guest_that_failed_is_no_trial() {
        let told = Told { status: 101, end: End::Panic, ..told() };
        let error = told.clone().trial(Kind::Kvm, 1_000).expect_err("an error");
        assert_eq!(
            error.to_string(),
            "the guest did not end well: panic; its console had last:\n    last"
        );
        let told = Told { finding: Some("root-missing: no root".to_owned()), ..told };
        let error = told.trial(Kind::Kvm, 1_000).expect_err("an error");
        assert!(error.to_string().contains("root-missing"), "{error}");
    }
}
