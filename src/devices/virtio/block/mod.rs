//! virtio-blk: a disk. Virtio 1.2, 5.2.

mod overlay;
mod raw;
mod request;
mod storage;

use virtio_bindings::{
    virtio_blk::{
        VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_RO,
        VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_WRITE_ZEROES,
    },
    virtio_ids::VIRTIO_ID_BLOCK,
};

pub(super) use self::storage::split;
pub use self::{overlay::Overlay, raw::Raw, storage::Storage};
use super::{Broken, Device, Driver};

/// Bytes of a sector, in which a disk's driver counts.
pub const SECTOR: u64 = 512;
/// Bytes of a serial number. Virtio 1.2, 5.2.6.
pub const SERIAL_LEN: usize = 20;

const QUEUES: [u16; 1] = [256];
/// Buffers of data in a request, beside its header and its status.
const SEGMENTS_MAX: u32 = 254;
/// The most that is discarded, or made zero, by one range: 1 GiB.
const RANGE_SECTORS_MAX: u32 = 1 << 21;
/// The most ranges in a request.
const RANGES_MAX: u64 = 16;

/// A disk, on storage of any kind.
#[derive(Debug)]
pub struct Block {
    name: String,
    storage: Box<dyn Storage>,
    properties: Properties,
    config: Vec<u8>,
}

/// What a disk is to its driver, whatever holds its bytes.
#[derive(Clone, Debug, Default)]
pub struct Properties {
    /// It can't be written to.
    pub read_only: bool,
    /// What the driver discards is to be given back to the host.
    pub discard: bool,
    /// What it says of itself, zeros behind.
    pub serial: [u8; SERIAL_LEN],
}

impl Block {
    /// The disk number `number` of the machine.
    #[must_use]
    pub fn new(number: usize, storage: Box<dyn Storage>, properties: Properties) -> Self {
        let config = config(storage.len() / SECTOR);
        Self { name: format!("disk{number}"), storage, properties, config }
    }
}

impl Device for Block {
    fn id(&self) -> u32 {
        VIRTIO_ID_BLOCK
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn features(&self) -> u64 {
        let Properties { read_only, discard, .. } = self.properties;
        let bits = [
            (VIRTIO_BLK_F_SEG_MAX, true),
            (VIRTIO_BLK_F_BLK_SIZE, true),
            (VIRTIO_BLK_F_FLUSH, true),
            (VIRTIO_BLK_F_RO, read_only),
            (VIRTIO_BLK_F_DISCARD, discard && !read_only),
            (VIRTIO_BLK_F_WRITE_ZEROES, !read_only),
        ];
        bits.iter().filter(|(_, offered)| *offered).fold(0, |all, (bit, _)| all | 1 << bit)
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUES
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn serve(&mut self, driver: &mut Driver) -> Result<(), Broken> {
        driver.answer_all(|chain| self.answer(chain))
    }
}

/// The configuration of a disk of that many sectors. Virtio 1.2, 5.2.4.
fn config(sectors: u64) -> Vec<u8> {
    let mut config = vec![0; 60];
    let mut put = |at: usize, bytes: &[u8]| {
        for (to, from) in config.iter_mut().skip(at).zip(bytes) {
            *to = *from;
        }
    };
    put(0, &sectors.to_le_bytes());
    put(12, &SEGMENTS_MAX.to_le_bytes());
    put(20, &512_u32.to_le_bytes());
    for at in [36, 48] {
        put(at, &u64::from(RANGE_SECTORS_MAX).to_le_bytes()[..4]);
        put(at.saturating_add(4), &RANGES_MAX.to_le_bytes()[..4]);
    }
    // Discarded where it suits: 4 KiB. What is made zero may be given back.
    put(44, &8_u32.to_le_bytes());
    put(56, &[1]);
    config
}
