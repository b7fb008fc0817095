//! A function's configuration space: registers, and which of their bits a guest can
//! change. PCI Local Bus Specification 3.0, 6.1.

/// The registers that a function has. What follows up to 4 KiB is for extended
/// capabilities, of which there are none.
const LEN: usize = 256;
/// The first byte that capabilities may take.
const CAPABILITIES: u8 = 0x40;

/// Offsets of registers that others look at.
pub(super) mod register {
    pub(in super::super) const ID: u8 = 0x00;
    pub(in super::super) const COMMAND: u8 = 0x04;
    pub(in super::super) const STATUS: u8 = 0x06;
    pub(in super::super) const REVISION_AND_CLASS: u8 = 0x08;
    pub(in super::super) const BAR0: u8 = 0x10;
    pub(in super::super) const SUBSYSTEM: u8 = 0x2c;
    pub(in super::super) const CAPABILITIES: u8 = 0x34;
    pub(in super::super) const INTERRUPT_LINE: u8 = 0x3c;
}

/// COMMAND: answers in memory space.
const MEMORY: u32 = 1 << 1;
/// COMMAND: may read and write memory by itself.
const BUS_MASTER: u32 = 1 << 2;
/// COMMAND: has no interrupt line, which none here has.
const NO_INTERRUPT_LINE: u32 = 1 << 10;
/// STATUS: has capabilities.
const HAS_CAPABILITIES: u32 = 1 << 4;

/// Who made what.
#[derive(Clone, Copy, Debug)]
pub(in crate::devices) struct Identity {
    pub(in crate::devices) vendor: u16,
    pub(in crate::devices) device: u16,
    /// Base class, subclass, programming interface, from the high byte on.
    pub(in crate::devices) class: u32,
    pub(in crate::devices) revision: u8,
}

/// A configuration space.
#[derive(Debug)]
pub(in crate::devices) struct ConfigSpace {
    bytes: [u8; LEN],
    /// The bits that the guest's writes change.
    writable: [u8; LEN],
    /// Where the next capability goes, and where the link to it is.
    free: u8,
    link: u8,
}

impl ConfigSpace {
    /// A function without BARs or capabilities.
    pub(in crate::devices) fn new(identity: Identity) -> Self {
        let link = register::CAPABILITIES;
        let mut space = Self { bytes: [0; LEN], writable: [0; LEN], free: CAPABILITIES, link };
        let Identity { vendor, device, class, revision } = identity;
        space.put(register::ID, &[vendor.to_le_bytes(), device.to_le_bytes()].concat());
        space.put(register::REVISION_AND_CLASS, &(class << 8 | u32::from(revision)).to_le_bytes());
        space.let_write(register::COMMAND, MEMORY | BUS_MASTER | NO_INTERRUPT_LINE);
        space.let_write(register::INTERRUPT_LINE, 0xff);
        space
    }

    /// Gives the function another name, by its subsystem.
    pub(in crate::devices) fn set_subsystem(&mut self, vendor: u16, device: u16) {
        self.put(register::SUBSYSTEM, &[vendor.to_le_bytes(), device.to_le_bytes()].concat());
    }

    /// Gives the function `size` bytes of memory space, a power of two, by its first BAR.
    pub(in crate::devices) fn set_memory(&mut self, size: u32) {
        debug_assert!(size.is_power_of_two() && size >= 16, "what a BAR can tell");
        self.let_write(register::BAR0, size.wrapping_neg());
    }

    /// Adds a capability with `body` behind its two bytes of header, and says where it is.
    pub(in crate::devices) fn add_capability(&mut self, id: u8, body: &[u8]) -> u8 {
        let at = self.free;
        self.put(self.link, &[at]);
        self.put(at, &[&[id, 0], body].concat());
        self.link = at.wrapping_add(1);
        let len = u8::try_from(body.len()).unwrap_or(u8::MAX).saturating_add(2);
        self.free = at.saturating_add(len.next_multiple_of(4));
        self.put(register::STATUS, &HAS_CAPABILITIES.to_le_bytes()[..2]);
        at
    }

    /// Lets the guest change the bits of the register at `at` that `mask` has set.
    pub(in crate::devices) fn let_write(&mut self, at: u8, mask: u32) {
        for (writable, mask) in self.writable.iter_mut().skip(at.into()).zip(mask.to_le_bytes()) {
            *writable |= mask;
        }
    }

    /// The bytes at `at`; beyond the registers they are zero.
    pub(in crate::devices) fn read(&self, at: u16, data: &mut [u8]) {
        let bytes = self.bytes.iter().skip(at.into()).chain(std::iter::repeat(&0));
        for (byte, of_register) in data.iter_mut().zip(bytes) {
            *byte = *of_register;
        }
    }

    /// Changes what the guest may change of the bytes at `at`.
    pub(in crate::devices) fn write(&mut self, at: u16, data: &[u8]) {
        let registers = self.bytes.iter_mut().zip(&self.writable).skip(at.into());
        for ((byte, writable), new) in registers.zip(data) {
            *byte = (*byte & !writable) | (new & writable);
        }
    }

    /// The 32 bits at `at`.
    pub(in crate::devices) fn word(&self, at: u8) -> u32 {
        let mut bytes = [0; 4];
        self.read(at.into(), &mut bytes);
        u32::from_le_bytes(bytes)
    }

    /// Where the function's memory is, if it is anywhere.
    pub(in crate::devices) fn memory(&self) -> Option<u64> {
        let answers = self.word(register::COMMAND) & MEMORY != 0;
        let base = u64::from(self.word(register::BAR0));
        (answers && base != 0).then_some(base)
    }

    /// Shows what was read through the window.
    pub(in crate::devices) fn put_window(&mut self, at: u8, bytes: [u8; 4]) {
        self.put(at, &bytes);
    }

    fn put(&mut self, at: u8, bytes: &[u8]) {
        for (byte, new) in self.bytes.iter_mut().skip(at.into()).zip(bytes) {
            *byte = *new;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> ConfigSpace {
        let identity = Identity { vendor: 0x1af4, device: 0x1042, class: 0x01_0000, revision: 1 };
        let mut space = ConfigSpace::new(identity);
        space.set_memory(0x8000);
        space
    }

    #[test]
    fn it_says_who_it_is() {
        assert_eq!(space().word(register::ID), 0x1042_1af4);
        assert_eq!(space().word(register::REVISION_AND_CLASS), 0x0100_0001);
    }

    #[test]
    fn a_bar_tells_its_size_to_whoever_writes_ones() {
        let mut space = space();
        space.write(0x10, &[0xff; 4]);
        assert_eq!(space.word(register::BAR0), 0xffff_8000);
        space.write(0x14, &[0xff; 4]);
        assert_eq!(space.word(0x14), 0, "there is no second one");
    }

    #[test]
    fn memory_is_where_the_bar_says_once_it_is_turned_on() {
        let mut space = space();
        space.write(0x10, &0xc000_0000_u32.to_le_bytes());
        assert_eq!(space.memory(), None);
        space.write(0x04, &[0b10]);
        assert_eq!(space.memory(), Some(0xc000_0000));
        space.write(0x10, &[0; 4]);
        assert_eq!(space.memory(), None, "a BAR of zero was not assigned yet");
    }

    #[test]
    fn capabilities_are_a_list() {
        let mut space = space();
        let first = space.add_capability(0x11, &[1; 10]);
        let second = space.add_capability(0x09, &[2; 15]);
        assert_eq!(space.word(0x34) & 0xff, u32::from(first));
        assert_eq!(space.word(first), 0x0101_0011 | u32::from(second) << 8);
        assert_eq!(space.word(second), 0x0202_0009);
        assert!(second.is_multiple_of(4));
        assert_eq!(space.word(0x04) >> 16, 1 << 4);
    }

    #[test]
    fn writes_of_any_width_anywhere_change_only_what_may_change() {
        for at in 0..300 {
            for width in 1..=8 {
                let mut space = space();
                space.write(at, &[0xff; 8][..width]);
                assert_eq!(space.word(register::ID), 0x1042_1af4);
                assert_eq!(space.word(register::COMMAND) & !0x406, 0);
                let mut data = [0; 8];
                space.read(at, &mut data[..width]);
            }
        }
    }
}
