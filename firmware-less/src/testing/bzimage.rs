//! Hand-made kernels.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use linux_loader::loader::bootparam::setup_header;
use vm_memory::ByteValued as _;

use super::put;

/// A bzImage that passes every check and boots nothing.
#[derive(Clone, Debug)]
pub struct BzImage {
    header: setup_header,
    version: &'static str,
    protected_mode: Vec<u8>,
    after: Vec<u8>,
    len: Option<usize>,
}

/// Where a kernel's version text is, if it has one.
const VERSION_AT: u16 = 0x400;

/// A small kernel with the header of a distribution's.
#[must_use]
pub fn bzimage() -> BzImage {
    let header = setup_header {
        setup_sects: 3,
        boot_flag: 0xaa55,
        // A jump over the rest of the header, to 0x26c.
        jump: 0x6aeb,
        header: u32::from_le_bytes(*b"HdrS"),
        version: 0x20f,
        loadflags: 1,
        code32_start: 0x10_0000,
        initrd_addr_max: 0x7fff_ffff,
        kernel_alignment: 2 << 20,
        relocatable_kernel: 1,
        min_alignment: 21,
        xloadflags: 0x7f,
        cmdline_size: 2047,
        payload_offset: 0x300,
        payload_length: 0x100,
        pref_address: 16 << 20,
        init_size: 3 << 20,
        ..setup_header::default()
    };
    BzImage { header, version: "", protected_mode: vec![0x90; 0x400], after: Vec::new(), len: None }
}

impl BzImage {
    /// The same kernel with a header that `edit` has changed.
    #[must_use]
    pub fn with(mut self, edit: impl FnOnce(&mut setup_header)) -> Self {
        edit(&mut self.header);
        self
    }

    /// The same kernel, saying that of its version.
    #[must_use]
    pub fn version(mut self, text: &'static str) -> Self {
        self.header.kernel_version = VERSION_AT - 0x200;
        self.version = text;
        self
    }

    /// The same kernel with other protected-mode code.
    #[must_use]
    pub fn protected_mode(mut self, code: impl Into<Vec<u8>>) -> Self {
        self.protected_mode = code.into();
        self
    }

    /// The same kernel with that, behind its code, as what its decompressor would unpack.
    #[must_use]
    pub fn payload(mut self, packed: &[u8]) -> Self {
        let number = |number: usize| number.try_into().expect("a kernel of at most 4 GiB");
        self.header.payload_offset = number(self.protected_mode.len());
        self.header.payload_length = number(packed.len());
        self.protected_mode.extend(packed);
        self
    }

    /// The same kernel with a kernel proper, not packed, that says that it was configured
    /// so (CONFIG_IKCONFIG).
    #[must_use]
    pub fn configured(self, config: &str) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(config.as_bytes()).expect("memory to write to");
        let packed = encoder.finish().expect("memory to write to");
        self.payload(&[b"\x7fELF", &b"IKCFG_ST"[..], &packed, b"IKCFG_ED"].concat())
    }

    /// The same kernel with something after it, as a signature is.
    #[must_use]
    pub fn followed_by(mut self, after: impl Into<Vec<u8>>) -> Self {
        self.after = after.into();
        self
    }

    /// The same kernel, cut short.
    #[must_use]
    pub fn cut_at(mut self, len: usize) -> Self {
        self.len = Some(len);
        self
    }

    /// Its bytes; `syssize` is counted unless it has been set.
    #[must_use]
    pub fn build(mut self) -> Vec<u8> {
        let sectors = if self.header.setup_sects == 0 { 4 } else { self.header.setup_sects };
        if self.header.syssize == 0 {
            let paragraphs = self.protected_mode.len().div_ceil(16);
            self.header.syssize = paragraphs.try_into().expect("a kernel of at most 64 GiB");
        }
        let mut image = vec![0; (usize::from(sectors) + 1) * 512];
        put(&mut image, 0x1f1, self.header.as_slice());
        put(&mut image, VERSION_AT.into(), self.version.as_bytes());
        image.extend(self.protected_mode);
        image.resize(image.len().next_multiple_of(16), 0);
        image.extend(self.after);
        image.truncate(self.len.unwrap_or(image.len()));
        image
    }
}
