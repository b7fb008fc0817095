//! Options of `help`.

use clap::{Args, CommandFactory as _};

use super::Cli;
use crate::help::{self, Topic};

/// Options of `help`.
#[derive(Clone, Debug, Args)]
#[command(after_help = help::list())]
pub struct HelpOptions {
    /// A command, or a topic of those below; without one, all commands and topics are listed
    #[arg(value_name = "COMMAND|TOPIC", value_parser = about)]
    pub about: Option<String>,
}

fn about(name: &str) -> Result<String, String> {
    let command = Cli::command().find_subcommand(name).is_some();
    if command || Topic::named(name).is_some() {
        return Ok(name.to_owned());
    }
    let topics: Vec<_> = help::TOPICS.iter().map(|topic| topic.name).collect();
    Err(format!("neither a command nor a topic; the topics are {}", topics.join(", ")))
}
