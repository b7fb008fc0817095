//! What a probe printed.

use thiserror::Error;
use ukivm_guests::machine::REPORT_VERSION;

use crate::visible::visible;

/// What every line of a report has, wherever it begins: a log may put times before.
const MARK: &str = "probe: ";
const BEGIN: &str = "begin";
const END: &str = "end";
/// What follows something that could not be read.
const FAULT: &str = "fault";

/// Why a text is no report.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// No probe printed it.
    #[error("there is no report of a probe: no line has {MARK}{BEGIN}=")]
    None,
    /// It is another program's.
    #[error("the report is of version {found:#x}, known is {REPORT_VERSION:#x}")]
    Version {
        /// Which.
        found: u64,
    },
    /// It does not end.
    #[error("the report ends at {last}, without {MARK}{END}=: the probe came no further")]
    Cut {
        /// The last line that is whole.
        last: String,
    },
    /// A line is no line of a report.
    #[error("the report says of {name} what is not hex: {value}")]
    NotHex {
        /// Of what.
        name: String,
        /// What it says, or how that begins.
        value: String,
    },
}

/// One thing reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// Memory as it lies, or a number with its highest byte first.
    pub value: Vec<u8>,
    /// Not all of it could be read.
    pub cut: bool,
}

/// The lines of one run, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    lines: Vec<Line>,
}

impl Report {
    /// Reads the last report in what a console printed.
    pub fn read(printed: &[u8]) -> Result<Self, Error> {
        let printed = String::from_utf8_lossy(printed);
        let mut report = None;
        let mut ended = false;
        for line in printed.split_inclusive('\n') {
            let Some((name, value)) = named(line) else { continue };
            if !line.ends_with('\n') && name != END {
                // The log ends here; who knows what was to follow.
                break;
            }
            if name == BEGIN {
                version(value)?;
                report = Some(Self::default());
                ended = false;
            } else if let Some(report) = report.as_mut().filter(|_| !ended) {
                ended = name == END;
                if !ended {
                    report.add(name, value)?;
                }
            }
        }
        let report = report.ok_or(Error::None)?;
        let last = report.lines.last().map_or(BEGIN, |line| line.name.as_str());
        if ended { Ok(report) } else { Err(Error::Cut { last: last.to_owned() }) }
    }

    fn add(&mut self, name: &str, value: &str) -> Result<(), Error> {
        if name == FAULT {
            if let Some(last) = self.lines.last_mut() {
                last.cut = true;
            }
            return Ok(());
        }
        let wrong = || Error::NotHex { name: name.to_owned(), value: beginning(value) };
        let value = from_hex(value).ok_or_else(wrong)?;
        self.lines.push(Line { name: name.to_owned(), value, cut: false });
        Ok(())
    }

    /// Adds memory, or a digest.
    pub(super) fn push(&mut self, name: &str, value: Vec<u8>) {
        self.lines.push(Line { name: name.to_owned(), value, cut: false });
    }

    /// Adds a number.
    pub(super) fn push_number(&mut self, name: &str, value: impl Into<u64>) {
        self.push(name, value.into().to_be_bytes().to_vec());
    }

    /// Every line, in order.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter()
    }

    /// The bytes of that name, the first if there are several.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.lines.iter().find(|line| line.name == name).map(|line| line.value.as_slice())
    }

    /// The number of that name.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.bytes(name).and_then(number)
    }
}

/// A number with its highest byte first.
pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

fn named(line: &str) -> Option<(&str, &str)> {
    let (_, line) = line.split_once(MARK)?;
    let (name, value) = line.split_once('=')?;
    Some((name, value.trim_end()))
}

fn version(value: &str) -> Result<(), Error> {
    let wrong = || Error::NotHex { name: BEGIN.to_owned(), value: beginning(value) };
    let found = from_hex(value).as_deref().and_then(number).ok_or_else(wrong)?;
    if found == REPORT_VERSION { Ok(()) } else { Err(Error::Version { found }) }
}

/// As much of `value` as fits on a line, harmless to a terminal.
fn beginning(value: &str) -> String {
    const MAX: usize = 32;
    let text: String = value.chars().take(MAX).collect();
    let more = if value.chars().count() > MAX { "…" } else { "" };
    visible(&text) + more
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let byte = |pair: &[u8]| {
        let pair = str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        pair.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(())?;
        u8::from_str_radix(pair, 16).ok()
    };
    digits.chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_with_times_and_noise_holds_the_last_report() {
        let log = b"SeaBIOS\nprobe: begin=0000000000000001\nprobe: rax=00000000000000ff\n\
                    [  0.1] probe: begin=0000000000000001\r\n[  0.2] probe: rax=0000000000000001\r\n\
                    noise\nprobe: gdt=00\nprobe: fault=0000000000001000\nprobe: end=\nprobe: rax=00\n";
        let report = Report::read(log).expect("a report");
        assert_eq!(report.number("rax"), Some(1));
        assert_eq!(report.lines().count(), 2);
        assert!(report.lines().last().is_some_and(|line| line.cut));
    }

    #[test]
    fn what_is_no_whole_report_is_said_to_be_none() {
        let error = |text: &str| Report::read(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error("nothing"), "there is no report of a probe: no line has probe: begin=");
        assert!(error("probe: begin=0000000000000002\n").contains("of version 0x2, known is 0x1"));
        let begun = "probe: begin=0000000000000001\n";
        assert!(error(begun).contains("ends at begin"));
        assert!(error(&format!("{begun}probe: rax=01\n")).contains("ends at rax"));
        assert!(error(&format!("{begun}probe: rax=0\n")).contains("rax what is not hex: 0"));
        assert!(error(&format!("{begun}probe: rax=+1\n")).contains("not hex"));
        assert!(error(&format!("{begun}probe: rax=01\nprobe: rbx=01")).contains("ends at rax"));
        let long = error(&format!("{begun}probe: rax={}\n", "\x1b".repeat(99)));
        assert!(long.ends_with(r"\u{1b}…"), "{long}");
    }
}
