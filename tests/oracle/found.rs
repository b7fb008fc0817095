//! What the next kernel found, as values with names.

use std::collections::BTreeMap;

use firmware_less::range::PAGE;
use sha2::{Digest as _, Sha256};
use ukivm::digest::hex;

use super::{
    machine::Guest,
    mapping::{Entries, mapping},
    record::Record,
};

/// Where purgatory's stack ends, from its start on. arch/x86/purgatory/stack.S.
const STACK_END: u64 = 0x3000;
/// Bytes of purgatory.
const PURGATORY_LEN: u64 = 0x5000;
/// `purgatory_sha_regions`: 16 of start and length; `purgatory_sha256_digest` follows.
const REGIONS_LEN: usize = 16 * 16;
/// Delivery status and remote IRR of an entry of the APIC's table: they say what is
/// under way, and nobody can write them.
const UNDER_WAY: u64 = 1 << 12 | 1 << 14;
/// G, D/B, L, AVL; P, DPL, S, type: of a descriptor's upper half.
pub(super) const ATTRIBUTES: u64 = 0x00f0_ff00;

/// Reads all that there is to be read in `guest`.
pub(super) fn found(guest: &mut Guest) -> Record {
    let mut values = Values::default();
    let registers = guest.says("info registers");
    values.registers(&registers);
    values.segments(&registers);
    values.interrupts(&guest.says("info lapic"), &guest.says("info pic"));

    let purgatory = values.number("rsp") - STACK_END;
    let params = values.number("rsi");
    values.put("purgatory", purgatory);
    let gdt = guest.memory(values.number("gdtr base"), 32);
    for (entry, at) in gdt.as_chunks().0.iter().zip((0..).step_by(8)) {
        values.put(&format!("gdt {at:#04x}"), u64::from_le_bytes(*entry));
    }
    let regions = values.regions(&guest.memory(purgatory, PURGATORY_LEN), params);
    let mut hash = Sha256::new();
    for (number, (start, len)) in regions.iter().enumerate() {
        let bytes = guest.memory(*start, *len);
        values.text(&format!("region {number}"), format!("{start:#x} {len:#x}"));
        hash.update(&bytes);
        if number > 0 {
            values.text(&format!("region {number} sha256"), hex(&Sha256::digest(&bytes)));
        }
    }
    values.text("digest of memory", hex(&hash.finalize()));
    let (cr3, levels) =
        (values.number("cr3"), if values.number("cr4") & 1 << 12 == 0 { 4 } else { 5 });
    let mut table = |at: u64| guest.memory(at, PAGE);
    mapping(cr3, levels, &mut |at| Entries::of(&table(at))).put(&mut values.values);
    let (_, params_len) = regions[0];
    Record { params: guest.memory(params, params_len), values: values.values }
}

#[derive(Default)]
struct Values {
    values: BTreeMap<String, String>,
}

impl Values {
    fn text(&mut self, name: &str, value: String) {
        let before = self.values.insert(name.to_owned(), value);
        assert_eq!(before, None, "{name} is found once");
    }

    fn put(&mut self, name: &str, value: u64) {
        self.text(name, format!("{value:#x}"));
    }

    fn number(&self, name: &str) -> u64 {
        hex_number(&self.values[name])
    }

    /// Whatever `info registers` shows as NAME=VALUE in one word.
    fn registers(&mut self, said: &str) {
        // "R8 =" is one word, "XMM00" may be "YMM00" or "ZMM00".
        let said = said.replace(" =", "=");
        for name in [
            "RAX", "RBX", "RCX", "RDX", "RSI", "RDI", "RBP", "RSP", "R8", "R9", "R10", "R11",
            "R12", "R13", "R14", "R15", "RIP", "CR0", "CR2", "CR3", "CR4", "DR0", "DR1", "DR2",
            "DR3", "DR6", "DR7", "EFER", "FCW", "FSW", "FTW", "MXCSR",
        ] {
            self.put(&name.to_lowercase(), hex_number(after(&said, &format!("{name}="))));
        }
        self.put("rflags", hex_number(after(&said, "RFL=")));
        let st = (0..8).map(|number| words_after(&said, &format!("FPR{number}="), 2).concat());
        self.text("st", in_short(&st.collect::<Vec<_>>()));
        let xmm = (0..16).map(|number| {
            let behind = ["ZMM", "YMM", "XMM"].iter().find_map(|kind| {
                let (_, behind) = said.split_once(&format!("{kind}{number:02}="))?;
                behind.lines().next()
            });
            let words = behind.unwrap_or_else(|| panic!("no register xmm{number} in {said}"));
            let digits: String = words.split_whitespace().collect();
            digits[digits.len() - 32..].to_owned()
        });
        self.text("xmm", in_short(&xmm.collect::<Vec<_>>()));
    }

    /// Segments, and the registers of tables.
    fn segments(&mut self, said: &str) {
        for name in ["cs", "ds", "es", "fs", "gs", "ss", "tr", "ldtr"] {
            let shown = if name == "ldtr" { "LDT".into() } else { name.to_uppercase() };
            let words = words_after(said, &format!("\n{shown:<3}="), 4).into_iter();
            let [selector, base, limit, flags] =
                words.map(hex_number).collect::<Vec<_>>().try_into().expect("four numbers");
            self.put(&format!("{name} selector"), selector);
            self.put(&format!("{name} base"), base);
            self.put(&format!("{name} limit"), limit);
            self.put(&format!("{name} attributes"), flags & ATTRIBUTES);
        }
        for name in ["gdt", "idt"] {
            let words = words_after(said, &format!("\n{}=", name.to_uppercase()), 2);
            self.put(&format!("{name}r base"), hex_number(words[0]));
            self.put(&format!("{name}r limit"), hex_number(words[1]));
        }
    }

    fn interrupts(&mut self, lapic: &str, pic: &str) {
        for name in
            ["LVT0", "LVT1", "LVTPC", "LVTERR", "LVTTHMR", "LVTT", "SPIV", "ICR", "ICR2", "ESR"]
        {
            let word = hex_number(after(lapic, &format!("\n{name}\t")));
            let word = if name.starts_with("LVT") { word & !UNDER_WAY } else { word };
            self.put(&format!("lapic {}", name.to_lowercase()), word);
        }
        for name in ["APR", "TPR", "DFR", "LDR", "PPR"] {
            let word = hex_number(after(lapic, &format!("{name} ")));
            self.put(&format!("lapic {}", name.to_lowercase()), word);
        }
        for name in ["ISR", "IRR"] {
            let line = lapic.split_once(&format!("\n{name}\t")).expect(name).1;
            let line = line.lines().next().expect("a line").trim();
            self.text(&format!("lapic {}", name.to_lowercase()), line.to_owned());
        }
        self.put("lapic dcr", hex_number(after(lapic, "DCR=")));
        self.text("lapic initial count", after(lapic, "initial_count = ").to_owned());
        for name in ["pic0", "pic1"] {
            let line = pic.lines().find(|line| line.starts_with(name)).expect(name);
            self.put(&format!("{name} mask"), hex_number(after(line, "imr=")));
        }
        let pins = pic.lines().filter(|line| line.trim_start().starts_with("pin "));
        let open: Vec<_> = pins.filter(|line| !line.contains("masked")).map(str::trim).collect();
        self.text("ioapic pins not masked", open.join(", "));
    }

    /// The table of regions, which begins with the params, and the digest behind it.
    fn regions(&mut self, purgatory: &[u8], params: u64) -> Vec<(u64, u64)> {
        let number = |at: usize| {
            let bytes = purgatory[at..at + 8].try_into().expect("eight bytes");
            u64::from_le_bytes(bytes)
        };
        let last = purgatory.len() - REGIONS_LEN - 32;
        let stack = usize::try_from(STACK_END).expect("an offset");
        let table = (stack..=last).step_by(16).find(|at| number(*at) == params);
        let table = table.expect("a table of regions in purgatory, behind the stack");
        let regions = (table..table + REGIONS_LEN).step_by(16);
        let regions: Vec<_> = regions.map(|at| (number(at), number(at + 8))).collect();
        self.text("digest", hex(&purgatory[table + REGIONS_LEN..][..32]));
        let used = regions.iter().take_while(|region| **region != (0, 0)).count();
        assert!(regions[used..].iter().all(|region| *region == (0, 0)), "{regions:x?}");
        regions[..used].to_vec()
    }
}

/// Registers of a kind, most often all zero.
fn in_short(registers: &[String]) -> String {
    let zero = |register: &String| register.bytes().all(|digit| digit == b'0');
    if registers.iter().all(zero) { "0".to_owned() } else { registers.join(" ") }
}

/// The word behind `name`.
fn after<'a>(said: &'a str, name: &str) -> &'a str {
    words_after(said, name, 1)[0]
}

fn words_after<'a>(said: &'a str, name: &str, count: usize) -> Vec<&'a str> {
    let (_, behind) = said.split_once(name).unwrap_or_else(|| panic!("no {name:?} in {said}"));
    let words: Vec<&str> = behind.split_whitespace().take(count).collect();
    assert_eq!(words.len(), count, "behind {name:?} in {said}");
    words
}

/// A number in hex, with or without 0x.
pub(super) fn hex_number(text: &str) -> u64 {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("{text:?} is a number in hex"))
}
