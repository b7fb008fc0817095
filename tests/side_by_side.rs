//! Many VMs of one UKI at the same time, and the memory that they take.

use std::fs;

use firmware_less::testing::uki;

use crate::support::{
    Scratch, engines,
    run::Running,
    tiny::{idle, kernel, print},
};

/// How many VMs there are.
const COUNT: usize = 50;
const MEMORY_MIB: u64 = 64;
/// What a VM may take beside its guest's memory, with its share of what is shared: the
/// program's text, above all.
const PROPORTIONAL_KIB_MAX: u64 = 3 << 10;

/// Resident KiB of all mappings of that process but guest RAM, which is as large as no
/// other; and of them its proportional share.
fn beside_guest_ram(process: u32) -> (u64, u64) {
    let smaps = fs::read_to_string(format!("/proc/{process}/smaps")).expect("a process of ours");
    let kib = |line: &str, name: &str| -> Option<u64> {
        line.strip_prefix(name)?.trim_end_matches("kB").trim().parse().ok()
    };
    let (mut is_ram, mut resident, mut proportional) = (false, 0, 0);
    for line in smaps.lines() {
        if let Some(size) = kib(line, "Size:") {
            is_ram = size >= MEMORY_MIB << 10;
        } else if !is_ram {
            resident += kib(line, "Rss:").unwrap_or(0);
            proportional += kib(line, "Pss:").unwrap_or(0);
        }
    }
    (resident, proportional)
}

#[test]
fn fifty_vms_of_one_uki_share_all_but_little_of_what_is_not_their_guests() {
    let test = "fifty_vms_of_one_uki_share_all_but_little_of_what_is_not_their_guests";
    if !engines(test).contains(&"kvm") {
        return;
    }
    let scratch = Scratch::new();
    let kernel = kernel(|a| {
        print(a, "here\n")?;
        idle(a)
    });
    let image = uki().section(".linux", kernel.build()).section(".initrd", vec![0x5a; 8 << 20]);
    scratch.file("foo.efi", image.build());
    let memory = format!("{MEMORY_MIB}M");
    let arguments = ["run", "--engine", "kvm", "--memory", &memory, "foo.efi"];
    let vms: Vec<_> = (0..COUNT).map(|_| Running::ukivm(scratch.path(), arguments)).collect();
    for vm in &vms {
        vm.wait_for("here");
    }

    let each: Vec<_> = vms.iter().map(|vm| beside_guest_ram(vm.id())).collect();
    let resident = each.iter().map(|(resident, _)| resident).sum::<u64>() / COUNT as u64;
    let proportional = each.iter().map(|(_, share)| share).sum::<u64>() / COUNT as u64;
    eprintln!("a VM of {COUNT}: {resident} KiB resident, {proportional} KiB by its share");
    assert!(
        proportional <= PROPORTIONAL_KIB_MAX,
        "a VM takes {proportional} KiB by its share, {resident} KiB resident"
    );
    assert!(proportional < resident, "nothing is shared");
}
