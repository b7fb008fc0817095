//! [`Console`]: the `console=` word at the end of the command line.

/// What the newest stub appends where the command line names no console and the
/// machine has a 16550 at the first serial port, as ours always has.
/// `src/boot/console.c`, `cmdline_append_console`, since systemd 261.
const OF_THE_STUB: &str = "console=uart,io,0x3f8";

/// Which console the kernel is told to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Console {
    /// As the stub does: the serial port, unless the command line names a console.
    #[default]
    Stub,
    /// The serial port by the name that the kernel gives it.
    TtyS0,
    /// The first virtio or hypervisor console: a device before it is a word, which is so
    /// appended only where one may be.
    Hvc0,
    /// None but those on the command line.
    None,
}

impl Console {
    /// The word that `cmdline` lacks.
    pub(super) fn word_for(self, cmdline: &[u8]) -> Option<&'static str> {
        let cmdline = &*String::from_utf8_lossy(cmdline);
        let word = match self {
            Self::Stub if names_any(cmdline) => return None,
            Self::Stub => OF_THE_STUB,
            Self::TtyS0 => "console=ttyS0",
            Self::Hvc0 => "console=hvc0",
            Self::None => return None,
        };
        (!names(cmdline, word)).then_some(word)
    }

    /// Whether the user asks for a word, and for nothing else.
    pub(super) fn is_asked_for(self) -> bool {
        self == Self::TtyS0
    }
}

/// The stub looks for `console=` at the beginning and after blanks, whatever may
/// be quoted.
fn names_any(cmdline: &str) -> bool {
    cmdline.split(' ').any(|word| word.starts_with("console="))
}

/// Whether the same console is there already, with or without options.
fn names(cmdline: &str, console: &str) -> bool {
    let mut words = cmdline.split(' ').filter_map(|word| word.strip_prefix(console));
    words.any(|rest| rest.is_empty() || rest.starts_with(','))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn appended(console: Console, cmdline: &str) -> String {
        let words = [Some(cmdline), console.word_for(cmdline.as_bytes())];
        let words: Vec<_> = words.into_iter().flatten().filter(|word| !word.is_empty()).collect();
        words.join(" ")
    }

    #[test]
    fn the_stub_appends_its_console_where_none_is_named() {
        assert_eq!(appended(Console::Stub, ""), "console=uart,io,0x3f8");
        assert_eq!(appended(Console::Stub, "quiet"), "quiet console=uart,io,0x3f8");
        for named in ["console=tty0", "quiet console=", "a console=hvc0 b"] {
            assert_eq!(appended(Console::Stub, named), named);
        }
        assert_eq!(appended(Console::Stub, "xconsole=a"), "xconsole=a console=uart,io,0x3f8");
    }

    #[test]
    fn a_console_asked_for_is_appended_unless_it_is_there() {
        assert_eq!(appended(Console::TtyS0, "console=tty0"), "console=tty0 console=ttyS0");
        assert_eq!(appended(Console::TtyS0, "console=ttyS01"), "console=ttyS01 console=ttyS0");
        assert_eq!(appended(Console::TtyS0, "console=ttyS0,115200"), "console=ttyS0,115200");
        assert_eq!(appended(Console::Hvc0, ""), "console=hvc0");
    }

    #[test]
    fn no_console_is_appended_where_none_is_wanted() {
        assert_eq!(appended(Console::None, "quiet"), "quiet");
    }
}
