//! The kernel proper of a job, for the direct hand-off.

use std::io;

use firmware_less::{
    kernel::{Kernel, Unpacked, unpack, unpacked},
    plan::FileSlice,
};
use thiserror::Error;

use super::{Excerpt, Failed, Wanted, threads};
use crate::{
    cache::{Cache, Kind},
    files::{Files, OpenFile},
};

/// Why there is no unpacked kernel.
#[derive(Debug, Error)]
pub enum NotDirect {
    /// It can't be unpacked.
    #[error(transparent)]
    Unpack(#[from] unpacked::Error),
    /// What it is in can't be read.
    #[error("the kernel can't be read")]
    Read(#[source] io::Error),
}

impl From<Failed<unpacked::Error>> for NotDirect {
    fn from(failed: Failed<unpacked::Error>) -> Self {
        match failed {
            Failed::Read(source) => Self::Read(source),
            Failed::Unpack(error) => Self::Unpack(error),
        }
    }
}

/// The kernel proper in `slice` of `files`, of which `kernel` is the header. What
/// unpacks to more than `limit` bytes is refused.
pub(crate) fn kernel(
    files: &Files,
    (slice, kernel): (FileSlice, &Kernel),
    limit: u64,
    cache: Option<&Cache>,
) -> Result<OpenFile, NotDirect> {
    let packed = files.get(slice.file).unwrap_or(files.uki());
    let fresh = |excerpt: &Excerpt| {
        let bytes = unpack(excerpt, kernel, limit, threads())?;
        // What can't be entered is not kept: nobody would ask for it twice.
        Unpacked::read(slice.file, &bytes)?;
        Ok(bytes)
    };
    let wanted = Wanted { kind: Kind::Kernel, name: "kernel", packed, part: slice.range, limit };
    Ok(wanted.get(cache, fresh)?)
}
