//! [`Seal`]: what stands behind the bytes of an entry.
//!
//! First where they are other than zero, each run as its offset and its length, 64 bits
//! little-endian: a third of a kernel is zero, and need not be read. Last of all, 32 bytes:
//! which form the file has, the CRC-32 of all that comes before, how many runs there are,
//! and zeros.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use firmware_less::range::FileRange;

use crate::files::OpenFile;

/// Which form the file has.
const MAGIC: [u8; 16] = *b"ukivm-unpacked-2";
/// The form before, which told of no runs.
const FORMER: [u8; 16] = *b"ukivm-unpacked-1";
const SEAL_LEN: usize = 32;
const RUN_LEN: usize = 16;
/// The most runs that are listed; a kernel has a dozen.
const RUNS_MAX: usize = 4096;

/// What an entry says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seal {
    /// How many bytes were unpacked.
    pub(super) len: u64,
    /// What of them is other than zero, ascending; `None` for all.
    pub(super) data: Option<Vec<FileRange>>,
    crc: u32,
}

/// What is behind the bytes of a file.
pub(super) enum Behind {
    Seal(Seal),
    /// That of a form that is kept no more.
    Former,
    /// Nothing that was ever written.
    Damaged,
}

impl Seal {
    /// Reads what is behind the bytes of `file`.
    pub(super) fn read(file: &File) -> io::Result<Behind> {
        let whole = file.metadata()?.len();
        let mut seal = [0; SEAL_LEN];
        let Some(at) = whole.checked_sub(SEAL_LEN as u64) else { return Ok(Behind::Damaged) };
        file.read_exact_at(&mut seal, at)?;
        if seal.starts_with(&FORMER) {
            return Ok(Behind::Former);
        }
        let [crc, count] = [16, 20].map(|at| word(&seal, at));
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let table_len = count.saturating_mul(RUN_LEN);
        let len = at.checked_sub(table_len as u64).filter(|_| count <= RUNS_MAX);
        let Some(len) = len.filter(|_| seal == sealed(crc, count)) else {
            return Ok(Behind::Damaged);
        };
        let mut table = vec![0; table_len];
        file.read_exact_at(&mut table, len)?;
        let data = if count == 0 { Some(None) } else { runs(&table, len).map(Some) };
        Ok(data.map_or(Behind::Damaged, |data| Behind::Seal(Self { len, data, crc })))
    }

    /// Whether all before it in `open` is as it was.
    pub(super) fn holds(&self, open: &OpenFile) -> io::Result<bool> {
        let before = self.len.saturating_add(self.table().len() as u64);
        let mut hash = crc32fast::Hasher::new();
        open.each_chunk(
            FileRange::first(before),
            |error| error,
            |chunk| {
                hash.update(chunk);
                Ok(())
            },
        )?;
        Ok(hash.finalize() == self.crc)
    }

    /// Puts what is to be behind `unpacked` into `file`, which holds it: `data` of it is
    /// other than zero. What is in more pieces than can be listed has none.
    pub(super) fn write(file: &File, unpacked: &[u8], data: &[FileRange]) -> io::Result<Self> {
        let data = Some(data.to_vec()).filter(|data| data.len() <= RUNS_MAX);
        let mut seal = Self { len: unpacked.len() as u64, data, crc: 0 };
        let mut behind = seal.table();
        let mut hash = crc32fast::Hasher::new();
        hash.update(unpacked);
        hash.update(&behind);
        seal.crc = hash.finalize();
        behind.extend(sealed(seal.crc, behind.len().div_euclid(RUN_LEN)));
        file.write_all_at(&behind, seal.len)?;
        Ok(seal)
    }

    fn table(&self) -> Vec<u8> {
        let runs = self.data.iter().flatten();
        runs.flat_map(|run| [run.offset(), run.len()]).flat_map(u64::to_le_bytes).collect()
    }
}

/// The runs of a table, if they are in a file of `len` bytes and ascend.
fn runs(table: &[u8], len: u64) -> Option<Vec<FileRange>> {
    let (numbers, _) = table.as_chunks::<8>();
    let (pairs, _) = numbers.as_chunks::<2>();
    let mut from = 0;
    let run = |[offset, len_of_run]: &[[u8; 8]; 2]| {
        let run = FileRange::new(u64::from_le_bytes(*offset), u64::from_le_bytes(*len_of_run))?;
        let fits = run.offset() >= from && run.end() <= len;
        from = run.end();
        fits.then_some(run)
    };
    pairs.iter().map(run).collect()
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..).and_then(<[u8]>::first_chunk);
    word.map_or(0, |word| u32::from_le_bytes(*word))
}

fn sealed(crc: u32, count: usize) -> [u8; SEAL_LEN] {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let mut seal = [0; SEAL_LEN];
    let parts = MAGIC.into_iter().chain(crc.to_le_bytes()).chain(count.to_le_bytes());
    seal.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    seal
}
