//! A ring as a front end sets it up.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    sync::Arc,
};

use virtio_queue::{Queue, QueueT as _};
use vm_memory::GuestAddress;
use vmm_sys_util::eventfd::EventFd;

use super::super::queue::{ISR_QUEUE, Interrupt};
use crate::devices::interrupt_line;

/// A ring.
///
/// The front end may give it other files at any time, so the device has ones of its own, and
/// what comes there is passed on.
#[derive(Debug)]
pub(super) struct Ring {
    pub(super) size: u16,
    /// Descriptors, available, used: where the front end has them.
    pub(super) addresses: [u64; 3],
    /// The front end's bell.
    pub(super) kick: Option<OwnedFd>,
    /// How the front end is told that something was used.
    pub(super) call: Option<OwnedFd>,
    pub(super) is_enabled: bool,
    /// The device's bell.
    bell: EventFd,
    /// What the device signals.
    line: EventFd,
}

impl Ring {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            size: 0,
            addresses: [0; 3],
            kick: None,
            call: None,
            is_enabled: true,
            bell: interrupt_line()?,
            line: interrupt_line()?,
        })
    }

    /// What there may be to pass on: bells, and what the device signals where anybody hears it.
    pub(super) fn sources(&self) -> [Option<RawFd>; 2] {
        let line = self.call.is_some().then(|| self.line.as_raw_fd());
        [self.kick.as_ref().map(AsRawFd::as_raw_fd), line]
    }

    /// Passes on what came from that source.
    pub(super) fn pass_on(&self, source: usize) {
        // A counter that is full tells as much as one more.
        match (source, &self.kick, &self.call) {
            (0, Some(kick), _) => {
                rustix::io::read(kick, &mut [0; 8]).ok();
                self.bell.write(1).ok();
            }
            (1, _, Some(call)) => {
                self.line.read().ok();
                rustix::io::write(call, &1_u64.to_ne_bytes()).ok();
            }
            _ => {}
        }
    }

    /// The device's ends.
    pub(super) fn ends(&self) -> io::Result<(EventFd, Interrupt)> {
        let signal = Some(self.line.try_clone()?);
        Ok((self.bell.try_clone()?, Interrupt { signal, isr: Arc::default(), bit: ISR_QUEUE }))
    }

    /// The queue at `places` in guest memory, the next of whose requests is `next`. Nothing where
    /// it can't be.
    pub(super) fn queue(
        &self,
        places: [u64; 3],
        next: u16,
        with_event_index: bool,
    ) -> Option<Queue> {
        let [descriptors, available, used] = places.map(GuestAddress);
        let mut queue = Queue::new(self.size).ok()?;
        queue.try_set_desc_table_address(descriptors).ok()?;
        queue.try_set_avail_ring_address(available).ok()?;
        queue.try_set_used_ring_address(used).ok()?;
        queue.set_event_idx(with_event_index);
        queue.set_next_avail(next);
        queue.set_next_used(next);
        queue.set_ready(true);
        Some(queue)
    }
}
