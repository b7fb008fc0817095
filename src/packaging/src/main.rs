//! Writes man pages and completions into a folder, laid out as under a prefix.

use std::{env, fs, io, path::Path, process::ExitCode};

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let (Some(folder), None) = (arguments.next(), arguments.next()) else {
        return failed("usage: ukivm-packaging FOLDER", 64);
    };
    match write(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&format!("{}: {error}", Path::new(&folder).display()), 74),
    }
}

fn write(folder: &Path) -> io::Result<()> {
    for file in ukivm_packaging::files()? {
        let path = folder.join(&file.path);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, file.text)?;
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "a program of one message")]
fn failed(message: &str, status: u8) -> ExitCode {
    eprintln!("ukivm-packaging: {message}");
    ExitCode::from(status)
}
