//! Man pages: `ukivm(1)` and one for each command. man-pages(7) has the order of
//! sections.

use std::io;

use clap::Command;
use clap_mangen::Man;
use roff::{Inline, Roff, bold, roman};
use ukivm::{cli::VERDICT, exit, help::TOPICS};

use super::Installed;

pub(super) fn all(command: &Command) -> io::Result<Vec<Installed>> {
    [command].into_iter().chain(command.get_subcommands()).map(page).collect()
}

fn page(command: &Command) -> io::Result<Installed> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut command = command.clone().version(env!("CARGO_PKG_VERSION"));
    let has_options = command.get_arguments().any(|arg| !arg.is_hide_set());
    let is_whole = command.has_subcommands();
    let own = command.get_name().to_owned();
    let synopsis = synopsis(&mut command);
    let man = Man::new(command)
        .title(name.to_uppercase())
        .manual("ukivm manual")
        .source(concat!("ukivm ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    synopsis.to_writer(&mut text)?;
    man.render_description_section(&mut text)?;
    if is_whole {
        man.render_subcommands_section(&mut text)?;
    }
    if has_options {
        man.render_options_section(&mut text)?;
    }
    if own == "smoke" {
        verdict().to_writer(&mut text)?;
    }
    exit_status((!is_whole).then_some(own.as_str())).to_writer(&mut text)?;
    see_also(&name).to_writer(&mut text)?;
    Ok(Installed { path: format!("share/man/man1/{name}.1").into(), text })
}

/// As in the help: one that lists every option tells less.
fn synopsis(command: &mut Command) -> Roff {
    let usage = command.render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage);
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]).text([roman(usage)]);
    roff
}

fn verdict() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["VERDICT"]);
    for paragraph in VERDICT.split("\n\n") {
        roff.control("PP", []).text([roman(paragraph.replace('\n', " "))]);
    }
    roff
}

/// The statuses of a command, or of all.
fn exit_status(command: Option<&str>) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    for meaning in exit::TABLE {
        if command.is_some_and(|command| !meaning.is_of(command)) {
            continue;
        }
        let whose = match (command, meaning.commands) {
            (None, [_, ..]) => format!("{}: ", meaning.commands.join(", ")),
            _ => String::new(),
        };
        roff.control("TP", []).text([bold(meaning.statuses("-"))]);
        roff.text([roman(format!("{whose}{}", meaning.text))]);
    }
    if command.is_none_or(|command| ["run", "smoke"].contains(&command)) {
        roff.control("PP", []).text([roman(exit::ORDER)]);
    }
    if command.is_none_or(|command| command == "smoke") {
        roff.control("PP", []).text([roman("Of several runs of smoke, the gravest.")]);
    }
    roff
}

fn see_also(own: &str) -> Roff {
    let root = super::command();
    let names = root.get_subcommands().map(|sub| format!("ukivm-{}", sub.get_name()));
    let mut others: Vec<_> =
        ["ukivm".to_owned()].into_iter().chain(names).filter(|name| name != own).collect();
    others.sort();
    let topics = TOPICS.iter().map(|topic| (format!("ukivm-{}", topic.name), "(7)"));
    let pages = others.into_iter().map(|name| (name, "(1)")).chain(topics);
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]).text(listed(pages));
    roff
}

/// Pages by name and section, with commas between.
pub(super) fn listed(pages: impl Iterator<Item = (String, &'static str)>) -> Vec<Inline> {
    let mut line = Vec::new();
    for (name, section) in pages {
        if !line.is_empty() {
            line.push(roman(", "));
        }
        line.extend([bold(name), roman(section)]);
    }
    line
}
