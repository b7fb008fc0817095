//! One run.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use firmware_less::kernel::Config;

use super::{
    artefacts::Artefacts,
    interruptible::{Stopped, interruptible},
    live::{self, Show},
    policy,
};
use crate::{
    attached::Described,
    cli::{JobOptions, SmokeOptions},
    commands::warn,
    engine::{Engine, Load},
    error::Error,
    exit,
    job::{self, Job},
    messages::{chain, say},
    news::News,
    outcome::{End, Outcome, Signal},
    sandbox::Sandbox,
    session::{Finished, Limits, Milestone, Session},
    signals::Signals,
    symbols::SystemMap,
    timeline::{Timeline, micros},
    verdict::{
        Ending, Watch, conclude,
        report::{Report, Result as Word, Run},
    },
};

/// How long the report of a guest that has ended may take once a signal has come.
const REPORT_MAX: Duration = Duration::from_secs(5);

/// What a run needs.
#[derive(Debug)]
pub(super) struct One {
    pub(super) options: SmokeOptions,
    pub(super) image: PathBuf,
    pub(super) start: Instant,
    pub(super) artefacts: Artefacts,
    pub(super) show: Show,
    pub(super) signals: Arc<Signals>,
    sandbox: Sandbox,
    /// A guest has ended: what is left is to tell.
    has_run: AtomicBool,
}

/// A guest that has ended for good.
struct Ended {
    outcome: Outcome,
    timeline: Timeline,
    watch: Watch,
    restarts: u32,
}

impl One {
    pub(super) fn new(
        mut options: SmokeOptions,
        image: PathBuf,
        (start, signals): (Instant, Arc<Signals>),
        (artefacts, sandbox): (Artefacts, Sandbox),
        show: Show,
    ) -> Self {
        // Nobody says anything where there is nobody to say it to.
        options.job.system.notify |= options.proof.sayings().next().is_some();
        let has_run = AtomicBool::new(false);
        Self { options, image, start, artefacts, show, signals, sandbox, has_run }
    }

    /// Boots the UKI. There is always a report, also where nothing was booted, and
    /// where a signal came while no guest ran.
    pub(super) fn boot(self) -> (Report, Arc<Self>) {
        let one = Arc::new(self);
        let worker = Arc::clone(&one);
        let work = move || worker.boot_or_say();
        let has_run = || one.has_run.load(Ordering::Acquire);
        let patience = || if has_run() { REPORT_MAX } else { Duration::ZERO };
        let meanwhile = || one.sandbox.confine_writer();
        let report = match interruptible(&one.signals, patience, work, meanwhile) {
            Ok(report) => report,
            Err(Stopped::By(signal)) => one.interrupted(signal),
            Err(Stopped::NoThread(source)) => {
                one.failed(&Error::Host { what: "can't start a thread", source })
            }
        };
        (report, one)
    }

    fn interrupted(&self, signal: Signal) -> Report {
        let at_us = micros(self.start.elapsed());
        self.artefacts.note(&News::End { outcome: End::Interrupted { signal }, at_us });
        let image = self.image.display().to_string();
        Report { duration_us: at_us, ..Report::interrupted(image, signal) }
    }

    fn boot_or_say(&self) -> Report {
        self.try_boot().unwrap_or_else(|error| self.failed(&error))
    }

    fn failed(&self, error: &Error) -> Report {
        say(&chain(error));
        let image = self.image.display().to_string();
        let report = Report::without_run(image, Word::Error, error.exit_status(), chain(error));
        Report { next_step: error.hint(), duration_us: micros(self.start.elapsed()), ..report }
    }

    fn try_boot(&self) -> Result<Report, Error> {
        // What is wrong with the command line is said before anything is booted.
        let mut policy = policy::read(&self.options)?;
        let mut timeline = Timeline::new(self.start);
        let options = JobOptions { image: self.image.clone(), ..self.options.job.clone() };
        let machine = job::machine(&options)?;
        let job = Job::open(&options, &mut |milestone| timeline.note(milestone))?;
        let engine = match Engine::choose(self.options.engine) {
            Err(error) if self.options.skip_without_engine => {
                let image = self.image.display().to_string();
                let why = chain(&error);
                return Ok(Report::without_run(image, Word::Skip, exit::SKIPPED, why));
            }
            chosen => chosen?,
        };
        timeline.note(Milestone::EngineChosen);
        if self.options.matrix.part.is_none() {
            say(&format!("engine {} ({})", engine.kind, engine.reason));
        }
        crate::commands::tell(&job);
        let planned = job.plan_to_load(&engine.kind.equip(machine), options.digest)?;
        timeline.note(Milestone::Planned);
        warn(&planned);
        let load = job.load(&planned, &self.sandbox);

        let symbols = self.options.system_map.as_deref().map(read_symbols).transpose()?;
        policy.limits = policy::limits(&self.options.limits, engine.kind);
        let ended = self.supervise(&engine, &load, timeline, Watch::new(policy))?;
        let devices = job.attached.describe(planned.plan.machine());
        Ok(self.report(&engine, (&job, &devices), symbols.as_ref(), ended))
    }

    /// Runs the guest, and again as often as it may reset itself.
    fn supervise(
        &self,
        engine: &Engine,
        load: &Load<'_>,
        mut timeline: Timeline,
        mut watch: Watch,
    ) -> Result<Ended, Error> {
        let host = |what| move |source: io::Error| Error::Host { what, source };
        let events = self.artefacts.events.as_ref().map(fs::File::try_clone);
        let events = events.transpose().map_err(host("can't keep the record"))?;
        let (news, teller) =
            live::start(self.show, events, self.start).map_err(host("can't start a thread"))?;
        let limits = Limits {
            start: self.start,
            time_limit: watch.policy().limits.total,
            interactive: false,
        };
        let mut restarts = 0;
        let ended = loop {
            let record =
                self.artefacts.record(news.clone(), self.show.console, Arc::clone(&self.signals));
            let record = record.map_err(host("can't keep the record"))?;
            let session = Session::watched(record, watch, limits, timeline)
                .map_err(host("can't set up the console"))?;
            let outcome = engine.run(load, &session);
            let finished = session.finish();
            let mut outcome = outcome?;
            // One that came as the guest was ending is for us, before it starts again.
            let is_reset = matches!(outcome.end, End::Reset { .. });
            let late = || is_reset.then(|| self.signals.pending()).flatten();
            if let Some(signal) = finished.interrupted.or_else(late) {
                outcome.end = End::Interrupted { signal };
            }
            Finished { timeline, watch, .. } = finished;
            let again =
                matches!(outcome.end, End::Reset { .. }) && restarts < self.options.reboot.restarts;
            if !again {
                self.has_run.store(true, Ordering::Release);
                break Ended { outcome, timeline, watch, restarts };
            }
            restarts = restarts.saturating_add(1);
            say(&format!("the guest reset itself: start {restarts} more"));
            timeline.run_again();
        };
        drop(news);
        teller.join().ok();
        Ok(ended)
    }

    fn report(
        &self,
        engine: &Engine,
        (job, devices): (&Job, &[Described]),
        symbols: Option<&SystemMap>,
        ended: Ended,
    ) -> Report {
        let Ended { outcome, timeline, watch, restarts } = ended;
        let ending = Ending {
            end: outcome.end.clone(),
            at_us: timeline.at(Milestone::End).map_or(0, micros),
            restarted: restarts > 0,
        };
        // To unpack a kernel takes its time.
        let wants_config = outcome.end.is_hang() && !watch.userspace();
        let config = wants_config.then(|| Config::read(job.files.uki(), &job.kernel)).flatten();
        let run = Run {
            engine,
            outcome: &outcome,
            timeline: &timeline,
            watch: &watch,
            restarts,
            cmdline: &job.handed.cmdline,
            devices,
            has_hvc0: job.has_hvc0,
            symbols,
            config: config.as_ref(),
        };
        let conclusion = conclude(&watch, &ending);
        let mut report = Report::new(self.image.display().to_string(), &run, conclusion);
        if report.result == Word::Fail
            && (outcome.end.is_hang() || matches!(outcome.end, End::EngineFailure { .. }))
            && let Some(why) = engine.why_no_kernel()
        {
            report.next_step = Some(why);
        }
        report
    }
}

fn read_symbols(path: &Path) -> Result<SystemMap, Error> {
    let text = fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    SystemMap::read(&String::from_utf8_lossy(&text))
        .map_err(|source| Error::SystemMap { path: path.to_owned(), source })
}
