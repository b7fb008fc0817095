//! Kernels entered directly: unpacked by the host, at linked and at moved addresses.

use std::collections::BTreeSet;

use firmware_less::testing::cpio;
use serde_json::Value;

use super::{Boot, assert_came_up, on_kvm};
use crate::support::{Ran, Scratch, bed};

const KERNELS: [&str; 3] = ["6.1", "6.12", "7"];
const SEED: &str = "00000000000000000000000000000000000000000000000000000000000000a5";

/// The kernels that have no initrd: in its panic Linux tells its own offset.
fn boots(test: &str, kaslr: &str) -> Vec<Boot> {
    let boot = |kernel: &&str| Boot::of(test, &format!("no-initrd-{kernel}.efi"));
    let direct = ["--handoff", "direct", "--kaslr", kaslr];
    KERNELS.iter().filter_map(boot).map(|boot| boot.with(&direct)).collect()
}

/// What Linux says of how far it is from where it was linked for.
/// arch/x86/kernel/setup.c, `dump_kernel_offset`.
fn offset(ran: &Ran) -> &str {
    assert_eq!(ran.status, Some(101), "{ran:?}");
    let line = ran.stdout.lines().find_map(|line| line.split("Kernel Offset: ").nth(1));
    line.and_then(|rest| rest.split_whitespace().next()).expect("an offset")
}

/// The offset that the plan for `boot` has.
fn planned(boot: &Boot) -> (u64, Option<u64>) {
    let options = boot.options.iter().map(String::as_str);
    let image = boot.image.display().to_string();
    let ran = Scratch::new().ukivm(["plan", "--json", &image].into_iter().chain(options));
    let plan: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let handoff = &plan["handoff"];
    assert_eq!(handoff["kind"], "direct", "{ran:?}");
    let kaslr = &handoff["kaslr"];
    (kaslr["physical"].as_u64().expect("an address"), kaslr["virtual_offset"].as_u64())
}

#[test]
fn every_stock_kernel_runs_where_it_is_linked_for() {
    let test = "every_stock_kernel_runs_where_it_is_linked_for";
    let boots = boots(test, "off");
    for boot in &boots {
        assert_eq!(planned(boot), (16 << 20, None));
        assert_eq!(offset(&boot.on_tcg()), "disabled");
    }
}

#[test]
fn every_stock_kernel_runs_where_it_was_moved_and_says_so_itself() {
    let test = "every_stock_kernel_runs_where_it_was_moved_and_says_so_itself";
    let boots = boots(test, SEED);
    let offsets: Vec<String> = boots
        .iter()
        .map(|boot| {
            let (physical, offset) = planned(boot);
            assert_ne!(physical, 16 << 20);
            format!("{:#x}", offset.filter(|offset| *offset > 0).expect("an offset"))
        })
        .collect();
    for (boot, wanted) in boots.iter().zip(&offsets) {
        assert_eq!(offset(&boot.on_tcg()), wanted);
    }
    let count = if bed::runs_all() { boots.len() } else { 1 };
    let boots: Vec<_> = boots.iter().take(count).collect();
    let Some(runs) = on_kvm(test, &boots) else { return };
    for (ran, wanted) in runs.iter().zip(&offsets) {
        assert_eq!(offset(ran), wanted);
    }
}

#[test]
fn a_distribution_s_kernel_comes_up_whole_when_entered_directly() {
    let test = "a_distribution_s_kernel_comes_up_whole_when_entered_directly";
    let Some(boot) = Boot::of(test, super::DISTRIBUTION) else { return };
    let boot = boot.cpus(2).with(&["--handoff", "direct"]);
    assert_came_up(&boot, &boot.on_tcg());
}

#[test]
fn a_kernel_entered_directly_with_five_level_paging_comes_up_whole() {
    let test = "a_kernel_entered_directly_with_five_level_paging_comes_up_whole";
    let Some(boot) = Boot::of(test, super::DISTRIBUTION) else { return };
    let boot = boot.with(&["--handoff", "direct", "--five-level"]);
    assert_came_up(&boot, &boot.on_tcg());
}

#[test]
fn an_initrd_unpacked_by_the_host_is_to_the_guest_what_it_was_packed() {
    let test = "an_initrd_unpacked_by_the_host_is_to_the_guest_what_it_was_packed";
    // One of each packing; of lz4 the kernel reads nothing that others follow.
    for image in ["6.12-gzip-ukify", "6.1-xz-ukify", "7-zstd-objcopy", "7-lz4-ukify"] {
        let Some(boot) = Boot::of(test, &format!("corpus/{image}.efi")) else { return };
        let unpacked = boot.with(&["--handoff", "direct", "--unpack-initrd"]);
        let ran = unpacked.on_tcg();
        assert_came_up(&unpacked, &ran);
        let left = ran.stderr.contains("is handed over as it is");
        assert_eq!(left, image.contains("lz4"), "{ran:?}");
    }
}

/// What takes init's place and tells where the kernel's code begins, as the kernel has
/// it among its symbols.
const TELL_TEXT: &str = "#!/bin/sh
mount -t proc proc /proc
echo 0 >/proc/sys/kernel/kptr_restrict
while read -r address kind name; do
    [ \"$name\" != _text ] || { echo \"text=$address\"; break; }
done </proc/kallsyms
poweroff -f
";
/// Where the code of every kernel for x86-64 is linked to begin.
/// arch/x86/include/asm/page_64_types.h, `__START_KERNEL`.
const LINKED: u64 = 0xffff_ffff_8100_0000;

/// How far `boot` ran above what it is linked for, by its own `/proc/kallsyms`.
fn offset_of_symbols(boot: Boot, options: &[&str]) -> u64 {
    let scratch = Scratch::new();
    let init = cpio::record("init\0", 0o100_755, TELL_TEXT.as_bytes());
    let trailer = cpio::record("TRAILER!!!\0", 0, b"");
    let initrd = scratch.file("tell", [init, trailer].concat()).display().to_string();
    let boot = boot.with(&["--handoff", "direct", "--initrd", &initrd]).with(options);
    let ran = boot.on_tcg();
    let text = ran.stdout.lines().find_map(|line| line.trim_end().strip_prefix("text="));
    let text = text.and_then(|text| u64::from_str_radix(text, 16).ok());
    text.unwrap_or_else(|| panic!("{ran:?}")) - LINKED
}

#[test]
fn the_kernel_s_symbols_are_where_the_plan_has_them() {
    let test = "the_kernel_s_symbols_are_where_the_plan_has_them";
    for image in ["6.1-gzip-objcopy", "6.12-zstd-ukify", "7-zstd-objcopy"] {
        let boot = || Boot::of(test, &format!("corpus/{image}.efi"));
        let Some(planned_boot) = boot() else { return };
        let (_, wanted) = planned(&planned_boot.with(&["--handoff", "direct", "--kaslr", SEED]));
        let wanted = wanted.expect("an offset");
        assert!(wanted > 0);
        let Some(boot) = boot() else { return };
        assert_eq!(offset_of_symbols(boot, &["--kaslr", SEED]), wanted, "{image}");
    }
    let Some(boot) = Boot::of(test, super::DISTRIBUTION) else { return };
    assert_eq!(offset_of_symbols(boot, &["--kaslr", "off"]), 0);
}

#[test]
fn no_two_boots_are_at_the_same_place_but_by_chance() {
    let test = "no_two_boots_are_at_the_same_place_but_by_chance";
    // Of eight draws from about 470 two are alike once in seventeen times, three once in
    // four thousand.
    let (count, least) = if bed::runs_all() { (8, 6) } else { (2, 1) };
    let mut offsets = BTreeSet::new();
    for _ in 0..count {
        let Some(boot) = Boot::of(test, super::DISTRIBUTION) else { return };
        let offset = offset_of_symbols(boot, &[]);
        assert!(offset.is_multiple_of(2 << 20) && offset < 1 << 30, "{offset:#x}");
        offsets.insert(offset);
    }
    assert!(offsets.len() >= least, "{offsets:x?}");
}
