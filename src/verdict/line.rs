//! Console output, cut into clean lines.

/// The longest line that is looked at as one; a longer one comes in pieces.
pub const LINE_MAX: usize = 4096;
/// How much of a piece is shown again with the next, so that nothing is missed
/// where a long line was cut.
pub const CARRY: usize = 256;

/// A line without escape sequences and control characters, or a piece of one: a
/// carriage return ends a piece, and so does [`LINE_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its number in the raw output, counted by line feeds from 1.
    pub number: u64,
    /// What it says.
    pub text: &'a [u8],
    /// Where in `text` begins what was not in the piece before.
    pub fresh: usize,
    /// How much of the line comes before `text`.
    pub before: usize,
    /// Whether it is over; if not, it may still grow.
    pub is_whole: bool,
}

/// Where in an escape sequence the output is. ECMA-48, 5.3 and 5.4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    Outside,
    /// Behind ESC, and behind its intermediate bytes.
    Begun,
    /// A control sequence, behind `ESC [`.
    Control,
    /// A control string (`ESC ]`, `P`, `X`, `^`, `_`), up to BEL or `ESC \`.
    Text,
}

const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;
const BACKSPACE: u8 = 0x08;

/// Cuts output into lines, whatever the pieces it comes in. Its memory is
/// bounded, and no control sequence swallows more than its line.
#[derive(Debug)]
pub struct Lines {
    buffer: Vec<u8>,
    fresh: usize,
    before: usize,
    number: u64,
    /// Something of this line was given out already.
    was_seen: bool,
    escape: Escape,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            buffer: Vec::new(),
            fresh: 0,
            before: 0,
            number: 1,
            was_seen: false,
            escape: Escape::Outside,
        }
    }
}

impl Lines {
    /// Takes more output and calls `see` for each line that is over.
    pub fn push(&mut self, bytes: &[u8], mut see: impl FnMut(Line<'_>)) {
        for byte in bytes {
            match byte {
                b'\n' => self.line_feed(&mut see),
                b'\r' => self.carriage_return(&mut see),
                _ => self.character(*byte),
            }
            if self.buffer.len() >= LINE_MAX {
                self.cut(&mut see);
            }
        }
    }

    /// The line that is not over yet, if it says something new.
    #[must_use]
    pub fn partial(&self) -> Option<Line<'_>> {
        (self.buffer.len() > self.fresh).then(|| self.line(false))
    }

    /// There will be no more output: what is left is a line.
    pub fn finish(&mut self, see: impl FnMut(Line<'_>)) {
        self.carriage_return(see);
    }

    /// How many line feeds there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.number.saturating_sub(1)
    }

    fn line(&self, is_whole: bool) -> Line<'_> {
        Line {
            number: self.number,
            text: &self.buffer,
            fresh: self.fresh,
            before: self.before,
            is_whole,
        }
    }

    fn line_feed(&mut self, see: impl FnMut(Line<'_>)) {
        self.give(!self.was_seen, see);
        self.was_seen = false;
        self.number = self.number.saturating_add(1);
    }

    fn carriage_return(&mut self, see: impl FnMut(Line<'_>)) {
        self.give(false, see);
    }

    /// Gives out what there is, or nothing if there is nothing new and that is
    /// not wanted.
    fn give(&mut self, even_if_empty: bool, mut see: impl FnMut(Line<'_>)) {
        if self.buffer.len() > self.fresh || even_if_empty {
            see(self.line(true));
            self.was_seen = true;
        }
        self.buffer.clear();
        self.fresh = 0;
        self.before = 0;
        self.escape = Escape::Outside;
    }

    fn cut(&mut self, mut see: impl FnMut(Line<'_>)) {
        see(self.line(true));
        self.was_seen = true;
        let gone = self.buffer.len().saturating_sub(CARRY);
        self.buffer.drain(..gone);
        self.before = self.before.saturating_add(gone);
        self.fresh = self.buffer.len();
    }

    fn character(&mut self, byte: u8) {
        self.escape = match (self.escape, byte) {
            (_, ESC) | (Escape::Begun, 0x20..=0x2f) => Escape::Begun,
            (Escape::Outside, BACKSPACE) => {
                self.buffer.truncate(self.buffer.len().saturating_sub(1).max(self.fresh));
                Escape::Outside
            }
            (Escape::Outside, b'\t' | 0x20..=0x7e | 0x80..) => {
                self.buffer.push(byte);
                Escape::Outside
            }
            (Escape::Begun, b'[') | (Escape::Control, 0x20..=0x3f) => Escape::Control,
            (Escape::Text, BEL) => Escape::Outside,
            (Escape::Begun, b']' | b'P' | b'X' | b'^' | b'_') | (Escape::Text, _) => Escape::Text,
            _ => Escape::Outside,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<(u64, String)> {
        let (mut lines, mut all) = (Lines::default(), Vec::new());
        let mut see = |line: Line<'_>| {
            let text = String::from_utf8_lossy(&line.text[line.fresh..]).into_owned();
            all.push((line.number, text));
        };
        for piece in pieces {
            lines.push(piece, &mut see);
        }
        lines.finish(&mut see);
        all
    }

    fn texts(output: &[u8]) -> Vec<String> {
        lines(&[output]).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn lines_are_numbered_by_their_line_feeds() {
        assert_eq!(
            lines(&[b"a\r\n\r\nb\nc"]),
            [(1, "a".into()), (2, String::new()), (3, "b".into()), (4, "c".into())]
        );
    }

    #[test]
    fn a_carriage_return_parts_what_a_terminal_would_overwrite() {
        assert_eq!(
            lines(&[b" 10%\r 20%\r\nnext\n"]),
            [(1, " 10%".into()), (1, " 20%".into()), (2, "next".into())]
        );
    }

    #[test]
    fn escape_sequences_are_left_out() {
        assert_eq!(texts(b"[\x1b[0;32m  OK  \x1b[0m] Reached\n"), ["[  OK  ] Reached"]);
        assert_eq!(texts(b"\x1b]0;title\x07text\n\x1b]8;;x\x1b\\link\n"), ["text", "link"]);
        assert_eq!(texts(b"\x1b(B\x1b=\x1b7kernel\x1b[?25l\x1b[K\n"), ["kernel"]);
    }

    #[test]
    fn a_sequence_that_never_ends_hides_no_other_line() {
        assert_eq!(texts(b"\x1b]0;no end\nKernel panic\n"), ["", "Kernel panic"]);
        assert_eq!(texts(b"\x1b[1;2\nKernel panic\n"), ["", "Kernel panic"]);
    }

    #[test]
    fn control_characters_are_dropped_and_backspace_takes_back() {
        assert_eq!(texts(b"a\0b\x01c\x7fd\te\n"), ["abcd\te"]);
        assert_eq!(texts(b"|\x08/\x08-\x08done\n\x08\x08x\n"), ["done", "x"]);
    }

    #[test]
    fn what_is_no_utf_8_passes() {
        let mut lines = Lines::default();
        lines.push(b"\xff\xfe\x80ok\n", |line| assert_eq!(line.text, b"\xff\xfe\x80ok"));
    }

    #[test]
    fn a_line_without_end_takes_bounded_memory_and_is_seen_whole() {
        let mut lines = Lines::default();
        let (mut fresh, mut pieces) = (0, 0);
        for _ in 0..100 {
            lines.push(&[b'x'; 1000], |line| {
                fresh += line.text.len() - line.fresh;
                pieces += 1;
                assert!(pieces == 1 || line.fresh == CARRY);
            });
        }
        lines.finish(|line| fresh += line.text.len() - line.fresh);
        assert_eq!(fresh, 100_000);
        assert!(lines.buffer.capacity() <= 2 * LINE_MAX);
    }

    #[test]
    fn any_split_gives_the_same_lines() {
        let output = b"one\r\ntw\x1b[1mo\r\r\n\n\x1b]x\x07three\x08\x08\0\rfour\nlogin: ";
        let whole = lines(&[output]);
        for cut in 0..output.len() {
            let (head, tail) = output.split_at(cut);
            assert_eq!(lines(&[head, tail]), whole, "cut at {cut}");
        }
        let single: Vec<&[u8]> = output.chunks(1).collect();
        assert_eq!(lines(&single), whole);
    }
}
