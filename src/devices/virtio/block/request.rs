//! A request, from its buffers to its answer. Virtio 1.2, 5.2.6.

use std::io;

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_DISCARD,
    VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT,
    VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
};
use vm_memory::VolatileSlice;

use super::{
    Block, RANGE_SECTORS_MAX, RANGES_MAX, SECTOR, SERIAL_LEN,
    storage::{split, total},
};
use crate::devices::virtio::{Broken, Chain};

const HEADER_LEN: u64 = 16;
const RANGE_LEN: u64 = 16;

/// Why a request was not carried out, as its driver is told.
enum Refusal {
    /// It failed, or can't be.
    Error,
    /// There is no such request.
    Unsupported,
}

impl From<io::Error> for Refusal {
    fn from(_: io::Error) -> Self {
        Self::Error
    }
}

impl Block {
    /// Carries out a request and answers it; how many bytes were written to its buffers. A
    /// request with no room for an answer breaks the queue.
    pub(in super::super) fn answer(&mut self, chain: Chain<'_>) -> Result<u32, Broken> {
        let buffers = chain.buffers().ok_or(Broken)?;
        let room = total(&buffers.writable).checked_sub(1).ok_or(Broken)?;
        let (into, status) = split(&buffers.writable, room);
        let (header, from) = split(&buffers.readable, HEADER_LEN);
        let done = match bytes::<16>(&header) {
            Some(header) => self.carry_out(header, &into, &from),
            None => Err(Refusal::Error),
        };
        let (code, written) = match done {
            Ok(written) => (VIRTIO_BLK_S_OK, written),
            Err(Refusal::Error) => (VIRTIO_BLK_S_IOERR, 0),
            Err(Refusal::Unsupported) => (VIRTIO_BLK_S_UNSUPP, 0),
        };
        status.first().ok_or(Broken)?.copy_from(&[u8::try_from(code).unwrap_or(1)]);
        // Data and status are together what was written, or else only the status was.
        u32::try_from(written.saturating_add(1)).map_err(|_too_long| Broken)
    }

    fn carry_out(
        &mut self,
        header: [u8; 16],
        into: &[VolatileSlice<'_>],
        from: &[VolatileSlice<'_>],
    ) -> Result<u64, Refusal> {
        let [a, b, c, d, _, _, _, _, sector @ ..] = header;
        let sector = u64::from_le_bytes(sector);
        match u32::from_le_bytes([a, b, c, d]) {
            VIRTIO_BLK_T_IN => {
                let offset = self.place(sector, total(into))?;
                self.storage.read(offset, into)?;
                Ok(total(into))
            }
            VIRTIO_BLK_T_OUT => {
                self.check_writable()?;
                let offset = self.place(sector, total(from))?;
                self.storage.write(offset, from)?;
                Ok(0)
            }
            VIRTIO_BLK_T_FLUSH => {
                self.storage.flush()?;
                Ok(0)
            }
            VIRTIO_BLK_T_GET_ID => Ok(self.tell_serial(into)),
            VIRTIO_BLK_T_DISCARD if self.properties.discard => {
                self.each_range(from, |block, offset, len, _| block.storage.discard(offset, len))
            }
            VIRTIO_BLK_T_WRITE_ZEROES => self.each_range(from, |block, offset, len, flags| {
                let may_unmap = flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP != 0;
                block.storage.write_zeroes(offset, len, may_unmap)
            }),
            _ => Err(Refusal::Unsupported),
        }
    }

    fn check_writable(&self) -> Result<(), Refusal> {
        if self.properties.read_only { Err(Refusal::Error) } else { Ok(()) }
    }

    /// The offset of `len` bytes from `sector` on, which are whole sectors of the disk.
    fn place(&self, sector: u64, len: u64) -> Result<u64, Refusal> {
        let offset = sector.checked_mul(SECTOR).ok_or(Refusal::Error)?;
        let end = offset.checked_add(len).ok_or(Refusal::Error)?;
        let fits = len.is_multiple_of(SECTOR) && end <= self.storage.len();
        fits.then_some(offset).ok_or(Refusal::Error)
    }

    fn tell_serial(&self, into: &[VolatileSlice<'_>]) -> u64 {
        let mut left = self.properties.serial.as_slice();
        for slice in into {
            let (now, later) = left.split_at(slice.len().min(left.len()));
            slice.copy_from(now);
            left = later;
        }
        SERIAL_LEN.saturating_sub(left.len()) as u64
    }

    /// Does `work` for each range that the driver lists, once all are known to be right.
    fn each_range(
        &mut self,
        from: &[VolatileSlice<'_>],
        work: impl Fn(&mut Self, u64, u64, u32) -> io::Result<()>,
    ) -> Result<u64, Refusal> {
        self.check_writable()?;
        let len = total(from);
        if !len.is_multiple_of(RANGE_LEN) || !(1..=RANGES_MAX).contains(&len.div_euclid(RANGE_LEN))
        {
            return Err(Refusal::Error);
        }
        let mut ranges = Vec::new();
        let mut rest = from.to_vec();
        while !rest.is_empty() {
            let (first, behind) = split(&rest, RANGE_LEN);
            let (sector, sectors, flags) = range(bytes(&first).ok_or(Refusal::Error)?);
            if flags & !VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP != 0 {
                return Err(Refusal::Unsupported);
            }
            if sectors > RANGE_SECTORS_MAX {
                return Err(Refusal::Error);
            }
            let len = u64::from(sectors).saturating_mul(SECTOR);
            ranges.push((self.place(sector, len)?, len, flags));
            rest = behind;
        }
        for (offset, len, flags) in ranges.into_iter().filter(|(_, len, _)| *len > 0) {
            work(self, offset, len, flags)?;
        }
        Ok(0)
    }
}

/// The first sector, how many there are, and flags. Virtio 1.2, 5.2.6.
fn range(bytes: [u8; 16]) -> (u64, u32, u32) {
    let [s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3, flags @ ..] = bytes;
    (
        u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
        u32::from_le_bytes([n0, n1, n2, n3]),
        u32::from_le_bytes(flags),
    )
}

/// What `slices` hold, read once; nothing where they hold less.
fn bytes<const N: usize>(slices: &[VolatileSlice<'_>]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let mut at = 0_usize;
    for slice in slices {
        at = at.saturating_add(slice.copy_to(bytes.get_mut(at..)?));
    }
    (at == N).then_some(bytes)
}
