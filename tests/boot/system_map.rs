//! `--system-map` with what a kernel itself says of its functions.

use firmware_less::uki::cpio::{Target, archive};

use crate::{
    smoke::forms::result,
    support::{Scratch, built, skip},
};

/// A folder for an init of our own, beside the image's.
const OURS: Target = Target { dir: "ours", dir_mode: 0o755, file_mode: 0o755 };

/// Prints the kernel's functions and little else.
const INIT: &str = "\
#!/bin/sh
mount -t proc proc /proc
grep -i ' [tw] [^.]*$' /proc/kallsyms
poweroff -f
";

/// The functions of that image's kernel, as one boot of it has them.
fn kallsyms(scratch: &Scratch, image: &str) -> String {
    scratch.file("ours.cpio", archive(&OURS, &[("init", INIT.as_bytes())]).expect("an archive"));
    let fixed = ["run", "--engine=tcg", "--memory=256M", "--timeout=170", "--initrd=ours.cpio"];
    let ran = scratch.ukivm(fixed.iter().chain(&["--append=rdinit=/ours/init", image]));
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    ran.stdout.replace('\r', "")
}

#[test]
fn a_silent_kernel_s_place_is_named_by_the_functions_of_another_boot() {
    let test = "a_silent_kernel_s_place_is_named_by_the_functions_of_another_boot";
    let images = [built(test, "faults/none.efi"), built(test, "faults/user-space-sleeps.efi")];
    let [Some(talks), Some(sleeps)] = images.map(|path| Some(path?.display().to_string())) else {
        return;
    };
    if let Err(error) = ukivm::engine::tcg::qemu() {
        return skip(test, &format!("no TCG: {error}"));
    }
    let scratch = Scratch::new();
    let map = kallsyms(&scratch, &talks);
    assert!(map.lines().count() > 10_000, "{}", map.lines().count());
    scratch.file("System.map", &map);
    let fixed = ["smoke", "--engine=tcg", "--memory=256M", "--format=json"];
    let options = ["--silence-timeout=15s", "--system-map=System.map", &sleeps];
    let ran = scratch.ukivm(fixed.iter().chain(&options));
    let report = result(&ran.stdout);
    let said = report["explanation"].as_str().expect("a text");
    // As `halt at 0xffffffff8600dfeb (native_safe_halt+0xb)`: the place is the function's in
    // that boot, moved by a multiple of 2 MiB.
    let (place, name) = said
        .split_once(" is halted at ")
        .and_then(|(_, rest)| {
            let (place, rest) = rest.split_once(" (")?;
            Some((place, rest.split_once(')')?.0))
        })
        .unwrap_or_else(|| panic!("{said}"));
    let (name, offset) = name.split_once("+0x").unwrap_or_else(|| panic!("{said}"));
    assert!(name.contains("halt") || name.contains("idle"), "{said}");
    let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).expect(text);
    let is_there = |line: &str| {
        let (address, _) = line.split_once(' ').unwrap_or_default();
        let moved = (number(address) + number(offset)).abs_diff(number(place));
        line.ends_with(&format!(" {name}")) && moved % 0x20_0000 == 0
    };
    assert!(map.lines().any(is_there), "{said}");
}
