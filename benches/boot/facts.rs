//! What machine this is: numbers mean nothing without it.

use std::{fmt, fs};

use serde::Serialize;

/// Facts of the machine.
#[derive(Debug, Serialize)]
pub(crate) struct Facts {
    cpu: String,
    cpus: usize,
    kernel: String,
    kvm: String,
    huge_pages: String,
    load_before: String,
}

impl Facts {
    /// As `/proc` and `/sys` have them.
    pub(crate) fn gather() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let models = || cpuinfo.lines().filter_map(|line| line.strip_prefix("model name"));
        Self {
            cpu: models().next().unwrap_or("?").trim_start_matches(['\t', ' ', ':']).to_owned(),
            cpus: models().count(),
            kernel: text("/proc/sys/kernel/osrelease"),
            kvm: kvm_modules(),
            huge_pages: chosen(&text("/sys/kernel/mm/transparent_hugepage/enabled")),
            load_before: load(),
        }
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, cpus, kernel, kvm, huge_pages, load_before } = self;
        write!(
            f,
            "{cpus} × {cpu}; Linux {kernel}; KVM: {kvm}; transparent huge pages: {huge_pages}; \
             load before: {load_before}"
        )
    }
}

/// The load averages of the last 1, 5 and 15 minutes.
pub(crate) fn load() -> String {
    text("/proc/loadavg").split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// The modules that are KVM here.
fn kvm_modules() -> String {
    let entries = fs::read_dir("/sys/module").into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut modules: Vec<_> = names.filter(|name| name.starts_with("kvm_")).collect();
    modules.sort();
    if modules.is_empty() { "built in, or none".to_owned() } else { modules.join(" ") }
}

fn text(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "?".to_owned(), |text| text.trim().to_owned())
}

/// The word in brackets.
fn chosen(choices: &str) -> String {
    let chosen = choices.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    chosen.map_or(choices, |(word, _)| word).to_owned()
}
