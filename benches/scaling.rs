//! Whether the cost of a boot grows as it has to: with the bytes that are loaded, in
//! proportion; with RAM and with sections, not at all.
//! `benches/README.md` says what is measured, and how.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a benchmark talks to a person and stops at an overflow; what JSON does not have is null"
)]

use std::{
    error::Error,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use clap::Parser;
use firmware_less::testing::uki;
use serde::Serialize;
use serde_json::Value;
use ukivm::bench::host::Host;

mod tiny;

/// What goes wrong in a benchmark ends it.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Measures how the cost of a boot grows.
#[derive(Debug, Parser)]
struct Options {
    /// Runs of each, of which the fastest counts
    #[arg(long, value_name = "N", default_value_t = 15)]
    runs: usize,

    /// Write everything that was measured to FILE
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// Sizes of the initrd, in megabytes.
const INITRDS: [u64; 3] = [10, 100, 1000];
/// RAM.
const MEMORIES: [&str; 5] = ["256M", "1G", "4G", "16G", "64G"];
/// Sections beside those that mean something.
const SECTIONS: [usize; 3] = [1, 100, 10_000];
/// What a byte may cost more among many than among few.
const LINEAR: f64 = 1.25;
/// What the most may cost of what the least does.
const FLAT: f64 = 1.25;

/// One way to boot, and the least time that it took.
#[derive(Debug, Serialize)]
struct Case {
    name: String,
    #[serde(skip)]
    arguments: Vec<String>,
    #[serde(skip)]
    span: Span,
    seconds: f64,
}

/// What is timed of a boot. Milestones are those of `--json`.
#[derive(Clone, Copy, Debug)]
enum Span {
    /// All of it, from exec to the guest's end.
    Whole,
    /// From one milestone to another.
    Between(&'static str, &'static str),
}

/// With `--digest`, which has all bytes loaded before the first instruction: the
/// loading without the digest.
const LOADING: Span = Span::Between("planned", "memory_loaded");
/// Without what KVM does when it is shown the memory: where it has no second-level
/// page tables, it makes tables of its own for all of it at once.
const UNTIL_LOADED: Span = Span::Between("process_start", "memory_loaded");

/// Several, of which one thing differs.
#[derive(Debug, Serialize)]
struct Series {
    of: &'static str,
    cases: Vec<Case>,
    /// How far it is from what it has to be, which is 1, and how far it may be.
    ratio: f64,
    at_most: f64,
}

#[derive(Debug, Serialize)]
struct Report {
    machine: Host,
    runs: usize,
    series: Vec<Series>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Err(error) = File::options().read(true).write(true).open("/dev/kvm") {
        println!("scaling: skipped, nothing measured: no KVM here (/dev/kvm: {error})");
        return ExitCode::SUCCESS;
    }
    match measure(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("scaling: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all is as it has to be.
fn measure(options: &Options) -> Result<bool> {
    let mut machine = Host::gather();
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut series = [
        loaded(scratch.path())?,
        flat("RAM", memories(scratch.path())?),
        flat("sections", sections(scratch.path())?),
    ];
    for series in &mut series {
        run(&mut series.cases, options.runs, &scratch.path().join("result.json"))?;
        series.judge();
        series.print();
    }
    let is_good = series.iter().all(|series| series.ratio <= series.at_most);
    machine.note_load();
    println!("{machine}");
    if let Some(path) = &options.json {
        let report = Report { machine, runs: options.runs, series: series.into() };
        fs::write(path, serde_json::to_string_pretty(&report)? + "\n")?;
    }
    Ok(is_good)
}

/// A guest that powers off at once, with as many sections more.
fn guest(folder: &Path, sections: usize) -> Result<String> {
    let image = uki().section(".cmdline", "console=ttyS0").section(".linux", tiny::kernel()?);
    let image = (0..sections).fold(image, |image, _| image.section(".more", "more"));
    let path = folder.join(format!("{sections}.efi"));
    fs::write(&path, image.build())?;
    Ok(path.display().to_string())
}

/// An initrd of zeros, or as many sections more or as much RAM as that.
fn loaded(folder: &Path) -> Result<Series> {
    let image = guest(folder, 0)?;
    let case = |megabytes: &u64| -> Result<Case> {
        let path = folder.join(format!("{megabytes}.initrd"));
        // In the page cache from the first run on, whether there is a disk under it or not.
        File::create(&path)?.set_len(megabytes * 1_000_000)?;
        let initrd = path.display().to_string();
        let arguments = [&image, "--memory", "4G", "--digest", "--initrd", &initrd];
        Ok(Case::new(format!("{megabytes} MB"), &arguments, LOADING))
    };
    let cases = INITRDS.iter().map(case).collect::<Result<_>>()?;
    Ok(Series { of: "bytes", cases, ratio: f64::NAN, at_most: LINEAR })
}

fn memories(folder: &Path) -> Result<Vec<Case>> {
    let image = guest(folder, 0)?;
    let case = |memory: &&str| {
        Case::new((*memory).to_owned(), &[&image, "--memory", memory], UNTIL_LOADED)
    };
    Ok(MEMORIES.iter().map(case).collect())
}

fn sections(folder: &Path) -> Result<Vec<Case>> {
    let case = |sections: &usize| {
        let arguments = [&guest(folder, *sections)?, "--memory", "256M"];
        Ok(Case::new(sections.to_string(), &arguments, Span::Whole))
    };
    SECTIONS.iter().map(case).collect()
}

fn flat(of: &'static str, cases: Vec<Case>) -> Series {
    Series { of, cases, ratio: f64::NAN, at_most: FLAT }
}

impl Case {
    fn new(name: String, arguments: &[&str], span: Span) -> Self {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Self { name, arguments, span, seconds: f64::INFINITY }
    }

    /// How long that took of one boot.
    fn run(&self, result: &Path) -> Result<f64> {
        let whole = self.boot(result)?;
        let Span::Between(start, end) = self.span else { return Ok(whole.as_secs_f64()) };
        let report: Value = serde_json::from_slice(&fs::read(result)?)?;
        let at = |milestone| {
            let at = report["timeline"][milestone]["at_us"].as_f64();
            at.ok_or_else(|| format!("{}: no {milestone} in {report}", self.name))
        };
        Ok((at(end)? - at(start)?) / 1e6)
    }

    fn boot(&self, result: &Path) -> Result<Duration> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ukivm"));
        command.arg("run").arg(format!("--json={}", result.display()));
        command.args(["--engine", "kvm", "--timeout", "60"]).args(&self.arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let start = Instant::now();
        let output = command.output()?;
        let took = start.elapsed();
        if output.status.success() {
            return Ok(took);
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        Err(format!("{} failed, {}:\n{stderr}", self.name, output.status).into())
    }
}

/// In turns, so that what slows the host down meets all alike; after one of each that
/// does not count.
fn run(cases: &mut [Case], runs: usize, result: &Path) -> Result<()> {
    for round in 0..=runs {
        for case in &mut *cases {
            let took = case.run(result)?;
            if round > 0 {
                case.seconds = case.seconds.min(took);
            }
        }
    }
    Ok(())
}

impl Series {
    /// Of bytes: what one more costs among many, of what it costs among few. Else:
    /// what the dearest costs of the cheapest.
    fn judge(&mut self) {
        let seconds: Vec<f64> = self.cases.iter().map(|case| case.seconds).collect();
        self.ratio = if let ("bytes", [few, some, many]) = (self.of, seconds.as_slice()) {
            (many - some) / 10.0 / (some - few)
        } else {
            let most = seconds.iter().copied().fold(0.0, f64::max);
            most / seconds.iter().copied().fold(f64::INFINITY, f64::min)
        };
    }

    fn print(&self) {
        for case in &self.cases {
            println!("{:>10} {:>8}  {:8.2} ms", self.of, case.name, case.seconds * 1e3);
        }
        let verdict = if self.ratio <= self.at_most { "as it has to be" } else { "TOO MUCH" };
        println!("{:>10} {:.2} of {}: {verdict}", self.of, self.ratio, self.at_most);
    }
}
