//! Man pages and completions: each by the program that reads it.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Stdio},
};

use ukivm::exit;
use ukivm_packaging::{
    Installed, command,
    dependencies::{List, Tree, problems, sbom},
    files,
};

use crate::support::{Scratch, skip};

fn installed() -> Vec<Installed> {
    files().expect("files")
}

fn is_page(file: &Installed) -> bool {
    file.path.starts_with("share/man/man1")
}

fn text_of(path: &str) -> String {
    let file = installed().into_iter().find(|file| file.path == Path::new(path));
    String::from_utf8(file.expect(path).text).expect("UTF-8")
}

/// What `program` says on standard output; `None`, and `test` noted as skipped,
/// where this host does not have it.
fn says(test: &str, program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let Ok(output) = output else {
        skip(test, &format!("no {program} here"));
        return None;
    };
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && error.is_empty(), "{program} {arguments:?}: {error}");
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}

/// The long options of each command, as they are typed.
fn options() -> Vec<(String, BTreeSet<String>)> {
    let root = command();
    let of = |sub: &clap::Command| {
        let shown = sub.get_arguments().filter(|arg| !arg.is_hide_set());
        let names = shown.filter_map(|arg| arg.get_long().map(|long| format!("--{long}")));
        (sub.get_name().to_owned(), names.collect())
    };
    root.get_subcommands().map(of).collect()
}

#[test]
fn every_command_has_a_page_that_groff_takes_without_a_warning() {
    let test = "every_command_has_a_page_that_groff_takes_without_a_warning";
    let scratch = Scratch::new();
    let pages: Vec<_> = installed().into_iter().filter(is_page).collect();
    assert_eq!(pages.len(), 1 + options().len());
    let topics = installed().into_iter().filter(|file| file.path.starts_with("share/man/man7"));
    for page in pages.into_iter().chain(topics) {
        let is_topic = !is_page(&page);
        let name = page.path.file_name().and_then(|name| name.to_str()).expect("a name");
        let path = scratch.file(name, &page.text);
        let path = path.to_str().expect("UTF-8");
        let Some(shown) = says(test, "groff", &["-man", "-ww", "-Tutf8", "-P-cbou", path]) else {
            return;
        };
        let all = ["NAME", "DESCRIPTION", "SEE ALSO", "SYNOPSIS", "OPTIONS", "EXIT STATUS"];
        for section in all.into_iter().take(if is_topic { 3 } else { 6 }) {
            assert!(shown.lines().any(|line| line == section), "{section} of {name} in {shown}");
        }
    }
}

#[test]
fn a_topic_says_the_same_by_help_and_by_man() {
    let test = "a_topic_says_the_same_by_help_and_by_man";
    let scratch = Scratch::new();
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    for topic in ukivm::help::TOPICS {
        let path = format!("share/man/man7/ukivm-{}.7", topic.name);
        let path = scratch.file(topic.name, text_of(&path));
        let path = path.to_str().expect("UTF-8");
        let Some(shown) = says(test, "groff", &["-man", "-ww", "-Tascii", "-P-cbou", path]) else {
            return;
        };
        let (_, told) = topic
            .plain()
            .split_once('\n')
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .expect("lines");
        let (_, shown) = shown.split_once("DESCRIPTION").expect("a description");
        let (shown, _) = shown.split_once("SEE ALSO").expect("an end");
        // groff joins words and breaks them at hyphens as it likes.
        let joined = |text: &str| words(text).concat().replace('-', "");
        assert_eq!(joined(shown), joined(&told), "{}", topic.name);
    }
}

#[test]
fn help_tells_of_commands_and_topics_and_lists_both() {
    let help = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_ukivm")).arg("help").args(words).output();
        crate::support::Ran::from(output.expect("it runs"))
    };
    let all = help(&[]);
    for name in command().get_subcommands().map(clap::Command::get_name) {
        assert!(all.stdout.contains(&format!("\n  {name} ")), "{name} in {}", all.stdout);
        let own = help(&[name]);
        assert!(own.status == Some(0) && own.stdout.contains("Usage: "), "{own:?}");
    }
    for topic in ukivm::help::TOPICS {
        assert!(all.stdout.contains(topic.title), "{} in {}", topic.name, all.stdout);
        assert_eq!(help(&[topic.name]).stdout, topic.plain());
    }
    let wrong = help(&["frobnication"]);
    assert_eq!(wrong.status, Some(64));
    assert!(wrong.stderr.contains("the topics are guide, exit-status"), "{wrong:?}");
}

#[test]
fn a_page_has_every_option_and_every_exit_status_of_its_command() {
    for (name, options) in options() {
        let page = text_of(&format!("share/man/man1/ukivm-{name}.1")).replace("\\-", "-");
        for option in options {
            assert!(page.contains(&format!("\\fB{option}\\fR")), "{option} in {page}");
        }
        let (_, after) = page.split_once(".SH \"EXIT STATUS\"").expect("exit statuses");
        let after = after.replace("\\*(Aq", "'");
        for meaning in exit::TABLE {
            let row = format!("\\fB{}\\fR\n{}\n", meaning.statuses("-"), meaning.text);
            assert_eq!(after.contains(&row), meaning.is_of(&name), "{name}: {row} in {after}");
        }
    }
}

#[test]
fn a_page_says_nothing_of_what_is_hidden() {
    for file in installed() {
        let text = String::from_utf8(file.text).expect("UTF-8").replace("\\-", "-");
        assert!(!text.contains("part-of") && !text.contains("--part"), "{}", file.path.display());
    }
}

#[test]
fn bash_offers_the_options_of_each_command_and_no_others() {
    let test = "bash_offers_the_options_of_each_command_and_no_others";
    let scratch = Scratch::new();
    let path = scratch.file("c", text_of("share/bash-completion/completions/ukivm"));
    for (name, options) in options() {
        let script = format!(
            "source {} && COMP_WORDS=(ukivm {name} --) COMP_CWORD=2 && _ukivm ukivm -- {name} && \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            path.display()
        );
        let Some(offered) = says(test, "bash", &["--norc", "-c", &script]) else { return };
        let offered: BTreeSet<_> = offered.lines().map(str::to_owned).collect();
        assert_eq!(offered, options, "{name}");
    }
}

#[test]
fn fish_offers_the_options_of_each_command_and_no_others() {
    let test = "fish_offers_the_options_of_each_command_and_no_others";
    let scratch = Scratch::new();
    let path = scratch.file("c.fish", text_of("share/fish/vendor_completions.d/ukivm.fish"));
    for (name, options) in options() {
        let script = format!("source {}; complete -C 'ukivm {name} --'", path.display());
        let Some(offered) = says(test, "fish", &["--no-config", "-c", &script]) else { return };
        let word = |line: &str| line.split(['\t', '=']).next().map(str::to_owned);
        let offered: BTreeSet<_> = offered.lines().filter_map(word).collect();
        assert_eq!(offered, options, "{name}");
    }
}

#[test]
fn zsh_takes_its_completions_and_they_have_every_option() {
    let test = "zsh_takes_its_completions_and_they_have_every_option";
    let script = text_of("share/zsh/site-functions/_ukivm");
    for (name, options) in options() {
        let (_, own) = script.split_once(&format!("({name})\n")).expect("the command");
        let (own, _) = own.split_once("\n;;\n").expect("its end");
        for option in options {
            assert!(own.contains(&option), "{option} of {name} in {own}");
        }
    }
    let scratch = Scratch::new();
    let path = scratch.file("_ukivm", &script);
    says(test, "zsh", &["-n", path.to_str().expect("UTF-8")]);
}

/// What cargo says that the program is made of.
fn tree() -> Tree {
    Tree::of(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("cargo tells")
}

#[test]
fn every_dependency_has_a_reason_and_a_licence_that_will_do() {
    let list = List::parse(include_str!("../src/packaging/dependencies.txt")).expect("a list");
    assert_eq!(problems(&tree(), &list), [""; 0]);
}

#[test]
fn the_bill_of_materials_names_every_package_with_its_digest() {
    let tree = tree();
    let bill = sbom(&tree, include_str!("../Cargo.lock"));
    assert_eq!(bill["metadata"]["component"]["name"], "ukivm");
    let components = bill["components"].as_array().expect("a list");
    assert_eq!(components.len() + 1, tree.packages.len());
    for component in components {
        let is_ours = component["purl"].is_null();
        let digest = component["hashes"][0]["content"].as_str();
        assert_eq!(digest.map(str::len), (!is_ours).then_some(64), "{component}");
    }
    let scope = |name: &str| {
        let found = components.iter().find(|component| component["name"] == name);
        found.expect(name)["scope"].clone()
    };
    assert_eq!((scope("clap"), scope("syn")), ("required".into(), "excluded".into()));
}
