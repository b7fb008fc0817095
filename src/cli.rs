//! The command line: options as typed. What they mean is for [`crate::job`].

mod bench;
mod devices;
mod handed;
mod handoff;
mod help;
mod inspect;
mod measure;
mod net;
mod probe;
mod sandbox;
mod share;
mod smoke;
mod system;
mod verify;

use std::{env, ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use firmware_less::handoff::kexec;

pub use bench::{ArmOption, BenchOptions, ExportOptions, KexecOption, UntilOption};
pub use devices::{DeviceOptions, DiskError, DiskFormat, DiskOption};
pub use handed::{ConsoleOption, HandedOptions, ReadingOption};
pub use handoff::{FlavourOption, HandoffOption, KaslrOption, LeafOption, UnpackingOptions};
pub use help::HelpOptions;
pub use inspect::{DiffOptions, InspectOptions, SectionName};
pub use measure::{BankOption, MeasureOptions};
pub use net::{NetOption, Plug, Protocol, Publish};
pub use probe::{BUILT_IN, ProbeOptions};
pub use sandbox::SandboxOptions;
pub(crate) use share::checked as checked_tag;
pub use share::{ShareError, ShareOption, TAG_MAX};
pub use smoke::{
    FailOn, FailureOptions, Format, GoalOption, Limit, LimitOptions, MatrixOptions, ProofOptions,
    Reboot, Shard, SmokeOptions, VERDICT,
};
pub use system::{LoadCredential, SystemOptions};
pub use verify::VerifyOptions;

use crate::{engine::Kind, exit, help as help_topics};

/// The FILE that stands for standard output.
pub const STANDARD_OUTPUT: &str = "-";

/// Boots a Unified Kernel Image (UKI) in a virtual machine with no firmware.
///
/// The kernel, initrd and command line are taken out of the UKI, placed in guest memory as
/// kexec_file_load(2) would, and the kernel is entered at its 64-bit entry point.
#[derive(Debug, Parser)]
#[command(name = "ukivm", version, disable_help_subcommand = true)]
#[command(after_help = help_topics::list())]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// What the program's own arguments say.
    pub fn of_program() -> Result<Self, clap::Error> {
        let arguments: Vec<_> = env::args_os().collect();
        Self::of_run(&arguments).map_or_else(|| Self::try_parse_from(&arguments), Ok)
    }

    /// The same where it is `run` and nothing is wrong with it: nobody who waits for a guest
    /// is to wait for the options of all commands.
    fn of_run(arguments: &[OsString]) -> Option<Self> {
        const NAME: &str = "run";
        let (_program, arguments) = arguments.split_first()?;
        if arguments.first()? != NAME {
            return None;
        }
        let command = RunOptions::augment_args(clap::Command::new(NAME).disable_version_flag(true));
        let matches = command.try_get_matches_from(arguments).ok()?;
        let options = RunOptions::from_arg_matches(&matches).ok()?;
        Some(Self { command: Command::Run(options) })
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Boot a UKI, its console on standard input and output
    #[command(after_help = exit::help("run"))]
    Run(RunOptions),
    /// Boot UKIs and give a verdict that needs proof, for CI
    Smoke(Box<SmokeOptions>),
    /// Show guest memory, boot_params and CPU state before the first instruction
    ///
    /// Needs no KVM and no privileges: the plan is a pure function of the options and the files.
    #[command(after_help = exit::help("plan"))]
    Plan(PlanOptions),
    /// Have a guest in the kernel's place report what it was handed, and compare that with the
    /// plan
    ///
    /// Runs on any KVM, those too that can't run kernels. The probe reports every register,
    /// boot_params, e820, the command line, the initrd, ACPI and what else there is, and so it
    /// does elsewhere: --write-bzimage and --write-uki give it to other loaders, --read takes
    /// what it printed there.
    #[command(after_help = exit::help("probe"))]
    #[command(mut_arg("image", |arg| arg
        .required(false)
        .default_value(BUILT_IN)
        .hide_default_value(true)
        .help("The UKI whose kernel's place the probe takes [default: a small one, built in]")))]
    Probe(Box<ProbeOptions>),
    /// Describe a UKI: sections, profiles, command line, initrd, kernel, and what is odd about it
    ///
    /// Describes whatever has readable headers, be it refused elsewhere; a refusal is part of the
    /// description then, and the exit status is 0.
    #[command(after_help = exit::help("inspect"))]
    Inspect(InspectOptions),
    /// Say in what two UKIs differ, down to words and parts
    #[command(after_help = exit::help("diff"))]
    Diff(DiffOptions),
    /// Say what systemd-stub would measure of a UKI: the values of PCR 11
    #[command(after_help = exit::help("measure"))]
    Measure(MeasureOptions),
    /// Measure how long UKIs take to boot, phase by phase, and compare them
    Bench(Box<BenchOptions>),
    /// Say what this host can do, and how to mend what it can't
    #[command(after_help = exit::help("doctor"))]
    Doctor(DoctorOptions),
    /// Tell of a command, or of a topic: exit statuses, readings, a guide to failing boots
    Help(HelpOptions),
}

/// What decides what is booted, and how. The same for every command that plans.
#[derive(Clone, Debug, Args)]
pub struct JobOptions {
    /// The UKI
    pub image: PathBuf,

    /// Words to append to the command line, behind `--`
    #[arg(last = true, value_name = "WORD")]
    pub words: Vec<String>,

    /// Guest memory, with its unit: 512M, 4G
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = memory)]
    pub memory: u64,

    /// Guest memory in huge pages that the host has set aside (vm.nr_hugepages), as many as it
    /// takes at once; on KVM only
    #[arg(long)]
    pub hugepages: bool,

    /// Number of vCPUs
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub cpus: u32,

    /// Replace the UKI's command line
    #[arg(long, value_name = "TEXT", help_heading = "What the kernel is handed")]
    pub cmdline: Option<String>,

    /// Append words to the command line, after those of addons; may be repeated
    #[arg(long, value_name = "TEXT", help_heading = "What the kernel is handed")]
    pub append: Vec<String>,

    /// Append a file to the initrd, after all other parts; may be repeated
    #[arg(long, value_name = "FILE", help_heading = "What the kernel is handed")]
    pub initrd: Vec<PathBuf>,

    /// Profile, addons, credentials, console.
    #[command(flatten)]
    pub handed: HandedOptions,

    /// What else the machine has.
    #[command(flatten)]
    pub devices: DeviceOptions,

    /// Credentials, and options that are some.
    #[command(flatten)]
    pub system: SystemOptions,

    /// Whom it must come from.
    #[command(flatten)]
    pub verify: VerifyOptions,

    /// Seed of the kernel's random number generator: 64 hex digits [default: from the host]
    #[arg(long, value_name = "HEX", help_heading = "Hand-off", value_parser = handoff::seed)]
    pub rng_seed: Option<[u8; kexec::SEED_LEN]>,

    /// How the kernel is handed over
    #[arg(long, value_enum, default_value_t = HandoffOption::Kexec, help_heading = "Hand-off")]
    pub handoff: HandoffOption,

    /// With --handoff direct, the kernel's addresses: `on` draws them from the host's randomness
    /// (or from --rng-seed), `off` leaves them as linked, 64 hex digits draw them from those
    /// [default: on, unless the command line says nokaslr]
    #[arg(long, value_name = "on|off|HEX", help_heading = "Hand-off", value_parser = handoff::kaslr)]
    pub kaslr: Option<KaslrOption>,

    /// What is unpacked by the host.
    #[command(flatten)]
    pub unpacking: UnpackingOptions,

    /// Whose kexec to mirror: modern is Linux 6.12 and later, legacy 6.1
    #[arg(long, value_enum, default_value_t = FlavourOption::Modern, help_heading = "Hand-off")]
    pub flavour: FlavourOption,

    /// Compute purgatory's SHA-256 digest over the segments and verify it over guest memory
    /// before the first entry
    #[arg(long, help_heading = "Hand-off")]
    pub digest: bool,

    /// Size of the leaves in the page tables at entry
    #[arg(long, value_enum, default_value_t = LeafOption::Mib2, help_heading = "Hand-off")]
    pub leaf_size: LeafOption,

    /// Enter the kernel with five-level paging
    #[arg(long, help_heading = "Hand-off")]
    pub five_level: bool,
}

/// Options of `run`.
#[derive(Clone, Debug, Args)]
pub struct RunOptions {
    /// What to boot.
    #[command(flatten)]
    pub job: JobOptions,

    /// What runs the guest's code: KVM, QEMU's TCG, or KVM where it works and TCG where not
    #[arg(long, value_enum, default_value_t = EngineOption::Auto, help_heading = "Run")]
    pub engine: EngineOption,

    /// End the run after this time: 90, 90s, 2m, 500ms
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Run")]
    pub timeout: Option<Duration>,

    /// On SIGTERM press the guest's power button, and end it only when this time has passed: 10,
    /// 10s, 1m [default: ended at once, and without such a button]
    #[arg(long, value_name = "TIME", value_parser = grace, help_heading = "Run")]
    pub grace: Option<Duration>,

    /// Write the result to FILE as JSON
    #[arg(long, value_name = "FILE", require_equals = true, help_heading = "Run")]
    pub json: Option<PathBuf>,

    /// Exit with 77 instead of 69 where no engine is usable
    #[arg(long, help_heading = "Run")]
    pub skip_without_engine: bool,

    /// What a guest that breaks out finds.
    #[command(flatten)]
    pub sandbox: SandboxOptions,
}

/// Options of `plan`.
#[derive(Clone, Debug, Args)]
pub struct PlanOptions {
    /// What to plan.
    #[command(flatten)]
    pub job: JobOptions,

    /// The engine to plan for: TCG's machine has a real-time clock and a ROM, KVM's has neither
    #[arg(long, value_enum, default_value_t = BoardOption::Kvm)]
    pub engine: BoardOption,

    /// Write guest memory and CPU state to files in DIR, which must be empty or not be there
    ///
    /// A file for each range of memory that is not zero, cpu.json, map.json, and SHA256SUMS over
    /// them, whose own SHA-256 is shown. It is the same on every host. Without --rng-seed the
    /// seed is 32 zeros.
    #[arg(long, value_name = "DIR")]
    pub dump: Option<PathBuf>,

    /// Print JSON, or write it to FILE
    #[arg(long, value_name = "FILE", require_equals = true, num_args = 0..=1)]
    #[arg(default_missing_value = STANDARD_OUTPUT)]
    pub json: Option<PathBuf>,
}

/// Options of `doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorOptions {
    /// Print what a bug report needs to say of this host, or write it to FILE
    ///
    /// Versions, processor, KVM and its settings, limits; no names of hosts, users, folders or
    /// networks.
    #[arg(long, value_name = "FILE", require_equals = true, num_args = 0..=1)]
    #[arg(default_missing_value = STANDARD_OUTPUT, conflicts_with = "json")]
    pub report: Option<PathBuf>,

    /// Print JSON, or write it to FILE
    #[arg(long, value_name = "FILE", require_equals = true, num_args = 0..=1)]
    #[arg(default_missing_value = STANDARD_OUTPUT)]
    pub json: Option<PathBuf>,
}

/// `--engine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EngineOption {
    /// KVM where it works, else TCG; says which
    Auto,
    /// /dev/kvm
    Kvm,
    /// QEMU's TCG, over the same plan
    Tcg,
}

/// `plan --engine`: a plan is for one engine, whatever this host can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BoardOption {
    /// /dev/kvm
    Kvm,
    /// QEMU's TCG
    Tcg,
}

impl From<BoardOption> for Kind {
    fn from(option: BoardOption) -> Self {
        match option {
            BoardOption::Kvm => Self::Kvm,
            BoardOption::Tcg => Self::Tcg,
        }
    }
}

/// Bytes from `512M` or `4G`. The unit is not optional: other tools read a bare
/// number as bytes, others as MiB.
fn memory(text: &str) -> Result<u64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let shift = match unit.to_ascii_uppercase().as_str() {
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => return Err("give a number and a unit of K, M, G or T, as 512M or 4G".into()),
    };
    let number: u64 = digits.parse().map_err(|error| format!("{digits:?}: {error}"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text} is more than 2^64 bytes"))
}

/// A time from `90`, `90s`, `2m` or `500ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err("give a number and a unit of ms, s, m or h, as 90s or 2m".into()),
    };
    let number: f64 = number.parse().map_err(|error| format!("{number:?}: {error}"))?;
    match Duration::try_from_secs_f64(number * scale) {
        Ok(Duration::ZERO) => Err("a time limit of nothing ends before it begins".into()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(error.to_string()),
    }
}

/// The same, but no time at all too.
fn grace(text: &str) -> Result<Duration, String> {
    if text == "0" { Ok(Duration::ZERO) } else { duration(text) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_by_itself_reads_its_options_as_all_commands_do() {
        for line in ["a.efi", "--memory 2G --timeout 3s a.efi --kaslr off -- quiet --help", "-- a"]
        {
            let arguments: Vec<_> = ["ukivm", "run"].into_iter().chain(line.split(' ')).collect();
            let by_itself = Cli::of_run(&arguments.iter().map(Into::into).collect::<Vec<_>>());
            let among_all = Cli::try_parse_from(arguments).ok();
            assert_eq!(format!("{by_itself:?}"), format!("{among_all:?}"), "{line}");
        }
    }

    #[test]
    fn what_run_does_not_take_is_for_all_commands_to_answer() {
        for line in ["ukivm", "ukivm run", "ukivm run -V", "ukivm run --help", "ukivm plan a.efi"] {
            let arguments: Vec<_> = line.split(' ').map(Into::into).collect();
            assert!(Cli::of_run(&arguments).is_none(), "{line}");
        }
    }

    #[test]
    fn memory_needs_its_unit() {
        assert_eq!(memory("512M"), Ok(512 << 20));
        assert_eq!(memory("4GiB"), Ok(4 << 30));
        assert_eq!(memory("1t"), Ok(1 << 40));
        assert!(memory("1024").is_err());
        assert!(memory("99999999999T").unwrap_err().contains("2^64"));
        assert!(memory("M").is_err());
        assert!(memory("").is_err());
    }

    #[test]
    fn times_are_read_with_and_without_units() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        for wrong in ["0", "-1", "1d", "x", "", "nan", "1e400"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
