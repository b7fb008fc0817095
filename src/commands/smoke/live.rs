//! What is told while a guest runs: milestones on standard output, a line of
//! progress on a terminal, each event in a file.

use std::{
    fs::File,
    io::{self, Write as _},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    commands::print,
    messages::say,
    news::News,
    verdict::{
        MarkName,
        report::{name, seconds},
    },
};

/// How often the line of progress is written.
const PROGRESS: Duration = Duration::from_millis(500);

/// What is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Show {
    /// Each milestone, on standard output.
    pub(super) milestones: bool,
    /// The guest's console, on standard error.
    pub(super) console: bool,
    /// A line of progress, on standard error.
    pub(super) progress: bool,
}

impl Show {
    pub(super) const NOTHING: Self = Self { milestones: false, console: false, progress: false };
}

/// Starts telling; it ends when the last sender is gone.
pub(super) fn start(
    show: Show,
    events: Option<File>,
    start: Instant,
) -> io::Result<(Sender<News>, JoinHandle<()>)> {
    let (sender, news) = mpsc::channel();
    let teller = Teller { show, events, start, last: "starting".to_owned() };
    let thread = thread::Builder::new().name("news".into()).spawn(move || teller.run(&news))?;
    Ok((sender, thread))
}

struct Teller {
    show: Show,
    events: Option<File>,
    start: Instant,
    last: String,
}

impl Teller {
    fn run(mut self, news: &Receiver<News>) {
        loop {
            match news.recv_timeout(PROGRESS) {
                Ok(news) => self.tell(&news),
                Err(RecvTimeoutError::Timeout) => self.progress(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.clear();
    }

    fn tell(&mut self, news: &News) {
        if let Some(file) = &mut self.events {
            let line = serde_json::to_string(news).unwrap_or_default() + "\n";
            if let Err(error) = file.write_all(line.as_bytes()) {
                say(&format!("events.jsonl: writing it failed, and the verdict stands: {error}"));
                self.events = None;
            }
        }
        let (what, at_us) = line(news);
        if self.show.milestones {
            self.clear();
            // Nobody may be listening; the verdict is in the exit status too.
            print(&format!("{:9.3} s  {what}\n", seconds(at_us))).ok();
        }
        self.last = what;
        self.progress();
    }

    fn progress(&self) {
        if self.show.progress {
            let passed = self.start.elapsed().as_secs();
            let last: String = self.last.chars().take(60).collect();
            // A broken terminal is no reason to stop.
            write!(io::stderr(), "\r\x1b[2K{passed:4} s, {last} …").ok();
        }
    }

    fn clear(&self) {
        if self.show.progress {
            write!(io::stderr(), "\r\x1b[2K").ok();
        }
    }
}

/// One of the news for a person, and its time.
fn line(news: &News) -> (String, u64) {
    match news {
        News::Milestone { name: milestone, at_us } => (name(milestone).replace('_', " "), *at_us),
        News::Console(mark) => {
            let what = match mark.name {
                MarkName::Expected => "expected",
                MarkName::Finding => "found",
                MarkName::LinuxVersion
                | MarkName::InitStarted
                | MarkName::Userspace
                | MarkName::Target
                | MarkName::LoginPrompt
                | MarkName::Ending
                | MarkName::PanicEnd => &name(&mark.name).replace('_', " "),
            };
            (format!("{what}: line {}: {}", mark.line, mark.text), mark.at_us)
        }
        News::GuestMilestone { value, at_us } => (format!("guest milestone {value}"), *at_us),
        News::End { outcome, at_us } => {
            let kind = serde_json::to_value(outcome).unwrap_or_default();
            let kind = kind.get("kind").and_then(|kind| kind.as_str()).unwrap_or_default();
            (format!("end: {kind}"), *at_us)
        }
    }
}
