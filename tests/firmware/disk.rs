//! A disk with an EFI system partition, as an installed system has it.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

/// The programs that make it, of the packages fdisk and mtools.
const PROGRAMS: [&str; 3] = ["sfdisk", "mformat", "mcopy"];

const MIB: u64 = 1 << 20;
const SECTOR: u64 = 512;

/// The disk's length: some 16 MiB for a UKI, and FAT32 needs 33 MiB at least.
const LEN: u64 = 64 * MIB;

/// Which of the programs is missing here, if one is.
pub(super) fn missing() -> Option<&'static str> {
    let works = |name: &str| {
        command(name).arg("--version").output().is_ok_and(|output| output.status.success())
    };
    PROGRAMS.into_iter().find(|name| !works(name))
}

/// Writes to `disk` a GUID partition table and a partition with what is in `folder`.
pub(super) fn write(disk: &Path, folder: &Path) {
    File::create(disk).and_then(|file| file.set_len(LEN)).expect("a file");
    let mut sfdisk = command("sfdisk");
    let mut sfdisk = sfdisk.arg("--quiet").arg(disk).stdin(Stdio::piped()).spawn().expect("sfdisk");
    let table = format!("label: gpt\nstart={}, type=uefi\n", MIB / SECTOR);
    sfdisk.stdin.take().expect("a pipe").write_all(table.as_bytes()).expect("sfdisk reads");
    assert!(sfdisk.wait().expect("our child").success(), "sfdisk failed");

    // Behind it the second copy of the table.
    let sectors = ((LEN - 2 * MIB) / SECTOR).to_string();
    let partition = format!("{}@@1M", disk.display());
    run(command("mformat").args(["-i", &partition, "-F", "-T", &sectors, "::"]));
    let entries = fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    run(command("mcopy").args(["-s", "-i", &partition]).args(entries).arg("::/"));
}

fn run(command: &mut Command) {
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// The program, also where only root has it on the path.
fn command(name: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("env");
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).arg(name);
    command
}
