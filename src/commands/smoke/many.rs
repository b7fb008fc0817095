//! Several runs, each in a process of its own: what happens to one, be it a bug of
//! ours, does nothing to the others, and each counts its time from its own start.

use std::{
    env, fs, io,
    path::PathBuf,
    sync::mpsc::{self, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::{
    Pid, Signal, getpid, getppid, kill_process, set_parent_process_death_signal,
};

use super::{
    interruptible::{Stopped, interruptible, patiently},
    policy,
    pool::{Part, Pool},
    style,
};
use crate::{
    cli::{Format, SmokeOptions},
    commands::print,
    error::Error,
    messages::say,
    verdict::{
        formats,
        report::{Report, Suite},
    },
};

/// What a run takes beside the guest's memory, generously.
const OVERHEAD: u64 = 128 << 20;
/// Boots the images numbered `wanted`, each as often as is wanted.
pub(super) fn boot(
    options: &SmokeOptions,
    images: &[PathBuf],
    wanted: &[usize],
) -> Result<Suite, Error> {
    let program = env::current_exe()
        .map_err(|source| Error::Host { what: "can't find this program", source })?;
    let repeat = options.matrix.repeat;
    let parts = |image: &usize| (1..=repeat).map(|run| Part { image: *image, run }).collect();
    let parts = wanted.iter().flat_map::<Vec<_>, _>(parts).collect();
    let pool = Pool::new(options, images, program, parts);
    let artefacts = pool.prepare()?;
    let signals = &super::catch_signals()?;
    // What is wrong with the command line is said once, before anything is booted.
    let read = options.clone();
    match interruptible(signals, || Duration::ZERO, move || policy::read(&read), || {}) {
        Ok(policy) => drop(policy?),
        Err(Stopped::By(signal)) => pool.stop(signal),
        Err(Stopped::NoThread(source)) => return Err(no_thread(source)),
    }
    let (told, teller) = teller(options)?;
    let reports = pool.run(bounded(options), signals, &told);
    let of_image = |image: &usize| {
        let own = reports.iter().filter(|(part, _)| part.image == *image);
        let mut runs: Vec<_> = own.map(|(_, report)| report.clone()).collect();
        runs.sort_by_key(|report| report.run);
        (pool.name(*image), runs)
    };
    let suite = Suite::new(wanted.iter().map(of_image).collect());
    artefacts.write(&suite);
    // Who reads what is printed may keep us waiting.
    signals.let_through();
    drop(told);
    patiently(suite.exit_status, move || teller.join().ok());
    Ok(suite)
}

/// Starts a thread that tells people of each run as it is over, so that a reader who
/// does not read keeps nothing else waiting.
fn teller(options: &SmokeOptions) -> Result<(Sender<Report>, JoinHandle<()>), Error> {
    let (sender, reports) = mpsc::channel::<Report>();
    let is_wanted = options.format == Format::Human;
    let tell = move || {
        for report in reports.iter().filter(|_| is_wanted) {
            // Nobody may be listening; the verdict is in the exit status too.
            print(&formats::human(&report, style())).ok();
        }
    };
    let thread = thread::Builder::new().name("teller".into()).spawn(tell);
    let thread = thread.map_err(no_thread)?;
    Ok((sender, thread))
}

fn no_thread(source: io::Error) -> Error {
    Error::Host { what: "can't start a thread", source }
}

/// For a part: ends with the process that started it.
pub(super) fn end_with_parent(parent: Option<u32>) {
    let Some(parent) = parent.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) else {
        return;
    };
    set_parent_process_death_signal(Some(Signal::TERM)).ok();
    if getppid() != Some(parent) {
        // It ended before it could be asked to tell.
        kill_process(getpid(), Signal::TERM).ok();
    }
}

/// How many runs at once: as asked, if the host has the processors and the memory.
fn bounded(options: &SmokeOptions) -> usize {
    let asked = usize::try_from(options.matrix.jobs).unwrap_or(usize::MAX);
    let cpus = usize::try_from(options.job.cpus).unwrap_or(usize::MAX).max(1);
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let by_processors = processors.checked_div(cpus).unwrap_or(1).max(1);
    let each = options.job.memory.saturating_add(OVERHEAD);
    let by_memory = available_memory().and_then(|free| free.checked_div(each));
    let by_memory = by_memory.map_or(usize::MAX, |jobs| usize::try_from(jobs).unwrap_or(1).max(1));
    let jobs = asked.min(by_processors).min(by_memory);
    if jobs < asked {
        let what = if by_memory < by_processors { "free memory" } else { "processors" };
        say(&format!("{jobs} at once, not {asked}: this host has {what} for no more"));
    }
    jobs
}

/// What `/proc/meminfo` says is free for the taking, in bytes. proc(5).
fn available_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}
