//! What is made of the sources beside the program, for installing and packaging it.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use thiserror::Error;
use ukivm_packaging::{
    copyright,
    dependencies::{List, Tree, TreeError, problems, sbom},
};

const USAGE: &str = "\
usage: ukivm-packaging COMMAND

  install FOLDER  writes man pages and completions, laid out as under a prefix
  check           says which dependency has no reason, or a licence that won't do
  sbom            prints what the program is made of, in CycloneDX's form
  copyright       prints the copyright file of the Debian package";

#[derive(Debug, Error)]
enum Error {
    #[error("{USAGE}")]
    Usage,
    #[error("{0}: {1}")]
    File(PathBuf, #[source] std::io::Error),
    #[error("src/packaging/dependencies.txt: {0:?} is not understood, or said twice")]
    List(String),
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error("{0}")]
    Problems(String),
    #[error("standard output: {0}")]
    Output(#[from] std::io::Error),
}

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn run(words: &[&str]) -> Result<(), Error> {
    match words {
        ["install", folder] => install(Path::new(folder)),
        ["check"] => check(),
        ["sbom"] => print(&format!("{:#}\n", sbom(&Tree::of(&root())?, &text("Cargo.lock")?))),
        ["copyright"] => print(&copyright(&Tree::of(&root())?)),
        _ => Err(Error::Usage),
    }
}

/// The workspace that this is part of.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(path: &str) -> Result<String, Error> {
    let path = root().join(path);
    fs::read_to_string(&path).map_err(|error| Error::File(path, error))
}

fn install(folder: &Path) -> Result<(), Error> {
    for file in ukivm_packaging::files()? {
        let path = folder.join(&file.path);
        let written = path
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&path, file.text));
        written.map_err(|error| Error::File(path, error))?;
    }
    Ok(())
}

fn check() -> Result<(), Error> {
    let list = List::parse(&text("src/packaging/dependencies.txt")?).map_err(Error::List)?;
    let problems = problems(&Tree::of(&root())?, &list);
    if problems.is_empty() { Ok(()) } else { Err(Error::Problems(problems.join("\n"))) }
}

fn print(text: &str) -> Result<(), Error> {
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}

#[expect(clippy::print_stderr, reason = "a program of one message")]
fn failed(error: &Error) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(match error {
        Error::Usage => 64,
        Error::File(..) | Error::Output(_) => 74,
        _ => 1,
    })
}
