//! What ties devices on PCI to a VM of KVM: irqfds, their routes, and ioeventfds.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use kvm_bindings::{
    KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQ_ROUTING_MSI, KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER,
    KVM_IRQCHIP_PIC_SLAVE, KvmIrqRouting, kvm_irq_routing_entry,
    kvm_irq_routing_entry__bindgen_ty_1, kvm_irq_routing_irqchip, kvm_irq_routing_msi,
};
use kvm_ioctls::{IoEventAddress, NoDatamatch, VmFd};
use vmm_sys_util::{errno, eventfd::EventFd};

use crate::devices::pci::{Message, Wiring};

/// The pins of the I/O APIC, whose GSIs come first.
const IOAPIC_PINS: u32 = 24;
/// The lines of both 8259s.
const PIC_LINES: u32 = 16;

/// A VM's wiring.
#[derive(Debug)]
pub(super) struct KvmWiring {
    vm: Arc<VmFd>,
    /// The messages by line. KVM takes all routes at once or none.
    messages: Mutex<BTreeMap<u32, Message>>,
}

impl KvmWiring {
    /// That of a VM whose interrupt chips are KVM's, with the routes that those begin with.
    pub(super) fn new(vm: Arc<VmFd>) -> Self {
        Self { vm, messages: Mutex::default() }
    }

    /// Routes `line` to `message`, where it is not yet.
    fn route(&self, line: u32, message: Message) -> io::Result<()> {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        if messages.insert(line, message) == Some(message) {
            return Ok(());
        }
        let routes: Vec<_> = chips().chain(messages.iter().map(to_message)).collect();
        let routes = KvmIrqRouting::from_entries(&routes).map_err(io::Error::other)?;
        self.vm.set_gsi_routing(&routes).map_err(refused)
    }
}

impl Wiring for KvmWiring {
    fn connect(&self, line: u32, signal: &EventFd, message: Message) -> io::Result<()> {
        self.route(line, message)?;
        self.vm.register_irqfd(signal, gsi(line)).map_err(refused)
    }

    fn reroute(&self, line: u32, message: Message) -> io::Result<()> {
        self.route(line, message)
    }

    fn disconnect(&self, line: u32, signal: &EventFd) -> io::Result<()> {
        self.vm.unregister_irqfd(signal, gsi(line)).map_err(refused)
    }

    fn hang_bell(&self, address: u64, bell: &EventFd) -> io::Result<()> {
        // Without a length: whatever the width of the write.
        self.vm.register_ioevent(bell, &IoEventAddress::Mmio(address), NoDatamatch).map_err(refused)
    }

    fn take_bell(&self, address: u64, bell: &EventFd) -> io::Result<()> {
        self.vm
            .unregister_ioevent(bell, &IoEventAddress::Mmio(address), NoDatamatch)
            .map_err(refused)
    }
}

fn refused(error: errno::Error) -> io::Error {
    io::Error::from_raw_os_error(error.errno())
}

fn gsi(line: u32) -> u32 {
    IOAPIC_PINS.saturating_add(line)
}

/// The routes that KVM's chips begin with: each GSI to the pin of its number, the first ones
/// to the 8259s too. arch/x86/kvm/irq.c `default_routing`.
fn chips() -> impl Iterator<Item = kvm_irq_routing_entry> {
    let to_pin = |gsi, irqchip, pin| kvm_irq_routing_entry {
        gsi,
        type_: KVM_IRQ_ROUTING_IRQCHIP,
        u: kvm_irq_routing_entry__bindgen_ty_1 {
            irqchip: kvm_irq_routing_irqchip { irqchip, pin },
        },
        ..kvm_irq_routing_entry::default()
    };
    let of_pic = move |line: u32| {
        let chip = if line < 8 { KVM_IRQCHIP_PIC_MASTER } else { KVM_IRQCHIP_PIC_SLAVE };
        to_pin(line, chip, line & 7)
    };
    let of_ioapic = move |pin| to_pin(pin, KVM_IRQCHIP_IOAPIC, pin);
    (0..IOAPIC_PINS).map(of_ioapic).chain((0..PIC_LINES).map(of_pic))
}

#[expect(clippy::cast_possible_truncation, reason = "each half of it is wanted")]
fn to_message((line, message): (&u32, &Message)) -> kvm_irq_routing_entry {
    let msi = kvm_irq_routing_msi {
        address_lo: message.address as u32,
        address_hi: (message.address >> 32) as u32,
        data: message.data,
        ..kvm_irq_routing_msi::default()
    };
    kvm_irq_routing_entry {
        gsi: gsi(*line),
        type_: KVM_IRQ_ROUTING_MSI,
        u: kvm_irq_routing_entry__bindgen_ty_1 { msi },
        ..kvm_irq_routing_entry::default()
    }
}
