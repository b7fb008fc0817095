//! What is left to do when a run is over.

use std::time::{Duration, Instant};

use super::Session;
use crate::{
    console::Output,
    messages::say,
    outcome::{End, Signal},
    timeline::Timeline,
    verdict::Watch,
};

/// How long output may take to be written out after an interruption.
const INTERRUPTED_DRAIN: Duration = Duration::from_millis(200);
/// How long output may take to be written to files that nobody waits for.
const WATCHED_DRAIN: Duration = Duration::from_secs(10);
/// How often signals are looked at while output is written out.
const DRAIN_STEP: Duration = Duration::from_millis(50);

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

impl Session {
    /// Writes out what is left of the console and gives the terminal back. Waits
    /// for a slow reader, but past neither the time limit nor a signal.
    #[must_use]
    pub fn finish(self) -> Finished {
        self.stream.finish();
        let interrupted = self.stream.outputs().find_map(|one| self.drain(one));
        self.signals.get().into_iter().for_each(|signals| signals.attend(false));
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
}
