//! A virtqueue in use: split, as virtio 1.2, 2.7 has it.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering, fence},
};

use thiserror::Error;
use virtio_queue::{DescriptorChain, Queue as Ring, QueueOwnedT as _, QueueT as _, desc::split};
use vm_memory::{Bytes, GuestAddress, GuestMemory as _, Permissions, VolatileSlice};
use vmm_sys_util::eventfd::EventFd;

use crate::engine::kvm::GuestMemory;

/// ISR status: a queue was used. Virtio 1.2, 4.1.4.5.
pub(super) const ISR_QUEUE: u8 = 1 << 0;
/// ISR status: the configuration changed.
pub(super) const ISR_CONFIG: u8 = 1 << 1;
/// A driver that wants no interrupts. Virtio 1.2, 2.7.6.
const NO_INTERRUPT: u16 = 1;

/// The driver broke the rules of a queue, so that nothing more can be read from it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the driver broke a virtqueue")]
pub struct Broken;

/// How the guest is told of something.
#[derive(Debug)]
pub(super) struct Interrupt {
    /// The vector's eventfd; none where the driver chose no vector.
    pub(super) signal: Option<EventFd>,
    pub(super) isr: Arc<AtomicU8>,
    pub(super) bit: u8,
}

impl Interrupt {
    pub(super) fn raise(&self) {
        match &self.signal {
            // It fails only where the counter is full: it is signalled then.
            Some(signal) => drop(signal.write(1)),
            None => drop(self.isr.fetch_or(self.bit, Ordering::SeqCst)),
        }
    }
}

/// A virtqueue as its device sees it.
#[derive(Debug)]
pub struct Queue {
    pub(super) ring: Ring,
    pub(super) memory: GuestMemory,
    pub(super) bell: EventFd,
    pub(super) interrupt: Interrupt,
    /// How many requests had been given back when the guest was told last.
    told: u16,
    /// How many had been made available when those had too little room.
    seen: u16,
}

/// A request: buffers in guest memory, in order.
#[derive(Clone, Debug)]
pub struct Chain<'q> {
    head: u16,
    memory: &'q GuestMemory,
    descriptors: DescriptorChain<&'q GuestMemory>,
}

impl Queue {
    /// A queue in use, or one that is not; nothing where its rings are not in guest memory.
    pub(super) fn new(
        ring: Ring,
        memory: GuestMemory,
        bell: EventFd,
        interrupt: Interrupt,
    ) -> Option<Self> {
        let is_sound = !ring.ready() || ring.is_valid(&memory);
        is_sound.then_some(Self { ring, memory, bell, interrupt, told: 0, seen: 0 })
    }

    /// Whether the driver uses it.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.ring.ready()
    }

    /// How many requests it has room for.
    #[must_use]
    pub fn size(&self) -> u16 {
        self.ring.size()
    }

    /// What is signalled when the driver has made something available.
    #[must_use]
    pub fn bell(&self) -> &EventFd {
        &self.bell
    }

    /// What to signal so that the driver looks at the queue: for a device that is served
    /// elsewhere, as vhost's are. None where the driver polls.
    #[must_use]
    pub fn interrupt(&self) -> Option<&EventFd> {
        self.interrupt.signal.as_ref()
    }

    /// Where its rings are, and how large it is; they lie in guest memory wholly.
    #[must_use]
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// The next request, if there is one. Its head goes to [`Queue::used`].
    pub fn take(&mut self) -> Result<Option<Chain<'_>>, Broken> {
        if !self.is_used() {
            return Ok(None);
        }
        let memory = &self.memory;
        let mut available = self.ring.iter(memory).map_err(|_broken| Broken)?;
        let chain = available.next();
        Ok(chain.map(|descriptors| Chain { head: descriptors.head_index(), memory, descriptors }))
    }

    /// Gives the request with that head back, with `written` bytes in its writable buffers.
    pub fn used(&mut self, head: u16, written: u32) -> Result<(), Broken> {
        self.ring.add_used(&self.memory, head, written).map_err(|_broken| Broken)
    }

    /// Takes the next requests, until they have room for `len` bytes in all or there are `most`
    /// of them. Nothing, and none taken, where the driver has to make more available first.
    pub fn take_room(&mut self, len: u64, most: u16) -> Result<Option<Vec<Room<'_>>>, Broken> {
        if !self.is_used() {
            return Ok(None);
        }
        let Self { ring, memory, seen, .. } = self;
        let memory = &*memory;
        let (mut taken, mut room) = (Vec::new(), 0_u64);
        while room < len && taken.len() < usize::from(most) {
            let chain = ring.iter(memory).map_err(|_broken| Broken)?.next();
            let Some(descriptors) = chain else {
                *seen = ring.next_avail();
                for _ in &taken {
                    ring.go_to_previous_position();
                }
                return Ok(None);
            };
            let head = descriptors.head_index();
            let buffers = Chain { head, memory, descriptors }.buffers().ok_or(Broken)?;
            let more = Room { head, buffers };
            room = room.saturating_add(more.room());
            taken.push(more);
        }
        Ok(Some(taken))
    }

    /// Gives requests back, each with how many bytes were written: the driver sees all of them
    /// or none.
    pub fn used_together(&mut self, used: &[(u16, u32)]) -> Result<(), Broken> {
        let Some((&(head, written), before)) = used.split_last() else { return Ok(()) };
        for &(head, written) in before {
            let next = self.ring.next_used();
            let slot = u64::from(next.checked_rem(self.ring.size()).ok_or(Broken)?);
            // `struct virtq_used` and `struct virtq_used_elem`. Virtio 1.2, 2.7.8.
            let place = slot.saturating_mul(8).saturating_add(4);
            let place = GuestAddress(self.ring.used_ring().saturating_add(place));
            let element = u64::from(head) | u64::from(written) << 32;
            self.memory.write_obj(element.to_le(), place).map_err(|_not_ram| Broken)?;
            self.ring.set_next_used(next.wrapping_add(1));
        }
        // Says how many there are by now.
        self.used(head, written)
    }

    /// Interrupts the guest if it wants to know of what was used since the last time.
    pub fn tell(&mut self) -> Result<(), Broken> {
        // What was given back comes before what the driver wants is looked at.
        fence(Ordering::SeqCst);
        let used = self.ring.next_used();
        let new = used.wrapping_sub(std::mem::replace(&mut self.told, used));
        let wants = if self.ring.event_idx_enabled() {
            // Virtio 1.2, 2.7.7.2: behind the entries is the number to be told of.
            let entries = u64::from(self.ring.size()).saturating_mul(2);
            let event = self.available(entries.saturating_add(4))?;
            used.wrapping_sub(event).wrapping_sub(1) < new
        } else {
            new > 0 && self.available(0)? & NO_INTERRUPT == 0
        };
        if wants {
            self.interrupt.raise();
        }
        Ok(())
    }

    /// What the driver has at `offset` of its ring.
    fn available(&self, offset: u64) -> Result<u16, Broken> {
        let place = self.ring.avail_ring().checked_add(offset).ok_or(Broken)?;
        let value = Bytes::load(&self.memory, GuestAddress(place), Ordering::Relaxed);
        value.map(u16::from_le).map_err(|_not_ram| Broken)
    }

    /// Asks for the bell to be rung at the next request; whether there is one already, that
    /// it may not be rung for.
    pub fn listen(&mut self) -> Result<bool, Broken> {
        if !self.is_used() {
            return Ok(false);
        }
        self.ring.enable_notification(&self.memory).map_err(|_broken| Broken)
    }

    /// The same where what there is has too little room, as [`Queue::take_room`] has said:
    /// whether there is more by now.
    pub fn listen_for_room(&mut self) -> Result<bool, Broken> {
        let next = self.ring.next_avail();
        // The driver rings at the request behind the one that it is told of here.
        self.ring.set_next_avail(self.seen);
        let is_there_more = self.listen();
        self.ring.set_next_avail(next);
        is_there_more
    }

    /// Says that the bell need not be rung: requests are looked for as it is.
    pub fn do_not_disturb(&mut self) -> Result<(), Broken> {
        if !self.is_used() {
            return Ok(());
        }
        self.ring.disable_notification(&self.memory).map_err(|_broken| Broken)
    }
}

impl<'q> Chain<'q> {
    /// Its number, to give it back by.
    #[must_use]
    pub fn head(&self) -> u16 {
        self.head
    }

    /// Its buffers: those to read from, then those to write to. Nothing where one is not
    /// wholly in guest memory, or where one to read from comes late.
    #[must_use]
    pub fn buffers(self) -> Option<Buffers<'q>> {
        let mut buffers = Buffers::default();
        for descriptor in self.descriptors {
            let writable = descriptor.is_write_only();
            if !writable && !buffers.writable.is_empty() {
                return None;
            }
            let wanted = if writable { Permissions::Write } else { Permissions::Read };
            let to = if writable { &mut buffers.writable } else { &mut buffers.readable };
            push(self.memory, &descriptor, wanted, to)?;
        }
        Some(buffers)
    }
}

fn push<'q>(
    memory: &'q GuestMemory,
    descriptor: &split::Descriptor,
    wanted: Permissions,
    to: &mut Vec<VolatileSlice<'q>>,
) -> Option<()> {
    let len = usize::try_from(descriptor.len()).ok()?;
    for slice in memory.get_slices(descriptor.addr(), len, wanted).ok()? {
        to.push(slice.ok()?);
    }
    Some(())
}

/// A request that is to be filled, and its number to give it back by.
#[derive(Debug)]
pub struct Room<'q> {
    /// Its number.
    pub head: u16,
    /// Where there is room.
    pub buffers: Buffers<'q>,
}

impl Room<'_> {
    /// How many bytes it has room for.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.buffers.writable.iter().fold(0, |room, slice| room.saturating_add(slice.len() as u64))
    }
}

/// Buffers of a request. They lie in guest memory, where the guest may change them at any
/// time: read what decides something once.
#[derive(Debug, Default)]
pub struct Buffers<'q> {
    /// What the driver sends.
    pub readable: Vec<VolatileSlice<'q>>,
    /// Where the device answers.
    pub writable: Vec<VolatileSlice<'q>>,
}
