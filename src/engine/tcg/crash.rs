//! What a person wants to know of a guest that came to a bad end.

use firmware_less::range::GuestRange;

use crate::outcome::CrashReport;

/// The monitor commands whose output makes a report.
pub(super) const QUESTIONS: [&str; 3] = [REGISTERS, CODE, PHYSICAL];

const REGISTERS: &str = "info registers -a";
const CODE: &str = "x /16xb $pc";
const PHYSICAL: &str = "gva2gpa $pc";

/// A named range of guest memory.
pub(super) type Named = (&'static str, GuestRange);

/// What the monitor said of the stopped guest.
#[derive(Debug, Default)]
pub(super) struct Dump {
    answers: Vec<(String, String)>,
}

impl Dump {
    /// Keeps what `command` printed.
    pub(super) fn add(&mut self, command: String, text: String) {
        self.answers.push((command, text));
    }

    /// Whether every question has its answer.
    pub(super) fn is_complete(&self) -> bool {
        self.answers.len() >= QUESTIONS.len()
    }

    /// The report, with the name of the range that RIP lies in. `None` if
    /// nothing was answered.
    pub(super) fn report(&self, ranges: &[Named]) -> Option<CrashReport> {
        let mut lines: Vec<_> = self.lines(REGISTERS).filter(|line| is_telling(line)).collect();
        lines.extend(self.lines(CODE).map(|line| format!("code {line}")));
        lines.extend(self.physical().map(|address| place(address, ranges)));
        Some(CrashReport { lines }).filter(|report| !report.lines.is_empty())
    }

    /// RIP as a guest-physical address.
    fn physical(&self) -> Option<u64> {
        let line = self.lines(PHYSICAL).next()?;
        u64::from_str_radix(line.strip_prefix("gpa: 0x")?, 16).ok()
    }

    fn lines(&self, command: &str) -> impl Iterator<Item = String> {
        let of_command = self.answers.iter().filter(move |(asked, _)| asked == command);
        let lines = of_command.flat_map(|(_, text)| text.lines());
        lines.map(|line| line.trim().to_owned()).filter(|line| !line.is_empty())
    }
}

/// Leaves out the FPU's registers, and debug registers.
fn is_telling(line: &str) -> bool {
    !["FPR", "XMM", "YMM", "DR", "CC"].iter().any(|prefix| line.starts_with(prefix))
}

fn place(address: u64, ranges: &[Named]) -> String {
    match ranges.iter().find(|(_, range)| range.contains_address(address)) {
        Some((name, range)) => format!("RIP is at guest address {address:#x}, in {name} {range}"),
        None => format!("RIP is at guest address {address:#x}, in nothing that was placed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNEL: Named = ("kernel", GuestRange::constant(0x10_0000, 0x1000));

    fn dump(answers: [&str; 3]) -> Dump {
        let mut dump = Dump::default();
        for (question, answer) in QUESTIONS.iter().zip(answers) {
            dump.add((*question).to_owned(), answer.to_owned());
        }
        dump
    }

    #[test]
    fn a_report_has_registers_code_and_the_name_of_the_place() {
        let dump = dump([
            "\r\nCPU#0\r\nRAX=0000000000000001\r\nFPR0=0000\r\nXMM00=0000\r\n",
            "0000000000100200: 0x0f 0x0b\r\n",
            "gpa: 0x100200\r\n",
        ]);
        assert!(dump.is_complete());
        assert_eq!(
            dump.report(&[KERNEL]).unwrap().lines,
            [
                "CPU#0",
                "RAX=0000000000000001",
                "code 0000000000100200: 0x0f 0x0b",
                "RIP is at guest address 0x100200, in kernel [0x100000, 0x101000)",
            ]
        );
    }

    #[test]
    fn a_place_that_nothing_was_put_at_is_said_to_be_so() {
        let dump = dump(["RAX=0", "", "gpa: 0x5000"]);
        let report = dump.report(&[KERNEL]).unwrap();
        assert_eq!(report.lines[1], "RIP is at guest address 0x5000, in nothing that was placed");
    }

    #[test]
    fn an_unmapped_rip_has_no_place() {
        let dump = dump(["RAX=0", "Cannot access memory", "Unmapped"]);
        assert_eq!(dump.report(&[]).unwrap().lines, ["RAX=0", "code Cannot access memory"]);
    }

    #[test]
    fn without_answers_there_is_no_report() {
        assert_eq!(Dump::default().report(&[KERNEL]), None);
    }
}
