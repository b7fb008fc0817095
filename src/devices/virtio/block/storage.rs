//! What holds a disk's bytes.

use std::{fmt, io};

use vm_memory::VolatileSlice;

/// What holds a disk's bytes. Offsets and lengths are whole sectors, and lie in it.
pub trait Storage: fmt::Debug + Send {
    /// How many bytes it holds, for good.
    fn len(&self) -> u64;

    /// Whether it holds none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `into` with the bytes from `offset` on.
    fn read(&mut self, offset: u64, into: &[VolatileSlice<'_>]) -> io::Result<()>;

    /// Keeps the bytes of `from` from `offset` on.
    fn write(&mut self, offset: u64, from: &[VolatileSlice<'_>]) -> io::Result<()>;

    /// Comes back when all that was written will outlast a crash of the host.
    fn flush(&mut self) -> io::Result<()>;

    /// Forgets these bytes; whatever they read as afterwards.
    fn discard(&mut self, offset: u64, len: u64) -> io::Result<()>;

    /// Makes these bytes zero, and gives up the room they take if `may_unmap`.
    fn write_zeroes(&mut self, offset: u64, len: u64, may_unmap: bool) -> io::Result<()>;
}

/// How many bytes `slices` have.
pub(super) fn total(slices: &[VolatileSlice<'_>]) -> u64 {
    slices.iter().fold(0, |total, slice| total.saturating_add(slice.len() as u64))
}

/// The first `len` bytes of `slices`, and the rest.
pub(in super::super) fn split<'m>(
    slices: &[VolatileSlice<'m>],
    len: u64,
) -> (Vec<VolatileSlice<'m>>, Vec<VolatileSlice<'m>>) {
    let mut left = len;
    for (index, slice) in slices.iter().enumerate() {
        if left >= slice.len() as u64 {
            left = left.saturating_sub(slice.len() as u64);
            continue;
        }
        let (front, back) = slices.split_at(index);
        let (mut front, mut back) = (front.to_vec(), back.to_vec());
        let cut = usize::try_from(left).ok().filter(|cut| *cut > 0);
        if let Some((first, second)) = cut.and_then(|cut| slice.split_at(cut).ok())
            && let Some(cut_off) = back.first_mut()
        {
            front.push(first);
            *cut_off = second;
        }
        return (front, back);
    }
    (slices.to_vec(), Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lens(slices: &[VolatileSlice<'_>]) -> Vec<usize> {
        slices.iter().map(VolatileSlice::len).filter(|len| *len > 0).collect()
    }

    #[test]
    fn slices_are_cut_where_they_meet_and_in_the_middle() {
        let (mut a, mut b, mut c) = ([1; 4], [2; 3], [3; 5]);
        let none = VolatileSlice::from([].as_mut_slice());
        let slices =
            [a.as_mut_slice().into(), none, b.as_mut_slice().into(), c.as_mut_slice().into()];
        for (len, front, back) in [
            (0, &[][..], &[4, 3, 5][..]),
            (1, &[1], &[3, 3, 5]),
            (4, &[4], &[3, 5]),
            (6, &[4, 2], &[1, 5]),
            (7, &[4, 3], &[5]),
            (11, &[4, 3, 4], &[1]),
            (12, &[4, 3, 5], &[]),
            (u64::MAX, &[4, 3, 5], &[]),
        ] {
            let (first, second) = split(&slices, len);
            assert_eq!((lens(&first), lens(&second)), (front.to_vec(), back.to_vec()), "{len}");
            let bytes = |slices: &[VolatileSlice<'_>]| -> Vec<u8> {
                let mut all = Vec::new();
                for slice in slices {
                    let mut bytes = vec![0; slice.len()];
                    slice.copy_to(&mut bytes);
                    all.extend(bytes);
                }
                all
            };
            let whole = [bytes(&first), bytes(&second)].concat();
            assert_eq!(whole, [1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3], "{len}");
        }
    }
}
