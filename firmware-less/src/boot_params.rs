//! `boot_params` as a person or a script reads it: the fields that say something.
//!
//! Names are the protocol's: Documentation/arch/x86/boot.rst and zero-page.rst.

use std::fmt;

use linux_loader::loader::bootparam::boot_params;
use serde::Serialize;
use vm_memory::ByteValued as _;

/// One field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Its offset in the page.
    pub offset: u16,
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: u64,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#05x} {:<20} {:#x}", self.offset, self.name, self.value)
    }
}

/// The fields of the page that `bytes` begin with; none where that is no page.
///
/// A field's two halves are given as one. Fields that are zero are left out.
#[must_use]
pub fn fields(bytes: &[u8]) -> Vec<Field> {
    let page = bytes.get(..size_of::<boot_params>()).unwrap_or_default();
    let Some(page) = boot_params::from_slice(page) else { return Vec::new() };
    let hdr = page.hdr;
    let wide = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    let field = |offset, name, value| Field { offset, name, value };
    let all = [
        field(0x002, "ext_mem_k", page.screen_info.ext_mem_k.into()),
        field(0x070, "acpi_rsdp_addr", page.acpi_rsdp_addr),
        field(0x1e0, "alt_mem_k", page.alt_mem_k.into()),
        field(0x1e8, "e820_entries", page.e820_entries.into()),
        field(0x1ef, "sentinel", page.sentinel.into()),
        field(0x1f1, "setup_sects", hdr.setup_sects.into()),
        field(0x1f4, "syssize", hdr.syssize.into()),
        field(0x1fe, "boot_flag", hdr.boot_flag.into()),
        field(0x202, "header", hdr.header.into()),
        field(0x206, "version", hdr.version.into()),
        field(0x210, "type_of_loader", hdr.type_of_loader.into()),
        field(0x211, "loadflags", hdr.loadflags.into()),
        field(0x214, "code32_start", hdr.code32_start.into()),
        field(0x218, "ramdisk_image", wide(hdr.ramdisk_image, page.ext_ramdisk_image)),
        field(0x21c, "ramdisk_size", wide(hdr.ramdisk_size, page.ext_ramdisk_size)),
        field(0x228, "cmd_line_ptr", wide(hdr.cmd_line_ptr, page.ext_cmd_line_ptr)),
        field(0x22c, "initrd_addr_max", hdr.initrd_addr_max.into()),
        field(0x230, "kernel_alignment", hdr.kernel_alignment.into()),
        field(0x234, "relocatable_kernel", hdr.relocatable_kernel.into()),
        field(0x235, "min_alignment", hdr.min_alignment.into()),
        field(0x236, "xloadflags", hdr.xloadflags.into()),
        field(0x238, "cmdline_size", hdr.cmdline_size.into()),
        field(0x248, "payload_offset", hdr.payload_offset.into()),
        field(0x24c, "payload_length", hdr.payload_length.into()),
        field(0x250, "setup_data", hdr.setup_data),
        field(0x258, "pref_address", hdr.pref_address),
        field(0x260, "init_size", hdr.init_size.into()),
        field(0x264, "handover_offset", hdr.handover_offset.into()),
        field(0x268, "kernel_info_offset", hdr.kernel_info_offset.into()),
    ];
    all.into_iter().filter(|field| field.value != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_one_value_and_zeros_are_silent() {
        let mut page = vec![0; 4096];
        page[0x218] = 0x10;
        page[0x0c0] = 0x01;
        let found = fields(&page);
        assert_eq!(found, [Field { offset: 0x218, name: "ramdisk_image", value: 0x1_0000_0010 }]);
        assert_eq!(found[0].to_string(), "0x218 ramdisk_image        0x100000010");
    }

    #[test]
    fn less_than_a_page_has_no_fields() {
        assert_eq!(fields(&[0xff; 4095]), []);
    }
}
