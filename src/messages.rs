//! What ukivm itself says, all of it on standard error.

use std::io::Write as _;

/// Says one line, behind `ukivm: `. Nobody may be listening.
pub fn say(line: &str) {
    drop(writeln!(std::io::stderr(), "ukivm: {line}"));
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
