//! A model of the kernel's own code, which says what an initrd is to it: what is unpacked
//! here is held to it by tests and by a fuzzer.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a model that overflows or reads past an end is to be found out"
)]

use super::{Format, packed::member};

/// init/initramfs.c, as far as records, NULs, alignment and errors go.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// Names and contents of what was unpacked, trailers too.
    pub(crate) records: Vec<(Vec<u8>, Vec<u8>)>,
    failed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Reset,
    /// In the middle of a record.
    Inside,
}

impl Kernel {
    /// What `bytes` are to it, where nothing unpacks to more than `limit` bytes.
    /// `unpack_to_rootfs`.
    pub(crate) fn of(bytes: &[u8], limit: u64) -> Self {
        let mut kernel = Self::default();
        let (mut at, mut header, mut state) = (0, 0, State::Start);
        while !kernel.failed && at < bytes.len() {
            let before = header;
            match bytes[at] {
                b'0' if header % 4 == 0 => {
                    state = State::Start;
                    at += kernel.write_buffer(&bytes[at..], &mut state, &mut header);
                }
                0 => (at, header) = (at + 1, header + 1),
                _ => {
                    let Some(format) = Format::of(&bytes[at..]) else {
                        kernel.failed = true;
                        break;
                    };
                    let Ok(member) = member(format, &bytes[at..], limit, (1, true)) else {
                        kernel.failed = true;
                        break;
                    };
                    kernel.flush_buffer(&member.bytes, &mut state);
                    kernel.failed |= state != State::Reset;
                    (at, header) = (at + member.packed_len, before + member.packed_len);
                }
            }
        }
        kernel
    }

    fn flush_buffer(&mut self, bytes: &[u8], state: &mut State) {
        let (mut at, mut header) = (0, 0);
        loop {
            at += self.write_buffer(&bytes[at..], state, &mut header);
            match bytes.get(at) {
                _ if self.failed => break,
                None => break,
                Some(b'0') => *state = State::Start,
                Some(0) => *state = State::Reset,
                Some(_) => self.failed = true,
            }
        }
    }

    /// How many bytes of it were taken.
    fn write_buffer(&mut self, bytes: &[u8], state: &mut State, header: &mut usize) -> usize {
        let mut at = 0;
        if *state == State::Start && !bytes.is_empty() {
            let Some(record) = bytes.get(..110) else {
                *state = State::Inside;
                return bytes.len();
            };
            if !record.starts_with(b"070701") {
                self.failed = true;
                *header += 110;
                return 110;
            }
            // `simple_strtoul` stops at what is no digit.
            let number = |at: usize| {
                let digits = record[at..at + 8].iter().map(|digit| char::from(*digit).to_digit(16));
                digits.map_while(|digit| digit).fold(0, |sum, digit| sum * 16 + digit as usize)
            };
            let (size, name) = (number(54), number(94));
            let content = (110 + name).next_multiple_of(4);
            let end = (*header + content + size).next_multiple_of(4) - *header;
            if end > bytes.len() {
                *state = State::Inside;
                return bytes.len();
            }
            let content = bytes[content..content + size].to_vec();
            self.records.push((bytes[110..110 + name].to_vec(), content));
            *state = State::Reset;
            (at, *header) = (end, *header + end);
        }
        if *state == State::Reset {
            let nuls = bytes[at..].iter().take_while(|byte| **byte == 0).count();
            (at, *header) = (at + nuls, *header + nuls);
            self.failed |= at < bytes.len() && !header.is_multiple_of(4);
        }
        at
    }
}
