//! An initrd from which a guest does a real kexec.

use firmware_less::{
    machine::port,
    uki::cpio::{RootFile, initrd},
};
use ukivm_guests::{KEXEC_INIT, machine};

const _: () = {
    assert!(machine::EXIT == port::EXIT, "that is where its status goes");
    assert!(machine::MILESTONE == port::MILESTONE, "that is where it says that it goes");
};

/// An initrd whose init goes to `kernel` with that `cmdline`, and with `next_initrd`
/// if there is one.
pub(crate) fn kexec_initrd(kernel: &[u8], next_initrd: Option<&[u8]>, cmdline: &[u8]) -> Vec<u8> {
    let file = |name, content| RootFile { name, mode: 0o444, content };
    let init = RootFile { mode: 0o555, ..file("init", KEXEC_INIT) };
    let mut files = vec![init, file("kernel", kernel), file("cmdline", cmdline)];
    files.extend(next_initrd.map(|content| file("initrd", content)));
    initrd(&files).expect("files of less than 4 GiB")
}
