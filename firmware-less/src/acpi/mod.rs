//! The ACPI tables: hardware-reduced, since nothing of a PC's fixed hardware is
//! there, and mandatory, since distribution kernels find vCPUs, interrupts,
//! power-off and reset in no other way.
//!
//! RSDP → XSDT → { FADT → DSDT, MADT, MCFG }, one file a table. MCFG is there, and PCI
//! in the DSDT, only where the machine has devices on PCI.

mod dsdt;
mod fadt;
mod madt;
mod mcfg;
mod pci;
mod power_button;
mod rsdp;
mod xsdt;

use acpi_tables::{Aml, sdt::Sdt};

use crate::{
    machine::Machine,
    plan::{Content, Piece, Placement},
    range::{GuestRange, align_up},
};

/// OEM ID of every table.
const OEM_ID: [u8; 6] = *b"UKIVM ";
/// OEM table ID of every table.
const OEM_TABLE_ID: [u8; 8] = *b"UKIVMTBL";
/// OEM revision of every table.
const OEM_REVISION: u32 = 1;
/// Tables start at multiples of this; the RSDP must. ACPI 6.5, 5.2.5.1.
const ALIGN: u64 = 16;

/// The tables of `machine`, the RSDP first, as one placement at the start of
/// `area`. It ends where the tables end, so that it shows what they take.
///
/// # Panics
///
/// Never for a [`Machine`]: 254 vCPUs take less than 4 KiB of the 64.
#[must_use]
pub fn tables(machine: &Machine, area: GuestRange) -> Placement {
    let mut writer = Writer { area, pieces: Vec::new(), free: area.start() };
    // The RSDP comes first but names what comes after it.
    let rsdp_at = writer.reserve(rsdp::LEN);
    let dsdt = writer.write(&dsdt::dsdt(machine));
    let fadt = writer.write(&bytes(&fadt::fadt(machine, dsdt)));
    let madt = writer.write(&bytes(&madt::madt(machine)));
    let mut listed = vec![fadt, madt];
    if machine.has_pci() {
        listed.push(writer.write(&bytes(&mcfg::mcfg())));
    }
    let xsdt = writer.write(&bytes(&xsdt::xsdt(&listed)));
    writer.put(rsdp_at, bytes(&rsdp::rsdp(xsdt)));
    writer.placement()
}

/// The bytes of a table.
fn bytes(table: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.to_aml_bytes(&mut bytes);
    bytes
}

/// An address or a length of what lies below 4 GiB.
const fn low_32(address: u64) -> u32 {
    assert!(address <= u32::MAX as u64, "the tables' addresses lie below 4 GiB");
    #[expect(clippy::cast_possible_truncation, reason = "just asserted")]
    {
        address as u32
    }
}

/// A table with `body` behind a standard header, length and checksum right.
/// ACPI 6.5, 5.2.6.
fn table(signature: [u8; 4], revision: u8, body: &[u8]) -> Vec<u8> {
    const HEADER_LEN: u32 = 36;
    let mut table = Sdt::new(signature, HEADER_LEN, revision, OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    table.append_slice(body);
    table.as_slice().to_vec()
}

/// Puts tables one behind the other.
struct Writer {
    area: GuestRange,
    pieces: Vec<Piece>,
    free: u64,
}

impl Writer {
    /// Takes the next `len` bytes and says where they are.
    fn reserve(&mut self, len: u64) -> u64 {
        let at = self.free;
        self.free = at.checked_add(len).and_then(|end| align_up(end, ALIGN)).unwrap_or(u64::MAX);
        at
    }

    fn put(&mut self, at: u64, bytes: Vec<u8>) {
        let offset = at.saturating_sub(self.area.start());
        self.pieces.push(Piece { offset, content: Content::Bytes(bytes) });
    }

    fn write(&mut self, table: &[u8]) -> u64 {
        let at = self.reserve(table.len() as u64);
        self.put(at, table.to_vec());
        at
    }

    fn placement(mut self) -> Placement {
        self.pieces.sort_by_key(|piece| piece.offset);
        let range = GuestRange::between(self.area.start(), self.free).unwrap_or(self.area);
        Placement::of_pieces("ACPI tables", range, self.pieces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        layout,
        machine::Board,
        pci::{DEVICES_MAX, Kind},
    };

    fn pieces(machine: &Machine) -> Vec<(u64, Vec<u8>)> {
        tables(machine, layout::ACPI)
            .pieces
            .into_iter()
            .map(|piece| match piece.content {
                Content::Bytes(bytes) => (layout::ACPI.start() + piece.offset, bytes),
                Content::File(_) => panic!("tables are bytes"),
            })
            .collect()
    }

    fn table_at(machine: &Machine, at: u64) -> Vec<u8> {
        pieces(machine).into_iter().find(|(start, _)| *start == at).expect("a table there").1
    }

    fn u64_at(bytes: &[u8], offset: usize) -> u64 {
        u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap())
    }

    fn machine() -> Machine {
        Machine::new(1 << 30, 2).unwrap()
    }

    #[test]
    fn every_table_is_reached_from_the_rsdp_and_sums_to_zero() {
        let machine = machine();
        let rsdp = table_at(&machine, layout::ACPI.start());
        assert_eq!(&rsdp[..8], b"RSD PTR ");
        let xsdt = table_at(&machine, u64_at(&rsdp, 24));
        assert_eq!(&xsdt[..4], b"XSDT");
        let fadt = table_at(&machine, u64_at(&xsdt, 36));
        assert_eq!(&fadt[..4], b"FACP");
        let madt = table_at(&machine, u64_at(&xsdt, 44));
        assert_eq!(&madt[..4], b"APIC");
        let dsdt = table_at(&machine, u64_at(&fadt, 140));
        assert_eq!(&dsdt[..4], b"DSDT");
        for table in [&rsdp[..20], &rsdp, &xsdt, &fadt, &madt, &dsdt] {
            assert_eq!(table.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0);
        }
        for table in [&xsdt, &fadt, &madt, &dsdt] {
            let len = u32::from_le_bytes(table[4..8].try_into().unwrap());
            assert_eq!(len as usize, table.len());
        }
    }

    #[test]
    fn the_fadt_is_hardware_reduced_and_can_sleep_and_reset() {
        let machine = machine();
        let fadt = pieces(&machine).into_iter().find(|(_, t)| t.starts_with(b"FACP")).unwrap().1;
        assert_eq!(fadt.len(), 276);
        let flags = u32::from_le_bytes(fadt[112..116].try_into().unwrap());
        assert_eq!(flags & (1 << 20 | 1 << 10), 1 << 20 | 1 << 10);
        // Reset register: system I/O, 8 bits, port 0xcf9, value 6.
        assert_eq!(fadt[116..120], [1, 8, 0, 1]);
        assert_eq!(u64_at(&fadt, 120), 0xcf9);
        assert_eq!(fadt[128], 6);
        // Sleep control and status.
        assert_eq!(u64_at(&fadt, 248), 0x520);
        assert_eq!(u64_at(&fadt, 260), 0x521);
        // X_PM_TMR_BLK.
        assert_eq!(u64_at(&fadt, 212), 0x608);
    }

    #[test]
    fn pci_is_told_of_where_there_are_devices_and_nowhere_else() {
        let names = |machine: &Machine| {
            let all = pieces(machine);
            let dsdt = &all.iter().find(|(_, t)| t.starts_with(b"DSDT")).unwrap().1;
            let has = |name: &[u8]| dsdt.windows(4).any(|word| word == name);
            (has(b"PCI0"), has(b"MBRD"), all.iter().any(|(_, t)| t.starts_with(b"MCFG")))
        };
        assert_eq!(names(&machine()), (false, false, false));
        let with_disk = machine().with_devices(vec![Kind::Disk]).unwrap();
        assert_eq!(names(&with_disk), (true, true, true));
    }

    #[test]
    fn the_mcfg_says_where_the_map_has_ecam() {
        let machine = machine().with_devices(vec![Kind::Disk]).unwrap();
        let all = pieces(&machine);
        let mcfg = &all.iter().find(|(_, t)| t.starts_with(b"MCFG")).unwrap().1;
        assert_eq!(u64_at(mcfg, 44), 0xb000_0000);
        // Segment 0, bus 0 and no other.
        assert_eq!(mcfg[52..56], [0, 0, 0, 0]);
        assert_eq!(mcfg.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0);
        let xsdt = &all.iter().find(|(_, t)| t.starts_with(b"XSDT")).unwrap().1;
        assert_eq!(table_at(&machine, u64_at(xsdt, 52))[..4], *b"MCFG");
    }

    #[test]
    fn no_cmos_rtc_is_said_exactly_where_there_is_none() {
        let boot_arch = |machine: &Machine| {
            let all = pieces(machine);
            let fadt = &all.iter().find(|(_, t)| t.starts_with(b"FACP")).unwrap().1;
            u16::from_le_bytes(fadt[109..111].try_into().unwrap())
        };
        assert_eq!(boot_arch(&machine()) & 1 << 5, 1 << 5);
        assert_eq!(boot_arch(&machine().with_board(Board::Q35)) & 1 << 5, 0);
        // Beside that, no VGA.
        assert_eq!(boot_arch(&machine().with_board(Board::Q35)), 1 << 2);
    }

    #[test]
    fn a_power_button_is_described_where_there_is_one() {
        let dsdt = |machine: &Machine| {
            let all = pieces(machine);
            all.into_iter().find(|(_, t)| t.starts_with(b"DSDT")).unwrap().1
        };
        let has = |table: &[u8], part: &[u8]| table.windows(part.len()).any(|at| at == part);
        let (without, with) = (dsdt(&machine()), dsdt(&machine().with_power_button(true)));
        // Edge-triggered, active high, GSI 9, as an extended interrupt descriptor: ACPI 6.5,
        // 6.4.3.6. The method: if it is that line, take back the press and notify.
        let interrupt = [0x89, 6, 0, 0b0011, 1, 9, 0, 0, 0];
        let method = b"_EVT\x09\xa0\x14\x93\x68\x0a\x09\x70\x0b\x00\x01STS_\x86PWRB\x0a\x80";
        let enable = b"_INI\x00\x70\x0b\x00\x01EN__";
        for part in
            [&b"ACPI0013"[..], enable, &interrupt, method, b"PWRB\x08_HID\x0c\x41\xd0\x0c\x0c"]
        {
            assert!(has(&with, part), "{part:x?} in {with:x?}");
            assert!(!has(&without, part), "{part:x?}");
        }
    }

    #[test]
    fn the_madt_names_each_vcpu_once() {
        let machine = Machine::new(1 << 30, 254).unwrap();
        let all = pieces(&machine);
        let madt = &all.iter().find(|(_, t)| t.starts_with(b"APIC")).unwrap().1;
        let ids: Vec<u8> = madt[44..].chunks(8).take(254).map(|entry| entry[3]).collect();
        assert_eq!(ids, (0..=253).collect::<Vec<u8>>());
        // Behind them the I/O APIC.
        assert_eq!(madt[44 + 254 * 8..][..2], [1, 12]);
    }

    #[test]
    fn the_largest_machine_s_tables_fit_their_area() {
        let machine = Machine::new(1 << 30, 254).unwrap().with_board(Board::Q35);
        let machine = machine.with_devices(vec![Kind::Disk; DEVICES_MAX]).unwrap();
        let placement = tables(&machine, layout::ACPI);
        assert!(layout::ACPI.contains(placement.range), "{}", placement.range);
    }

    #[test]
    fn each_device_is_described_with_its_ports_and_its_interrupt() {
        let dsdt = |board| {
            let all = pieces(&machine().with_board(board));
            all.into_iter().find(|(_, t)| t.starts_with(b"DSDT")).unwrap().1
        };
        let has = |table: &[u8], part: &[u8]| table.windows(part.len()).any(|at| at == part);
        // Ports by an I/O descriptor, interrupts by an extended one: ACPI 6.5, 6.4.2.5 and
        // 6.4.3.6.
        let serial = b"COM1\x08_HID\x0c\x41\xd0\x05\x01\x08_UID\x00\x08_STA\x0a\x0f\
            \x08_CRS\x11\x16\x0a\x13\x47\x01\xf8\x03\xf8\x03\x01\x08\
            \x89\x06\x00\x03\x01\x04\x00\x00\x00\x79\x00";
        let pvpanic = b"PEVT\x08_HID\x0dQEMU0001\0\x08_STA\x0a\x0f\
            \x08_CRS\x11\x0d\x0a\x0a\x47\x01\x05\x05\x05\x05\x01\x01\x79\x00";
        let rtc = b"RTC_\x08_HID\x0c\x41\xd0\x0b\x00\x08_STA\x0a\x0f\
            \x08_CRS\x11\x16\x0a\x13\x47\x01\x70\x00\x70\x00\x01\x02\
            \x89\x06\x00\x03\x01\x08\x00\x00\x00\x79\x00";
        let (bare, q35) = (dsdt(Board::Bare), dsdt(Board::Q35));
        assert!(has(&bare, serial) && has(&bare, pvpanic), "{bare:x?}");
        assert!(has(&q35, serial) && has(&q35, pvpanic) && has(&q35, rtc), "{q35:x?}");
        assert!(!has(&bare, b"RTC_"), "{bare:x?}");
    }
}
