//! Other processes that are a part of the machine: passt, virtiofsd. Where one ends before the
//! guest does, the guest has a broken machine: the run ends, and says so.

use std::{io, os::fd::OwnedFd, thread};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
};

use super::{Error, Load};
use crate::{outcome::End, session::Session};

/// Runs `run`, a guest of `load`, and ends its `session` should a process end that the guest
/// depends on.
pub(super) fn watched<T>(
    load: &Load<'_>,
    session: &Session,
    run: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    if !load.attached.has_others() {
        return run();
    }
    let sockets = load.attached.sockets().map_err(Error::Watch)?;
    let (over, end) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| Error::Watch(error.into()))?;
    thread::scope(|scope| {
        let watcher = thread::Builder::new().name("others".to_owned());
        let watch = move || {
            if let Ok(Some(number)) = first_to_end(&sockets, &over) {
                let reason = load.attached.obituary(number);
                session.end(End::EngineFailure { reason });
            }
        };
        watcher.spawn_scoped(scope, watch).map_err(Error::Watch)?;
        let ran = run();
        drop(end);
        ran
    })
}

/// Waits until the other end of one of `sockets` is closed, or that of `over` is.
fn first_to_end(sockets: &[OwnedFd], over: &OwnedFd) -> io::Result<Option<usize>> {
    let is_over = PollFd::new(over, PollFlags::empty());
    let sockets = sockets.iter().map(|socket| PollFd::new(socket, PollFlags::RDHUP));
    let mut watched: Vec<_> = sockets.chain([is_over]).collect();
    loop {
        match poll(&mut watched, None) {
            Err(Errno::INTR) => continue,
            ready => ready?,
        };
        let has_ended = |file: &PollFd<'_>| !file.revents().is_empty();
        let Some((over, sockets)) = watched.split_last() else { return Ok(None) };
        if has_ended(over) {
            return Ok(None);
        }
        if let Some(number) = sockets.iter().position(has_ended) {
            return Ok(Some(number));
        }
    }
}
