//! Options of `smoke`.

use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, ValueEnum};

use super::{EngineOption, JobOptions, SandboxOptions, duration};
use crate::{
    exit,
    verdict::{self, Expression, Saying},
};

/// How `smoke` comes to its verdict: paragraphs, with blank lines between.
pub const VERDICT: &str = "\
A run passes if all that was asked for was seen: each --expect, --expect-status, --pass-on; and
where none of them is given, that userspace started and the guest then powered off (or wrote 0 to
I/O port 0xf4). Nothing else passes. Lines are matched without escape sequences; a prompt without
an end of line counts once it has stood for a second; what the kernel repeats of its command line
proves nothing.

When a running guest has shown all that was asked for it goes on for --settle, and what it does
then still counts: a panic behind the expected line is a failure. The same time is given to a guest
that failed, so that a worse end is seen.

On an emulating engine (tcg) the limits that are not given are five times as long.";

/// The end of the help.
fn after_help() -> String {
    let verdict = VERDICT.replace('\n', "\n  ").replace("\n  \n", "\n\n");
    let (order, statuses) = (exit::ORDER, exit::help("smoke"));
    format!("The verdict:\n  {verdict}\n\n{statuses}\n{order} Of several runs, the gravest.")
}

/// Options of `smoke`.
#[derive(Clone, Debug, Args)]
// The words behind `--` come last, and so behind the further images too.
#[command(after_help = after_help(), mut_arg("words", |words| words.index(3)))]
pub struct SmokeOptions {
    /// More UKIs, each booted with the same options
    #[arg(value_name = "IMAGES", index = 2)]
    pub more: Vec<PathBuf>,

    /// What to boot.
    #[command(flatten)]
    pub job: JobOptions,

    /// What has to be seen.
    #[command(flatten)]
    pub proof: ProofOptions,

    /// What is a failure.
    #[command(flatten)]
    pub failure: FailureOptions,

    /// How long it may take.
    #[command(flatten)]
    pub limits: LimitOptions,

    /// Name the functions that a silent guest is at: its kernel's System.map, or a copy
    /// of its /proc/kallsyms
    #[arg(long, value_name = "FILE")]
    pub system_map: Option<PathBuf>,

    /// How often, and how many at once.
    #[command(flatten)]
    pub matrix: MatrixOptions,

    /// What runs the guest's code: KVM, QEMU's TCG, or KVM where it works and TCG where not
    #[arg(long, value_enum, default_value_t = EngineOption::Auto, help_heading = "Run")]
    pub engine: EngineOption,

    /// What a reset of the guest does: it ends the run, or starts the guest again, N times at most
    #[arg(long, value_name = "exit|restart[=N]", default_value = "exit", help_heading = "Run")]
    pub reboot: Reboot,

    /// Exit with 77 instead of 69 where no engine is usable
    #[arg(long, help_heading = "Run")]
    pub skip_without_engine: bool,

    /// What a guest that breaks out finds.
    #[command(flatten)]
    pub sandbox: SandboxOptions,

    /// The form of the result on standard output
    #[arg(long, value_enum, default_value_t = Format::Human, help_heading = "Output")]
    pub format: Format,

    /// Leave serial.log, serial.txt, events.jsonl, result.json, junit.xml and result.tap in DIR
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub output: Option<PathBuf>,

    /// Show the guest's console on standard error as it comes; of a single run only
    #[arg(long, help_heading = "Output")]
    pub live: bool,
}

/// What has to be seen.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "What has to be seen")]
pub struct ProofOptions {
    /// A regular expression that a line of the console has to match; may be repeated, then in
    /// this order. The word `ready` and `unit=NAME` are what systemd has to say instead: that all
    /// has started, or that a unit is active; they imply --notify
    #[arg(long, value_name = "RE|ready|unit=NAME", value_parser = expectation)]
    pub expect: Vec<Expectation>,

    /// The expected lines may come in any order
    #[arg(long, requires = "expect")]
    pub any: bool,

    /// The status that the guest has to write to I/O port 0xf4
    #[arg(long, value_name = "N")]
    pub expect_status: Option<u8>,

    /// How far the guest has to come
    #[arg(long, value_enum)]
    pub pass_on: Option<GoalOption>,
}

impl ProofOptions {
    /// What lines have to match, in order.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.expect.iter().filter_map(|expectation| match expectation {
            Expectation::Line(expression) => Some(expression),
            Expectation::Said(_) => None,
        })
    }

    /// What the system has to say.
    pub fn sayings(&self) -> impl Iterator<Item = &Saying> {
        self.expect.iter().filter_map(|expectation| match expectation {
            Expectation::Line(_) => None,
            Expectation::Said(saying) => Some(saying),
        })
    }
}

/// What `--expect` asks for.
#[derive(Clone, Debug)]
pub enum Expectation {
    /// A line of the console.
    Line(Expression),
    /// A word of the system's on itself.
    Said(Saying),
}

/// What is a failure.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "What is a failure")]
pub struct FailureOptions {
    /// Fail also on lines that match a regular expression in FILE, one a line; may be repeated
    #[arg(long, value_name = "FILE")]
    pub deny: Vec<PathBuf>,

    /// Let pass what a built-in pattern or a --deny list finds if one of its lines matches a
    /// regular expression in FILE; never a panic; may be repeated
    #[arg(long, value_name = "FILE")]
    pub allow: Vec<PathBuf>,

    /// From which severity on a finding is a failure
    #[arg(long, value_enum, default_value_t = FailOn::Fail)]
    pub fail_on: FailOn,
}

/// How long it may take.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits (90, 90s, 2m, 500ms, off)")]
pub struct LimitOptions {
    /// All of it [default: 120s]
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<Limit>,

    /// Until userspace has started [default: 60s]
    #[arg(long, value_name = "TIME")]
    pub boot_timeout: Option<Limit>,

    /// Without a byte on the console, the first or the next [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub silence_timeout: Option<Limit>,

    /// How long the guest goes on once the verdict stands [default: 2s]
    #[arg(long, value_name = "TIME", value_parser = settle)]
    pub settle: Option<Duration>,
}

/// How often, and how many at once.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Several runs")]
pub struct MatrixOptions {
    /// Boot each UKI N times; one that passes only sometimes is called flaky, and fails
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub repeat: u32,

    /// Boot N at once, or as many as the host has processors and memory for if that is less
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub jobs: u32,

    /// Boot only every Nth UKI, beginning with the Kth
    #[arg(long, value_name = "K/N")]
    pub shard: Option<Shard>,

    /// Boot only that one, as a part of a larger run: its number among all images, from 0
    #[arg(long, hide = true)]
    pub part: Option<usize>,

    /// Where that one leaves its files
    #[arg(long, hide = true, requires = "part")]
    pub part_output: Option<PathBuf>,

    /// The process that this is a part of
    #[arg(long, hide = true, requires = "part")]
    pub part_of: Option<u32>,
}

/// `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Milestones as they come, then the verdict
    Human,
    /// The report
    Json,
    /// TAP version 14
    Tap,
    /// JUnit XML
    Junit,
    /// Annotations and folded logs of GitHub Actions, and its step summary
    Github,
}

/// `--pass-on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GoalOption {
    /// Userspace started, then the guest powered off, or wrote 0 to I/O port 0xf4
    Poweroff,
    /// Userspace started
    Init,
    /// A prompt that ends in "login:"
    Login,
}

impl From<GoalOption> for verdict::Goal {
    fn from(option: GoalOption) -> Self {
        match option {
            GoalOption::Poweroff => Self::PowerOff,
            GoalOption::Init => Self::Init,
            GoalOption::Login => Self::Login,
        }
    }
}

/// `--fail-on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Warnings of the kernel (WARN, lockdep) too
    Warning,
    /// Whatever is worse
    Fail,
}

impl From<FailOn> for verdict::Severity {
    fn from(option: FailOn) -> Self {
        match option {
            FailOn::Warning => Self::Warning,
            FailOn::Fail => Self::Fail,
        }
    }
}

/// A limit, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub Option<Duration>);

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" { Ok(Self(None)) } else { duration(text).map(|time| Self(Some(time))) }
    }
}

/// `--reboot`: how often the guest is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reboot {
    /// That often at most.
    pub restarts: u32,
}

/// How often where nobody says.
const RESTARTS: u32 = 3;

impl FromStr for Reboot {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let restarts = match (text, text.strip_prefix("restart=")) {
            ("exit", _) => 0,
            ("restart", _) => RESTARTS,
            (_, Some(number)) => number.parse().map_err(|error| format!("{number:?}: {error}"))?,
            _ => return Err("give exit, restart or restart=N".into()),
        };
        Ok(Self { restarts })
    }
}

/// `--shard`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which, from 1.
    pub number: usize,
    /// Of how many.
    pub of: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/');
        let parts = parts.and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
        match parts {
            Some((number, of)) if (1..=of).contains(&number) => Ok(Self { number, of }),
            _ => Err("give K/N, as 1/3, 2/3 and 3/3".into()),
        }
    }
}

/// An expression that some line has to match. One that any line matches is no proof, and
/// mostly a variable that is empty.
fn expectation(text: &str) -> Result<Expectation, String> {
    match Saying::parse(text) {
        Some(Saying::Unit(name)) if !name.contains('.') => Err(format!(
            "systemd names units with what they are: unit={name}.service, unit={name}.target"
        )),
        Some(saying) => Ok(Expectation::Said(saying)),
        None => expression(text).map(Expectation::Line),
    }
}

fn expression(text: &str) -> Result<Expression, String> {
    let regex = Expression::new(text).map_err(|error| error.to_string())?;
    if regex.is_match(b"") {
        return Err("it matches an empty line too, so that any guest would pass".to_owned());
    }
    Ok(regex)
}

/// A time, which may be nothing.
fn settle(text: &str) -> Result<Duration, String> {
    if text.trim_end_matches(char::is_alphabetic) == "0" {
        Ok(Duration::ZERO)
    } else {
        duration(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_time_or_off() {
        assert_eq!("90s".parse(), Ok(Limit(Some(Duration::from_secs(90)))));
        assert_eq!("off".parse(), Ok(Limit(None)));
        assert!("0".parse::<Limit>().is_err());
        assert!("never".parse::<Limit>().is_err());
    }

    #[test]
    fn what_any_line_matches_is_no_proof() {
        for any in ["", ".*", "a*", "^$", "(ready)?"] {
            assert!(expression(any).is_err_and(|error| error.contains("empty line")), "{any}");
        }
        assert!(expression("login: *$").is_ok());
    }

    #[test]
    fn what_the_system_is_to_say_is_no_regular_expression() {
        assert!(matches!(expectation("ready"), Ok(Expectation::Said(Saying::Ready))));
        assert!(matches!(expectation("unit=a.target"), Ok(Expectation::Said(Saying::Unit(_)))));
        assert!(matches!(expectation("[r]eady"), Ok(Expectation::Line(_))));
        assert!(expectation("unit=ssh").is_err_and(|error| error.contains("unit=ssh.service")));
    }

    #[test]
    fn to_settle_may_take_no_time() {
        assert_eq!(settle("0"), Ok(Duration::ZERO));
        assert_eq!(settle("0s"), Ok(Duration::ZERO));
        assert_eq!(settle("500ms"), Ok(Duration::from_millis(500)));
        assert!(settle("x").is_err());
    }

    #[test]
    fn a_reset_ends_the_run_or_starts_the_guest_again_so_many_times() {
        assert_eq!("exit".parse(), Ok(Reboot { restarts: 0 }));
        assert_eq!("restart".parse(), Ok(Reboot { restarts: RESTARTS }));
        assert_eq!("restart=7".parse(), Ok(Reboot { restarts: 7 }));
        assert!("restart=x".parse::<Reboot>().is_err());
        assert!("again".parse::<Reboot>().is_err());
    }

    #[test]
    fn a_shard_is_one_of_some() {
        assert_eq!("2/3".parse(), Ok(Shard { number: 2, of: 3 }));
        for wrong in ["0/3", "4/3", "1", "1/0", "a/b", "-1/2"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
