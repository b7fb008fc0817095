//! Initrds as the kernel takes them apart: archives, NULs between them, and archives
//! that are packed.
//!
//! init/initramfs.c, `unpack_to_rootfs`. [`fn@unpack`] does on the host what the kernel
//! would do of that, and leaves the rest to it: whatever it can't be sure of stays as it
//! is, since a guest that boots otherwise than it would is worth less than a slow one.

mod follow;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod model;
mod packed;
mod record;
mod unpack;

pub use packed::{Error, Format};
pub use unpack::{Look, Part, Rest, Unpacked, Why, look, unpack};

pub(crate) use record::Record;

/// Records of archives begin at multiples of this.
pub(crate) const ALIGN: u64 = 4;
