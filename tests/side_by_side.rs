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

/// One mapping of a process, as `/proc/PID/smaps` tells of it.
#[derive(Default)]
struct Mapping {
    start: u64,
    end: u64,
    resident_kib: u64,
    proportional_kib: u64,
}

fn mappings(process: u32) -> Vec<Mapping> {
    let smaps = fs::read_to_string(format!("/proc/{process}/smaps")).expect("a process of ours");
    let kib = |line: &str, name: &str| -> Option<u64> {
        line.strip_prefix(name)?.trim_end_matches("kB").trim().parse().ok()
    };
    let range = |line: &str| -> Option<(u64, u64)> {
        let (start, end) = line.split_whitespace().next()?.split_once('-')?;
        Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?))
    };
    let mut mappings = Vec::new();
    for line in smaps.lines() {
        if let Some((start, end)) = range(line) {
            mappings.push(Mapping { start, end, ..Mapping::default() });
        } else if let Some(last) = mappings.last_mut() {
            last.resident_kib += kib(line, "Rss:").unwrap_or(0);
            last.proportional_kib += kib(line, "Pss:").unwrap_or(0);
        }
    }
    mappings
}

/// Resident KiB of all mappings of that process but guest RAM, and of them its
/// proportional share.
///
/// No run of mappings without a gap is as large as guest RAM, which is more than one
/// mapping where an initrd was waited for.
fn beside_guest_ram(process: u32) -> (u64, u64) {
    let mappings = mappings(process);
    let runs = mappings.chunk_by(|one, next| one.end == next.start);
    let beside = runs.filter(|run| run[run.len() - 1].end - run[0].start < MEMORY_MIB << 20);
    beside.flatten().fold((0, 0), |(resident, proportional), mapping| {
        (resident + mapping.resident_kib, proportional + mapping.proportional_kib)
    })
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
