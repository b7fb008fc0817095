//! The guests: each a way to end.

use firmware_less::machine::{PVPANIC_PANICKED, port};
use iced_x86::{IcedError, code_asm::*};

use crate::support::{
    Scratch,
    tiny::{
        chatter, configured_guest, flush, guest, halt, idle, power_off, print, spin, triple_fault,
        write_port,
    },
};

/// What a kernel prints that starts init.
pub(crate) const UP: &str = "[    0.500000] Run /init as init process\r\nhello\r\n";

/// A panic as the kernel prints it.
pub(crate) const PANIC: &str = "\
[    1.250000] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\r
[    1.250100] CPU: 0 UID: 0 PID: 1 Comm: init Not tainted 6.12.0 #1\r
[    1.250200] Call Trace:\r
[    1.250300]  <TASK>\r
[    1.250400]  panic+0x118/0x2f0\r
[    1.250500]  </TASK>\r
[    1.250900] ---[ end Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100 ]---\r
";

const OOPS: &str = "\
hello\r
[    2.000000] ------------[ cut here ]------------\r
[    2.000000] BUG: unable to handle page fault for address: 0000000000000010\r
[    2.000000] Oops: 0002 [#1] SMP\r
[    2.000000] RIP: 0010:broken_init+0xa/0x1000 [broken]\r
[    2.000000] ---[ end trace 0000000000000000 ]---\r
";

/// How a kernel says that it was configured.
const WITHOUT_8250: &str = "\
#
# Automatically generated file; DO NOT EDIT.
#
CONFIG_PRINTK=y
CONFIG_SERIAL_8250=m
";

/// How many bytes the flood has before its end.
pub(crate) const FLOOD: usize = 200_000;

/// Writes the guest of that name to `NAME.efi`.
pub(crate) fn write(scratch: &Scratch, name: &str) {
    let uki = match name {
        "up" => says(UP, power_off),
        "up-and-on" => says(UP, halt),
        "hello" => says("hello\r\nworld\r\n", power_off),
        "repeats" => says("[    0.000000] Command line: quiet ready\r\n", power_off),
        "login" => says("debian login: ", halt),
        "status-0" => status(0),
        "status-7" => status(7),
        "status-200" => status(200),
        // It announces itself on the port before it prints anything.
        "panic" => guest(|a| {
            write_port(a, port::PVPANIC, PVPANIC_PANICKED)?;
            print(a, PANIC)?;
            spin(a)
        }),
        "pvpanic" => guest(|a| {
            write_port(a, port::PVPANIC, PVPANIC_PANICKED)?;
            write_port(a, port::RESET, 6)
        }),
        "says-it-and-panics" => says(&format!("hello\r\n{PANIC}"), spin),
        "triple-fault" => says("hello\r\n", triple_fault),
        "oops" => says(OOPS, power_off),
        "emergency" => says("You are in emergency mode. After logging in, type\r\n", halt),
        "halt" => guest(halt),
        "halt-without-8250" => configured_guest(WITHOUT_8250, halt),
        "idle" => guest(idle),
        "up-and-idle" => says(UP, idle),
        "now-and-then" => says("hello\r\n", now_and_then),
        "has-a-table" => guest(has_a_table),
        "posts-and-halts" => guest(|a| {
            write_port(a, 0x80, 0x5a)?;
            halt(a)
        }),
        "spin" => guest(spin),
        "chatter" => guest(chatter),
        "boots-for-ever" => guest(boots_for_ever),
        "reset" => says(UP, |a| write_port(a, port::RESET, 6)),
        "flood" => guest(flood),
        _ => panic!("no guest {name}"),
    };
    scratch.file(&format!("{name}.efi"), uki);
}

/// A guest that prints `text` and then does what `end` says.
pub(crate) fn says(
    text: &str,
    end: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>,
) -> Vec<u8> {
    guest(|a| {
        print(a, text)?;
        flush(a)?;
        end(a)
    })
}

fn status(status: u8) -> Vec<u8> {
    says("hello\r\n", |a| write_port(a, port::EXIT, status))
}

/// A kernel that never starts init.
fn boots_for_ever(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut again = a.create_label();
    a.set_label(&mut again)?;
    print(a, "[    0.100000] still booting\r\n")?;
    a.jmp(again)
}

/// Ends with status 7 or powers off, as a clock says that ticks a thousand times in the
/// time between two runs.
fn now_and_then(a: &mut CodeAssembler) -> Result<(), IcedError> {
    const TICK: u32 = 1 << 10;
    let mut well = a.create_label();
    a.rdtsc()?;
    a.test(eax, TICK)?;
    a.jz(well)?;
    write_port(a, port::EXIT, 7)?;
    a.set_label(&mut well)?;
    power_off(a)
}

/// Loads an interrupt descriptor table in which page faults are handled 2 MiB below
/// where [`SYSTEM_MAP`] says, and spins.
fn has_a_table(a: &mut CodeAssembler) -> Result<(), IcedError> {
    /// Where nothing was placed: the kernel is at the end of memory.
    const TABLE: u64 = 0x200_0000;
    const LIMIT_AND_BASE: u64 = TABLE - 16;
    /// Present, an interrupt gate, to 0x10:0x1000.
    const GATE: u64 = 0x8e00_0010_1000;
    for (address, value) in [
        (TABLE + 14 * 16, GATE),
        (TABLE + 14 * 16 + 8, 0),
        (LIMIT_AND_BASE, TABLE << 16 | 0xfff),
        (LIMIT_AND_BASE + 8, TABLE >> 48),
    ] {
        a.mov(rbx, address)?;
        a.mov(rax, value)?;
        a.mov(qword_ptr(rbx), rax)?;
    }
    a.mov(rbx, LIMIT_AND_BASE)?;
    a.lidt(ptr(rbx))?;
    spin(a)
}

/// A System.map that has the whole of that guest in one function.
pub(crate) const SYSTEM_MAP: &str = "\
0000000000201000 T asm_exc_page_fault
0000000000202000 T all_of_it
00000000ffffffff T _etext
";

/// A line without end, then a short one.
fn flood(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut again = a.create_label();
    a.mov(ecx, u32::try_from(FLOOD).expect("a small number"))?;
    a.mov(edx, u32::from(port::SERIAL))?;
    a.mov(eax, u32::from(b'x'))?;
    a.set_label(&mut again)?;
    a.out(dx, al)?;
    a.dec(ecx)?;
    a.jnz(again)?;
    print(a, "\r\nend\r\n")?;
    power_off(a)
}

/// A line of the pour.
pub(crate) const POURED: &str = "[    1.000000] 0123456789 the quick brown fox jumps over it\r\n";
/// How many lines one instruction pours.
pub(crate) const POURED_AT_ONCE: usize = 1024;

/// A guest that pours `times` times 1024 lines as fast as it can, and says so.
pub(crate) fn pours(times: u32) -> Vec<u8> {
    let lines = POURED.repeat(POURED_AT_ONCE);
    guest(|a| {
        let (mut text, mut again) = (a.create_label(), a.create_label());
        a.mov(ebx, times)?;
        a.cld()?;
        a.set_label(&mut again)?;
        a.lea(rsi, ptr(text))?;
        a.mov(ecx, u32::try_from(lines.len()).expect("a small number"))?;
        a.mov(edx, u32::from(port::SERIAL))?;
        a.rep().outsb()?;
        a.dec(ebx)?;
        a.jnz(again)?;
        print(a, "end\r\n")?;
        power_off(a)?;
        a.set_label(&mut text)?;
        a.db(lines.as_bytes())
    })
}
