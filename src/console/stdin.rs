//! Standard input on its way to the guest.

use std::{
    fmt, io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    fd::{AsFd, OwnedFd},
};

use super::{escape::Escape, terminal};
use crate::{
    sandbox::{Narrowing, Thread},
    session::Input,
};

/// The most bytes that wait for a guest that does not read. Then a pipe waits,
/// and a terminal's keys are dropped: enough for whatever is pasted.
const PENDING_MAX: usize = 1 << 20;
/// How often a guest that had no room is asked again.
const RETRY: Duration = Duration::from_millis(10);

/// What can be read from by a thread of its own.
pub(crate) trait Readable: AsFd + fmt::Debug + Send + Sync {}

impl<T: AsFd + fmt::Debug + Send + Sync> Readable for T {}

/// What is read from.
pub(crate) type Source = Arc<dyn Readable>;

/// The thread that reads standard input; it stops when this is dropped.
#[derive(Debug)]
pub(crate) struct Stdin {
    stop: Arc<OwnedFd>,
}

impl Stdin {
    /// Starts reading `from` for `input`. With `interactive`, calls `quit` when
    /// the escape key was pressed. The end of input ends the reading, not the run.
    pub(crate) fn start(
        from: Source,
        input: Arc<dyn Input>,
        interactive: bool,
        quit: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let is_readable = terminal::is_readable(from.as_fd());
        let reader = Reader {
            from,
            stop: Arc::clone(&stop),
            input,
            pending: Vec::new(),
            escape: interactive.then(Escape::default),
        };
        if is_readable {
            thread::Builder::new().name("stdin".into()).spawn(move || reader.run(&quit))?;
        }
        Ok(Self { stop })
    }
}

impl Drop for Stdin {
    fn drop(&mut self) {
        // The reader may be gone already; then nobody needs to be told.
        let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
    }
}

struct Reader {
    from: Source,
    stop: Arc<OwnedFd>,
    input: Arc<dyn Input>,
    pending: Vec<u8>,
    /// Only on a terminal.
    escape: Option<Escape>,
}

impl Reader {
    fn run(mut self, quit: &dyn Fn()) {
        let mut open = true;
        let mut narrowing = Narrowing::to(Thread::Reader);
        while open || !self.pending.is_empty() {
            match self.wait(open) {
                Ready::Stop => return,
                Ready::Input => open = self.read(quit),
                Ready::Retry => {}
            }
            narrowing.narrow();
            let taken = self.input.take(&self.pending);
            self.pending.drain(..taken.min(self.pending.len()));
        }
    }

    /// Waits until there is something to do.
    fn wait(&self, open: bool) -> Ready {
        let room = self.escape.is_some() || self.pending.len() < PENDING_MAX;
        let mut fds = vec![PollFd::new(&self.stop, PollFlags::IN)];
        if open && room {
            fds.push(PollFd::from_borrowed_fd(self.from.as_fd(), PollFlags::IN));
        }
        let retry = (!self.pending.is_empty()).then_some(RETRY);
        let timeout = retry.and_then(|retry| Timespec::try_from(retry).ok());
        if poll(&mut fds, timeout.as_ref()).is_err() {
            return Ready::Retry;
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        match (ready.next(), ready.next()) {
            (Some(true), _) => Ready::Stop,
            (_, Some(true)) => Ready::Input,
            _ => Ready::Retry,
        }
    }

    /// Reads what is there; whether there may be more to come.
    fn read(&mut self, quit: &dyn Fn()) -> bool {
        let mut buffer = [0; 1024];
        let count = match rustix::io::read(self.from.as_fd(), &mut buffer) {
            Ok(0) => return false,
            Ok(count) => count,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return true,
            Err(_) => return false,
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        if self.escape.as_mut().is_some_and(|escape| escape.typed(bytes, Instant::now())) {
            quit();
        }
        if self.pending.len() < PENDING_MAX {
            self.pending.extend_from_slice(bytes);
        }
        true
    }
}

enum Ready {
    Stop,
    Input,
    Retry,
}
