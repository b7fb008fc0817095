//! A UKI booted by UEFI firmware and its own systemd-stub, under QEMU.

use std::{fs, path::Path, process::Command, time::Duration};

use ukivm::engine::tcg::QemuFound;

use super::disk;
use crate::support::{Scratch, images, run::Running};

/// The longest that a boot may take on a busy machine.
const LIMIT: Duration = Duration::from_mins(3);

/// What Linux prints last when it panics and is not told to reboot.
const PANICKED: &str = "end Kernel panic";

/// How firmware comes to a UKI.
#[derive(Clone, Copy, Debug)]
pub(super) enum Firmware<'a> {
    /// From an EFI system partition that holds nothing but the UKI and the folder
    /// beside it.
    Partition,
    /// From such a partition on a disk, with these files too, each with its content;
    /// and the firmware has random numbers.
    Disk(&'a [(&'a str, &'a [u8])]),
    /// From QEMU, with load options, as a boot loader gives them: a profile, a
    /// command line, or both.
    Loader(&'a str),
    /// From a partition, with words in SMBIOS for the end of the command line.
    Smbios(&'a str),
}

impl Firmware<'_> {
    /// Boots `uki` and gives what came over the serial port.
    pub(super) fn boot(self, qemu: &QemuFound, uki: &Path) -> String {
        let scratch = Scratch::new();
        let variables = scratch.path().join("variables.fd");
        fs::copy(images().join("ovmf/variables.fd"), &variables).expect("a copy");
        let mut command = machine(qemu, &variables);
        if let Firmware::Loader(options) = self {
            command.arg("-kernel").arg(uki).args(["-append", options]);
        } else {
            let folder = scratch.path().join("esp");
            fill(&folder, uki);
            command.args(["-device", "virtio-blk-pci,drive=esp"]);
            command.args(["-drive", &format!("if=none,id=esp,format=raw,{}", self.drive(&folder))]);
        }
        if let Firmware::Disk(_) = self {
            command.args(["-device", "virtio-rng-pci"]);
        }
        if let Firmware::Smbios(words) = self {
            let value = format!("type=11,value=io.systemd.stub.kernel-cmdline-extra={words}");
            command.args(["-smbios", &value]);
        }
        let mut running = Running::start(command);
        running.wait_for_end_or(PANICKED, LIMIT);
        running.seen()
    }

    /// The drive that holds what is in `folder`: QEMU's own FAT file system, or a disk.
    fn drive(self, folder: &Path) -> String {
        let Firmware::Disk(files) = self else {
            return format!("readonly=on,file=fat:{}", folder.display());
        };
        for (name, content) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, content).expect("a file");
        }
        let disk = folder.with_extension("disk");
        disk::write(&disk, folder);
        format!("file={}", disk.display())
    }
}

fn machine(qemu: &QemuFound, variables: &Path) -> Command {
    let flash = |unit: u32, more: &str, file: &Path| {
        format!("if=pflash,unit={unit},format=raw{more},file={}", file.display())
    };
    let mut command = Command::new(&qemu.path);
    command
        .args(["-M", "q35,smm=off", "-accel", "tcg", "-cpu", qemu.cpu(), "-m", "512"])
        .args(["-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"])
        .args(["-drive", &flash(0, ",readonly=on", &images().join("ovmf/code.fd"))])
        .args(["-drive", &flash(1, "", variables)]);
    command
}

/// Copies `uki` to where firmware looks for it, and the folder beside it too.
fn fill(partition: &Path, uki: &Path) {
    let folder = partition.join("EFI/BOOT");
    fs::create_dir_all(&folder).expect("a folder");
    fs::copy(uki, folder.join("BOOTX64.EFI")).expect("a copy");
    let beside = ukivm::addons::folder(uki);
    if !beside.is_dir() {
        return;
    }
    let copies = folder.join("BOOTX64.EFI.extra.d");
    fs::create_dir(&copies).expect("a folder");
    for entry in fs::read_dir(&beside).expect("a folder").flatten() {
        fs::copy(entry.path(), copies.join(entry.file_name())).expect("a copy");
    }
}
