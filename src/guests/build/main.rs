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

use iced_x86::{
    BlockEncoderOptions, IcedError,
    code_asm::{CodeAssembler, CodeLabel},
};

fn main() {
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=src/kexec.rs");
    println!("cargo::rerun-if-changed=src/machine.rs");
    keep("kexec", &kexec::program());
    let probe::Probe { code, before, behind, setup, efi } = probe::probe();
    keep("probe", &code);
    keep("probe-before", &before);
    keep("probe-behind", &behind);
    keep("probe-setup", &setup);
    keep("probe-efi", efi.to_string().as_bytes());
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

/// The same, and where in it two labels came to be.
fn assemble_with(
    bitness: u32,
    code: impl FnOnce(&mut CodeAssembler, &mut [CodeLabel; 2]) -> Assembled,
) -> (Vec<u8>, [u64; 2]) {
    let mut assembler = CodeAssembler::new(bitness).expect("a bitness");
    let mut labels = [assembler.create_label(), assembler.create_label()];
    code(&mut assembler, &mut labels).expect("instructions that exist");
    let options = BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS;
    let result = assembler.assemble_options(0, options).expect("code that assembles");
    let places = labels.map(|label| result.label_ip(&label).expect("a label that was set"));
    (result.inner.code_buffer, places)
}
