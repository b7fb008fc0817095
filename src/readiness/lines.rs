//! [`Lines`]: a connection's bytes as the notices in them.

use super::Notice;

/// The longest line that is looked at. What a datagram of sd_notify(3) may have at most,
/// `NOTIFY_BUFFER_MAX` of systemd's `src/basic/socket-util.h`, is less.
const LINE_MAX: usize = 8192;

/// What came by one connection and is not a whole line yet.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    pending: Vec<u8>,
    /// The line was too long, and is passed over up to its end.
    is_skipping: bool,
}

impl Lines {
    /// Tells `see` the notices that `bytes` complete.
    pub fn feed(&mut self, bytes: &[u8], see: &mut dyn FnMut(Notice)) {
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            self.push(piece);
            if pieces.peek().is_some() {
                self.end(see);
            }
        }
    }

    /// The connection has ended: what is left is a line too.
    pub fn end(&mut self, see: &mut dyn FnMut(Notice)) {
        let notice = Notice::parse(&self.pending).filter(|_| !self.is_skipping);
        self.pending.clear();
        self.is_skipping = false;
        if let Some(notice) = notice {
            see(notice);
        }
    }

    fn push(&mut self, piece: &[u8]) {
        if self.is_skipping || self.pending.len().saturating_add(piece.len()) > LINE_MAX {
            self.is_skipping = true;
            self.pending = Vec::new();
        } else {
            self.pending.extend_from_slice(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(pieces: &[&[u8]]) -> Vec<Notice> {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.feed(piece, &mut |notice| seen.push(notice));
            assert!(lines.pending.len() <= LINE_MAX);
        }
        lines.end(&mut |notice| seen.push(notice));
        seen
    }

    #[test]
    fn a_message_is_the_same_in_whatever_pieces_it_comes() {
        let message = b"READY=1\nSTATUS=up\nMAINPID=1\n\nEXIT_STATUS=4";
        let wanted = [Notice::Ready, Notice::Status("up".to_owned()), Notice::ExitStatus(4)];
        for cut in 0..=message.len() {
            let (first, second) = message.split_at(cut);
            assert_eq!(seen(&[first, second]), wanted, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = message.chunks(1).collect();
        assert_eq!(seen(&bytes), wanted);
    }

    #[test]
    fn a_line_without_end_takes_no_memory_and_hides_nothing_behind_it() {
        let piece = [b'x'; 1000];
        let mut pieces: Vec<&[u8]> = vec![&piece; 1000];
        pieces.push(b"\nREADY=1\n");
        assert_eq!(seen(&pieces), [Notice::Ready]);
        // Its end is no line of its own.
        let mut pieces: Vec<&[u8]> = vec![&piece; 9];
        pieces.push(b"READY=1\n");
        assert_eq!(seen(&pieces), []);
    }

    #[test]
    fn any_bytes_are_taken() {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_le_bytes()[7]
        };
        for _ in 0..200 {
            let noise: Vec<u8> = (0..random()).map(|_| random()).collect();
            // Whatever came before, a line that makes sense is seen.
            let seen = seen(&[&noise, b"\nREADY=1"]);
            assert_eq!(seen.last(), Some(&Notice::Ready), "{noise:x?}");
        }
    }
}
