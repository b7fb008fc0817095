//! Machine code, one instruction at a time: just those that the boot ROM needs.
//!
//! Each method appends the instruction it is named for. Opcodes are those of
//! Intel SDM vol. 2; `mod r/m` bytes are written out, because every operand
//! here is either an absolute address or a fixed register.

/// Instructions being written, to run from a known address.
#[derive(Debug, Default)]
pub(super) struct Code {
    bytes: Vec<u8>,
}

/// A general-purpose register, by its number in an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gpr {
    Rax = 0,
    Rcx = 1,
    Rdx = 2,
    Rbx = 3,
    Rsp = 4,
    Rbp = 5,
    Rsi = 6,
    Rdi = 7,
    R8 = 8,
    R9 = 9,
    R10 = 10,
    R11 = 11,
    R12 = 12,
    R13 = 13,
    R14 = 14,
    R15 = 15,
}

/// A control register, by its number in an instruction.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cr {
    Cr0 = 0,
    Cr3 = 3,
    Cr4 = 4,
}

/// A data segment register, by its number in an instruction.
#[derive(Clone, Copy, Debug)]
pub(super) enum DataSegment {
    Es = 0,
    Ss = 2,
    Ds = 3,
    Fs = 4,
    Gs = 5,
}

/// What runs in real mode.
impl Code {
    /// `jmp rel16` from `here`, the offset of this instruction, to `target`.
    pub(super) fn jmp_near16(&mut self, here: u16, target: u16) -> &mut Self {
        const LEN: u16 = 3;
        let rel = target.wrapping_sub(here).wrapping_sub(LEN);
        self.op(&[0xe9]).op(&rel.to_le_bytes())
    }

    /// `mov eax, imm32`.
    pub(super) fn mov_eax_from16(&mut self, value: u32) -> &mut Self {
        self.op(&[0x66, 0xb8]).op(&value.to_le_bytes())
    }

    /// `mov dx, imm16`.
    pub(super) fn mov_dx16(&mut self, value: u16) -> &mut Self {
        self.op(&[0xba]).op(&value.to_le_bytes())
    }

    /// `out dx, eax`.
    pub(super) fn out_dx_eax_from16(&mut self) -> &mut Self {
        self.op(&[0x66, 0xef])
    }

    /// `in eax, dx`.
    pub(super) fn in_eax_dx_from16(&mut self) -> &mut Self {
        self.op(&[0x66, 0xed])
    }

    /// `cmp eax, imm32`.
    pub(super) fn cmp_eax_from16(&mut self, value: u32) -> &mut Self {
        self.op(&[0x66, 0x3d]).op(&value.to_le_bytes())
    }

    /// `jne` over `skipped`, which follows.
    pub(super) fn unless_equal(&mut self, skipped: &[u8]) -> &mut Self {
        debug_assert!(skipped.len() < 0x80, "a short jump");
        #[expect(clippy::cast_possible_truncation, reason = "a few bytes")]
        self.op(&[0x75, skipped.len() as u8]).op(skipped)
    }

    /// `o32 lgdt cs:[offset]`: all 32 bits of the base.
    pub(super) fn lgdt_cs16(&mut self, offset: u16) -> &mut Self {
        self.op(&[0x66, 0x2e, 0x0f, 0x01, 0x16]).op(&offset.to_le_bytes())
    }

    /// `or al, imm8`.
    pub(super) fn or_al(&mut self, bits: u8) -> &mut Self {
        self.op(&[0x0c, bits])
    }

    /// `o32 jmp selector:offset`, from 16-bit code.
    pub(super) fn jmp_far_from16(&mut self, selector: u16, offset: u32) -> &mut Self {
        self.op(&[0x66]).jmp_far(selector, offset)
    }
}

/// What runs in 32-bit protected mode; addresses are absolute.
impl Code {
    /// `jmp selector:offset`.
    pub(super) fn jmp_far(&mut self, selector: u16, offset: u32) -> &mut Self {
        self.op(&[0xea]).op(&offset.to_le_bytes()).op(&selector.to_le_bytes())
    }

    /// `mov dword [address], value`.
    pub(super) fn store32(&mut self, address: u32, value: u32) -> &mut Self {
        self.op(&[0xc7, 0x05]).op(&address.to_le_bytes()).op(&value.to_le_bytes())
    }

    /// `lgdt [address]`.
    pub(super) fn lgdt32(&mut self, address: u32) -> &mut Self {
        self.op(&[0x0f, 0x01, 0x15]).op(&address.to_le_bytes())
    }

    /// `fninit`.
    pub(super) fn fninit(&mut self) -> &mut Self {
        self.op(&[0xdb, 0xe3])
    }

    /// `fldcw [address]`.
    pub(super) fn fldcw32(&mut self, address: u32) -> &mut Self {
        self.op(&[0xd9, 0x2d]).op(&address.to_le_bytes())
    }

    /// `ldmxcsr [address]`.
    pub(super) fn ldmxcsr32(&mut self, address: u32) -> &mut Self {
        self.op(&[0x0f, 0xae, 0x15]).op(&address.to_le_bytes())
    }

    /// `out imm8, al`.
    pub(super) fn out_al(&mut self, port: u8) -> &mut Self {
        self.op(&[0xe6, port])
    }

    /// `out dx, eax`.
    pub(super) fn out_dx_eax(&mut self) -> &mut Self {
        self.op(&[0xef])
    }
}

/// What reads the same in every mode that it is used in.
impl Code {
    /// `mov r32, imm32`, not for R8 and above; in 64-bit mode the upper half
    /// becomes zero.
    pub(super) fn mov32(&mut self, to: Gpr, value: u32) -> &mut Self {
        debug_assert!((to as u8) < 8, "r8d and above need a REX prefix");
        self.op(&[0xb8 | to as u8]).op(&value.to_le_bytes())
    }

    /// `mov eax, cr?`.
    pub(super) fn mov_from_cr(&mut self, cr: Cr) -> &mut Self {
        self.op(&[0x0f, 0x20, 0xc0 | (cr as u8) << 3])
    }

    /// `mov cr?, eax`, or `mov cr?, rax` in 64-bit mode.
    pub(super) fn mov_to_cr(&mut self, cr: Cr) -> &mut Self {
        self.op(&[0x0f, 0x22, 0xc0 | (cr as u8) << 3])
    }

    /// `mov ?s, eax`.
    pub(super) fn mov_to_segment(&mut self, segment: DataSegment) -> &mut Self {
        self.op(&[0x8e, 0xc0 | (segment as u8) << 3])
    }

    /// `or eax, imm32`.
    pub(super) fn or_eax(&mut self, bits: u32) -> &mut Self {
        self.op(&[0x0d]).op(&bits.to_le_bytes())
    }

    /// `or edx, imm32`.
    pub(super) fn or_edx(&mut self, bits: u32) -> &mut Self {
        self.op(&[0x81, 0xca]).op(&bits.to_le_bytes())
    }

    /// `rdmsr`: the register numbered by ECX, to EDX:EAX.
    pub(super) fn rdmsr(&mut self) -> &mut Self {
        self.op(&[0x0f, 0x32])
    }

    /// `wrmsr`: EDX:EAX to the register numbered by ECX.
    pub(super) fn wrmsr(&mut self) -> &mut Self {
        self.op(&[0x0f, 0x30])
    }
}

/// What runs in 64-bit mode; addresses are absolute and below 2 GiB.
impl Code {
    /// `out dx, al`.
    pub(super) fn out_dx_al64(&mut self) -> &mut Self {
        self.op(&[0xee])
    }

    /// `mov r64, imm64`.
    pub(super) fn mov64(&mut self, to: Gpr, value: u64) -> &mut Self {
        let number = to as u8;
        self.op(&[0x48 | number >> 3, 0xb8 | (number & 7)]).op(&value.to_le_bytes())
    }

    /// `lldt ax`.
    pub(super) fn lldt_ax(&mut self) -> &mut Self {
        self.op(&[0x0f, 0x00, 0xd0])
    }

    /// `ltr ax`.
    pub(super) fn ltr_ax(&mut self) -> &mut Self {
        self.op(&[0x0f, 0x00, 0xd8])
    }

    /// `lgdt [address]`.
    pub(super) fn lgdt64(&mut self, address: u32) -> &mut Self {
        self.op(&[0x0f, 0x01, 0x14, 0x25]).op(&address.to_le_bytes())
    }

    /// `lidt [address]`.
    pub(super) fn lidt64(&mut self, address: u32) -> &mut Self {
        self.op(&[0x0f, 0x01, 0x1c, 0x25]).op(&address.to_le_bytes())
    }

    /// `popfq`.
    pub(super) fn popfq(&mut self) -> &mut Self {
        self.op(&[0x9d])
    }

    /// `jmp qword [address]`.
    pub(super) fn jmp_indirect64(&mut self, address: u32) -> &mut Self {
        self.op(&[0xff, 0x24, 0x25]).op(&address.to_le_bytes())
    }
}

impl Code {
    /// The instructions so far.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn op(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }
}
