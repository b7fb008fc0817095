//! One run.

use std::{fs, io, path::Path, time::Instant};

use super::{
    artefacts::Artefacts,
    live::{self, Show},
    policy,
};
use crate::{
    cli::{JobOptions, SmokeOptions},
    commands::warn,
    engine::{Engine, Load},
    error::Error,
    exit,
    job::{self, Job},
    messages::{chain, say},
    outcome::{End, Outcome},
    session::{Finished, Limits, Milestone, Session},
    symbols::SystemMap,
    timeline::{Timeline, micros},
    verdict::{
        Ending, Policy, Watch, conclude,
        report::{Report, Result as Word, Run},
    },
};

/// What a run needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct One<'a> {
    pub(super) options: &'a SmokeOptions,
    pub(super) image: &'a Path,
    pub(super) start: Instant,
    pub(super) artefacts: &'a Artefacts,
    pub(super) show: Show,
}

/// A guest that has ended for good.
struct Ended {
    outcome: Outcome,
    timeline: Timeline,
    watch: Watch,
    restarts: u32,
}

impl One<'_> {
    /// Boots the UKI. There is always a report, also where nothing was booted.
    pub(super) fn boot(&self, policy: Policy) -> Report {
        self.try_boot(policy).unwrap_or_else(|error| {
            say(&chain(&error));
            let image = self.image.display().to_string();
            let status = error.exit_status();
            let mut report = Report::without_run(image, Word::Error, status, chain(&error));
            report.next_step = error.hint();
            report.duration_us = micros(self.start.elapsed());
            report
        })
    }

    fn try_boot(&self, mut policy: Policy) -> Result<Report, Error> {
        let mut timeline = Timeline::new(self.start);
        let options = JobOptions { image: self.image.to_owned(), ..self.options.job.clone() };
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
        say(&format!("engine {} ({})", engine.kind, engine.reason));
        crate::commands::tell(&job);
        let note = &mut |milestone| timeline.note(milestone);
        let planned = job.plan(&engine.kind.equip(machine), options.digest, note)?;
        warn(&planned.warnings);
        let digest = planned.digest.map(|digest| (planned.digested.as_slice(), digest));
        let load = Load { plan: &planned.plan, files: &job.files, digest };

        let symbols = self.options.system_map.as_deref().map(read_symbols).transpose()?;
        policy.limits = policy::limits(&self.options.limits, engine.kind);
        let ended = self.supervise(&engine, &load, timeline, Watch::new(policy))?;
        Ok(self.report(&engine, &job, symbols.as_ref(), ended))
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
            let record = self.artefacts.record(news.clone(), self.show.console);
            let record = record.map_err(host("can't keep the record"))?;
            let session = Session::watched(record, watch, limits, timeline)
                .map_err(host("can't set up the console"))?;
            let outcome = engine.run(load, &session);
            let finished = session.finish();
            let mut outcome = outcome?;
            if let Some(signal) = finished.interrupted {
                outcome.end = End::Interrupted { signal };
            }
            Finished { timeline, watch, .. } = finished;
            let again =
                matches!(outcome.end, End::Reset { .. }) && restarts < self.options.reboot.restarts;
            if !again {
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
        job: &Job,
        symbols: Option<&SystemMap>,
        ended: Ended,
    ) -> Report {
        let Ended { outcome, timeline, watch, restarts } = ended;
        let ending = Ending {
            end: outcome.end.clone(),
            at_us: timeline.at(Milestone::End).map_or(0, micros),
            restarted: restarts > 0,
        };
        let run = Run {
            engine,
            outcome: &outcome,
            timeline: &timeline,
            watch: &watch,
            restarts,
            cmdline: &job.handed.cmdline,
            symbols,
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
