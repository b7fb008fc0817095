//! Bus 0, and the two ways to its configuration space.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use firmware_less::{
    machine::ECAM,
    pci::{CONFIG_ADDRESS, CONFIG_DATA, FIRST_SLOT},
};

use super::{ConfigSpace, Identity, Wiring};
use crate::{
    devices::virtio::{Device, TRANSPORT_MEMORY, Transport},
    engine::kvm::GuestMemory,
};

/// CONFIG_ADDRESS: the data port reaches configuration space.
const ENABLED: u32 = 1 << 31;
const CONFIG_DATA_LAST: u16 = CONFIG_DATA + 3;

/// The host bridge, by the ID that Linux's list has for those of virtual machines
/// (Intel's VIRT_PCIE_HOST); it has no registers but those.
const HOST_BRIDGE: Identity =
    Identity { vendor: 0x8086, device: 0x0d57, class: 0x06_0000, revision: 0 };

/// The bus and all that is on it.
#[derive(Debug)]
pub struct Bus {
    host_bridge: ConfigSpace,
    functions: Vec<Function>,
    config_address: AtomicU32,
}

/// A virtio function, and where it answers, which whoever looks for it need not lock.
#[derive(Debug)]
struct Function {
    /// Zero where it answers nowhere.
    memory: AtomicU32,
    transport: Mutex<Transport>,
}

/// Who is meant by an access to configuration space.
enum Target<'b> {
    HostBridge,
    Function(&'b Function),
    Nobody,
}

impl Bus {
    /// A bus with `devices`, each in the next slot, which see `memory` and are wired to the
    /// guest by `wiring`.
    pub fn new(
        devices: Vec<Box<dyn Device>>,
        memory: &GuestMemory,
        wiring: &Arc<dyn Wiring>,
    ) -> io::Result<Self> {
        let mut line = 0;
        let mut functions = Vec::with_capacity(devices.len());
        for device in devices {
            let transport = Transport::new(device, memory.clone(), Arc::clone(wiring), line)?;
            line = line.saturating_add(transport.lines());
            functions.push(Function { memory: 0.into(), transport: Mutex::new(transport) });
        }
        Ok(Self {
            host_bridge: ConfigSpace::new(HOST_BRIDGE),
            functions,
            config_address: AtomicU32::new(0),
        })
    }

    /// Answers a read from `port`, if it is of configuration mechanism 1.
    pub fn read_port(&self, port: u16, data: &mut [u8]) -> bool {
        match port {
            // The address register answers to whole words only; other ports are within it.
            CONFIG_ADDRESS if data.len() == 4 => {
                data.copy_from_slice(&self.config_address.load(Ordering::Relaxed).to_le_bytes());
            }
            CONFIG_DATA..=CONFIG_DATA_LAST => match self.selected(port) {
                Some((slot, register)) => self.read_config(slot, register, data),
                None => data.fill(0xff),
            },
            _ => return false,
        }
        true
    }

    /// Takes a write to `port`, if it is of configuration mechanism 1.
    pub fn write_port(&self, port: u16, data: &[u8]) -> bool {
        match (port, data) {
            (CONFIG_ADDRESS, &[a, b, c, d]) => {
                self.config_address.store(u32::from_le_bytes([a, b, c, d]), Ordering::Relaxed);
            }
            (CONFIG_DATA..=CONFIG_DATA_LAST, _) => {
                if let Some((slot, register)) = self.selected(port) {
                    self.write_config(slot, register, data);
                }
            }
            _ => return false,
        }
        true
    }

    /// Answers a read from memory space where no RAM is. Where nobody answers, all bits read
    /// as ones.
    #[cold]
    pub fn read_memory(&self, address: u64, data: &mut [u8]) {
        if let Some((slot, register)) = in_ecam(address) {
            self.read_config(slot, register, data);
        } else if let Some((function, offset)) = self.function_at(address) {
            function.lock().read_memory(offset, data);
        } else {
            data.fill(0xff);
        }
    }

    /// Takes a write to memory space where no RAM is. Where nobody takes it, it vanishes.
    #[cold]
    pub fn write_memory(&self, address: u64, data: &[u8]) {
        if let Some((slot, register)) = in_ecam(address) {
            self.write_config(slot, register, data);
        } else if let Some((function, offset)) = self.function_at(address) {
            function.lock().write_memory(offset, data);
        }
    }

    /// What the address register selects, for an access to that data port.
    fn selected(&self, port: u16) -> Option<(u32, u16)> {
        let address = self.config_address.load(Ordering::Relaxed);
        let [register, device_function, bus, _] = address.to_le_bytes();
        let slot = u32::from(bus) << 8 | u32::from(device_function);
        let register = u16::from(register & !3).wrapping_add(port & 3);
        (address & ENABLED != 0).then_some((slot, register))
    }

    /// Who is at that bus, device and function.
    fn target(&self, slot: u32) -> Target<'_> {
        if slot == 0 {
            return Target::HostBridge;
        }
        // Other functions than the first are nobody's, nor are other buses.
        let device = slot.is_multiple_of(8).then_some(slot >> 3);
        let index = device.and_then(|device| device.checked_sub(FIRST_SLOT.into()));
        let index = index.and_then(|index| usize::try_from(index).ok());
        index.and_then(|index| self.functions.get(index)).map_or(Target::Nobody, Target::Function)
    }

    fn read_config(&self, slot: u32, register: u16, data: &mut [u8]) {
        match self.target(slot) {
            Target::HostBridge => self.host_bridge.read(register, data),
            Target::Function(function) => function.lock().read_config(register, data),
            Target::Nobody => data.fill(0xff),
        }
    }

    fn write_config(&self, slot: u32, register: u16, data: &[u8]) {
        // A host bridge that takes writes would have nothing to do with them.
        if let Target::Function(function) = self.target(slot) {
            let mut transport = function.lock();
            transport.write_config(register, data);
            let memory = transport.memory().and_then(|base| u32::try_from(base).ok());
            function.memory.store(memory.unwrap_or(0), Ordering::Relaxed);
        }
    }

    /// The function that answers at `address`, and where in its memory that is.
    fn function_at(&self, address: u64) -> Option<(&Function, u16)> {
        self.functions.iter().find_map(|function| {
            let base = function.memory.load(Ordering::Relaxed);
            let offset = address.checked_sub(u64::from(base)).filter(|_| base != 0)?;
            let offset = u16::try_from(offset).ok()?;
            (u32::from(offset) < TRANSPORT_MEMORY).then_some((function, offset))
        })
    }
}

impl Function {
    fn lock(&self) -> MutexGuard<'_, Transport> {
        self.transport.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bus, device and function, and the register, of which ECAM has the configuration
/// space at `address`. PCI Express Base Specification, 7.2.2.
fn in_ecam(address: u64) -> Option<(u32, u16)> {
    let offset = address.checked_sub(ECAM.start()).filter(|offset| *offset < ECAM.len())?;
    let slot = u32::try_from(offset >> 12).ok()?;
    let register = u16::try_from(offset & 0xfff).ok()?;
    Some((slot, register))
}
