//! virtio-console: one port, which Linux calls hvc0. Virtio 1.2, 5.3.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use virtio_bindings::virtio_ids::VIRTIO_ID_CONSOLE;
use vm_memory::VolatileSlice;
use vmm_sys_util::eventfd::EventFd;

use super::{Broken, Chain, Device, Driver, Queue, Ready};
use crate::{
    console::{Settling, Size},
    devices::interrupt_line,
    session::Input,
};

/// What the guest hears, and what it says. Linux fills the first with a page each at once.
const QUEUES: [u16; 2] = [16, 64];
/// How many bytes of what the guest says are passed on at a time.
const PIECE: usize = 4096;
/// The most of what is typed that waits for the guest to take it.
const TYPED_MAX: usize = 4096;
/// Who passes on what the guest says.
pub trait Speaker: fmt::Debug + Send {
    /// The guest said that. May block, but not when the run is over.
    fn say(&mut self, bytes: &[u8]);
}

/// What is typed until the guest takes it.
#[derive(Debug)]
pub struct Keyboard {
    state: Mutex<Typed>,
    bell: EventFd,
}

#[derive(Debug, Default)]
struct Typed {
    bytes: VecDeque<u8>,
    /// The terminal's size, where the guest has not been told of it.
    size: Option<Size>,
}

impl Keyboard {
    /// One at which nothing was typed yet.
    pub fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self { state: Mutex::default(), bell: interrupt_line()? }))
    }

    fn lock(&self) -> MutexGuard<'_, Typed> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        // It fails only where the counter is full: it is rung then.
        drop(self.bell.write(1));
    }

    fn is_empty(&self) -> bool {
        self.lock().bytes.is_empty()
    }

    /// Moves as much as there is room for; how much that was.
    fn type_into(&self, buffers: &[VolatileSlice<'_>]) -> usize {
        let mut state = self.lock();
        let mut typed = 0_usize;
        for buffer in buffers {
            let len = buffer.len().min(state.bytes.len());
            let bytes: Vec<u8> = state.bytes.drain(..len).collect();
            buffer.copy_from(&bytes);
            typed = typed.saturating_add(len);
        }
        typed
    }
}

impl Input for Keyboard {
    fn take(&self, bytes: &[u8]) -> usize {
        let mut state = self.lock();
        let room = TYPED_MAX.saturating_sub(state.bytes.len());
        let taken = bytes.get(..room).unwrap_or(bytes);
        state.bytes.extend(taken);
        drop(state);
        self.ring();
        taken.len()
    }

    fn resize(&self, size: Size) {
        self.lock().size = Some(size);
        self.ring();
    }
}

/// The device.
#[derive(Debug)]
pub struct Console {
    speaker: Box<dyn Speaker>,
    keyboard: Arc<Keyboard>,
    /// The terminal's size, where there is a terminal.
    size: Option<Size>,
    config: [u8; CONFIG_LEN],
}

impl Console {
    /// A console whose guest is heard through `speaker` and typed to at `keyboard`. With a
    /// `size`, the guest is told of it.
    #[must_use]
    pub fn new(speaker: Box<dyn Speaker>, keyboard: Arc<Keyboard>, size: Option<Size>) -> Self {
        Self { speaker, keyboard, size, config: config(size.unwrap_or_default()) }
    }

    /// Serves a guest that is `settling`.
    pub(super) fn serve_until_stopped(
        &mut self,
        driver: &mut Driver,
        mut settling: Settling,
    ) -> Result<(), Broken> {
        driver.watch(&self.keyboard.bell).map_err(|_no_room| Broken)?;
        let stopping = driver.stopping();
        while !driver.is_stopping() {
            // Non-blocking: fails where it was not rung.
            drop(self.keyboard.bell.read());
            let left = settling.left(Instant::now());
            let is_settled = left.is_none();
            if is_settled {
                self.tell_size(driver);
            }
            let [rx, tx] = driver.queues.as_mut_slice() else { return Err(Broken) };
            if self.hear(tx, &stopping)? {
                settling.spoke(Instant::now());
            }
            if is_settled {
                self.type_in(rx)?;
            }
            // Where what was typed waits for room, that is what is waited for.
            let has_room = is_settled && !self.keyboard.is_empty() && rx.listen()?;
            let has_more = tx.listen()?;
            if !has_room && !has_more && driver.wait_up_to(left) == Ready::Stop {
                break;
            }
        }
        Ok(())
    }

    /// Passes on what the guest says, no more than it has room for; whether it said anything.
    fn hear(&mut self, tx: &mut Queue, stopping: &AtomicBool) -> Result<bool, Broken> {
        let mut any = false;
        // Not for ever: others may want the device to stop.
        for _ in 0..tx.size() {
            let Some(chain) = tx.take()? else { break };
            let head = chain.head();
            self.say(chain, stopping)?;
            // Only now: Linux waits for it, and so what it says comes before what it does next.
            tx.used(head, 0)?;
            any = true;
        }
        if any {
            tx.tell()?;
        }
        Ok(any)
    }

    fn say(&mut self, chain: Chain<'_>, stopping: &AtomicBool) -> Result<(), Broken> {
        let mut piece = [0; PIECE];
        for slice in chain.buffers().ok_or(Broken)?.readable {
            let mut rest = Some(slice).filter(|slice| !slice.is_empty());
            while let Some(slice) = rest {
                // A guest may say all of its RAM, many times over.
                if stopping.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let copied = slice.copy_to(&mut piece[..]);
                self.speaker.say(piece.get(..copied).unwrap_or_default());
                rest = slice.offset(copied).ok().filter(|slice| !slice.is_empty());
            }
        }
        Ok(())
    }

    /// Gives the guest what was typed, as far as it has made room for it.
    fn type_in(&self, rx: &mut Queue) -> Result<(), Broken> {
        let mut any = false;
        while !self.keyboard.is_empty() {
            let Some(chain) = rx.take()? else { break };
            let head = chain.head();
            let typed = self.keyboard.type_into(&chain.buffers().ok_or(Broken)?.writable);
            rx.used(head, u32::try_from(typed).map_err(|_too_long| Broken)?)?;
            any = true;
            if typed == 0 {
                break;
            }
        }
        if any { rx.tell() } else { Ok(()) }
    }

    /// Tells the driver of the terminal's size, if that is another than it knows.
    fn tell_size(&mut self, driver: &Driver) {
        let size = self.keyboard.lock().size.take();
        if let Some(size) = size.filter(|_| driver.features & F_SIZE != 0) {
            self.size = Some(size);
            driver.reconfigure(&config(size));
        }
    }
}

impl Device for Console {
    fn id(&self) -> u32 {
        VIRTIO_ID_CONSOLE
    }

    fn name(&self) -> &'static str {
        "hvc0"
    }

    fn features(&self) -> u64 {
        if self.size.is_some() { F_SIZE } else { 0 }
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUES
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn serve(&mut self, driver: &mut Driver) -> Result<(), Broken> {
        if let Some(size) = self.size {
            self.keyboard.lock().size.get_or_insert(size);
        }
        self.serve_until_stopped(driver, Settling::begun(Instant::now()))
    }
}

/// The configuration has the terminal's size. Virtio 1.2, 5.3.3.
const F_SIZE: u64 = 1 << 0;
/// Columns and rows; the number of ports and the emergency register, which are other
/// features'. Virtio 1.2, 5.3.4.
const CONFIG_LEN: usize = 12;

fn config(size: Size) -> [u8; CONFIG_LEN] {
    let [columns, rows] = [size.columns.to_le_bytes(), size.rows.to_le_bytes()];
    let mut config = [0; CONFIG_LEN];
    for (to, from) in config.iter_mut().zip(columns.into_iter().chain(rows)) {
        *to = from;
    }
    config
}
