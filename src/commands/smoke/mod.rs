//! `ukivm smoke`: boots UKIs and gives a verdict that needs proof.

mod artefacts;
mod live;
mod many;
mod one;
mod policy;

use std::{
    env,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    time::Instant,
};

use rustix::rand::{GetRandomFlags, getrandom};

use self::{artefacts::Artefacts, live::Show, one::One};
use crate::{
    cli::{Format, SmokeOptions},
    commands::print,
    console::is_terminal,
    digest::hex,
    error::Error,
    messages::say,
    verdict::{
        formats::{self, Style},
        report::{Report, Suite},
    },
};

/// Runs the job and gives the exit status.
pub fn run(options: &SmokeOptions, start: Instant) -> Result<u8, Error> {
    // What is wrong with the command line is said before anything is booted.
    let policy = policy::read(options)?;
    let images = images(options);
    if let Some(part) = options.matrix.part {
        let image = images.get(part).unwrap_or(&options.job.image);
        many::end_with_parent(options.matrix.part_of);
        let artefacts = Artefacts::prepare(options.matrix.part_output.as_deref(), &images)?;
        let report = One { options, image, start, artefacts: &artefacts, show: Show::NOTHING };
        let report = report.boot(policy);
        artefacts.write(&Suite::new(vec![(report.image.clone(), vec![report.clone()])]));
        return print(&json(&report)).map(|()| report.exit_status);
    }
    let wanted = sharded(options, images.len())?;
    let suite = if wanted.len() == 1 && options.matrix.repeat == 1 {
        single(options, &images, wanted.first().copied().unwrap_or_default(), (policy, start))?
    } else {
        many::boot(options, &images, &wanted)?
    };
    give(options, &suite)?;
    Ok(suite.exit_status)
}

fn single(
    options: &SmokeOptions,
    images: &[PathBuf],
    wanted: usize,
    (policy, start): (crate::verdict::Policy, Instant),
) -> Result<Suite, Error> {
    let image = images.get(wanted).unwrap_or(&options.job.image);
    let artefacts = Artefacts::prepare(options.output.as_deref(), images)?;
    let show = Show {
        milestones: options.format == Format::Human,
        console: options.live,
        progress: options.format == Format::Human
            && !options.live
            && is_terminal(&std::io::stderr()),
    };
    let report = One { options, image, start, artefacts: &artefacts, show }.boot(policy);
    if options.format == Format::Human {
        print(&formats::human(&report, style()))?;
    }
    let suite = Suite::new(vec![(report.image.clone(), vec![report])]);
    artefacts.write(&suite);
    Ok(suite)
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
fn give(options: &SmokeOptions, suite: &Suite) -> Result<(), Error> {
    let text = match options.format {
        Format::Human if suite.runs().count() > 1 => formats::suite_summary(suite, style()),
        // A single run has been told already.
        Format::Human => String::new(),
        Format::Json => match suite.images.as_slice() {
            [image] if image.runs.len() == 1 => image.runs.first().map(json).unwrap_or_default(),
            _ => json(suite),
        },
        Format::Tap => formats::tap(suite),
        Format::Junit => formats::junit(suite),
        Format::Github => {
            step_summary(suite);
            formats::github(suite, &token())
        }
    };
    print(&text)
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// Adds to GitHub's step summary, where there is one. That it can't be written
/// changes no verdict.
fn step_summary(suite: &Suite) {
    let Some(path) = env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else {
        return;
    };
    let path = Path::new(&path);
    let text = formats::step_summary(suite);
    let file = File::options().append(true).create(true).open(path);
    if let Err(error) = file.and_then(|mut file| file.write_all(text.as_bytes())) {
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
    if is_terminal(&std::io::stdout()) && !unwanted { Style::Coloured } else { Style::Plain }
}

/// Tells a run as it is over, among several.
fn tell(options: &SmokeOptions, report: &Report) {
    if options.format == Format::Human {
        // Nobody may be listening; the verdict is in the exit status too.
        print(&formats::human(report, style())).ok();
    }
}
