//! The result of `ukivm smoke` as data. `src/verdict/README.md` has the schema.

mod suite;

use firmware_less::kernel::Config;
use serde::{Deserialize, Serialize};

pub use self::suite::{Image, Overall, Suite};
use super::{
    conclusion::Conclusion,
    consoles,
    proof::Proof,
    rules,
    scanner::Finding,
    silence::{self, Hang},
    watch::Watch,
};
use crate::{
    attached::Described,
    engine::Engine,
    exit,
    outcome::{End, Outcome, Signal},
    symbols::SystemMap,
    timeline::{GuestMilestone, Milestone, Timeline, micros},
};

/// The version of the JSON form: it grows only when something is taken away or
/// changes its meaning.
pub const SCHEMA: u32 = 1;

/// How many of the last lines a report shows to people.
pub const LAST_LINES: usize = 20;

/// What a run came to, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Result {
    /// The proof was seen.
    Pass,
    /// It was not, or something went wrong in the guest.
    Fail,
    /// There was no run: the image, a file or the host would not have it.
    Error,
    /// There was no engine, and that was to be no error.
    Skip,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The version of the program.
    pub ukivm: String,
    /// The UKI as it was named.
    pub image: String,
    /// Which of the repeated runs, from 1.
    pub run: u32,
    /// In a word.
    pub result: Result,
    /// The exit status.
    pub exit_status: u8,
    /// What decided, by name.
    pub cause: String,
    /// What decided, for a person.
    pub summary: String,
    /// For a guest that hung: what it was at, as far as that can be told.
    pub explanation: Option<String>,
    /// What to do about it.
    pub next_step: Option<String>,
    /// What ran the guest's code.
    pub engine: Option<Engine>,
    /// The command line, bytes that are not UTF-8 replaced.
    pub cmdline: Option<String>,
    /// What the machine had on PCI.
    #[serde(default)]
    pub devices: Vec<Described>,
    /// How the run ended.
    pub outcome: Option<End>,
    /// How often the guest was started again.
    pub restarts: u32,
    /// What was wanted and seen.
    pub proofs: Vec<Proof>,
    /// What was wanted and not seen.
    pub missing: Vec<String>,
    /// What went wrong on the console.
    pub findings: Vec<Finding>,
    /// What would have, were it not on the list of what is allowed.
    pub allowed: Vec<Finding>,
    /// What happened when, in order.
    pub milestones: Vec<Stamp>,
    /// What the guest wrote to the milestone port.
    pub guest_milestones: Vec<GuestMilestone>,
    /// How much there was on the console.
    pub console: Amount,
    /// The last lines on the console.
    pub last_lines: Vec<String>,
    /// Registers and the like, where the guest crashed or hung.
    pub crash: Vec<String>,
    /// How long it took, in microseconds.
    pub duration_us: u64,
}

/// When something happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// What.
    pub name: String,
    /// In microseconds since the start of `main`.
    pub at_us: u64,
    /// The number of the line that told it, in the raw output.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<u64>,
    /// What that line says.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<String>,
}

/// How much there was on the console.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// In bytes.
    pub bytes: u64,
    /// In line feeds.
    pub lines: u64,
}

/// A run that is over.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// What ran it.
    pub engine: &'a Engine,
    /// What the engine says of it.
    pub outcome: &'a Outcome,
    /// When what happened.
    pub timeline: &'a Timeline,
    /// What the console told.
    pub watch: &'a Watch,
    /// How often the guest was started again.
    pub restarts: u32,
    /// What the kernel was told.
    pub cmdline: &'a [u8],
    /// The names of its functions, if they are at hand.
    pub symbols: Option<&'a SystemMap>,
    /// What the machine had on PCI.
    pub devices: &'a [Described],
    /// Whether it has a virtio console.
    pub has_hvc0: bool,
    /// How it was configured, for a guest that hung and was not heard as it should be.
    pub config: Option<&'a Config>,
}

impl Report {
    /// The report of a run.
    #[must_use]
    pub fn new(image: String, run: &Run<'_>, conclusion: Conclusion) -> Self {
        let Run { engine, outcome, timeline, watch, restarts, cmdline, .. } = *run;
        let Conclusion { verdict, proofs, missing, summary, next_step } = conclusion;
        let (bytes, lines) = watch.amount();
        let crash = outcome.crash.clone().unwrap_or_default();
        let says_nothing = bytes == 0 && outcome.end.is_hang();
        Self {
            result: if verdict.is_pass() { Result::Pass } else { Result::Fail },
            exit_status: verdict.status,
            cause: verdict.cause,
            summary,
            explanation: outcome.end.is_hang().then(|| explanation(run)),
            next_step: if says_nothing {
                Some(consoles::next_step(cmdline, run.has_hvc0, run.config).to_owned())
            } else {
                next_step
            },
            engine: Some(engine.clone()),
            cmdline: Some(String::from_utf8_lossy(cmdline).into_owned()),
            devices: run.devices.to_vec(),
            outcome: Some(outcome.end.clone()),
            restarts,
            proofs,
            missing,
            findings: watch.findings().to_vec(),
            allowed: watch.allowed().to_vec(),
            milestones: stamps(timeline, watch),
            guest_milestones: timeline.guest().to_vec(),
            console: Amount { bytes, lines },
            last_lines: watch.recent().map(str::to_owned).collect(),
            crash: crash.lines,
            duration_us: timeline.at(Milestone::End).map_or(0, micros),
            ..Self::without_run(image, Result::Error, 0, String::new())
        }
    }

    /// The report where there was no run.
    #[must_use]
    pub fn without_run(image: String, result: Result, exit_status: u8, summary: String) -> Self {
        Self {
            schema: SCHEMA,
            ukivm: env!("CARGO_PKG_VERSION").to_owned(),
            image,
            run: 1,
            result,
            exit_status,
            cause: if result == Result::Skip { "skipped" } else { "error" }.to_owned(),
            summary,
            explanation: None,
            next_step: None,
            engine: None,
            cmdline: None,
            devices: Vec::new(),
            outcome: None,
            restarts: 0,
            proofs: Vec::new(),
            missing: Vec::new(),
            findings: Vec::new(),
            allowed: Vec::new(),
            milestones: Vec::new(),
            guest_milestones: Vec::new(),
            console: Amount::default(),
            last_lines: Vec::new(),
            crash: Vec::new(),
            duration_us: 0,
        }
    }

    /// The report where a signal came while no guest ran.
    #[must_use]
    pub fn interrupted(image: String, signal: Signal) -> Self {
        let summary = "interrupted while no guest ran".to_owned();
        Self {
            cause: rules::INTERRUPTED.to_owned(),
            outcome: Some(End::Interrupted { signal }),
            ..Self::without_run(image, Result::Error, exit::of_signal(signal), summary)
        }
    }

    /// The finding that decided, if one did.
    #[must_use]
    pub fn decisive(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.name == self.cause)
    }

    /// The last lines as people are shown them.
    #[must_use]
    pub fn tail(&self) -> &[String] {
        let from = self.last_lines.len().saturating_sub(LAST_LINES);
        self.last_lines.get(from..).unwrap_or_default()
    }

    /// Its time in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        seconds(self.duration_us)
    }
}

fn explanation(run: &Run<'_>) -> String {
    let recent: Vec<&str> = run.watch.recent().collect();
    let last_line = recent.iter().rev().find(|line| !line.is_empty()).copied();
    let handler = run.outcome.page_fault_handler;
    let symbols = run.symbols.and_then(|map| Some((map, map.slide(handler?)?)));
    silence::explain(&Hang {
        samples: &run.outcome.samples,
        last_write: run.outcome.last_write,
        symbols,
        cmdline: run.cmdline,
        has_hvc0: run.has_hvc0,
        config: run.config,
        bytes: run.watch.amount().0,
        last_line,
    })
}

/// Microseconds as seconds.
#[must_use]
pub fn seconds(micros: u64) -> f64 {
    std::time::Duration::from_micros(micros).as_secs_f64()
}

/// Both sources of milestones, by time.
fn stamps(timeline: &Timeline, watch: &Watch) -> Vec<Stamp> {
    let by_engine = Milestone::ALL.into_iter().filter_map(|milestone| {
        let at_us = micros(timeline.at(milestone)?);
        let of_console = [Milestone::LinuxVersion, Milestone::InitStarted].contains(&milestone);
        (!of_console).then(|| Stamp { name: name(&milestone), at_us, line: None, text: None })
    });
    let by_console = watch.marks().iter().map(|mark| Stamp {
        name: name(&mark.name),
        at_us: mark.at_us,
        line: Some(mark.line),
        text: Some(mark.text.clone()),
    });
    let mut all: Vec<_> = by_engine.chain(by_console).collect();
    all.sort_by_key(|stamp| stamp.at_us);
    all
}

/// What something is called in JSON.
pub(crate) fn name(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_comes_back_from_json_as_it_was() {
        let report = Report::without_run("a.efi".into(), Result::Fail, 101, String::new());
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }
}
