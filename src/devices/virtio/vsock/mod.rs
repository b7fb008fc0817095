//! virtio-vsock: sockets between guest and host, served here and not by the host's kernel.
//! Virtio 1.2, 5.10.
//!
//! What there is of it is what a guest needs to report: it connects to one port of the
//! host's, and is listened to. The host says nothing but what the protocol wants.

mod calls;
mod header;

use std::collections::VecDeque;

use virtio_bindings::virtio_ids::VIRTIO_ID_VSOCK;
use vm_memory::VolatileSlice;

use self::{calls::Calls, header::Header};
use super::{Broken, Chain, Device, Driver, Queue, Ready};

pub use header::HOST;

/// The guest's address: the first that is nobody else's. vsock(7).
pub const GUEST: u64 = 3;

/// What the guest hears, what it says, and events, of which there are none. As QEMU's have it
/// (hw/virtio/vhost-vsock-common.c).
const QUEUES: [u16; 3] = [128, 128, 128];
/// The longest payload of a packet: what Linux sends at most
/// (include/linux/virtio_vsock.h, `VIRTIO_VSOCK_MAX_PKT_BUF_SIZE`).
const PAYLOAD_MAX: usize = 1 << 16;
/// How many answers may wait for the guest to make room for them; until then nothing more
/// is taken from it.
const ANSWERS_MAX: usize = 64;

/// Whoever is called.
pub trait Listener: Send {
    /// The guest said that, from its port `caller`.
    fn heard(&mut self, caller: u32, bytes: &[u8]);
    /// That connection has ended; its number may come again, for another.
    fn ended(&mut self, caller: u32);
}

/// The device.
#[derive(Debug)]
pub struct Vsock {
    calls: Calls,
    answers: VecDeque<Header>,
    config: [u8; 8],
}

impl Vsock {
    /// A device whose guest can call the host at `port`, where `listener` is.
    #[must_use]
    pub fn new(port: u32, listener: Box<dyn Listener>) -> Self {
        let calls = Calls::new(GUEST, port, listener);
        Self { calls, answers: VecDeque::new(), config: GUEST.to_le_bytes() }
    }

    fn serve_until_stopped(&mut self, driver: &mut Driver) -> Result<(), Broken> {
        while !driver.is_stopping() {
            let [rx, tx, ..] = driver.queues.as_mut_slice() else { return Err(Broken) };
            self.take(tx)?;
            self.answer(rx)?;
            // Where answers wait for room, that is what is waited for.
            let has_room = !self.answers.is_empty() && rx.listen()?;
            let has_more = self.answers.len() < ANSWERS_MAX && tx.listen()?;
            if !has_room && !has_more && driver.wait() == Ready::Stop {
                break;
            }
        }
        Ok(())
    }

    /// Takes packets from the guest, as many as there is room for answers to.
    fn take(&mut self, tx: &mut Queue) -> Result<(), Broken> {
        let mut any = false;
        // Not for ever: others may want the device to stop.
        for _ in self.answers.len()..ANSWERS_MAX {
            let Some(chain) = tx.take()? else { break };
            let head = chain.head();
            let (header, payload) = packet(chain)?;
            self.answers.extend(self.calls.take(&header, &payload));
            tx.used(head, 0)?;
            any = true;
        }
        if any { tx.tell() } else { Ok(()) }
    }

    /// Gives answers to the guest, as far as it has made room for them.
    fn answer(&mut self, rx: &mut Queue) -> Result<(), Broken> {
        let mut any = false;
        while let Some(answer) = self.answers.front() {
            let Some(chain) = rx.take()? else { break };
            let head = chain.head();
            let bytes = answer.bytes();
            fill(&chain.buffers().ok_or(Broken)?.writable, &bytes)?;
            self.answers.pop_front();
            rx.used(head, u32::try_from(bytes.len()).map_err(|_too_long| Broken)?)?;
            any = true;
        }
        if any { rx.tell() } else { Ok(()) }
    }
}

impl Device for Vsock {
    fn id(&self) -> u32 {
        VIRTIO_ID_VSOCK
    }

    fn name(&self) -> &'static str {
        "vsock"
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUES
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn serve(&mut self, driver: &mut Driver) -> Result<(), Broken> {
        let served = self.serve_until_stopped(driver);
        self.answers.clear();
        self.calls.hang_up_all();
        served
    }
}

/// A packet as it was when it was looked at.
fn packet(chain: Chain<'_>) -> Result<(Header, Vec<u8>), Broken> {
    let readable = chain.buffers().ok_or(Broken)?.readable;
    let mut bytes = Vec::new();
    for slice in readable {
        let room = (header::LEN + PAYLOAD_MAX).saturating_sub(bytes.len());
        let wanted = slice.len().min(room);
        let mut piece = vec![0_u8; wanted];
        let copied = slice.copy_to(piece.as_mut_slice());
        bytes.extend(piece.into_iter().take(copied));
    }
    let (header, payload) = bytes.split_first_chunk().ok_or(Broken)?;
    let header = Header::parse(header);
    let len = usize::try_from(header.len).map_err(|_too_long| Broken)?;
    Ok((header, payload.get(..len).unwrap_or(payload).to_vec()))
}

/// Puts `bytes` into `buffers`, which must have room for all.
fn fill(buffers: &[VolatileSlice<'_>], bytes: &[u8]) -> Result<(), Broken> {
    let mut rest = bytes;
    for buffer in buffers {
        let (now, later) = rest.split_at(rest.len().min(buffer.len()));
        buffer.copy_from(now);
        rest = later;
    }
    if rest.is_empty() { Ok(()) } else { Err(Broken) }
}
