//! What a virtio device is to the transport.

use super::{Broken, Driver};

/// A virtio device.
///
/// It lives in its transport until a driver is ready (DRIVER_OK), is then moved to a thread
/// of its own where [`Device::serve`] runs, and comes back when the driver resets it or the
/// run ends. So it needs no lock, and what it owns (files, sockets) stays its own.
///
/// What the methods before `serve` give never changes while the guest runs.
pub trait Device: Send {
    /// Its device ID, `VIRTIO_ID_…`. Virtio 1.2, 5.
    fn id(&self) -> u32;

    /// The name of its thread, at most 15 bytes.
    fn name(&self) -> &str;

    /// The features that it offers: those of its kind, bits 0–23 and 50 on. The
    /// transport adds its own (VERSION_1, EVENT_IDX, INDIRECT_DESC).
    fn features(&self) -> u64 {
        0
    }

    /// The most entries of each of its queues, powers of two. A driver may use fewer
    /// entries, and not use a queue at all ([`super::Queue::is_used`]).
    fn queue_sizes(&self) -> &[u16];

    /// Its configuration, as the guest reads it at first: [`Driver::reconfigure`] changes it.
    /// Virtio 1.2, 2.5.
    fn config(&self) -> &[u8] {
        &[]
    }

    /// Serves the driver, until [`Driver::wait`] says to stop. Whatever it waits for besides,
    /// it waits for there too, so that it can always be stopped.
    ///
    /// With [`Broken`] the driver is told that the device needs a reset. Nothing that the
    /// guest writes may make this panic.
    fn serve(&mut self, driver: &mut Driver) -> Result<(), Broken>;
}
