//! What passes between a running engine and the rest of the program.
//!
//! An engine calls [`Session::output`], [`Session::mark`] and [`Session::end`]
//! from whatever thread it likes, attaches its input with
//! [`Session::attach_input`], and waits in [`Session::wait`] until the run is
//! over; then it stops its guest and reports.

mod finish;
mod grace;
mod listener;
mod shared;
mod wait;

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::Sender,
    },
    time::{Duration, Instant},
};

use rustix::fd::AsFd;

pub use self::{finish::Finished, grace::PowerButton};
use self::{grace::Grace, shared::Shared};
use crate::{
    console::{ESCAPE_HINT, Output, Source, Stdin, Terminal},
    messages::say,
    news::News,
    outcome::{End, Signal},
    signals::Signals,
    timeline::Timeline,
    verdict::{Line, Mark, Watch},
    vigil::Vigil,
};

pub use crate::timeline::Milestone;

/// Where the engine takes console input.
pub trait Input: Send + Sync {
    /// Takes as many of `bytes` as there is room for, waiting for room for at
    /// most a few milliseconds; returns how many it took.
    fn take(&self, bytes: &[u8]) -> usize;
}

/// What bounds a run.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// When the process started: what times are counted from.
    pub start: Instant,
    /// The most time the run may take, from `start`.
    pub time_limit: Option<Duration>,
    /// The console is a terminal: it is raw while the guest runs, and the escape
    /// key quits.
    pub interactive: bool,
}

/// Where a guest's console goes that nobody types at.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Take every byte as it comes.
    pub(crate) raw: Vec<Output>,
    /// Takes clean lines, each with its time.
    pub(crate) text: Option<Output>,
    /// Is told what happens.
    pub(crate) news: Option<Sender<News>>,
    /// What ends the run, where somebody has caught them already.
    pub(crate) signals: Option<Arc<Signals>>,
    /// Is shown what the guest writes, before it can go on where the engine can
    /// hold it up.
    pub(crate) observer: Option<Arc<dyn Observer>>,
}

/// Sees what a guest writes as it comes, on whatever thread it comes from. Times are
/// counted from where the session's are.
pub(crate) trait Observer: fmt::Debug + Send + Sync {
    /// The guest wrote these bytes to its console. Whether that is all that is wanted
    /// of it: then the run is over.
    fn console(&self, bytes: &[u8], at: Duration) -> bool;
    /// The guest wrote `value` to the milestone port.
    fn milestone(&self, value: u8, at: Duration);
}

/// One run, shared by the engine's threads and the supervising one.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    outputs: Vec<Output>,
    text: Option<Output>,
    observer: Option<Arc<dyn Observer>>,
    watch: Arc<Mutex<Watch>>,
    vigil: Mutex<Vigil>,
    grace: Mutex<Grace>,
    /// Nothing is typed without.
    input: Option<Source>,
    /// The guest is watched by a policy that may end the run.
    is_watched: bool,
    stdin: Mutex<Option<Stdin>>,
    seen_output: AtomicBool,
    // Dropped first to last: a signal can end us again once the terminal is restored.
    terminal: Mutex<Option<Terminal>>,
    signals: OnceLock<Arc<Signals>>,
    limits: Limits,
}

impl Session {
    /// A session whose console is standard input and output.
    pub fn new(limits: Limits, timeline: Timeline) -> io::Result<Self> {
        Self::with_console(io::stdin(), io::stdout(), limits, timeline)
    }

    /// A session whose console is what can be read from `input` and written to
    /// `output`.
    pub fn with_console(
        input: impl AsFd + fmt::Debug + Send + Sync + 'static,
        output: impl AsFd + Send + 'static,
        limits: Limits,
        timeline: Timeline,
    ) -> io::Result<Self> {
        let shared = Shared::new(limits.start, timeline, None)?;
        let closer = Arc::clone(&shared);
        let output = Output::start(output, move |_| closer.end(End::ConsoleClosed))?;
        let input: Source = Arc::new(input);
        let session = Self::of(shared, limits, Watch::default());
        Ok(Self { outputs: vec![output], input: Some(input), ..session })
    }

    /// A session without input, whose console goes to `record` and is watched by
    /// `watch`, which may end it.
    pub(crate) fn watched(
        record: Record,
        watch: Watch,
        limits: Limits,
        timeline: Timeline,
    ) -> io::Result<Self> {
        let Record { raw, text, news, signals, observer } = record;
        let shared = Shared::new(limits.start, timeline, news)?;
        let session = Self::of(shared, limits, watch);
        let signals = signals.map_or_else(OnceLock::new, OnceLock::from);
        Ok(Self { outputs: raw, text, observer, is_watched: true, signals, ..session })
    }

    fn of(shared: Arc<Shared>, limits: Limits, watch: Watch) -> Self {
        Self {
            shared,
            outputs: Vec::new(),
            text: None,
            observer: None,
            watch: Arc::new(Mutex::new(watch)),
            vigil: Mutex::default(),
            grace: Mutex::default(),
            input: None,
            is_watched: false,
            stdin: Mutex::new(None),
            seen_output: AtomicBool::new(false),
            terminal: Mutex::new(None),
            signals: OnceLock::new(),
            limits,
        }
    }

    /// The guest wrote these bytes to its console. Blocks while the host's side
    /// is full, but returns at once when the run is over.
    pub fn output(&self, bytes: &[u8]) {
        if !self.seen_output.swap(true, Ordering::Relaxed) {
            self.mark(Milestone::FirstConsoleByte);
        }
        // Looked at here and not where it is written out, which may be later: what
        // the guest says comes before what it does next.
        let at = self.limits.start.elapsed();
        if self.observer.as_ref().is_some_and(|observer| observer.console(bytes, at)) {
            self.end(End::Decided);
        }
        let mut text = Vec::new();
        let see = &mut |mark: &Mark| self.shared.saw(mark);
        self.watch().push(bytes, at, see, &mut |line| self.write_line(line, at, &mut text));
        self.shared.wrote();
        for output in &self.outputs {
            output.push(bytes);
        }
        self.push_text(&text);
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line as it stands in the record, if there is one.
    fn write_line(&self, line: &Line<'_>, at: Duration, text: &mut Vec<u8>) {
        if self.text.is_some() {
            let fresh = line.text.get(line.fresh..).unwrap_or_default();
            let shown = String::from_utf8_lossy(fresh);
            text.extend_from_slice(format!("[{:12.6}] {shown}\n", at.as_secs_f64()).as_bytes());
        }
    }

    fn push_text(&self, text: &[u8]) {
        match &self.text {
            Some(output) if !text.is_empty() => output.push(text),
            _ => {}
        }
    }

    /// Notes the time of a milestone; only the first of each counts.
    pub fn mark(&self, milestone: Milestone) {
        self.shared.mark(milestone);
    }

    /// The guest wrote `value` to the milestone port.
    pub fn mark_guest(&self, value: u8) {
        if let Some(observer) = &self.observer {
            observer.milestone(value, self.limits.start.elapsed());
        }
        self.shared.mark_guest(value);
    }

    /// The guest reported a panic (pvpanic). It goes on, to print its trace;
    /// the run ends when it does, or shortly after.
    pub fn panicked(&self) {
        self.shared.panicked();
    }

    /// The run is over; the first call wins.
    pub fn end(&self, end: End) {
        self.shared.end(end);
        if self.is_over() {
            self.release();
        }
    }

    fn release(&self) {
        self.outputs.iter().chain(&self.text).for_each(Output::release);
    }

    /// Whether the run is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.shared.is_over()
    }

    /// The guest is about to run, and its console input goes there: from now on
    /// the terminal is raw and signals end the run, not the program.
    pub fn attach_input(&self, input: Arc<dyn Input>) {
        if let Err(error) = self.take_over(input) {
            self.end(End::EngineFailure { reason: format!("can't set up the console: {error}") });
        }
    }

    fn take_over(&self, input: Arc<dyn Input>) -> io::Result<()> {
        if self.signals.get().is_none() {
            // Only one engine runs, once.
            self.signals.set(Arc::new(Signals::catch()?)).ok();
        }
        self.signals.get().into_iter().for_each(|signals| signals.attend(true));
        if self.limits.interactive {
            say(ESCAPE_HINT);
            let terminal = Terminal::raw()?;
            *self.terminal.lock().unwrap_or_else(PoisonError::into_inner) = Some(terminal);
        }
        let Some(source) = &self.input else { return Ok(()) };
        let shared = Arc::clone(&self.shared);
        let quit = move || shared.end(End::Interrupted { signal: Signal::Int });
        let stdin = Stdin::start(Arc::clone(source), input, self.limits.interactive, quit)?;
        *self.stdin.lock().unwrap_or_else(PoisonError::into_inner) = Some(stdin);
        Ok(())
    }

    fn signal(&self) -> Option<Signal> {
        self.signals.get().and_then(|signals| signals.pending())
    }
}

#[cfg(test)]
mod tests;
