//! How a run ended, from what was seen of QEMU.

use std::{io, process::ExitStatus};

use firmware_less::machine::{SLEEP_CONTROL_BITS, SLEEP_CONTROL_S5};

use super::watch::Seen;
use crate::outcome::End;

/// How the run of a QEMU ended that ended as `status` says, having said `said`
/// on its error output.
pub(super) fn end(seen: &Seen, status: io::Result<ExitStatus>, said: &str) -> End {
    if let Some(end) = &seen.end {
        return end.clone();
    }
    let said = said.trim();
    let reason = match status {
        Ok(status) => match sleep_control(status) {
            // With a message it is QEMU's own failure, which has status 1.
            Some(value) if value == SLEEP_CONTROL_S5 || said.is_empty() => return slept(value),
            _ if said.is_empty() => format!("QEMU ended with {status} and said nothing"),
            _ => format!("QEMU ended with {status}: {said}{}", hint(said)),
        },
        Err(error) => format!("QEMU ended in an unknown way ({error}): {said}"),
    };
    End::EngineFailure { reason }
}

/// How to go on with a QEMU that can't confine itself.
fn hint(said: &str) -> &'static str {
    // system/vl.c: built without; system/qemu-seccomp.c: the host's kernel has none.
    let lacks = ["-sandbox support is not enabled", "failed to install seccomp"];
    if lacks.iter().any(|lack| said.contains(lack)) {
        "; another QEMU can (UKIVM_QEMU), --no-sandbox does without"
    } else {
        ""
    }
}

/// How a run ended whose guest wrote `value` to its sleep control register.
pub(super) fn slept(value: u8) -> End {
    match value & SLEEP_CONTROL_BITS {
        SLEEP_CONTROL_S5 => End::PowerOff,
        value => End::EngineFailure {
            reason: format!(
                "the guest wrote {value:#x} to its sleep control register, where QEMU can do \
                 nothing but end; only {SLEEP_CONTROL_S5:#x} is power-off"
            ),
        },
    }
}

/// What the guest wrote to its isa-debug-exit device, which makes of it an exit
/// status: twice that and one.
fn sleep_control(status: ExitStatus) -> Option<u8> {
    let code = u8::try_from(status.code()?).ok()?;
    (code & 1 == 1).then_some(code >> 1 & SLEEP_CONTROL_BITS)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;
    use crate::outcome::ResetBy;

    fn exited(code: i32, said: &str) -> End {
        end(&Seen::default(), Ok(ExitStatus::from_raw(code << 8)), said)
    }

    fn failure(reason: &str) -> End {
        End::EngineFailure { reason: reason.to_owned() }
    }

    #[test]
    fn power_off_is_told_by_the_exit_status() {
        assert_eq!(exited(105, ""), End::PowerOff);
        assert_eq!(exited(0x6b, ""), End::PowerOff, "a reserved bit does not count");
        assert_eq!(exited(105, "qemu: warning: slow\n"), End::PowerOff);
    }

    #[test]
    fn another_sleep_state_is_no_power_off() {
        let End::EngineFailure { reason } = exited((0x24 << 1) | 1, "") else {
            panic!("S1 is not power-off")
        };
        assert!(reason.starts_with("the guest wrote 0x24 to its sleep control register"));
    }

    #[test]
    fn what_the_guest_did_goes_before_how_qemu_ended() {
        let reset = End::Reset { by: ResetBy::Unknown };
        let seen = Seen { end: Some(reset.clone()), ..Seen::default() };
        assert_eq!(end(&seen, Ok(ExitStatus::from_raw(105 << 8)), ""), reset);
    }

    #[test]
    fn a_qemu_that_fails_is_quoted() {
        assert_eq!(
            exited(1, "qemu: -cpu nonesuch: no such CPU\n"),
            failure("QEMU ended with exit status: 1: qemu: -cpu nonesuch: no such CPU")
        );
        assert_eq!(
            end(&Seen::default(), Ok(ExitStatus::from_raw(9)), ""),
            failure("QEMU ended with signal: 9 (SIGKILL) and said nothing")
        );
    }
}
