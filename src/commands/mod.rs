//! One file a command. Each takes its options and gives an exit status.

pub mod doctor;
pub mod measure;
pub mod plan;
pub mod run;

use std::{fs, io::Write as _, path::Path};

use firmware_less::{handoff::kexec::Warning, uki::handed::Note};
use serde::Serialize;

use crate::{cli::STANDARD_OUTPUT, error::Error, job::Job, messages::say};

/// Writes `value` as JSON to the file at `path`, all of it or nothing.
fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| failed(error.into()))?;
    text.push(b'\n');
    // A pipe or a device is written as it is; a file appears whole.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return fs::write(path, &text).map_err(failed);
    }
    let part = path.with_added_extension("part");
    let written = fs::write(&part, &text).and_then(|()| fs::rename(&part, path));
    written.map_err(|error| {
        // Nothing half-written stays behind; it may not even be there.
        drop(fs::remove_file(&part));
        failed(error)
    })
}

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
fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    drop(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()));
}

/// Writes `value` as JSON to `file`, which may stand for standard output.
fn report_json(file: &Path, value: &impl Serialize) -> Result<(), Error> {
    if file != Path::new(STANDARD_OUTPUT) {
        return write_json(file, value);
    }
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::Write { path: "standard output".into(), source: error.into() })?;
    print(&format!("{text}\n"));
    Ok(())
}
