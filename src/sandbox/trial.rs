//! A port by which a guest has a vCPU's thread break the rules, so that tests see what
//! becomes of it. In debug builds only.

use std::fs::File;

use vmm_sys_util::signal::block_signal;

use crate::child;

/// The port.
pub(crate) const PORT: u16 = 0xf6;

/// Does what the guest asks for.
pub(crate) fn write(data: &[u8]) {
    match data {
        [b'x'] => child::execute(c"/bin/true"),
        [b'o'] => drop(File::open("/etc/passwd")),
        [b'b'] => {
            for signal in 1..=libc::SIGRTMAX() {
                // Two of them can't be.
                block_signal(signal).ok();
            }
            drop(File::open("/etc/passwd"));
        }
        #[expect(clippy::panic, reason = "what becomes of it is to be seen")]
        [b'p'] => panic!("as the guest wants it"),
        _ => {}
    }
}
