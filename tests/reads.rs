//! How many bytes of files a direct boot reads: what it has to load, and little more.
//!
//! A count by strace, and so exact where times are not.

use std::{fs, process::Command, thread::sleep, time::Duration};

use firmware_less::testing::{bzimage, cpio, uki, vmlinux};

use crate::support::{Scratch, engines, skip, tiny};

/// What the guest ends with.
const GOOD: i32 = 7;
/// How large the kernel proper is, and the content of the initrd.
const KERNEL: usize = 16 << 20;
const INITRD: usize = 6 << 20;

/// A UKI with a kernel of that size, which ends at once, and an initrd that packs well.
fn guest() -> Vec<u8> {
    let mut code = tiny::ending(GOOD.try_into().expect("a byte"));
    code.resize(KERNEL, 0x90);
    let kernel = vmlinux().segments(&[(0x100_0000, &code, KERNEL as u64)]).entry(0x100_0000);
    let kernel = bzimage().with(|header| header.init_size = 64 << 20).payload(&kernel.build());
    // No zeros: those are not read.
    let root = cpio::archive(&[("ones", &vec![1; INITRD])]);
    uki().section(".linux", kernel.build()).section(".initrd", tiny::gzip(&root)).build()
}

/// The bytes that a run reads of the UKI and of what is kept; `None` without strace.
fn bytes_read(scratch: &Scratch) -> Option<u64> {
    let folder = scratch.path().join("strace");
    fs::create_dir_all(&folder).expect("a scratch folder");
    let ran = Command::new("strace")
        // A file for each thread, so that no line is in two pieces.
        .args(["--follow-forks", "--output-separately", "--decode-fds=path", "--output"])
        .arg(folder.join("thread"))
        .arg("--trace=read,readv,pread64,preadv,preadv2,sendfile")
        .arg(env!("CARGO_BIN_EXE_ukivm"))
        .args(["run", "foo.efi", "--engine", "kvm", "--timeout", "60"])
        .args(["--handoff", "direct", "--unpack-initrd", "--memory", "256M"])
        .current_dir(scratch.path())
        .env("XDG_CACHE_HOME", scratch.path().join("cache"))
        .output()
        .ok()?;
    assert_eq!(ran.status.code(), Some(GOOD), "{ran:?}");
    let logs = fs::read_dir(&folder).ok()?.map(|log| log.expect("an entry").path());
    let log: String = logs.map(|log| fs::read_to_string(log).expect("a log")).collect();
    fs::remove_dir_all(folder).expect("a folder of ours");
    let of_ours = log.lines().filter(|line| line.contains("foo.efi>") || line.contains("/cache/"));
    let result = |line: &str| line.rsplit_once("= ")?.1.trim().parse::<u64>().ok();
    Some(of_ours.filter_map(result).sum())
}

#[test]
fn a_direct_boot_out_of_the_cache_reads_little_but_what_it_loads() {
    let test = "a_direct_boot_out_of_the_cache_reads_little_but_what_it_loads";
    if !engines(test).contains(&"kvm") {
        return;
    }
    let scratch = Scratch::new();
    scratch.file("foo.efi", guest());
    // Until what was just written may be taken to stay as it is.
    let quiet = || sleep(Duration::from_millis(2100));
    quiet();
    let Some(first) = bytes_read(&scratch) else {
        return skip(test, "no strace: apt-get install strace");
    };
    quiet();
    let second = bytes_read(&scratch).expect("strace is there");
    let third = bytes_read(&scratch).expect("strace is there");
    let loaded = (KERNEL + INITRD) as u64;
    assert!(first > loaded && second > 2 * loaded, "{first} {second}: each is read, and checked");
    assert!(third > loaded && third < loaded / 10 * 11, "{third} of {loaded}");
}
