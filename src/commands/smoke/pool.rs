//! Runs in processes of their own: started, told of signals, and asked what came out.

use std::{
    collections::HashSet,
    env,
    ffi::OsString,
    io::Read as _,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread,
    time::Duration,
};

use rustix::process::{self, Pid, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::artefacts::Artefacts;
use crate::{
    cli::SmokeOptions,
    error::Error,
    exit,
    messages::say,
    outcome::Signal,
    signals::Signals,
    verdict::report::{Report, Result as Word},
};

/// How often signals are looked at.
const TICK: Duration = Duration::from_millis(100);

/// A run to be made: which image, and which of its repetitions, from 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) image: usize,
    pub(super) run: u32,
}

/// The parts, those that are running and those to come.
pub(super) struct Pool<'a> {
    options: &'a SmokeOptions,
    images: &'a [PathBuf],
    program: PathBuf,
    parts: Vec<Part>,
    next: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// No part is to be started any more.
    stopping: Option<Signal>,
    /// The processes of those that were, by their numbers.
    running: HashSet<u32>,
}

impl State {
    /// Passes the signal on to a process, which on a terminal has it already.
    fn pass_on(&self, process: u32) {
        let id = i32::try_from(process).ok().and_then(Pid::from_raw);
        let signal = self.stopping.map(|signal| match signal {
            Signal::Int => process::Signal::INT,
            Signal::Term => process::Signal::TERM,
            Signal::Hup => process::Signal::HUP,
        });
        if let (Some(id), Some(signal)) = (id, signal) {
            kill_process(id, signal).ok();
        }
    }
}

/// Why a part has no report.
enum NoReport {
    Interrupted(Signal),
    Broken(String),
}

impl<'a> Pool<'a> {
    pub(super) fn new(
        options: &'a SmokeOptions,
        images: &'a [PathBuf],
        program: PathBuf,
        parts: Vec<Part>,
    ) -> Self {
        let next = AtomicUsize::new(0);
        Self { options, images, program, parts, next, state: Mutex::default() }
    }
}

impl Pool<'_> {
    /// Makes the folders; what an earlier run left there is no result of this one, not
    /// even where a part is never started.
    pub(super) fn prepare(&self) -> Result<Artefacts, Error> {
        let Some(folder) = &self.options.output else { return Ok(Artefacts::default()) };
        for part in &self.parts {
            Artefacts::of_suite(Some(&folder.join(self.folder(*part))), self.images)?;
        }
        Artefacts::of_suite(Some(folder), self.images)
    }

    /// Runs all of them, `jobs` at once, tells `told` of each as it is over and passes
    /// signals on.
    pub(super) fn run(
        &self,
        jobs: usize,
        signals: &Signals,
        told: &Sender<Report>,
    ) -> Vec<(Part, Report)> {
        let jobs = jobs.min(self.parts.len()).max(1);
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
                        drop(told.send(report.clone()));
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
    pub(super) fn stop(&self, signal: Signal) {
        let mut state = self.state();
        state.stopping = Some(signal);
        state.running.iter().for_each(|process| state.pass_on(*process));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an image is called.
    pub(super) fn name(&self, image: usize) -> String {
        self.images.get(image).map(|path| path.display().to_string()).unwrap_or_default()
    }

    fn part(&self, part: Part) -> Report {
        let name = self.name(part.image);
        let stopping = self.state().stopping;
        let ran = stopping.map_or_else(|| self.process(part), |by| Err(NoReport::Interrupted(by)));
        let report = ran.unwrap_or_else(|why| match why {
            NoReport::Interrupted(signal) => Report::interrupted(name, signal),
            NoReport::Broken(why) => Report::without_run(name, Word::Error, exit::BUG, why),
        });
        Report { run: part.run, ..report }
    }

    /// Runs a part to its end; its report, or why there is none.
    fn process(&self, part: Part) -> Result<Report, NoReport> {
        let mut child = Command::new(&self.program)
            .args(self.arguments(part))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| NoReport::Broken(format!("{}: {error}", self.program.display())))?;
        let id = child.id();
        let mut state = self.state();
        state.running.insert(id);
        // It came when this one was about to be started.
        state.pass_on(id);
        drop(state);
        let stderr = child.stderr.take();
        let (mut json, mut said) = (Vec::new(), Vec::new());
        thread::scope(|scope| {
            let said = &mut said;
            scope.spawn(move || stderr.map(|mut stderr| stderr.read_to_end(said)));
            child.stdout.take().map(|mut stdout| stdout.read_to_end(&mut json))
        });
        // Its number is not given to another before it is waited for.
        self.state().running.remove(&id);
        let ended = child.wait().map_err(|error| NoReport::Broken(error.to_string()))?;
        let said = String::from_utf8_lossy(&said);
        match serde_json::from_slice::<Report>(&json) {
            Ok(report) if ended.code() == Some(report.exit_status.into()) => {
                self.pass_on(part, &said);
                Ok(report)
            }
            _ => Err(self.no_report(ended, said.trim())),
        }
    }

    /// Passes on what a part's process said, with the name of its UKI.
    fn pass_on(&self, part: Part, said: &str) {
        for line in said.lines() {
            say(&format!("{}: {}", self.name(part.image), line.trim_start_matches("ukivm: ")));
        }
    }

    /// Why there is no report of a process that has ended so.
    fn no_report(&self, ended: ExitStatus, said: &str) -> NoReport {
        let by_signal = match ended.signal() {
            Some(SIGINT) => Some(Signal::Int),
            Some(SIGTERM) => Some(Signal::Term),
            Some(SIGHUP) => Some(Signal::Hup),
            _ => None,
        };
        // It had not come so far as to make one.
        by_signal.or(self.state().stopping).map_or_else(
            || {
                let what = "no report from the part's process, which ended with";
                NoReport::Broken(format!("{what} {ended}: {said}"))
            },
            NoReport::Interrupted,
        )
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
