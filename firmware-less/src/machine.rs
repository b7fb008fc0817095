//! What the guest is told of the machine, and what both engines implement.

use serde::Serialize;
use thiserror::Error;

use crate::{
    pci::{self, DEVICES_MAX, Kind, Slot},
    range::GuestRange,
};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// I/O ports. The tables that describe them to the guest and the engines that
/// answer on them use these same constants.
pub mod port {
    /// 16550 serial port, eight registers (COM1).
    pub const SERIAL: u16 = 0x3f8;
    /// Number of the serial port's registers.
    pub const SERIAL_LEN: u16 = 8;
    /// The guest writes its own exit status here, one byte.
    pub const EXIT: u16 = 0xf4;
    /// The guest writes milestone numbers here, one byte each.
    pub const MILESTONE: u16 = 0xf5;
    /// pvpanic: reading gives the supported events, writing reports one.
    pub const PVPANIC: u16 = 0x505;
    /// ACPI sleep control register. ACPI 6.5, 4.8.3.7.
    pub const SLEEP_CONTROL: u16 = 0x520;
    /// ACPI sleep status register. ACPI 6.5, 4.8.3.7.
    pub const SLEEP_STATUS: u16 = 0x521;
    /// ACPI PM1 status register, where the board has one; with the enable register
    /// behind it. ACPI 6.5, 4.8.3.1.
    pub const PM1_STATUS: u16 = 0x600;
    /// ACPI power management timer, four bytes, 3.579545 MHz. ACPI 6.5, 4.8.3.3.
    pub const PM_TIMER: u16 = 0x608;
    /// Reset control register; [`super::RESET_VALUE`] resets. ACPI 6.5, 4.8.3.6.
    pub const RESET: u16 = 0xcf9;
    /// RTC and CMOS index and data; described only where the engine has one.
    pub const RTC: u16 = 0x70;
}

/// GSI of the serial port.
pub const SERIAL_IRQ: u32 = 4;
/// GSI of the RTC, where there is one.
pub const RTC_IRQ: u32 = 8;
/// GSI of the power button, where there is one: the SCI of a PC.
pub const POWER_BUTTON_IRQ: u32 = 9;
/// The power button in the PM1 status and enable registers. ACPI 6.5, tables 4.11
/// and 4.12.
pub const PM1_POWER_BUTTON: u16 = 1 << 8;
/// What the guest writes to [`port::RESET`].
pub const RESET_VALUE: u8 = 6;
/// The S5 sleep type in the DSDT.
pub const SLEEP_TYPE_S5: u8 = 5;
/// What the guest writes to [`port::SLEEP_CONTROL`] to power off:
/// SLP_TYP in bits 2–4 and SLP_EN, bit 5. ACPI 6.5, table 4.19.
pub const SLEEP_CONTROL_S5: u8 = (SLEEP_TYPE_S5 << 2) | 1 << 5;
/// The bits of [`port::SLEEP_CONTROL`] that count: SLP_TYP and SLP_EN.
pub const SLEEP_CONTROL_BITS: u8 = 0b0011_1100;
/// pvpanic event bits that the device knows: panicked, crash kernel loaded.
pub const PVPANIC_EVENTS: u8 = 0b11;
/// pvpanic: the guest panicked.
pub const PVPANIC_PANICKED: u8 = 0b01;
/// pvpanic: the guest panicked and a crash kernel takes over.
pub const PVPANIC_CRASH_LOADED: u8 = 0b10;
/// Ticks a second of the power management timer.
pub const PM_TIMER_HZ: u64 = 3_579_545;

/// The local APICs' page.
pub const LAPIC: GuestRange = GuestRange::constant(0xfee0_0000, 0x1000);
/// The I/O APIC's page.
pub const IOAPIC: GuestRange = GuestRange::constant(0xfec0_0000, 0x1000);
/// PCI configuration space by ECAM; reserved whether or not there are devices.
pub const ECAM: GuestRange = GuestRange::constant(0xb000_0000, 256 * MIB);
/// The hole in RAM: everything that is not RAM below 4 GiB lies in it.
pub const RAM_HOLE: GuestRange = GuestRange::constant(2 * GIB, 2 * GIB);
/// Pages that KVM on Intel wants outside RAM (TSS and identity map).
pub const KVM_TSS: GuestRange = GuestRange::constant(0xfffb_c000, 4 * 4096);

const _: () = {
    let in_hole = [ECAM, IOAPIC, LAPIC, KVM_TSS];
    let mut i = 0;
    while i < in_hole.len() {
        assert!(RAM_HOLE.contains(in_hole[i]), "must lie in the hole");
        assert!(i == 0 || in_hole[i - 1].end() <= in_hole[i].start(), "must ascend");
        i += 1;
    }
};

/// The least RAM a machine can have.
pub const MEMORY_MIN: u64 = 32 * MIB;
/// The most RAM: what fits below 2⁴⁶ together with the hole.
pub const MEMORY_MAX: u64 = (1 << 46) - 2 * GIB;
/// The most vCPUs: xAPIC IDs are one byte and 255 is the broadcast.
pub const CPUS_MAX: u32 = 254;

/// The size of the leaves in the page tables the kernel is entered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
pub enum LeafSize {
    /// 2 MiB leaves everywhere.
    #[default]
    #[serde(rename = "2M")]
    Mib2,
    /// 1 GiB leaves for whole GiBs, 2 MiB for the rest, as kexec uses where the
    /// CPU has `pdpe1gb`.
    #[serde(rename = "1G")]
    Gib1,
}

/// What is there beside what every machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Board {
    /// Nothing.
    #[default]
    Bare,
    /// QEMU's q35: a real-time clock, and a ROM in place of RAM in the last
    /// 64 KiB below 1 MiB.
    Q35,
}

/// The virtual machine, as the guest sees it.
///
/// A pure value: nothing in it depends on the host, so the same options give
/// the same plan everywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Machine {
    memory: u64,
    cpus: u32,
    leaf_size: LeafSize,
    five_level: bool,
    board: Board,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    devices: Vec<Kind>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    power_button: bool,
}

/// A machine that cannot be.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// RAM outside the limits.
    #[error("{found:#x} bytes of memory, need {MEMORY_MIN:#x} to {MEMORY_MAX:#x}")]
    Memory {
        /// What was asked for, in bytes.
        found: u64,
    },
    /// RAM that is not whole 2 MiB pages.
    #[error("{found:#x} bytes of memory are not a multiple of 2 MiB")]
    MemoryAlignment {
        /// What was asked for, in bytes.
        found: u64,
    },
    /// A number of vCPUs outside the limits.
    #[error("{found} vCPUs, need 1 to {CPUS_MAX}")]
    Cpus {
        /// What was asked for.
        found: u32,
    },
    /// More devices than slots.
    #[error("{found} devices on PCI, which has room for {DEVICES_MAX}")]
    Devices {
        /// What was asked for.
        found: usize,
    },
}

impl Machine {
    /// A machine with `memory` bytes of RAM, a multiple of 2 MiB, and `cpus` vCPUs.
    pub fn new(memory: u64, cpus: u32) -> Result<Self, Error> {
        if !(MEMORY_MIN..=MEMORY_MAX).contains(&memory) {
            return Err(Error::Memory { found: memory });
        }
        if !memory.is_multiple_of(2 * MIB) {
            return Err(Error::MemoryAlignment { found: memory });
        }
        if !(1..=CPUS_MAX).contains(&cpus) {
            return Err(Error::Cpus { found: cpus });
        }
        Ok(Self {
            memory,
            cpus,
            leaf_size: LeafSize::default(),
            five_level: false,
            board: Board::default(),
            devices: Vec::new(),
            power_button: false,
        })
    }

    /// The same machine with other page-table leaves.
    #[must_use]
    pub fn with_leaf_size(self, leaf_size: LeafSize) -> Self {
        Self { leaf_size, ..self }
    }

    /// The same machine, entered with five-level paging or not.
    #[must_use]
    pub fn with_five_level(self, five_level: bool) -> Self {
        Self { five_level, ..self }
    }

    /// The same machine on another board.
    #[must_use]
    pub fn with_board(self, board: Board) -> Self {
        Self { board, ..self }
    }

    /// The same machine with a power button, or without.
    #[must_use]
    pub fn with_power_button(self, power_button: bool) -> Self {
        Self { power_button, ..self }
    }

    /// The same machine with `devices` on its PCI bus, each in the next slot.
    pub fn with_devices(self, devices: Vec<Kind>) -> Result<Self, Error> {
        if devices.len() > DEVICES_MAX {
            return Err(Error::Devices { found: devices.len() });
        }
        Ok(Self { devices, ..self })
    }

    /// RAM in bytes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.memory
    }

    /// The number of vCPUs; their local APIC IDs count from 0.
    #[must_use]
    pub fn cpus(&self) -> u32 {
        self.cpus
    }

    /// The size of page-table leaves at entry.
    #[must_use]
    pub fn leaf_size(&self) -> LeafSize {
        self.leaf_size
    }

    /// Whether the kernel is entered with five-level paging.
    #[must_use]
    pub fn five_level(&self) -> bool {
        self.five_level
    }

    /// What is there beside what every machine has.
    #[must_use]
    pub fn board(&self) -> Board {
        self.board
    }

    /// Whether there is an RTC at ports 0x70 and 0x71.
    #[must_use]
    pub fn rtc(&self) -> bool {
        self.board == Board::Q35
    }

    /// Whether there is a power button that the guest is told of.
    #[must_use]
    pub fn has_power_button(&self) -> bool {
        self.power_button
    }

    /// Whether there is a PCI bus that the guest is told of.
    #[must_use]
    pub fn has_pci(&self) -> bool {
        !self.devices.is_empty()
    }

    /// Whether there is a virtio console beside the serial port.
    #[must_use]
    pub fn has_console(&self) -> bool {
        self.devices.contains(&Kind::Console)
    }

    /// Whether there are sockets between guest and host.
    #[must_use]
    pub fn has_vsock(&self) -> bool {
        self.devices.contains(&Kind::Vsock)
    }

    /// Whether another process sees its memory, since it has a folder of the host's.
    #[must_use]
    pub fn has_shares(&self) -> bool {
        self.devices.contains(&Kind::Share)
    }

    /// What is on the PCI bus, by slot, ascending.
    pub fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        pci::slots(&self.devices)
    }

    /// Where RAM is: one range from 0, and a second from 4 GiB for what does
    /// not fit below [`RAM_HOLE`].
    pub fn ram(&self) -> impl Iterator<Item = GuestRange> + use<> {
        let low = self.memory.min(RAM_HOLE.start());
        let high = self.memory.saturating_sub(low);
        [GuestRange::new(0, low), GuestRange::new(RAM_HOLE.end(), high)].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ram_beyond_the_hole_goes_above_four_gib() {
        let ram = |gib: u64| Machine::new(gib * GIB, 1).unwrap().ram().collect::<Vec<_>>();
        assert_eq!(ram(1), [GuestRange::constant(0, GIB)]);
        assert_eq!(ram(2), [GuestRange::constant(0, 2 * GIB)]);
        assert_eq!(
            ram(6),
            [GuestRange::constant(0, 2 * GIB), GuestRange::constant(4 * GIB, 4 * GIB)]
        );
    }

    #[test]
    fn a_machine_says_what_it_was_asked_and_what_it_can_do() {
        assert_eq!(
            Machine::new(MIB, 1).unwrap_err().to_string(),
            "0x100000 bytes of memory, need 0x2000000 to 0x3fff80000000"
        );
        assert_eq!(
            Machine::new(GIB + 4096, 1).unwrap_err().to_string(),
            "0x40001000 bytes of memory are not a multiple of 2 MiB"
        );
        assert_eq!(Machine::new(GIB, 0).unwrap_err().to_string(), "0 vCPUs, need 1 to 254");
        assert_eq!(Machine::new(GIB, 255).unwrap_err(), Error::Cpus { found: 255 });
    }

    #[test]
    fn a_machine_has_the_kinds_of_devices_that_it_was_given_and_no_others() {
        let has = |kind| {
            let machine =
                Machine::new(GIB, 1).unwrap().with_devices(vec![Kind::Disk, kind]).unwrap();
            [machine.has_console(), machine.has_vsock(), machine.has_shares()]
        };
        assert_eq!(has(Kind::Console), [true, false, false]);
        assert_eq!(has(Kind::Vsock), [false, true, false]);
        assert_eq!(has(Kind::Share), [false, false, true]);
        assert_eq!(has(Kind::Random), [false; 3]);
    }

    #[test]
    fn each_device_has_a_slot_and_there_are_no_more_devices_than_slots() {
        let machine = || Machine::new(GIB, 1).unwrap();
        let two = machine().with_devices(vec![Kind::Disk, Kind::Random]).unwrap();
        let slots: Vec<_> = two.slots().map(|slot| (slot.number, slot.kind)).collect();
        assert_eq!(slots, [(1, Kind::Disk), (2, Kind::Random)]);
        let full = machine().with_devices(vec![Kind::Disk; 30]).unwrap();
        assert_eq!(full.slots().last().map(|slot| slot.number), Some(30));
        assert_eq!(
            machine().with_devices(vec![Kind::Disk; 31]).unwrap_err().to_string(),
            "31 devices on PCI, which has room for 30"
        );
    }

    #[test]
    fn power_off_is_the_byte_linux_writes() {
        assert_eq!(SLEEP_CONTROL_S5, 0x34);
    }

    #[test]
    fn a_machine_is_what_it_was_made() {
        let plain = Machine::new(GIB, 3).unwrap();
        assert_eq!((plain.memory(), plain.cpus(), plain.board()), (GIB, 3, Board::Bare));
        assert!(!plain.five_level() && !plain.has_power_button() && !plain.rtc());
        let other = plain
            .with_leaf_size(LeafSize::Gib1)
            .with_five_level(true)
            .with_board(Board::Q35)
            .with_power_button(true);
        assert_eq!((other.memory(), other.cpus(), other.board()), (GIB, 3, Board::Q35));
        assert_eq!(other.leaf_size(), LeafSize::Gib1);
        assert!(other.five_level() && other.has_power_button() && other.rtc());
    }

    #[test]
    fn what_is_not_ram_lies_where_the_hypervisor_and_the_processor_want_it() {
        assert_eq!(KVM_TSS, GuestRange::constant(0xfffb_c000, 0x4000));
        assert_eq!(MEMORY_MAX, 0x3fff_8000_0000);
    }
}
