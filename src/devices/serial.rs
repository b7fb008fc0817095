//! The 16550 serial port.

use std::{
    convert::Infallible,
    fmt, io,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use vm_superio::{Trigger, serial::NoEvents};
use vmm_sys_util::eventfd::EventFd;

use crate::session::Input;

/// Registers by their offset. Every driver's names for them.
mod register {
    pub(super) const DATA: u8 = 0;
    pub(super) const INTERRUPT_ENABLE: u8 = 1;
    pub(super) const LINE_CONTROL: u8 = 3;
    pub(super) const MODEM_CONTROL: u8 = 4;
    pub(super) const LINE_STATUS: u8 = 5;
}

const RECEIVED_DATA_INTERRUPT: u8 = 0x01;
const DIVISOR_LATCH: u8 = 0x80;
const LOOPBACK: u8 = 0x10;

/// How often in a row a guest reads the line status when it waits for input
/// without the interrupt. A guest that sends reads it once a byte.
const POLLS: u8 = 16;

/// How long [`Serial::take`] waits for the guest to make room.
const PATIENCE: Duration = Duration::from_millis(5);

/// Raises the interrupt by writing to an eventfd.
#[derive(Debug)]
struct Interrupt(EventFd);

impl Trigger for Interrupt {
    type E = Infallible;

    /// The write fails only where the counter is full: it is signalled then.
    fn trigger(&self) -> Result<(), Infallible> {
        drop(self.0.write(1));
        Ok(())
    }
}

/// What the guest sends is handed back as the bytes it wrote, so the device
/// itself writes nowhere.
type Uart = vm_superio::Serial<Interrupt, NoEvents, io::Sink>;

/// The serial port, shared by the vCPUs and whoever types.
pub struct Serial {
    port: Mutex<Port>,
    /// The guest did something that may make room for input.
    stirred: Condvar,
}

struct Port {
    uart: Uart,
    /// How often in a row the guest has read the line status.
    polls: u8,
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serial").finish_non_exhaustive()
    }
}

impl Serial {
    pub(super) fn new(interrupt: EventFd) -> Self {
        let uart = Uart::new(Interrupt(interrupt), io::sink());
        Self { port: Mutex::new(Port { uart, polls: 0 }), stirred: Condvar::new() }
    }

    /// Reads a register, once for each byte of `data`.
    #[inline]
    pub(super) fn read(&self, offset: u16, data: &mut [u8]) {
        let register = register(offset);
        let mut port = self.lock();
        for byte in data {
            *byte = port.uart.read(register);
        }
        let is_poll = register == register::LINE_STATUS;
        port.polls = if is_poll { port.polls.saturating_add(1) } else { 0 };
        let waits = port.polls == POLLS;
        drop(port);
        if waits || register == register::DATA {
            self.stirred.notify_all();
        }
    }

    /// Writes a register, once for each byte of `data`, and gives back what
    /// went out on the line: `data`, or nothing.
    #[inline]
    pub(super) fn write<'a>(&self, offset: u16, data: &'a [u8]) -> &'a [u8] {
        let register = register(offset);
        let mut port = self.lock();
        let sends = register == register::DATA && transmits(&mut port.uart);
        for byte in data {
            // Cannot fail: neither the trigger nor the sink does.
            drop(port.uart.write(register, *byte));
        }
        port.polls = 0;
        drop(port);
        if register == register::INTERRUPT_ENABLE {
            self.stirred.notify_all();
        }
        if sends { data } else { &[] }
    }

    fn lock(&self) -> MutexGuard<'_, Port> {
        self.port.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Input for Serial {
    /// Takes input only while the guest listens: has the received-data interrupt
    /// enabled, or polls. Before that its driver reads and drops whatever is
    /// there, and a script piped into the console would lose its first bytes.
    fn take(&self, bytes: &[u8]) -> usize {
        let port = self.lock();
        let (mut port, timeout) = self
            .stirred
            .wait_timeout_while(port, PATIENCE, |port| !receives(port))
            .unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() { 0 } else { port.uart.enqueue_raw_bytes(bytes).unwrap_or(0) }
    }
}

/// The register at that offset; there are eight.
const fn register(offset: u16) -> u8 {
    (offset & 7) as u8
}

/// Whether a byte written to the data register goes out on the line.
fn transmits(uart: &mut Uart) -> bool {
    uart.read(register::LINE_CONTROL) & DIVISOR_LATCH == 0
        && uart.read(register::MODEM_CONTROL) & LOOPBACK == 0
}

/// Whether the guest listens and there is room for what it is to hear.
fn receives(Port { uart, polls }: &mut Port) -> bool {
    let listens = |uart: &mut Uart| {
        *polls >= POLLS || uart.read(register::INTERRUPT_ENABLE) & RECEIVED_DATA_INTERRUPT != 0
    };
    transmits(uart) && listens(uart) && uart.fifo_capacity() > 0
}

#[cfg(test)]
mod tests {
    use std::{
        thread,
        time::{Duration, Instant},
    };

    use super::*;
    use crate::devices::interrupt_line;

    const LINE_STATUS: u16 = 5;
    const DATA_READY: u8 = 0x01;
    const FIFO: usize = 64;

    fn serial() -> (Serial, EventFd) {
        let line = interrupt_line().unwrap();
        (Serial::new(line.try_clone().unwrap()), line)
    }

    fn read(serial: &Serial, register: u16) -> u8 {
        let mut data = [0];
        serial.read(register, &mut data);
        data[0]
    }

    fn enable_received_data_interrupt(serial: &Serial) {
        serial.write(1, &[RECEIVED_DATA_INTERRUPT]);
    }

    #[test]
    fn what_is_written_goes_out_whole() {
        let (serial, _) = serial();
        assert_eq!(serial.write(0, b"x"), b"x");
        assert_eq!(serial.write(0, b"a whole line\n"), b"a whole line\n");
    }

    #[test]
    fn divisor_and_loopback_bytes_stay_inside() {
        let (serial, _) = serial();
        serial.write(3, &[DIVISOR_LATCH]);
        assert_eq!(serial.write(0, &[1]), b"");
        serial.write(3, &[3]);
        serial.write(4, &[LOOPBACK]);
        assert_eq!(serial.write(0, b"L"), b"");
        assert_eq!(read(&serial, 0), b'L');
        serial.write(4, &[0]);
        assert_eq!(serial.write(0, b"o"), b"o");
    }

    #[test]
    fn the_line_is_always_ready_to_send() {
        let (serial, _) = serial();
        assert_eq!(read(&serial, LINE_STATUS) & 0x60, 0x60);
    }

    #[test]
    fn input_raises_the_interrupt_and_is_read_in_order() {
        let (serial, line) = serial();
        enable_received_data_interrupt(&serial);
        assert_eq!(serial.take(b"ab"), 2);
        assert_eq!(line.read().unwrap(), 1);
        assert_eq!(read(&serial, LINE_STATUS) & DATA_READY, DATA_READY);
        assert_eq!([read(&serial, 0), read(&serial, 0)], *b"ab");
        assert_eq!(read(&serial, LINE_STATUS) & DATA_READY, 0);
    }

    #[test]
    fn input_waits_until_the_guest_listens() {
        let (serial, _) = serial();
        assert_eq!(serial.take(b"early"), 0);
        enable_received_data_interrupt(&serial);
        assert_eq!(serial.take(b"later"), 5);
    }

    #[test]
    fn a_guest_that_polls_listens_too() {
        let (serial, _) = serial();
        let polls = |times: u8| {
            for _ in 0..times {
                read(&serial, LINE_STATUS);
            }
        };
        polls(POLLS - 1);
        serial.write(0, b"x");
        polls(POLLS - 1);
        assert_eq!(serial.take(b"early"), 0);
        polls(1);
        assert_eq!(serial.take(b"later"), 5);
    }

    #[test]
    fn a_full_fifo_takes_what_fits_and_then_nothing() {
        let (serial, _) = serial();
        enable_received_data_interrupt(&serial);
        assert_eq!(serial.take(&[b'x'; 100]), FIFO);
        let asked = Instant::now();
        assert_eq!(serial.take(b"y"), 0);
        assert!(asked.elapsed() >= PATIENCE, "it must not spin");
    }

    #[test]
    fn nothing_is_lost_between_a_slow_guest_and_a_fast_typist() {
        let (serial, _) = serial();
        enable_received_data_interrupt(&serial);
        let typed: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let received = thread::scope(|scope| {
            scope.spawn(|| {
                let mut rest = &typed[..];
                while !rest.is_empty() {
                    rest = &rest[serial.take(rest)..];
                }
            });
            let deadline = Instant::now() + Duration::from_secs(10);
            let mut received = Vec::new();
            while received.len() < typed.len() && Instant::now() < deadline {
                if read(&serial, LINE_STATUS) & DATA_READY != 0 {
                    received.push(read(&serial, 0));
                }
            }
            received
        });
        assert_eq!(received, typed);
    }
}
