//! Stopping a guest at an address, by QEMU's gdb stub.
//!
//! The GDB remote serial protocol: packets `$…#` with a checksum of two hex digits,
//! and a `+` for each. A hardware breakpoint changes nothing in the guest, and it
//! stops before the instruction. The stop itself moves a counted guest's clock, so
//! nothing that is executed behind it is counted.

use std::{io::Write as _, os::unix::net::UnixStream};

/// Has the guest run up to the instruction at `address`.
pub(in crate::engine::tcg) fn run_to(mut stub: &UnixStream, address: u64) {
    // A stub that can't be written to is about to be found dead.
    let packets = [packet(&format!("Z1,{address:x},1")), packet("c")].concat();
    stub.write_all(packets.as_bytes()).ok();
}

fn packet(text: &str) -> String {
    let sum = text.bytes().fold(0_u8, u8::wrapping_add);
    format!("${text}#{sum:02x}")
}

/// What the stub has said so far, as far as it matters.
#[derive(Debug, Default)]
pub(in crate::engine::tcg) struct Answers {
    /// What may still grow to an answer.
    pending: Vec<u8>,
}

/// What the stub says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::tcg) enum Answer {
    /// The guest has stopped.
    Stopped,
    /// There is no breakpoint.
    Refused,
}

impl Answers {
    /// The first answer that `bytes` complete; what else is said does not matter.
    pub(in crate::engine::tcg) fn feed(&mut self, bytes: &[u8]) -> Option<Answer> {
        self.pending.extend_from_slice(bytes);
        let answers = self.pending.windows(2).filter_map(|two| match two {
            b"$T" | b"$S" => Some(Answer::Stopped),
            b"$E" => Some(Answer::Refused),
            _ => None,
        });
        let answer = answers.take(1).next();
        let kept = self.pending.len().saturating_sub(1);
        self.pending.drain(..kept);
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_breakpoint_is_set_before_the_guest_goes_on() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        run_to(&ours, 0x1f44_c875);
        drop(ours);
        let mut sent = String::new();
        theirs.read_to_string(&mut sent).unwrap();
        assert_eq!(sent, "$Z1,1f44c875,1#1a$c#63");
    }

    #[test]
    fn an_answer_may_come_in_pieces_and_behind_others() {
        let mut answers = Answers::default();
        assert_eq!(answers.feed(b"+$OK#9a+"), None);
        assert_eq!(answers.feed(b"$"), None);
        assert_eq!(answers.feed(b"T05thread:01;#07"), Some(Answer::Stopped));
        assert_eq!(Answers::default().feed(b"+$E22#a9"), Some(Answer::Refused));
        assert_eq!(Answers::default().feed(b""), None);
    }
}
