//! What a system says of itself by vsock, by guests whose only program says it: on both
//! engines the same.

use std::fs;

use firmware_less::uki::cpio::{RootFile, initrd};
use iced_x86::{IcedError, code_asm::*};

use crate::support::{Ran, Scratch, bed, built};

/// A program for Linux that calls the host at the port where ukivm listens (VMADDR_CID_HOST,
/// vsock(7)), says `text` and hangs up; its status is that of the call.
fn caller(text: &str) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let mut code = CodeAssembler::new(64).expect("64 is a bitness");
    calling(&mut code, text).expect("instructions that exist");
    let code = code.assemble(BASE + HEADERS).expect("code that assembles");
    let size = HEADERS + code.len() as u64;
    let mut program = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    // An executable for x86-64, version 1; where it begins; its program header.
    program.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    for word in [BASE + HEADERS, 64, 0] {
        program.extend(word.to_le_bytes());
    }
    program.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    // All of it, readable and executable.
    program.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for word in [0, BASE, BASE, size, size, 0x1000] {
        program.extend(word.to_le_bytes());
    }
    program.extend(code);
    program
}

fn calling(a: &mut CodeAssembler, text: &str) -> Result<(), IcedError> {
    const WRITE: i32 = 1;
    const SOCKET: i32 = 41;
    const CONNECT: i32 = 42;
    const EXIT: i32 = 60;
    const AF_VSOCK: i32 = 40;
    const PORT: u32 = 0x756b_6976;
    const HOST: u32 = 2;
    let (mut address, mut words, mut end) = (a.create_label(), a.create_label(), a.create_label());
    a.mov(eax, SOCKET)?;
    a.mov(edi, AF_VSOCK)?;
    a.mov(esi, 1)?;
    a.xor(edx, edx)?;
    a.syscall()?;
    a.mov(ebp, eax)?;
    a.mov(eax, CONNECT)?;
    a.mov(edi, ebp)?;
    a.lea(rsi, qword_ptr(address))?;
    a.mov(edx, 16)?;
    a.syscall()?;
    a.mov(ebx, eax)?;
    a.test(eax, eax)?;
    a.jne(end)?;
    a.mov(eax, WRITE)?;
    a.mov(edi, ebp)?;
    a.lea(rsi, qword_ptr(words))?;
    a.mov(edx, u32::try_from(text.len()).expect("a short text"))?;
    a.syscall()?;
    a.set_label(&mut end)?;
    a.neg(ebx)?;
    a.mov(edi, ebx)?;
    a.mov(eax, EXIT)?;
    a.syscall()?;
    a.set_label(&mut address)?;
    let port = [u32::try_from(AF_VSOCK).expect("small"), PORT, HOST, 0].map(u32::to_le_bytes);
    a.db(&port.concat())?;
    a.set_label(&mut words)?;
    a.db(text.as_bytes())
}

/// The arguments of a smoke test whose guest says that it is ready.
fn arguments(test: &str, scratch: &Scratch, engine: &str) -> Option<Vec<String>> {
    let image = built(test, "devices-6.12.efi")?.display().to_string();
    let say = caller("STATUS=all is well\nX_SYSTEMD_UNIT_ACTIVE=a.service\n");
    let end = caller("READY=1\n");
    // A hundred calls, so that numbers come again and queues are full at times.
    let script = b"
for n in 0 1 2 3 4 5 6 7 8 9; do
    for m in 0 1 2 3 4 5 6 7 8 9; do /say || tell error=$?; done
done
tell called
/end
";
    let file = |name, content| RootFile { name, mode: 0o100_755, content };
    let files = [file("do", script), file("say", &say), file("end", &end)];
    let initrd = scratch.file("do.cpio", initrd(&files).expect("an archive"));
    let output = scratch.path().join("output");
    let arguments = [
        format!("smoke {image} --engine {engine} --timeout 100 --expect unit=a.service"),
        format!("--expect ready --initrd={} --output={}", initrd.display(), output.display()),
    ];
    Some(arguments.join(" ").split(' ').map(str::to_owned).collect())
}

fn assert_ready(scratch: &Scratch, ran: &Ran) {
    assert_eq!(ran.status, Some(0), "{ran:?}");
    for seen in ["the system says that it is ready", "the system says that a.service is active"] {
        assert!(ran.stdout.contains(seen) || ran.stderr.contains(seen), "{seen}: {ran:?}");
    }
    let console = fs::read_to_string(scratch.path().join("output/serial.log")).expect("a console");
    assert!(console.contains("ukivm-guest: called"), "{console}");
    assert!(!console.contains("error="), "{console}");
}

#[test]
fn guests_say_that_they_are_ready_on_tcg() {
    let scratch = Scratch::new();
    let test = "guests_say_that_they_are_ready_on_tcg";
    let Some(arguments) = arguments(test, &scratch, "tcg") else { return };
    assert_ready(&scratch, &scratch.ukivm(&arguments));
}

#[test]
fn guests_say_that_they_are_ready_on_kvm() {
    let scratch = Scratch::seen_in_the_bed();
    let test = "guests_say_that_they_are_ready_on_kvm";
    let Some(arguments) = arguments(test, &scratch, "kvm") else { return };
    let Some(ran) = bed::on_kvm_writing(test, &arguments, scratch.path()) else { return };
    assert_ready(&scratch, &ran);
}
