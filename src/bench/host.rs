//! What machine this is: numbers mean nothing without it.

use std::{fmt, fs, path::Path};

use serde::{Deserialize, Serialize};

/// Facts of the host, as `/proc` and `/sys` have them; `?` where they have not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// The processor's model.
    pub cpu: String,
    /// How many processors may be used.
    pub cpus: usize,
    /// The kernel's release.
    pub kernel: String,
    /// The modules that are KVM here.
    pub kvm: String,
    /// Which frequency governor the first processor has.
    pub governor: String,
    /// The setting of transparent huge pages.
    pub huge_pages: String,
    /// The clock that times come from.
    pub clock: String,
    /// The load averages of the last 1, 5 and 15 minutes, before the first boot.
    pub load_before: String,
    /// The same after the last.
    pub load_after: String,
}

impl Host {
    /// As it is now.
    #[must_use]
    pub fn gather() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
        let load = load();
        Self {
            cpu: model.unwrap_or("?").trim_start_matches(['\t', ' ', ':']).to_owned(),
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: text("/proc/sys/kernel/osrelease"),
            kvm: kvm_modules(Path::new("/sys/module")),
            governor: text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            huge_pages: chosen(&text("/sys/kernel/mm/transparent_hugepage/enabled")),
            clock: text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            load_after: load.clone(),
            load_before: load,
        }
    }

    /// Notes the load as it is now.
    pub fn note_load(&mut self) {
        self.load_after = load();
    }

    /// Why times of this host and of `other` can't be compared, if they can't: what
    /// differs that matters.
    #[must_use]
    pub fn differs(&self, other: &Self) -> Option<String> {
        let facts = [
            ("processor", &self.cpu, &other.cpu),
            ("host kernel", &self.kernel, &other.kernel),
            ("KVM module", &self.kvm, &other.kvm),
        ];
        let number = (self.cpus != other.cpus)
            .then(|| format!("number of processors ({}, then {})", self.cpus, other.cpus));
        let facts = facts.into_iter().filter(|(_, one, two)| one != two);
        let facts = facts.map(|(what, one, two)| format!("{what} ({one}, then {two})"));
        let all: Vec<_> = facts.chain(number).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, cpus, kernel, kvm, governor, huge_pages, clock, load_before, load_after } =
            self;
        write!(
            f,
            "{cpus} × {cpu}, governor {governor}; Linux {kernel}; KVM: {kvm}; transparent huge \
             pages: {huge_pages}; clock: {clock}; load {load_before} before, {load_after} after"
        )
    }
}

fn load() -> String {
    text("/proc/loadavg").split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

fn kvm_modules(folder: &Path) -> String {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_in_brackets_is_the_chosen_one() {
        assert_eq!(chosen("always [madvise] never"), "madvise");
        assert_eq!(chosen("?"), "?");
    }

    #[test]
    fn load_is_no_reason_not_to_compare_and_another_processor_is() {
        let host = Host::gather();
        let busy = Host { load_before: "9 9 9".to_owned(), ..host.clone() };
        assert_eq!(host.differs(&busy), None);
        let other = Host { cpu: "Z80".to_owned(), ..host.clone() };
        assert!(host.differs(&other).is_some_and(|what| what.contains("Z80")), "{host}");
    }
}
