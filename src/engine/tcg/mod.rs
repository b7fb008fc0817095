//! The TCG engine: QEMU's TCG as a CPU over our own plan.

#[expect(dead_code, reason = "the engine that runs it comes next")]
mod rom;

#[cfg(test)]
#[path = "../../../tests/support/cpu_state.rs"]
mod cpu_state;

pub use self::rom::Error as StateError;
