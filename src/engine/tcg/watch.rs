//! Watching a running QEMU until it ends.

use std::{
    io::PipeReader,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec};

use super::{
    channels::Channels,
    count::breakpoint::{self, Answer, Answers},
    crash::{self, Dump},
    qmp::{self, Lines, Message},
    reset_log,
};
use crate::{
    child::Child,
    outcome::{End, ResetBy, Sample},
    session::{Milestone, Session},
};

/// How long a guest that is to be ended may take to show its registers.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long QEMU may take to end in order.
const QUIT_PATIENCE: Duration = Duration::from_secs(10);

/// How often the vCPUs of a guest that hangs are looked at, and how long between
/// two looks: no multiple of a kernel's tick.
const LOOKS: u32 = 16;
const BETWEEN: Duration = Duration::from_micros(11_300);

/// What was seen of a run.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// How the guest ended it, where that was told before QEMU ended.
    pub(super) end: Option<End>,
    /// Registers and code at that moment, where they are of interest.
    pub(super) dump: Dump,
    /// How many bytes were written to the port of the mark, by the ROM the first.
    pub(super) marks: usize,
    /// The guest has stopped at the address where it was to.
    pub(super) has_stopped: bool,
}

/// A running QEMU and the session it runs for.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    session: &'a Session,
    channels: &'a Channels,
    child: &'a mut Child,
    /// Its other end is closed when the session is over.
    over: PipeReader,
    cpus: u32,
    lines: Lines,
    answers: Answers,
    /// Looks still to be taken, and when the next one is due.
    looks: u32,
    next_look: Option<Instant>,
    /// What was answered of a glance at the vCPUs that is under way.
    glance: Option<Vec<Option<Sample>>>,
    /// Set while the guest's registers are asked for.
    deadline: Option<Instant>,
    /// QEMU was asked to end.
    is_quitting: bool,
    seen: Seen,
}

/// Where news comes from. In this order, so that a status that the guest wrote
/// is seen before what it did next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    ExitPort,
    MilestonePort,
    Mark,
    Stub,
    Qmp,
    SessionOver,
}

impl<'a> Watch<'a> {
    pub(super) fn new(
        session: &'a Session,
        channels: &'a Channels,
        child: &'a mut Child,
        over: PipeReader,
        cpus: u32,
    ) -> Self {
        let (lines, seen) = (Lines::default(), Seen::default());
        Self {
            session,
            channels,
            child,
            over,
            cpus,
            lines,
            answers: Answers::default(),
            looks: 0,
            next_look: None,
            glance: None,
            deadline: None,
            is_quitting: false,
            seen,
        }
    }

    /// Acts on what QEMU says until it has closed its channels, which it does by
    /// ending.
    pub(super) fn run(mut self) -> Seen {
        use Source::{ExitPort, Mark, MilestonePort, Qmp, SessionOver, Stub};
        let mut open = vec![ExitPort, MilestonePort, Qmp, SessionOver];
        if let Some(counting) = &self.channels.counting {
            open.push(Mark);
            open.extend(counting.stub.as_ref().map(|_| Stub));
        }
        while open.iter().any(|source| *source != SessionOver) {
            for source in self.ready(&open) {
                let mut buffer = [0; 4096];
                match self.read(source, &mut buffer) {
                    0 => open.retain(|other| *other != source),
                    len => self.news(source, buffer.get(..len).unwrap_or_default()),
                }
                if source == SessionOver {
                    self.session_over();
                }
            }
            if self.next_glance().is_some_and(|at| Instant::now() >= at) {
                self.glance();
            }
            if self.next_look.is_some_and(|at| Instant::now() >= at) {
                self.look();
            }
            if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.late();
            }
        }
        self.seen
    }

    fn stub(&self) -> Option<&(UnixStream, u64)> {
        self.channels.counting.as_ref()?.stub.as_ref()
    }

    /// Waits until there is something to read, or the deadline.
    fn ready(&self, open: &[Source]) -> Vec<Source> {
        let mut fds: Vec<_> = open
            .iter()
            .map(|source| PollFd::from_borrowed_fd(self.fd(*source), PollFlags::IN))
            .collect();
        let next = self.deadline.into_iter().chain(self.next_look).chain(self.next_glance()).min();
        let timeout = next.map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = timeout.and_then(|duration| Timespec::try_from(duration).ok());
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) => open
                .iter()
                .zip(&fds)
                .filter(|(_, fd)| !fd.revents().is_empty())
                .map(|(source, _)| *source)
                .collect(),
            Err(_) => Vec::new(),
        }
    }

    fn fd(&self, source: Source) -> BorrowedFd<'_> {
        match source {
            Source::ExitPort => self.channels.exit.as_fd(),
            Source::MilestonePort => self.channels.milestone.as_fd(),
            Source::Mark => match &self.channels.counting {
                Some(counting) => counting.mark.as_fd(),
                None => self.over.as_fd(),
            },
            Source::Stub => match self.stub() {
                Some((stub, _)) => stub.as_fd(),
                None => self.over.as_fd(),
            },
            Source::Qmp => self.channels.qmp.as_fd(),
            Source::SessionOver => self.over.as_fd(),
        }
    }

    /// The number of bytes read; 0 at the end and for a broken channel.
    fn read(&self, source: Source, buffer: &mut [u8]) -> usize {
        rustix::io::retry_on_intr(|| rustix::io::read(self.fd(source), &mut *buffer)).unwrap_or(0)
    }

    fn news(&mut self, source: Source, bytes: &[u8]) {
        match source {
            Source::ExitPort => {
                let status = bytes.first().copied().unwrap_or_default();
                self.end(End::Status { status });
            }
            Source::MilestonePort => {
                for number in bytes {
                    self.session.mark_guest(*number);
                }
            }
            Source::Stub => {
                if let Some(answer) = self.answers.feed(bytes) {
                    self.seen.has_stopped = answer == Answer::Stopped;
                    self.end(End::Decided);
                }
            }
            Source::Mark => self.seen.marks = self.seen.marks.saturating_add(bytes.len()),
            Source::Qmp => {
                for message in self.lines.feed(bytes) {
                    self.message(message);
                }
            }
            Source::SessionOver => {}
        }
    }

    fn message(&mut self, message: Message) {
        match message {
            Message::Greeting => {
                self.session.mark(Milestone::FirstEntry);
                match self.stub() {
                    None => qmp::start(&self.channels.qmp),
                    Some((stub, address)) => {
                        qmp::negotiate(&self.channels.qmp);
                        breakpoint::run_to(stub, *address);
                    }
                }
            }
            Message::Shutdown { reason } => self.shutdown(&reason),
            Message::Panicked => self.session.panicked(),
            Message::Answer { question, text } if crash::is_glance(&question) => {
                self.glanced(crash::sample(question.cpu, &text));
            }
            Message::Answer { question, text } => {
                self.seen.dump.add(question, text);
                if self.seen.dump.is_complete(self.cpus) {
                    self.stop();
                }
            }
            Message::Other => {}
        }
    }

    /// QEMU has paused, or it ends by itself.
    fn shutdown(&mut self, reason: &str) {
        match reason {
            "guest-shutdown" => self.end(End::PowerOff),
            "guest-reset" if reset_log::triple_fault(&self.channels.log.tail()) => {
                self.seen.end.get_or_insert(End::TripleFault);
                self.ask();
            }
            "guest-reset" => self.end(End::Reset { by: ResetBy::Unknown }),
            _ => {}
        }
    }

    /// Where a guest that ran out of time hangs is worth knowing.
    fn session_over(&mut self) {
        match self.session.wait() {
            end if end.is_hang() && self.seen.end.is_none() => {
                self.looks = LOOKS;
                self.look();
            }
            // What it was doing matters no more.
            End::EngineFailure { .. } => self.child.kill(),
            _ => self.stop(),
        }
    }

    /// When to glance at the vCPUs, unless that is under way.
    fn next_glance(&self) -> Option<Instant> {
        let wanted = self.glance.is_none() && self.seen.end.is_none();
        wanted.then(|| self.session.glance_due()).flatten()
    }

    fn glance(&mut self) {
        self.glance = Some(Vec::new());
        for (question, command) in crash::glances(self.cpus) {
            qmp::ask_as(&self.channels.qmp, &question, command);
        }
    }

    fn glanced(&mut self, sample: Option<Sample>) {
        let Some(mut samples) = self.glance.take() else { return };
        samples.push(sample);
        let cpus = usize::try_from(self.cpus).unwrap_or(usize::MAX);
        if samples.len() < cpus {
            self.glance = Some(samples);
        } else {
            let samples: Vec<_> = samples.into_iter().flatten().collect();
            self.session.glanced(&samples, cpus);
        }
    }

    /// Looks at the vCPUs once more, or for all there is to see when that was often
    /// enough.
    fn look(&mut self) {
        self.next_look = None;
        if self.looks == 0 {
            self.ask();
            return;
        }
        self.looks = self.looks.saturating_sub(1);
        self.next_look = Instant::now().checked_add(BETWEEN);
        for (question, command) in crash::looks(self.cpus) {
            qmp::ask_as(&self.channels.qmp, &question, command);
        }
    }

    /// Asks for the registers; their coming, or the deadline, ends QEMU.
    fn ask(&mut self) {
        self.deadline = Instant::now().checked_add(PATIENCE);
        if let Some((question, command)) = self.seen.dump.gate() {
            qmp::ask_as(&self.channels.qmp, &question, &command);
        }
        for question in crash::questions(self.cpus) {
            qmp::ask(&self.channels.qmp, &question);
        }
    }

    /// The guest has ended the run.
    fn end(&mut self, end: End) {
        self.seen.end.get_or_insert(end);
        self.stop();
    }

    /// What was waited for did not come.
    fn late(&mut self) {
        if self.is_quitting {
            self.child.kill();
        } else {
            self.stop();
        }
    }

    /// Ends QEMU. Nothing of its state is wanted any more, and a kill can't hang; but
    /// the log of a counted run is written only by one that ends in order.
    fn stop(&mut self) {
        if self.channels.counting.is_none() {
            self.child.kill();
        } else if !self.is_quitting {
            self.is_quitting = true;
            self.deadline = Instant::now().checked_add(QUIT_PATIENCE);
            qmp::quit(&self.channels.qmp);
        }
    }
}
