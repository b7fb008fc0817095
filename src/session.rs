//! What passes between a running engine and the rest of the program.
//!
//! An engine calls [`Session::output`], [`Session::mark`] and [`Session::end`]
//! from whatever thread it likes, attaches its input with
//! [`Session::attach_input`], and waits in [`Session::wait`] until the run is
//! over; then it stops its guest and reports.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    fd::{AsFd, OwnedFd},
};

use crate::{
    console::{ESCAPE_HINT, Lines, Output, Sight, Source, Stdin, Terminal},
    messages::say,
    outcome::{End, Signal},
    signals::Signals,
    timeline::Timeline,
};

pub use crate::timeline::Milestone;

/// How long a panicked guest may be silent before the run ends: by then its
/// trace is printed, and nothing but a reset can follow.
const PANIC_SILENCE: Duration = Duration::from_secs(3);
/// How long output may take to be written out after an interruption.
const INTERRUPTED_DRAIN: Duration = Duration::from_millis(200);
/// How often signals are looked at while output is written out.
const DRAIN_STEP: Duration = Duration::from_millis(50);

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

/// What is left of a session.
#[derive(Debug)]
pub struct Finished {
    /// A signal that came after the guest had ended.
    pub interrupted: Option<Signal>,
    /// When what happened.
    pub timeline: Timeline,
}

#[derive(Debug)]
struct State {
    end: Option<End>,
    panicked: bool,
    /// When the guest last wrote something, once it has panicked.
    last_output: Instant,
    timeline: Timeline,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    over: AtomicBool,
    /// Wakes [`Session::wait`].
    wake: OwnedFd,
}

/// One run, shared by the engine's threads and the supervising one.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    output: Output,
    lines: Mutex<Lines>,
    input: Source,
    stdin: Mutex<Option<Stdin>>,
    seen_output: AtomicBool,
    // Dropped first to last: a signal can end us again once the terminal is restored.
    terminal: Mutex<Option<Terminal>>,
    signals: OnceLock<Signals>,
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
        let state = State { end: None, panicked: false, last_output: limits.start, timeline };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            over: AtomicBool::new(false),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        });
        let closer = Arc::clone(&shared);
        let output = Output::start(output, move || closer.end(End::ConsoleClosed))?;
        Ok(Self {
            shared,
            output,
            lines: Mutex::new(Lines::default()),
            input: Arc::new(input),
            stdin: Mutex::new(None),
            seen_output: AtomicBool::new(false),
            terminal: Mutex::new(None),
            signals: OnceLock::new(),
            limits,
        })
    }

    /// The guest wrote these bytes to its console. Blocks while the host's side
    /// is full, but returns at once when the run is over.
    pub fn output(&self, bytes: &[u8]) {
        if !self.seen_output.swap(true, Ordering::Relaxed) {
            self.mark(Milestone::FirstConsoleByte);
        }
        // Looked at here and not where it is written out, which may be later: what
        // the guest says comes before what it does next.
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(bytes, |sight| self.shared.saw(sight));
        self.shared.wrote();
        self.output.push(bytes);
    }

    /// Notes the time of a milestone; only the first of each counts.
    pub fn mark(&self, milestone: Milestone) {
        self.shared.lock().timeline.mark(milestone);
    }

    /// The guest wrote `value` to the milestone port.
    pub fn mark_guest(&self, value: u8) {
        self.shared.lock().timeline.mark_guest(value);
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
            self.output.release();
        }
    }

    /// Whether the run is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.shared.over.load(Ordering::Acquire)
    }

    /// The guest is about to run, and its console input goes there: from now on
    /// the terminal is raw and signals end the run, not the program.
    pub fn attach_input(&self, input: Arc<dyn Input>) {
        if let Err(error) = self.take_over(input) {
            self.end(End::EngineFailure { reason: format!("can't set up the console: {error}") });
        }
    }

    fn take_over(&self, input: Arc<dyn Input>) -> io::Result<()> {
        // Only one engine runs, once.
        self.signals.set(Signals::catch()?).ok();
        if self.limits.interactive {
            say(ESCAPE_HINT);
            let terminal = Terminal::raw()?;
            *self.terminal.lock().unwrap_or_else(PoisonError::into_inner) = Some(terminal);
        }
        let shared = Arc::clone(&self.shared);
        let quit = move || shared.end(End::Interrupted { signal: Signal::Int });
        let stdin = Stdin::start(Arc::clone(&self.input), input, self.limits.interactive, quit)?;
        *self.stdin.lock().unwrap_or_else(PoisonError::into_inner) = Some(stdin);
        Ok(())
    }

    /// Waits until the run is over: ended by the engine, by a signal, by the
    /// time limit, by the escape key.
    pub fn wait(&self) -> End {
        loop {
            if let Some(signal) = self.signal() {
                self.end(End::Interrupted { signal });
            }
            if let Some(end) = self.shared.ended() {
                self.output.release();
                return end;
            }
            match self.next_deadline() {
                Some((at, end)) if at <= Instant::now() => self.end(end),
                deadline => self.sleep_until(deadline.map(|(at, _)| at)),
            }
        }
    }

    /// Writes out what is left of the console and gives the terminal back. Waits
    /// for a slow reader, but past neither the time limit nor a signal.
    #[must_use]
    pub fn finish(self) -> Finished {
        self.output.complete();
        let interrupted = self.drain();
        Finished { interrupted, timeline: self.shared.lock().timeline.clone() }
    }

    fn drain(&self) -> Option<Signal> {
        let limit = match (self.shared.ended(), self.limits.time_limit) {
            (Some(End::Interrupted { .. }), _) => Instant::now().checked_add(INTERRUPTED_DRAIN),
            (_, Some(limit)) => self.limits.start.checked_add(limit),
            (_, None) => None,
        };
        while !self.output.drained(DRAIN_STEP) {
            let signal = self.signal();
            if signal.is_some() || limit.is_some_and(|limit| limit <= Instant::now()) {
                say("the end of the guest's output is lost: nobody reads it");
                return signal;
            }
        }
        None
    }

    fn signal(&self) -> Option<Signal> {
        self.signals.get().and_then(Signals::pending)
    }

    /// What happens by itself next, and when.
    fn next_deadline(&self) -> Option<(Instant, End)> {
        let state = self.shared.lock();
        let panic = state.panicked.then(|| state.last_output.checked_add(PANIC_SILENCE));
        let panic = panic.flatten().map(|at| (at, End::Panic));
        let limit = self.limits.time_limit.and_then(|limit| self.limits.start.checked_add(limit));
        let limit = limit.map(|at| (at, End::TimeLimit));
        [panic, limit].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    fn sleep_until(&self, deadline: Option<Instant>) {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let mut fds = vec![PollFd::new(&self.shared.wake, PollFlags::IN)];
        let signals = self.signals.get().map(Signals::fd);
        fds.extend(signals.map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)));
        // An interrupted or failed wait is only a short one.
        let _ = poll(&mut fds, timeout.as_ref());
        let _ = rustix::io::read(&self.shared.wake, &mut [0; 8]);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self) -> Option<End> {
        self.lock().end.clone()
    }

    fn end(&self, end: End) {
        let mut state = self.lock();
        let end = if state.panicked { after_panic(end) } else { end };
        state.timeline.mark(Milestone::End);
        state.end.get_or_insert(end);
        drop(state);
        self.over.store(true, Ordering::Release);
        self.wake();
    }

    fn panicked(&self) {
        let mut state = self.lock();
        state.panicked = true;
        state.last_output = Instant::now();
        drop(state);
        self.wake();
    }

    /// A panicked guest is still talking.
    fn wrote(&self) {
        let mut state = self.lock();
        if state.panicked {
            state.last_output = Instant::now();
        }
    }

    /// The guest printed a line that means something.
    fn saw(&self, sight: Sight) {
        match sight {
            Sight::LinuxVersion => self.lock().timeline.mark(Milestone::LinuxVersion),
            Sight::InitStarted => self.lock().timeline.mark(Milestone::InitStarted),
            Sight::Panic => self.panicked(),
            Sight::PanicEnd => self.end(End::Panic),
        }
    }

    fn wake(&self) {
        // Full means that it is awake already.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

/// What an end means after a panic: a kernel that resets, powers off or stays
/// silent then does so because it panicked.
fn after_panic(end: End) -> End {
    match end {
        End::PowerOff | End::Reset { .. } | End::TimeLimit | End::Status { .. } => End::Panic,
        other => other,
    }
}
