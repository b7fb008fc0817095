//! Kernels entered directly: unpacked by the host, at linked and at moved addresses.

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
