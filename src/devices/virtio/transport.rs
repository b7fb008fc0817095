//! Virtio over PCI: the registers in a function's memory, and the device behind them.
//! Virtio 1.2, 4.1.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
};

use virtio_bindings::virtio_ids::{VIRTIO_ID_BLOCK, VIRTIO_ID_CONSOLE, VIRTIO_ID_NET};
use vmm_sys_util::eventfd::EventFd;

use super::{
    Device, Driver,
    common::{self, Asked, Common, NO_VECTOR, status},
    queue::{ISR_CONFIG, ISR_QUEUE, Interrupt, Queue},
    settings::{Changer, Settings},
    worker::{Alarm, Worker},
};
use crate::{
    devices::{
        interrupt_line,
        pci::{ConfigSpace, Identity, Msix, Wiring, msix},
    },
    engine::kvm::GuestMemory,
};

/// Feature bits of the transport and the rings. Virtio 1.2, 6.
pub(super) const VERSION_1: u64 = 1 << 32;
pub(super) const INDIRECT_DESC: u64 = 1 << 28;
pub(super) const EVENT_IDX: u64 = 1 << 29;

/// Bytes of a function's memory, all by the first BAR.
pub(in crate::devices) const MEMORY: u32 = 0x8000;
/// What is where in it, a page each.
mod part {
    pub(super) const COMMON: u16 = 0x0000;
    pub(super) const ISR: u16 = 0x1000;
    pub(super) const CONFIG: u16 = 0x2000;
    pub(super) const BELLS: u16 = 0x3000;
    pub(super) const TABLE: u16 = 0x4000;
    pub(super) const PENDING: u16 = 0x5000;
    /// The page of an offset, and where in it.
    pub(super) fn of(offset: u16) -> (u16, u16) {
        (offset & 0xf000, offset & 0x0fff)
    }
}
/// How far one queue's bell is from the next one's.
const BELL_LEN: u16 = 4;

/// Kinds of vendor-specific capabilities. Virtio 1.2, 4.1.4.
mod capability {
    pub(super) const VENDOR: u8 = 0x09;
    pub(super) const COMMON: u8 = 1;
    pub(super) const NOTIFY: u8 = 2;
    pub(super) const ISR: u8 = 3;
    pub(super) const DEVICE: u8 = 4;
    pub(super) const PCI: u8 = 5;
}

/// Where in the capability of the window on the BAR its registers are.
/// Virtio 1.2, 4.1.4.9.
mod window {
    pub(super) const BAR: u8 = 4;
    pub(super) const OFFSET: u8 = 8;
    pub(super) const LENGTH: u8 = 12;
    pub(super) const DATA: u8 = 16;
}

/// A virtio function.
#[derive(Debug)]
pub(in crate::devices) struct Transport {
    config: ConfigSpace,
    msix: Msix,
    /// Where the capabilities for MSI-X and the window are.
    msix_at: u8,
    window_at: u8,
    common: Common,
    isr: Arc<AtomicU8>,
    needs_reset: Arc<AtomicBool>,
    device: State,
    settings: Arc<Settings>,
    bells: Vec<EventFd>,
    /// Where the bells hang.
    bells_at: Option<u64>,
    memory: GuestMemory,
    wiring: Arc<dyn Wiring>,
}

/// Where the device is.
enum State {
    Idle(Box<dyn Device>),
    Serving(Worker),
    /// Its thread panicked, or there was none to be had.
    Lost,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Idle(_) => "Idle",
            Self::Serving(_) => "Serving",
            Self::Lost => "Lost",
        })
    }
}

impl Transport {
    /// The function of `device`, whose interrupt lines are numbered from `first_line` on: one
    /// for the configuration and one for each queue.
    pub(in crate::devices) fn new(
        device: Box<dyn Device>,
        memory: GuestMemory,
        wiring: Arc<dyn Wiring>,
        first_line: u32,
    ) -> io::Result<Self> {
        let sizes = device.queue_sizes();
        let vectors = u16::try_from(sizes.len()).unwrap_or(u16::MAX).saturating_add(1);
        let msix = Msix::new(Arc::clone(&wiring), first_line, vectors)?;
        let offered = device.features() | VERSION_1 | INDIRECT_DESC | EVENT_IDX;
        let common = Common::new(offered, sizes, vectors.into());
        let bells = sizes.iter().map(|_| interrupt_line()).collect::<io::Result<_>>()?;
        let settings = Arc::new(Settings::new(device.config()));
        let (config, msix_at, window_at) = config_space(device.as_ref(), &msix);
        Ok(Self {
            config,
            msix,
            msix_at,
            window_at,
            common,
            isr: Arc::default(),
            needs_reset: Arc::default(),
            device: State::Idle(device),
            settings,
            bells,
            bells_at: None,
            memory,
            wiring,
        })
    }

    /// How many interrupt lines it has.
    pub(in crate::devices) fn lines(&self) -> u32 {
        u32::try_from(self.msix.len()).unwrap_or(u32::MAX)
    }

    /// Where its memory is, if it is anywhere.
    pub(in crate::devices) fn memory(&self) -> Option<u64> {
        self.config.memory()
    }

    /// Reads configuration space.
    pub(in crate::devices) fn read_config(&mut self, at: u16, data: &mut [u8]) {
        if self.is_window(at)
            && let Some((offset, len)) = self.window()
        {
            let mut bytes = [0; 4];
            self.read_memory(offset, bytes.get_mut(..len).unwrap_or_default());
            self.config.put_window(self.window_data(), bytes);
        }
        self.config.read(at, data);
    }

    /// Writes configuration space.
    pub(in crate::devices) fn write_config(&mut self, at: u16, data: &[u8]) {
        self.config.write(at, data);
        if self.is_window(at)
            && let Some((offset, len)) = self.window()
        {
            let bytes = self.config.word(self.window_data()).to_le_bytes();
            self.write_memory(offset, bytes.get(..len).unwrap_or_default());
        }
        let [_, _, low, high] = self.config.word(self.msix_at).to_le_bytes();
        self.msix.set_control(u16::from_le_bytes([low, high]));
        self.hang_bells();
    }

    /// Reads the memory that the BAR gives it.
    pub(in crate::devices) fn read_memory(&mut self, offset: u16, data: &mut [u8]) {
        let (part, at) = part::of(offset);
        let at = usize::from(at);
        match part {
            part::COMMON => {
                if self.needs_reset.load(Ordering::SeqCst) {
                    self.common.status |= status::NEEDS_RESET;
                }
                let image = self.common.image(self.settings.generation());
                fill(data, image.get(at..).unwrap_or_default());
            }
            part::ISR => {
                fill(data, &[if at == 0 { self.isr.swap(0, Ordering::SeqCst) } else { 0 }]);
            }
            part::CONFIG => self.settings.read(at, |bytes| fill(data, bytes)),
            part::TABLE => self.msix.read_table(at, data),
            part::PENDING => self.msix.read_pending(at, data),
            _ => data.fill(0),
        }
    }

    /// Writes there.
    pub(in crate::devices) fn write_memory(&mut self, offset: u16, data: &[u8]) {
        match part::of(offset) {
            (part::COMMON, at) => match self.common.write(at, data) {
                Asked::Nothing => {}
                Asked::Reset => self.reset(),
                Asked::Start => self.start(),
            },
            // Where the engine could not hang the bells, and for the window.
            (part::BELLS, at) => {
                if let Some(bell) = self.bells.get(usize::from(at / BELL_LEN)) {
                    drop(bell.write(1));
                }
            }
            (part::TABLE, at) => self.msix.write_table(at.into(), data),
            _ => {}
        }
    }

    /// Has the device serve a driver that is ready. One whose queues are not in guest memory
    /// is told so.
    fn start(&mut self) {
        let State::Idle(device) = std::mem::replace(&mut self.device, State::Lost) else { return };
        let alarm = |transport: &Self| {
            Some(Alarm {
                needs_reset: Arc::clone(&transport.needs_reset),
                config: transport.interrupt(transport.common.config_vector, ISR_CONFIG)?,
            })
        };
        let (Some(alarm), Some(driver)) = (alarm(self), self.driver()) else {
            self.needs_reset.store(true, Ordering::SeqCst);
            self.device = State::Idle(device);
            return;
        };
        match Worker::start(device, driver, alarm) {
            Ok(worker) => self.device = State::Serving(worker),
            // The host has no more threads: there is nothing that could serve.
            Err(_) => self.needs_reset.store(true, Ordering::SeqCst),
        }
    }

    fn driver(&self) -> Option<Driver> {
        let with_event_index = self.common.agreed & EVENT_IDX != 0;
        let queues = self.common.queues.iter().zip(&self.bells);
        let queues = queues.map(|(setup, bell)| {
            let ring = setup.ring(with_event_index)?;
            Queue::new(
                ring,
                self.memory.clone(),
                bell.try_clone().ok()?,
                self.interrupt(setup.vector, ISR_QUEUE)?,
            )
        });
        let queues = queues.collect::<Option<_>>()?;
        let stop = interrupt_line().ok()?;
        let interrupt = self.interrupt(self.common.config_vector, ISR_CONFIG)?;
        let changer = Changer { settings: Arc::clone(&self.settings), interrupt };
        Driver::new((self.memory.clone(), self.common.agreed), queues, stop, changer).ok()
    }

    /// How a driver that chose `vector` is told of what `bit` stands for. Nothing where the
    /// host has no more files.
    fn interrupt(&self, vector: u16, bit: u8) -> Option<Interrupt> {
        let signal = match self.msix.signal(vector) {
            Some(signal) if vector != NO_VECTOR => Some(signal.try_clone().ok()?),
            _ => None,
        };
        Some(Interrupt { signal, isr: Arc::clone(&self.isr), bit })
    }

    /// Takes the device back, and forgets what the driver set up.
    fn reset(&mut self) {
        self.stop();
        for bell in &self.bells {
            drop(bell.read());
        }
        self.isr.store(0, Ordering::SeqCst);
        self.needs_reset.store(false, Ordering::SeqCst);
        self.common.reset();
    }

    fn stop(&mut self) {
        self.device = match std::mem::replace(&mut self.device, State::Lost) {
            State::Serving(worker) => worker.stop().map_or(State::Lost, State::Idle),
            other => other,
        };
    }

    /// Lets the engine ring the bells where the BAR has them by now.
    fn hang_bells(&mut self) {
        let wanted = self.memory().map(|base| base.saturating_add(part::BELLS.into()));
        if wanted == self.bells_at {
            return;
        }
        let places = |base: u64| (base..).step_by(BELL_LEN.into());
        // Where the engine can't, the guest's write comes to `write_memory`.
        if let Some(old) = self.bells_at {
            for (bell, at) in self.bells.iter().zip(places(old)) {
                self.wiring.take_bell(at, bell).ok();
            }
        }
        if let Some(new) = wanted {
            for (bell, at) in self.bells.iter().zip(places(new)) {
                self.wiring.hang_bell(at, bell).ok();
            }
        }
        self.bells_at = wanted;
    }

    /// Whether an access at `at` of configuration space is one through the window.
    fn is_window(&self, at: u16) -> bool {
        at & !3 == u16::from(self.window_data())
    }

    fn window_data(&self) -> u8 {
        self.window_at.wrapping_add(window::DATA)
    }

    /// What the window shows, if that is something.
    fn window(&self) -> Option<(u16, usize)> {
        let register = |at: u8| self.config.word(self.window_at.wrapping_add(at));
        let offset = register(window::OFFSET);
        let len = register(window::LENGTH);
        let right = register(window::BAR).is_multiple_of(0x100)
            && matches!(len, 1 | 2 | 4)
            && offset.is_multiple_of(len)
            && offset < MEMORY;
        let offset = u16::try_from(offset).ok().filter(|_| right)?;
        Some((offset, usize::try_from(len).ok()?))
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The bytes of `from`, and zeros where there are no more.
fn fill(data: &mut [u8], from: &[u8]) {
    for (byte, from) in data.iter_mut().zip(from.iter().chain(std::iter::repeat(&0))) {
        *byte = *from;
    }
}

/// The configuration space of a function with `device`, and where in it the capabilities for
/// MSI-X and the window are.
fn config_space(device: &dyn Device, msix: &Msix) -> (ConfigSpace, u8, u8) {
    const VENDOR: u16 = 0x1af4;
    /// Where the IDs of devices begin. Virtio 1.2, 4.1.2.1.
    const FIRST: u16 = 0x1040;
    let identity = Identity {
        vendor: VENDOR,
        device: FIRST.saturating_add(u16::try_from(device.id()).unwrap_or(0)),
        class: class(device.id()),
        revision: 1,
    };
    let mut space = ConfigSpace::new(identity);
    space.set_subsystem(VENDOR, FIRST);
    space.set_memory(MEMORY);
    let (table, pending) = (part::TABLE.into(), part::PENDING.into());
    let msix_at = space.add_capability(msix::CAPABILITY, &msix.capability(table, pending));
    space.let_write(msix_at, u32::from(msix::CONTROL_WRITABLE) << 16);
    let config_len = device.config().len();
    let bells = device.queue_sizes().len().saturating_mul(BELL_LEN.into());
    for (kind, at, len) in [
        (capability::COMMON, part::COMMON, common::LEN),
        (capability::ISR, part::ISR, 1),
        (capability::DEVICE, part::CONFIG, config_len.max(4)),
    ] {
        space.add_capability(capability::VENDOR, &vendor(kind, at, len, &[]));
    }
    let multiplier = u32::from(BELL_LEN).to_le_bytes();
    let notify = vendor(capability::NOTIFY, part::BELLS, bells, &multiplier);
    space.add_capability(capability::VENDOR, &notify);
    let window_at =
        space.add_capability(capability::VENDOR, &vendor(capability::PCI, 0, 0, &[0; 4]));
    let at = |register: u8| window_at.wrapping_add(register);
    space.let_write(at(window::BAR), 0xff);
    for register in [window::OFFSET, window::LENGTH, window::DATA] {
        space.let_write(at(register), u32::MAX);
    }
    (space, msix_at, window_at)
}

/// The body of a vendor-specific capability: `len` bytes from `at` in the first BAR.
fn vendor(kind: u8, at: u16, len: usize, more: &[u8]) -> Vec<u8> {
    let whole = u8::try_from(more.len()).unwrap_or(0).saturating_add(16);
    let mut body = vec![whole, kind, 0, 0, 0, 0];
    body.extend(u32::from(at).to_le_bytes());
    body.extend(u32::try_from(len).unwrap_or(0).to_le_bytes());
    body.extend(more);
    body
}

/// What kind of function a device of that ID is. PCI Code and ID Assignment, 1.
fn class(id: u32) -> u32 {
    match id {
        VIRTIO_ID_NET => 0x02_0000,
        VIRTIO_ID_BLOCK => 0x01_0000,
        VIRTIO_ID_CONSOLE => 0x07_8000,
        _ => 0x00_ff00,
    }
}
