//! QEMU's log of CPU resets (`-d cpu_reset`).

/// Whether a vCPU triple-faulted. Every other reset of the guest's own looks
/// the same over QMP.
pub(super) fn triple_fault(log: &str) -> bool {
    log.lines().any(|line| line == "Triple fault")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_triple_fault_is_a_line_of_its_own() {
        assert!(triple_fault("CPU Reset (CPU 0)\nEAX=00000000\nTriple fault\n"));
        assert!(!triple_fault("CPU Reset (CPU 0)\nEAX=00000000\n"));
        assert!(!triple_fault(""));
    }
}
