//! The kernel of a UKI: what its headers say of how to load and enter it.

mod bzimage;
mod error;
mod version;

pub use bzimage::Kernel;
pub use error::{Error, protocol};
pub use version::version;
