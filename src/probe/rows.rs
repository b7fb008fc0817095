//! A report in words: what a person compares, line by line.

use std::fmt;

use firmware_less::boot_params;
use serde::{Serialize, Serializer};
use ukivm_guests::machine::SHA256_MAX;

use super::{
    acpi,
    boot_params::{Page, at},
    report::{Line, Report, number},
};
use crate::{digest::hex, visible::visible};

/// Numbers, by the groups that they are shown in.
const NUMBERS: [(&str, &[&str]); 7] = [
    (
        "registers",
        &[
            "rip", "rflags", "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9",
            "r10", "r11", "r12", "r13", "r14", "r15",
        ],
    ),
    (
        "control and debug registers",
        &["cr0", "cr2", "cr3", "cr4", "cr8", "efer", "dr0", "dr1", "dr2", "dr3", "dr6", "dr7"],
    ),
    ("segments", &["cs", "ds", "es", "fs", "gs", "ss", "tr", "ldtr", "fs_base", "gs_base"]),
    ("descriptor tables", &["gdtr_base", "gdtr_limit", "idtr_base", "idtr_limit"]),
    ("model-specific registers", &["apic_base", "misc_enable", "mtrr_def_type"]),
    ("FPU and SSE", &["fcw", "mxcsr"]),
    ("interrupts", &["tpr", "spiv", "lvt0", "lvt1", "pic_master", "pic_slave"]),
];
const _: () = assert!(SHA256_MAX == 64 << 10, "a name below says so");
/// What there is of the other vCPUs.
const OTHERS: [&str; 6] =
    ["entries", "started_before", "others", "started", "other_misc_enable", "other_mtrr_def_type"];

/// What a row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Number(u64),
    /// Anything else.
    Text(String),
}

/// One thing, by its group and its name there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The group.
    pub group: &'static str,
    /// The name, of which there is one in each group.
    pub name: String,
    /// What is to be said of it.
    pub value: Value,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number:#x}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

/// Everything that `report` says, group by group.
#[must_use]
pub fn rows(report: &Report) -> Vec<Row> {
    let mut rows = Rows { report, rows: Vec::new() };
    rows.entry();
    for (group, names) in NUMBERS {
        for name in names {
            rows.number(group, name);
        }
        if group == "descriptor tables" {
            rows.descriptors();
        }
    }
    rows.boot_params();
    rows.given();
    rows.acpi();
    rows.digest("page tables", "page_tables_sha256", "SHA-256");
    rows.purgatory();
    for name in OTHERS {
        rows.number("other processors", name);
    }
    rows.cut();
    rows.rows
}

/// Rows as they are made.
struct Rows<'a> {
    report: &'a Report,
    rows: Vec<Row>,
}

impl<'a> Rows<'a> {
    fn push(&mut self, group: &'static str, name: impl Into<String>, value: Value) {
        self.rows.push(Row { group, name: name.into(), value });
    }

    fn text(&mut self, group: &'static str, name: impl Into<String>, text: impl Into<String>) {
        self.push(group, name, Value::Text(text.into()));
    }

    fn number(&mut self, group: &'static str, name: &str) {
        if let Some(number) = self.report.number(name) {
            self.push(group, name, Value::Number(number));
        }
    }

    fn digest(&mut self, group: &'static str, line: &str, name: &str) {
        if let Some(bytes) = self.report.bytes(line) {
            self.text(group, name, hex(bytes));
        }
    }

    fn bytes(&self, name: &str) -> Option<&'a [u8]> {
        self.report.bytes(name)
    }

    fn all(&self, name: &'static str) -> impl Iterator<Item = &'a Line> + use<'a> {
        self.report.lines().filter(move |line| line.name == name)
    }

    /// How the probe was entered, and where it was told that `boot_params` is.
    fn entry(&mut self) {
        if let Some(kind) = self.report.number("entry") {
            let kind = match kind {
                16 => "in real mode",
                32 => "in protected mode",
                64 => "in 64-bit mode",
                0xef1 => "by the EFI handover protocol",
                _ => "in a way that is not known",
            };
            self.text("entry", "entered", kind);
        }
        self.number("entry", "boot_params_at");
    }

    /// Each descriptor by its selector.
    fn descriptors(&mut self) {
        let table = self.bytes("gdt").unwrap_or_default();
        for (place, descriptor) in table.chunks_exact(8).enumerate() {
            let selector = place.saturating_mul(8);
            let value = Value::Number(u64::from_le_bytes(at(descriptor, 0)));
            self.push("descriptor tables", format!("descriptor {selector:#04x}"), value);
        }
    }

    /// Fields by name, and all other bytes as they are.
    fn boot_params(&mut self) {
        const GROUP: &str = "boot_params";
        let Some(bytes) = self.bytes("boot_params") else { return };
        for field in boot_params::fields(bytes) {
            self.push(GROUP, field.name, Value::Number(field.value));
        }
        for (place, line) in bytes.chunks(16).enumerate() {
            if line.iter().any(|byte| *byte != 0) {
                let name = format!("bytes {:#05x}", place.saturating_mul(16));
                self.text(GROUP, name, hex(line));
            }
        }
        for (place, (start, len, kind)) in Page::new(bytes).memory_map().enumerate() {
            let end = start.wrapping_add(len);
            self.text(
                "e820",
                place.to_string(),
                format!("{start:#014x}  {end:#014x}  {}", kind_of(kind)),
            );
        }
    }

    /// What came with the kernel.
    fn given(&mut self) {
        if let Some(line) = self.bytes("cmdline") {
            let line = String::from_utf8_lossy(line);
            self.text("command line", "text", visible(&line));
        }
        let nodes: Vec<_> = self.all("setup_data_at").zip(self.all("setup_data")).collect();
        for (place, (address, node)) in nodes.into_iter().enumerate() {
            let name = |what| format!("{place} {what}");
            let address = number(&address.value).unwrap_or_default();
            self.push("setup_data", name("at"), Value::Number(address));
            let kind = u32::from_le_bytes(at(&node.value, 8));
            self.push("setup_data", name("type"), Value::Number(kind.into()));
            self.text("setup_data", name("data"), hex(node.value.get(16..).unwrap_or_default()));
        }
        if let Some((at, len)) = self.bytes("boot_params").map(|page| Page::new(page).initrd()) {
            self.push("initrd", "at", Value::Number(at));
            self.push("initrd", "length", Value::Number(len));
            let name = if len > SHA256_MAX { "SHA-256 of 64 KiB" } else { "SHA-256" };
            self.digest("initrd", "initrd_sha256", name);
            if let Some(sum) = self.report.number("initrd_fnv") {
                self.text("initrd", "FNV-1a of 64-bit words", format!("{sum:016x}"));
            }
        }
    }

    fn acpi(&mut self) {
        const GROUP: &str = "ACPI";
        if let Some(address) = self.report.number("rsdp_at") {
            self.push(GROUP, "RSDP at", Value::Number(address));
        }
        if let Some(rsdp) = self.bytes("rsdp") {
            self.text(GROUP, "RSDP", acpi::rsdp_text(rsdp));
        }
        let tables: Vec<_> = self.all("acpi_table_at").zip(self.all("acpi_table")).collect();
        for (place, (address, header)) in tables.into_iter().enumerate() {
            let address = number(&address.value).unwrap_or_default();
            let name = format!("{place} {}", acpi::signature(&header.value));
            self.text(GROUP, name, acpi::header_text(address, &header.value));
        }
        self.digest(GROUP, "acpi_sha256", "SHA-256 of 4 KiB");
    }

    /// The table of what was hashed, and the digests.
    fn purgatory(&mut self) {
        const GROUP: &str = "purgatory";
        let table = self.bytes("regions").unwrap_or_default();
        for (place, region) in table.chunks(16).enumerate() {
            let (start, len) =
                (u64::from_le_bytes(at(region, 0)), u64::from_le_bytes(at(region, 8)));
            if len > 0 {
                self.text(GROUP, format!("region {place}"), format!("{start:#x}, {len:#x} bytes"));
            }
        }
        self.digest(GROUP, "digest", "SHA-256 kept");
        self.digest(GROUP, "regions_sha256", "SHA-256 found");
    }

    /// What could not be read, or not all of it.
    fn cut(&mut self) {
        for line in self.report.lines().filter(|line| line.cut) {
            self.text(
                "not readable",
                line.name.as_str(),
                format!("after {} bytes", line.value.len()),
            );
        }
    }
}

/// Documentation/arch/x86/boot.rst and arch/x86/include/uapi/asm/e820.h.
fn kind_of(kind: u32) -> String {
    match kind {
        1 => "usable".into(),
        2 => "reserved".into(),
        3 => "ACPI data".into(),
        4 => "ACPI NVS".into(),
        5 => "unusable".into(),
        7 => "persistent".into(),
        other => format!("type {other}"),
    }
}
