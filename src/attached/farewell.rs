//! The end of a process at the other end of a socket.

use std::{
    io,
    net::Shutdown,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

/// How long it may take to end. It takes some 5 ms.
const FAREWELL: Duration = Duration::from_secs(2);

/// Tells whoever is at the other end of `socket` that all is over, and waits until they have
/// ended: then they close it.
pub(super) fn farewell(socket: &UnixStream) {
    socket.shutdown(Shutdown::Write).ok();
    let start = Instant::now();
    let mut rest = [0; 1 << 12];
    while let Some(left) = FAREWELL.checked_sub(start.elapsed()) {
        match next(socket, &mut rest, left) {
            Ok(1..) => {}
            _ => break,
        }
    }
}

/// What can be read from `socket`, waiting for at most `limit`; 0 at its end.
fn next(socket: &UnixStream, into: &mut [u8], limit: Duration) -> io::Result<usize> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
    if poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&limit))? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let (read, _) = rustix::net::recv(socket, into, rustix::net::RecvFlags::DONTWAIT)?;
    Ok(read)
}
