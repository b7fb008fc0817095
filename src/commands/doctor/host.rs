//! What whoever gets a bug report needs to know of this host, and nothing that
//! tells whose it is: no names of hosts, users, folders or networks.

use std::{fmt::Write as _, fs, os::unix::fs::MetadataExt as _, path::Path};

use super::Check;
use crate::engine::kvm;

/// Flags of the processor that matter to a monitor of virtual machines.
const FLAGS: [&str; 28] = [
    "hypervisor",
    "vmx",
    "svm",
    "ept",
    "vpid",
    "npt",
    "nrip_save",
    "vnmi",
    "avic",
    "x2apic",
    "tsc_deadline_timer",
    "constant_tsc",
    "nonstop_tsc",
    "tsc_known_freq",
    "la57",
    "pdpe1gb",
    "smep",
    "smap",
    "umip",
    "pku",
    "xsave",
    "xsaves",
    "avx2",
    "avx512f",
    "amx_tile",
    "sha_ni",
    "rdrand",
    "rdseed",
];

/// Words of the host's own command line that matter; the others may be anything.
const WORDS: [&str; 14] = [
    "amd_iommu",
    "clocksource",
    "hugepages",
    "hugepagesz",
    "intel_iommu",
    "iommu",
    "isolcpus",
    "kvm",
    "mitigations",
    "nohz_full",
    "nosmt",
    "preempt",
    "transparent_hugepage",
    "tsc",
];

/// Files that tell one thing each.
const FILES: [(&str, &str); 18] = [
    ("kernel", "/proc/sys/kernel/osrelease"),
    ("kernel built", "/proc/sys/kernel/version"),
    ("clock", "/sys/devices/system/clocksource/clocksource0/current_clocksource"),
    ("governor", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    ("processors", "/sys/devices/system/cpu/online"),
    ("SMT", "/sys/devices/system/cpu/smt/active"),
    ("transparent huge pages", "/sys/kernel/mm/transparent_hugepage/enabled"),
    ("their shared kind", "/sys/kernel/mm/transparent_hugepage/shmem_enabled"),
    ("huge pages", "/proc/sys/vm/nr_hugepages"),
    ("overcommit", "/proc/sys/vm/overcommit_memory"),
    ("maps", "/proc/sys/vm/max_map_count"),
    ("security modules", "/sys/kernel/security/lsm"),
    ("hypervisor", "/sys/hypervisor/type"),
    ("board", "/sys/class/dmi/id/sys_vendor"),
    ("product", "/sys/class/dmi/id/product_name"),
    ("BIOS", "/sys/class/dmi/id/bios_version"),
    ("processes", "/proc/sys/kernel/pid_max"),
    ("perf", "/proc/sys/kernel/perf_event_paranoid"),
];

/// Lines of `/proc/self/status`, `/proc/self/limits` and `/proc/meminfo`.
const LINES: [(&str, &[&str]); 3] = [
    ("/proc/self/status", &["CapEff", "CapBnd", "NoNewPrivs", "Seccomp", "Cpus_allowed_list"]),
    (
        "/proc/self/limits",
        &["Max locked memory", "Max open files", "Max processes", "Max address space"],
    ),
    ("/proc/meminfo", &["MemTotal", "MemAvailable", "HugePages_Total", "Hugepagesize"]),
];

/// Something and what it is.
type Fact = (String, String);

/// The report: `checks` are what `ukivm doctor` says anyway.
pub(super) fn report(checks: &[Check]) -> String {
    let one = |name: &str, value: String| vec![(name.to_owned(), value)];
    let facts = [
        one("ukivm", env!("CARGO_PKG_VERSION").to_owned()),
        one("build", build().to_owned()),
        checks.iter().map(checked).collect(),
        one("distribution", distribution()),
        FILES.iter().filter_map(|(name, path)| file(name, Path::new(path))).collect(),
        one("command line", command_line()),
        processor(),
        LINES.iter().flat_map(|(path, wanted)| lines(path, wanted)).collect(),
        control_groups(),
        device().into_iter().collect(),
        modules(),
        kvm::extensions().iter().map(|(name, n)| ((*name).to_owned(), n.to_string())).collect(),
    ];
    facts.concat().iter().fold(String::new(), |mut text, (name, value)| {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{name}: {}", crate::visible::visible(value.trim()));
        text
    })
}

fn checked(check: &Check) -> Fact {
    let good = check.good.map_or("-", |good| if good { "good" } else { "BAD" });
    (check.name.to_owned(), format!("{good}: {}", check.found))
}

fn file(name: &str, path: &Path) -> Option<Fact> {
    Some((name.to_owned(), fs::read_to_string(path).ok()?))
}

/// The lines of a file that begin with one of those names, and what follows it.
fn lines(path: &str, wanted: &[&str]) -> Vec<Fact> {
    let all = fs::read_to_string(path).unwrap_or_default();
    let fact = |line: &str| {
        let name = wanted.iter().find(|name| line.starts_with(**name))?;
        let value = line.strip_prefix(*name)?.strip_prefix([':', ' '])?;
        let words: Vec<_> = value.split_whitespace().collect();
        Some(((*name).to_owned(), words.join(" ")))
    };
    all.lines().filter_map(fact).collect()
}

fn build() -> &'static str {
    match (cfg!(debug_assertions), cfg!(target_feature = "crt-static")) {
        (true, _) => "for debugging",
        (false, true) => "release, static",
        (false, false) => "release, linked to the host's C library",
    }
}

/// Of os-release only what names the distribution.
fn distribution() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let pretty = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    pretty.unwrap_or("?").trim_matches('"').to_owned()
}

/// The words that matter, and how many others there are.
fn command_line() -> String {
    let all = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let matters = |word: &&str| {
        let name = word.split(['=', '.']).next().unwrap_or_default();
        WORDS.contains(&name) || name.starts_with("kvm")
    };
    let (shown, hidden): (Vec<&str>, Vec<&str>) = all.split_whitespace().partition(matters);
    format!("{} (and {} other words)", shown.join(" "), hidden.len())
}

fn processor() -> Vec<Fact> {
    let all = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let first = all.split("\n\n").next().unwrap_or_default();
    let field = |name: &str| {
        let fields = first.lines().filter_map(|line| line.split_once(':'));
        let found = fields.into_iter().find(|(field, _)| field.trim() == name);
        found.map(|(_, value)| value.trim().to_owned())
    };
    let fact = |name: &str| Some((name.to_owned(), field(name)?));
    let names = ["model name", "cpu family", "model", "stepping", "microcode", "address sizes"];
    let mut found: Vec<_> = names.into_iter().filter_map(fact).collect();
    let flags = field("flags").unwrap_or_default() + " " + &field("vmx flags").unwrap_or_default();
    let has = |flag: &&str| flags.split_whitespace().any(|word| word == *flag);
    let flags: Vec<_> = FLAGS.into_iter().filter(has).collect();
    found.push(("flags".to_owned(), flags.join(" ")));
    found.extend(fact("bugs"));
    found
}

/// The limits of our control group; not its name, which tells of users and jobs.
fn control_groups() -> Vec<Fact> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(path) = own.lines().find_map(|line| line.strip_prefix("0::/")) else {
        return vec![("control groups".to_owned(), "of the first version, or none".to_owned())];
    };
    let folder = Path::new("/sys/fs/cgroup").join(path);
    ["memory.max", "memory.high", "memory.swap.max", "cpu.max", "pids.max"]
        .into_iter()
        .filter_map(|name| file(&format!("cgroup {name}"), &folder.join(name)))
        .collect()
}

/// Whose the device is by number, and whether that is us.
fn device() -> Option<Fact> {
    let device = fs::metadata("/dev/kvm").ok()?;
    let user = rustix::process::geteuid();
    let groups = rustix::process::getgroups().unwrap_or_default();
    let is_in = groups.iter().any(|group| group.as_raw() == device.gid());
    let who = format!(
        "mode {:o}, user {}, group {}; ukivm is {}, {} in that group",
        device.mode() & 0o7777,
        device.uid(),
        device.gid(),
        if user.is_root() { "root" } else { "no root" },
        if is_in { "and" } else { "and not" },
    );
    Some(("/dev/kvm".to_owned(), who))
}

/// The modules that are KVM here, and how they are set.
fn modules() -> Vec<Fact> {
    let mut found = Vec::new();
    for module in ["kvm", "kvm_intel", "kvm_amd"] {
        let folder = Path::new("/sys/module").join(module);
        if folder.exists() {
            found.push((module.to_owned(), "there".to_owned()));
        }
        let parameters = fs::read_dir(folder.join("parameters")).into_iter().flatten().flatten();
        let mut parameters: Vec<_> = parameters
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                file(&format!("{module}.{name}"), &entry.path())
            })
            .collect();
        parameters.sort();
        found.extend(parameters);
    }
    found
}
