//! What the engine's threads and the supervising one have in common: how the run
//! stands, and what wakes who waits for its end.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::Sender,
    },
    time::Instant,
};

use rustix::{
    event::{EventfdFlags, eventfd},
    fd::OwnedFd,
};

use crate::{
    news::News,
    outcome::End,
    readiness::Notice,
    timeline::{Milestone, Timeline, micros},
    verdict::{Mark, MarkName, Severity},
};

#[derive(Debug)]
pub(super) struct State {
    pub(super) end: Option<End>,
    pub(super) panicked: bool,
    /// When the guest last wrote something, once it has panicked.
    pub(super) last_output: Instant,
    pub(super) timeline: Timeline,
    news: Option<Sender<News>>,
}

#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    over: AtomicBool,
    /// Wakes [`Session::wait`](super::Session::wait).
    pub(super) wake: OwnedFd,
}

impl State {
    fn tell(&self, news: &News) {
        // Whoever wanted to know may have gone.
        self.news.iter().for_each(|teller| drop(teller.send(news.clone())));
    }
}

impl Shared {
    pub(super) fn new(
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

    pub(super) fn mark(&self, milestone: Milestone) {
        let mut state = self.lock();
        if let Some(at) = state.timeline.mark(milestone) {
            state.tell(&News::Milestone { name: milestone, at_us: micros(at) });
        }
    }

    pub(super) fn mark_guest(&self, value: u8) {
        let mut state = self.lock();
        if let Some(milestone) = state.timeline.mark_guest(value) {
            state.tell(&News::GuestMilestone { value, at_us: milestone.at_us });
        }
    }

    /// The system in the guest said something of itself.
    pub(super) fn noticed(&self, notice: Notice) {
        let mut state = self.lock();
        if let Some(at) = state.timeline.notice(notice) {
            state.tell(&News::Milestone { name: Milestone::SystemReady, at_us: micros(at) });
        }
        drop(state);
        // It may have been what was waited for.
        self.wake();
    }

    fn note(&self, milestone: Milestone) {
        self.lock().timeline.mark(milestone);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn ended(&self) -> Option<End> {
        self.lock().end.clone()
    }

    pub(super) fn end(&self, end: End) {
        let mut state = self.lock();
        let end = with_status(end, state.timeline.readiness().exit_status);
        let end = if state.panicked { after_panic(end) } else { end };
        if let Some(at) = state.timeline.mark(Milestone::End) {
            state.tell(&News::End { outcome: end.clone(), at_us: micros(at) });
        }
        state.end.get_or_insert(end);
        drop(state);
        self.over.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn panicked(&self) {
        let mut state = self.lock();
        state.panicked = true;
        state.last_output = Instant::now();
        drop(state);
        self.wake();
    }

    /// A panicked guest is still talking.
    pub(super) fn wrote(&self) {
        let mut state = self.lock();
        if state.panicked {
            state.last_output = Instant::now();
        }
    }

    /// The guest printed a line that means something.
    pub(super) fn saw(&self, mark: &Mark) {
        // Before what it does is told.
        self.lock().tell(&News::Console(mark.clone()));
        match (mark.name, mark.severity) {
            // What is told of them is the mark.
            (MarkName::LinuxVersion, _) => self.note(Milestone::LinuxVersion),
            (MarkName::InitStarted, _) => self.note(Milestone::InitStarted),
            (MarkName::Finding, Some(Severity::Panic)) => self.panicked(),
            (MarkName::PanicEnd, _) => self.end(End::Panic),
            _ => {}
        }
        // It may have changed what ends the run, and when.
        self.wake();
    }

    fn wake(&self) {
        // Full means that it is awake already.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

/// What an end means of a system that has said with what status it will end.
fn with_status(end: End, status: Option<u8>) -> End {
    match (end, status) {
        (End::PowerOff | End::Reset { .. }, Some(status)) => End::Status { status },
        (end, _) => end,
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
