//! What a network card is plugged into.

use std::{
    fmt, io,
    os::fd::AsFd,
    sync::{Arc, Mutex},
};

use vm_memory::{VolatileSlice, WriteVolatile as _};

/// The header of a frame: whom it is for, whom it is from, and what it holds. IEEE 802.3.
pub const FRAME_MIN: usize = 14;
/// The longest frame: the most that an MTU can be, a header, and the tag of a VLAN.
pub const FRAME_MAX: usize = 0xffff + FRAME_MIN + 4;

/// The other end of a network card. Nothing here waits.
///
/// Frames that are too short, or too long, are lost on it, as on any wire; so is what is sent
/// when it is cut.
pub trait Wire: fmt::Debug + Send + AsFd {
    /// Takes a frame, which is on its way after [`Wire::flush`] at the latest.
    fn send(&mut self, frame: &[VolatileSlice<'_>]);

    /// Sends what it has taken, as far as there is room.
    fn flush(&mut self);

    /// Whether it takes another frame.
    fn has_room(&self) -> bool;

    /// Whether not all that it has taken is on its way.
    fn has_unsent(&self) -> bool;

    /// The next frame that came, until [`Wire::taken`] was called for it.
    fn next(&mut self) -> Option<&[u8]>;

    /// The frame that [`Wire::next`] gave is not needed any more.
    fn taken(&mut self);

    /// Whether nothing will come any more, nor can be sent.
    fn is_cut(&self) -> bool;
}

/// A wire that outlasts the card: a guest that starts anew is plugged into it again.
pub type SharedWire = Arc<Mutex<dyn Wire>>;

/// A frame out of pieces in guest memory, appended to `to`; whether it was, being neither too
/// short nor too long.
pub(super) fn gather(frame: &[VolatileSlice<'_>], to: &mut Vec<u8>) -> bool {
    let len = len(frame);
    if !(FRAME_MIN..=FRAME_MAX).contains(&len) {
        return false;
    }
    to.reserve(len);
    for slice in frame {
        // Nothing is made zero before: that was three quarters of all that a card executes.
        let Ok(_all) = to.write_volatile(slice) else { return false };
    }
    true
}

/// How many bytes `frame` has.
pub(super) fn len(frame: &[VolatileSlice<'_>]) -> usize {
    frame.iter().fold(0, |len, slice| len.saturating_add(slice.len()))
}

/// What is left of an attempt that may have come too early; an error cuts the wire.
pub(super) fn now(attempt: io::Result<usize>) -> Result<Option<usize>, io::Error> {
    match attempt {
        Ok(count) => Ok(Some(count)),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
            _ => Err(error),
        },
    }
}
