//! The machine's devices, as their registers look from the guest.
//!
//! They know neither KVM nor threads nor files: a write gives an [`Effect`],
//! and whoever runs the guest carries it out.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use firmware_less::machine::port;
use vmm_sys_util::eventfd::EventFd;

use crate::outcome::End;
#[cfg(debug_assertions)]
use crate::sandbox::trial;

mod exit_port;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod pci;
mod pm_timer;
mod power;
mod pvpanic;
mod serial;
pub mod virtio;

use pci::Bus;
pub use serial::Serial;

const SERIAL_LAST: u16 = port::SERIAL + port::SERIAL_LEN - 1;
const PM_TIMER_LAST: u16 = port::PM_TIMER + pm_timer::LEN - 1;

/// What a port write asks of whoever runs the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect<'a> {
    /// Nothing: the device dealt with it, or there is none.
    None,
    /// These bytes went out on the serial line.
    Output(&'a [u8]),
    /// Milestones, one a byte.
    Milestones(&'a [u8]),
    /// The guest reports that its kernel panicked; it runs on.
    Panicked,
    /// The run is over.
    End(End),
}

/// Every device, behind its ports.
#[derive(Debug)]
pub struct Devices {
    serial: Arc<Serial>,
    power_on: Instant,
    bus: Option<Bus>,
}

impl Devices {
    /// Devices as after power-on; the serial port signals its interrupt on
    /// `serial_interrupt`.
    #[must_use]
    pub fn new(serial_interrupt: EventFd) -> Self {
        let serial = Arc::new(Serial::new(serial_interrupt));
        Self { serial, power_on: Instant::now(), bus: None }
    }

    /// The same with a PCI bus.
    #[must_use]
    pub fn with_bus(self, bus: Option<Bus>) -> Self {
        Self { bus, ..self }
    }

    /// The serial port, to give it input.
    #[must_use]
    pub fn serial(&self) -> Arc<Serial> {
        Arc::clone(&self.serial)
    }

    /// Answers a read from `port`. `data` is one access, or the run of accesses
    /// of one string instruction. Where no device is, all bits read as ones.
    #[inline]
    pub fn read(&self, port: u16, data: &mut [u8]) {
        match port {
            port::SERIAL..=SERIAL_LAST => self.serial.read(port.wrapping_sub(port::SERIAL), data),
            port::PM_TIMER..=PM_TIMER_LAST => {
                pm_timer::read(self.uptime(), port.wrapping_sub(port::PM_TIMER), data);
            }
            power::KEYBOARD_CONTROLLER => data.fill(power::KEYBOARD_STATUS),
            port::SLEEP_CONTROL | port::RESET => data.fill(0),
            port::SLEEP_STATUS => data.fill(power::SLEEP_STATUS_AWAKE),
            port::PVPANIC => data.fill(pvpanic::EVENTS),
            _ => self.read_pci(port, data),
        }
    }

    /// Takes a write to `port`. `data` is one access, or the run of accesses of
    /// one string instruction. Where no device is, it vanishes.
    #[inline]
    #[must_use]
    pub fn write<'a>(&self, port: u16, data: &'a [u8]) -> Effect<'a> {
        match port {
            port::SERIAL..=SERIAL_LAST => {
                match self.serial.write(port.wrapping_sub(port::SERIAL), data) {
                    [] => Effect::None,
                    sent => Effect::Output(sent),
                }
            }
            port::MILESTONE => Effect::Milestones(data),
            port::EXIT => exit_port::write(data),
            port::PVPANIC => pvpanic::write(data),
            port::SLEEP_CONTROL => power::write_sleep_control(data),
            port::RESET => power::write_reset(data),
            power::KEYBOARD_CONTROLLER => power::write_keyboard_controller(data),
            #[cfg(debug_assertions)]
            trial::PORT => {
                trial::write(data);
                Effect::None
            }
            _ => self.write_pci(port, data),
        }
    }

    /// Answers a read from memory space where no RAM is. Where no device is, all bits read as
    /// ones.
    pub fn read_memory(&self, address: u64, data: &mut [u8]) {
        match &self.bus {
            Some(bus) => bus.read_memory(address, data),
            None => data.fill(0xff),
        }
    }

    /// Takes a write to memory space where no RAM is. Where no device is, it vanishes.
    pub fn write_memory(&self, address: u64, data: &[u8]) {
        if let Some(bus) = &self.bus {
            bus.write_memory(address, data);
        }
    }

    #[cold]
    fn read_pci(&self, port: u16, data: &mut [u8]) {
        if !self.bus.as_ref().is_some_and(|bus| bus.read_port(port, data)) {
            data.fill(0xff);
        }
    }

    #[cold]
    fn write_pci(&self, port: u16, data: &[u8]) -> Effect<'static> {
        if let Some(bus) = &self.bus {
            bus.write_port(port, data);
        }
        Effect::None
    }

    fn uptime(&self) -> Duration {
        self.power_on.elapsed()
    }
}

/// An interrupt line for [`Devices::new`].
///
/// Non-blocking: a guest that leaves interrupts unserved must not stop us.
pub fn interrupt_line() -> io::Result<EventFd> {
    EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC)
}

#[cfg(test)]
mod tests {
    use firmware_less::machine::{PVPANIC_PANICKED, RESET_VALUE, SLEEP_CONTROL_S5};

    use super::*;
    use crate::outcome::ResetBy;

    const PCI_CONFIG_ADDRESS: u16 = 0xcf8;

    fn devices() -> Devices {
        Devices::new(interrupt_line().unwrap())
    }

    fn read<const N: usize>(port: u16) -> [u8; N] {
        let mut data = [0x5a; N];
        devices().read(port, &mut data);
        data
    }

    #[test]
    fn absent_ports_read_all_ones_of_the_access_size() {
        for port in [0, 0x21, 0x40, 0x61, port::RTC, 0x71, 0x80, 0x2f8, 0xcfc, 0xffff] {
            assert_eq!(read::<1>(port), [0xff], "port {port:#x}");
            assert_eq!(read::<2>(port), [0xff; 2], "port {port:#x}");
            assert_eq!(read::<4>(port), [0xff; 4], "port {port:#x}");
        }
    }

    #[test]
    fn writes_to_absent_ports_vanish() {
        for port in [0, 0x20, 0x43, 0x70, 0x80, 0x2f8, 0xcfc, 0xffff] {
            assert_eq!(devices().write(port, &[RESET_VALUE]), Effect::None, "port {port:#x}");
        }
    }

    #[test]
    fn the_pci_config_address_is_not_the_reset_register() {
        let selects_a_device = 0x8000_0600_u32.to_le_bytes();
        assert_eq!(devices().write(PCI_CONFIG_ADDRESS, &selects_a_device), Effect::None);
        assert_eq!(devices().write(PCI_CONFIG_ADDRESS, &[0, RESET_VALUE]), Effect::None);
        assert_eq!(read::<4>(PCI_CONFIG_ADDRESS), [0xff; 4]);
        assert_eq!(
            devices().write(port::RESET, &[RESET_VALUE]),
            Effect::End(End::Reset { by: ResetBy::ResetRegister })
        );
    }

    #[test]
    fn each_port_reaches_its_device() {
        let devices = devices();
        assert_eq!(devices.write(port::SERIAL, b"hi"), Effect::Output(b"hi"));
        assert_eq!(devices.write(port::MILESTONE, &[1, 2]), Effect::Milestones(&[1, 2]));
        assert_eq!(devices.write(port::EXIT, &[3]), Effect::End(End::Status { status: 3 }));
        assert_eq!(devices.write(port::PVPANIC, &[PVPANIC_PANICKED]), Effect::Panicked);
        assert_eq!(
            devices.write(port::SLEEP_CONTROL, &[SLEEP_CONTROL_S5]),
            Effect::End(End::PowerOff)
        );
        assert_eq!(
            devices.write(0x64, &[0xfe]),
            Effect::End(End::Reset { by: ResetBy::KeyboardController })
        );
    }

    #[test]
    fn a_guest_that_waits_for_the_keyboard_controller_does_not_wait() {
        const INPUT_FULL: u8 = 0b10;
        assert_eq!(read::<1>(0x64)[0] & INPUT_FULL, 0);
    }

    #[test]
    fn the_reset_register_reads_as_not_resetting() {
        assert_eq!(read::<1>(port::RESET), [0]);
    }
}
