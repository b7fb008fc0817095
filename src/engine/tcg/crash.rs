//! What a person wants to know of a guest that came to a bad end.

use firmware_less::range::GuestRange;
use serde::{Deserialize, Serialize};

use crate::{
    outcome::{CrashReport, Sample},
    symbols::{PAGE_FAULT_GATE, handler},
};

/// A command of QEMU's monitor, about one vCPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Question {
    pub(super) cpu: u32,
    pub(super) command: String,
}

const REGISTERS: &str = "info registers";
const CODE: &str = "x /16xb $pc";
/// What a look at a vCPU is called that is one of many.
const LOOK: &str = "look";
/// One of all vCPUs at once, to tell whether the guest has stopped for good.
const GLANCE: &str = "glance";
/// The gate of the page fault in the interrupt descriptor table.
const GATE: &str = "gate";
const PHYSICAL: &str = "gva2gpa $pc";

/// What a report of a machine with `cpus` vCPUs is made from.
pub(super) fn questions(cpus: u32) -> impl Iterator<Item = Question> {
    (0..cpus).flat_map(|cpu| {
        [REGISTERS, CODE, PHYSICAL].map(|command| Question { cpu, command: command.to_owned() })
    })
}

/// A look at each of `cpus` vCPUs: what it is noted as, and the command.
pub(super) fn looks(cpus: u32) -> impl Iterator<Item = (Question, &'static str)> {
    registers(cpus, LOOK)
}

/// The same, not to be kept.
pub(super) fn glances(cpus: u32) -> impl Iterator<Item = (Question, &'static str)> {
    registers(cpus, GLANCE)
}

/// Whether that is a question of [`glances`].
pub(super) fn is_glance(question: &Question) -> bool {
    question.command == GLANCE
}

fn registers(cpus: u32, name: &str) -> impl Iterator<Item = (Question, &'static str)> {
    (0..cpus).map(move |cpu| (Question { cpu, command: name.to_owned() }, REGISTERS))
}

/// A named range of guest memory.
pub(super) type Named = (&'static str, GuestRange);

/// What the monitor said of the stopped guest.
#[derive(Debug, Default)]
pub(super) struct Dump {
    /// Where the interrupt descriptor table of the first vCPU is.
    idt: Option<u64>,
    page_fault_handler: Option<u64>,
    samples: Vec<Sample>,
    answers: Vec<(Question, String)>,
}

impl Dump {
    /// Keeps what the monitor printed.
    pub(super) fn add(&mut self, question: Question, text: String) {
        match question.command.as_str() {
            LOOK => {
                self.samples.extend(sample(question.cpu, &text));
                let idt = value(&text, "IDT=").and_then(number);
                self.idt = idt.filter(|_| question.cpu == 0).or(self.idt);
            }
            GATE => self.page_fault_handler = bytes(&text).try_into().ok().and_then(handler),
            _ => self.answers.push((question, text)),
        }
    }

    /// The question where the handler of page faults is, once looks have told where
    /// that can be seen.
    pub(super) fn gate(&self) -> Option<(Question, String)> {
        let gate = self.idt?.checked_add(PAGE_FAULT_GATE)?;
        let question = Question { cpu: 0, command: GATE.to_owned() };
        Some((question, format!("x /16xb {gate:#x}")))
    }

    /// What [`Outcome::page_fault_handler`] is.
    ///
    /// [`Outcome::page_fault_handler`]: crate::outcome::Outcome::page_fault_handler
    pub(super) fn page_fault_handler(&self) -> Option<u64> {
        self.page_fault_handler
    }

    /// What the vCPUs were at while the guest ran.
    pub(super) fn samples(&self) -> Vec<Sample> {
        self.samples.clone()
    }

    /// Whether every question about `cpus` vCPUs has its answer.
    pub(super) fn is_complete(&self, cpus: u32) -> bool {
        self.answers.len() >= questions(cpus).count()
    }

    /// The report: in the form of a kernel oops, then QEMU's own lines. `None`
    /// if nothing was answered.
    pub(super) fn report(&self, ranges: &[Named]) -> Option<CrashReport> {
        let of_cpu = |(question, registers): &(Question, String)| {
            let lines = (question.command == REGISTERS)
                .then(|| self.lines(question.cpu, registers, ranges));
            lines.unwrap_or_default()
        };
        let lines: Vec<_> = self.answers.iter().flat_map(of_cpu).collect();
        (!lines.is_empty()).then_some(CrashReport { lines })
    }

    fn lines(&self, cpu: u32, registers: &str, ranges: &[Named]) -> Vec<String> {
        let place = place(self.physical(cpu), ranges);
        let selector = value(registers, "CS =").unwrap_or_default();
        let rip = value(registers, "RIP=").or(value(registers, "EIP=")).unwrap_or_default();
        let mut lines = vec![
            format!("vCPU {cpu}: stopped"),
            format!("RIP: {selector}:0x{rip}{place}"),
            format!("Code: {}", code(self.answer(cpu, CODE))),
        ];
        lines.extend(
            registers.lines().map(str::trim).filter(|line| is_telling(line)).map(Into::into),
        );
        lines
    }

    /// RIP as a guest-physical address.
    fn physical(&self, cpu: u32) -> Option<u64> {
        let digits = self.answer(cpu, PHYSICAL).trim().strip_prefix("gpa: 0x")?;
        u64::from_str_radix(digits, 16).ok()
    }

    fn answer(&self, cpu: u32, command: &str) -> &str {
        let of_question =
            |(asked, _): &&(Question, _)| asked.cpu == cpu && asked.command == command;
        self.answers.iter().find(of_question).map_or("", |(_, text)| text)
    }
}

/// What a register dump says a vCPU is at.
pub(super) fn sample(cpu: u32, registers: &str) -> Option<Sample> {
    const INTERRUPTS: u64 = 1 << 9;
    let rip = value(registers, "RIP=").or(value(registers, "EIP=")).and_then(number)?;
    let flags = value(registers, "RFL=").or(value(registers, "EFL=")).and_then(number)?;
    Some(Sample {
        cpu,
        rip,
        is_halted: value(registers, "HLT=") == Some("1"),
        takes_interrupts: flags & INTERRUPTS != 0,
    })
}

fn number(digits: &str) -> Option<u64> {
    u64::from_str_radix(digits, 16).ok()
}

/// What follows `name` in a register dump.
fn value<'a>(registers: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = registers.split_once(name)?;
    after.split_whitespace().next()
}

/// The bytes of a memory dump: each line is an address and bytes.
fn bytes(dump: &str) -> Vec<u8> {
    let bytes = dump.lines().filter_map(|line| line.split_once(": "));
    let bytes = bytes.flat_map(|(_, bytes)| bytes.split_whitespace());
    bytes.filter_map(|byte| u8::from_str_radix(byte.strip_prefix("0x")?, 16).ok()).collect()
}

fn code(dump: &str) -> String {
    let bytes: Vec<_> = bytes(dump).iter().map(|byte| format!("{byte:02x}")).collect();
    if bytes.is_empty() { "unreadable".to_owned() } else { bytes.join(" ") }
}

fn place(physical: Option<u64>, ranges: &[Named]) -> String {
    let Some(physical) = physical else { return ", not mapped".to_owned() };
    match ranges.iter().find(|(_, range)| range.contains_address(physical)) {
        Some((name, range)) => {
            let offset = physical.saturating_sub(range.start());
            format!(", physical {physical:#x}, in {name}+{offset:#x}")
        }
        None => format!(", physical {physical:#x}, where nothing was placed"),
    }
}

/// Leaves out the FPU's and the debug registers, and what the report says already.
fn is_telling(line: &str) -> bool {
    let dull = ["CPU#", "FPR", "XMM", "YMM", "DR", "CC"];
    !line.is_empty() && !dull.iter().any(|prefix| line.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNEL: Named = ("kernel", GuestRange::constant(0x10_0000, 0x1000));
    const DUMP: &str = "\r\nCPU#0\r\nRAX=0000000000000001\r\nRIP=0000000000100200 RFL=46\r\n\
                        CS =0010 0000000000000000 ffffffff 00af9b00\r\nFPR0=0000\r\nXMM00=0000\r\n";

    fn dump(answers: [&str; 3]) -> Dump {
        let mut dump = Dump::default();
        for (question, answer) in questions(1).zip(answers) {
            dump.add(question, answer.to_owned());
        }
        dump
    }

    #[test]
    fn a_report_has_the_name_of_the_place_code_and_registers() {
        let bytes = "0000000000100200: 0x0f 0x0b\r\n0000000000100208: 0xeb\r\n";
        let dump = dump([DUMP, bytes, "gpa: 0x100200\r\n"]);
        assert!(dump.is_complete(1) && !dump.is_complete(2));
        assert_eq!(
            dump.report(&[KERNEL]).unwrap().lines,
            [
                "vCPU 0: stopped",
                "RIP: 0010:0x0000000000100200, physical 0x100200, in kernel+0x200",
                "Code: 0f 0b eb",
                "RAX=0000000000000001",
                "RIP=0000000000100200 RFL=46",
                "CS =0010 0000000000000000 ffffffff 00af9b00",
            ]
        );
    }

    #[test]
    fn a_look_says_where_and_whether_it_waits() {
        let mut dump = Dump::default();
        let (question, command) = looks(1).next().unwrap();
        assert_eq!(command, REGISTERS);
        let text = "RIP=ffffffff81000010 RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\r\n";
        dump.add(question, text.to_owned());
        let sample =
            Sample { cpu: 0, rip: 0xffff_ffff_8100_0010, is_halted: true, takes_interrupts: true };
        assert_eq!(dump.samples(), [sample]);
        assert!(!dump.is_complete(1));
    }

    #[test]
    fn the_handler_of_page_faults_is_asked_for_where_the_table_is() {
        let mut dump = Dump::default();
        assert_eq!(dump.gate(), None);
        for (question, _) in looks(2) {
            let base = if question.cpu == 0 { "fffffe0000000000" } else { "0000000000001000" };
            let text = format!("RIP=ff RFL=02 HLT=0\r\nLDT=0 1\r\nIDT=     {base} 00000fff\r\n");
            dump.add(question, text);
        }
        let (question, command) = dump.gate().unwrap();
        assert_eq!(command, "x /16xb 0xfffffe00000000e0");
        let gate = "fffffe00000000e0: 0x50 0x0b 0x10 0x00 0x00 0x8e 0x80 0x81\r\n\
                    fffffe00000000e8: 0xff 0xff 0xff 0xff 0x00 0x00 0x00 0x00\r\n";
        dump.add(question, gate.to_owned());
        assert_eq!(dump.page_fault_handler(), Some(0xffff_ffff_8180_0b50));
        assert_eq!(dump.report(&[]), None);
    }

    #[test]
    fn a_place_that_nothing_was_put_at_is_said_to_be_so() {
        let report = dump([DUMP, "", "gpa: 0x5000"]).report(&[KERNEL]).unwrap();
        assert_eq!(
            report.lines[1],
            "RIP: 0010:0x0000000000100200, physical 0x5000, where nothing was placed"
        );
    }

    #[test]
    fn an_unmapped_rip_has_neither_place_nor_code() {
        let report = dump([DUMP, "Cannot access memory\r\n", "Unmapped\r\n"]).report(&[]).unwrap();
        assert_eq!(report.lines[1], "RIP: 0010:0x0000000000100200, not mapped");
        assert_eq!(report.lines[2], "Code: unreadable");
    }

    #[test]
    fn every_vcpu_is_in_the_report() {
        let mut dump = Dump::default();
        for question in questions(2).filter(|question| question.command == REGISTERS) {
            dump.add(question, DUMP.to_owned());
        }
        let lines = dump.report(&[]).unwrap().lines;
        assert!(
            ["vCPU 0: stopped", "vCPU 1: stopped"].iter().all(|l| lines.iter().any(|m| m == l))
        );
    }

    #[test]
    fn without_answers_there_is_no_report() {
        assert_eq!(Dump::default().report(&[KERNEL]), None);
    }
}
