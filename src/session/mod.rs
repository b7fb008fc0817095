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
mod stream;
mod wait;

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc::Sender},
    time::{Duration, Instant},
};

use rustix::fd::AsFd;

pub use self::{finish::Finished, grace::PowerButton};
use self::{
    grace::Grace,
    shared::Shared,
    stream::{Said, Stream},
};
use crate::{
    console::{ESCAPE_HINT, Output, Size, Source, Stdin, Terminal, terminal_size},
    devices::virtio::console::Speaker,
    messages::say,
    news::News,
    outcome::{End, Signal},
    signals::Signals,
    timeline::Timeline,
    verdict::Watch,
    vigil::Vigil,
};

pub use crate::timeline::Milestone;

/// Where the engine takes console input.
pub trait Input: Send + Sync {
    /// Takes as many of `bytes` as there is room for, waiting for room for at
    /// most a few milliseconds; returns how many it took.
    fn take(&self, bytes: &[u8]) -> usize;

    /// The terminal has that size by now. Most consoles have no way to tell the guest.
    fn resize(&self, _size: Size) {}
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
    stream: Arc<Stream>,
    vigil: Mutex<Vigil>,
    grace: Mutex<Grace>,
    /// Nothing is typed without.
    input: Option<Source>,
    /// The guest is watched by a policy that may end the run.
    is_watched: bool,
    typing: Mutex<Typing>,
    // Dropped first to last: a signal can end us again once the terminal is restored.
    terminal: Mutex<Option<Terminal>>,
    signals: OnceLock<Arc<Signals>>,
    limits: Limits,
}

/// Where what is typed goes, once there is a guest.
#[derive(Default)]
struct Typing {
    stdin: Option<Stdin>,
    /// Who is told when the terminal changes its size.
    resized: Option<Arc<dyn Input>>,
}

impl fmt::Debug for Typing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typing").field("stdin", &self.stdin).finish_non_exhaustive()
    }
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
        let stream = Stream::of(shared, Watch::default(), limits.start);
        let session = Self::of(Stream { raw: vec![output], ..stream }, limits);
        Ok(Self { input: Some(input), ..session })
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
        let stream = Stream::of(shared, watch, limits.start);
        let session = Self::of(Stream { raw, text, observer, ..stream }, limits);
        let signals = signals.map_or_else(OnceLock::new, OnceLock::from);
        Ok(Self { is_watched: true, signals, ..session })
    }

    fn of(stream: Stream, limits: Limits) -> Self {
        Self {
            shared: Arc::clone(&stream.shared),
            stream: Arc::new(stream),
            vigil: Mutex::default(),
            grace: Mutex::default(),
            input: None,
            is_watched: false,
            typing: Mutex::default(),
            terminal: Mutex::new(None),
            signals: OnceLock::new(),
            limits,
        }
    }

    /// The guest wrote these bytes to its console. Blocks while the host's side
    /// is full, but returns at once when the run is over.
    pub fn output(&self, bytes: &[u8]) {
        self.stream.push(bytes);
    }

    /// The same for a device, which says what the guest writes to it.
    pub fn speaker(&self) -> Box<dyn Speaker> {
        Box::new(Said(Arc::clone(&self.stream)))
    }

    /// How large the terminal is, where the console is one.
    #[must_use]
    pub fn terminal_size(&self) -> Option<Size> {
        self.limits.interactive.then(terminal_size).flatten()
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.stream.watch()
    }

    /// Notes the time of a milestone; only the first of each counts.
    pub fn mark(&self, milestone: Milestone) {
        self.shared.mark(milestone);
    }

    /// The guest wrote `value` to the milestone port.
    pub fn mark_guest(&self, value: u8) {
        if let Some(observer) = &self.stream.observer {
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
        self.stream.release();
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
        let mut typing = self.typing();
        if self.limits.interactive {
            say(ESCAPE_HINT);
            let terminal = Terminal::raw()?;
            *self.terminal.lock().unwrap_or_else(PoisonError::into_inner) = Some(terminal);
            self.signals.get().map_or(Ok(()), |signals| signals.catch_resizing())?;
            typing.resized = Some(Arc::clone(&input));
        }
        let Some(source) = &self.input else { return Ok(()) };
        let shared = Arc::clone(&self.shared);
        let quit = move || shared.end(End::Interrupted { signal: Signal::Int });
        typing.stdin =
            Some(Stdin::start(Arc::clone(source), input, self.limits.interactive, quit)?);
        Ok(())
    }

    /// Tells the guest of the terminal's size, if that has changed.
    fn look_at_size(&self) {
        if self.signals.get().is_some_and(|signals| signals.resized())
            && let Some(input) = &self.typing().resized
            && let Some(size) = self.terminal_size()
        {
            input.resize(size);
        }
    }

    fn typing(&self) -> MutexGuard<'_, Typing> {
        self.typing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self) -> Option<Signal> {
        self.signals.get().and_then(|signals| signals.pending())
    }
}

#[cfg(test)]
mod tests;
