//! The thread of a device that is in use.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use vmm_sys_util::eventfd::EventFd;

use super::{Device, Driver, Ready, queue::Interrupt};

/// A device at work. It comes back from [`Worker::stop`].
pub(super) struct Worker {
    thread: JoinHandle<Box<dyn Device>>,
    stop: EventFd,
    stopping: Arc<AtomicBool>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

/// How a device says that it needs a reset.
#[derive(Debug)]
pub(super) struct Alarm {
    pub(super) needs_reset: Arc<AtomicBool>,
    pub(super) config: Interrupt,
}

impl Alarm {
    pub(super) fn raise(&self) {
        self.needs_reset.store(true, Ordering::SeqCst);
        self.config.raise();
    }
}

impl Worker {
    /// Has `device` serve `driver` on a thread of its own.
    pub(super) fn start(
        mut device: Box<dyn Device>,
        mut driver: Driver,
        alarm: Alarm,
    ) -> io::Result<Self> {
        let stop = driver.stop().try_clone()?;
        let stopping = driver.stopping();
        let name = device.name().to_owned();
        let serve = move || {
            if device.serve(&mut driver).is_err() {
                alarm.raise();
                while driver.wait() != Ready::Stop {}
            }
            device
        };
        let thread = thread::Builder::new().name(name).spawn(serve)?;
        Ok(Self { thread, stop, stopping })
    }

    /// Waits until the device has finished what it is at. Nothing where it panicked.
    pub(super) fn stop(self) -> Option<Box<dyn Device>> {
        self.stopping.store(true, Ordering::Relaxed);
        // The counter is never near full.
        drop(self.stop.write(1));
        self.thread.join().ok()
    }
}
