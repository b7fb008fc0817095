//! Whether what a guest says can arrive: the consoles that its command line names, and
//! those that its kernel was built with.

use firmware_less::kernel::{Config, config::Setting};

use super::silence::Hang;

/// What command line and configuration say of consoles. Only the first serial port is
/// there.
pub(super) fn explain(hang: &Hang<'_>) -> String {
    by_cmdline(hang) + &by_config(hang)
}

fn by_cmdline(hang: &Hang<'_>) -> String {
    let consoles = consoles(hang.cmdline).join(" ");
    match standing(hang.cmdline) {
        Standing::None => " The command line names no console: a kernel without one may say \
                           nothing on the serial port."
            .to_owned(),
        Standing::Elsewhere => format!(
            " The command line has {consoles}, and this machine has none of it: its only console \
             is ttyS0. The guest may be well and talk to nobody."
        ),
        Standing::Here if hang.bytes == 0 => {
            let is_quiet = hang.cmdline.split(u8::is_ascii_whitespace).any(|word| word == b"quiet");
            let quiet =
                if is_quiet { ", and \"quiet\", which hides what the kernel says" } else { "" };
            format!(" The command line names a console that is there ({consoles}){quiet}.")
        }
        Standing::Here => String::new(),
    }
}

/// What the kernel's configuration says of them. `drivers/tty/serial/8250/Kconfig`,
/// `init/Kconfig`.
fn by_config(hang: &Hang<'_>) -> String {
    let Some(config) = hang.config else { return String::new() };
    let is_on = |name| config.setting(name) == Setting::Yes;
    let console = match config.setting(DRIVER) {
        Setting::Yes if is_on(CONSOLE) && hang.bytes == 0 => {
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
    };
    let silent =
        " It was built without CONFIG_PRINTK too: it says nothing of itself, only programs do.";
    console.to_owned() + if is_on(PRINTK) { "" } else { silent }
}

const DRIVER: &str = "SERIAL_8250";
const CONSOLE: &str = "SERIAL_8250_CONSOLE";
const PRINTK: &str = "PRINTK";

/// Whether a kernel with that configuration can't have a console here.
fn has_none(config: Option<&Config>) -> bool {
    config.is_some_and(|config| {
        [DRIVER, CONSOLE].iter().any(|name| config.setting(name) != Setting::Yes)
    })
}

/// What to do about a guest that wrote nothing at all.
pub(super) fn next_step(cmdline: &[u8], config: Option<&Config>) -> &'static str {
    if has_none(config) {
        return "build its kernel with CONFIG_SERIAL_8250=y and CONFIG_SERIAL_8250_CONSOLE=y";
    }
    match standing(cmdline) {
        Standing::None | Standing::Elsewhere => "boot it with --append console=ttyS0",
        Standing::Here => {
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
    /// On one that is there.
    Here,
}

fn standing(cmdline: &[u8]) -> Standing {
    let consoles = consoles(cmdline);
    if consoles.is_empty() {
        Standing::None
    } else if consoles.iter().any(|word| exists(word)) {
        Standing::Here
    } else {
        Standing::Elsewhere
    }
}

/// The words of a command line that name a console.
fn consoles(cmdline: &[u8]) -> Vec<String> {
    let cmdline = String::from_utf8_lossy(cmdline);
    let words = cmdline.split_ascii_whitespace();
    words.filter(|word| word.starts_with("console=")).map(str::to_owned).collect()
}

/// Whether a console of that name is there. `Documentation/admin-guide/kernel-parameters.txt`,
/// "console=".
fn exists(word: &str) -> bool {
    let console = word.trim_start_matches("console=");
    let name = console.split(',').next().unwrap_or_default();
    match name {
        "ttyS0" => true,
        "uart" | "uart8250" => console.contains("io,0x3f8"),
        _ => false,
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
        Hang { samples, last_write: None, symbols: None, cmdline, config, bytes, last_line }
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
        assert!(next_step(b"", Some(&none)).contains("CONFIG_SERIAL_8250_CONSOLE=y"));
        assert!(next_step(b"", None).contains("console=ttyS0"));
    }
}
