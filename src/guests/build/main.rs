//! Assembles the guests: a file for each, under its own name in `OUT_DIR`.
//!
//! A guest is a module here that gives its bytes, a line in [`main`], and a
//! constant in `src/lib.rs` that includes them. So the assembler is no part of the
//! program.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a guest that can't be assembled stops the build"
)]
#![expect(clippy::print_stdout, reason = "that is how cargo is told")]
#![expect(clippy::wildcard_imports, reason = "every register is an item of its own")]

mod kexec;
#[path = "../src/kexec.rs"]
#[expect(unreachable_pub, dead_code, reason = "it is a module of the library too")]
mod kexec_steps;
#[path = "../src/machine.rs"]
#[expect(unreachable_pub, reason = "it is a module of the library too")]
mod machine;
mod probe;

use std::{env, fs, path::Path};

use iced_x86::{IcedError, code_asm::CodeAssembler};

fn main() {
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=src/kexec.rs");
    println!("cargo::rerun-if-changed=src/machine.rs");
    keep("kexec", &kexec::program());
    keep("probe", &probe::code());
}

/// Leaves a guest's bytes where the library includes them from.
fn keep(name: &str, bytes: &[u8]) {
    let folder = env::var_os("OUT_DIR").expect("cargo says where");
    fs::write(Path::new(&folder).join(name), bytes).expect("a place for the guest");
}

/// Instructions that were put together, or why they could not be.
type Assembled = Result<(), IcedError>;

/// Position-independent code for processors of that kind.
fn assemble(bitness: u32, code: impl FnOnce(&mut CodeAssembler) -> Assembled) -> Vec<u8> {
    let mut assembler = CodeAssembler::new(bitness).expect("a bitness");
    code(&mut assembler).expect("instructions that exist");
    assembler.assemble(0).expect("code that assembles")
}
