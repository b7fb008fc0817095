//! The structures: types 0, 1, 11 and 127. DSP0134 3.0, 6.1.2 and 7.

use super::OemStrings;

/// The most strings that one structure can count. 6.1.3.
const STRINGS_MAX: usize = u8::MAX as usize;

/// Structures, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Structures {
    bytes: Vec<u8>,
    next_handle: u16,
}

impl Structures {
    /// All of them, with `strings` in as many of type 11 as they need.
    pub(super) fn telling(strings: &OemStrings) -> Self {
        let mut structures = Self::default();
        structures.firmware();
        structures.system();
        for strings in strings.as_slice().chunks(STRINGS_MAX) {
            let strings: Vec<&[u8]> = strings.iter().map(Vec::as_slice).collect();
            let count = u8::try_from(strings.len()).unwrap_or(u8::MAX);
            structures.push(11, &[count], &strings);
        }
        structures.push(127, &[], &[]);
        structures
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// BIOS information. 7.1.
    ///
    /// That the system is a virtual machine is said here too, since this is where
    /// systemd looks first (src/basic/virt.c, `detect_vm_smbios`). Linux reads the
    /// year of the date, and distrusts machines from before 2001.
    fn firmware(&mut self) {
        const VENDOR: u8 = 1;
        const VERSION: u8 = 2;
        const DATE: u8 = 3;
        /// Bit 3: what follows in this word is not told.
        const NO_CHARACTERISTICS: u64 = 1 << 3;
        /// Second extension byte, bit 4.
        const VIRTUAL_MACHINE: u8 = 1 << 4;
        const NOT_TOLD: u8 = 0xff;
        let [c0, c1, c2, c3, c4, c5, c6, c7] = NO_CHARACTERISTICS.to_le_bytes();
        // Segment 0xf000; one unit of 64 KiB.
        let fields = [
            VENDOR,
            VERSION,
            0x00,
            0xf0,
            DATE,
            0,
            c0,
            c1,
            c2,
            c3,
            c4,
            c5,
            c6,
            c7,
            0,
            VIRTUAL_MACHINE,
            NOT_TOLD,
            NOT_TOLD,
            NOT_TOLD,
            NOT_TOLD,
        ];
        self.push(0, &fields, &[b"ukivm", b"none", b"01/01/2026"]);
    }

    /// System information. 7.2.
    ///
    /// No UUID (all zeros, 7.2.1): systemd would make a machine's identity of it, which
    /// all guests would share.
    fn system(&mut self) {
        const MANUFACTURER: u8 = 1;
        const PRODUCT: u8 = 2;
        const NONE: u8 = 0;
        const WOKEN_BY_POWER_SWITCH: u8 = 6;
        let mut fields = vec![MANUFACTURER, PRODUCT, NONE, NONE];
        fields.extend([0; 16]);
        fields.extend([WOKEN_BY_POWER_SWITCH, NONE, NONE]);
        self.push(1, &fields, &[b"ukivm", b"ukivm"]);
    }

    /// A structure of type `kind`: its header, its fields, its strings, each ended by
    /// a NUL, and one NUL more; two where there is no string. 6.1.3.
    fn push(&mut self, kind: u8, fields: &[u8], strings: &[&[u8]]) {
        const HEADER_LEN: usize = 4;
        let len = u8::try_from(fields.len().saturating_add(HEADER_LEN)).unwrap_or(u8::MAX);
        self.bytes.extend([kind, len]);
        self.bytes.extend(self.next_handle.to_le_bytes());
        self.next_handle = self.next_handle.saturating_add(1);
        self.bytes.extend(fields);
        for string in strings {
            self.bytes.extend(*string);
            self.bytes.push(0);
        }
        if strings.is_empty() {
            self.bytes.push(0);
        }
        self.bytes.push(0);
    }
}
