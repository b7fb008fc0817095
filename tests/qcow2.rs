//! Disks in qcow2 images: what such an image names is opened by nobody, and what a guest does
//! with one is in it, by the word of qemu-img, on both engines.

use std::{
    fs::{self, File},
    path::Path,
};

use sha2::{Digest as _, Sha256};
use ukivm::{
    devices::virtio::block::{Qcow2, Storage as _},
    digest::hex,
};
use vm_memory::VolatileSlice;

use crate::support::{
    Ran, Scratch, bed,
    disks::{Guest, MIB, digest, qemu_img},
    sound_uki,
};

/// The first cluster of an image of version 3, with `changes`.
fn image(changes: &[(usize, &[u8])]) -> Vec<u8> {
    let mut image = vec![0; 0x1_0000];
    let sound: &[(usize, &[u8])] = &[
        (0, b"QFI\xfb\0\0\0\x03"),
        (20, &16_u32.to_be_bytes()),
        (24, &MIB.to_be_bytes()),
        (100, &104_u32.to_be_bytes()),
    ];
    for (at, bytes) in sound.iter().chain(changes) {
        image[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    image
}

/// What `ukivm plan` says of a guest with that disk.
fn plan(scratch: &Scratch, disk: &str) -> Ran {
    scratch.file("foo.efi", sound_uki());
    scratch.ukivm(["plan", "foo.efi", "--disk", disk])
}

#[test]
fn an_image_that_names_a_file_of_the_host_s_is_refused_with_its_name() {
    let scratch = Scratch::new();
    let name = scratch.file("secret", "of the host's").display().to_string();
    let len = u32::try_from(name.len()).expect("a length").to_be_bytes();
    let names = image(&[(14, &[2, 0]), (16, &len), (0x200, name.as_bytes())]);
    scratch.file("backing.qcow2", names);
    scratch.file("beside.qcow2", image(&[(79, &[4])]));
    for how in ["", ",ro", ",ephemeral"] {
        let ran = plan(&scratch, &format!("backing.qcow2{how}"));
        assert_eq!(ran.status, Some(65), "{ran:?}");
        assert_eq!(
            ran.stderr,
            format!(
                "ukivm: backing.qcow2: is a part of an image: the rest is in {name}, and no file is \
                 opened because an image names it\nukivm: hint: if you trust its maker: qemu-img \
                 convert -O qcow2 backing.qcow2 whole.qcow2 makes one file of all\n"
            )
        );
        let ran = plan(&scratch, &format!("beside.qcow2{how}"));
        assert_eq!(ran.status, Some(65), "{ran:?}");
        assert!(ran.stderr.contains("holds no data: they are in a file beside it"), "{ran:?}");
    }
}

#[test]
fn what_is_in_a_raw_image_makes_no_other_of_it() {
    let scratch = Scratch::new();
    scratch.file("raw.img", image(&[]));
    let ran = plan(&scratch, "raw.img");
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("raw.img: begins as qcow2 images do"), "{ran:?}");
    assert!(ran.stdout.contains("00:01.0  disk      64 KiB  raw.img\n"), "{ran:?}");
    let ran = plan(&scratch, "raw.img,format=raw");
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
}

#[test]
fn what_is_no_qcow2_image_is_refused_with_the_way_out() {
    let scratch = Scratch::new();
    scratch.file("zeros.qcow2", [0; 4096]);
    let ran = plan(&scratch, "zeros.qcow2");
    assert_eq!(ran.status, Some(65), "{ran:?}");
    assert_eq!(
        ran.stderr,
        "ukivm: zeros.qcow2: is no qcow2 image: its first bytes are not those of one\nukivm: hint: \
         a raw image wants ,format=raw\n"
    );
    assert_eq!(plan(&scratch, "zeros.qcow2,format=raw").status, Some(0));
    // One that was not closed, and one whose tables are not there.
    scratch.file("dirty.qcow2", image(&[(79, &[1])]));
    let ran = plan(&scratch, "dirty.qcow2");
    assert_eq!(ran.status, Some(65), "{ran:?}");
    assert!(ran.stderr.contains("hint: qemu-img check -r all dirty.qcow2 mends it"), "{ran:?}");
    scratch.file("hollow.qcow2", image(&[]));
    let ran = plan(&scratch, "hollow.qcow2");
    assert_eq!(ran.status, Some(65), "{ran:?}");
    assert!(ran.stderr.contains("can't be read: it has no refcounts\n"), "{ran:?}");
}

#[test]
fn an_encrypted_image_is_refused_with_the_way_out() {
    let test = "an_encrypted_image_is_refused_with_the_way_out";
    let scratch = Scratch::new();
    let path = scratch.path().join("secret.qcow2").display().to_string();
    let key = ["--object", "secret,id=key,data=secret"];
    // Not LUKS, for which qemu-img measures the processor, and fails where that is coarse.
    let how = ["-o", "encrypt.format=aes,encrypt.key-secret=key"];
    let create = ["create", "-q", "-f", "qcow2"].iter().chain(&key).chain(&how);
    let create: Vec<_> = create.copied().chain([path.as_str(), "1M"]).collect();
    let Some(_) = qemu_img(test, &create) else { return };
    let ran = plan(&scratch, "secret.qcow2");
    assert_eq!(ran.status, Some(65), "{ran:?}");
    assert_eq!(
        ran.stderr,
        "ukivm: secret.qcow2: is encrypted, and no key can be given\nukivm: hint: with its key in \
         the file KEY, qemu-img convert --object secret,id=key,file=KEY --image-opts \
         driver=qcow2,encrypt.key-secret=key,file.filename=secret.qcow2 -O raw disk.raw makes a \
         raw image of it\n"
    );
    // So it is.
    scratch.file("key", "secret");
    let object = format!("secret,id=key,file={}", scratch.path().join("key").display());
    let options = format!("driver=qcow2,encrypt.key-secret=key,file.filename={path}");
    let raw = scratch.path().join("disk.raw").display().to_string();
    qemu_img(test, &["convert", "--object", &object, "--image-opts", &options, "-O", "raw", &raw]);
    assert_eq!(fs::read(raw).expect("the disk"), vec![0; 1 << 20]);
}

#[test]
fn snapshots_in_an_image_stay_as_they_were_whatever_is_written() {
    let test = "snapshots_in_an_image_stay_as_they_were_whatever_is_written";
    let scratch = Scratch::new();
    let name = |name: &str| scratch.path().join(name).display().to_string();
    let (image, old, new) = (name("a.qcow2"), name("old.raw"), name("new.raw"));
    let Some(_) = qemu_img(test, &["create", "-q", "-f", "qcow2", &image, "4M"]) else { return };
    let mut expected = vec![0; 4 << 20];
    let disk = || Qcow2::open(File::options().read(true).write(true).open(&image)?, true);
    // Whole clusters, of 64 KiB, and parts of them.
    let mut write = |disk: &mut Qcow2, at: usize, len: usize, byte: u8| {
        let bytes = &mut expected[at..at + len];
        bytes.fill(byte);
        disk.write(at as u64, &[VolatileSlice::from(bytes)]).expect("room");
    };
    write(&mut disk().expect("an image"), 0, 2 << 20, 0xaa);
    qemu_img(test, &["snapshot", "-c", "first", &image]);
    assert_eq!(plan(&scratch, "a.qcow2").status, Some(0));
    let before = fs::read(&image).expect("an image");
    let mut changed = disk().expect("an image");
    write(&mut changed, 0x1_0200, 512, 0xbb);
    write(&mut changed, 0x4_0000, 0x2_0000, 0xcc);
    changed.discard(0x8_0000, 0x2_0000).expect("it can be");
    changed.write_zeroes(0xc_0200, 0x1_0000, true).expect("it can be");
    changed.flush().expect("room");
    drop(changed);
    assert_ne!(fs::read(&image).expect("an image"), before);
    expected[0x8_0000..0xa_0000].fill(0);
    expected[0xc_0200..0xd_0200].fill(0);
    qemu_img(test, &["check", "-q", "-f", "qcow2", &image]);
    qemu_img(test, &["convert", "-f", "qcow2", "-O", "raw", &image, &new]);
    assert!(fs::read(new).expect("the disk") == expected, "what was written is there");
    qemu_img(
        test,
        &["convert", "-f", "qcow2", "-l", "snapshot.name=first", "-O", "raw", &image, &old],
    );
    let old = fs::read(old).expect("the snapshot");
    assert!(old[..2 << 20].iter().all(|byte| *byte == 0xaa), "the snapshot is as it was");
    assert!(old[2 << 20..].iter().all(|byte| *byte == 0));
}

/// One is filled, and a part of it discarded; what is written to another is dropped; one can't
/// be written.
const SCRIPT: &str = "
dd if=/dev/urandom of=/tmp/r bs=1M count=8 2>/dev/null
tell written=$(sha256sum </tmp/r)
for disk in vda vdb vdc; do
    dd if=/tmp/r of=/dev/$disk bs=1M conv=fsync 2>/dev/null || tell refused=$disk
done
echo 3 >/proc/sys/vm/drop_caches
for disk in vda vdb vdc; do
    tell $disk=$(dd if=/dev/$disk bs=1M count=8 2>/dev/null | sha256sum)
done
blkdiscard -o 4194304 -l 4194304 /dev/vda && tell discarded=vda
";

/// The guest, and the digest of an image that it is to leave alone.
fn guest(test: &str) -> Option<(Guest, String)> {
    let guest = Guest::new(test, SCRIPT)?
        .qcow2(test, ("a.qcow2", 32), ",discard")?
        .qcow2(test, ("b.qcow2", 32), ",ephemeral")?
        .qcow2(test, ("c.img", 32), ",ro,format=qcow2")?;
    let untouched = whole(&guest.path("b.qcow2"));
    Some((guest, untouched))
}

fn whole(path: &Path) -> String {
    digest(path, fs::metadata(path).expect("a file").len())
}

fn assert_all(test: &str, (guest, untouched): &(Guest, String), ran: &Ran) {
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let bare = |key| ran.told(key)[0].trim_end_matches(['-', ' ']).to_owned();
    let written = bare("written");
    assert_eq!((bare("vda"), bare("vdb")), (written.clone(), written));
    let zeros = hex(&<[u8; 32]>::from(Sha256::digest(vec![0; 8 << 20])));
    assert_eq!((bare("vdc"), ran.told("refused")), (zeros, vec!["vdc"]));
    assert_eq!(ran.told("discarded"), ["vda"]);
    assert_eq!(whole(&guest.path("b.qcow2")), *untouched, "what was written there is dropped");
    assert_eq!(whole(&guest.path("c.img")), *untouched);
    // What it says by itself, and that its tables are in order: qemu-img fails where not.
    let (a, raw) = (guest.name("a.qcow2"), guest.name("a.raw"));
    qemu_img(test, &["check", "-q", "-f", "qcow2", &a]);
    qemu_img(test, &["convert", "-f", "qcow2", "-O", "raw", &a, &raw]);
    let content = fs::read(&raw).expect("the disk");
    assert!(content[4 << 20..].iter().all(|byte| *byte == 0), "what was discarded is gone");
    let read = hex(&<[u8; 32]>::from(Sha256::digest(&content[..4 << 20])));
    assert_ne!(read, hex(&<[u8; 32]>::from(Sha256::digest(vec![0; 4 << 20]))));
}

#[test]
fn guests_read_and_write_qcow2_images_on_tcg() {
    let test = "guests_read_and_write_qcow2_images_on_tcg";
    let Some(all) = guest(test) else { return };
    assert_all(test, &all, &all.0.on_tcg());
}

#[test]
fn guests_read_and_write_qcow2_images_on_kvm() {
    let test = "guests_read_and_write_qcow2_images_on_kvm";
    let Some(all) = guest(test) else { return };
    let Some(ran) = all.0.on_kvm(test) else { return };
    assert_all(test, &all, &ran);
}

/// Notes on one disk that it was here, and on another, whose changes are dropped; resets the
/// machine the first time.
const TWICE: &str = "
was_here() { dd if=/dev/$1 bs=512 count=1 2>/dev/null | grep -q noted; }
was_here vdb && tell dropped=no || tell dropped=yes
if was_here vda; then
    tell kept=yes
else
    tell kept=not-yet
    for disk in vda vdb; do
        printf '%-511s\\n' noted | dd of=/dev/$disk conv=fsync 2>/dev/null
    done
    reboot -f
fi
";

fn guests_that_start_anew(test: &str) -> Option<Guest> {
    Guest::new(test, TWICE)?.qcow2(test, ("a.qcow2", 32), "")?.qcow2(
        test,
        ("b.qcow2", 32),
        ",ephemeral",
    )
}

const ANEW: [&str; 6] = [
    "smoke",
    "--reboot=restart=1",
    "--expect=kept=not-yet",
    "--expect=kept=yes",
    "--timeout=100",
    "--live",
];

fn assert_started_anew(ran: &Ran) {
    assert_eq!(ran.status, Some(0), "{ran:?}");
    // Each of the two found nothing on the disk whose changes are dropped.
    assert_eq!(ran.stderr.matches("ukivm-guest: dropped=yes").count(), 2, "{ran:?}");
}

#[test]
fn guests_that_start_anew_have_their_disks_on_tcg() {
    let Some(guest) = guests_that_start_anew("guests_that_start_anew_have_their_disks_on_tcg")
    else {
        return;
    };
    assert_started_anew(&Scratch::new().ukivm(guest.command(&ANEW, "tcg")));
}

#[test]
fn guests_that_start_anew_have_their_disks_on_kvm() {
    let test = "guests_that_start_anew_have_their_disks_on_kvm";
    let Some(guest) = guests_that_start_anew(test) else { return };
    let command = guest.command(&ANEW, "kvm");
    let Some(ran) = bed::on_kvm_writing(test, &command, guest.scratch.path()) else { return };
    assert_started_anew(&ran);
}
