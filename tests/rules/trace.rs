//! Who made which calls, as strace tells of it.

use std::collections::{BTreeMap, BTreeSet};

/// Calls, and ioctls by their own names, by the letter of the thread that made them.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    made: BTreeMap<char, BTreeSet<String>>,
}

/// A thread of the program.
#[derive(Debug, Default)]
struct Thread {
    name: String,
    /// Whose rules it is under; none before it is confined.
    letter: Option<char>,
}

impl Trace {
    /// Of `log`, the threads of `program` from when they were confined: under the rules of
    /// `supervisor`, or narrower ones, where those of a vCPU are `vcpu`'s.
    pub(crate) fn read(log: &str, program: &str, supervisor: char, vcpu: char) -> Self {
        let starters = starters(log);
        let mut threads: BTreeMap<&str, Thread> = BTreeMap::new();
        let (mut trace, mut confined) = (Self::default(), None);
        for (id, call) in log.lines().filter_map(parts) {
            if call.starts_with(&format!("execve(\"{program}\"")) {
                threads.insert(id, Thread::default());
            } else if let Some(starter) = starters.get(id)
                && !threads.contains_key(id)
                && let Some(letter) = threads.get(starter).map(|thread| thread.letter)
            {
                threads.insert(id, Thread { letter, ..Thread::default() });
            }
            let Some(thread) = threads.get_mut(id) else { continue };
            thread.letter = thread.letter.or(confined);
            trace.note(thread.letter, call);
            if let Some(name) = call.strip_prefix("prctl(PR_SET_NAME, \"") {
                name.split('"').next().unwrap_or_default().clone_into(&mut thread.name);
            }
            if call.starts_with("seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC") {
                confined = Some(supervisor);
                thread.letter = confined;
            } else if call.starts_with("seccomp(SECCOMP_SET_MODE_FILTER") {
                thread.letter = Some(match thread.name.as_str() {
                    "console" => 'W',
                    "stdin" => 'R',
                    _ => vcpu,
                });
            }
        }
        trace
    }

    fn note(&mut self, letter: Option<char>, call: &str) {
        let Some(letter) = letter else { return };
        let made = self.made.entry(letter).or_default();
        let Some(name) = name(call) else { return };
        made.insert(name.to_owned());
        if name == "ioctl" {
            let number = call.split(", ").nth(1).unwrap_or_default();
            made.insert(number.split([')', ' ']).next().unwrap_or_default().to_owned());
        }
    }

    pub(crate) fn extend(&mut self, other: Self) {
        for (letter, made) in other.made {
            self.made.entry(letter).or_default().extend(made);
        }
    }

    /// What threads with that letter made.
    pub(crate) fn of(&self, letter: char) -> BTreeSet<String> {
        self.made.get(&letter).cloned().unwrap_or_default()
    }

    /// What any thread made.
    pub(crate) fn of_any(&self) -> BTreeSet<String> {
        self.made.values().flatten().cloned().collect()
    }
}

/// A line's thread, and what it says of it.
fn parts(line: &str) -> Option<(&str, &str)> {
    let (id, call) = line.split_once(' ')?;
    Some((id, call.trim_start()))
}

/// The name of the call that begins here, or goes on.
fn name(call: &str) -> Option<&str> {
    let call = call.strip_prefix("<... ").unwrap_or(call);
    let name = call.split(['(', ' ']).next()?;
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (!name.is_empty() && name.bytes().all(is_name)).then_some(name)
}

/// Which thread started which.
fn starters(log: &str) -> BTreeMap<&str, &str> {
    let (mut starting, mut starters) = (BTreeSet::new(), BTreeMap::new());
    for (id, call) in log.lines().filter_map(parts) {
        if call.starts_with("clone") {
            starting.remove(id);
            if call.contains("CLONE_THREAD") {
                starting.insert(id);
            }
        }
        let is_clone = name(call).is_some_and(|name| name.starts_with("clone"));
        if is_clone
            && starting.contains(id)
            && let Some((_, child)) = call.rsplit_once(" = ")
        {
            starters.insert(child.trim(), id);
        }
    }
    starters
}
