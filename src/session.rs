//! What passes between a running engine and the rest of the program.
//!
//! An engine calls [`Session::output`], [`Session::mark`] and [`Session::end`]
//! from whatever thread it likes, attaches its input with
//! [`Session::attach_input`], and waits in [`Session::wait`] until the run is
//! over; then it stops its guest and reports.

use std::{
    fmt,
    io::Write as _,
    sync::{Arc, Condvar, Mutex, PoisonError},
};

use crate::outcome::End;

/// Something worth a time in the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// The VM exists.
    VmCreated,
    /// Guest memory holds the plan.
    MemoryLoaded,
    /// The vCPU is about to run its first instruction.
    FirstEntry,
    /// The first exit to the monitor.
    FirstExit,
    /// A byte on the milestone port.
    Guest(u8),
}

/// Where the engine takes console input.
pub trait Input: Send + Sync {
    /// Takes as many of `bytes` as there is room for, waiting for room for at
    /// most a few milliseconds; returns how many it took.
    fn take(&self, bytes: &[u8]) -> usize;
}

/// One run, shared by the engine's threads and the supervising one.
#[derive(Default)]
pub struct Session {
    end: Mutex<Option<End>>,
    over: Condvar,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Session {
    /// The guest wrote these bytes to its console. Blocks while the host's side
    /// is full, but returns at once when the run is over.
    pub fn output(&self, bytes: &[u8]) {
        let _ = std::io::stdout().write_all(bytes);
    }

    /// Notes the time of a milestone; only the first of each counts.
    pub fn mark(&self, _milestone: Milestone) {}

    /// The guest reported a panic (pvpanic). It goes on, to print its trace;
    /// the run ends when it does, or shortly after.
    pub fn panicked(&self) {}

    /// The run is over; the first call wins.
    pub fn end(&self, end: End) {
        let mut slot = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        slot.get_or_insert(end);
        self.over.notify_all();
    }

    /// Whether the run is over.
    pub fn is_over(&self) -> bool {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Where console input goes from now on.
    pub fn attach_input(&self, _input: Arc<dyn Input>) {}

    /// Waits until the run is over: ended by the engine, by a signal, by the
    /// time limit, by the escape key.
    pub fn wait(&self) -> End {
        let mut slot = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match &*slot {
                Some(end) => return end.clone(),
                None => slot = self.over.wait(slot).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}
