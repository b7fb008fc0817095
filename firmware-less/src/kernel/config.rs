//! [`Config`]: what a kernel says of how it was configured.

use std::io::Read as _;

use memchr::memmem;

use super::{Kernel, Payload};
use crate::read_at::{ReadAt, fetch};

/// What encloses the packed configuration. kernel/configs.c.
const START: &[u8] = b"IKCFG_ST";
const END: &[u8] = b"IKCFG_ED";
/// What the configuration is packed by, gzip, begins with. kernel/Makefile, `config_data.gz`.
const GZIP: &[u8] = &[0x1f, 0x8b, 0x08];
/// The most that a kernel may unpack to. Distributions' have 30 to 80 MiB.
const KERNEL_MAX: u64 = 256 << 20;
/// The most that a configuration may unpack to. Distributions' have 150 to 300 KiB.
const CONFIG_MAX: u64 = 4 << 20;

/// The configuration that a kernel was built with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    text: String,
}

/// What an option of the configuration was set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting<'a> {
    /// Built in.
    Yes,
    /// Built as a module.
    Module,
    /// Left out, or not known to that kernel.
    No,
    /// A number or a text.
    Value(&'a str),
}

impl Config {
    /// The configuration in `kernel` of `source`, which has to be unpacked for it: that
    /// takes some hundred milliseconds, and as much memory as it has. `None` where there
    /// is none (CONFIG_IKCONFIG), or it can't be got at, since nothing depends on it.
    #[must_use]
    pub fn read(source: &(impl ReadAt + ?Sized), kernel: &Kernel) -> Option<Self> {
        let range = kernel.payload()?;
        let packed = fetch(source, range.offset(), range.len()).ok()?;
        let unpacked = Payload::read(&packed, KERNEL_MAX).ok()?.unpack(1).ok()?;
        Self::find(&unpacked)
    }

    /// The configuration in an unpacked kernel.
    #[must_use]
    pub fn find(kernel: &[u8]) -> Option<Self> {
        // Others may speak of the mark, as scripts/extract-ikconfig does.
        memmem::find_iter(kernel, START).find_map(|at| {
            let behind = kernel.get(at.checked_add(START.len())?..)?;
            let packed = behind.get(..memmem::find(behind, END)?)?;
            packed.starts_with(GZIP).then(|| unpack(packed)).flatten()
        })
    }

    /// The configuration in `text`, as a `.config` has it.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self { text: text.to_owned() }
    }

    /// What `CONFIG_` and `name` was set to.
    #[must_use]
    pub fn setting(&self, name: &str) -> Setting<'_> {
        let value = self
            .text
            .lines()
            .find_map(|line| line.strip_prefix("CONFIG_")?.strip_prefix(name)?.strip_prefix('='));
        match value {
            Some("y") => Setting::Yes,
            Some("m") => Setting::Module,
            Some(value) => Setting::Value(value),
            None => Setting::No,
        }
    }
}

fn unpack(packed: &[u8]) -> Option<Config> {
    let mut text = Vec::new();
    flate2::bufread::GzDecoder::new(packed).take(CONFIG_MAX).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    text.starts_with('#').then_some(Config { text })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;
    use crate::{range::FileRange, testing::bzimage};

    const TEXT: &str = "\
#
# Automatically generated file; DO NOT EDIT.
#
CONFIG_PRINTK=y
CONFIG_SERIAL_8250=m
# CONFIG_SERIAL_8250_CONSOLE is not set
CONFIG_HZ=250
CONFIG_DEFAULT_HOSTNAME=\"(none)\"
";

    fn gzip(bytes: impl AsRef<[u8]>) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes.as_ref()).unwrap();
        encoder.finish().unwrap()
    }

    fn marked(packed: &[u8]) -> Vec<u8> {
        [&[7; 100], START, packed, END, &[7; 100]].concat()
    }

    #[test]
    fn a_configuration_says_what_each_option_was_set_to() {
        let config = Config::find(&marked(&gzip(TEXT))).unwrap();
        assert_eq!(config.setting("PRINTK"), Setting::Yes);
        assert_eq!(config.setting("SERIAL_8250"), Setting::Module);
        assert_eq!(config.setting("SERIAL_8250_CONSOLE"), Setting::No);
        assert_eq!(config.setting("SERIAL"), Setting::No);
        assert_eq!(config.setting("HZ"), Setting::Value("250"));
        assert_eq!(config.setting("DEFAULT_HOSTNAME"), Setting::Value("\"(none)\""));
    }

    #[test]
    fn a_mark_alone_is_no_configuration_and_hides_none() {
        let talk = [START, b" and ", END, START, &gzip(TEXT), END].concat();
        assert!(Config::find(&talk).is_some());
        let packed = gzip(TEXT);
        let cut = &packed[..packed.len() / 2];
        for none in [&b""[..], START, &[START, GZIP].concat(), &marked(b"text"), &marked(cut)] {
            assert_eq!(Config::find(none), None);
        }
        assert_eq!(Config::find(&marked(&gzip("no configuration"))), None);
    }

    #[test]
    fn what_unpacks_without_end_is_not_followed() {
        let text = "#".repeat(64 << 20);
        let config = Config::find(&marked(&gzip(&text))).unwrap();
        assert_eq!(config.text.len() as u64, CONFIG_MAX);
    }

    #[test]
    fn it_is_found_in_the_payload_of_a_kernel() {
        let image = bzimage().payload(&gzip(marked(&gzip(TEXT)))).build();
        let kernel = Kernel::read(&image[..], FileRange::first(image.len() as u64)).unwrap();
        let config = Config::read(&image[..], &kernel).unwrap();
        assert_eq!(config.setting("PRINTK"), Setting::Yes);
        // Noise, as most hand-made kernels have.
        let image = bzimage().build();
        let kernel = Kernel::read(&image[..], FileRange::first(image.len() as u64)).unwrap();
        assert_eq!(Config::read(&image[..], &kernel), None);
    }
}
