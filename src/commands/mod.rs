//! One file a command. Each takes its options and gives an exit status.

pub mod doctor;
mod json_file;
pub mod plan;
pub mod run;

use std::io::{ErrorKind, Write as _};

use firmware_less::handoff::kexec::Warning;

use crate::{error::Error, messages::say};

/// Says each warning.
fn warn(warnings: &[Warning]) {
    for warning in warnings {
        say(&format!("warning: {warning}"));
    }
}

/// Prints `text` on standard output. A reader that went away is no error.
fn print(text: &str) -> Result<(), Error> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(source) if source.kind() != ErrorKind::BrokenPipe => {
            Err(Error::Write { path: "standard output".into(), source })
        }
        _ => Ok(()),
    }
}
