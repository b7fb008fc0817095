//! The names of what KVM exits and fails with.
//! Linux, Documentation/virt/kvm/api.rst, "The kvm_run structure".

use std::fmt::Write as _;

use super::vm::InternalError;

/// Names of the exit reasons, by number.
const EXITS: [&str; 40] = [
    "UNKNOWN",
    "EXCEPTION",
    "IO",
    "HYPERCALL",
    "DEBUG",
    "HLT",
    "MMIO",
    "IRQ_WINDOW_OPEN",
    "SHUTDOWN",
    "FAIL_ENTRY",
    "INTR",
    "SET_TPR",
    "TPR_ACCESS",
    "S390_SIEIC",
    "S390_RESET",
    "DCR",
    "NMI",
    "INTERNAL_ERROR",
    "OSI",
    "PAPR_HCALL",
    "S390_UCONTROL",
    "WATCHDOG",
    "S390_TSCH",
    "EPR",
    "SYSTEM_EVENT",
    "S390_STSI",
    "IOAPIC_EOI",
    "HYPERV",
    "ARM_NISV",
    "X86_RDMSR",
    "X86_WRMSR",
    "DIRTY_RING_FULL",
    "AP_RESET_HOLD",
    "X86_BUS_LOCK",
    "XEN",
    "RISCV_SBI",
    "RISCV_CSR",
    "NOTIFY",
    "LOONGARCH_IOCSR",
    "MEMORY_FAULT",
];

/// Names of the internal errors, by number from 1.
const SUBERRORS: [&str; 4] =
    ["emulation failure", "simultaneous exceptions", "event delivery", "unexpected exit reason"];

/// KVM_INTERNAL_ERROR_EMULATION, and its flag that says that the data hold the
/// instruction.
const EMULATION: u32 = 1;
const HAS_INSTRUCTION: u64 = 1;

/// The name of an exit reason.
pub(super) fn exit_name(reason: u32) -> String {
    match EXITS.get(reason as usize) {
        Some(name) => format!("KVM_EXIT_{name}"),
        None => format!("KVM exit {reason}"),
    }
}

/// An internal error in words.
pub(super) fn internal_error(error: &InternalError) -> String {
    let number = error.suberror as usize;
    let name = number.checked_sub(1).and_then(|at| SUBERRORS.get(at)).unwrap_or(&"unknown kind");
    format!("KVM internal error, {name} (suberror {number})")
}

/// The data that came with an internal error, if any.
pub(super) fn internal_error_data(error: &InternalError) -> Option<String> {
    let data = error.data.get(..error.data_len)?;
    if let (EMULATION, [flags, instruction @ ..]) = (error.suberror, data)
        && flags & HAS_INSTRUCTION != 0
    {
        return Some(format!("instruction: {}", instruction_bytes(instruction)));
    }
    let words = data.iter().map(|word| format!("{word:#x}")).collect::<Vec<_>>();
    (!words.is_empty()).then(|| format!("data: {}", words.join(" ")))
}

/// The length of the instruction in one byte, then its bytes.
fn instruction_bytes(data: &[u64]) -> String {
    let mut bytes = data.iter().flat_map(|word| word.to_le_bytes());
    let len = bytes.next().unwrap_or(0);
    hex(bytes.take(len.into()))
}

/// Bytes as a kernel oops prints them.
pub(super) fn hex(bytes: impl IntoIterator<Item = u8>) -> String {
    let mut text = String::new();
    for byte in bytes {
        let space = if text.is_empty() { "" } else { " " };
        write!(text, "{space}{byte:02x}").unwrap_or_else(|_| unreachable!("a String grows"));
    }
    text
}

#[cfg(test)]
mod tests {
    use kvm_bindings::{KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_MEMORY_FAULT, KVM_EXIT_SHUTDOWN};

    use super::*;

    fn error(suberror: u32, words: &[u64]) -> InternalError {
        let mut data = [0; 16];
        data[..words.len()].copy_from_slice(words);
        InternalError { suberror, data, data_len: words.len() }
    }

    #[test]
    fn exits_have_the_kernels_names() {
        assert_eq!(exit_name(KVM_EXIT_SHUTDOWN), "KVM_EXIT_SHUTDOWN");
        assert_eq!(exit_name(KVM_EXIT_INTERNAL_ERROR), "KVM_EXIT_INTERNAL_ERROR");
        assert_eq!(exit_name(KVM_EXIT_MEMORY_FAULT), "KVM_EXIT_MEMORY_FAULT");
        assert_eq!(exit_name(1000), "KVM exit 1000");
    }

    #[test]
    fn an_emulation_failure_shows_the_instruction() {
        let fxsave64 = [0x04_u8, 0x48, 0x0f, 0xae, 0x00, 0x90, 0x90, 0x90];
        let error = error(1, &[1, u64::from_le_bytes(fxsave64), 0]);
        assert_eq!(internal_error(&error), "KVM internal error, emulation failure (suberror 1)");
        assert_eq!(internal_error_data(&error).unwrap(), "instruction: 48 0f ae 00");
    }

    #[test]
    fn other_internal_errors_show_their_data() {
        let error = error(3, &[0x8000_0b0e, 0x20]);
        assert_eq!(internal_error(&error), "KVM internal error, event delivery (suberror 3)");
        assert_eq!(internal_error_data(&error).unwrap(), "data: 0x80000b0e 0x20");
    }

    #[test]
    fn an_internal_error_without_data_says_no_more() {
        assert_eq!(internal_error_data(&error(9, &[])), None);
        assert_eq!(internal_error(&error(9, &[])), "KVM internal error, unknown kind (suberror 9)");
    }
}
