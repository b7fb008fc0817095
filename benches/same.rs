//! Benchmarks of the same UKI twice, over and over: in how many of them `ukivm bench`
//! calls a difference that can't be. And of one with a larger initrd, whose difference
//! it has to find. `benches/README.md` says more.
#![expect(clippy::indexing_slicing, reason = "what JSON does not have is null")]
#![expect(
    clippy::arithmetic_side_effects,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a benchmark talks to a person and stops at an overflow"
)]

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use clap::Parser;
use firmware_less::testing::uki;
use serde::Serialize;
use serde_json::Value;

mod tiny;

/// What goes wrong in a benchmark ends it.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// By how much the other initrd is larger.
const LARGER: usize = 20_000_000;

/// How often a difference is called where there is none, and where there is one.
#[derive(Debug, Parser)]
struct Options {
    /// How many benchmarks of the same UKI twice
    #[arg(long, value_name = "N", default_value_t = 100)]
    times: u32,

    /// How many benchmarks of one with a larger initrd
    #[arg(long, value_name = "N", default_value_t = 10)]
    larger: u32,

    /// Rounds in each
    #[arg(long, value_name = "N", default_value_t = 20)]
    runs: u32,

    /// Another build of ukivm
    #[arg(long, value_name = "PROGRAM", default_value = env!("CARGO_BIN_EXE_ukivm"))]
    program: PathBuf,

    /// Write what was found to FILE
    #[arg(long, value_name = "FILE")]
    json: Option<String>,

    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Found {
    host: Value,
    engine: Value,
    notices: Value,
    runs: u32,
    /// Benchmarks of the same UKI twice.
    same: u32,
    /// Of these, those in which the total was said to differ.
    same_total: u32,
    /// Those in which anything at all was.
    same_any: u32,
    /// What that was, each time.
    same_named: Vec<String>,
    /// Benchmarks of a larger initrd.
    larger: u32,
    /// Of these, those in which loading was said to take longer.
    larger_load: u32,
    /// And of these, those in which that was the largest difference of a phase.
    larger_load_first: u32,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Err(error) = fs::File::open("/dev/kvm") {
        println!("same: skipped, nothing measured: no KVM here (/dev/kvm: {error})");
        return ExitCode::SUCCESS;
    }
    match measure(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("same: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all is as it has to be.
fn measure(options: &Options) -> Result<bool> {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let folder = scratch.path();
    fs::write(folder.join("a.efi"), image(1_000)?)?;
    fs::write(folder.join("larger.efi"), image(1_000 + LARGER)?)?;
    let mut found = Found {
        host: Value::Null,
        engine: Value::Null,
        notices: Value::Null,
        runs: options.runs,
        same: options.times,
        same_total: 0,
        same_any: 0,
        same_named: Vec::new(),
        larger: options.larger,
        larger_load: 0,
        larger_load_first: 0,
    };
    for time in 1..=options.times {
        let report = bench(options, folder, "a.efi")?;
        let differ = differences(&report);
        found.same_any += u32::from(!differ.is_empty());
        found.same_total += u32::from(differ.iter().any(|(metric, _)| metric == "total"));
        found.same_named.extend(differ.iter().map(|(metric, by)| format!("{metric} {by:+.0} ns")));
        (found.host, found.engine) = (report["host"].clone(), report["engine"].clone());
        found.notices = report["notices"].clone();
        eprintln!("{time}/{}: {differ:?}", options.times);
    }
    for time in 1..=options.larger {
        let mut differ = differences(&bench(options, folder, "larger.efi")?);
        differ.retain(|(metric, _)| metric != "total" && metric != "until entry");
        differ.sort_by(|one, two| two.1.abs().total_cmp(&one.1.abs()));
        let is_load = |(metric, by): &(String, f64)| metric == "load" && *by > 0.0;
        found.larger_load += u32::from(differ.iter().any(is_load));
        found.larger_load_first += u32::from(differ.first().is_some_and(is_load));
        eprintln!("larger {time}/{}: {differ:?}", options.larger);
    }
    let text = serde_json::to_string_pretty(&found)?;
    println!("{text}");
    if let Some(path) = &options.json {
        fs::write(path, text + "\n")?;
    }
    Ok(found.same_any * 20 <= found.same && found.larger_load == found.larger)
}

/// Benchmarks `a.efi` and `other`; the report.
fn bench(options: &Options, folder: &Path, other: &str) -> Result<Value> {
    let output = Command::new(&options.program)
        .args(["bench", "--engine=kvm", "--memory=128M", "--export-json=r.json"])
        .args([&format!("--runs={}", options.runs), "a.efi", other])
        .current_dir(folder)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(serde_json::from_slice(&fs::read(folder.join("r.json"))?)?)
}

/// The metrics in which a difference is called, each with by how much.
fn differences(report: &Value) -> Vec<(String, f64)> {
    let metrics = report["comparisons"][0]["metrics"].as_array();
    let called = metrics.into_iter().flatten().filter_map(|metric| {
        let differs = metric["verdict"] == "more" || metric["verdict"] == "less";
        let by = metric["other_median"].as_f64()? - metric["base_median"].as_f64()?;
        differs.then(|| (metric["metric"].as_str().unwrap_or_default().to_owned(), by))
    });
    called.collect()
}

/// A UKI that writes a byte and powers off, with an initrd of so many bytes.
fn image(initrd: usize) -> Result<Vec<u8>> {
    let image = uki().section(".linux", tiny::kernel()?).section(".cmdline", "quiet");
    Ok(image.section(".initrd", vec![0x5a; initrd]).build())
}
