//! `ukivm bench`: boots UKIs again and again, and says what takes how long.

mod arms;
mod earlier;
mod exports;
mod progress;
mod trial;

use std::{
    env,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use firmware_less::kernel::version;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::{arms::arms, earlier::Earlier, exports::Exports, progress::Progress};
use crate::{
    bench::{
        Mode,
        arm::Arm,
        campaign::{self, Contender, Extent},
        formats,
        host::Host,
        report::{Image, Report, Setting},
    },
    cli::{BenchOptions, EngineOption, JobOptions},
    commands::print,
    engine::{Engine, Kind, kvm},
    error::Error,
    exit,
    files::Files,
    job::{self, Job},
    messages::{chain, say},
    outcome::Signal,
    signals::Signals,
    verdict::EMULATION_FACTOR,
};

/// How many rounds there are where nobody says.
const ROUNDS: u32 = 20;
/// How many where instructions are counted: enough to see that they are the same
/// every time.
const COUNTED_ROUNDS: u32 = 2;
/// How long a boot may take where nobody says.
const TIME_LIMIT: Duration = Duration::from_mins(2);
/// How often it is looked whether all is done.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Runs the benchmark and gives the exit status.
pub fn run(options: &BenchOptions, start: Instant) -> Result<u8, Error> {
    if let (Some(image), Some(engine)) = (&options.trial, options.trial_engine) {
        return trial::run(options, image, engine, start);
    }
    let earlier = options.compare.as_deref().map(Earlier::read).transpose()?;
    if let Some(earlier) = &earlier
        && options.more.is_empty()
        && earlier::is_report(&options.job.image)
    {
        return earlier.compare(&Earlier::read(&options.job.image)?.report);
    }
    check_counting(options)?;
    measure(options, earlier.as_ref())
}

/// Whether what is asked for can be counted, if that is asked for.
fn check_counting(options: &BenchOptions) -> Result<(), Error> {
    let found = match options.engine {
        _ if !options.count => None,
        EngineOption::Kvm => Some("--engine kvm".to_owned()),
        _ if options.job.cpus != 1 => Some(format!("--cpus {}", options.job.cpus)),
        _ => None,
    };
    found.map_or(Ok(()), |found| Err(Error::Counting { found }))
}

fn measure(options: &BenchOptions, earlier: Option<&Earlier>) -> Result<u8, Error> {
    let (images, mut files) = images(options)?;
    if let Some(path) = &options.compare {
        files.push(job::open(path)?);
    }
    let exports = Exports::prepare(&options.export, &files)?;
    let engine = if options.count { EngineOption::Tcg } else { options.engine };
    let engine = match Engine::choose(engine) {
        Err(error) if options.skip_without_engine => {
            say(&format!("skipped: {}", chain(&error)));
            return Ok(exit::SKIPPED);
        }
        chosen => chosen?,
    };
    say(&format!("engine {} ({})", engine.kind, engine.reason));
    let arms = arms(options, engine.kind)?;
    let contenders = contenders(options, &images, &arms);
    let extent = extent(options, engine.kind);
    let mut host = Host::gather();
    let progress = Progress::new();
    let (records, interrupted) = until_signal(|stop| {
        campaign::run(&contenders, &extent, stop, &mut |event| progress.tell(event))
    })?;
    progress.clear();
    host.note_load();
    let setting = Setting {
        host,
        emulates: emulation(engine.kind),
        engine,
        interrupted,
        machine: (options.job.memory, options.job.cpus),
        arguments: env::args_os().skip(1).map(|one| one.to_string_lossy().into_owned()).collect(),
    };
    let booted = images.iter().flat_map(|image| arms.iter().map(|_| &image.image));
    let parts: Vec<_> = contenders
        .iter()
        .zip(booted)
        .zip(records)
        .map(|((who, image), record)| (who, image, record))
        .collect();
    let report = Report::new(setting, &extent, &parts);
    exports.write(&report)?;
    print(&formats::human(&report))?;
    let compared = earlier.map_or(Ok(0), |earlier| earlier.compare(&report))?;
    Ok(status(&report, compared))
}

/// What to say to whoever started it.
fn status(report: &Report, compared: u8) -> u8 {
    let is_missing = report.entries.iter().all(|entry| entry.unavailable.is_some());
    match report.interrupted {
        Some(signal) => exit::of_signal(signal),
        None if is_missing => exit::NO_ENGINE,
        None if !report.is_whole() => exit::NO_PROOF,
        None => compared,
    }
}

/// A UKI that is to be booted.
#[derive(Debug)]
struct Booted {
    path: PathBuf,
    image: Image,
    release: Option<String>,
}

/// Opens every image: what is wrong with one is said before anything is booted.
fn images(options: &BenchOptions) -> Result<(Vec<Booted>, Files), Error> {
    let mut files = Files::default();
    let mut images = Vec::new();
    for path in [&options.job.image].into_iter().chain(&options.more) {
        let job_options = JobOptions { image: path.clone(), ..options.job.clone() };
        let machine = job::machine(&job_options)?;
        let job = Job::open(&job_options, &mut |_| {})?;
        job.plan(&machine, false)?;
        super::tell(&job);
        let image = Image {
            len: job.files.uki().len,
            cmdline: String::from_utf8_lossy(&job.handed.cmdline).into_owned(),
        };
        images.push(Booted { path: path.clone(), image, release: release(&job) });
        files.append(job.files);
    }
    Ok((images, files))
}

/// What the kernel's own header says of its release.
fn release(job: &Job) -> Option<String> {
    let text = version(job.files.uki(), job.handed.kernel.range, &job.kernel)?;
    text.split_whitespace().next().map(str::to_owned)
}

/// Every image by every arm, each by a name of its own.
fn contenders<'a>(
    options: &BenchOptions,
    images: &[Booted],
    arms: &'a [Box<dyn Arm>],
) -> Vec<Contender<'a>> {
    let mut contenders: Vec<Contender<'a>> = Vec::new();
    for image in images {
        for arm in arms {
            let path = image.path.display();
            let name = match (images.len(), arms.len()) {
                (_, 1) => path.to_string(),
                (1, _) => arm.name().to_owned(),
                _ => format!("{path} by {}", arm.name()),
            };
            let is_taken = |name: &str| contenders.iter().any(|other| other.name == name);
            let numbered = (2..).map(|number: u32| format!("{name} ({number})"));
            let name = [name.clone()].into_iter().chain(numbered).find(|name| !is_taken(name));
            contenders.push(Contender {
                name: name.unwrap_or_default(),
                subject: JobOptions { image: image.path.clone(), ..options.job.clone() },
                arm: arm.as_ref(),
                release: image.release.clone(),
            });
        }
    }
    contenders
}

/// How long a boot may take.
fn time_limit(options: &BenchOptions, engine: Kind) -> Duration {
    let factor = match engine {
        Kind::Kvm => 1,
        Kind::Tcg => EMULATION_FACTOR,
    };
    options.time_limit.unwrap_or(TIME_LIMIT.saturating_mul(factor))
}

fn extent(options: &BenchOptions, engine: Kind) -> Extent {
    let (mode, warm_ups, rounds) =
        if options.count { (Mode::Count, 0, COUNTED_ROUNDS) } else { (Mode::Time, 1, ROUNDS) };
    Extent {
        mode,
        until: options.until.into(),
        warm_ups: options.warmup.unwrap_or(warm_ups),
        rounds: options.runs.unwrap_or(rounds),
        time_limit: time_limit(options, engine),
    }
}

/// Why this host's KVM is no measure of hardware, if it is none.
fn emulation(engine: Kind) -> Option<String> {
    let support = (engine == Kind::Kvm).then(kvm::probe)?;
    match support {
        kvm::Support::CannotRunKernels { reason } => Some(reason),
        _ => None,
    }
}

/// Does `work`, which is told to stop by a signal; and which signal that was.
fn until_signal<T>(work: impl FnOnce(&AtomicBool) -> T) -> Result<(T, Option<Signal>), Error> {
    let signals =
        Signals::catch().map_err(|source| Error::Host { what: "can't catch signals", source })?;
    let (stop, over) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // An interrupted or failed wait is only a short one.
                let _ = poll(&mut [PollFd::new(signals.fd(), PollFlags::IN)], Some(&TICK));
                if let Some(signal) = signals.pending() {
                    stop.store(true, Ordering::Relaxed);
                    return Some(signal);
                }
            }
            None
        });
        let done = work(&stop);
        over.store(true, Ordering::Relaxed);
        let signal = watcher.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((done, signal))
    })
}
