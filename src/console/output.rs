//! Console output on its way out.
//!
//! A vCPU puts bytes into a bounded queue; a thread of its own writes them out.
//! So a burst of output costs the guest no system call a byte, and what is read
//! from the lines costs the guest nothing.

use std::{
    io,
    os::fd::AsFd,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};

use crate::sandbox::{Narrowing, Thread};

/// The most bytes that wait to be written; a faster guest waits in turn.
const QUEUE_MAX: usize = 1 << 16;
/// The most of a run that is over: what QEMU had written and nobody had read yet is in a
/// pipe, and comes all at once.
const QUEUE_MAX_AFTER: usize = 1 << 20;
/// How long the writer waits for more where it has just written, which nobody can see:
/// a guest writes a byte at a time, and to be woken and to write costs more than that.
const GATHER: Duration = Duration::from_millis(1);
/// How many bytes are written out at once.
const ENOUGH: usize = QUEUE_MAX / 4;

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    /// The writer is busy with bytes that it took.
    writing: bool,
    /// The run is over: whoever adds may not wait, and what finds no room for
    /// [`QUEUE_MAX_AFTER`] is lost.
    released: bool,
    /// Nothing will be added: the writer ends when all is written.
    complete: bool,
    /// When the writer last took something.
    taken: Option<Instant>,
}

/// The queue and its writer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Output {
    shared: Arc<(Mutex<Queue>, Condvar)>,
}

impl Output {
    /// Starts the writer. It calls `failed` once when `to` takes no more;
    /// what comes then is lost.
    pub(crate) fn start(
        to: impl AsFd + Send + 'static,
        failed: impl FnOnce(Errno) + Send + 'static,
    ) -> io::Result<Self> {
        let output = Self::default();
        let taker = output.clone();
        let writer = move || {
            let mut failed = Some(failed);
            let mut narrowing = Narrowing::to(Thread::Writer);
            while let Some(bytes) = taker.take() {
                narrowing.narrow();
                let written = if failed.is_some() { write_all(&to, &bytes) } else { Ok(()) };
                if let (Err(error), Some(failed)) = (written, failed.take_if(|_| written.is_err()))
                {
                    failed(error);
                }
            }
        };
        thread::Builder::new().name("console".into()).spawn(writer)?;
        Ok(output)
    }

    /// Adds `bytes`, waiting while the queue is full and the run goes on.
    pub(crate) fn push(&self, bytes: &[u8]) {
        let mut queue = self.lock();
        while queue.bytes.len() >= QUEUE_MAX {
            if queue.released {
                break;
            }
            queue = self.wait(queue);
        }
        if queue.bytes.len() >= QUEUE_MAX_AFTER {
            return;
        }
        let before = queue.bytes.len();
        queue.bytes.extend_from_slice(bytes);
        if before == 0 || (before < ENOUGH && queue.bytes.len() >= ENOUGH) {
            self.shared.1.notify_all();
        }
    }

    /// The run is over: whoever waits for room goes on.
    pub(crate) fn release(&self) {
        self.lock().released = true;
        self.shared.1.notify_all();
    }

    /// Nothing will be added any more.
    pub(crate) fn complete(&self) {
        self.lock().complete = true;
        self.shared.1.notify_all();
    }

    /// Waits until all is written, `limit` at most; whether it is.
    pub(crate) fn drained(&self, limit: Duration) -> bool {
        let queue = self.lock();
        let busy = |queue: &mut Queue| queue.writing || !queue.bytes.is_empty();
        let wait = self.shared.1.wait_timeout_while(queue, limit, busy);
        !wait.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// For the writer: everything that waits; `None` when that was all.
    fn take(&self) -> Option<Vec<u8>> {
        let mut queue = self.lock();
        queue.writing = false;
        self.shared.1.notify_all();
        loop {
            if !queue.bytes.is_empty() {
                queue = self.gather(queue);
                queue.writing = true;
                queue.taken = Some(Instant::now());
                return Some(std::mem::take(&mut queue.bytes));
            }
            if queue.complete {
                return None;
            }
            queue = self.wait(queue);
        }
    }

    /// Waits for more, unless it is enough or all, or comes after a pause.
    fn gather<'a>(&self, queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        if queue.taken.is_none_or(|taken| taken.elapsed() >= GATHER) {
            return queue;
        }
        let is_little =
            |queue: &mut Queue| queue.bytes.len() < ENOUGH && !queue.complete && !queue.released;
        let wait = self.shared.1.wait_timeout_while(queue, GATHER, is_little);
        wait.unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        self.shared.1.wait(queue).unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes all of `bytes`, to a descriptor that may be non-blocking.
fn write_all(fd: impl AsFd, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(&fd, bytes) {
            Ok(0) => return Err(Errno::IO),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                poll(&mut [PollFd::new(&fd, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_run_nobody_waits_and_memory_stays_bounded() {
        let output = Output::default();
        output.release();
        for _ in 0..100 {
            output.push(&vec![0; QUEUE_MAX]);
        }
        assert_eq!(output.take().map(|bytes| bytes.len()), Some(QUEUE_MAX_AFTER));
    }

    #[test]
    fn bytes_that_come_one_by_one_are_taken_many_at_a_time() {
        const BYTES: usize = 10_000;
        let output = Output::default();
        let taker = output.clone();
        let writer = thread::spawn(move || {
            std::iter::from_fn(|| taker.take()).map(|bytes| bytes.len()).collect::<Vec<_>>()
        });
        for _ in 0..BYTES {
            output.push(b".");
        }
        output.complete();
        let written = writer.join().unwrap();
        assert_eq!(written.iter().sum::<usize>(), BYTES);
        assert!(written.len() < BYTES / 10, "{}", written.len());
    }

    #[test]
    fn a_byte_that_nothing_follows_is_not_kept_back() {
        let output = Output::default();
        for prompt in [b"$", b"#"] {
            output.push(prompt);
            assert_eq!(output.take().as_deref(), Some(prompt.as_slice()));
        }
    }

    #[test]
    fn what_comes_after_the_end_of_the_run_is_still_written() {
        let output = Output::default();
        output.release();
        output.push(b"reboot: Power down\n");
        output.complete();
        assert_eq!(output.take().as_deref(), Some(b"reboot: Power down\n".as_slice()));
        assert_eq!(output.take(), None);
        assert!(output.drained(Duration::from_millis(1)));
    }

    #[test]
    fn a_full_queue_makes_the_guest_wait_until_it_is_written() {
        let output = Output::default();
        output.push(&vec![0; QUEUE_MAX]);
        assert!(!output.drained(Duration::from_millis(1)));
        let taker = output.clone();
        let pushed = thread::spawn(move || output.push(b"more"));
        assert_eq!(taker.take().map(|bytes| bytes.len()), Some(QUEUE_MAX));
        pushed.join().unwrap();
        assert_eq!(taker.take().as_deref(), Some(b"more".as_slice()));
    }
}
