//! Each value that the probe reports against its counterpart in the plan.

use std::collections::BTreeSet;

use firmware_less::{handoff::kexec::DIGEST_OF_NOTHING, range::PAGE};
use sha2::{Digest as _, Sha256};
use ukivm::digest::hex;
use ukivm_guests::machine::{ACPI_WINDOW, PURGATORY_DIGEST, PURGATORY_REGIONS};

use super::planned::Planned;
use crate::support::probe::Report;

/// Reported numbers, and where the plan's JSON has them.
const NUMBERS: [(&str, &str); 46] = [
    ("rip", "/cpu/registers/rip"),
    ("rflags", "/cpu/registers/rflags"),
    ("rax", "/cpu/registers/rax"),
    ("rbx", "/cpu/registers/rbx"),
    ("rcx", "/cpu/registers/rcx"),
    ("rdx", "/cpu/registers/rdx"),
    ("rsi", "/cpu/registers/rsi"),
    ("rdi", "/cpu/registers/rdi"),
    ("rbp", "/cpu/registers/rbp"),
    ("rsp", "/cpu/registers/rsp"),
    ("r8", "/cpu/registers/r8"),
    ("r9", "/cpu/registers/r9"),
    ("r10", "/cpu/registers/r10"),
    ("r11", "/cpu/registers/r11"),
    ("r12", "/cpu/registers/r12"),
    ("r13", "/cpu/registers/r13"),
    ("r14", "/cpu/registers/r14"),
    ("r15", "/cpu/registers/r15"),
    ("cr0", "/cpu/cr0"),
    ("cr3", "/cpu/cr3"),
    ("cr4", "/cpu/cr4"),
    ("efer", "/cpu/efer"),
    ("cs", "/cpu/cs/selector"),
    ("ds", "/cpu/ds/selector"),
    ("es", "/cpu/es/selector"),
    ("fs", "/cpu/fs/selector"),
    ("gs", "/cpu/gs/selector"),
    ("ss", "/cpu/ss/selector"),
    ("tr", "/cpu/tr/selector"),
    ("ldtr", "/cpu/ldtr/selector"),
    ("fs_base", "/cpu/fs/base"),
    ("gs_base", "/cpu/gs/base"),
    ("gdtr_base", "/cpu/gdtr/base"),
    ("gdtr_limit", "/cpu/gdtr/limit"),
    ("idtr_base", "/cpu/idtr/base"),
    ("idtr_limit", "/cpu/idtr/limit"),
    ("tpr", "/cpu/local_apic/tpr"),
    ("spiv", "/cpu/local_apic/spiv"),
    ("lvt0", "/cpu/local_apic/lvt0"),
    ("lvt1", "/cpu/local_apic/lvt1"),
    ("pic_master", "/cpu/pic_mask"),
    ("pic_slave", "/cpu/pic_mask"),
    ("misc_enable", "/cpu/msrs/misc_enable_set"),
    ("mtrr_def_type", "/cpu/msrs/mtrr_def_type"),
    ("fcw", "/cpu/fcw"),
    ("mxcsr", "/cpu/mxcsr"),
];

/// What no plan says because reset leaves it so, on every engine.
/// Intel SDM vol. 3A, "Processor State After Reset".
const LEFT_BY_RESET: [(&str, u64); 9] = [
    ("cr2", 0),
    // Bits 4 to 7 of the task priority, as kexec leaves that.
    ("cr8", 1),
    ("dr0", 0),
    ("dr1", 0),
    ("dr2", 0),
    ("dr3", 0),
    ("dr6", 0xffff_0ff0),
    ("dr7", 0x400),
    // Enabled, at its usual place, of the boot processor.
    ("apic_base", 0xfee0_0900),
];

/// Where an engine may leave other bits than the plan's: which bits count all
/// the same, and why the others do not.
const FREE: [(&str, &str, u64, &str); 5] = [
    ("kvm", "misc_enable", 1, "the plan says which bits to set, the others are the host's"),
    ("kvm", "other_misc_enable", 1, "likewise"),
    ("tcg", "misc_enable", 1, "the plan says which bits to set; QEMU sets 18 (MWAIT) too"),
    ("tcg", "other_misc_enable", 1, "likewise"),
    (
        "tcg",
        "other_mtrr_def_type",
        0,
        "QEMU clears MTRRs at INIT, whoever set them; Linux copies the boot processor's",
    ),
];

/// A comparison under way.
pub(super) struct Comparison<'a> {
    engine: &'a str,
    report: &'a Report,
    planned: &'a Planned,
    compared: BTreeSet<&'static str>,
    differences: Vec<String>,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(engine: &'a str, report: &'a Report, planned: &'a Planned) -> Self {
        let (compared, differences) = (BTreeSet::new(), Vec::new());
        Self { engine, report, planned, compared, differences }
    }

    /// Every register, and the descriptors behind those of segments.
    pub(super) fn processor(&mut self) {
        self.number("entry", 64);
        self.number("boot_params_at", self.planned.plan.cpu().registers.rsi);
        for (name, pointer) in NUMBERS {
            self.number(name, self.planned.number(pointer));
        }
        for (name, value) in LEFT_BY_RESET {
            self.number(name, value);
        }
        let cpu = self.planned.plan.cpu();
        let gdt = self.planned.memory(cpu.gdtr.base, u64::from(cpu.gdtr.limit) + 1);
        self.bytes("gdt", &gdt);
        for (name, segment) in cpu.segments() {
            // The old kernel's task is not in this table.
            let at = usize::from(segment.selector);
            if segment.usable && name != "tr" {
                let found = hex(&self.report.bytes("gdt")[at..at + 8]);
                let planned = hex(&segment.descriptor().to_le_bytes());
                self.same(&format!("descriptor of {name}"), &found, &planned);
            }
        }
    }

    /// Memory, byte by byte or by digest.
    pub(super) fn memory(&mut self) {
        let planned = self.planned;
        let cpu = planned.plan.cpu();
        let page = planned.memory(cpu.registers.rsi, PAGE);
        self.bytes("boot_params", &page);
        if !planned.shows(&self.report.bytes("boot_params")) {
            self.differences.push("boot_params: other fields than the JSON form shows".into());
        }
        let purgatory = planned.plan.placement("purgatory").expect("in every plan").range.start();
        let table = PURGATORY_DIGEST - PURGATORY_REGIONS;
        self.bytes("regions", &planned.memory(purgatory + PURGATORY_REGIONS, table));
        let digest = planned.digest.unwrap_or(DIGEST_OF_NOTHING);
        self.bytes("digest", &planned.memory(purgatory + PURGATORY_DIGEST, 32));
        self.bytes("digest", &digest);
        self.bytes("regions_sha256", &digest);
        let text = planned.digest.map(|digest| hex(&digest));
        let text = text.as_deref().unwrap_or("none");
        self.same("digest in JSON", planned.digest_text().unwrap_or("none"), text);
        let range = |name| planned.plan.placement(name).expect("in every plan").range;
        let (tables, acpi) = (range("page tables"), range("ACPI tables"));
        assert_eq!(tables.start(), cpu.cr3, "that is where the probe looks");
        assert!(acpi.len() <= ACPI_WINDOW, "the probe hashes only {ACPI_WINDOW:#x} bytes");
        let digest = |start, len| Sha256::digest(planned.memory(start, len));
        self.bytes("page_tables_sha256", &digest(tables.start(), tables.len()));
        self.bytes("acpi_sha256", &digest(acpi.start(), ACPI_WINDOW));
        self.acpi(acpi.start());
    }

    /// The RSDP, and the header of each table that its XSDT names.
    fn acpi(&mut self, rsdp: u64) {
        let planned = self.planned;
        let number = |at| u64::from_le_bytes(planned.memory(at, 8).try_into().expect("eight"));
        self.number("rsdp_at", rsdp);
        self.bytes("rsdp", &planned.memory(rsdp, 36));
        let xsdt = number(rsdp + 24);
        let len = number(xsdt + 4) & 0xffff_ffff;
        let entries: Vec<u64> = (36..len).step_by(8).map(|offset| number(xsdt + offset)).collect();
        let text = |all: Vec<Vec<u8>>| all.iter().map(|one| hex(one)).collect::<Vec<_>>().join(" ");
        let at = entries.iter().map(|at| at.to_be_bytes().to_vec()).collect();
        let headers = entries.iter().map(|at| planned.memory(*at, 36)).collect();
        self.compared.extend(["acpi_table_at", "acpi_table"]);
        self.same("acpi_table_at", &text(self.report.all("acpi_table_at")), &text(at));
        self.same("acpi_table", &text(self.report.all("acpi_table")), &text(headers));
    }

    /// What the test gave, which is what should arrive: a plan may be wrong too.
    pub(super) fn given(&mut self, cmdline: &[u8], initrd: &[u8], seed: &str) {
        self.bytes("cmdline", cmdline);
        self.bytes("initrd_sha256", &Sha256::digest(initrd));
        self.number("initrd_fnv", fnv(initrd));
        // The last of the list, of type 9 (SETUP_RNG_SEED) and 32 bytes.
        let header = [0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 32, 0, 0, 0];
        self.compared.insert("setup_data");
        let chain: Vec<_> = self.report.all("setup_data").iter().map(|node| hex(node)).collect();
        self.same("setup_data", &chain.join(" then "), &(hex(&header) + seed));
        let page = self.report.bytes("boot_params");
        let wide = |low: usize, high: usize| {
            let half = |at: usize| page[at..at + 4].try_into().map_or(0, u32::from_le_bytes);
            u64::from(half(low)) | u64::from(half(high)) << 32
        };
        self.number("setup_data_at", wide(0x250, 0x254));
        let at = self.planned.plan.placement("initrd").map_or(0, |initrd| initrd.range.start());
        for (name, found, wanted) in [
            ("ramdisk_image", wide(0x218, 0xc0), at),
            ("ramdisk_size", wide(0x21c, 0xc4), initrd.len() as u64),
        ] {
            self.same(name, &format!("{found:#x}"), &format!("{wanted:#x}"));
        }
    }

    /// One vCPU came to the entry; the others came when they were called.
    pub(super) fn others(&mut self, cpus: u32) {
        self.number("entries", 1);
        self.number("started_before", 0);
        self.number("others", u64::from(cpus - 1));
        self.number("started", u64::from(cpus - 1));
        if cpus > 1 {
            let msrs = self.planned.plan.cpu().msrs;
            self.number("other_mtrr_def_type", msrs.mtrr_def_type);
            self.number("other_misc_enable", msrs.misc_enable_set);
        }
    }

    /// Fails with all that differs, and where a report was not looked at.
    pub(super) fn end(self, test: &str) {
        let names = self.report.names().filter(|name| !["begin", "end"].contains(name));
        let forgotten: Vec<_> = names.filter(|name| !self.compared.contains(name)).collect();
        let Self { engine, differences, .. } = &self;
        assert!(forgotten.is_empty(), "{test} on {engine}: nothing is said of {forgotten:?}");
        assert!(differences.is_empty(), "{test} on {engine}:\n{}", differences.join("\n"));
    }

    fn number(&mut self, name: &'static str, planned: u64) {
        self.compared.insert(name);
        let free = FREE.iter().find(|(engine, free, ..)| (*engine, *free) == (self.engine, name));
        let mask = free.map_or(u64::MAX, |(_, _, mask, _)| *mask);
        let found = self.report.number(name);
        self.same(name, &format!("{:#x}", found & mask), &format!("{:#x}", planned & mask));
    }

    fn bytes(&mut self, name: &'static str, planned: &[u8]) {
        self.compared.insert(name);
        let found = self.report.bytes(name);
        let differs =
            (0..found.len().max(planned.len())).find(|at| found.get(*at) != planned.get(*at));
        if let Some(at) = differs {
            let from =
                |bytes: &[u8]| hex(bytes.get(at..bytes.len().min(at + 32)).unwrap_or_default());
            let (found, planned) = (from(&found), from(planned));
            self.differences
                .push(format!("{name} from byte {at:#x}: found {found}, planned {planned}"));
        }
    }

    fn same(&mut self, name: &str, found: &str, planned: &str) {
        if found != planned {
            self.differences.push(format!("{name}: found {found}, planned {planned}"));
        }
    }
}

/// FNV-1a over words of eight bytes, the last one filled up with zeros.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(0xcbf2_9ce4_8422_2325, |sum, word| {
        let mut whole = [0; 8];
        whole[..word.len()].copy_from_slice(word);
        (sum ^ u64::from_le_bytes(whole)).wrapping_mul(0x0100_0000_01b3)
    })
}
