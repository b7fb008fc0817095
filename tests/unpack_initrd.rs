//! `--unpack-initrd`: what is handed over, what is kept, and what is left to the kernel.

use std::{
    fs,
    path::{Path, PathBuf},
};

use firmware_less::testing::{bzimage, cpio, uki, vmlinux};

use crate::support::{
    Ran, Scratch, engines,
    tiny::{self, gzip},
};

/// What the guest ends with.
const GOOD: u8 = 7;
const DIRECTLY: [&str; 4] = ["foo.efi", "--handoff", "direct", "--unpack-initrd"];

fn root() -> Vec<u8> {
    cpio::archive(&[("init", &b"#!/bin/sh\n".repeat(1000)), ("etc/hostname", b"guest")])
}

/// A UKI whose kernel proper does nothing but end, with that initrd.
fn guest(initrd: &[u8]) -> Vec<u8> {
    let code = tiny::ending(GOOD);
    let segments = [(0x100_0000, code.as_slice(), 0x8000)];
    let kernel = vmlinux().segments(&segments).entry(0x100_0000).build();
    let kernel = bzimage().payload(&kernel).build();
    uki()
        .section(".osrel", "ID=test\n")
        .section(".linux", kernel)
        .section(".cmdline", "quiet")
        .section(".initrd", initrd)
        .build()
}

/// The initrd as the plan puts it into guest memory, and what was said.
fn planned(scratch: &Scratch, options: &[&str]) -> (Vec<u8>, Ran) {
    let dump = format!("dump-{}", fs::read_dir(scratch.path()).expect("it is there").count());
    let seed = "5a".repeat(32);
    let arguments = ["plan", "--rng-seed", &seed, "--dump", &dump];
    let ran = scratch.ukivm(arguments.iter().chain(&DIRECTLY).chain(options));
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let entries = fs::read_dir(scratch.path().join(dump)).expect("a dump");
    let initrd = entries
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.display().to_string().ends_with("-initrd"));
    (fs::read(initrd.expect("an initrd")).expect("its bytes"), ran)
}

fn with_initrd(initrd: &[u8]) -> Scratch {
    let scratch = Scratch::new();
    scratch.file("foo.efi", guest(initrd));
    scratch
}

#[test]
fn an_initrd_is_handed_over_unpacked_with_what_was_before_and_behind_it() {
    let microcode = cpio::archive(&[("kernel/x86/microcode/GenuineIntel.bin", b"code")]);
    let scratch = with_initrd(&[&microcode[..], &gzip(&root())].concat());
    scratch.file("more", gzip(&cpio::archive(&[("more", b"")])));
    let (initrd, ran) = planned(&scratch, &["--initrd", "more"]);
    let unpacked = [&microcode[..], &root()].concat();
    assert!(initrd.starts_with(&unpacked));
    let behind = &initrd[unpacked.len()..];
    let behind = String::from_utf8_lossy(behind);
    assert!(behind.contains(".extra/os-release") && behind.contains("more\0"), "{behind}");
    assert!(!initrd.windows(2).any(|two| two == b"\x1f\x8b"), "nothing is packed any more");
    assert!(ran.stdout.contains("(initrd's .initrd unpacked)"), "{ran:?}");
    assert!(!ran.stderr.contains("as it is"), "{ran:?}");
}

#[test]
fn what_can_t_be_unpacked_is_handed_over_as_it_is_and_said_why() {
    let left = |initrd: &[u8], options: &[&str]| {
        let (handed, ran) = planned(&with_initrd(initrd), options);
        assert!(handed.starts_with(initrd));
        let line = ran.stderr.lines().find(|line| line.contains("is handed over as it is"));
        line.expect("a reason").to_owned()
    };
    assert_eq!(
        left(b"BZh9 and so on", &[]),
        "ukivm: the initrd's .initrd is handed over as it is, and so is what follows it: at 0x0 \
         is neither an archive nor gzip, xz, zstd or lz4"
    );
    let mut damaged = gzip(&root());
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    assert!(left(&damaged, &[]).contains("the gzip data is damaged"));
    // A bomb: a hundred bytes for each.
    let bomb = gzip(&cpio::archive(&[("zeros", &vec![0; 43 << 20])]));
    assert!(bomb.len() < 1 << 20);
    let why = left(&bomb, &["--memory", "128M"]);
    assert!(why.ends_with(
        "it unpacks to more than 42 MiB, a third of the guest's memory, which has to hold it \
         twice for a while (give more with --memory)"
    ));
}

#[test]
fn a_kernel_handed_over_as_kexec_does_gets_its_initrd_packed() {
    let scratch = with_initrd(&gzip(&root()));
    let ran = scratch.ukivm(["plan", "foo.efi", "--unpack-initrd"]);
    assert_eq!(ran.status, Some(64), "{ran:?}");
    assert!(ran.stderr.contains("--unpack-initrd is for --handoff direct"), "{ran:?}");
    // Where the kernel can't be entered directly, the initrd is kexec's too.
    let packed = gzip(&root());
    let kernel = bzimage().payload(b"\x89LZO and so on").build();
    scratch.file("foo.efi", uki().section(".linux", kernel).section(".initrd", &packed).build());
    let (initrd, ran) = planned(&scratch, &[]);
    assert!(ran.stderr.contains("handed over as kexec does, not directly"), "{ran:?}");
    assert_eq!(&initrd[..packed.len()], packed);
    assert!(!ran.stdout.contains("unpacked)"), "{ran:?}");
}

fn kept(scratch: &Scratch) -> Vec<PathBuf> {
    let folder = scratch.path().join("cache/ukivm/unpacked");
    let entries = fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|it| it == "initrd")).collect()
}

fn run(scratch: &Scratch, engine: &str, options: &[&str]) -> Ran {
    let arguments = ["run", "--timeout", "60", "--engine", engine];
    let ran = scratch.ukivm(arguments.iter().chain(&DIRECTLY).chain(options));
    assert_eq!(ran.status, Some(GOOD.into()), "{ran:?}");
    ran
}

#[test]
fn an_initrd_is_kept_unpacked_and_made_anew_where_a_byte_of_it_was_flipped() {
    let test = "an_initrd_is_kept_unpacked_and_made_anew_where_a_byte_of_it_was_flipped";
    for engine in engines(test) {
        let scratch = with_initrd(&gzip(&root()));
        run(&scratch, engine, &["--no-cache"]);
        assert_eq!(kept(&scratch), [] as [&Path; 0]);
        run(&scratch, engine, &["--digest"]);
        let [file] = &kept(&scratch)[..] else { panic!("one initrd") };
        let sound = fs::read(file).expect("the initrd");
        assert!(sound.starts_with(&root()));
        let mut flipped = sound.clone();
        flipped[0x1100] ^= 1;
        fs::write(file, flipped).expect("the initrd is ours");
        let ran = run(&scratch, engine, &["--digest"]);
        let said = "the initrd's .initrd that was kept unpacked is damaged: it is unpacked anew";
        assert!(ran.stderr.contains(said), "{ran:?}");
        assert_eq!(fs::read(file).expect("the initrd"), sound);
    }
}

#[test]
fn archives_alone_are_not_kept_a_second_time() {
    let test = "archives_alone_are_not_kept_a_second_time";
    let Some(engine) = engines(test).into_iter().next() else { return };
    let scratch = with_initrd(&root());
    let ran = run(&scratch, engine, &[]);
    assert_eq!(kept(&scratch), [] as [&Path; 0]);
    assert!(!ran.stderr.contains("as it is"), "{ran:?}");
}
