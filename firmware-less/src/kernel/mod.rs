//! The kernel of a UKI: what its headers say of how to load and enter it.

mod bzimage;
mod error;

pub use bzimage::Kernel;
pub use error::Error;
