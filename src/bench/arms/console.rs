//! A guest's console as an arm hears it: each line, and when it began.

use std::time::Duration;

use crate::bench::arm::Until;
use crate::verdict::{Line, Mark, MarkName, Severity, Watch};

/// How many lines are kept from the start; no boot that is measured prints more
/// before init runs.
const KEPT: usize = 4096;

/// A line of a console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// When the first byte came that shows.
    pub(super) began: Duration,
    /// When it was over.
    pub(super) over: Duration,
    /// What it says.
    pub(super) text: String,
}

/// What was heard so far. Times are counted from when the program was started.
#[derive(Debug, Default)]
pub(super) struct Console {
    watch: Watch,
    marks: Vec<(MarkName, Duration, String)>,
    lines: Vec<Heard>,
    first_byte: Option<Duration>,
    /// When the first byte came that shows of the line that is not over.
    began: Option<Duration>,
    escape: Escape,
}

/// Whether bytes belong to a control sequence, as firmware clears the screen by.
/// ECMA-48, 5.4.
#[derive(Debug, Default)]
enum Escape {
    #[default]
    Outside,
    Begun,
    Control,
}

impl Escape {
    /// Takes the next byte; whether it shows on the screen.
    fn shows(&mut self, byte: u8) -> bool {
        let (next, shows) = match (&self, byte) {
            (_, 0x1b) => (Self::Begun, false),
            (Self::Begun, b'[') | (Self::Control, 0x20..=0x3f) => (Self::Control, false),
            (Self::Begun | Self::Control, _) => (Self::Outside, false),
            (Self::Outside, _) => (Self::Outside, !byte.is_ascii_control()),
        };
        *self = next;
        shows
    }
}

impl Console {
    /// Takes what came at `at`.
    pub(super) fn push(&mut self, bytes: &[u8], at: Duration) {
        if !bytes.is_empty() {
            self.first_byte.get_or_insert(at);
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.push_piece(piece, at);
        }
    }

    /// Takes a line, or a piece of one.
    fn push_piece(&mut self, piece: &[u8], at: Duration) {
        if piece.iter().any(|byte| self.escape.shows(*byte)) {
            self.began.get_or_insert(at);
        }
        let Self { watch, marks, lines, began, .. } = self;
        let mut see = |mark: &Mark| marks.push((mark.name, at, mark.text.clone()));
        let mut keep = |line: &Line<'_>| {
            let began = began.take().unwrap_or(at);
            if lines.len() < KEPT {
                let text = String::from_utf8_lossy(line.text).into_owned();
                lines.push(Heard { began, over: at, text });
            }
        };
        watch.push(piece, at, &mut see, &mut keep);
    }

    /// Nothing has come for a while: what stands there without an end may be a prompt.
    pub(super) fn pause(&mut self, at: Duration) {
        let Self { watch, marks, .. } = self;
        watch.pause(at, &mut |mark: &Mark| marks.push((mark.name, at, mark.text.clone())));
    }

    /// When the guest had come as far as `until`, which for [`Until::End`] is when it
    /// said that it ends.
    pub(super) fn reached(&self, until: Until) -> Option<Duration> {
        let names: &[MarkName] = match until {
            Until::End => &[MarkName::Ending],
            Until::Init => &[MarkName::InitStarted, MarkName::Userspace, MarkName::LoginPrompt],
            Until::Login => &[MarkName::LoginPrompt],
        };
        let found = self.marks.iter().find(|(name, ..)| names.contains(name));
        found.map(|(_, at, _)| *at)
    }

    /// There will be no more.
    pub(super) fn finish(&mut self, at: Duration) {
        let Self { watch, marks, lines, began, .. } = self;
        let mut see = |mark: &Mark| marks.push((mark.name, at, mark.text.clone()));
        let mut keep = |line: &Line<'_>| {
            let text = String::from_utf8_lossy(line.text).into_owned();
            lines.push(Heard { began: began.unwrap_or(at), over: at, text });
        };
        watch.finish(at, &mut see, &mut keep);
    }

    /// When the first byte came.
    pub(super) fn first_byte(&self) -> Option<Duration> {
        self.first_byte
    }

    /// The lines, in order.
    pub(super) fn lines(&self) -> &[Heard] {
        &self.lines
    }

    /// When the first line came that means `name`, from `from` on, and what it says.
    pub(super) fn mark(&self, name: MarkName, from: Duration) -> Option<(Duration, &str)> {
        let found = self.marks.iter().find(|(known, at, _)| *known == name && *at >= from);
        found.map(|(_, at, text)| (*at, text.as_str()))
    }

    /// What the kernel said of itself that no guest says that is well.
    pub(super) fn failure(&self) -> Option<String> {
        let finding = self.watch.findings().iter().find(|one| one.severity >= Severity::Fail)?;
        Some(format!("{}: {}", finding.name, finding.text))
    }

    /// The last lines.
    pub(super) fn last_lines(&self) -> Vec<String> {
        const SHOWN: usize = 12;
        let recent: Vec<_> = self.watch.recent().map(str::to_owned).collect();
        recent.into_iter().rev().take(SHOWN).rev().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_line_began_when_its_first_byte_came() {
        let mut console = Console::default();
        console.push(b"fir", ms(10));
        console.push(b"mware\r\nker", ms(20));
        console.push(b"nel\r\n", ms(30));
        console.push(b"init\r\n", ms(40));
        let lines: Vec<_> = console
            .lines()
            .iter()
            .map(|line| (line.began, line.over, line.text.as_str()))
            .collect();
        let wanted =
            [(ms(10), ms(20), "firmware"), (ms(20), ms(30), "kernel"), (ms(40), ms(40), "init")];
        assert_eq!(lines, wanted);
        assert_eq!(console.first_byte(), Some(ms(10)));
    }

    #[test]
    fn what_clears_the_screen_is_not_where_a_line_began() {
        let mut console = Console::default();
        console.push(b"\x1b[2J\x1b[01;0", ms(10));
        console.push(b"1H", ms(20));
        console.push(b"[    0.0] Linux\r\n", ms(30));
        assert_eq!(console.lines()[0].began, ms(30));
        assert_eq!(console.first_byte(), Some(ms(10)));
    }

    #[test]
    fn marks_are_those_of_a_verdict_and_have_the_time_of_their_line() {
        let mut console = Console::default();
        console.push(b"[    0.000000] Linux version 6.12.1-test (x@y) #1\r\n", ms(5));
        console.push(b"[    1.000000] Run /init as init process\r\n", ms(7));
        console.push(b"[    2.000000] reboot: Power down\r\n", ms(9));
        let at = |name| console.mark(name, Duration::ZERO).map(|(at, _)| at);
        assert_eq!(at(MarkName::LinuxVersion), Some(ms(5)));
        assert_eq!(at(MarkName::InitStarted), Some(ms(7)));
        assert_eq!(at(MarkName::Ending), Some(ms(9)));
        assert_eq!(console.mark(MarkName::Ending, ms(10)), None);
        assert_eq!(console.failure(), None);
    }

    #[test]
    fn a_guest_has_come_so_far_when_it_says_so_even_by_a_prompt() {
        let mut console = Console::default();
        console.push(b"[    1.0] Run /init as init process\r\n", ms(1));
        console.push(b"host login: ", ms(2));
        assert_eq!(console.reached(Until::Init), Some(ms(1)));
        assert_eq!(console.reached(Until::Login), None);
        console.pause(ms(900));
        assert_eq!(console.reached(Until::Login), Some(ms(900)));
        assert_eq!(console.reached(Until::End), None);
        console.push(b"\r\n[    2.0] reboot: Power down\r\n", ms(1000));
        assert_eq!(console.reached(Until::End), Some(ms(1000)));
    }

    #[test]
    fn a_panic_is_a_failure_with_its_words() {
        let mut console = Console::default();
        console.push(b"[    1.0] Kernel panic - not syncing: no root\r\n", ms(1));
        console.finish(ms(2));
        assert!(console.failure().is_some_and(|what| what.contains("no root")), "{console:?}");
    }

    #[test]
    fn what_has_no_line_end_is_heard_at_the_end() {
        let mut console = Console::default();
        console.push(b"bye", ms(1));
        assert!(console.lines().is_empty());
        console.finish(ms(4));
        assert_eq!(console.lines()[0], Heard { began: ms(1), over: ms(4), text: "bye".into() });
    }
}
