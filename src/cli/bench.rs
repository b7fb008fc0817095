//! Options of `bench`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::{EngineOption, JobOptions, SandboxOptions, duration};
use crate::{bench, engine::Kind, exit};

/// How `bench` comes to what it says: paragraphs, with blank lines between.
const METHOD: &str = "\
Every UKI is booted by every arm, each time in a fresh process, after warm-ups that do not count. In
each round each has its turn, in every second round backwards: what slows the host down meets all
alike, and the boots of one round are pairs. They are compared with those of the first UKI by the
first arm.

A difference is called if it is larger than 5 % of the total time and less probable by chance than 1 %
(Wilcoxon's signed ranks under all flips of signs; at least 8 rounds). Phases are held to 1 % divided
by their number. Outliers are named, and count. Boots on different engines are not compared.";

/// The end of the help.
fn after_help() -> String {
    let method = METHOD.replace('\n', "\n  ").replace("\n  \n", "\n\n");
    format!("How it is measured:\n  {method}\n\n{}", exit::help("bench"))
}

/// Options of `bench`.
#[derive(Clone, Debug, Args)]
// The words behind `--` come last, and so behind the further images too.
#[command(after_help = after_help(), mut_arg("words", |words| words.index(3)))]
pub struct BenchOptions {
    /// More UKIs, each booted with the same options and compared with the first
    #[arg(value_name = "IMAGES", index = 2)]
    pub more: Vec<PathBuf>,

    /// What to boot.
    #[command(flatten)]
    pub job: JobOptions,

    /// What runs the guest's code: KVM, QEMU's TCG, or KVM where it works and TCG where not
    #[arg(long, value_enum, default_value_t = EngineOption::Auto, help_heading = "Benchmark")]
    pub engine: EngineOption,

    /// How a UKI is booted; may be repeated, the first is what others are compared with
    #[arg(long, value_enum, default_values_t = [ArmOption::Ukivm], help_heading = "Benchmark")]
    pub arm: Vec<ArmOption>,

    /// Count the guest's instructions instead of taking time: exact, the same on every host
    ///
    /// On the TCG engine, with one vCPU, a fixed date and, unless --rng-seed gives another, a fixed
    /// seed. A difference is called if it is larger than 0.1 % and than all that the boots of each
    /// side differ among themselves.
    #[arg(long, help_heading = "Benchmark")]
    pub count: bool,

    /// How many rounds count [default: 20, with --count 2]
    #[arg(long, value_name = "N", help_heading = "Benchmark")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub runs: Option<u32>,

    /// How many boots of each come first and do not count [default: 1, with --count 0]
    #[arg(long, value_name = "N", help_heading = "Benchmark")]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub warmup: Option<u32>,

    /// How far the guest has to come: a system that does not end by itself needs init or login
    #[arg(long, value_enum, default_value_t = UntilOption::End, help_heading = "Benchmark")]
    pub until: UntilOption,

    /// End a boot that takes longer, and give its UKI up [default: 2m, on an emulating engine 10m]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Benchmark")]
    pub time_limit: Option<Duration>,

    /// Exit with 77 instead of 69 where no engine is usable
    #[arg(long, help_heading = "Benchmark")]
    pub skip_without_engine: bool,

    /// What a guest that breaks out finds.
    #[command(flatten)]
    pub sandbox: SandboxOptions,

    /// Compare with an earlier report, by --export-json, and exit with 1 where something takes
    /// longer; the IMAGE may then be a report too, and nothing is booted
    #[arg(long, value_name = "OLD.json", help_heading = "Comparison")]
    pub compare: Option<PathBuf>,

    /// Where it goes.
    #[command(flatten)]
    pub export: ExportOptions,

    /// Boot this image once, as a trial of a benchmark, and tell of it on standard output
    #[arg(long, hide = true, value_name = "IMAGE", requires = "trial_engine")]
    pub trial: Option<PathBuf>,

    /// With --handoff direct
    #[arg(long, hide = true, requires = "trial")]
    pub trial_direct: bool,

    /// On this engine
    #[arg(long, hide = true, requires = "trial", value_parser = engine)]
    pub trial_engine: Option<Kind>,

    /// By a real kexec: measured, or made to say what it is
    #[arg(long, hide = true, requires = "trial", value_enum)]
    pub trial_kexec: Option<KexecOption>,
}

/// `--trial-kexec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KexecOption {
    /// As it is
    Measure,
    /// The same, in instructions
    Count,
    /// With words that make it say what it is
    Check,
}

/// Where the report goes beside standard output.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct ExportOptions {
    /// Write all of it to FILE as JSON: each boot, each phase, the host (src/bench/README.md has the
    /// schema)
    #[arg(long = "export-json", value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Write a line for each phase of each boot to FILE, as comma-separated values
    #[arg(long = "export-csv", value_name = "FILE")]
    pub csv: Option<PathBuf>,

    /// Write the tables to FILE in Markdown
    #[arg(long = "export-markdown", value_name = "FILE")]
    pub markdown: Option<PathBuf>,

    /// Write one page to FILE that needs nothing else: phases and distributions drawn
    #[arg(long = "export-html", value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// `--arm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum ArmOption {
    /// ukivm's own hand-off, by --handoff
    Ukivm,
    /// The same with --handoff direct
    Direct,
    /// A real kexec_file_load(2), from when a first kernel is told to go to the UKI's
    Kexec,
    /// OVMF, and the UKI's own stub
    Firmware,
    /// QEMU's own direct boot: -kernel, -initrd, -append
    Qemu,
    /// Firecracker
    Firecracker,
    /// Cloud Hypervisor
    CloudHypervisor,
}

/// `--until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UntilOption {
    /// The guest powers off or resets, or writes 0 to I/O port 0xf4
    End,
    /// Userspace shows that it runs
    Init,
    /// A prompt that ends in "login:"
    Login,
}

impl From<UntilOption> for bench::Until {
    fn from(option: UntilOption) -> Self {
        match option {
            UntilOption::End => Self::End,
            UntilOption::Init => Self::Init,
            UntilOption::Login => Self::Login,
        }
    }
}

fn engine(text: &str) -> Result<Kind, String> {
    [Kind::Kvm, Kind::Tcg]
        .into_iter()
        .find(|kind| kind.to_string() == text)
        .ok_or_else(|| "give kvm or tcg".to_owned())
}
