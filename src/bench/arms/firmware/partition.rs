//! The EFI system partition that firmware boots from.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::symlink,
    },
    path::Path,
};

use crate::{
    bench::{arm::Subject, arms::scratch::Scratch},
    job::addon_paths,
};

/// A folder that QEMU shows to the firmware as a FAT file system. It holds links
/// only, and goes when this does.
#[derive(Debug)]
pub(super) struct Partition(Scratch);

impl Partition {
    /// The UKI at `uki`, a path in the process that reads it, and beside it what
    /// `subject` has it given.
    pub(super) fn make(uki: &Path, subject: &Subject) -> io::Result<Self> {
        let scratch = Scratch::create()?;
        let folder = scratch.path().join("EFI/BOOT");
        fs::create_dir_all(&folder)?;
        symlink(uki, folder.join("BOOTX64.EFI"))?;
        let handed = &subject.handed;
        let addons = addon_paths(&subject.image, handed.addons, &handed.addon);
        let addons = addons.map_err(io::Error::other)?;
        if !addons.is_empty() || !handed.extra_credential.is_empty() {
            let beside = folder.join("BOOTX64.EFI.extra.d");
            fs::create_dir(&beside)?;
            // The stub sorts them by name; so it keeps to the order of the options.
            for (number, addon) in addons.iter().enumerate() {
                let name = format!("{number:04}.addon.efi");
                symlink(fs::canonicalize(addon)?, beside.join(name))?;
            }
            for credential in &handed.extra_credential {
                let name = credential.file_name().unwrap_or_default();
                symlink(fs::canonicalize(credential)?, beside.join(name))?;
            }
        }
        Ok(Self(scratch))
    }

    /// QEMU's options for a disk that holds it.
    pub(super) fn drive(&self) -> [OsString; 4] {
        let file = option("if=none,id=esp,format=raw,readonly=on,file=fat:", self.0.path());
        ["-drive".into(), file, "-device".into(), "virtio-blk-pci,drive=esp".into()]
    }
}

/// `before` and `value`, whose commas are doubled as QEMU wants it.
pub(super) fn option(before: &str, value: &Path) -> OsString {
    let mut bytes = before.as_bytes().to_vec();
    for &byte in value.as_os_str().as_bytes() {
        bytes.push(byte);
        if byte == b',' {
            bytes.push(byte);
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_are_doubled() {
        assert_eq!(option("file=fat:", Path::new("/tmp/a,b")), "file=fat:/tmp/a,,b");
    }
}
