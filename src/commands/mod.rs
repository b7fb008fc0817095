//! One file a command. Each takes its options and gives an exit status.

pub mod doctor;
mod json_file;
pub mod measure;
pub mod plan;
pub mod run;
pub mod smoke;

use std::io::{ErrorKind, Write as _};

use firmware_less::{handoff::kexec::Warning, uki::handed::Note};

use crate::{error::Error, job::Job, messages::say};

/// Says what was done that nobody asked for by name, a line each.
fn tell(job: &Job) {
    for note in &job.handed.notes {
        say(&match note {
            Note::Console { appended } => {
                format!("the command line names no console: {appended} added, as systemd-stub does")
            }
            Note::AddonLeftOut { addon, wanted, found } => {
                let path = job.files.get(*addon).map(|file| file.path.display().to_string());
                let path = path.unwrap_or_default();
                format!("{path} left out: it is for Linux {wanted}, the UKI has {found}")
            }
            note => format!("{note:?}"),
        });
    }
}

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
