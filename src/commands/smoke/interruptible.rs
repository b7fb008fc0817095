//! Work that a signal ends, whatever it waits for.

use std::{
    io,
    panic::resume_unwind,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use crate::{exit, outcome::Signal, signals::Signals};

/// How often signals are looked at.
const TICK: Duration = Duration::from_millis(50);
/// How long a reader of our output may take once a signal has come.
const READER_MAX: Duration = Duration::from_secs(1);

/// Why work gave nothing.
#[derive(Debug)]
pub(super) enum Stopped {
    By(Signal),
    NoThread(io::Error),
}

/// Does `work` in a thread of its own, and gives what it gives. It is left alone where a
/// signal comes that no session looks at, to end with the program: a file may be slow to
/// read, a host slow to give memory. It still has for as long as `patience` says then.
/// `meanwhile` is done first of all that this thread does beside it.
pub(super) fn interruptible<T: Send + 'static>(
    signals: &Signals,
    patience: impl Fn() -> Duration,
    work: impl FnOnce() -> T + Send + 'static,
    meanwhile: impl FnOnce(),
) -> Result<T, Stopped> {
    let (is_at_it, over) = mpsc::channel::<()>();
    let work = move || {
        let _is_at_it = is_at_it;
        work()
    };
    let thread = thread::Builder::new().name("work".into()).spawn(work);
    let thread = thread.map_err(Stopped::NoThread)?;
    meanwhile();
    let mut stop: Option<(Signal, Instant)> = None;
    loop {
        match over.recv_timeout(TICK) {
            Err(RecvTimeoutError::Timeout) => {}
            _ => return Ok(thread.join().unwrap_or_else(|panic| resume_unwind(panic))),
        }
        if stop.is_none() && !signals.are_attended() {
            stop = signals.pending().map(|signal| (signal, Instant::now()));
        }
        if let Some((signal, _)) = stop.filter(|(_, since)| since.elapsed() >= patience()) {
            return Err(Stopped::By(signal));
        }
    }
}

/// Does `work`, which waits for whoever reads our output. After a signal, that is not for
/// long.
pub(super) fn patiently<T: Send + 'static>(
    exit_status: u8,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    if !exit::is_of_signal(exit_status) {
        return Some(work());
    }
    let (sender, done) = mpsc::channel();
    let work = move || drop(sender.send(work()));
    thread::Builder::new().name("output".into()).spawn(work).ok()?;
    done.recv_timeout(READER_MAX).ok()
}
