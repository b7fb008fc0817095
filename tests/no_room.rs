//! File systems that are full: what is kept there of a kernel, and the images of disks.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use firmware_less::testing::{bzimage, uki, vmlinux};

use crate::support::{
    Ran, Scratch, bed,
    disks::{Guest, qemu_img},
    engines, program, skip, tiny,
};

/// Mounts a file system of `$size` on the folder `room` beside the script that begins so.
const ROOM: &str = "
set -e
room=$(dirname \"$0\")/room
mkdir -p \"$room\"
mount -t tmpfs -o size=$size tmpfs \"$room\"
";

/// Whether a process of ours may mount file systems that nobody else sees.
fn may_mount(test: &str) -> bool {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]);
    let may = command.output().is_ok_and(|output| output.status.success());
    if !may {
        skip(test, "no file system can be mounted here by unshare");
    }
    may
}

/// `script` with the program and `arguments`, where it may mount.
fn mounting(script: &Path, arguments: &[String]) -> Ran {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh"]).arg(script).arg(program()).args(arguments);
    Ran::of(&mut command)
}

/// A UKI whose kernel proper has 1 MiB, none of it zero, and ends with status 3.
fn long_kernel() -> Vec<u8> {
    let mut code = tiny::ending(3);
    code.resize(1 << 20, 0xcc);
    let kernel = vmlinux().segments(&[(0x100_0000, &code, 0x10_8000)]).entry(0x100_0000).build();
    uki().section(".linux", bzimage().payload(&kernel).build()).build()
}

#[test]
fn a_kernel_that_the_cache_has_no_room_for_is_not_kept_and_boots() {
    let test = "a_kernel_that_the_cache_has_no_room_for_is_not_kept_and_boots";
    if !may_mount(test) {
        return;
    }
    for engine in engines(test) {
        let scratch = Scratch::new();
        let path = scratch.file("foo.efi", long_kernel()).display().to_string();
        // Twice without room, then with it, then out of it.
        let script = format!(
            "size=256k\n{ROOM}
            export XDG_CACHE_HOME=\"$room\"
            boot() {{ status=0; \"$@\" || status=$?; echo \"status $status\"; }}
            boot \"$@\"
            boot \"$@\"
            find \"$room\" -type f | sed 's/.*/left/'
            mount -o remount,size=16m \"$room\"
            boot \"$@\"
            boot \"$@\"
            find \"$room\" -type f -name '*.vmlinux' | sed 's/.*/kept/'"
        );
        let script = scratch.file("script", script);
        let run = ["run", &path, "--handoff=direct", "--memory=256M", "--timeout=60", "--engine"];
        let run: Vec<String> = run.iter().chain(&[engine]).map(ToString::to_string).collect();
        let ran = mounting(&script, &run);
        assert_eq!(ran.stdout, "status 3\nstatus 3\nstatus 3\nstatus 3\nkept\n", "{ran:?}");
        let said = "the unpacked kernel is not kept: No space left on device";
        assert_eq!(ran.stderr.matches(said).count(), 2, "{ran:?}");
    }
}

/// Fills each disk until it takes no more; looks whether what it took before is as it was;
/// gives up what it can, and writes once more.
const FILL: &str = "
dd if=/dev/urandom of=/tmp/r bs=1M count=1 2>/dev/null
sum() { dd if=/dev/$1 bs=1M count=1 skip=$2 2>/dev/null | sha256sum; }
for disk in vda vdb; do
    dd if=/tmp/r of=/dev/$disk bs=1M conv=fsync 2>/dev/null && tell first=$disk
    dd if=/dev/urandom of=/dev/$disk bs=1M seek=1 count=20 conv=fsync 2>/dev/null || tell full=$disk
    echo 3 >/proc/sys/vm/drop_caches
    [ \"$(sum $disk 0)\" = \"$(sha256sum </tmp/r)\" ] && tell same=$disk
    blkdiscard -o 1048576 -l 32505856 /dev/$disk && tell freed=$disk
    dd if=/tmp/r of=/dev/$disk bs=1M seek=24 conv=fsync 2>/dev/null && tell again=$disk
    echo 3 >/proc/sys/vm/drop_caches
    [ \"$(sum $disk 24)\" = \"$(sha256sum </tmp/r)\" ] && tell same-again=$disk
done
";

/// Two disks of 32 MiB where there is room for 8, and what is left of them afterwards.
const DISKS: &str = "
dd if=/dev/null of=\"$room/a.img\" bs=1M seek=32 2>/dev/null
cp \"$(dirname \"$0\")/b.qcow2\" \"$room/b.qcow2\"
status=0
\"$@\" || status=$?
cp \"$room/b.qcow2\" \"$(dirname \"$0\")/after.qcow2\"
umount \"$room\"
exit $status
";

/// The guest with its disks, and the script that is to start it.
fn filling(test: &str) -> Option<(Guest, PathBuf)> {
    let guest = Guest::new(test, FILL)?;
    let (image, room) = (guest.name("b.qcow2"), guest.path("room"));
    qemu_img(test, &["create", "-q", "-f", "qcow2", &image, "32M"])?;
    fs::create_dir(&room).expect("a folder");
    let script = guest.scratch.file("script", format!("size=8m\n{ROOM}{DISKS}"));
    let guest = guest.with_disk("room/a.img", ",discard").with_disk("room/b.qcow2", ",discard");
    Some((guest, script))
}

fn assert_filled(test: &str, guest: &Guest, ran: &Ran) {
    assert_eq!(ran.status, Some(0), "{ran:?}");
    for key in ["first", "full", "same", "freed", "again", "same-again"] {
        assert_eq!(ran.told(key), ["vda", "vdb"], "{key}: {ran:?}");
    }
    // Clusters may be lost to nobody, as after any power failure; none may be used twice, or
    // named where it is not.
    let after = guest.name("after.qcow2");
    qemu_img(test, &["check", "-q", "-r", "leaks", "-f", "qcow2", &after]);
}

#[test]
fn a_disk_without_room_is_an_error_in_the_guest_and_goes_on_where_there_is_some_on_tcg() {
    let test =
        "a_disk_without_room_is_an_error_in_the_guest_and_goes_on_where_there_is_some_on_tcg";
    let Some((guest, script)) = filling(test) else { return };
    if may_mount(test) {
        let ran = mounting(&script, &guest.arguments("tcg"));
        assert_filled(test, &guest, &ran);
    }
}

#[test]
fn a_disk_without_room_is_an_error_in_the_guest_and_goes_on_where_there_is_some_on_kvm() {
    let test =
        "a_disk_without_room_is_an_error_in_the_guest_and_goes_on_where_there_is_some_on_kvm";
    let Some((guest, script)) = filling(test) else { return };
    let folder = guest.scratch.path();
    let Some(ran) = bed::on_kvm_by(test, Some(&script), &guest.arguments("kvm"), folder) else {
        return;
    };
    assert_filled(test, &guest, &ran);
}
