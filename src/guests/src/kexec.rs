//! What [`KEXEC_INIT`](crate::KEXEC_INIT) and whoever runs it have agreed on.

/// What it writes to the milestone port when the next kernel is loaded, directly
/// before `reboot(2)`: the letter K.
pub const TO_THE_NEXT_KERNEL: u8 = b'K';

/// What it says on the console when the next kernel is loaded.
pub const LOADED: &str = "kexec: loaded";

/// What can fail. It then says `kexec: error: NAME: errno NUMBER`, writes the
/// step's status to the exit port and powers off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// The next kernel can't be opened.
    OpenKernel = 1,
    /// There is an initrd, but it can't be opened.
    OpenInitrd = 2,
    /// The command line can't be opened.
    OpenCmdline = 3,
    /// The command line can't be read.
    ReadCmdline = 4,
    /// `kexec_file_load(2)` refused.
    Load = 5,
    /// Ports may not be written to.
    Ports = 6,
    /// `reboot(2)` refused.
    Reboot = 7,
}

impl Step {
    /// All of them, in order.
    pub const ALL: [Self; 7] = [
        Self::OpenKernel,
        Self::OpenInitrd,
        Self::OpenCmdline,
        Self::ReadCmdline,
        Self::Load,
        Self::Ports,
        Self::Reboot,
    ];

    /// What it does.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenKernel => "open /kernel",
            Self::OpenInitrd => "open /initrd",
            Self::OpenCmdline => "open /cmdline",
            Self::ReadCmdline => "read /cmdline",
            Self::Load => "kexec_file_load",
            Self::Ports => "iopl",
            Self::Reboot => "reboot",
        }
    }

    /// The guest's exit status if it fails.
    #[must_use]
    pub const fn status(self) -> u8 {
        self as u8
    }
}
