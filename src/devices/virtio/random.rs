//! virtio-rng: random numbers of the host's. Virtio 1.2, 5.4.

use rustix::rand::{GetRandomFlags, getrandom};
use virtio_bindings::virtio_ids::VIRTIO_ID_RNG;

use super::{Broken, Chain, Device, Driver};

const QUEUES: [u16; 1] = [8];
/// The most that a request gets, however much it asks for.
const AT_ONCE: usize = 4096;

/// A source of random numbers.
#[derive(Clone, Copy, Debug)]
pub struct Random;

impl Device for Random {
    fn id(&self) -> u32 {
        VIRTIO_ID_RNG
    }

    fn name(&self) -> &'static str {
        "random"
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUES
    }

    fn serve(&mut self, driver: &mut Driver) -> Result<(), Broken> {
        driver.answer_all(answer)
    }
}

fn answer(chain: Chain<'_>) -> Result<u32, Broken> {
    let mut bytes = [0; AT_ONCE];
    let mut given = 0_usize;
    for slice in chain.buffers().ok_or(Broken)?.writable {
        let wanted = slice.len().min(AT_ONCE.saturating_sub(given));
        let Some(bytes) = bytes.get_mut(..wanted).filter(|bytes| !bytes.is_empty()) else { break };
        // It gives all of so few, or nothing.
        let Ok(got) = getrandom(&mut *bytes, GetRandomFlags::empty()) else { break };
        slice.copy_from(bytes.get(..got).unwrap_or_default());
        given = given.saturating_add(got);
    }
    u32::try_from(given).map_err(|_too_long| Broken)
}
