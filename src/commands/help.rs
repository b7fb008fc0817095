//! `ukivm help`: of a command, or a topic.

use clap::CommandFactory as _;

use crate::{
    cli::{Cli, HelpOptions},
    commands::print,
    error::Error,
    help::Topic,
};

/// Prints what was asked for.
pub fn run(options: &HelpOptions) -> Result<u8, Error> {
    let mut whole = Cli::command();
    whole.build();
    let text = match &options.about {
        None => whole.render_long_help().to_string(),
        Some(name) => match (Topic::named(name), whole.find_subcommand_mut(name)) {
            (None, Some(command)) => command.render_long_help().to_string(),
            // The options admit nothing but commands and topics.
            (topic, _) => topic.map(Topic::plain).unwrap_or_default(),
        },
    };
    print(&text)?;
    Ok(0)
}
