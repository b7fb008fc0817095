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
        mpsc::Sender,
    },
    time::{Duration, Instant},
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    fd::{AsFd, OwnedFd},
};

use crate::{
    console::{ESCAPE_HINT, Output, Source, Stdin, Terminal},
    messages::say,
    news::News,
    outcome::{End, Sample, Signal},
    signals::Signals,
    timeline::{Timeline, micros},
    verdict::{Line, Mark, MarkName, Severity, Watch},
    vigil::Vigil,
};

pub use crate::timeline::Milestone;

/// How long a panicked guest may be silent before the run ends: by then its
/// trace is printed, and nothing but a reset can follow.
const PANIC_SILENCE: Duration = Duration::from_secs(3);
/// How long output may take to be written out after an interruption.
const INTERRUPTED_DRAIN: Duration = Duration::from_millis(200);
/// How long output may take to be written to files that nobody waits for.
const WATCHED_DRAIN: Duration = Duration::from_secs(10);
/// How long a line without end stands before it is taken for a prompt: longer than
/// a busy host keeps a guest from finishing its line.
const PROMPT: Duration = Duration::from_secs(1);
/// How often that is looked at.
const TICK: Duration = Duration::from_millis(250);
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
    /// What the console told.
    pub watch: Watch,
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
}

#[derive(Debug)]
struct State {
    end: Option<End>,
    panicked: bool,
    /// When the guest last wrote something, once it has panicked.
    last_output: Instant,
    timeline: Timeline,
    news: Option<Sender<News>>,
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
    outputs: Vec<Output>,
    text: Option<Output>,
    watch: Mutex<Watch>,
    vigil: Mutex<Vigil>,
    /// Nothing is typed without.
    input: Option<Source>,
    /// The guest is watched by a policy that may end the run.
    is_watched: bool,
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
        let Record { raw, text, news } = record;
        let shared = Shared::new(limits.start, timeline, news)?;
        let session = Self::of(shared, limits, watch);
        Ok(Self { outputs: raw, text, is_watched: true, ..session })
    }

    fn of(shared: Arc<Shared>, limits: Limits, watch: Watch) -> Self {
        Self {
            shared,
            outputs: Vec::new(),
            text: None,
            watch: Mutex::new(watch),
            vigil: Mutex::default(),
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
        let mut state = self.shared.lock();
        if let Some(milestone) = state.timeline.mark_guest(value) {
            state.tell(&News::GuestMilestone { value, at_us: milestone.at_us });
        }
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
        let Some(source) = &self.input else { return Ok(()) };
        let shared = Arc::clone(&self.shared);
        let quit = move || shared.end(End::Interrupted { signal: Signal::Int });
        let stdin = Stdin::start(Arc::clone(source), input, self.limits.interactive, quit)?;
        *self.stdin.lock().unwrap_or_else(PoisonError::into_inner) = Some(stdin);
        Ok(())
    }

    /// When the engine is to look at what each vCPU is at, and to say so to
    /// [`Session::glanced`]; `None` as long as nobody wants to know.
    pub fn glance_due(&self) -> Option<Instant> {
        let due = self.vigil().due(self.life()?);
        self.limits.start.checked_add(due)
    }

    /// The vCPUs, `cpus` in all, were seen at `samples`. Ends the run of a guest
    /// that has stopped for good.
    pub fn glanced(&self, samples: &[Sample], cpus: usize) {
        let Some(life) = self.life() else { return };
        let at = self.limits.start.elapsed();
        if self.vigil().look(at, life, samples, cpus) {
            self.end(End::Halted);
        }
    }

    /// When a watched guest last showed life.
    fn life(&self) -> Option<Duration> {
        let is_watched = self.is_watched && !self.is_over();
        let entered = self.shared.lock().timeline.at(Milestone::FirstEntry);
        let entered = entered.filter(|_| is_watched)?;
        Some(self.watch().last_byte().unwrap_or_default().max(entered))
    }

    fn vigil(&self) -> MutexGuard<'_, Vigil> {
        self.vigil.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the run is over: ended by the engine, by a signal, by the
    /// time limit, by the escape key.
    pub fn wait(&self) -> End {
        self.wait_and_glance(&mut || {})
    }

    /// As [`Session::wait`], and calls `glance` when [`Session::glance_due`] is due.
    pub fn wait_and_glance(&self, glance: &mut dyn FnMut()) -> End {
        loop {
            if let Some(signal) = self.signal() {
                self.end(End::Interrupted { signal });
            }
            if let Some(end) = self.shared.ended() {
                self.release();
                return end;
            }
            if self.glance_due().is_some_and(|at| at <= Instant::now()) {
                glance();
            }
            let tick = self.is_watched.then(|| self.look_for_a_prompt()).flatten();
            match self.next_deadline() {
                Some((at, end)) if at <= Instant::now() => self.end(end),
                deadline => {
                    let deadline = deadline.map(|(at, _)| at);
                    self.sleep_until(deadline.into_iter().chain(tick).min());
                }
            }
        }
    }

    /// Looks at a line without end when it has stood for a while; when to look
    /// again.
    fn look_for_a_prompt(&self) -> Option<Instant> {
        let at = self.limits.start.elapsed();
        let mut watch = self.watch();
        if watch.last_byte().is_some_and(|last| last.saturating_add(PROMPT) <= at) {
            watch.pause(at, &mut |mark| self.shared.saw(mark));
        }
        Instant::now().checked_add(TICK)
    }

    /// Writes out what is left of the console and gives the terminal back. Waits
    /// for a slow reader, but past neither the time limit nor a signal.
    #[must_use]
    pub fn finish(self) -> Finished {
        let at = self.limits.start.elapsed();
        let mut text = Vec::new();
        let see = &mut |mark: &Mark| self.shared.saw(mark);
        self.watch().finish(at, see, &mut |line| self.write_line(line, at, &mut text));
        self.push_text(&text);
        self.outputs.iter().chain(&self.text).for_each(Output::complete);
        let interrupted = self.outputs.iter().chain(&self.text).find_map(|one| self.drain(one));
        let timeline = self.shared.lock().timeline.clone();
        let watch = std::mem::take(&mut *self.watch());
        Finished { interrupted, timeline, watch }
    }

    fn drain(&self, output: &Output) -> Option<Signal> {
        let limit = match (self.shared.ended(), self.limits.time_limit) {
            _ if self.is_watched => Instant::now().checked_add(WATCHED_DRAIN),
            (Some(End::Interrupted { .. }), _) => Instant::now().checked_add(INTERRUPTED_DRAIN),
            (_, Some(limit)) => self.limits.start.checked_add(limit),
            (_, None) => None,
        };
        while !output.drained(DRAIN_STEP) {
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
        let (entered, panicked) = (state.timeline.at(Milestone::FirstEntry), state.panicked);
        let panic = state.panicked.then(|| state.last_output.checked_add(PANIC_SILENCE));
        let panic = panic.flatten().map(|at| (at, End::Panic));
        drop(state);
        let limit = self.limits.time_limit.and_then(|limit| self.limits.start.checked_add(limit));
        let limit = limit.map(|at| (at, End::TimeLimit));
        let due = self.watch().due(entered, panicked);
        let due = due.and_then(|(at, end)| Some((self.limits.start.checked_add(at)?, end)));
        [panic, limit, due].into_iter().flatten().min_by_key(|(at, _)| *at)
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

impl State {
    fn tell(&self, news: &News) {
        // Whoever wanted to know may have gone.
        self.news.iter().for_each(|teller| drop(teller.send(news.clone())));
    }
}

impl Shared {
    fn new(
        start: Instant,
        timeline: Timeline,
        news: Option<Sender<News>>,
    ) -> io::Result<Arc<Self>> {
        let state = State { end: None, panicked: false, last_output: start, timeline, news };
        Ok(Arc::new(Self {
            state: Mutex::new(state),
            over: AtomicBool::new(false),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        }))
    }

    fn mark(&self, milestone: Milestone) {
        let mut state = self.lock();
        if let Some(at) = state.timeline.mark(milestone) {
            state.tell(&News::Milestone { name: milestone, at_us: micros(at) });
        }
    }

    fn note(&self, milestone: Milestone) {
        self.lock().timeline.mark(milestone);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self) -> Option<End> {
        self.lock().end.clone()
    }

    fn end(&self, end: End) {
        let mut state = self.lock();
        let end = if state.panicked { after_panic(end) } else { end };
        if let Some(at) = state.timeline.mark(Milestone::End) {
            state.tell(&News::End { outcome: end.clone(), at_us: micros(at) });
        }
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
    fn saw(&self, mark: &Mark) {
        match (mark.name, mark.severity) {
            // What is told of them is the mark.
            (MarkName::LinuxVersion, _) => self.note(Milestone::LinuxVersion),
            (MarkName::InitStarted, _) => self.note(Milestone::InitStarted),
            (MarkName::Finding, Some(Severity::Panic)) => self.panicked(),
            (MarkName::PanicEnd, _) => self.end(End::Panic),
            _ => {}
        }
        self.lock().tell(&News::Console(mark.clone()));
        // It may have changed what ends the run, and when.
        self.wake();
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
        End::PowerOff
        | End::Reset { .. }
        | End::TimeLimit
        | End::BootLimit
        | End::Silence
        | End::Halted
        | End::Decided
        | End::Status { .. } => End::Panic,
        other => other,
    }
}
