//! What the console says of a boot that gets on.

use super::patterns::Speaker;

/// Something that a line says of how far the guest has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// `Linux version …`
    LinuxVersion,
    /// `Run … as init process`
    InitStarted,
    /// Of systemd itself, or its greeting.
    Systemd,
    /// `Reached target …`
    Target,
    /// A prompt that ends in `login:`.
    Login,
    /// The kernel's last words, at the behest of a program: `reboot: …`
    Ending,
    /// `---[ end Kernel panic`
    PanicEnd,
}

/// How a sign is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Telling {
    pub(super) sign: Sign,
    pub(super) speaker: Speaker,
    /// What every such line has in it.
    pub(super) needle: &'static str,
    /// Its regular expression.
    pub(super) start: &'static str,
}

const fn telling(
    sign: Sign,
    speaker: Speaker,
    needle: &'static str,
    start: &'static str,
) -> Telling {
    Telling { sign, speaker, needle, start }
}

/// Every sign.
pub(super) const SIGNS: [Telling; 8] = [
    telling(Sign::LinuxVersion, Speaker::Kernel, "Linux version ", r"Linux version "),
    telling(Sign::InitStarted, Speaker::Kernel, "as init process", r"Run \S+ as init process"),
    telling(Sign::Systemd, Speaker::Anyone, "systemd[1]: ", r"systemd\[1\]: "),
    telling(Sign::Systemd, Speaker::Anyone, "Welcome to ", r"^Welcome to .*!$"),
    telling(
        Sign::Target,
        Speaker::Anyone,
        "Reached target ",
        r"(?:^\[  OK  \]|systemd\[1\]:) Reached target ",
    ),
    telling(Sign::Login, Speaker::Anyone, "login:", r"(?:^|\s)login: *$"),
    telling(
        Sign::Ending,
        Speaker::Kernel,
        "reboot: ",
        r"reboot: (?:Power down|System halted|Restarting system)",
    ),
    telling(Sign::PanicEnd, Speaker::Kernel, "---[ end Kernel panic", r"---\[ end Kernel panic"),
];

/// What the kernel's decompressor begins its lines with: those of the kernel that
/// have no stamp. `arch/x86/boot/compressed/misc.c`, `kaslr.c`.
const DECOMPRESSOR: [&[u8]; 17] = [
    b"early console in",
    b"input_data:",
    b"input_len:",
    b"output:",
    b"output_len:",
    b"kernel_total_size:",
    b"needed_size:",
    b"trampoline_32bit:",
    b"Physical KASLR",
    b"Virtual KASLR",
    b"KASLR",
    b"Decompressing Linux",
    b"Parsing ELF",
    b"Performing relocations",
    b"No relocation",
    b"Booting the kernel",
    b" -- System halted",
];

/// Whether a line looks like a program's: neither `printk`'s stamp is on it nor is
/// it the decompressor's. A kernel without stamps looks like a program, so this
/// proves nothing; it is for limits.
pub(super) fn looks_like_a_program(text: &[u8]) -> bool {
    let is_blank = text.trim_ascii().is_empty();
    !is_blank && !is_stamped(text) && !DECOMPRESSOR.iter().any(|prefix| text.starts_with(prefix))
}

/// Whether a line is the kernel's own repetition of its command line, in which anything
/// may be that is yet to happen. `arch/x86/kernel/setup.c` (`setup_arch`), `init/main.c`
/// (`start_kernel`, `print_unknown_bootoptions`).
pub(super) fn repeats_cmdline(text: &[u8]) -> bool {
    const STARTS: [&[u8]; 3] =
        [b"Command line: ", b"Kernel command line: ", b"Unknown kernel command line parameters "];
    // The time, and perhaps who called.
    let mut said = text;
    while let Some(behind) = said.strip_prefix(b"[") {
        let Some(end) = behind.iter().position(|byte| *byte == b']') else { break };
        said = behind.get(end..).and_then(|rest| rest.get(1..)).unwrap_or_default();
        said = said.trim_ascii_start();
    }
    is_stamped(text) && STARTS.iter().any(|start| said.starts_with(start))
}

/// Whether `text` begins with `[    0.123456]`.
fn is_stamped(text: &[u8]) -> bool {
    text.strip_prefix(b"[")
        .map(<[u8]>::trim_ascii_start)
        .and_then(<[u8]>::first)
        .is_some_and(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_repeats_its_command_line() {
        for repeats in [
            "[    0.000000] Command line: quiet ready",
            "[    0.000000][    T0] Kernel command line: quiet ready",
            "[    0.02] Unknown kernel command line parameters \"ready\", will be passed",
        ] {
            assert!(repeats_cmdline(repeats.as_bytes()), "{repeats}");
        }
        for other in ["Command line: ready", "[    1.0] ready", "[  OK  ] Command line: x", "[1"] {
            assert!(!repeats_cmdline(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_program_s_lines_are_told_from_the_kernel_s() {
        for program in ["hello", "[  OK  ] Reached target", "  indented"] {
            assert!(looks_like_a_program(program.as_bytes()), "{program}");
        }
        for kernel in ["", "  ", "[    0.000000] Linux", "[1.5] x", "Decompressing Linux... done."]
        {
            assert!(!looks_like_a_program(kernel.as_bytes()), "{kernel}");
        }
    }
}
