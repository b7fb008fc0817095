//! Hand-made images for tests: valid by default, wrong in exactly the way that a
//! test asks for.
//!
//! Compiled for this crate's own tests, and for others with the feature `testing`.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "tests stop where an image cannot be made as asked"
)]

mod bzimage;
mod counted;
pub mod cpio;
pub mod fuzz;
mod image;
#[cfg(test)]
pub(crate) mod pack;
mod random;
pub mod rsa;
pub mod signing;
mod soundness;
mod vmlinux;

pub use bzimage::{BzImage, bzimage};
pub use counted::Counted;
pub use image::{Image, PeHeader, uki};
pub use random::Random;
pub use soundness::{
    assert_handed_is_sound, assert_handed_is_sound_for, assert_kernel_is_sound,
    assert_uki_is_sound, assert_verdicts_are_sound,
};
pub use vmlinux::{VmlinuxFile, vmlinux};

/// Writes `bytes` at `offset`, over what is there or past the end.
fn put(image: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[offset..end].copy_from_slice(bytes);
}
