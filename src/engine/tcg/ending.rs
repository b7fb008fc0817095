//! How a run ended, from what was seen of QEMU.

use std::{io, process::ExitStatus};

use firmware_less::machine::SLEEP_CONTROL_S5;

use super::watch::Seen;
use crate::outcome::End;

/// QEMU's exit status after the guest wrote [`SLEEP_CONTROL_S5`] to the
/// isa-debug-exit device: twice that and one.
const POWERED_OFF: i32 = (SLEEP_CONTROL_S5 as i32) << 1 | 1;

/// How the run of a QEMU ended that ended as `status` says, having said `said`
/// on its error output.
pub(super) fn end(seen: &Seen, status: io::Result<ExitStatus>, said: &str) -> End {
    if let Some(end) = &seen.end {
        return end.clone();
    }
    let ended = match status {
        Ok(status) if status.code() == Some(POWERED_OFF) => return End::PowerOff,
        Ok(status) => status.to_string(),
        Err(error) => format!("unknown status ({error})"),
    };
    let said = match said.trim() {
        "" => "it said nothing",
        said => said,
    };
    End::EngineFailure { reason: format!("QEMU ended with {ended}: {said}") }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;
    use crate::outcome::ResetBy;

    fn exited(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    fn failure(reason: &str) -> End {
        End::EngineFailure { reason: reason.to_owned() }
    }

    #[test]
    fn power_off_is_told_by_the_exit_status() {
        assert_eq!(end(&Seen::default(), Ok(exited(105)), ""), End::PowerOff);
    }

    #[test]
    fn what_the_guest_did_goes_before_how_qemu_ended() {
        let reset = End::Reset { by: ResetBy::Unknown };
        let seen = Seen { end: Some(reset.clone()), ..Seen::default() };
        assert_eq!(end(&seen, Ok(exited(105)), ""), reset);
    }

    #[test]
    fn a_qemu_that_fails_is_quoted() {
        assert_eq!(
            end(
                &Seen::default(),
                Ok(exited(1)),
                "qemu-system-x86_64: -cpu nonesuch: no such CPU\n"
            ),
            failure(
                "QEMU ended with exit status: 1: qemu-system-x86_64: -cpu nonesuch: no such CPU"
            )
        );
        assert_eq!(
            end(&Seen::default(), Ok(ExitStatus::from_raw(9)), ""),
            failure("QEMU ended with signal: 9 (SIGKILL): it said nothing")
        );
    }
}
