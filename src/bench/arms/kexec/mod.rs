//! A real `kexec_file_load(2)` of the UKI's parts.
//!
//! A first kernel, the UKI's own, is booted by ukivm with an initrd that has a small
//! static init. That loads the UKI's kernel, initrd and command line, says so by a
//! byte on the milestone port, and goes there by `reboot(2)`. The trial begins with
//! that byte: a machine is up when it does a kexec, and how it came up is not to the
//! point.
//!
//! Before the first trial of a UKI there is one that is not measured, with words on
//! the second kernel's command line that make it say which kernel it is and where its
//! initrd is. ukivm then reads the initrd out of guest memory and holds it against the
//! UKI's.

mod boot;
mod recorder;
mod told;

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf, sync::Mutex, time::Duration};

pub(crate) use self::{
    boot::{Way, boot},
    told::Told,
};

