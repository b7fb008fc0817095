//! What a guest saw of what it was handed, by its own account on the console.

use std::collections::{BTreeMap, BTreeSet};

/// What stands for something that is not there.
const NOTHING: &str = "–";

const COMMAND_LINE: &str = "command line";

const PANIC: &str = "panic";

/// What a guest saw: the command line; each file in its initrd with mode, owner
/// and SHA-256; or, if it came to no initrd, the kernel's own words.
#[derive(Debug)]
pub(super) struct Seen {
    facts: BTreeMap<String, String>,
}

/// One fact that differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Difference {
    pub(super) what: String,
    pub(super) firmware: String,
    pub(super) ukivm: String,
}

impl Seen {
    /// What the serial port's output tells.
    pub(super) fn of(console: &str) -> Self {
        assert!(!console.contains("ukivm-guest: error="), "{console}");
        let lines: Vec<&str> = console.lines().map(|line| line.trim_end_matches('\r')).collect();
        let told = |key: &'static str| {
            let key = format!("ukivm-guest: {key}=");
            lines.iter().filter_map(move |line| Some(line.split_once(&key)?.1))
        };
        let mut facts = BTreeMap::new();
        for file in told("file") {
            let mut words = file.splitn(3, ' ');
            let mut word = || words.next().unwrap_or_default();
            let (mode, owner, name) = (word(), word(), word());
            facts.insert(name.to_owned(), format!("{mode} {owner}"));
        }
        for digest in told("digest") {
            let (digest, name) = digest.split_once("  ").expect("sha256sum's form");
            let fact = facts
                .get_mut(name)
                .unwrap_or_else(|| panic!("no line file= for {name} in {console}"));
            fact.push(' ');
            fact.push_str(digest);
        }
        facts.extend(told("cmdline").map(|words| (COMMAND_LINE.to_owned(), words.to_owned())));
        if !lines.contains(&"ukivm-guest: ready") {
            facts.extend(lines.iter().filter_map(|line| kernels(line)));
            assert!(facts.contains_key(PANIC), "neither ready nor a panic in {console}");
        }
        assert!(facts.contains_key(COMMAND_LINE), "no command line in {console}");
        Self { facts }
    }

    pub(super) fn cmdline(&self) -> &str {
        &self.facts[COMMAND_LINE]
    }

    /// What is known of `what`: a file, by its path; the `initrd`'s size and the
    /// `panic`, of a kernel that came to no initrd.
    pub(super) fn fact(&self, what: &str) -> Option<&str> {
        self.facts.get(what).map(String::as_str)
    }

    pub(super) fn has(&self, file: &str) -> bool {
        self.facts.contains_key(file)
    }

    /// How `self`, handed over by firmware and stub, differs from `ukivm`'s.
    pub(super) fn differences(&self, ukivm: &Self) -> Vec<Difference> {
        let names: BTreeSet<&String> = self.facts.keys().chain(ukivm.facts.keys()).collect();
        let different = |name| difference(name, self.fact(name), ukivm.fact(name));
        let mut differences: Vec<_> =
            names.into_iter().filter_map(|name| different(name)).collect();
        differences.sort();
        differences
    }
}

/// A fact in the kernel's own words.
fn kernels(line: &str) -> Option<(String, String)> {
    let after = |words| Some(line.split_once(words)?.1);
    let fact = |what: &str, is: &str| Some((what.to_owned(), is.to_owned()));
    if let Some(words) = after("] Kernel command line: ") {
        return fact(COMMAND_LINE, words);
    }
    if let Some(range) = after("] RAMDISK: [mem ") {
        let (start, last) = range.trim_end_matches(']').split_once('-')?;
        let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
        let pages = (number(last)? + 1 - number(start)?).div_ceil(4096);
        return fact("initrd", &format!("{pages} pages"));
    }
    fact(PANIC, after("] Kernel panic - ")?)
}

fn difference(what: &str, firmware: Option<&str>, ukivm: Option<&str>) -> Option<Difference> {
    if firmware == ukivm {
        return None;
    }
    let (firmware, ukivm) = match (firmware, ukivm) {
        (Some(firmware), Some(ukivm)) if what == COMMAND_LINE => words(firmware, ukivm),
        (Some(firmware), Some(ukivm)) => (firmware.to_owned(), ukivm.to_owned()),
        (firmware, ukivm) => (mode(firmware), mode(ukivm)),
    };
    Some(Difference { what: what.to_owned(), firmware, ukivm })
}

/// Of something that only one has, what it is: its content may be random.
fn mode(fact: Option<&str>) -> String {
    fact.and_then(|fact| fact.split(' ').next()).unwrap_or(NOTHING).to_owned()
}

/// The words that only one has; all of both if that is not the whole difference.
fn words(firmware: &str, ukivm: &str) -> (String, String) {
    let split = |of: &str, other: &str| -> (Vec<String>, Vec<String>) {
        let other: Vec<&str> = other.split(' ').collect();
        let common = |word: &String| word.is_empty() || other.contains(&word.as_str());
        of.split(' ').map(str::to_owned).partition(common)
    };
    let (common, only_firmware) = split(firmware, ukivm);
    let (common_too, only_ukivm) = split(ukivm, firmware);
    if common != common_too {
        return (firmware.to_owned(), ukivm.to_owned());
    }
    let shown = |words: Vec<String>| {
        if words.is_empty() { NOTHING.to_owned() } else { words.join(" ") }
    };
    (shown(only_firmware), shown(only_ukivm))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A guest with that command line and those files, a digest each.
    fn seen(cmdline: &str, files: &[(&str, &str)]) -> Seen {
        let told = |(name, digest): &(&str, &str)| {
            format!(
                "ukivm-guest: file=-r--r--r-- 0:0 {name}\r\nukivm-guest: digest={digest}  {name}\r\n"
            )
        };
        let files: String = files.iter().map(told).collect::<Vec<_>>().concat();
        Seen::of(&format!("ukivm-guest: cmdline={cmdline}\r\n{files}ukivm-guest: ready\r\n"))
    }

    fn differences(firmware: &Seen, ukivm: &Seen) -> Vec<[String; 3]> {
        let differences = firmware.differences(ukivm).into_iter();
        differences.map(|d| [d.what, d.firmware, d.ukivm]).collect()
    }

    #[test]
    fn files_differ_by_being_there_and_by_their_content() {
        let firmware = seen("a", &[("/both", "00"), ("/init", "11"), ("/secret", "22")]);
        let ukivm = seen("a", &[("/both", "00"), ("/init", "33")]);
        assert_eq!(
            differences(&firmware, &ukivm),
            [["/init", "-r--r--r-- 0:0 11", "-r--r--r-- 0:0 33"], ["/secret", "-r--r--r--", "–"],]
        );
        assert!(differences(&firmware, &firmware).is_empty());
    }

    #[test]
    fn command_lines_differ_by_words_or_in_whole() {
        let between = |firmware, ukivm| differences(&seen(firmware, &[]), &seen(ukivm, &[]));
        assert_eq!(between("a b c", "a c"), [["command line", "b", "–"]]);
        assert_eq!(between("a  b", "a b"), [["command line", "a  b", "a b"]]);
        assert_eq!(between("a b", "b a"), [["command line", "a b", "b a"]]);
    }

    #[test]
    fn a_kernel_that_panics_tells_of_its_command_line_and_its_initrd() {
        let seen = Seen::of(
            "[    0.0] Kernel command line: quiet\r\n\
             [    0.0] RAMDISK: [mem 0x1eb18000-0x1eb19fff]\r\n\
             [    1.0] Kernel panic - not syncing: no root\r\n",
        );
        assert_eq!(seen.cmdline(), "quiet");
        assert_eq!(seen.fact("initrd"), Some("2 pages"));
        assert_eq!(seen.fact("panic"), Some("not syncing: no root"));
    }
}
