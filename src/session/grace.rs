//! Time for a guest to end by itself when it is to be ended.

use std::{
    fmt,
    sync::{Arc, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::Session;
use crate::{
    messages::say,
    outcome::{End, Signal},
};

/// What asks the guest to power off.
pub trait PowerButton: Send + Sync {
    /// Presses it once.
    fn press(&self);
}

/// How long a guest has to end by itself, and how it is asked to.
#[derive(Default)]
pub(super) struct Grace {
    time: Duration,
    button: Option<Arc<dyn PowerButton>>,
    /// When the time is over, once the guest was asked.
    until: Option<Instant>,
}

impl fmt::Debug for Grace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { time, button, until } = self;
        let button = button.is_some();
        f.debug_struct("Grace")
            .field("time", time)
            .field("button", &button)
            .field("until", until)
            .finish()
    }
}

impl Session {
    /// The same, but SIGTERM gives a guest with a power button that long to power off.
    #[must_use]
    pub fn with_grace(self, time: Duration) -> Self {
        self.grace().time = time;
        self
    }

    /// The guest is about to run, and that is its power button.
    pub fn attach_power_button(&self, button: Arc<dyn PowerButton>) {
        self.grace().button = Some(button);
    }

    fn grace(&self) -> MutexGuard<'_, Grace> {
        self.grace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A signal came: the run is over, or the guest is asked to end it. It is asked once.
    pub(super) fn signalled(&self, signal: Signal) {
        let mut grace = self.grace();
        let may_ask = signal == Signal::Term && grace.until.is_none() && !grace.time.is_zero();
        if let Some(button) = grace.button.clone().filter(|_| may_ask) {
            grace.until = Instant::now().checked_add(grace.time);
            let seconds = grace.time.as_secs_f64();
            say(&format!("terminated: the guest has {seconds} s to power off"));
            button.press();
        } else {
            drop(grace);
            self.end(End::Interrupted { signal });
        }
    }

    /// When the guest will have had its time.
    pub(super) fn grace_deadline(&self) -> Option<(Instant, End)> {
        let until = self.grace().until;
        until.map(|at| (at, End::Interrupted { signal: Signal::Term }))
    }
}
