//! A program that is run for a trial, to its end.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read as _},
    path::Path,
    process::ExitStatus,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    arm::{Error, Request},
    clock,
};
use crate::child::{Child, Standard, Text};

/// How often it is looked whether anybody still wants the trial.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// The most that is read of a program.
const OUTPUT_MAX: usize = 64 << 20;

/// A program that has ended by itself.
#[derive(Debug)]
pub(super) struct Finished {
    /// When it was started, by [`clock::now`].
    pub(super) started: u64,
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    /// The end of what it wrote to standard error.
    pub(super) stderr: String,
}

/// Runs `program` without input until it closes its standard output. It is killed
/// when `limit` has passed or the trial is not wanted any more, and ends with us
/// whatever happens.
pub(super) fn run(
    program: &Path,
    arguments: &[impl AsRef<OsStr>],
    request: &Request<'_>,
    limit: Duration,
) -> Result<Finished, Error> {
    let failed = |source| Error::Host { what: "can't set up a trial's process", source };
    let stderr = Text::create().map_err(failed)?;
    let (mut output, theirs) = io::pipe().map_err(failed)?;
    let standard = Standard {
        input: File::open("/dev/null").map_err(failed)?.into(),
        output: theirs.into(),
        error: stderr.handle().map_err(failed)?.into(),
    };
    let deadline = Instant::now().checked_add(limit);
    let started = clock::now();
    let mut child = Child::start(program, arguments, Vec::new(), standard).map_err(|source| {
        let what = "can't be started".to_owned();
        Error::Program { program: program.to_owned(), what, source: Some(source) }
    })?;
    let mut stdout = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if request.is_stopped() {
            return Err(Error::Stopped);
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(Error::TimeLimit { limit, console: Vec::new() });
        }
        let ready = poll(&mut [PollFd::new(&output, PollFlags::IN)], Some(&TICK));
        if !ready.is_ok_and(|ready| ready > 0) {
            continue;
        }
        match output.read(&mut piece).map_err(failed)? {
            0 => break,
            read => stdout.extend(piece.iter().take(read)),
        }
        if stdout.len() > OUTPUT_MAX {
            let what = "wrote without end".to_owned();
            return Err(Error::Program { program: program.to_owned(), what, source: None });
        }
    }
    let status = child.wait().map_err(failed)?;
    Ok(Finished { started, status, stdout, stderr: stderr.tail() })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use clap::Parser as _;

    use super::*;
    use crate::{
        bench::{Mode, Until, arm::Subject},
        cli::{Cli, Command},
    };

    fn subject() -> Subject {
        match Cli::parse_from(["ukivm", "run", "x.efi"]).command {
            Command::Run(options) => options.job,
            other => panic!("{other:?}"),
        }
    }

    fn shell(script: &str, stop: bool, limit: Duration) -> Result<Finished, Error> {
        let request = Request {
            subject: &subject(),
            mode: Mode::Time,
            until: Until::End,
            time_limit: limit,
            stop: &AtomicBool::new(stop),
        };
        run(Path::new("/bin/sh"), &["-c", script], &request, limit)
    }

    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn what_a_program_says_is_kept_apart_and_its_status_known() {
        let finished = shell("echo out; echo err >&2; exit 3", false, LONG).unwrap();
        assert_eq!(finished.stdout, b"out\n");
        assert_eq!(finished.stderr, "err\n");
        assert_eq!(finished.status.code(), Some(3));
    }

    #[test]
    fn a_program_that_takes_too_long_is_ended() {
        let start = Instant::now();
        let error = shell("sleep 60", false, Duration::from_millis(100)).unwrap_err();
        assert!(matches!(error, Error::TimeLimit { .. }), "{error}");
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_trial_that_nobody_wants_is_given_up() {
        let error = shell("sleep 60", true, LONG).unwrap_err();
        assert!(matches!(error, Error::Stopped), "{error}");
    }
}
