//! Completions, where each shell looks for those of installed programs.

use clap::Command;
use clap_complete::{Shell, generate};

use super::Installed;

/// bash: bash-completion's README, "Where should I put it"; fish: its
/// documentation, "Where to put completions"; zsh: the usual `$fpath`.
const SHELLS: [(Shell, &str); 3] = [
    (Shell::Bash, "share/bash-completion/completions/ukivm"),
    (Shell::Fish, "share/fish/vendor_completions.d/ukivm.fish"),
    (Shell::Zsh, "share/zsh/site-functions/_ukivm"),
];

pub(super) fn all(command: &Command) -> impl Iterator<Item = Installed> {
    let command = without_hidden(command.clone());
    SHELLS.into_iter().map(move |(shell, path)| {
        let mut text = Vec::new();
        generate(shell, &mut command.clone(), "ukivm", &mut text);
        Installed { path: path.into(), text }
    })
}

/// What is hidden is for `ukivm` itself; not every generator leaves it out.
fn without_hidden(command: Command) -> Command {
    command.mut_subcommands(|sub| {
        let hidden: Vec<_> = sub
            .get_arguments()
            .filter(|arg| arg.is_hide_set())
            .map(|arg| arg.get_id().clone())
            .collect();
        hidden.into_iter().fold(sub, |sub, id| sub.mut_arg(id, |arg| arg.long(None)))
    })
}
