//! The host's tap devices.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use super::Error;
use crate::engine::kvm::attach_tap;

/// The bits of `tun_flags` that say of what kind an interface is.
const KIND: libc::c_int = libc::IFF_TUN | libc::IFF_TAP;

/// The tap device `name`, open, and its MTU. It was made before: with enough privileges the
/// kernel would make one of that name here, and nobody would be at its other end.
pub(super) fn open(name: &str) -> Result<(File, u16), Error> {
    let about = Path::new("/sys/class/net").join(name);
    if !about.exists() {
        return Err(Error::NoInterface { name: name.to_owned() });
    }
    let made_with = number(&about.join("tun_flags")).unwrap_or(0);
    if made_with & KIND != libc::IFF_TAP {
        return Err(Error::NotTap { name: name.to_owned() });
    }
    let failed = |source| Error::Tap { name: name.to_owned(), source };
    let file = File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")
        .map_err(failed)?;
    // One with several queues has to be asked for as such.
    let wanted = libc::IFF_TAP | libc::IFF_NO_PI | made_with & libc::IFF_MULTI_QUEUE;
    let flags = libc::c_short::try_from(wanted).map_err(|wide| failed(io::Error::other(wide)))?;
    attach_tap(&file, name, flags).map_err(failed)?;
    let mtu = number(&about.join("mtu")).and_then(|mtu| u16::try_from(mtu).ok());
    Ok((file, mtu.unwrap_or(u16::MAX)))
}

/// The number that a file of sysfs holds.
fn number(path: &Path) -> Option<libc::c_int> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim();
    match text.strip_prefix("0x") {
        Some(hex) => libc::c_int::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}
