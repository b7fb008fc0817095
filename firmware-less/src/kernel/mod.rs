//! The kernel of a UKI: what its headers say of how to load and enter it.

mod bzimage;
pub mod config;
mod decompressor;
mod error;
pub mod payload;
pub mod relocations;
pub mod unpacked;
mod version;
pub mod vmlinux;

pub use bzimage::Kernel;
pub use config::Config;
pub use decompressor::Leave;
pub use error::{Error, protocol};
pub use payload::Payload;
pub use relocations::{Image, Places, Relocation};
pub use unpacked::{Unpacked, unpack};
pub use version::version;
pub use vmlinux::Vmlinux;
