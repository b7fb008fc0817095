//! MSI-X: a function's interrupts, each a message that the guest chooses.
//! PCI Local Bus Specification 3.0, 6.8.2.
//!
//! A vector that is masked is one whose eventfd is connected to nothing: it keeps what was
//! signalled meanwhile, and so is its own pending bit.

use std::sync::Arc;

use vmm_sys_util::eventfd::EventFd;

use super::{Message, Wiring};
use crate::devices::interrupt_line;

/// The capability's ID.
pub(in crate::devices) const CAPABILITY: u8 = 0x11;
/// Message control: the bits that the guest sets.
pub(in crate::devices) const CONTROL_WRITABLE: u16 = ENABLE | FUNCTION_MASK;

const ENABLE: u16 = 1 << 15;
const FUNCTION_MASK: u16 = 1 << 14;
/// Bytes of an entry of the table.
const ENTRY: usize = 16;
/// Vector control, the last word of an entry: masked.
const MASKED: u8 = 1;
const VECTOR_CONTROL: usize = 12;

/// The table, and what it comes to.
#[derive(Debug)]
pub(in crate::devices) struct Msix {
    wiring: Arc<dyn Wiring>,
    control: u16,
    vectors: Vec<Vector>,
}

#[derive(Debug)]
struct Vector {
    /// The engine's number for it.
    line: u32,
    signal: EventFd,
    entry: [u8; ENTRY],
    /// What the signal raises now.
    connected: Option<Message>,
}

impl Msix {
    /// `count` vectors as after reset, whose lines are numbered from `first_line` on.
    pub(in crate::devices) fn new(
        wiring: Arc<dyn Wiring>,
        first_line: u32,
        count: u16,
    ) -> std::io::Result<Self> {
        let mut entry = [0; ENTRY];
        entry[VECTOR_CONTROL] = MASKED;
        let lines = first_line..first_line.saturating_add(count.into());
        let vectors = lines
            .map(|line| Ok(Vector { line, signal: interrupt_line()?, entry, connected: None }))
            .collect::<std::io::Result<_>>()?;
        Ok(Self { wiring, control: 0, vectors })
    }

    /// What follows the capability's header, with the table and the pending bits at these
    /// offsets in the first BAR.
    pub(in crate::devices) fn capability(&self, table: u32, pending: u32) -> [u8; 10] {
        let last = u16::try_from(self.vectors.len().saturating_sub(1)).unwrap_or(u16::MAX);
        let mut body = [0; 10];
        body[..2].copy_from_slice(&last.to_le_bytes());
        body[2..6].copy_from_slice(&table.to_le_bytes());
        body[6..].copy_from_slice(&pending.to_le_bytes());
        body
    }

    /// What raises that vector, if there is one.
    pub(in crate::devices) fn signal(&self, vector: u16) -> Option<&EventFd> {
        self.vectors.get(usize::from(vector)).map(|vector| &vector.signal)
    }

    /// How many vectors there are.
    pub(in crate::devices) fn len(&self) -> usize {
        self.vectors.len()
    }

    /// The guest wrote the message control register.
    pub(in crate::devices) fn set_control(&mut self, control: u16) {
        if control & CONTROL_WRITABLE != self.control {
            self.control = control & CONTROL_WRITABLE;
            (0..self.vectors.len()).for_each(|vector| self.wire(vector));
        }
    }

    /// The bytes at `at` in the table.
    pub(in crate::devices) fn read_table(&self, at: usize, data: &mut [u8]) {
        let bytes = self.vectors.iter().flat_map(|vector| vector.entry);
        for (byte, of_table) in data.iter_mut().zip(bytes.skip(at).chain(std::iter::repeat(0))) {
            *byte = of_table;
        }
    }

    /// The guest wrote the bytes at `at` in the table.
    pub(in crate::devices) fn write_table(&mut self, at: usize, data: &[u8]) {
        let bytes = self.vectors.iter_mut().flat_map(|vector| &mut vector.entry);
        for (of_table, byte) in bytes.skip(at).zip(data) {
            *of_table = *byte;
        }
        let last = at.saturating_add(data.len().saturating_sub(1)) / ENTRY;
        (at / ENTRY..=last).for_each(|vector| self.wire(vector));
    }

    /// The bytes at `at` in the array of pending bits.
    pub(in crate::devices) fn read_pending(&self, at: usize, data: &mut [u8]) {
        for (byte, of_bits) in data.iter_mut().zip(at..) {
            let vectors = self.vectors.iter().skip(of_bits.saturating_mul(8)).take(8);
            *byte = vectors
                .enumerate()
                .fold(0, |bits, (bit, vector)| bits | u8::from(vector.is_pending()) << bit);
        }
    }

    /// Ties the vector's eventfd to what its entry says by now. What the engine refuses, a
    /// message to nowhere, raises nothing.
    fn wire(&mut self, vector: usize) {
        let on = self.control & CONTROL_WRITABLE == ENABLE;
        let Some(vector) = self.vectors.get_mut(vector) else { return };
        let wanted = vector.message().filter(|_| on);
        let Vector { line, signal, connected, .. } = vector;
        let done = match (*connected, wanted) {
            (None, Some(message)) => self.wiring.connect(*line, signal, message),
            (Some(_), None) => self.wiring.disconnect(*line, signal),
            (Some(old), Some(new)) if old != new => self.wiring.reroute(*line, new),
            _ => return,
        };
        if done.is_ok() {
            *connected = wanted;
        }
    }
}

impl Vector {
    /// What it raises, if it is not masked.
    fn message(&self) -> Option<Message> {
        let (address, rest) = self.entry.split_first_chunk()?;
        let (data, [control, ..]) = rest.split_first_chunk()? else { return None };
        let address = u64::from_le_bytes(*address);
        let data = u32::from_le_bytes(*data);
        (control & MASKED == 0).then_some(Message { address, data })
    }

    fn is_pending(&self) -> bool {
        // Whoever looks at the counter takes it, and is to give it back.
        let count = if self.connected.is_none() { self.signal.read().ok() } else { None };
        count.is_some_and(|count| self.signal.write(count).is_ok())
    }
}
