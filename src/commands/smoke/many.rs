//! Several runs, each in a process of its own: what happens to one, be it a bug of
//! ours, does nothing to the others, and each counts its time from its own start.

use std::{
    collections::HashSet,
    env,
    ffi::OsString,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU8, AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};

use super::{artefacts::Artefacts, tell};
use crate::{
    cli::SmokeOptions,
    error::Error,
    exit,
    messages::say,
    outcome::End,
    signals::Signals,
    verdict::report::{Report, Result as Word, Suite},
};

/// What a run takes beside the guest's memory, generously.
const OVERHEAD: u64 = 128 << 20;
/// How often signals are looked at.
const TICK: Duration = Duration::from_millis(100);

/// A run to be made: which image, and which of its repetitions, from 1.
#[derive(Clone, Copy, Debug)]
struct Part {
    image: usize,
    run: u32,
}

/// Boots the images numbered `wanted`, each as often as is wanted.
pub(super) fn boot(
    options: &SmokeOptions,
    images: &[PathBuf],
    wanted: &[usize],
) -> Result<Suite, Error> {
    let host = |what| move |source| Error::Host { what, source };
    let artefacts = Artefacts::of_suite(options.output.as_deref(), images)?;
    let program = env::current_exe().map_err(host("can't find this program"))?;
    let signals = Signals::catch().map_err(host("can't catch signals"))?;
    let repeat = options.matrix.repeat;
    let parts = |image: &usize| (1..=repeat).map(|run| Part { image: *image, run }).collect();
    let parts: Vec<Part> = wanted.iter().flat_map::<Vec<_>, _>(parts).collect();
    let pool = Pool {
        options,
        images,
        program,
        parts,
        next: AtomicUsize::new(0),
        stopping: AtomicU8::new(0),
        running: Mutex::new(HashSet::new()),
    };
    let reports = pool.run(&signals);
    let of_image = |image: &usize| {
        let own = reports.iter().filter(|(part, _)| part.image == *image);
        let mut runs: Vec<_> = own.map(|(_, report)| report.clone()).collect();
        runs.sort_by_key(|report| report.run);
        (pool.name(*image), runs)
    };
    let suite = Suite::new(wanted.iter().map(of_image).collect());
    artefacts.write(&suite);
    Ok(suite)
}

/// For a part: ends with the process that started it.
pub(super) fn end_with_parent(parent: Option<u32>) {
    let Some(parent) = parent.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) else {
        return;
    };
    set_parent_process_death_signal(Some(Signal::TERM)).ok();
    if getppid() != Some(parent) {
        // It ended before it could be asked to tell.
        kill_process(rustix::process::getpid(), Signal::TERM).ok();
    }
}

struct Pool<'a> {
    options: &'a SmokeOptions,
    images: &'a [PathBuf],
    program: PathBuf,
    parts: Vec<Part>,
    next: AtomicUsize,
    /// Not 0 once no part is to be started any more: the status that those have.
    stopping: AtomicU8,
    running: Mutex<HashSet<u32>>,
}

impl Pool<'_> {
    fn run(&self, signals: &Signals) -> Vec<(Part, Report)> {
        let jobs = bounded(self.options).min(self.parts.len()).max(1);
        let mut reports = Vec::new();
        thread::scope(|scope| {
            let (sender, done) = mpsc::channel();
            for _ in 0..jobs {
                let sender = sender.clone();
                // The kernel ends a part when the thread that started it does.
                scope.spawn(move || {
                    while let Some(part) = self.take() {
                        drop(sender.send((part, self.part(part))));
                    }
                });
            }
            drop(sender);
            loop {
                match done.recv_timeout(TICK) {
                    Ok((part, report)) => {
                        tell(self.options, &report);
                        reports.push((part, report));
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
                if let Some(signal) = signals.pending() {
                    self.stop(signal);
                }
            }
        });
        reports
    }

    fn take(&self) -> Option<Part> {
        self.parts.get(self.next.fetch_add(1, Ordering::Relaxed)).copied()
    }

    /// Passes a signal on. Parts that were not started are not any more.
    fn stop(&self, signal: crate::outcome::Signal) {
        self.stopping.store(End::Interrupted { signal }.run_status(), Ordering::Relaxed);
        let signal = match signal {
            crate::outcome::Signal::Int => Signal::INT,
            crate::outcome::Signal::Term => Signal::TERM,
            crate::outcome::Signal::Hup => Signal::HUP,
        };
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for id in running.iter().filter_map(|id| Pid::from_raw(i32::try_from(*id).ok()?)) {
            // On a terminal it has the signal already.
            kill_process(id, signal).ok();
        }
    }

    fn name(&self, image: usize) -> String {
        self.images.get(image).map(|path| path.display().to_string()).unwrap_or_default()
    }

    fn part(&self, part: Part) -> Report {
        let error = |status, why: String| {
            Report::without_run(self.name(part.image), Word::Error, status, why)
        };
        let report = match self.stopping.load(Ordering::Relaxed) {
            0 => self.process(part).unwrap_or_else(|why| error(exit::BUG, why)),
            status => error(status, "interrupted before it was started".to_owned()),
        };
        Report { run: part.run, ..report }
    }

    /// Runs a part to its end; its report, or why there is none.
    fn process(&self, part: Part) -> Result<Report, String> {
        let mut child = Command::new(&self.program)
            .args(self.arguments(part))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", self.program.display()))?;
        let id = child.id();
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        let stderr = child.stderr.take();
        let (mut json, mut said) = (Vec::new(), String::new());
        thread::scope(|scope| {
            let said = &mut said;
            scope.spawn(move || stderr.map(|mut stderr| stderr.read_to_string(said)));
            child.stdout.take().map(|mut stdout| stdout.read_to_end(&mut json))
        });
        // Its number is not given to another before it is waited for.
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        let status = child.wait().map_err(|error| error.to_string())?;
        serde_json::from_slice(&json).map_err(|_not_a_report| {
            format!("no report from the part's process, which ended with {status}: {}", said.trim())
        })
    }

    /// Our own arguments, behind those that make a part of it.
    fn arguments(&self, part: Part) -> Vec<OsString> {
        let mut own = env::args_os().skip(1);
        let command = own.next();
        let mut arguments: Vec<OsString> = command.into_iter().collect();
        arguments.push(format!("--part={}", part.image).into());
        arguments.push(format!("--part-of={}", std::process::id()).into());
        if let Some(folder) = &self.options.output {
            let mut option = OsString::from("--part-output=");
            option.push(folder.join(self.folder(part)));
            arguments.push(option);
        }
        arguments.extend(own);
        arguments
    }

    /// What the part's folder is called: no two are the same.
    fn folder(&self, part: Part) -> String {
        let image = self.images.get(part.image).map(PathBuf::as_path);
        let stem = image.and_then(Path::file_stem).unwrap_or_default().to_string_lossy();
        let number = part.image.saturating_add(1);
        match self.options.matrix.repeat {
            1 => format!("{number:03}-{stem}"),
            _ => format!("{number:03}-{stem}-run{}", part.run),
        }
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
