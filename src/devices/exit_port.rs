//! The exit port: the guest's own status.

use super::Effect;
use crate::outcome::End;

/// The first byte written is the status.
pub(super) fn write(data: &[u8]) -> Effect<'_> {
    match data {
        [status, ..] => Effect::End(End::Status { status: *status }),
        [] => Effect::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_the_byte_as_written() {
        for status in [0, 1, 63, 64, 255] {
            assert_eq!(write(&[status]), Effect::End(End::Status { status }));
        }
    }

    #[test]
    fn a_wider_write_gives_its_low_byte() {
        assert_eq!(write(&[7, 0, 0, 0]), Effect::End(End::Status { status: 7 }));
    }
}
