//! SIGINT, SIGTERM and SIGHUP as something to wait for.

use std::{
    io::{self, Read as _},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
    low_level::pipe,
};

use crate::outcome::Signal;

const SIGNALS: [(i32, Signal, usize); 3] =
    [(SIGINT, Signal::Int, 1), (SIGTERM, Signal::Term, 2), (SIGHUP, Signal::Hup, 3)];

/// The signals that end a run, caught from now on.
#[derive(Debug)]
pub(crate) struct Signals {
    last: Arc<AtomicUsize>,
    readable: UnixStream,
}

impl Signals {
    /// Catches them.
    pub(crate) fn catch() -> io::Result<Self> {
        let (readable, writable) = UnixStream::pair()?;
        readable.set_nonblocking(true)?;
        let last = Arc::new(AtomicUsize::new(0));
        for (number, _, code) in SIGNALS {
            flag::register_usize(number, Arc::clone(&last), code)?;
            pipe::register(number, writable.try_clone()?)?;
        }
        Ok(Self { last, readable })
    }

    /// Readable when a signal came.
    pub(crate) fn fd(&self) -> &UnixStream {
        &self.readable
    }

    /// The signal that came since the last call, if one did.
    pub(crate) fn pending(&self) -> Option<Signal> {
        drop((&self.readable).read(&mut [0; 16]));
        let code = self.last.swap(0, Ordering::AcqRel);
        SIGNALS.iter().find(|(_, _, known)| *known == code).map(|(_, signal, _)| *signal)
    }
}
