//! The ROM, read by a disassembler that is not ours.

use iced_x86::{Code, Decoder, DecoderOptions, Formatter as _, Mnemonic, NasmFormatter};

use super::{AFTER_MARK, LONG_MODE, PROTECTED_MODE, Part, REAL_MODE, RESET_VECTOR, boot_rom};
use crate::engine::tcg::cpu_state::cpu_state;

/// The instructions of `part`, up to and with the jump that leaves it.
fn disassembly(part: Part, bitness: u32) -> String {
    disassembly_of(&boot_rom(&cpu_state(), None, &[], false).unwrap(), part, bitness)
}

fn disassembly_of(rom: &[u8], part: Part, bitness: u32) -> String {
    let bytes = &rom[usize::from(part.offset)..][..usize::from(part.len)];
    let address = part.address().into();
    let mut formatter = NasmFormatter::new();
    let options = formatter.options_mut();
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_uppercase_hex(false);
    options.set_space_after_operand_separator(true);
    let mut text = String::new();
    for instruction in Decoder::with_ip(bitness, bytes, address, DecoderOptions::NONE) {
        formatter.format(&instruction, &mut text);
        text.push('\n');
        if instruction.mnemonic() == Mnemonic::Jmp && instruction.code() != Code::Jmp_rel8_16 {
            break;
        }
    }
    text
}

#[test]
fn the_rom_is_64_kib_and_starts_with_a_jump_at_the_reset_vector() {
    assert_eq!(boot_rom(&cpu_state(), None, &[], false).unwrap().len(), 0x1_0000);
    assert_eq!(disassembly(RESET_VECTOR, 16), "jmp 0xff00\n");
}

#[test]
fn real_mode_resets_the_second_time_and_goes_to_protected_mode_the_first() {
    assert_eq!(disassembly(REAL_MODE, 16), REAL_MODE_TEXT);
}

#[test]
fn protected_mode_sets_up_the_chipset_and_the_apic_before_paging() {
    assert_eq!(disassembly(PROTECTED_MODE, 32), PROTECTED_MODE_TEXT);
}

#[test]
fn long_mode_sets_all_that_the_plan_says_and_jumps() {
    assert_eq!(disassembly(LONG_MODE, 64), LONG_MODE_TEXT);
}

#[test]
fn a_mark_is_written_as_many_instructions_before_the_kernel_as_is_said() {
    let marking = boot_rom(&cpu_state(), Some(0x520), &[], false).unwrap();
    let text = disassembly_of(&marking, LONG_MODE, 64);
    let (before, after) = text.split_once("mov edx, 0x520\nout dx, al\n").unwrap();
    assert_eq!([before, after].concat(), LONG_MODE_TEXT);
    assert_eq!(after.lines().count(), usize::try_from(AFTER_MARK).unwrap());
}

#[test]
fn what_the_plan_has_where_the_rom_is_shown_is_in_the_rom() {
    let rom = boot_rom(&cpu_state(), None, b"_SM3_", false).unwrap();
    assert_eq!(&rom[0x7000..0x7006], b"_SM3_\0");
}

const REAL_MODE_TEXT: &str = "\
mov eax, 0x8000f840
mov dx, 0xcf8
out dx, eax
mov dx, 0xcfc
in eax, dx
cmp eax, 0x601
jne short 0xff21
mov dx, 0xcf9
mov al, 6
out dx, al
hlt
jmp short 0xff1e
o32 lgdt [cs:0x1000]
mov eax, cr0
or al, 1
mov cr0, eax
jmp dword 8:0x000f0000
";

const PROTECTED_MODE_TEXT: &str = "\
mov eax, 0x10
mov ds, eax
mov es, eax
mov ss, eax
mov edx, 0xcf8
mov eax, 0x8000f840
out dx, eax
mov edx, 0xcfc
mov eax, 0x601
out dx, eax
mov edx, 0xcf8
mov eax, 0x8000f844
out dx, eax
mov edx, 0xcfc
mov eax, 0x80
out dx, eax
mov dword [0xfee000f0], 0x10f
mov dword [0xfee00080], 0x10
mov dword [0xfee00350], 0x700
mov dword [0xfee00360], 0x400
mov eax, 0xff
out 0x21, al
out 0xa1, al
mov eax, 0x220
mov cr4, eax
fninit
fldcw [0xf1030]
ldmxcsr [0xf1038]
mov eax, 0xf4000
mov cr3, eax
mov ecx, 0xc0000080
mov eax, 0x100
mov edx, 0
wrmsr
mov eax, 0x80000011
mov cr0, eax
lgdt [0xf1008]
jmp 0x0010:0x000f0800
";

const LONG_MODE_TEXT: &str = "\
mov rax, 0x20
mov cr4, rax
mov ecx, 0xc0000080
mov eax, 0xd01
mov edx, 0
wrmsr
mov rax, 0x9000
mov cr3, rax
mov rax, 0x80000033
mov cr0, rax
mov ecx, 0x2ff
mov eax, 0x806
mov edx, 0
wrmsr
mov ecx, 0x1a0
rdmsr
or eax, 0x10001
or edx, 0
wrmsr
mov eax, 0x18
mov ds, eax
mov eax, 0x18
mov es, eax
mov eax, 0x18
mov ss, eax
mov eax, 0x20
mov fs, eax
mov eax, 0x28
mov gs, eax
mov ecx, 0xc0000100
mov eax, 0x12345000
mov edx, 0x7fff
wrmsr
mov ecx, 0xc0000101
mov eax, 0x12345678
mov edx, 0
wrmsr
mov eax, 0
lldt ax
mov eax, 0x40
ltr ax
lidt [0xf1020]
lgdt [0xf1010]
mov rsp, 0xf1040
popf
mov rax, 0x101010101010101
mov rbx, 0x202020202020202
mov rcx, 0x303030303030303
mov rdx, 0x404040404040404
mov rsi, 0x505050505050505
mov rdi, 0x606060606060606
mov rbp, 0x707070707070707
mov rsp, 0x808080808080808
mov r8, 0x909090909090909
mov r9, 0xa0a0a0a0a0a0a0a
mov r10, 0xb0b0b0b0b0b0b0b
mov r11, 0xc0c0c0c0c0c0c0c
mov r12, 0xd0d0d0d0d0d0d0d
mov r13, 0xe0e0e0e0e0e0e0e
mov r14, 0xf0f0f0f0f0f0f0f
mov r15, 0x8080808080808080
jmp qword [0xf1048]
";
