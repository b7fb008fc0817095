//! What ukivm itself says, all of it on standard error.

use std::io::Write as _;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::visible::visible;

/// How long a reader of standard error may keep us waiting.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Says one line, behind `ukivm: `; what is in it may be from a hostile file, or its
/// name. Nobody may be listening, or somebody who does not read: that is not waited
/// for.
pub fn say(line: &str) {
    let stderr = std::io::stderr();
    let ready = poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], Some(&PATIENCE));
    if ready.is_ok_and(|ready| ready > 0) {
        drop(writeln!(stderr.lock(), "ukivm: {}", visible(line)));
    }
}

/// An error and its causes, joined by colons.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
