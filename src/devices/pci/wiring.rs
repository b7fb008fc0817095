//! What ties eventfds to the guest: the engine's part of PCI.

use std::{fmt, io};

use vmm_sys_util::eventfd::EventFd;

/// A message-signalled interrupt: what is written where to raise it.
/// PCI Local Bus Specification 3.0, 6.8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where.
    pub address: u64,
    /// What.
    pub data: u32,
}

/// What an engine does for devices on PCI. Any thread may ask for it.
///
/// Lines are numbered from 0; each is one vector of one function, for good.
pub trait Wiring: fmt::Debug + Send + Sync {
    /// From now on `signal` raises `message`, at once if it was signalled already.
    fn connect(&self, line: u32, signal: &EventFd, message: Message) -> io::Result<()>;

    /// From now on `signal` raises `message`, where it raised another before.
    fn reroute(&self, line: u32, message: Message) -> io::Result<()>;

    /// From now on `signal` raises nothing, and remembers that it was signalled.
    fn disconnect(&self, line: u32, signal: &EventFd) -> io::Result<()>;

    /// From now on a guest's write to `address` signals `bell`, and reaches nobody else.
    fn hang_bell(&self, address: u64, bell: &EventFd) -> io::Result<()>;

    /// Undoes [`Wiring::hang_bell`].
    fn take_bell(&self, address: u64, bell: &EventFd) -> io::Result<()>;
}
