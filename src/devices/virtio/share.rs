//! virtio-fs: a folder of the host's, served by another process. Virtio 1.2, 5.11.

use std::{
    os::fd::AsRawFd as _,
    sync::{Arc, Mutex, PoisonError},
};

use virtio_bindings::virtio_ids::VIRTIO_ID_FS;
use vmm_sys_util::{
    epoll::{ControlOperation, Epoll, EpollEvent, EventSet},
    eventfd::EventFd,
};

use super::{Broken, Device, Driver, vhost_user::Front};
use crate::{cli::TAG_MAX, devices::interrupt_line};

/// What is urgent, and requests. As QEMU has them (hw/virtio/vhost-user-fs.c).
const QUEUES: [u16; 2] = [128, 128];
/// The tag, and how many queues there are for requests. Virtio 1.2, 5.11.4.
const CONFIG_LEN: usize = TAG_MAX + 4;
/// What the stop's event is told by.
const STOP: u64 = u64::MAX;

/// Who serves it, also the next guest.
pub type SharedFront = Arc<Mutex<Front>>;

/// The device.
#[derive(Debug)]
pub struct Share {
    front: SharedFront,
    name: String,
    config: [u8; CONFIG_LEN],
}

impl Share {
    /// Share number `number`, which guests know by `tag`.
    #[must_use]
    pub fn new(number: usize, tag: &str, front: SharedFront) -> Self {
        let mut config = [0; CONFIG_LEN];
        let (name, requests) = config.split_at_mut(TAG_MAX);
        for (to, from) in name.iter_mut().zip(tag.bytes()) {
            *to = from;
        }
        requests.copy_from_slice(&1_u32.to_le_bytes());
        Self { front, name: format!("share{number}"), config }
    }
}

impl Device for Share {
    fn id(&self) -> u32 {
        VIRTIO_ID_FS
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUES
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    /// Only sees to the beginning and the end: requests go to the other process, and its
    /// interrupts to the guest, past us.
    fn serve(&mut self, driver: &mut Driver) -> Result<(), Broken> {
        let lines: Vec<_> = driver.queues.iter().map(|queue| queue.interrupt()).collect();
        let own = lines.iter().map(|line| line.is_none().then(interrupt_line).transpose());
        let own: Vec<Option<EventFd>> = own.collect::<Result<_, _>>().map_err(|_no_file| Broken)?;
        let files = lines.iter().zip(&own).filter_map(|(line, own)| line.or(own.as_ref()));
        let files: Vec<_> = files.map(EventFd::as_raw_fd).collect();
        let mut front = self.front.lock().unwrap_or_else(PoisonError::into_inner);
        // Where it has ended, the run ends too: whoever watches it says so.
        front.start(driver, &files).map_err(|_gone| Broken)?;
        wait(driver, &own)?;
        front.stop(QUEUES.len().try_into().unwrap_or(u32::MAX)).map_err(|_gone| Broken)
    }
}

/// Waits until the device is to stop. Meanwhile what is signalled on `own` is passed on to
/// drivers that have no vector. Not by [`Driver::wait`], which each bell would wake that the
/// guest rings at the other process.
fn wait(driver: &Driver, own: &[Option<EventFd>]) -> Result<(), Broken> {
    let watched = Epoll::new().map_err(|_no_file| Broken)?;
    let watch = |file: &EventFd, data| {
        let event = EpollEvent::new(EventSet::IN, data);
        watched.ctl(ControlOperation::Add, file.as_raw_fd(), event).map_err(|_no_memory| Broken)
    };
    watch(driver.stop(), STOP)?;
    for (number, line) in (0..).zip(own) {
        line.as_ref().map_or(Ok(()), |line| watch(line, number))?;
    }
    let mut events = [EpollEvent::default(); QUEUES.len() + 1];
    loop {
        let count = watched.wait(-1, &mut events).unwrap_or(0);
        for event in events.iter().take(count) {
            if event.data() == STOP {
                return Ok(());
            }
            let number = usize::try_from(event.data()).unwrap_or(usize::MAX);
            if let (Some(Some(line)), Some(queue)) = (own.get(number), driver.queues.get(number)) {
                drop(line.read());
                queue.interrupt.raise();
            }
        }
    }
}
