//! Privileges, core dumps and descriptors that nobody here needs.

use std::{fs, io, os::fd::RawFd};

use landlock::RulesetCreated;
use rustix::{
    process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit},
    thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs},
};

use crate::child;

/// Root's way to files of others: a report may have to be written in a folder of theirs.
const FILES: CapabilitySet =
    CapabilitySet::DAC_OVERRIDE.union(CapabilitySet::DAC_READ_SEARCH).union(CapabilitySet::FOWNER);

/// The descriptors that this process was started with, but for the standard ones. To be
/// asked for before anything is opened.
pub(super) fn inherited() -> Vec<RawFd> {
    let Ok(folder) = fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let number = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    let numbers: Vec<RawFd> = folder.filter_map(number).filter(|number| *number > 2).collect();
    // The folder itself was among them.
    numbers.into_iter().filter(|number| child::is_open(*number)).collect()
}

/// Gives up what the process does not need any more. `writes` says whether files are
/// still to be written by name.
pub(super) fn give_up(inherited: &[RawFd], writes: bool) {
    child::close(inherited);
    // All of these may fail only where there was nothing to give up.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).ok();
    no_core().ok();
    set_no_new_privs(true).ok();
    keep(if writes { FILES } else { CapabilitySet::empty() }).ok();
}

fn no_core() -> rustix::io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
}

/// Of the thread's capabilities, keeps those in `kept`.
fn keep(kept: CapabilitySet) -> rustix::io::Result<()> {
    let kept = if kept.is_empty() { kept } else { capabilities(None)?.permitted & kept };
    let inheritable = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable })
}

/// What a child process is confined to.
#[derive(Debug)]
pub(crate) struct Limits {
    files: Option<RulesetCreated>,
}

impl Limits {
    /// To `files`, where the kernel can do that.
    pub(super) fn new(files: Option<RulesetCreated>) -> Self {
        Self { files }
    }

    /// Confines the calling thread. Between fork and exec: makes system calls and
    /// nothing else.
    pub(crate) fn apply(&mut self) -> io::Result<()> {
        no_core()?;
        set_no_new_privs(true)?;
        keep(CapabilitySet::empty())?;
        // What could not be asked for was said of the process itself.
        self.files.take().map(RulesetCreated::restrict_self).transpose().ok();
        Ok(())
    }
}
