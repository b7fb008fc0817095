//! The TCG engine from inside: plans made by hand, so that every byte and every
//! register that the guest is to find is known.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what can't be in a test fails it"
)]

mod count;
mod ends;
mod guest;
mod hand_over;
mod loading;

use std::{
    fs::File,
    sync::Arc,
    time::{Duration, Instant},
};

use firmware_less::{plan::BootPlan, range::GuestRange};
use ukivm::{
    attached::Attached,
    engine::tcg::{self, Memory, Vm},
    files::Files,
    outcome::Outcome,
    sandbox::Sandbox,
    session::{Limits, Session},
    timeline::Timeline,
};

use crate::support::skip;

/// Whether there is a QEMU; if not, `test` is noted as skipped.
fn have_qemu(test: &str) -> bool {
    match tcg::qemu() {
        Ok(_) => true,
        Err(error) => {
            skip(test, &format!("no TCG: {error}"));
            false
        }
    }
}

/// Runs `plan` until it ends or `limit` has passed.
fn run(plan: &BootPlan, limit: Duration) -> (Outcome, Arc<Memory>) {
    let vm = Vm::create(plan.machine()).unwrap().load(plan, &Files::default()).unwrap();
    let memory = vm.memory();
    (vm.run(&session(limit), (&Attached::default(), &Sandbox::none())).unwrap(), memory)
}

/// A session without a console.
fn session(limit: Duration) -> Session {
    let nothing = || File::options().read(true).write(true).open("/dev/null").unwrap();
    let start = Instant::now();
    let limits = Limits { start, time_limit: Some(limit), interactive: false };
    Session::with_console(nothing(), nothing(), limits, Timeline::new(start)).unwrap()
}

/// The bytes of `range`.
fn bytes(memory: &Memory, range: GuestRange) -> Vec<u8> {
    let mut bytes = Vec::new();
    memory.read(range, &mut |piece| bytes.extend_from_slice(piece)).unwrap();
    bytes
}
