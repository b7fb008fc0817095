//! Virtio devices, version 1.2 and nothing older, behind PCI.
//!
//! A device implements [`Device`]: what it is, and what it does while a driver uses it. The
//! rest is the transport's (`Transport`): registers, features, interrupts, and the thread
//! that a device has from the moment its driver is ready until it is reset.
//!
//! ```text
//! vCPU ── registers ──► Transport ── DRIVER_OK ──► thread: Device::serve(Driver)
//!   └── notification ──► eventfd (ioeventfd) ────────► Queue ── eventfd (irqfd) ──► vCPU
//! ```
//!
//! The lower line is all that is hot. It has no lock, and no exit to this process.

pub mod block;
mod common;
pub mod console;
mod device;
mod driver;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
pub mod net;
mod queue;
mod random;
mod settings;
pub mod share;
mod transport;
mod vhost_user;
pub mod vsock;
mod worker;

pub use device::Device;
pub use driver::{Driver, Ready};
pub use queue::{Broken, Buffers, Chain, Queue, Room};
pub use random::Random;
pub(in crate::devices) use transport::{MEMORY as TRANSPORT_MEMORY, Transport};
pub use vhost_user::{Front, VhostUser};

#[cfg(test)]
mod tests;
