//! What a device sees of the driver that uses it.

use std::{
    io,
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use vmm_sys_util::{
    epoll::{ControlOperation, Epoll, EpollEvent, EventSet},
    eventfd::EventFd,
};

use super::{
    queue::{Broken, Chain, Queue},
    settings::Changer,
};
use crate::engine::kvm::GuestMemory;

/// A driver that is ready, for the time until it resets the device.
#[derive(Debug)]
pub struct Driver {
    /// Guest memory, all of it.
    pub memory: GuestMemory,
    /// The features that were agreed upon.
    pub features: u64,
    /// The queues, as many as the device has, whether the driver uses them or not.
    pub queues: Vec<Queue>,
    stop: EventFd,
    stopping: Arc<AtomicBool>,
    watched: Epoll,
    changer: Changer,
}

/// What [`Driver::wait`] waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// The device is to stop: it was reset, or the run is over.
    Stop,
    /// A bell was rung, or a file that is watched is ready, or both: look at all.
    Work,
}

/// What the stop's events are told by.
const STOP: u64 = 1;
/// As many events as are asked for at a time.
const EVENTS: usize = 8;

impl Driver {
    pub(super) fn new(
        (memory, features): (GuestMemory, u64),
        queues: Vec<Queue>,
        stop: EventFd,
        changer: Changer,
    ) -> io::Result<Self> {
        let (stopping, watched) = (Arc::default(), Epoll::new()?);
        let driver = Self { memory, features, queues, stop, stopping, watched, changer };
        driver.add(&driver.stop, EventSet::IN, STOP)?;
        for queue in driver.queues.iter().filter(|queue| queue.is_used()) {
            // Told of each time that it is rung, so that it need not be read: that is a syscall
            // less for each time that a guest wants something. epoll(7).
            driver.add(&queue.bell, EventSet::IN | EventSet::EDGE_TRIGGERED, 0)?;
        }
        Ok(driver)
    }

    /// From now on [`Driver::wait`] waits for `file` to be readable too; it says so as long
    /// as it is.
    pub fn watch(&self, file: &dyn AsRawFd) -> io::Result<()> {
        self.add(file, EventSet::IN, 0)
    }

    /// Undoes [`Driver::watch`].
    pub fn unwatch(&self, file: &dyn AsRawFd) -> io::Result<()> {
        let nothing = EpollEvent::default();
        self.watched.ctl(ControlOperation::Delete, file.as_raw_fd(), nothing)
    }

    /// Replaces the device's configuration from its first byte on, and tells the guest.
    pub fn reconfigure(&self, bytes: &[u8]) {
        self.changer.change(bytes);
    }

    /// From now on [`Driver::wait`] waits for `file` to be as `new` says, and not any more for
    /// what it waited for before, `old`; either may be empty.
    pub fn watch_for(&self, file: &dyn AsRawFd, old: EventSet, new: EventSet) -> io::Result<()> {
        let operation = match (old.is_empty(), new.is_empty()) {
            _ if old == new => return Ok(()),
            (true, _) => ControlOperation::Add,
            (false, false) => ControlOperation::Modify,
            (false, true) => ControlOperation::Delete,
        };
        self.watched.ctl(operation, file.as_raw_fd(), EpollEvent::new(new, 0))
    }

    /// Waits for a bell, for a file that is watched, or for the end.
    #[must_use]
    pub fn wait(&self) -> Ready {
        self.wait_up_to(None)
    }

    /// The same, but no longer than `limit` if there is one.
    #[must_use]
    pub fn wait_up_to(&self, limit: Option<Duration>) -> Ready {
        let mut events = [EpollEvent::default(); EVENTS];
        // Rounded up: who waits for a moment to come does not come back before it.
        let limit = limit.map(|limit| limit.as_micros().div_ceil(1000));
        let limit = limit.map_or(-1, |limit| i32::try_from(limit).unwrap_or(i32::MAX));
        // An interrupted wait is only a short one.
        let count = self.watched.wait(limit, &mut events).unwrap_or(0);
        let is_over = events.iter().take(count).any(|event| event.data() == STOP);
        if is_over { Ready::Stop } else { Ready::Work }
    }

    /// Answers every request on the first queue by `answer`, which gives how many bytes it
    /// wrote, until the device is to stop: all that a device does that only answers.
    pub fn answer_all(
        &mut self,
        mut answer: impl FnMut(Chain<'_>) -> Result<u32, Broken>,
    ) -> Result<(), Broken> {
        while !self.is_stopping() {
            let queue = self.queues.first_mut().ok_or(Broken)?;
            queue.do_not_disturb()?;
            let mut answered = 0_u16;
            // No more than there is room for: others may want the device to stop.
            while answered < queue.size()
                && let Some(chain) = queue.take()?
            {
                let head = chain.head();
                let written = answer(chain)?;
                queue.used(head, written)?;
                answered = answered.saturating_add(1);
            }
            if answered > 0 {
                queue.tell()?;
            }
            if !queue.listen()? && self.wait() == Ready::Stop {
                break;
            }
        }
        Ok(())
    }

    /// Whether the device is to stop: for one that has work to do still, since a guest can
    /// always see to that.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// What is set before [`Driver::stop`] is signalled.
    pub(super) fn stopping(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stopping)
    }

    /// What can be read once the device is to stop.
    #[must_use]
    pub fn stop(&self) -> &EventFd {
        &self.stop
    }

    fn add(&self, file: &dyn AsRawFd, events: EventSet, data: u64) -> io::Result<()> {
        let event = EpollEvent::new(events, data);
        self.watched.ctl(ControlOperation::Add, file.as_raw_fd(), event)
    }
}
