//! Another program that boots a guest, run once, with its console on standard output.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, PipeReader, Read as _, Seek as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{console::Console, parts::Inherited};
use crate::{
    bench::arm::{Error, Request, Until},
    child::{Child, Standard, Text, anonymous_file},
    engine::tcg::Counts,
    verdict::MarkName,
};

/// How long a program may take to end once its guest has.
const LEAVE: Duration = Duration::from_secs(2);
/// How long a line without an end stands before it is taken for a prompt.
const PROMPT: Duration = Duration::from_secs(1);
/// How often it is looked whether the trial is still wanted.
const TICK: Duration = Duration::from_millis(100);

/// A program with its arguments.
#[derive(Debug)]
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    files: Vec<OwnedFd>,
    /// QEMU's replay log, where its guest's instructions are counted.
    log: Option<File>,
}

/// What was seen of a run. Its times are numbers of instructions where these are
/// counted, as nanoseconds.
#[derive(Debug)]
pub(super) struct Seen {
    /// What the guest said.
    pub(super) console: Console,
    /// When the guest had ended.
    pub(super) end: Duration,
    /// How, in a word or two.
    pub(super) how: &'static str,
}

impl Program {
    /// The program at `path`, without arguments yet.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), arguments: Vec::new(), files: Vec::new(), log: None }
    }

    /// One more argument.
    pub(super) fn arg(&mut self, argument: impl Into<OsString>) -> &mut Self {
        self.arguments.push(argument.into());
        self
    }

    /// More arguments.
    pub(super) fn args<T: Into<OsString>>(
        &mut self,
        arguments: impl IntoIterator<Item = T>,
    ) -> &mut Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// One more file that it inherits; its path there.
    pub(super) fn inherit(&mut self, file: Inherited) -> String {
        self.files.push(file.file);
        file.path
    }

    /// Has QEMU write a replay log, by which all that was seen gets its count; the
    /// path for it.
    pub(super) fn log(&mut self) -> io::Result<String> {
        let log = anonymous_file()?;
        let path = self.inherit(Inherited::new(log.try_clone()?));
        self.log = Some(log);
        Ok(path)
    }

    /// Runs it until its guest has ended, and gives what was seen.
    pub(super) fn run(mut self, request: &Request<'_>) -> Result<Seen, Error> {
        let host = |source| Error::Host { what: "can't make what connects us to it", source };
        let said = Text::create().map_err(host)?;
        let (output, their_output) = io::pipe().map_err(host)?;
        // Held open: at the end of their input, some programs end.
        let (their_input, _input) = io::pipe().map_err(host)?;
        let standard = Standard {
            input: their_input.into(),
            output: their_output.into(),
            error: said.handle().map_err(host)?.into(),
        };
        let start = Instant::now();
        let child = Child::start(&self.path, &self.arguments, self.files, standard);
        let child = child.map_err(|source| Error::Program {
            program: self.path.clone(),
            what: "can't be started".to_owned(),
            source: Some(source),
        })?;
        let raw = self.log.is_some().then(Vec::new);
        let mut run = Run { request, start, child, output, raw, console: Console::default() };
        run.listen()?;
        let raw = run.raw.take();
        let seen = run.seen(&self.path, &said)?;
        match (self.log.take(), raw) {
            (Some(log), Some(raw)) => counted(&self.path, log, raw, request.until),
            _ => Ok(seen),
        }
    }
}

/// A program that runs.
struct Run<'a> {
    request: &'a Request<'a>,
    start: Instant,
    child: Child,
    output: PipeReader,
    /// All of the console, where its bytes are to be counted.
    raw: Option<Vec<u8>>,
    console: Console,
}

impl Run<'_> {
    /// Listens until the program has closed its output, its guest has come as far as
    /// it should, or has ended and the program does not.
    fn listen(&mut self) -> Result<(), Error> {
        let mut buffer = [0; 4096];
        let mut quiet_since = Duration::ZERO;
        loop {
            let now = self.start.elapsed();
            if self.request.is_stopped() {
                return Err(Error::Stopped);
            }
            if now >= self.request.time_limit {
                let console = self.console.last_lines();
                return Err(Error::TimeLimit { limit: self.request.time_limit, console });
            }
            if self.is_done(now) {
                return Ok(());
            }
            if !self.is_readable() {
                if now >= quiet_since.saturating_add(PROMPT) {
                    self.console.pause(quiet_since);
                }
                continue;
            }
            match self.output.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(len) => {
                    quiet_since = self.start.elapsed();
                    let bytes = buffer.get(..len).unwrap_or_default();
                    self.console.push(bytes, quiet_since);
                    self.raw.iter_mut().for_each(|raw| raw.extend_from_slice(bytes));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Ok(()),
            }
        }
    }

    /// Whether nothing more is to be waited for: a program that ends with its guest is
    /// given the time to do so.
    fn is_done(&self, now: Duration) -> bool {
        let reached = self.console.reached(self.request.until);
        if self.request.until != Until::End && reached.is_some() {
            return true;
        }
        let panicked = self.console.mark(MarkName::PanicEnd, Duration::ZERO).map(|(at, _)| at);
        let ended = self.console.reached(Until::End).or(panicked);
        ended.is_some_and(|at| now >= at.saturating_add(LEAVE))
    }

    /// Waits a while for output.
    fn is_readable(&self) -> bool {
        let tick = Timespec::try_from(TICK).ok();
        let mut fds = [PollFd::new(&self.output, PollFlags::IN)];
        poll(&mut fds, tick.as_ref()).is_ok_and(|ready| ready > 0)
    }

    /// What was seen, if the guest came as far as it should.
    fn seen(mut self, path: &Path, said: &Text) -> Result<Seen, Error> {
        let closed = self.start.elapsed();
        self.console.finish(closed);
        if let Some(how) = self.console.failure() {
            return Err(Error::End { how, console: self.console.last_lines() });
        }
        let until = self.request.until;
        let reached = self.console.reached(until);
        // Else it has closed its output, and so is ending.
        let stays = until != Until::End && reached.is_some()
            || reached.is_some_and(|at| closed >= at.saturating_add(LEAVE));
        if stays {
            // Not killed where it may have a log to finish.
            self.child.terminate();
        }
        let status = self.child.wait_at_most(LEAVE);
        match (reached, status) {
            (Some(end), _) if until != Until::End => {
                Ok(Seen { console: self.console, end, how: "came as far as was wanted" })
            }
            (Some(end), _) if stays => {
                let how = "said that it ends; its monitor had to be ended";
                Ok(Seen { console: self.console, end, how })
            }
            (_, Ok(status)) if status.success() && until == Until::End => {
                Ok(Seen { console: self.console, end: closed, how: "ended by itself" })
            }
            (_, Ok(status)) if status.success() => {
                let console = self.console.last_lines();
                let how = "it ended before it had come as far as was wanted".to_owned();
                Err(Error::End { how, console })
            }
            (_, status) => {
                let what = failed(status, &said.tail());
                Err(Error::Program { program: path.to_owned(), what, source: None })
            }
        }
    }
}

/// What was seen of a guest whose console was `raw`, with counts in the place of times.
fn counted(path: &Path, mut log: File, raw: Vec<u8>, until: Until) -> Result<Seen, Error> {
    let failed = |what: String| Error::Program { program: path.to_owned(), what, source: None };
    let mut bytes = Vec::new();
    let read = log.rewind().and_then(|()| log.read_to_end(&mut bytes));
    read.map_err(|error| failed(format!("its replay log can't be read: {error}")))?;
    let counts = Counts::from_reset(&bytes, raw).map_err(|error| failed(error.to_string()))?;
    let mut console = Console::default();
    let mut last = Duration::ZERO;
    for (byte, after) in counts.console() {
        last = Duration::from_nanos(after);
        console.push(&[byte], last);
    }
    console.pause(last);
    console.finish(last);
    let end = console.reached(until).ok_or(Error::Unseen {
        what: "the end",
        why: "instructions are counted up to the kernel's word that it ends, or what --until \
              waits for"
            .to_owned(),
    })?;
    Ok(Seen { console, end, how: "counted up to what was printed last" })
}

/// That a program failed, and what it said.
fn failed(status: io::Result<ExitStatus>, said: &str) -> String {
    let how = match status {
        Ok(status) => format!("ended with {status}"),
        Err(error) => format!("ended in an unknown way ({error})"),
    };
    match said.trim() {
        "" => format!("{how} and said nothing"),
        said => format!("{how}: {said}"),
    }
}
