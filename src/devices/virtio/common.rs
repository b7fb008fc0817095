//! The common configuration: how a driver finds out about a device and sets it up.
//! Virtio 1.2, 4.1.4.3.

use virtio_queue::{Queue as Ring, QueueT as _};
use vm_memory::GuestAddress;

/// No vector: the driver wants no interrupt.
pub(super) const NO_VECTOR: u16 = 0xffff;
/// Bytes of the common configuration.
pub(super) const LEN: usize = 0x38;

/// Bits of the device status. Virtio 1.2, 2.1.
pub(super) mod status {
    pub(in super::super) const FEATURES_OK: u8 = 8;
    pub(in super::super) const DRIVER_OK: u8 = 4;
    pub(in super::super) const NEEDS_RESET: u8 = 0x40;
}

/// What a driver has written, and what it is told.
#[derive(Debug)]
pub(super) struct Common {
    offered: u64,
    pub(super) agreed: u64,
    device_feature_select: u32,
    driver_feature_select: u32,
    pub(super) config_vector: u16,
    pub(super) status: u8,
    queue_select: u16,
    pub(super) queues: Vec<Setup>,
    vectors: usize,
}

/// How a driver set a queue up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    max_size: u16,
    size: u16,
    pub(super) vector: u16,
    enabled: bool,
    descriptors: u64,
    available: u64,
    used: u64,
}

/// What a write asks of the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Nothing,
    /// To forget everything.
    Reset,
    /// To begin.
    Start,
}

impl Setup {
    fn new(max_size: u16) -> Self {
        Self {
            max_size,
            size: max_size,
            vector: NO_VECTOR,
            enabled: false,
            descriptors: 0,
            available: 0,
            used: 0,
        }
    }

    /// The queue, not in use where the driver did not enable it. Nothing where it can't be.
    pub(super) fn ring(&self, with_event_index: bool) -> Option<Ring> {
        let mut ring = Ring::new(self.max_size).ok()?;
        if self.enabled {
            ring.try_set_size(self.size).ok()?;
            ring.try_set_desc_table_address(GuestAddress(self.descriptors)).ok()?;
            ring.try_set_avail_ring_address(GuestAddress(self.available)).ok()?;
            ring.try_set_used_ring_address(GuestAddress(self.used)).ok()?;
            ring.set_event_idx(with_event_index);
            ring.set_ready(true);
        }
        Some(ring)
    }
}

impl Common {
    /// As after reset.
    pub(super) fn new(offered: u64, queue_sizes: &[u16], vectors: usize) -> Self {
        Self {
            offered,
            agreed: 0,
            device_feature_select: 0,
            driver_feature_select: 0,
            config_vector: NO_VECTOR,
            status: 0,
            queue_select: 0,
            queues: queue_sizes.iter().map(|size| Setup::new(*size)).collect(),
            vectors,
        }
    }

    pub(super) fn reset(&mut self) {
        let sizes: Vec<u16> = self.queues.iter().map(|queue| queue.max_size).collect();
        *self = Self::new(self.offered, &sizes, self.vectors);
    }

    /// All registers as they read now, the device's configuration being that old.
    pub(super) fn image(&self, generation: u8) -> [u8; LEN] {
        let queue = self.queues.get(usize::from(self.queue_select)).copied();
        let exists = queue.is_some();
        let queue = queue.unwrap_or_else(|| Setup::new(0));
        let count = u16::try_from(self.queues.len()).unwrap_or(u16::MAX);
        let mut image = [0; LEN];
        let mut put = |at: usize, bytes: &[u8]| {
            for (to, from) in image.iter_mut().skip(at).zip(bytes) {
                *to = *from;
            }
        };
        put(0, &self.device_feature_select.to_le_bytes());
        put(4, &half(self.offered, self.device_feature_select).to_le_bytes());
        put(8, &self.driver_feature_select.to_le_bytes());
        put(12, &half(self.agreed, self.driver_feature_select).to_le_bytes());
        put(16, &self.config_vector.to_le_bytes());
        put(18, &count.to_le_bytes());
        put(20, &[self.status, generation]);
        put(22, &self.queue_select.to_le_bytes());
        put(24, &queue.size.to_le_bytes());
        put(26, &queue.vector.to_le_bytes());
        put(28, &u16::from(queue.enabled).to_le_bytes());
        // Each queue's bell has its own number.
        put(30, &(if exists { self.queue_select } else { 0 }).to_le_bytes());
        put(32, &queue.descriptors.to_le_bytes());
        put(40, &queue.available.to_le_bytes());
        put(48, &queue.used.to_le_bytes());
        image
    }

    /// The driver writes to the register at `at`, as wide as it is; 64 bits may come as two
    /// halves.
    pub(super) fn write(&mut self, at: u16, data: &[u8]) -> Asked {
        match (at, data) {
            (20, [value]) => return self.set_status(*value),
            (_, &[a, b]) => self.write_16(at, u16::from_le_bytes([a, b])),
            (_, &[a, b, c, d]) => self.write_32(at, u32::from_le_bytes([a, b, c, d])),
            (32 | 40 | 48, whole) if whole.len() == 8 => {
                let (low, high) = whole.split_at(4);
                self.write(at, low);
                self.write(at.wrapping_add(4), high);
            }
            _ => {}
        }
        Asked::Nothing
    }

    fn write_16(&mut self, at: u16, value: u16) {
        let vector = if usize::from(value) < self.vectors { value } else { NO_VECTOR };
        match at {
            16 => self.config_vector = vector,
            22 => self.queue_select = value,
            _ => {}
        }
        let Some(queue) = self.being_set_up() else { return };
        match at {
            24 if value.is_power_of_two() && value <= queue.max_size => queue.size = value,
            26 => queue.vector = vector,
            28 if value == 1 => queue.enabled = true,
            _ => {}
        }
    }

    fn write_32(&mut self, at: u16, value: u32) {
        match at {
            0 => self.device_feature_select = value,
            8 => self.driver_feature_select = value,
            12 if self.status & status::FEATURES_OK == 0 => {
                set_half(&mut self.agreed, self.driver_feature_select, value);
            }
            _ => {}
        }
        let Some(queue) = self.being_set_up() else { return };
        match at {
            32 => set_half(&mut queue.descriptors, 0, value),
            36 => set_half(&mut queue.descriptors, 1, value),
            40 => set_half(&mut queue.available, 0, value),
            44 => set_half(&mut queue.available, 1, value),
            48 => set_half(&mut queue.used, 0, value),
            52 => set_half(&mut queue.used, 1, value),
            _ => {}
        }
    }

    /// The queue that is selected, as long as nothing uses it.
    fn being_set_up(&mut self) -> Option<&mut Setup> {
        let started = self.status & status::DRIVER_OK != 0;
        let queue = self.queues.get_mut(usize::from(self.queue_select));
        queue.filter(|queue| !started && !queue.enabled)
    }

    /// Bits are only added, until zero clears all. Virtio 1.2, 2.1.1.
    fn set_status(&mut self, value: u8) -> Asked {
        if value == 0 {
            return Asked::Reset;
        }
        let mut added = value & !self.status & !status::NEEDS_RESET;
        if added & status::FEATURES_OK != 0 && !self.can_agree() {
            added &= !status::FEATURES_OK;
        }
        if (self.status | added) & status::FEATURES_OK == 0 {
            added &= !status::DRIVER_OK;
        }
        self.status |= added;
        if added & status::DRIVER_OK != 0 { Asked::Start } else { Asked::Nothing }
    }

    /// Whether the driver wants no more than was offered, and is no older than virtio 1.
    fn can_agree(&self) -> bool {
        self.agreed & !self.offered == 0 && self.agreed & super::transport::VERSION_1 != 0
    }
}

#[expect(clippy::cast_possible_truncation, reason = "half of it is wanted")]
fn half(value: u64, which: u32) -> u32 {
    match which {
        0 => value as u32,
        1 => (value >> 32) as u32,
        _ => 0,
    }
}

fn set_half(value: &mut u64, which: u32, new: u32) {
    const LOW: u64 = 0xffff_ffff;
    match which {
        0 => *value = *value & !LOW | u64::from(new),
        1 => *value = *value & LOW | u64::from(new) << 32,
        _ => {}
    }
}
