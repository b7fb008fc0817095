//! What the kernel says of itself on the console: a few lines that mark its way.

/// Something seen on the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// `Linux version …`
    LinuxVersion,
    /// `Run … as init process`
    InitStarted,
    /// `Kernel panic - not syncing: …`
    Panic,
    /// `---[ end Kernel panic …`: the last thing a panicked kernel prints.
    PanicEnd,
}

/// The longest line looked at; what is longer is cut.
const LINE_MAX: usize = 512;

/// Cuts console output into lines, whatever the pieces it comes in.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    line: Vec<u8>,
}

impl Lines {
    /// Takes more output and calls `seen` for each line that means something.
    pub(crate) fn push(&mut self, bytes: &[u8], mut seen: impl FnMut(Sight)) {
        for byte in bytes {
            match byte {
                b'\n' | b'\r' => {
                    if let Some(sight) = sight(&self.line) {
                        seen(sight);
                    }
                    self.line.clear();
                }
                _ if self.line.len() < LINE_MAX => self.line.push(*byte),
                _ => {}
            }
        }
    }
}

/// What `line` means. Only a line that begins so, behind printk's own prefix:
/// a program that quotes the kernel is not the kernel.
fn sight(line: &[u8]) -> Option<Sight> {
    let text = without_printk_prefix(line);
    if text.starts_with(b"Linux version ") {
        Some(Sight::LinuxVersion)
    } else if text.starts_with(b"Run ") && text.ends_with(b" as init process") {
        Some(Sight::InitStarted)
    } else if text.starts_with(b"Kernel panic - not syncing") {
        Some(Sight::Panic)
    } else if text.starts_with(b"---[ end Kernel panic") {
        Some(Sight::PanicEnd)
    } else {
        None
    }
}

/// `line` without `[    0.123456]` and `[    T1]`.
fn without_printk_prefix(line: &[u8]) -> &[u8] {
    let mut rest = line;
    while let Some(inner) = rest.strip_prefix(b"[") {
        let Some(close) = inner.iter().position(|byte| *byte == b']') else { break };
        let (stamp, behind) = inner.split_at(close);
        if !stamp.iter().all(|byte| byte.is_ascii_digit() || b" .CT".contains(byte)) {
            break;
        }
        rest = behind.get(1..).unwrap_or_default().trim_ascii_start();
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sights(pieces: &[&[u8]]) -> Vec<Sight> {
        let (mut lines, mut all) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.push(piece, |sight| all.push(sight));
        }
        all
    }

    #[test]
    fn the_kernel_s_own_lines_are_seen_with_and_without_time_stamps() {
        assert_eq!(
            sights(&[
                b"[    0.000000] Linux version 6.12.117 (debian)\r\n",
                b"[    0.5][    T1] Run /init as init process\r\n",
                b"Kernel panic - not syncing: Attempted to kill init!\r\n",
                b"[    1.2] ---[ end Kernel panic - not syncing: x ]---\r\n",
            ]),
            [Sight::LinuxVersion, Sight::InitStarted, Sight::Panic, Sight::PanicEnd]
        );
    }

    #[test]
    fn a_line_in_pieces_is_one_line() {
        assert_eq!(sights(&[b"Linux ver", b"sion 6.1\n"]), [Sight::LinuxVersion]);
    }

    #[test]
    fn quoting_the_kernel_is_not_a_panic() {
        assert_eq!(sights(&[b"grep: Kernel panic - not syncing\n"]), []);
        assert_eq!(sights(&[b"[ ok ] Kernel panic - not syncing\n"]), []);
    }

    #[test]
    fn an_endless_line_takes_bounded_memory() {
        let mut lines = Lines::default();
        lines.push(&vec![b'x'; 100_000], |_| panic!("nothing to see"));
        assert!(lines.line.len() <= LINE_MAX);
    }
}
