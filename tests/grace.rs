//! SIGTERM and `--grace`: the power button of guests of a few instructions.

use std::time::{Duration, Instant};

use firmware_less::machine::{PM1_POWER_BUTTON, port};
use iced_x86::{IcedError, code_asm::*};

use crate::support::{
    Scratch, engines,
    run::Running,
    tiny::{flush, guest, power_off, print, spin, write_port},
};

const SAID: &str = "the guest has";

/// Powers off when the button's line, IRQ 9, was up: the second 8259 remembers that.
fn obeys(a: &mut CodeAssembler) -> Result<(), IcedError> {
    const READ_REQUESTS: u8 = 0x0a;
    const SECOND_8259: u16 = 0xa0;
    const IRQ_9: u32 = 1 << 1;
    let mut waiting = a.create_label();
    // As the DSDT's methods do, for the board that has this register.
    a.mov(edx, u32::from(port::PM1_STATUS + 2))?;
    a.mov(eax, u32::from(PM1_POWER_BUTTON))?;
    a.out(dx, ax)?;
    print(a, "ready\n")?;
    flush(a)?;
    a.set_label(&mut waiting)?;
    write_port(a, SECOND_8259, READ_REQUESTS)?;
    a.in_(al, dx)?;
    a.test(al, IRQ_9)?;
    a.jz(waiting)?;
    power_off(a)
}

fn ignores(a: &mut CodeAssembler) -> Result<(), IcedError> {
    print(a, "ready\n")?;
    flush(a)?;
    spin(a)
}

/// A guest that is ready for what comes.
fn ready(
    engine: &str,
    grace: &str,
    code: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>,
) -> (Scratch, Running) {
    let scratch = Scratch::new();
    scratch.file("guest.efi", guest(code));
    let options = ["run", "--engine", engine, "--memory", "64M", "--grace", grace, "guest.efi"];
    let running = Running::ukivm(scratch.path(), options);
    running.wait_for("ready");
    (scratch, running)
}

#[test]
fn a_guest_that_powers_off_when_it_is_asked_to_ends_by_itself() {
    for engine in engines("a_guest_that_powers_off_when_it_is_asked_to_ends_by_itself") {
        let (_scratch, mut running) = ready(engine, "50", obeys);
        running.signal("-TERM");
        assert_eq!(running.status(), 0, "{engine}: {}", running.seen());
        assert!(running.seen().contains("terminated: the guest has 50 s to power off"));
    }
}

#[test]
fn a_guest_that_does_not_is_ended_when_its_time_is_over() {
    for engine in engines("a_guest_that_does_not_is_ended_when_its_time_is_over") {
        let (_scratch, mut running) = ready(engine, "700ms", ignores);
        let start = Instant::now();
        running.signal("-TERM");
        assert_eq!(running.status(), 143, "{engine}: {}", running.seen());
        assert!(start.elapsed() >= Duration::from_millis(700), "{engine}");
        assert!(running.seen().contains("the guest has 0.7 s to power off"));
        assert!(running.descendants().is_empty());
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for engine in engines("a_second_signal_ends_it_at_once") {
        for (second, status) in [("-TERM", 143), ("-INT", 130)] {
            let (_scratch, mut running) = ready(engine, "1h", ignores);
            running.signal("-TERM");
            running.wait_for(SAID);
            running.signal(second);
            assert_eq!(running.status(), status, "{engine}: {}", running.seen());
        }
    }
}

#[test]
fn a_key_or_a_lost_terminal_gives_no_time() {
    for engine in engines("a_key_or_a_lost_terminal_gives_no_time") {
        let (_scratch, mut running) = ready(engine, "1h", obeys);
        running.signal("-INT");
        assert_eq!(running.status(), 130, "{engine}: {}", running.seen());
        assert!(!running.seen().contains(SAID));
    }
}

#[test]
fn no_grace_is_as_without() {
    for engine in engines("no_grace_is_as_without") {
        let (_scratch, mut running) = ready(engine, "0", obeys);
        running.signal("-TERM");
        assert_eq!(running.status(), 143, "{engine}: {}", running.seen());
        assert!(!running.seen().contains(SAID));
    }
}
