//! One file a command. Each takes its options and gives an exit status.

pub mod bench;
pub mod diff;
pub mod doctor;
pub mod help;
pub mod inspect;
mod json_file;
pub mod measure;
mod new_file;
mod output_file;
pub mod plan;
pub mod probe;
pub mod run;
pub mod smoke;

use std::io::{ErrorKind, Write as _};

use firmware_less::uki::{Name, Reading, handed::Note};

use crate::{
    error::Error,
    job::{Job, Planned},
    messages::say,
    verdict::consoles,
};

/// Says whose reading applies if it is not the default, and what was done that
/// nobody asked for by name, a line each.
fn tell(job: &Job) {
    let reading = job.uki.reading();
    if reading != Reading::default() {
        say(&format!("read as {reading}: {}", reading.title()));
    }
    for origin in &job.verified {
        say(&origin.to_string());
    }
    for note in &job.handed.notes {
        say(&match note {
            Note::Console { appended } => {
                format!("the command line names no console: {appended} added, as systemd-stub does")
            }
            Note::CmdlineCut { at } => {
                format!(
                    "warning: section .cmdline has a NUL at offset {at:#x}: what follows it is ignored"
                )
            }
            Note::AddonLeftOut { addon, wanted, found } => {
                let path = job.files.get(*addon).map(|file| file.path.display().to_string());
                let path = path.unwrap_or_default();
                format!("{path} left out: it is for Linux {wanted}, the UKI has {found}")
            }
            Note::Ignored { input, reading } => format!("{input} is ignored, as {reading} does"),
            Note::SectionUnused { section: Name::Initrd, .. } => {
                "section .initrd is not used beside --initrd".to_owned()
            }
            Note::SectionUnused { section, reading } => format!(
                "section {section} is not used, as {reading} does not use it: give the kernel a \
                 command line with --cmdline"
            ),
            note => format!("{note:?}"),
        });
    }
    if let Some(advice) = consoles::advise(&job.handed.cmdline, job.has_hvc0) {
        say(&advice);
    }
}

/// Says what came out otherwise than wanted, and each warning.
fn warn(planned: &Planned) {
    if let Some(why) = &planned.not_direct {
        say(&format!("handed over as kexec does, not directly: {why}"));
    }
    for warning in &planned.warnings {
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
