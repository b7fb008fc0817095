//! What a hostile UKI, or a guest that has broken out, finds around it.
//!
//! Before the first instruction of a guest the process gives up whatever it does not
//! need to run it:
//!
//! - privileges (`privileges`): no new ones by `exec`, no capabilities, no core dump
//!   that would hold guest memory, no descriptor that was inherited;
//! - files (`files`): Landlock leaves those of the job that are still to be opened
//!   or written by name, and no TCP;
//! - system calls ([`rules`]): a seccomp filter for each kind of thread, from one
//!   table.
//!
//! QEMU, where it runs the guest's code, is in a sandbox of its own: the same limits,
//! the files of its installation, and its own filter of system calls.
//!
//! A call outside the rules ends the process at once with status 70 and the call's
//! name (`violation`). What the host's kernel does not offer is said once, and the
//! guest runs all the same; `ukivm doctor` says it beforehand.
//!
//! # A new thread
//!
//! `Sandbox::confine` puts *all* threads that are there, and those that come after,
//! under the rules of the supervisor: a thread that nobody thought of is confined too.
//! One that handles what the guest wrote narrows itself further with `narrow`,
//! first thing, if it starts after that; or with a `Narrowing` before it touches
//! what came from the guest, if it starts earlier. To give a device's thread rules of
//! its own:
//!
//! 1. add a kind to `Thread` with its letter;
//! 2. put the letter into the rows of [`rules::TABLE`] and [`ioctls::TABLE`] for the calls that it
//!    makes, new rows with a reason;
//! 3. call `narrow(Thread::…)` in it;
//! 4. run something that uses it: what is missing ends the program with its name, and what is
//!    too much is found by the test that no rule is unused.

mod files;
mod filter;
pub mod ioctls;
mod names;
mod privileges;
pub mod rules;
#[cfg(debug_assertions)]
pub(crate) mod trial;
mod violation;

use std::{
    os::fd::{OwnedFd, RawFd},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use self::files::Outputs;
pub use self::rules::Thread;
pub(crate) use self::{
    files::landlock,
    filter::{Narrowing, has_seccomp, is_confined, narrow},
    privileges::Limits,
};
use crate::{child::share_heap, engine::Kind, messages::say};

/// What is said of a run without it.
const GIVEN_UP: &str = "\
warning: --no-sandbox: a guest that breaks out of its virtual machine, or a UKI that exploits a bug, \
can do all that you can: no system call is refused, no file is out of reach";

/// What is left to a process that runs a guest.
#[derive(Debug, Default)]
pub struct Sandbox {
    is_on: bool,
    /// Where something is to be made when the guest has ended.
    outputs: Outputs,
    inherited: Vec<RawFd>,
    /// QEMU is started more than once.
    starts_again: bool,
    is_closed: AtomicBool,
}

impl Sandbox {
    /// No sandbox.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The sandbox, or none where it is `unwanted`, which is said. To be made before
    /// anything is opened.
    #[must_use]
    pub fn unless(unwanted: bool) -> Self {
        if unwanted {
            say(GIVEN_UP);
            return Self::none();
        }
        share_heap();
        violation::take();
        Self { is_on: true, inherited: privileges::inherited(), ..Self::default() }
    }

    /// Files that are open already get names in `folder` after the guest has ended.
    #[must_use]
    pub fn naming_in(mut self, folder: &Path) -> Self {
        self.outputs.naming.push(folder.to_owned());
        self
    }

    /// Files in `folder` are to be made and replaced by name after the guest has ended.
    #[must_use]
    pub fn writing_in(mut self, folder: &Path) -> Self {
        self.outputs.writing.push(folder.to_owned());
        self
    }

    /// The guest may be started more than once.
    #[must_use]
    pub fn starting_again(mut self, again: bool) -> Self {
        self.starts_again = again;
        self
    }

    /// Confines this process for good: every thread, and those to come. All that is
    /// opened by name is open; on the TCG engine, QEMU runs and its guest does not yet.
    pub(crate) fn confine(&self, engine: Kind) {
        // A process that starts other QEMUs can't give up what they need; none of the
        // guest's code runs in it.
        let starts_others = self.starts_again && engine == Kind::Tcg;
        if !self.is_on || starts_others || self.is_closed.swap(true, Ordering::SeqCst) {
            return;
        }
        privileges::give_up(&self.inherited, !self.outputs.is_empty());
        files::confine(engine, &self.outputs);
        filter::confine(match engine {
            Kind::Kvm => Thread::Kvm,
            Kind::Tcg => Thread::Qemu,
        });
    }

    /// Confines the calling thread, which runs no guest: it writes what came out.
    pub(crate) fn confine_writer(&self) {
        if self.is_on {
            files::confine_to(&self.outputs);
        }
    }

    /// What the QEMU at `program` is to be confined to, which may open `given` again, and
    /// where it `makes_files` those too.
    pub(crate) fn of_qemu(
        &self,
        program: &Path,
        given: &[OwnedFd],
        makes_files: bool,
    ) -> Option<Limits> {
        self.is_on.then(|| Limits::new(files::of_qemu(program, given, makes_files)))
    }

    /// Whether there is one.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }
}
