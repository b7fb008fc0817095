//! `ukivm run`: boots a UKI, its console on standard input and output.

use std::time::Instant;

use crate::{
    cli::{EngineOption, RunOptions},
    commands::{json_file::JsonFile, warn},
    console::is_interactive,
    engine::{self, Engine, Kind, Load, kvm},
    error::Error,
    exit,
    job::{self, Job},
    messages::{chain, say},
    outcome::{End, Outcome},
    report::{Run, RunReport},
    sandbox::Sandbox,
    session::{Finished, Limits, Milestone, Session},
    timeline::Timeline,
    verdict::{Finding, Severity, Watch, consoles, rules},
};

/// Runs the job and gives the exit status.
pub fn run(options: &RunOptions, start: Instant) -> Result<u8, Error> {
    let sandbox = Sandbox::unless(options.sandbox.no_sandbox);
    // What is opened from here on is no inheritance.
    let ahead = (options.engine != EngineOption::Tcg).then(kvm::Ahead::begin);
    let mut timeline = Timeline::new(start);
    let grace = options.grace.unwrap_or_default();
    let machine = job::machine(&options.job)?.with_power_button(!grace.is_zero());
    let job = Job::open(&options.job, &mut |milestone| timeline.note(milestone))?;
    let report = options.json.as_deref().map(|path| JsonFile::prepare(path, &job.files));
    let report = report.transpose()?;
    let sandbox = report.iter().fold(sandbox, |sandbox, report| report.allowed_by(sandbox));
    let engine = match Engine::choose(options.engine) {
        Err(error) if options.skip_without_engine => return Ok(skipped(&error)),
        chosen => chosen?,
    };
    timeline.note(Milestone::EngineChosen);
    say(&format!("engine {} ({})", engine.kind, engine.reason));
    super::tell(&job);

    let planned = job.plan_to_load(&engine.kind.equip(machine), options.job.digest)?;
    timeline.note(Milestone::Planned);
    warn(&planned);
    let ahead = ahead.filter(|_| engine.kind == Kind::Kvm);
    let load = Load { ahead: ahead.as_ref(), ..job.load(&planned, &sandbox) };
    let (outcome, timeline, watch) = supervise(&engine, &load, options, timeline)?;
    let status = status(&outcome.end, &watch);
    tell(&outcome, &watch);
    hint(&engine, &outcome);
    if job.has_hvc0 && watch.amount().0 == 0 {
        say(&format!("hint: {}", consoles::next_step(&job.handed.cmdline, true, None)));
    }
    let written = report.map_or(Ok(()), |file| {
        let run = Run { outcome: &outcome, timeline: &timeline, watch: &watch, status };
        file.write(&RunReport::new(&job, &engine, &planned, &run))
    });
    match (status, written) {
        (0, written) => written.map(|()| 0),
        (status, Err(error)) => {
            // What the guest did matters more.
            say(&chain(&error));
            Ok(status)
        }
        (status, Ok(())) => Ok(status),
    }
}

fn skipped(error: &engine::Error) -> u8 {
    say(&format!("skipped: {}", chain(error)));
    exit::SKIPPED
}

/// Runs the guest with the console on standard input and output.
fn supervise(
    engine: &Engine,
    load: &Load<'_>,
    options: &RunOptions,
    timeline: Timeline,
) -> Result<(Outcome, Timeline, Watch), Error> {
    let console = |source| Error::Host { what: "can't set up the console", source };
    let limits = Limits {
        start: timeline.start(),
        time_limit: options.timeout,
        interactive: is_interactive(),
    };
    let grace = options.grace.unwrap_or_default();
    let session = Session::new(limits, timeline).map_err(console)?.with_grace(grace);
    let outcome = engine.run(load, &session);
    let Finished { interrupted, timeline, watch } = session.finish();
    let mut outcome = outcome?;
    if let Some(signal) = interrupted {
        outcome.end = End::Interrupted { signal };
    }
    Ok((outcome, timeline, watch))
}

/// The exit status, by the end and by what the console told.
fn status(end: &End, watch: &Watch) -> u8 {
    let worst = watch.findings().iter().map(|finding| finding.severity).max();
    rules::run(end, worst == Some(Severity::Panic), worst == Some(Severity::Fail))
}

/// Says on standard error what the guest told of its failures, and what ended the
/// run, where the console does not show it.
fn tell(outcome: &Outcome, watch: &Watch) {
    for finding in watch.findings() {
        let Finding { name, line, text, cause, .. } = finding;
        say(&format!("line {line} of the console: {name}: {text} ({cause})"));
    }
    match &outcome.end {
        End::PowerOff | End::Reset { .. } | End::Decided => {}
        End::Silence => say("nothing on the console for the time allowed"),
        End::Halted => say("every processor is halted, with interrupts off"),
        End::Status { status } => say(&format!("the guest ended with its own status {status}")),
        End::Panic => say("the kernel panicked"),
        End::TripleFault => say("the guest triple-faulted"),
        End::TimeLimit | End::BootLimit => say("the time limit passed"),
        End::Interrupted { .. } => say("interrupted"),
        End::ConsoleClosed => say("nobody reads standard output any more, or it is full"),
        End::EngineFailure { reason } => say(&format!("the engine failed: {reason}")),
    }
    for line in outcome.crash.iter().flat_map(|crash| &crash.lines) {
        say(&format!("  {line}"));
    }
}

/// Says so where no kernel could have come further.
fn hint(engine: &Engine, outcome: &Outcome) {
    if matches!(outcome.end, End::EngineFailure { .. } | End::TimeLimit)
        && let Some(why) = engine.why_no_kernel()
    {
        say(&format!("hint: {why}"));
    }
}
