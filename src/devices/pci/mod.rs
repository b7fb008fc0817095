//! The PCI bus: the host bridge, and a virtio function in each slot that has a device.
//!
//! A guest finds the functions by configuration mechanism 1 or by ECAM, and talks to each
//! in the memory that its BAR names. All this is set-up: it takes a lock, of the function's
//! own. What is hot comes by neither: a driver's notifications and a device's interrupts
//! are eventfds that the engine ties to addresses and messages ([`Wiring`]).

mod bus;
mod config_space;
pub(super) mod msix;
mod wiring;

pub use bus::Bus;
pub(super) use config_space::{ConfigSpace, Identity};
pub(super) use msix::Msix;
pub use wiring::{Message, Wiring};
