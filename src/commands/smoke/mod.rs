//! `ukivm smoke`: boots UKIs and gives a verdict that needs proof.

mod artefacts;
mod interruptible;
mod live;
mod many;
mod one;
mod policy;
mod pool;

use std::{
    env,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use rustix::rand::{GetRandomFlags, getrandom};

use self::{artefacts::Artefacts, interruptible::patiently, live::Show, one::One};
use crate::{
    cli::{Format, SmokeOptions},
    commands::print,
    console::is_terminal,
    digest::hex,
    error::Error,
    messages::say,
    sandbox::Sandbox,
    signals::Signals,
    verdict::{
        formats::{self, Style},
        report::Suite,
    },
};

/// Runs the job and gives the exit status.
pub fn run(options: &SmokeOptions, start: Instant) -> Result<u8, Error> {
    let images = images(options);
    if options.matrix.part.is_some() {
        return part(options, &images, start);
    }
    let wanted = sharded(options, images.len())?;
    let (suite, summary) = match wanted.as_slice() {
        [image] if options.matrix.repeat == 1 => single(options, &images, *image, start)?,
        wanted => (many::boot(options, &images, wanted)?, Summary::open(options)),
    };
    give(options, &suite, summary)?;
    Ok(suite.exit_status)
}

/// One run of several, in a process of its own.
fn part(options: &SmokeOptions, images: &[PathBuf], start: Instant) -> Result<u8, Error> {
    many::end_with_parent(options.matrix.part_of);
    let sandbox = sandbox(options);
    let number = options.matrix.part.unwrap_or_default();
    let image = images.get(number).unwrap_or(&options.job.image).clone();
    let artefacts = Artefacts::prepare(options.matrix.part_output.as_deref(), images)?;
    let sandbox = artefacts.allowed_by(sandbox);
    let signals = Arc::new(catch_signals()?);
    let job = (start, Arc::clone(&signals));
    let one = One::new(options.clone(), image, job, (artefacts, sandbox), Show::NOTHING);
    let (report, one) = one.boot();
    one.artefacts.write(&Suite::new(vec![(report.image.clone(), vec![report.clone()])]));
    signals.let_through();
    print_all(report.exit_status, json(&report)).map(|()| report.exit_status)
}

fn single(
    options: &SmokeOptions,
    images: &[PathBuf],
    wanted: usize,
    start: Instant,
) -> Result<(Suite, Option<Summary>), Error> {
    let sandbox = sandbox(options);
    let summary = Summary::open(options);
    let image = images.get(wanted).unwrap_or(&options.job.image).clone();
    let artefacts = Artefacts::prepare(options.output.as_deref(), images)?;
    let sandbox = artefacts.allowed_by(sandbox);
    let show = Show {
        milestones: options.format == Format::Human,
        console: options.live,
        progress: options.format == Format::Human && !options.live && is_terminal(&io::stderr()),
    };
    let signals = Arc::new(catch_signals()?);
    let job = (start, Arc::clone(&signals));
    let (report, one) = One::new(options.clone(), image, job, (artefacts, sandbox), show).boot();
    let suite = Suite::new(vec![(report.image.clone(), vec![report])]);
    one.artefacts.write(&suite);
    // Who reads what is printed may keep us waiting.
    signals.let_through();
    Ok((suite, summary))
}

/// The sandbox of a process that boots one UKI.
fn sandbox(options: &SmokeOptions) -> Sandbox {
    Sandbox::unless(options.sandbox.no_sandbox).starting_again(options.reboot.restarts > 0)
}

/// From here on they leave a report. Not before the files are open: one may be a pipe
/// that waits for its reader.
fn catch_signals() -> Result<Signals, Error> {
    Signals::catch().map_err(|source| Error::Host { what: "can't catch signals", source })
}

/// Every image, in the order of the command line.
fn images(options: &SmokeOptions) -> Vec<PathBuf> {
    [&options.job.image].into_iter().chain(&options.more).cloned().collect()
}

/// The numbers of the images of this shard. One without any is refused, for it
/// would pass without having booted anything.
fn sharded(options: &SmokeOptions, images: usize) -> Result<Vec<usize>, Error> {
    let Some(shard) = options.matrix.shard else { return Ok((0..images).collect()) };
    let first = shard.number.saturating_sub(1);
    let wanted: Vec<_> = (first..images).step_by(shard.of).collect();
    if wanted.is_empty() {
        let (number, of) = (shard.number, shard.of);
        return Err(Error::EmptyShard { number, of, images });
    }
    Ok(wanted)
}

/// Gives the result on standard output, in the form that is wanted.
fn give(options: &SmokeOptions, suite: &Suite, summary: Option<Summary>) -> Result<(), Error> {
    let text = match options.format {
        Format::Human if suite.runs().count() > 1 => formats::suite_summary(suite, style()),
        Format::Human => suite.runs().map(|report| formats::human(report, style())).collect(),
        Format::Json => match suite.images.as_slice() {
            [image] if image.runs.len() == 1 => image.runs.first().map(json).unwrap_or_default(),
            _ => json(suite),
        },
        Format::Tap => formats::tap(suite),
        Format::Junit => formats::junit(suite),
        Format::Github => {
            if let Some(summary) = summary {
                summary.write(suite);
            }
            formats::github(suite, &token())
        }
    };
    print_all(suite.exit_status, text)
}

/// Prints the result.
fn print_all(exit_status: u8, text: String) -> Result<(), Error> {
    patiently(exit_status, move || print(&text)).unwrap_or(Ok(()))
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// GitHub's step summary. That it can't be written changes no verdict.
struct Summary {
    path: PathBuf,
    file: File,
}

impl Summary {
    /// Opens it, where it is wanted and there is one: under a guest nothing is.
    fn open(options: &SmokeOptions) -> Option<Self> {
        let path = env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty())?;
        let path = PathBuf::from(path);
        if options.format != Format::Github {
            return None;
        }
        match File::options().append(true).create(true).open(&path) {
            Ok(file) => Some(Self { path, file }),
            Err(error) => {
                Self::failed(&path, &error);
                None
            }
        }
    }

    fn write(mut self, suite: &Suite) {
        let written = self.file.write_all(formats::step_summary(suite).as_bytes());
        written.unwrap_or_else(|error| Self::failed(&self.path, &error));
    }

    fn failed(path: &Path, error: &io::Error) {
        say(&format!("{}: writing it failed: {error}", path.display()));
    }
}

/// A word that no guest knows.
fn token() -> String {
    let mut random = [0; 16];
    // Short or none only where the host can't give any; the time is better then.
    let filled = getrandom(&mut random, GetRandomFlags::empty()).unwrap_or(0);
    let boot = fs::read_to_string("/proc/uptime").unwrap_or_default();
    if filled == random.len() { hex(&random) } else { hex(boot.trim().as_bytes()) }
}

/// Colours for a terminal, unless nobody wants them. <https://no-color.org>
fn style() -> Style {
    let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if is_terminal(&io::stdout()) && !unwanted { Style::Coloured } else { Style::Plain }
}
