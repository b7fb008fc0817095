//! Options that decide what the kernel is handed beyond the UKI's first profile.

use std::path::PathBuf;

use clap::{Args, ValueEnum, builder::PossibleValue};
use firmware_less::uki::{Reading, Selector, handed::Console};

/// What the kernel is handed beyond the UKI's first profile.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "What the kernel is handed")]
pub struct HandedOptions {
    /// Whose reading of the UKI applies: what is required of it, how sections are found and how
    /// long they are, who owns command line and initrd [default: stub]
    ///
    /// A refusal says by which rule, and which readings accept the file. Where a reading leaves the
    /// command line to the user, that is --cmdline and the words of --append and behind `--`, joined
    /// by blanks; only under stub do appended words follow the UKI's own command line.
    #[arg(long = "as", value_name = "READING", value_enum, hide_default_value = true)]
    #[arg(default_value_t = ReadingOption(Reading::Stub))]
    pub reading: ReadingOption,

    /// The UKI's profile, by number or by the ID in its .profile section
    #[arg(long, value_name = "N|ID", default_value = "0")]
    pub profile: Selector,

    /// Apply an addon (.cmdline, .initrd, .ucode); may be repeated
    #[arg(long, value_name = "FILE")]
    pub addon: Vec<PathBuf>,

    /// Apply the addons beside the UKI, in IMAGE.extra.d/*.addon.efi, before those of --addon
    #[arg(long)]
    pub addons: bool,

    /// Put a credential into /.extra/credentials; may be repeated
    ///
    /// The file's name ends in .cred. systemd takes what it finds there as encrypted.
    #[arg(long, value_name = "FILE")]
    pub extra_credential: Vec<PathBuf>,

    /// Append a console= word [default without this option: console=uart,io,0x3f8, as systemd-stub
    /// does, where the command line names no console]
    ///
    /// With hvc0 the guest gets a virtio console beside the serial port, and what is typed goes
    /// there. What it writes to either is one stream. A kernel whose command line names both says
    /// everything twice, and as slowly as to the serial port alone: --cmdline leaves one of them.
    /// The word is appended only where one may be (not to a command line that is verified, nor
    /// under readings that append none); without it a kernel does not speak on hvc0. Before its
    /// driver is there it speaks with earlyprintk=ttyS0.
    #[arg(long, value_name = "CONSOLE", value_enum, require_equals = true, num_args = 0..=1)]
    #[arg(default_missing_value = "ttyS0")]
    pub console: Option<ConsoleOption>,
}

impl HandedOptions {
    /// Whose reading of the UKI applies.
    #[must_use]
    pub fn reading(&self) -> Reading {
        self.reading.0
    }

    /// Whether the machine has a virtio console.
    #[must_use]
    pub fn has_hvc0(&self) -> bool {
        self.console == Some(ConsoleOption::Hvc0)
    }
}

/// `--as`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadingOption(pub Reading);

impl ValueEnum for ReadingOption {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [ReadingOption; Reading::ALL.len()] = {
            let mut all = [ReadingOption(Reading::Stub); Reading::ALL.len()];
            let mut at = 0;
            while at < all.len() {
                all[at] = ReadingOption(Reading::ALL[at]);
                at += 1;
            }
            all
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.as_str()).help(self.0.title()))
    }
}

/// `--console`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ConsoleOption {
    /// The serial port
    #[value(name = "ttyS0")]
    TtyS0,
    /// A virtio console, which the guest is given too
    #[value(name = "hvc0")]
    Hvc0,
    /// Append nothing
    #[value(name = "none")]
    None,
}

impl From<ConsoleOption> for Console {
    fn from(option: ConsoleOption) -> Self {
        match option {
            ConsoleOption::TtyS0 => Self::TtyS0,
            ConsoleOption::Hvc0 => Self::Hvc0,
            ConsoleOption::None => Self::None,
        }
    }
}
