//! The start of a boot: from exec of the program to the guest's first
//! instruction, and the memory it takes beside the guest's. `benches/README.md`
//! says what is measured, and how.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a benchmark talks to a person and stops at an overflow"
)]

use std::{env, error::Error, fs, iter, path::PathBuf, process::ExitCode};

use clap::Parser;
use ukivm::bench::host::Host;

use crate::{
    arm::Arm,
    guest::{Guest, Then},
    report::{Report, SizeReport},
    trial::Trial,
};

mod arm;
mod floor;
mod guest;
mod memory;
mod report;
mod statistics;
mod trial;

/// What goes wrong in a benchmark ends it.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Measures the start of a boot against a program that does only what is needed.
#[derive(Debug, Parser)]
struct Options {
    /// Runs of each program for each image
    #[arg(long, value_name = "N", default_value_t = 20)]
    runs: usize,

    /// Sizes of the images, in megabytes
    #[arg(long, value_name = "MB", value_delimiter = ',', default_value = "15,200")]
    sizes: Vec<u64>,

    /// The build of ukivm to measure; if not given, cargo's own, which is not static as the
    /// one that is shipped
    #[arg(long, value_name = "PROGRAM", default_value = env!("CARGO_BIN_EXE_ukivm"), hide_default_value = true)]
    program: PathBuf,

    /// Another build of ukivm, to be compared; may be repeated
    #[arg(long, value_name = "PROGRAM")]
    also: Vec<PathBuf>,

    /// Write everything that was measured to FILE
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    // First of all: the floor is to do nothing that a floor would not.
    if let Some(job) = floor::Job::of(env::args_os()) {
        return job.run();
    }
    let options = Options::parse();
    if let Err(error) = fs::File::open("/dev/kvm") {
        println!("boot: skipped, nothing measured: no KVM here (/dev/kvm: {error})");
        return ExitCode::SUCCESS;
    }
    match measure(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("boot: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<()> {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let ukivm = iter::once(&options.program).chain(&options.also).cloned().map(Arm::Ukivm);
    let arms: Vec<Arm> = iter::once(Arm::Floor).chain(ukivm).collect();
    let mut facts = Host::gather();
    let mut sizes = Vec::new();
    for &megabytes in &options.sizes {
        let timed = Guest::new(megabytes, Then::PowerOff).write(scratch.path())?;
        let trials = timed.trials(&arms, options.runs)?;
        fs::remove_file(&timed.path)?;
        let waiting = Guest::new(megabytes, Then::Wait).write(scratch.path())?;
        let peaks = arms.iter().map(|arm| memory::peak(arm, &waiting)).collect::<Result<_>>()?;
        fs::remove_file(&waiting.path)?;
        let report = SizeReport { megabytes, arms: report::arms(&arms, &trials, peaks) };
        println!("{report}");
        sizes.push(report);
    }
    facts.note_load();
    println!("{facts}");
    let report = Report { runs: options.runs, facts, sizes };
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_string_pretty(&report)? + "\n")?;
    }
    Ok(())
}

impl guest::OnDisk {
    /// `runs` trials of each of `arms`, by arm: one of each a round, each round
    /// beginning with another.
    fn trials(&self, arms: &[Arm], runs: usize) -> Result<Vec<Vec<Trial>>> {
        let mut trials = vec![Vec::with_capacity(runs); arms.len()];
        for arm in arms {
            // Brings the files into the page cache.
            Trial::run(arm, self)?;
        }
        for round in 0..runs {
            for turn in 0..arms.len() {
                let number = (round + turn) % arms.len();
                if let (Some(arm), Some(trials)) = (arms.get(number), trials.get_mut(number)) {
                    trials.push(Trial::run(arm, self)?);
                }
            }
        }
        Ok(trials)
    }
}
