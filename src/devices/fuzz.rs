//! Targets for fuzzing: what a guest may do to devices, taken out of any bytes.
//!
//! As those of [`firmware_less::testing::fuzz`], they are driven by libFuzzer (`make fuzz`)
//! and, for a moment, by tests.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a target stops where something does not hold"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use firmware_less::{
    machine::{ECAM, Machine, port},
    testing::fuzz::{Input, Target},
};
use vmm_sys_util::eventfd::EventFd;

use super::{
    Devices, Effect, interrupt_line,
    pci::{Bus, Message, Wiring},
    virtio::{self, Broken, Device, Driver},
};
use crate::engine::kvm::GuestMemory;
#[cfg(debug_assertions)]
use crate::sandbox::trial;

/// The targets of this crate.
pub const TARGETS: [Target; 4] = [
    Target { name: "ports", run: ports, seeds: ports_seeds },
    Target { name: "pci", run: pci, seeds: pci_seeds },
    Target { name: "queue", run: virtio::fuzz::queue, seeds: virtio::fuzz::seeds },
    Target { name: "devices", run: virtio::fuzz::devices, seeds: virtio::fuzz::device_seeds },
];

/// Where the function's memory is put by most seeds.
const BAR: u32 = 0xc000_0000;
/// What every device of these targets is: an ID that no other test has.
const ID: u32 = 40;

thread_local! {
    /// Guest memory, of which these targets use nothing.
    static MEMORY: GuestMemory =
        GuestMemory::new(&Machine::new(32 << 20, 1).expect("a machine")).expect("memory");
}

/// A device that does nothing, by two queues.
#[derive(Debug)]
struct Idle;

impl Device for Idle {
    fn id(&self) -> u32 {
        ID
    }

    fn name(&self) -> &'static str {
        "idle"
    }

    fn queue_sizes(&self) -> &[u16] {
        &[16, 256]
    }

    fn config(&self) -> &[u8] {
        b"config"
    }

    fn serve(&mut self, driver: &mut Driver) -> Result<(), Broken> {
        while driver.wait() != virtio::Ready::Stop {}
        Ok(())
    }
}

/// Wires that know what is tied to what, as KVM does, and hold those who tie to it.
#[derive(Debug, Default)]
struct Wires {
    lines: Mutex<BTreeMap<u32, Message>>,
    bells: Mutex<BTreeSet<u64>>,
}

impl Wires {
    fn lines(&self) -> MutexGuard<'_, BTreeMap<u32, Message>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bells(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wiring for Wires {
    fn connect(&self, line: u32, _: &EventFd, message: Message) -> io::Result<()> {
        assert_eq!(self.lines().insert(line, message), None, "line {line} was connected");
        Ok(())
    }

    fn reroute(&self, line: u32, message: Message) -> io::Result<()> {
        let old = self.lines().insert(line, message);
        assert!(old.is_some_and(|old| old != message), "line {line} was {old:?}");
        Ok(())
    }

    fn disconnect(&self, line: u32, _: &EventFd) -> io::Result<()> {
        assert!(self.lines().remove(&line).is_some(), "line {line} was not connected");
        Ok(())
    }

    fn hang_bell(&self, address: u64, _: &EventFd) -> io::Result<()> {
        assert!(self.bells().insert(address), "a bell hangs at {address:#x}");
        Ok(())
    }

    fn take_bell(&self, address: u64, _: &EventFd) -> io::Result<()> {
        assert!(self.bells().remove(&address), "no bell hangs at {address:#x}");
        Ok(())
    }
}

/// A bus with one device, and its wires.
fn bus() -> (Bus, Arc<Wires>) {
    let wires = Arc::new(Wires::default());
    let wiring: Arc<dyn Wiring> = wires.clone();
    let bus = MEMORY.with(|memory| Bus::new(vec![Box::new(Idle)], memory, &wiring));
    (bus.expect("a bus"), wires)
}

/// Accesses to any port and any address of memory.
fn ports(bytes: &[u8]) {
    const PLACES: [u64; 5] = [0, ECAM.start(), BAR as u64, 0xfee0_0000, u64::MAX - 0xffff];
    let mut input = Input::new(bytes);
    let bus = input.flag().then(|| bus().0);
    let devices = Devices::new(interrupt_line().expect("an eventfd")).with_bus(bus);
    while !input.is_over() {
        let kind = input.byte();
        let at = input.number();
        let data = input.bytes();
        let number = u16::try_from(at & 0xffff).unwrap_or_default();
        let address = PLACES[usize::from(kind >> 2) % PLACES.len()].wrapping_add(at);
        // By that one a debug build breaks the rules of the sandbox.
        #[cfg(debug_assertions)]
        if number == trial::PORT {
            continue;
        }
        // So that it shows what was not answered.
        let mut answer = vec![0x5a; data.len()];
        match kind % 4 {
            0 => devices.read(number, &mut answer),
            1 => assert_effect(number, data, &devices.write(number, data)),
            2 => devices.read_memory(address, &mut answer),
            _ => devices.write_memory(address, data),
        }
    }
}

/// That a write does nothing but what that port is for.
fn assert_effect(port: u16, data: &[u8], effect: &Effect<'_>) {
    let expected = match effect {
        Effect::None => return,
        Effect::Output(sent) => *sent == data && port == port::SERIAL,
        Effect::Milestones(sent) => *sent == data && port == port::MILESTONE,
        Effect::Panicked => port == port::PVPANIC,
        Effect::End(_) => {
            [port::EXIT, port::SLEEP_CONTROL, port::RESET, port::PVPANIC, 0x64].contains(&port)
        }
    };
    assert!(expected, "{effect:?} of {data:02x?} to {port:#x}");
}

fn ports_seeds() -> Vec<Vec<u8>> {
    let write = |port: u16, data: &[u8]| access(1, &port.to_le_bytes(), data);
    let some = [
        write(port::SERIAL, b"hello"),
        write(port::SERIAL + 1, &[1]),
        access(0, &(port::SERIAL + 5).to_le_bytes(), &[0]),
        write(port::MILESTONE, &[1, 2]),
        write(port::PVPANIC, &[1]),
        access(0, &port::PM_TIMER.to_le_bytes(), &[0; 4]),
        write(port::EXIT, &[3]),
        write(port::RESET, &[6]),
        write(port::SLEEP_CONTROL, &[0x34]),
        write(0xcf8, &0x8000_0800_u32.to_le_bytes()),
        access(0, &0xcfc_u16.to_le_bytes(), &[0; 4]),
        access(4 + 2, &0x8000_u16.to_le_bytes(), &[0; 4]),
        access(4 + 3, &0x8004_u16.to_le_bytes(), &[6, 0]),
    ];
    vec![[&[0][..], &some.concat()].concat(), [&[1][..], &some.concat()].concat()]
}

/// Bytes out of which a target takes an access of that kind.
fn access(kind: u8, at: &[u8], data: &[u8]) -> Vec<u8> {
    let len = |bytes: &[u8]| u8::try_from(bytes.len()).expect("it is short");
    [&[kind, len(at)], at, &[len(data)], data].concat()
}

/// Accesses to one function: its configuration space, by both ways, and its memory.
fn pci(bytes: &[u8]) {
    let (bus, wires) = bus();
    let config = |at: u64| ECAM.start() + (1 << 15) + at;
    let word = |at: u64| {
        let mut data = [0; 4];
        bus.read_memory(config(at), &mut data);
        u32::from_le_bytes(data)
    };
    let identity = [0, 8, 0x2c].map(word);
    let mut input = Input::new(bytes);
    while !input.is_over() {
        let kind = input.byte();
        let at = input.number();
        let data = input.bytes();
        let mut answer = vec![0x5a; data.len()];
        // Where its memory is by now.
        let base = u64::from(word(0x10));
        match kind % 6 {
            0 => bus.read_memory(config(at & 0xfff), &mut answer),
            1 => bus.write_memory(config(at & 0xfff), data),
            2 => bus.read_memory(base.wrapping_add(at & 0xffff), &mut answer),
            3 => bus.write_memory(base.wrapping_add(at & 0xffff), data),
            4 => drop(bus.write_port(0xcf8, &(0x8000_0800 | low(at) & 0xff).to_le_bytes())),
            _ => drop(bus.write_port(0xcfc + u16::from(kind / 6 % 4), data)),
        }
        assert_wired(&wires, [0x04, 0x10].map(word));
    }
    assert_eq!([0, 8, 0x2c].map(word), identity, "it is who it was");
    // The window may change by being looked at; the registers before it do not.
    for at in (0..0x40_u8).step_by(4) {
        let mut data = [0; 4];
        assert!(bus.write_port(0xcf8, &(0x8000_0800 | u32::from(at)).to_le_bytes()));
        assert!(bus.read_port(0xcfc, &mut data));
        assert_eq!(u32::from_le_bytes(data), word(at.into()), "register {at:#x} by both ways");
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
fn low(number: u64) -> u32 {
    number as u32
}

/// That lines are those of the function, and that bells hang where its memory is.
fn assert_wired(wires: &Wires, [command, bar]: [u32; 2]) {
    assert!(wires.lines().keys().all(|line| *line < 3), "one for each queue, and one more");
    let answers = command & 2 != 0 && bar != 0;
    let hang: Vec<u64> = wires.bells().iter().copied().collect();
    let wanted = [0x3000, 0x3004].map(|at| u64::from(bar) + at);
    assert_eq!(hang, if answers { wanted.to_vec() } else { Vec::new() });
}

fn pci_seeds() -> Vec<Vec<u8>> {
    let put = |kind: u8, at: u16, data: &[u8]| access(kind, &at.to_le_bytes(), data);
    let map = [put(1, 0x10, &BAR.to_le_bytes()), put(1, 4, &[6, 0])].concat();
    let vector = [&0xfee0_1000_u64.to_le_bytes()[..], &[0x21, 0, 0, 0, 0, 0, 0, 0]].concat();
    let interrupts = [put(3, 0x4000, &vector), put(1, 0x42, &[2, 0x80]), put(2, 0x5000, &[0; 8])];
    let features = [put(3, 20, &[1]), put(3, 20, &[3]), put(3, 8, &[1, 0, 0, 0]), put(3, 12, &[1])];
    let queue = [put(3, 22, &[0, 0]), put(3, 24, &[16, 0]), put(3, 32, &[0, 16, 0, 0, 0, 0, 0, 0])];
    let ready = [put(3, 20, &[11]), put(3, 28, &[1, 0]), put(3, 20, &[15]), put(3, 20, &[0])];
    vec![
        [&map[..], &interrupts.concat()].concat(),
        [&map[..], &features.concat(), &queue.concat(), &ready.concat()].concat(),
        [put(4, 0x10, &[]), put(5, 0, &[0xff; 4]), map].concat(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(name: &str, runs: usize) {
        let target = TARGETS.into_iter().find(|target| target.name == name);
        target.unwrap().run_changed(runs);
    }

    #[test]
    fn no_access_to_a_port_does_what_it_is_not_for() {
        holds("ports", 20_000);
    }

    #[test]
    fn a_function_is_wired_as_its_registers_say_whatever_is_written_to_them() {
        holds("pci", 5_000);
    }

    #[test]
    fn a_queue_is_walked_as_the_standard_has_it_whatever_is_in_it() {
        holds("queue", 20_000);
    }
    #[test]
    fn a_device_writes_nowhere_but_where_its_driver_lets_it() {
        holds("devices", 5_000);
    }
}
