//! The `ukivm` program: arguments to command to exit status.

use std::{process::ExitCode, time::Instant};

use ukivm::{
    bug,
    cli::{Cli, Command},
    commands::{bench, diff, doctor, help, inspect, measure, plan, probe, run, smoke},
    error::Error,
    exit,
    messages::{chain, say},
};

fn main() -> ExitCode {
    let start = Instant::now();
    bug::end_with_a_status();
    match Cli::of_program() {
        Ok(cli) => command(&cli.command, start).unwrap_or_else(|error| report(&error)),
        Err(error) => usage(&error),
    }
}

fn command(command: &Command, start: Instant) -> Result<ExitCode, Error> {
    let status = match command {
        Command::Run(options) => run::run(options, start),
        Command::Smoke(options) => smoke::run(options, start),
        Command::Plan(options) => plan::run(options),
        Command::Probe(options) => probe::run(options, start),
        Command::Inspect(options) => inspect::run(options),
        Command::Diff(options) => diff::run(options),
        Command::Measure(options) => measure::run(options),
        Command::Bench(options) => bench::run(options, start),
        Command::Doctor(options) => doctor::run(options),
        Command::Help(options) => help::run(options),
    };
    status.map(ExitCode::from)
}

fn report(error: &Error) -> ExitCode {
    say(&chain(error));
    if let Some(hint) = error.hint() {
        say(&format!("hint: {hint}"));
    }
    ExitCode::from(error.exit_status())
}

/// Help and version are answers; the rest is a wrong command line.
fn usage(error: &clap::Error) -> ExitCode {
    // Nobody may be listening.
    drop(error.print());
    ExitCode::from(if error.use_stderr() { exit::USAGE } else { 0 })
}
