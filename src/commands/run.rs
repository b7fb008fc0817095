//! `ukivm run`: boots a UKI, its console on standard input and output.

use std::time::Instant;

use crate::{
    cli::RunOptions,
    commands::{json_file::JsonFile, warn},
    console::is_interactive,
    engine::{self, Engine, Load},
    error::Error,
    exit,
    job::{self, Job},
    messages::{chain, say},
    outcome::{End, Outcome},
    report::RunReport,
    session::{Finished, Limits, Milestone, Session},
    timeline::Timeline,
};

/// Runs the job and gives the exit status.
pub fn run(options: &RunOptions, start: Instant) -> Result<u8, Error> {
    let mut timeline = Timeline::new(start);
    let machine = job::machine(&options.job)?;
    let job = Job::open(&options.job)?;
    timeline.mark(Milestone::ImageParsed);
    let report = options.json.as_deref().map(|path| JsonFile::prepare(path, &job.files));
    let report = report.transpose()?;
    let engine = match Engine::choose(options.engine) {
        Err(error) if options.skip_without_engine => return Ok(skipped(&error)),
        chosen => chosen?,
    };
    say(&format!("engine {} ({})", engine.kind, engine.reason));
    super::tell(&job);

    let planned = job.plan(&engine.kind.equip(machine), options.job.digest)?;
    warn(&planned.warnings);
    let digest = planned.digest.map(|digest| (planned.digested.as_slice(), digest));
    let load = Load { plan: &planned.plan, files: &job.files, digest };
    let (outcome, timeline) = supervise(&engine, &load, options, timeline)?;
    tell(&outcome);
    hint(&engine, &outcome);
    let written = report.map_or(Ok(()), |file| {
        file.write(&RunReport::new(&job, &engine, &load, &outcome, &timeline))
    });
    match (outcome.end.run_status(), written) {
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
) -> Result<(Outcome, Timeline), Error> {
    let console = |source| Error::Host { what: "can't set up the console", source };
    let limits = Limits {
        start: timeline.start(),
        time_limit: options.timeout,
        interactive: is_interactive(),
    };
    let session = Session::new(limits, timeline).map_err(console)?;
    let outcome = engine.run(load, &session);
    let Finished { interrupted, timeline } = session.finish();
    let mut outcome = outcome?;
    if let Some(signal) = interrupted {
        outcome.end = End::Interrupted { signal };
    }
    Ok((outcome, timeline))
}

/// Says on standard error what ended the run, where the console does not show it.
fn tell(outcome: &Outcome) {
    match &outcome.end {
        End::PowerOff | End::Reset { .. } => {}
        End::Status { status } => say(&format!("the guest ended with its own status {status}")),
        End::Panic => say("the kernel panicked"),
        End::TripleFault => say("the guest triple-faulted"),
        End::TimeLimit => say("the time limit passed"),
        End::Interrupted { .. } => say("interrupted"),
        End::ConsoleClosed => say("nobody reads standard output any more"),
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
