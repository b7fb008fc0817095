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
/// other; and of them its proportional share. RAM may be mapped in several pieces, one
/// behind the other.
fn beside_guest_ram(process: u32) -> (u64, u64) {
    let smaps = fs::read_to_string(format!("/proc/{process}/smaps")).expect("a process of ours");
    let kib = |line: &str, name: &str| -> Option<u64> {
        line.strip_prefix(name)?.trim_end_matches("kB").trim().parse().ok()
    };
    // Mappings without a gap between them: where they end, how much they are, what of it
    // is resident, and whose share that is.
    let mut runs: Vec<[u64; 4]> = Vec::new();
    for line in smaps.lines() {
        let run = runs.last_mut();
        if let Some((start, end)) = addresses(line) {
            match run.filter(|run| run[0] == start) {
                Some(run) => (run[0], run[1]) = (end, run[1] + end - start),
                None => runs.push([end, end - start, 0, 0]),
            }
        } else if let Some(run) = run {
            run[2] += kib(line, "Rss:").unwrap_or(0);
            run[3] += kib(line, "Pss:").unwrap_or(0);
        }
    }
    let others = runs.iter().filter(|run| run[1] < MEMORY_MIB << 20);
    others.fold((0, 0), |sum, run| (sum.0 + run[2], sum.1 + run[3]))
}

/// Where a mapping begins and ends, if that is what the line says.
fn addresses(line: &str) -> Option<(u64, u64)> {
    let (start, end) = line.split_whitespace().next()?.split_once('-')?;
    Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?))
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
