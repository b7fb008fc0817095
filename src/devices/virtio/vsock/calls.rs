//! [`Calls`]: the guest's connections to one port of the host's.

use std::collections::BTreeMap;

use super::{
    Listener,
    header::{HOST, Header, STREAM, op},
};

/// The most connections at a time; one more is refused.
const OPEN_MAX: usize = 64;
/// How much the guest may have under way in one connection. All is taken as it comes.
const WINDOW: u32 = 1 << 16;
/// SHUTDOWN: the guest will send no more. Virtio 1.2, 5.10.6.5.
const SENDS_NO_MORE: u32 = 1 << 1;

/// Connections to `port`, by the guest's ports.
pub(super) struct Calls {
    guest: u64,
    port: u32,
    /// How much was taken of each.
    open: BTreeMap<u32, u32>,
    listener: Box<dyn Listener>,
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { guest, port, open, .. } = self;
        f.debug_struct("Calls")
            .field("guest", guest)
            .field("port", port)
            .field("open", open)
            .finish_non_exhaustive()
    }
}

impl Calls {
    pub(super) fn new(guest: u64, port: u32, listener: Box<dyn Listener>) -> Self {
        Self { guest, port, open: BTreeMap::new(), listener }
    }

    /// Takes a packet of the guest's; what it is to be answered.
    pub(super) fn take(&mut self, header: &Header, payload: &[u8]) -> Option<Header> {
        if (header.src_cid, header.dst_cid) != (self.guest, HOST) {
            return None;
        }
        let is_ours = header.kind == STREAM && header.dst_port == self.port;
        let caller = header.src_port;
        match header.op {
            op::RST => {
                self.hang_up(caller);
                None
            }
            _ if !is_ours => Some(reply(header, op::RST, 0)),
            op::REQUEST if !self.open.contains_key(&caller) && self.open.len() < OPEN_MAX => {
                self.open.insert(caller, 0);
                Some(reply(header, op::RESPONSE, 0))
            }
            op::RW => Some(self.data(header, payload)),
            op::SHUTDOWN if header.flags & SENDS_NO_MORE == 0 => None,
            op::CREDIT_REQUEST => {
                let taken = *self.open.get(&caller)?;
                Some(reply(header, op::CREDIT_UPDATE, taken))
            }
            op::CREDIT_UPDATE if self.open.contains_key(&caller) => None,
            _ => {
                self.hang_up(caller);
                Some(reply(header, op::RST, 0))
            }
        }
    }

    /// All connections are gone: the guest has reset the device.
    pub(super) fn hang_up_all(&mut self) {
        for caller in std::mem::take(&mut self.open).into_keys() {
            self.listener.ended(caller);
        }
    }

    fn data(&mut self, header: &Header, payload: &[u8]) -> Header {
        let caller = header.src_port;
        let is_whole = usize::try_from(header.len).is_ok_and(|len| len == payload.len());
        if let Some(taken) = self.open.get_mut(&caller).filter(|_| is_whole) {
            *taken = taken.wrapping_add(header.len);
            self.listener.heard(caller, payload);
            reply(header, op::CREDIT_UPDATE, *taken)
        } else {
            self.hang_up(caller);
            reply(header, op::RST, 0)
        }
    }

    fn hang_up(&mut self, caller: u32) {
        if self.open.remove(&caller).is_some() {
            self.listener.ended(caller);
        }
    }
}

/// The answer to `header`, when that much was taken.
fn reply(header: &Header, op: u16, taken: u32) -> Header {
    Header {
        src_cid: HOST,
        dst_cid: header.src_cid,
        src_port: header.dst_port,
        dst_port: header.src_port,
        len: 0,
        kind: header.kind,
        op,
        flags: 0,
        buf_alloc: WINDOW,
        fwd_cnt: taken,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    const GUEST: u64 = 3;
    const PORT: u32 = 1234;

    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<String>>>);

    impl Listener for Heard {
        fn heard(&mut self, caller: u32, bytes: &[u8]) {
            let text = String::from_utf8_lossy(bytes);
            self.0.lock().unwrap().push(format!("{caller}: {text}"));
        }

        fn ended(&mut self, caller: u32) {
            self.0.lock().unwrap().push(format!("{caller} ended"));
        }
    }

    impl Heard {
        fn all(&self) -> Vec<String> {
            self.0.lock().unwrap().clone()
        }
    }

    fn calls() -> (Calls, Heard) {
        let heard = Heard::default();
        (Calls::new(GUEST, PORT, Box::new(heard.clone())), heard)
    }

    fn packet(op: u16) -> Header {
        Header {
            src_cid: GUEST,
            dst_cid: HOST,
            src_port: 7,
            dst_port: PORT,
            kind: STREAM,
            op,
            ..Header::default()
        }
    }

    fn answered(calls: &mut Calls, header: Header, payload: &[u8]) -> Option<(u16, u32)> {
        let len = u32::try_from(payload.len()).unwrap();
        let answer = calls.take(&Header { len: len.max(header.len), ..header }, payload)?;
        assert_eq!((answer.src_cid, answer.dst_cid), (HOST, GUEST));
        assert_eq!((answer.src_port, answer.dst_port), (header.dst_port, header.src_port));
        Some((answer.op, answer.fwd_cnt))
    }

    #[test]
    fn a_call_is_taken_heard_and_ended() {
        let (mut calls, heard) = calls();
        assert_eq!(answered(&mut calls, packet(op::REQUEST), b""), Some((op::RESPONSE, 0)));
        assert_eq!(answered(&mut calls, packet(op::RW), b"READY"), Some((op::CREDIT_UPDATE, 5)));
        assert_eq!(answered(&mut calls, packet(op::CREDIT_UPDATE), b""), None);
        assert_eq!(answered(&mut calls, packet(op::RW), b"=1"), Some((op::CREDIT_UPDATE, 7)));
        let asked = answered(&mut calls, packet(op::CREDIT_REQUEST), b"");
        assert_eq!(asked, Some((op::CREDIT_UPDATE, 7)));
        let half = Header { flags: 1, ..packet(op::SHUTDOWN) };
        assert_eq!(answered(&mut calls, half, b""), None);
        let shutdown = Header { flags: 2, ..packet(op::SHUTDOWN) };
        assert_eq!(answered(&mut calls, shutdown, b""), Some((op::RST, 0)));
        assert_eq!(answered(&mut calls, packet(op::RST), b""), None);
        assert_eq!(heard.all(), ["7: READY", "7: =1", "7 ended"]);
    }

    #[test]
    fn what_makes_no_sense_is_reset() {
        let (mut calls, heard) = calls();
        for wrong in [
            packet(op::RW),
            packet(op::RESPONSE),
            packet(op::CREDIT_UPDATE),
            packet(0),
            packet(0xffff),
            Header { dst_port: 1, ..packet(op::REQUEST) },
            Header { kind: 2, ..packet(op::REQUEST) },
        ] {
            assert_eq!(answered(&mut calls, wrong, b""), Some((op::RST, 0)), "{wrong:?}");
        }
        // Less came than is told of.
        answered(&mut calls, packet(op::REQUEST), b"");
        let short = Header { len: 9, ..packet(op::RW) };
        assert_eq!(answered(&mut calls, short, b"8 bytes."), Some((op::RST, 0)));
        // Twice the same.
        answered(&mut calls, packet(op::REQUEST), b"");
        assert_eq!(answered(&mut calls, packet(op::REQUEST), b""), Some((op::RST, 0)));
        assert_eq!(heard.all(), ["7 ended", "7 ended"]);
        assert!(calls.open.is_empty());
    }

    #[test]
    fn what_is_from_or_for_somebody_else_is_not_answered() {
        let (mut calls, _) = calls();
        for wrong in [
            Header { src_cid: 4, ..packet(op::REQUEST) },
            Header { dst_cid: 5, ..packet(op::REQUEST) },
            packet(op::CREDIT_REQUEST),
        ] {
            assert_eq!(calls.take(&wrong, b""), None, "{wrong:?}");
        }
        assert!(calls.open.is_empty());
    }

    #[test]
    fn there_are_no_more_calls_than_there_may_be() {
        let (mut calls, heard) = calls();
        for caller in 0..1000 {
            let request = Header { src_port: caller, ..packet(op::REQUEST) };
            let wanted = if caller < 64 { op::RESPONSE } else { op::RST };
            assert_eq!(answered(&mut calls, request, b""), Some((wanted, 0)));
        }
        calls.hang_up_all();
        assert_eq!(heard.all().len(), 64);
        assert_eq!(answered(&mut calls, packet(op::REQUEST), b""), Some((op::RESPONSE, 0)));
    }
}
