//! [`version`]: what a kernel says of its own version.

use super::Kernel;
use crate::{
    bytes::until_nul,
    range::FileRange,
    read_at::{ReadAt, fetch},
};

/// What the header's `kernel_version` is counted from.
const COUNTED_FROM: u64 = 0x200;
/// As much of the text as is read. Linux limits the release in it to 64 bytes,
/// and its whole to 64 KiB of real-mode code.
const TEXT_MAX: u64 = 512;

/// The text that `kernel_version` points to: release, builder, number and time of
/// the build. Its first word is what `uname -r` shows.
///
/// boot.rst, "kernel_version": the text lies within the real-mode part, and 0
/// means that there is none. `range` is where `source` has the kernel. `None` also
/// where it cannot be read, since nothing depends on it.
#[must_use]
pub fn version(
    source: &(impl ReadAt + ?Sized),
    range: FileRange,
    kernel: &Kernel,
) -> Option<String> {
    let pointer = u64::from(kernel.header().kernel_version);
    let at = pointer.checked_add(COUNTED_FROM).filter(|_| pointer != 0)?;
    let len = kernel.kern16_size().checked_sub(at)?.min(TEXT_MAX);
    let text = fetch(source, range.skip(at)?.offset(), len).ok()?;
    let text = String::from_utf8_lossy(until_nul(&text)).trim().to_owned();
    (!text.is_empty()).then_some(text)
}
