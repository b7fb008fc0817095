//! `ukivm probe`: has a guest in the kernel's place report what it was handed, and
//! compares that with the plan.

mod text;

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::FileExt as _,
    path::Path,
    time::Instant,
};

use rustix::fs::{MemfdFlags, memfd_create};
use serde::Serialize;
use ukivm_guests::PROBE;

use crate::{
    cli::{BUILT_IN, EngineOption, ProbeOptions, STANDARD_OUTPUT},
    commands::{json_file::JsonFile, output_file::OutputFile, print, tell, warn},
    console::Output,
    engine::{Engine, Kind, Load},
    error::Error,
    exit,
    files::{Files, OpenFile},
    job::{self, Job},
    messages::say,
    outcome::{End, Outcome},
    probe::{self, Comparison, Pair, Report, compare, planned, rows},
    report::{Handoff, SCHEMA},
    sandbox::Sandbox,
    session::{Finished, Limits, Record, Session},
    timeline::Timeline,
    verdict::Watch,
};

/// The longest log that is read.
const LOG_MAX: u64 = 64 << 20;

/// What `--json` gives.
#[derive(Serialize)]
struct Shown<'a> {
    schema: u32,
    ukivm: &'static str,
    /// The UKI; null where the one built in was handed over.
    image: Option<String>,
    /// What ran the probe; null where its report was read.
    engine: Option<&'a Engine>,
    /// How the kernel was to be handed over; null where there was no plan.
    handoff: Option<&'a Handoff>,
    /// Whether everything was as planned; null where there was no plan.
    as_planned: Option<bool>,
    /// How many things were compared.
    compared: usize,
    /// What was not as planned.
    differences: Vec<&'a Pair>,
    /// Everything.
    report: &'a [Pair],
}

/// Runs the probe, or reads what it printed elsewhere, or writes it out.
pub fn run(options: &ProbeOptions, start: Instant) -> Result<u8, Error> {
    if let Some(path) = &options.write_bzimage {
        return write(path, &probe::bzimage());
    }
    if let Some(path) = &options.write_uki {
        return write(path, &probe::uki());
    }
    match &options.read {
        Some(path) => read(options, path),
        None => boot(options, start),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<u8, Error> {
    OutputFile::prepare(path, &Files::default())?.write(|sink| sink.put(bytes))?;
    Ok(0)
}

/// The job: of the UKI that was named, or of the one built in.
fn open(options: &ProbeOptions) -> Result<Job, Error> {
    if options.job.image != Path::new(BUILT_IN) {
        return Job::open(&options.job, &mut |_| {});
    }
    let file = OpenFile::in_memory("built-in probe", probe::uki());
    Job::of(file, &options.job, &mut |_| {})
}

fn boot(options: &ProbeOptions, start: Instant) -> Result<u8, Error> {
    let sandbox = Sandbox::unless(options.sandbox.no_sandbox);
    let machine = job::machine(&options.job)?;
    let job = open(options)?;
    let json = options.json.as_deref().map(|path| JsonFile::prepare(path, &job.files));
    let json = json.transpose()?;
    let sandbox = json.iter().fold(sandbox, |sandbox, json| json.allowed_by(sandbox));
    let engine = Engine::for_guests(options.engine)?;
    say(&format!("engine {} ({})", engine.kind, engine.reason));
    tell(&job);
    let machine = engine.kind.equip(machine);
    let sealed = job.plan_guest(PROBE, &machine, options.job.digest)?;
    warn(&sealed);
    let load = job.load(&sealed, &sandbox);
    let (outcome, log) = supervise(&engine, &load, options, start)?;
    let report = match Report::read(&log) {
        Err(error) if outcome.end != End::PowerOff => return Ok(failed(&outcome, &error)),
        report => report.map_err(|source| Error::Probe { path: "serial port".into(), source })?,
    };
    let planned = planned(&sealed.plan, &job.files)?;
    let comparison = compare(rows(&report), Some((rows(&planned), engine.kind)));
    show(options, json, Some(&engine), Some(&Handoff::new(&job, &sealed)), &comparison)
}

fn read(options: &ProbeOptions, path: &Path) -> Result<u8, Error> {
    let log = log(path)?;
    let source = |source| Error::Probe { path: path.to_owned(), source };
    let found = rows(&Report::read(&log).map_err(source)?);
    if options.job.image == Path::new(BUILT_IN) {
        let json = options.json.as_deref();
        let json = json.map(|path| JsonFile::prepare(path, &Files::default())).transpose()?;
        return show(options, json, None, None, &compare(found, None));
    }
    let kind = match options.engine {
        EngineOption::Tcg => Kind::Tcg,
        EngineOption::Auto | EngineOption::Kvm => Kind::Kvm,
    };
    let machine = kind.equip(job::machine(&options.job)?);
    let job = Job::open(&options.job, &mut |_| {})?;
    let json = options.json.as_deref().map(|path| JsonFile::prepare(path, &job.files));
    let json = json.transpose()?;
    tell(&job);
    let sealed = job.plan(&machine, options.job.digest)?;
    let planned = planned(&sealed.plan, &job.files)?;
    let comparison = compare(found, Some((rows(&planned), kind)));
    show(options, json, None, Some(&Handoff::new(&job, &sealed)), &comparison)
}

/// A console's log, which may be a pipe.
fn log(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let mut log = Vec::new();
    if path == Path::new(STANDARD_OUTPUT) {
        io::stdin().take(LOG_MAX).read_to_end(&mut log).map_err(failed)?;
    } else {
        File::open(path).map_err(failed)?.take(LOG_MAX).read_to_end(&mut log).map_err(failed)?;
    }
    Ok(log)
}

/// Runs the guest, and gives what it printed.
fn supervise(
    engine: &Engine,
    load: &Load<'_>,
    options: &ProbeOptions,
    start: Instant,
) -> Result<(Outcome, Vec<u8>), Error> {
    let host = |source| Error::Host { what: "can't keep what the probe prints", source };
    let file = memfd_create("ukivm-probe-log", MemfdFlags::CLOEXEC);
    let log = file.map(File::from).map_err(|error| host(error.into()))?;
    let output = log.try_clone().and_then(|file| Output::start(file, |_| {})).map_err(host)?;
    let record = Record { raw: vec![output], ..Record::default() };
    let limits = Limits { start, time_limit: Some(options.timeout), interactive: false };
    let session = Session::watched(record, Watch::default(), limits, Timeline::new(start));
    let session = session.map_err(host)?;
    let outcome = engine.run(load, &session);
    let Finished { interrupted, .. } = session.finish();
    let mut outcome = outcome?;
    if let Some(signal) = interrupted {
        outcome.end = End::Interrupted { signal };
    }
    let len = log.metadata().map_err(host)?.len();
    let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
    log.read_exact_at(&mut bytes, 0).map_err(host)?;
    Ok((outcome, bytes))
}

/// Says how a probe ended that did not come to its end, and gives the status.
fn failed(outcome: &Outcome, error: &probe::Error) -> u8 {
    say(&match &outcome.end {
        End::TimeLimit => format!("the time limit passed: {error}"),
        End::TripleFault => format!("the probe triple-faulted: {error}"),
        End::Interrupted { .. } => "interrupted".to_owned(),
        End::EngineFailure { reason } => format!("the engine failed: {reason}; {error}"),
        End::Halted => format!("the processor halted: {error}"),
        end => format!("{end:?}: {error}"),
    });
    for line in outcome.crash.iter().flat_map(|crash| &crash.lines) {
        say(&format!("  {line}"));
    }
    match outcome.end.run_status() {
        0 => exit::ENGINE_FAILURE,
        status => status,
    }
}

/// Prints or writes the comparison, and gives the exit status.
fn show(
    options: &ProbeOptions,
    json: Option<JsonFile>,
    engine: Option<&Engine>,
    handoff: Option<&Handoff>,
    comparison: &Comparison,
) -> Result<u8, Error> {
    let has_plan = handoff.is_some();
    let differences: Vec<_> = comparison.differences().collect();
    let is_equal = differences.is_empty();
    let compared = if has_plan { comparison.pairs.len() } else { 0 };
    match json {
        Some(file) => file.write(&Shown {
            schema: SCHEMA,
            ukivm: env!("CARGO_PKG_VERSION"),
            image: named(options),
            engine,
            handoff,
            as_planned: has_plan.then_some(is_equal),
            compared,
            differences,
            report: &comparison.pairs,
        })?,
        None => print(&text::of(comparison, has_plan))?,
    }
    Ok(if is_equal { 0 } else { exit::DIFFERS })
}

fn named(options: &ProbeOptions) -> Option<String> {
    let image = &options.job.image;
    (image != Path::new(BUILT_IN)).then(|| image.display().to_string())
}
