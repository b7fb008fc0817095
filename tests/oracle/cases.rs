//! What is asked of a real kexec, and of the plan.

use firmware_less::testing::bzimage;

/// The kernels that do it: their folder under `target/images/kernels`.
pub(super) const KERNELS: [&str; 3] = ["6.1", "6.12", "7"];

/// One hand-off.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) memory_mib: u64,
    pub(super) cmdline: String,
    pub(super) initrd_len: usize,
    pub(super) init_size: u32,
    /// Whether the machine has five-level paging, and so the first kernel uses it.
    pub(super) five_level: bool,
    /// Whether the machine has pages of 1 GiB, and so kexec uses them.
    pub(super) gib_pages: bool,
    /// Whether the kernel says that it can be entered with five-level paging.
    pub(super) allows_five_level: bool,
}

/// An odd number of bytes, so that the last page is not full.
const INITRD_LEN: usize = 200_077;
const MIB: u32 = 1 << 20;

impl Case {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            memory_mib: 512,
            cmdline: "console=ttyS0 probe=1".into(),
            initrd_len: INITRD_LEN,
            init_size: 3 * MIB,
            five_level: false,
            gib_pages: true,
            allows_five_level: true,
        }
    }

    fn mib(self, memory_mib: u64) -> Self {
        Self { memory_mib, ..self }
    }

    fn gib(self, memory: u64) -> Self {
        self.mib(memory << 10)
    }

    fn cmdline(self, cmdline: String) -> Self {
        Self { cmdline, ..self }
    }

    fn initrd(self, initrd_len: usize) -> Self {
        Self { initrd_len, ..self }
    }

    fn init_size(self, init_size: u32) -> Self {
        Self { init_size, ..self }
    }

    fn five_level(self) -> Self {
        Self { five_level: true, ..self }
    }

    fn without_gib_pages(self) -> Self {
        Self { gib_pages: false, ..self }
    }

    fn without_five_level(self) -> Self {
        Self { allows_five_level: false, ..self }
    }

    /// The kernel: it stays where it is entered. Fields that nobody reads are copied
    /// all the same, so they have values of their own.
    pub(super) fn kernel(&self) -> Vec<u8> {
        const ENTRY_64: usize = 0x200;
        const JUMP_TO_SELF: [u8; 2] = [0xeb, 0xfe];
        let mut code: Vec<u8> = noise(1).take(0x1_0000).collect();
        code[ENTRY_64..][..JUMP_TO_SELF.len()].copy_from_slice(&JUMP_TO_SELF);
        let kernel = bzimage().protected_mode(code).with(|header| {
            header.init_size = self.init_size;
            if !self.allows_five_level {
                header.xloadflags = 0x1f;
            }
            header.root_flags = 0x0102;
            header.ram_size = 0x0304;
            header.vid_mode = 0x0506;
            header.root_dev = 0x0708;
            header.start_sys_seg = 0x090a;
            header.kernel_version = 0x0b0c;
            header.heap_end_ptr = 0x0d0e;
            header.ext_loader_type = 0x0f;
            header.hardware_subarch = 0x1011_1213;
            header.hardware_subarch_data = 0x1415_1617_1819_1a1b;
        });
        kernel.build()
    }

    pub(super) fn initrd_bytes(&self) -> Vec<u8> {
        noise(2).take(self.initrd_len).collect()
    }
}

/// All hand-offs.
pub(super) fn cases() -> Vec<Case> {
    let long = |len: usize| "x".repeat(len);
    let case = Case::new;
    vec![
        case("plain"),
        case("no initrd").initrd(0),
        case("no command line").cmdline(String::new()),
        // From one to the other all that is behind it moves by 16 bytes.
        case("17 characters").cmdline(long(17)),
        case("18 characters").cmdline(long(18)),
        case("2016 characters").cmdline(long(2016)),
        case("2017 characters").cmdline(long(2017)),
        case("2047 characters").cmdline(long(2047)),
        case("4000 characters").cmdline(long(4000)),
        case("an initrd below the kernel").initrd(7 << 20).init_size(0x3c3_b000),
        case("more than half of RAM").mib(128).initrd(8 << 20).init_size(0x3c3_b000),
        case("2 GiB").gib(2),
        case("6 GiB").gib(6),
        case("6 GiB, no initrd, no 1 GiB pages").gib(6).initrd(0).without_gib_pages(),
        case("five levels").five_level(),
        case("five levels, 6 GiB").gib(6).five_level(),
        case("five levels, which the kernel can't").five_level().without_five_level(),
        case("four levels, and a kernel that can't five").without_five_level(),
    ]
}

/// Bytes without a pattern, the same ones each time.
fn noise(seed: u32) -> impl Iterator<Item = u8> {
    let step = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    std::iter::successors(Some(seed), step).map(|state| state.to_be_bytes()[0])
}
