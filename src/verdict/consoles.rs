//! Whether what a guest says can arrive: the consoles that its command line names, and
//! those that its kernel was built with.

use firmware_less::kernel::{Config, config::Setting};

use super::silence::Hang;

/// What is to be known of a command line before its kernel runs, where there is a virtio console.
pub(crate) fn advise(cmdline: &[u8], has_hvc0: bool) -> Option<String> {
    let named = consoles(cmdline);
    let on = |wanted| named.iter().find(|word| device(word) == Some(wanted));
    match (on(Device::Hvc0), on(Device::Serial)) {
        _ if !has_hvc0 => None,
        (None, _) => Some(
            "warning: the command line has no console=hvc0, and none may be appended here: the \
             kernel will not speak on hvc0"
                .to_owned(),
        ),
        (Some(_), None) => None,
        (Some(_), Some(serial)) => Some(format!(
            "the command line has {serial} and console=hvc0: what the kernel says comes twice, and \
             no faster than by the serial port; --cmdline can leave one of them"
        )),
    }
}

/// What command line and configuration say of consoles.
pub(super) fn explain(hang: &Hang<'_>) -> String {
    by_cmdline(hang) + &by_config(hang)
}

fn by_cmdline(hang: &Hang<'_>) -> String {
    let consoles = consoles(hang.cmdline).join(" ");
    match standing(hang.cmdline, hang.has_hvc0) {
        Standing::None => " The command line names no console: a kernel without one may say \
                           nothing on the serial port."
            .to_owned(),
        Standing::Elsewhere => {
            let there =
                if hang.has_hvc0 { "consoles are ttyS0 and hvc0" } else { "only console is ttyS0" };
            format!(
                " The command line has {consoles}, and this machine has none of it: its {there}. \
                 The guest may be well and talk to nobody."
            )
        }
        Standing::Here(_) if hang.bytes == 0 => {
            let is_quiet = hang.cmdline.split(u8::is_ascii_whitespace).any(|word| word == b"quiet");
            let quiet =
                if is_quiet { ", and \"quiet\", which hides what the kernel says" } else { "" };
            format!(" The command line names a console that is there ({consoles}){quiet}.")
        }
        Standing::Here(_) => String::new(),
    }
}

/// What the kernel's configuration says of them. `drivers/tty/serial/8250/Kconfig`,
/// `drivers/char/Kconfig`, `init/Kconfig`.
fn by_config(hang: &Hang<'_>) -> String {
    let Some(config) = hang.config else { return String::new() };
    let console = match standing(hang.cmdline, hang.has_hvc0) {
        Standing::Here(Device::Hvc0) => hvc0_by_config(config),
        _ => serial_by_config(config, hang.bytes),
    };
    let silent =
        " It was built without CONFIG_PRINTK too: it says nothing of itself, only programs do.";
    console.to_owned() + if config.setting(PRINTK) == Setting::Yes { "" } else { silent }
}

fn serial_by_config(config: &Config, bytes: u64) -> &'static str {
    let is_on = |name| config.setting(name) == Setting::Yes;
    match config.setting(DRIVER) {
        Setting::Yes if is_on(CONSOLE) && bytes == 0 => {
            " The kernel was built with a console on serial ports (CONFIG_SERIAL_8250_CONSOLE=y)."
        }
        Setting::Yes if is_on(CONSOLE) => "",
        Setting::Yes => {
            " The kernel was built without a console on serial ports (no \
             CONFIG_SERIAL_8250_CONSOLE)."
        }
        Setting::Module => {
            " The kernel was built with the driver of serial ports as a module \
             (CONFIG_SERIAL_8250=m), and so without a console on them."
        }
        Setting::No | Setting::Value(_) => {
            " The kernel was built without a driver for serial ports (no CONFIG_SERIAL_8250)."
        }
    }
}

fn hvc0_by_config(config: &Config) -> &'static str {
    let settings = HVC0_DRIVERS.map(|name| config.setting(name));
    if settings.iter().all(|setting| *setting == Setting::Yes) {
        ""
    } else if settings.iter().all(|setting| matches!(setting, Setting::Yes | Setting::Module)) {
        " The kernel was built with drivers of hvc0 as modules (CONFIG_VIRTIO_CONSOLE, \
         CONFIG_VIRTIO_PCI): it says nothing there before they are loaded."
    } else {
        " The kernel was built without drivers for hvc0 (CONFIG_VIRTIO_CONSOLE, \
         CONFIG_VIRTIO_PCI)."
    }
}

const DRIVER: &str = "SERIAL_8250";
const CONSOLE: &str = "SERIAL_8250_CONSOLE";
const PRINTK: &str = "PRINTK";
const HVC0_DRIVERS: [&str; 2] = ["VIRTIO_CONSOLE", "VIRTIO_PCI"];

/// Whether a kernel with that configuration can't have a console on the serial port.
fn has_none(config: Option<&Config>) -> bool {
    config.is_some_and(|config| {
        [DRIVER, CONSOLE].iter().any(|name| config.setting(name) != Setting::Yes)
    })
}

/// What to do about a guest that wrote nothing at all.
pub(crate) fn next_step(cmdline: &[u8], has_hvc0: bool, config: Option<&Config>) -> &'static str {
    match standing(cmdline, has_hvc0) {
        Standing::Here(Device::Hvc0) => {
            "boot it with --append earlyprintk=ttyS0: then the kernel speaks before the driver of \
             hvc0 is there, which may be a module"
        }
        _ if has_none(config) => {
            "build its kernel with CONFIG_SERIAL_8250=y and CONFIG_SERIAL_8250_CONSOLE=y"
        }
        Standing::Elsewhere if !has_hvc0 && names_hvc0(cmdline) => {
            "boot it with --console=hvc0, which gives it that console, or with --append \
             console=ttyS0"
        }
        Standing::None | Standing::Elsewhere => "boot it with --append console=ttyS0",
        Standing::Here(Device::Serial) => {
            "boot it with --append 'earlyprintk=ttyS0 loglevel=7': then the kernel speaks before it \
             has its console"
        }
    }
}

/// Where the consoles of a command line are.
enum Standing {
    /// There are none.
    None,
    /// On no device of this machine.
    Elsewhere,
    /// On one that is there; on the serial port, if any is.
    Here(Device),
}

/// What a console can be on here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Device {
    /// The first serial port, which is always there.
    Serial,
    /// The virtio console.
    Hvc0,
}

fn standing(cmdline: &[u8], has_hvc0: bool) -> Standing {
    let consoles = consoles(cmdline);
    let on = |wanted| consoles.iter().any(|word| device(word) == Some(wanted));
    if consoles.is_empty() {
        Standing::None
    } else if on(Device::Serial) {
        Standing::Here(Device::Serial)
    } else if has_hvc0 && on(Device::Hvc0) {
        Standing::Here(Device::Hvc0)
    } else {
        Standing::Elsewhere
    }
}

fn names_hvc0(cmdline: &[u8]) -> bool {
    consoles(cmdline).iter().any(|word| device(word) == Some(Device::Hvc0))
}

/// The words of a command line that name a console.
fn consoles(cmdline: &[u8]) -> Vec<String> {
    let cmdline = String::from_utf8_lossy(cmdline);
    let words = cmdline.split_ascii_whitespace();
    words.filter(|word| word.starts_with("console=")).map(str::to_owned).collect()
}

/// What a console of that name is on. `Documentation/admin-guide/kernel-parameters.txt`,
/// "console=".
fn device(word: &str) -> Option<Device> {
    let console = word.trim_start_matches("console=");
    let name = console.split(',').next().unwrap_or_default();
    match name {
        "ttyS0" => Some(Device::Serial),
        "uart" | "uart8250" if console.contains("io,0x3f8") => Some(Device::Serial),
        "hvc0" => Some(Device::Hvc0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
CONFIG_PRINTK=y
CONFIG_SERIAL_8250=y
CONFIG_SERIAL_8250_CONSOLE=y
";

    fn hang<'a>(cmdline: &'a str, config: Option<&'a Config>, bytes: u64) -> Hang<'a> {
        let cmdline = cmdline.as_bytes();
        let (samples, last_line) = (&[], None);
        let has_hvc0 = false;
        Hang {
            samples,
            last_write: None,
            symbols: None,
            cmdline,
            has_hvc0,
            config,
            bytes,
            last_line,
        }
    }

    #[test]
    fn a_console_that_is_not_there_is_named() {
        for missing in
            ["console=ttyS1,115200", "console=tty0 console=hvc0", "console=uart,io,0x2f8"]
        {
            let text = explain(&hang(missing, None, 0));
            assert!(text.contains("this machine has none of it"), "{missing}: {text}");
        }
        assert!(explain(&hang("quiet root=x", None, 0)).contains("names no console"));
        for there in ["console=tty0 console=ttyS0,115200n8", "console=uart,io,0x3f8"] {
            assert!(explain(&hang(there, None, 0)).contains("a console that is there"), "{there}");
        }
    }

    #[test]
    fn how_the_kernel_was_built_is_said_where_it_tells_why() {
        let said = |lines: &str, bytes| {
            let config = Config::of(&format!("# of a kernel\n{lines}"));
            by_config(&hang("console=ttyS0", Some(&config), bytes))
        };
        assert!(
            said(GOOD, 0)
                .ends_with("built with a console on serial ports (CONFIG_SERIAL_8250_CONSOLE=y).")
        );
        assert_eq!(said(GOOD, 1), "");
        let told = |from: &str, to: &str| said(&GOOD.replace(from, to), 1);
        assert!(told("8250_CONSOLE=y", "8250_x=y").contains("without a console on serial ports"));
        assert!(told("CONFIG_SERIAL_8250=y\n", "").contains("without a driver for serial ports"));
        let module = told("8250=y\nCONFIG_SERIAL_8250_CONSOLE=y\n", "8250=m\n");
        assert!(module.contains("as a module (CONFIG_SERIAL_8250=m)"), "{module}");
        assert!(told("CONFIG_PRINTK=y\n", "").contains("without CONFIG_PRINTK"));
    }

    #[test]
    fn a_kernel_without_a_console_is_not_to_be_booted_with_other_words() {
        let none = Config::of("# of a kernel\n");
        assert!(next_step(b"", false, Some(&none)).contains("CONFIG_SERIAL_8250_CONSOLE=y"));
        assert!(next_step(b"", false, None).contains("console=ttyS0"));
    }

    #[test]
    fn a_virtio_console_is_there_where_it_was_asked_for() {
        let hang = |cmdline| Hang { has_hvc0: true, ..hang(cmdline, None, 0) };
        assert!(explain(&hang("console=hvc0")).contains("a console that is there (console=hvc0)"));
        assert!(explain(&hang("console=ttyS1")).contains("its consoles are ttyS0 and hvc0"));
        assert!(next_step(b"console=hvc0", false, None).contains("with --console=hvc0"));
        assert!(next_step(b"console=hvc0", true, None).contains("earlyprintk=ttyS0"));
        assert!(next_step(b"console=tty0", true, None).ends_with("--append console=ttyS0"));
    }

    #[test]
    fn a_kernel_whose_drivers_of_hvc0_are_modules_is_told_of() {
        let said = |lines: &str| {
            let config = Config::of(&format!("# of a kernel\nCONFIG_PRINTK=y\n{lines}"));
            by_config(&Hang { has_hvc0: true, ..hang("console=hvc0", Some(&config), 0) })
        };
        assert_eq!(said("CONFIG_VIRTIO_CONSOLE=y\nCONFIG_VIRTIO_PCI=y\n"), "");
        let modules = said("CONFIG_VIRTIO_CONSOLE=m\nCONFIG_VIRTIO_PCI=y\n");
        assert!(modules.contains("as modules"), "{modules}");
        assert!(said("CONFIG_VIRTIO_CONSOLE=m\n").contains("without drivers for hvc0"));
    }

    #[test]
    fn what_a_command_line_means_for_two_consoles_is_said_beforehand() {
        assert_eq!(advise(b"console=ttyS0", false), None);
        assert_eq!(advise(b"console=tty0 console=hvc0", true), None);
        let lacking = advise(b"console=ttyS0 quiet", true).unwrap();
        assert!(lacking.contains("has no console=hvc0"), "{lacking}");
        let both = advise(b"console=ttyS0,115200 console=hvc0", true).unwrap();
        assert!(both.starts_with("the command line has console=ttyS0,115200 and"), "{both}");
    }
}
