//! The guest's serial port: a pipe and a socket whose other ends QEMU has.

use std::{
    io::{ErrorKind, PipeReader, Read as _},
    os::unix::net::UnixStream,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    net::SendFlags,
};

use crate::{console::Settling, session::Input};

/// Passes what the guest writes to `see`, until QEMU ends.
pub(super) fn pump(mut serial: &PipeReader, see: &mut dyn FnMut(&[u8])) {
    let mut buffer = [0; 4096];
    loop {
        match serial.read(&mut buffer) {
            Ok(0) => return,
            Ok(len) => see(buffer.get(..len).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Console input for the guest.
#[derive(Debug)]
pub(super) struct SerialInput(pub(super) UnixStream);

impl Input for SerialInput {
    fn take(&self, bytes: &[u8]) -> usize {
        const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
        let mut ready = [PollFd::new(&self.0, PollFlags::OUT)];
        match rustix::event::poll(&mut ready, Some(&PATIENCE)) {
            Ok(1) => {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                rustix::net::send(&self.0, bytes, flags).unwrap_or(0)
            }
            _ => 0,
        }
    }
}

/// Console input for a guest that is typed to at its other console: QEMU gives it what there is as
/// soon as its driver has room, which is too soon. QEMU does not say when; what the guest says does.
#[derive(Debug)]
pub(super) struct ConsoleInput {
    socket: SerialInput,
    begin: Instant,
    settling: Mutex<Option<Settling>>,
}

/// How long a guest that says nothing at all has until it is typed to.
const SILENT: Duration = Duration::from_secs(30);

impl ConsoleInput {
    pub(super) fn new(socket: UnixStream) -> Self {
        let (socket, begin) = (SerialInput(socket), Instant::now());
        Self { socket, begin, settling: Mutex::default() }
    }

    /// The guest said something.
    pub(super) fn spoke(&self) {
        let now = Instant::now();
        self.lock().get_or_insert_with(|| Settling::begun(now)).spoke(now);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Settling>> {
        self.settling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Input for ConsoleInput {
    fn take(&self, bytes: &[u8]) -> usize {
        let is_settled = match self.lock().as_mut() {
            Some(settling) => settling.left(Instant::now()).is_none(),
            None => self.begin.elapsed() >= SILENT,
        };
        if is_settled { self.socket.take(bytes) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_taken_as_long_as_there_is_room() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let input = SerialInput(ours);
        assert_eq!(input.take(b"uname"), 5);
        let mut taken = [0; 5];
        (&theirs).read_exact(&mut taken).unwrap();
        assert_eq!(&taken, b"uname");

        while input.take(&[0; 4096]) > 0 {}
        assert_eq!(input.take(b"x"), 0);
    }

    #[test]
    fn a_qemu_that_is_gone_takes_nothing() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        assert_eq!(SerialInput(ours).take(b"x"), 0);
    }
}
