//! `--disk`: what is wrong with one is said before there is a guest, and what a guest does
//! with one is in its image, on both engines.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt as _, PermissionsExt as _},
};

use sha2::{Digest as _, Sha256};

use ukivm::digest::hex;

use crate::support::{
    Ran, Scratch, bed,
    disks::{Guest, MIB, digest},
    skip, sound_uki,
};

/// The refusal of `--disk DISK`: the status and what was said.
fn refusal(scratch: &Scratch, disks: &[&str]) -> (Option<i32>, String) {
    let mut arguments = vec!["plan", "foo.efi"];
    arguments.extend(disks.iter().flat_map(|disk| ["--disk", disk]));
    let ran = scratch.ukivm(arguments);
    (ran.status, ran.stderr.trim_end().to_owned())
}

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.file("foo.efi", sound_uki());
    scratch.file("disk.img", [0; 4096]);
    scratch
}

fn said(status: i32, text: &str) -> (Option<i32>, String) {
    (Some(status), format!("ukivm: {text}"))
}

#[test]
fn a_disk_that_can_not_be_is_refused_before_there_is_a_guest() {
    let scratch = scratch();
    scratch.file("empty.img", []);
    scratch.file("odd.img", [0; 1000]);
    fs::create_dir(scratch.path().join("folder")).expect("a folder");
    let refused = |disk: &str| refusal(&scratch, &[disk]);
    assert_eq!(
        refused("gone.img"),
        said(74, "gone.img: can't be opened for writing: No such file or directory (os error 2)")
    );
    assert_eq!(refused("folder"), said(65, "folder: is a directory, not a disk image"));
    assert_eq!(
        refused("empty.img"),
        said(65, "empty.img: is empty: a disk has at least one sector of 512 bytes")
    );
    assert_eq!(
        refused("odd.img"),
        said(65, "odd.img: has 1000 bytes, which are not whole sectors of 512")
    );
    assert_eq!(refused("disk.img,rw").0, Some(64));
    assert_eq!(
        refused("foo.efi"),
        said(64, "foo.efi: is a file of this very run, and is not to be written")
    );
    assert_eq!(refused("disk.img").0, Some(0));
}

#[test]
fn one_image_is_not_two_disks_unless_both_only_read_it() {
    let scratch = scratch();
    fs::hard_link(scratch.path().join("disk.img"), scratch.path().join("same.img"))
        .expect("a link");
    let twice = "is the image of another disk of this guest, and one of them can be written to";
    for second in ["same.img", "same.img,ro", "disk.img,ephemeral"] {
        let name = second.split(',').next().expect("a name");
        assert_eq!(refusal(&scratch, &["disk.img", second]), said(64, &format!("{name}: {twice}")));
    }
    assert_eq!(refusal(&scratch, &["disk.img,ro", "same.img,ephemeral"]).0, Some(0));
}

#[test]
fn an_image_that_somebody_uses_is_not_written() {
    let scratch = scratch();
    let image = File::options().write(true).open(scratch.path().join("disk.img")).expect("it");
    image.lock_shared().expect("a lock");
    assert_eq!(
        refusal(&scratch, &["disk.img"]),
        said(64, "disk.img: is in use: another process has it open as a disk")
    );
    assert_eq!(refusal(&scratch, &["disk.img,ro"]).0, Some(0));
    image.lock().expect("a better lock");
    assert_eq!(
        refusal(&scratch, &["disk.img,ephemeral"]),
        said(64, "disk.img: is in use: another process writes to it")
    );
}

#[test]
fn an_image_that_can_not_be_written_wants_to_be_read_only() {
    let test = "an_image_that_can_not_be_written_wants_to_be_read_only";
    let scratch = scratch();
    let image = scratch.path().join("disk.img");
    fs::set_permissions(&image, fs::Permissions::from_mode(0o444)).expect("permissions");
    if File::options().write(true).open(&image).is_ok() {
        return skip(test, "root may write to every file");
    }
    let (status, said) = refusal(&scratch, &["disk.img"]);
    assert_eq!(status, Some(74));
    assert!(said.contains("hint: with ,ro the guest can't write to it"), "{said}");
    assert_eq!(refusal(&scratch, &["disk.img,ro"]).0, Some(0));
}

#[test]
fn a_plan_shows_what_is_in_which_slot() {
    let scratch = scratch();
    let arguments =
        ["plan", "foo.efi", "--disk", "disk.img,ro,serial=one", "--disk", "path=foo.efi,ephemeral"];
    let len = sound_uki().len();
    assert!(len.is_multiple_of(512), "{len}");
    let ran = scratch.ukivm(arguments);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let lines: Vec<_> = ran.stdout.lines().skip_while(|line| *line != "PCI").take(4).collect();
    assert_eq!(lines[1], "  00:01.0  disk       4 KiB  disk.img, ro, serial one");
    assert!(lines[2].starts_with("  00:02.0  disk  ") && lines[2].ends_with("foo.efi, ephemeral"));
    assert_eq!(lines[3], "  00:03.0  random");
    let ran = scratch.ukivm(arguments.iter().chain(&["--json"]));
    let plan: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(plan["devices"][0]["serial"], "one");
    assert_eq!(plan["devices"][2]["kind"], "random");
    assert_eq!(plan["machine"]["devices"][0], "disk");
}

/// Fills a disk, reads it back past the cache; a file system on another; one that can't be
/// written; one whose changes are dropped.
const SCRIPT: &str = "
mke2fs /dev/vda >/dev/null 2>&1
mkdir /m
mount -t ext2 /dev/vda /m && echo kept >/m/f && umount /m
mount -t ext2 -o ro /dev/vda /m && tell file=$(cat /m/f)
dd if=/dev/urandom of=/tmp/r bs=1M count=8 2>/dev/null
dd if=/tmp/r of=/dev/vdb bs=1M conv=fsync 2>/dev/null
echo 3 >/proc/sys/vm/drop_caches
tell written=$(sha256sum </tmp/r)
tell read=$(dd if=/dev/vdb bs=1M count=8 2>/dev/null | sha256sum)
dd if=/tmp/r of=/dev/vdc bs=4k count=1 conv=fsync 2>/dev/null || tell refused=vdc
dd if=/tmp/r of=/dev/vdd bs=1M count=4 conv=fsync 2>/dev/null
echo 3 >/proc/sys/vm/drop_caches
cmp -n 4194304 /tmp/r /dev/vdd && tell kept-aside=vdd
blkdiscard -o 0 -l 1048576 /dev/vde && tell discarded=vde
tell random=$(dd if=/dev/hwrng bs=64 count=1 2>/dev/null | wc -c)
tell_pci
";

fn guest_of_all(test: &str) -> Option<Guest> {
    let guest = Guest::new(test, SCRIPT)?
        .disk("a.img", 32, ",serial=first")
        .disk("b.img", 32, "")
        .disk("c.img", 8, ",ro")
        .disk("d.img", 8, ",ephemeral")
        .disk("e.img", 8, ",discard");
    let image = File::options().write(true).open(guest.path("e.img")).expect("an image");
    image.write_all_at(&vec![1; 2 << 20], 0).expect("room");
    Some(guest)
}

fn assert_all(guest: &Guest, ran: &Ran) {
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert_eq!(ran.told("error"), [""; 0], "{ran:?}");
    assert_eq!(ran.told("file"), ["kept"]);
    let written = ran.told("written")[0].trim_end_matches(['-', ' ']).to_owned();
    assert_eq!(ran.told("read")[0].trim_end_matches(['-', ' ']), written);
    assert_eq!(digest(&guest.path("b.img"), 8 * MIB), written, "it is in the image");
    assert_eq!(ran.told("refused"), ["vdc"]);
    assert_eq!(ran.told("kept-aside"), ["vdd"]);
    let zeros = Sha256::digest(vec![0; 8 << 20]);
    let zeros = hex(&<[u8; 32]>::from(zeros));
    assert_eq!(digest(&guest.path("d.img"), 8 * MIB), zeros, "the image is untouched");
    assert_eq!(ran.told("discarded"), ["vde"]);
    assert_eq!(ran.told("random"), ["64"]);
    assert_eq!(ran.told("rng"), ["virtio_rng.0"]);
    let disks = ran.told("disk");
    assert_eq!(disks.len(), 5, "{disks:?}");
    assert!(disks[0].starts_with("vda size=65536 ro=0 serial=first discard_max_bytes=0 "));
    assert!(disks[2].starts_with("vdc size=16384 ro=1 "), "{disks:?}");
    let requests: Vec<_> =
        ran.told("irq").into_iter().filter(|line| line.contains("req.0")).collect();
    // Five disks, told of twice.
    assert_eq!(requests.len(), 10, "{requests:?}");
    assert!(requests.iter().all(|line| line.contains("PCI-MSI")), "{requests:?}");
}

/// That what was discarded is gone from the image, and nothing else.
fn assert_discarded(guest: &Guest) {
    let mut bytes = [9; 2 << 10];
    let image = File::open(guest.path("e.img")).expect("an image");
    image.read_exact_at(&mut bytes, MIB - 1024).expect("bytes");
    assert!(bytes[..1024].iter().all(|byte| *byte == 0), "what was discarded is gone");
    assert!(bytes[1024..].iter().all(|byte| *byte == 1), "what was not is there");
}

#[test]
fn guests_read_and_write_disks_on_tcg() {
    let test = "guests_read_and_write_disks_on_tcg";
    let Some(guest) = guest_of_all(test) else { return };
    let ran = guest.on_tcg();
    assert_all(&guest, &ran);
    assert_discarded(&guest);
}

#[test]
fn guests_read_and_write_disks_on_kvm() {
    let test = "guests_read_and_write_disks_on_kvm";
    let Some(guest) = guest_of_all(test) else { return };
    let (command, folder) = (guest.arguments("kvm"), guest.scratch.path());
    let Some(ran) = bed::on_kvm_writing(test, &command, folder) else { return };
    assert_all(&guest, &ran);
    // The bed's share of a folder has no holes.
    if bed::kvm_works() {
        assert_discarded(&guest);
    }
}
