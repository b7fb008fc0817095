//! What the probe should print.

use firmware_less::{
    cpu_state::{CpuState, Segment},
    plan::BootPlan,
    range::{GuestRange, PAGE},
};
use sha2::{Digest as _, Sha256};
use ukivm_guests::machine::{
    ACPI_WINDOW, CMDLINE_MAX, FNV_BASIS, FNV_PRIME, GDT_MAX, PURGATORY_DIGEST, PURGATORY_REGIONS,
    PURGATORY_STACK_END, SETUP_DATA_LEN_MAX, SETUP_DATA_MAX, SHA256_MAX,
};

use super::{
    acpi,
    boot_params::{Page, at},
    report::Report,
};
use crate::{
    content::{Chunk, Memory},
    digest,
    error::Error,
    files::Files,
};

/// What no plan says because reset leaves it so, on every engine.
/// Intel SDM vol. 3A, "Processor State After Reset".
const LEFT_BY_RESET: [(&str, u64); 8] = [
    ("cr2", 0),
    ("dr0", 0),
    ("dr1", 0),
    ("dr2", 0),
    ("dr3", 0),
    ("dr6", 0xffff_0ff0),
    ("dr7", 0x400),
    // Enabled, at its usual place, of the boot processor.
    ("apic_base", 0xfee0_0900),
];

/// The report of a probe that finds everything as `plan` says.
///
/// Follows the same pointers as the probe, within the same bounds.
pub fn planned(plan: &BootPlan, files: &Files) -> Result<Report, Error> {
    let mut report = Report::default();
    processor(&mut report, plan.cpu());
    let found = Found { memory: Memory::of(plan, files), cpu: plan.cpu() };
    found.report(&mut report)?;
    others(&mut report, plan);
    Ok(report)
}

fn processor(report: &mut Report, cpu: &CpuState) {
    let r = &cpu.registers;
    for (name, value) in [
        ("entry", 64),
        ("boot_params_at", r.rsi),
        ("rip", r.rip),
        ("rflags", r.rflags),
        ("cr0", cpu.cr0),
        ("cr3", cpu.cr3),
        ("cr4", cpu.cr4),
        ("cr8", (cpu.local_apic.tpr >> 4).into()),
        ("efer", cpu.efer),
        ("fs_base", cpu.fs.base),
        ("gs_base", cpu.gs.base),
        ("gdtr_base", cpu.gdtr.base),
        ("gdtr_limit", cpu.gdtr.limit.into()),
        ("idtr_base", cpu.idtr.base),
        ("idtr_limit", cpu.idtr.limit.into()),
        ("tpr", cpu.local_apic.tpr.into()),
        ("spiv", cpu.local_apic.spiv.into()),
        ("lvt0", cpu.local_apic.lvt0.into()),
        ("lvt1", cpu.local_apic.lvt1.into()),
        ("pic_master", cpu.pic_mask.into()),
        ("pic_slave", cpu.pic_mask.into()),
        ("misc_enable", cpu.msrs.misc_enable_set),
        ("mtrr_def_type", cpu.msrs.mtrr_def_type),
        ("fcw", cpu.fcw.into()),
        ("mxcsr", cpu.mxcsr.into()),
    ]
    .into_iter()
    .chain(r.general())
    .chain(LEFT_BY_RESET)
    {
        report.push_number(name, value);
    }
    for (name, Segment { selector, .. }) in cpu.segments() {
        report.push_number(name, selector);
    }
}

/// What is in memory, and where the registers point.
struct Found<'a> {
    memory: Memory<'a>,
    cpu: &'a CpuState,
}

impl Found<'_> {
    fn report(&self, report: &mut Report) -> Result<(), Error> {
        let bytes = self.bytes(self.cpu.registers.rsi, PAGE)?;
        let page = Page::new(&bytes);
        report.push("boot_params", bytes.clone());
        if page.cmdline() != 0 {
            report.push("cmdline", self.cmdline(page.cmdline())?);
        }
        self.setup_data(report, page.setup_data())?;
        let (at, len) = page.initrd();
        report.push_number("initrd_fnv", self.fnv(at, len)?);
        report.push("initrd_sha256", self.sha256(&[(at, len.min(SHA256_MAX))])?);
        self.purgatory(report)?;
        let gdtr = self.cpu.gdtr;
        let gdt_len = u64::from(gdtr.limit).saturating_add(1).min(GDT_MAX);
        report.push("gdt", self.bytes(gdtr.base, gdt_len)?);
        self.page_tables(report)?;
        report.push_number("rsdp_at", page.rsdp());
        if page.rsdp() != 0 { self.acpi(report, page.rsdp()) } else { Ok(()) }
    }

    fn bytes(&self, start: u64, len: u64) -> Result<Vec<u8>, Error> {
        GuestRange::new(start, len).map_or(Ok(Vec::new()), |range| self.memory.bytes(range))
    }

    fn number(&self, start: u64) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(at(&self.bytes(start, 8)?, 0)))
    }

    fn cmdline(&self, at: u64) -> Result<Vec<u8>, Error> {
        let mut line = self.bytes(at, CMDLINE_MAX.into())?;
        line.truncate(line.iter().position(|byte| *byte == 0).unwrap_or(line.len()));
        Ok(line)
    }

    fn setup_data(&self, report: &mut Report, first: u64) -> Result<(), Error> {
        const LEN: u64 = 12;
        const HEADER_LEN: u64 = 16;
        let mut node = first;
        for _ in 0..SETUP_DATA_MAX {
            if node == 0 {
                break;
            }
            report.push_number("setup_data_at", node);
            let len = self.number(node.saturating_add(LEN))? & u64::from(u32::MAX);
            let len = len.saturating_add(HEADER_LEN).min(SETUP_DATA_LEN_MAX);
            report.push("setup_data", self.bytes(node, len)?);
            node = self.number(node)?;
        }
        Ok(())
    }

    fn purgatory(&self, report: &mut Report) -> Result<(), Error> {
        let start = self.cpu.registers.rsp.saturating_sub(PURGATORY_STACK_END);
        let table_len = PURGATORY_DIGEST.saturating_sub(PURGATORY_REGIONS);
        let table = self.bytes(start.saturating_add(PURGATORY_REGIONS), table_len)?;
        report.push("digest", self.bytes(start.saturating_add(PURGATORY_DIGEST), 32)?);
        let number = |entry: &[u8], place| u64::from_le_bytes(at(entry, place));
        let regions = table.chunks_exact(16).map(|entry| (number(entry, 0), number(entry, 8)));
        let regions: Vec<_> = regions.collect();
        report.push("regions", table.clone());
        let total = regions.iter().fold(0_u64, |sum, (_, len)| sum.saturating_add(*len));
        if total <= SHA256_MAX {
            report.push("regions_sha256", self.sha256(&regions)?);
        }
        Ok(())
    }

    fn page_tables(&self, report: &mut Report) -> Result<(), Error> {
        let start = self.cpu.cr3 & !PAGE.saturating_sub(1);
        let mut end = start;
        while end.saturating_sub(start) < SHA256_MAX && self.number(end)? != 0 {
            end = end.saturating_add(PAGE);
        }
        let digest = self.sha256(&[(start, end.saturating_sub(start))])?;
        report.push("page_tables_sha256", digest);
        Ok(())
    }

    fn acpi(&self, report: &mut Report, rsdp: u64) -> Result<(), Error> {
        let bytes = self.bytes(rsdp, acpi::RSDP_LEN)?;
        let xsdt = acpi::xsdt_of(&bytes);
        report.push("rsdp", bytes);
        if xsdt != 0 {
            let header = self.bytes(xsdt, acpi::HEADER_LEN)?;
            let entries = xsdt.saturating_add(acpi::HEADER_LEN);
            for entry in (entries..).step_by(8).take(acpi::entries_of(&header)) {
                let table = self.number(entry)?;
                report.push_number("acpi_table_at", table);
                report.push("acpi_table", self.bytes(table, acpi::HEADER_LEN)?);
            }
        }
        report.push("acpi_sha256", self.sha256(&[(rsdp, ACPI_WINDOW)])?);
        Ok(())
    }

    fn sha256(&self, ranges: &[(u64, u64)]) -> Result<Vec<u8>, Error> {
        let mut hash = Sha256::new();
        for range in ranges.iter().filter_map(|(start, len)| GuestRange::new(*start, *len)) {
            self.memory.each(range, &mut |chunk| {
                digest::add(&mut hash, chunk);
                Ok(())
            })?;
        }
        Ok(hash.finalize().to_vec())
    }

    /// The cheap digest.
    fn fnv(&self, start: u64, len: u64) -> Result<u64, Error> {
        let mut sum = Fnv { sum: FNV_BASIS, word: [0; 8], filled: 0 };
        if let Some(range) = GuestRange::new(start, len) {
            self.memory.each(range, &mut |chunk| {
                match chunk {
                    Chunk::Bytes(bytes) => bytes.iter().for_each(|byte| sum.add(*byte)),
                    Chunk::Zeros(count) => (0..count).for_each(|_| sum.add(0)),
                }
                Ok(())
            })?;
        }
        Ok(sum.end())
    }
}

/// FNV-1a over words of eight bytes, the last one filled up with zeros.
struct Fnv {
    sum: u64,
    word: [u8; 8],
    filled: usize,
}

impl Fnv {
    fn add(&mut self, byte: u8) {
        if let Some(place) = self.word.get_mut(self.filled) {
            *place = byte;
        }
        self.filled = self.filled.saturating_add(1);
        if self.filled == self.word.len() {
            self.step();
        }
    }

    fn step(&mut self) {
        self.sum = (self.sum ^ u64::from_le_bytes(self.word)).wrapping_mul(FNV_PRIME);
        (self.word, self.filled) = ([0; 8], 0);
    }

    fn end(mut self) -> u64 {
        if self.filled > 0 {
            self.step();
        }
        self.sum
    }
}

/// One vCPU comes to the entry; the others come when they are called.
fn others(report: &mut Report, plan: &BootPlan) {
    let others = plan.machine().cpus().saturating_sub(1);
    report.push_number("entries", 1_u64);
    report.push_number("started_before", 0_u64);
    report.push_number("others", others);
    report.push_number("started", others);
    if others > 0 {
        let msrs = plan.cpu().msrs;
        report.push_number("other_misc_enable", msrs.misc_enable_set);
        report.push_number("other_mtrr_def_type", msrs.mtrr_def_type);
    }
}
