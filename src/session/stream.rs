//! What the guest writes to its consoles, on its way to all who want it.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{Observer, Shared};
use crate::{
    console::Output,
    devices::virtio::console::Speaker,
    outcome::End,
    timeline::Milestone,
    verdict::{Line, Mark, Watch},
};

/// One stream, whichever of the guest's consoles the bytes come from.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) shared: Arc<Shared>,
    pub(super) watch: Arc<Mutex<Watch>>,
    /// What times are counted from.
    pub(super) start: Instant,
    /// Take every byte as it comes.
    pub(super) raw: Vec<Output>,
    /// Takes clean lines, each with its time.
    pub(super) text: Option<Output>,
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) has_begun: AtomicBool,
}

impl Stream {
    pub(super) fn of(shared: Arc<Shared>, watch: Watch, start: Instant) -> Self {
        Self {
            shared,
            watch: Arc::new(Mutex::new(watch)),
            start,
            raw: Vec::new(),
            text: None,
            observer: None,
            has_begun: AtomicBool::new(false),
        }
    }

    /// The guest wrote these bytes. Blocks while the host's side is full, but returns at once
    /// when the run is over.
    pub(super) fn push(&self, bytes: &[u8]) {
        if !self.has_begun.swap(true, Ordering::Relaxed) {
            self.shared.mark(Milestone::FirstConsoleByte);
        }
        // Looked at here and not where it is written out, which may be later: what
        // the guest says comes before what it does next.
        let at = self.start.elapsed();
        if self.observer.as_ref().is_some_and(|observer| observer.console(bytes, at)) {
            self.shared.end(End::Decided);
            self.release();
        }
        let mut text = Vec::new();
        let see = &mut |mark: &Mark| self.shared.saw(mark);
        self.watch().push(bytes, at, see, &mut |line| self.write_line(line, at, &mut text));
        self.shared.wrote();
        for output in &self.raw {
            output.push(bytes);
        }
        self.push_text(&text);
    }

    /// Nothing more will come.
    pub(super) fn finish(&self) {
        let at = self.start.elapsed();
        let mut text = Vec::new();
        let see = &mut |mark: &Mark| self.shared.saw(mark);
        self.watch().finish(at, see, &mut |line| self.write_line(line, at, &mut text));
        self.push_text(&text);
        self.outputs().for_each(Output::complete);
    }

    pub(super) fn outputs(&self) -> impl Iterator<Item = &Output> {
        self.raw.iter().chain(&self.text)
    }

    pub(super) fn release(&self) {
        self.outputs().for_each(Output::release);
    }

    pub(super) fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line as it stands in the record, if there is one.
    fn write_line(&self, line: &Line<'_>, at: Duration, text: &mut Vec<u8>) {
        if self.text.is_some() {
            let fresh = line.text.get(line.fresh..).unwrap_or_default();
            let shown = String::from_utf8_lossy(fresh);
            text.extend_from_slice(format!("[{:12.6}] {shown}\n", at.as_secs_f64()).as_bytes());
        }
    }

    fn push_text(&self, text: &[u8]) {
        match &self.text {
            Some(output) if !text.is_empty() => output.push(text),
            _ => {}
        }
    }
}

/// What a device says, on the same stream.
#[derive(Debug)]
pub(super) struct Said(pub(super) Arc<Stream>);

impl Speaker for Said {
    fn say(&mut self, bytes: &[u8]) {
        self.0.push(bytes);
    }
}
