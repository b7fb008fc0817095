//! A disk in a qcow2 image, which stands on nothing but itself.

use std::{fmt, fs::File, io};

use imago::{
    DenyImplicitOpenGate, FormatAccess, FormatDriverBuilder as _,
    file::File as ImageFile,
    io_buffers::{IoVector, IoVectorMut},
    qcow2,
};
use vm_memory::VolatileSlice;

use super::Storage;

/// A qcow2 image that holds a disk.
pub struct Qcow2 {
    image: FormatAccess<ImageFile>,
    is_written: bool,
}

impl fmt::Debug for Qcow2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Qcow2").finish_non_exhaustive()
    }
}

impl Qcow2 {
    /// The disk in `file`, which is written to if it is open for that and `is_written`. An
    /// image that names other files is refused: none is opened by a name in an image.
    pub fn open(file: File, is_written: bool) -> io::Result<Self> {
        let builder = qcow2::Qcow2::<ImageFile>::builder(ImageFile::try_from(file)?);
        let image = builder.write(is_written).open(DenyImplicitOpenGate::default())?;
        Ok(Self { image: FormatAccess::new(image), is_written })
    }
}

impl Storage for Qcow2 {
    fn len(&self) -> u64 {
        self.image.size()
    }

    fn read(&mut self, offset: u64, into: &[VolatileSlice<'_>]) -> io::Result<()> {
        let (vector, _guard) = IoVectorMut::from_volatile_slice(into);
        self.image.readv(vector, offset)
    }

    fn write(&mut self, offset: u64, from: &[VolatileSlice<'_>]) -> io::Result<()> {
        let (vector, _guard) = IoVector::from_volatile_slice(from);
        self.image.writev(vector, offset)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.is_written {
            return Ok(());
        }
        // First what says where the data are, then all of it to the disk.
        self.image.flush()?;
        self.image.sync()
    }

    fn discard(&mut self, offset: u64, len: u64) -> io::Result<()> {
        match self.image.discard_to_zero(offset, len) {
            // To keep the bytes is to forget them badly, and is allowed.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
            done => done,
        }
    }

    fn write_zeroes(&mut self, offset: u64, len: u64, may_unmap: bool) -> io::Result<()> {
        if may_unmap {
            match self.image.discard_to_zero(offset, len) {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
                done => return done,
            }
        }
        self.image.write_zeroes(offset, len)
    }
}

impl Drop for Qcow2 {
    /// What says where the data are is kept in memory; of a guest that ends without a flush
    /// too, the image is to be whole.
    fn drop(&mut self) {
        if self.is_written {
            self.image.flush().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use imago::{FormatCreateBuilder as _, qcow2::Qcow2 as Image};

    use super::*;

    const MIB: u64 = 1 << 20;

    /// An empty image of a disk of 8 MiB.
    fn image() -> File {
        let file = tempfile::tempfile().unwrap();
        let storage = ImageFile::try_from(file.try_clone().unwrap()).unwrap();
        Image::<ImageFile>::create_builder(storage).size(8 * MIB).create().unwrap();
        file
    }

    fn disk(file: &File) -> Qcow2 {
        Qcow2::open(file.try_clone().unwrap(), true).unwrap()
    }

    fn write(disk: &mut Qcow2, offset: u64, byte: u8, len: usize) {
        let mut bytes = vec![byte; len];
        let slice = VolatileSlice::from(bytes.as_mut_slice());
        let (first, second) = slice.split_at(len / 3).unwrap();
        disk.write(offset, &[first, second]).unwrap();
    }

    fn read(disk: &mut Qcow2, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0xee; len];
        let slice = VolatileSlice::from(bytes.as_mut_slice());
        let (first, second) = slice.split_at(len / 3).unwrap();
        disk.read(offset, &[first, second]).unwrap();
        bytes
    }

    #[test]
    fn what_was_written_is_read_back_and_the_rest_is_zeros() {
        let file = image();
        let mut disk = disk(&file);
        assert_eq!(disk.len(), 8 * MIB);
        // Across the border of two clusters, and no whole one.
        write(&mut disk, 0xfe00, 0xaa, 0x600);
        let all = read(&mut disk, 0xfc00, 0xa00);
        assert_eq!(all, [vec![0; 0x200], vec![0xaa; 0x600], vec![0; 0x200]].concat());
        assert!(read(&mut disk, 4 * MIB, 0x1000).iter().all(|byte| *byte == 0));
    }

    #[test]
    fn what_was_flushed_is_in_the_image_though_nobody_closes_it() {
        let file = image();
        let mut disk = disk(&file);
        write(&mut disk, MIB, 0xaa, 0x2_0000);
        disk.flush().unwrap();
        // As after a kill: nothing is written any more.
        std::mem::forget(disk);
        let mut again = Qcow2::open(file.try_clone().unwrap(), false).unwrap();
        assert_eq!(read(&mut again, MIB, 0x2_0000), vec![0xaa; 0x2_0000]);
    }

    #[test]
    fn an_image_is_whole_though_the_guest_did_not_flush() {
        let file = image();
        let mut disk = disk(&file);
        write(&mut disk, MIB, 0xaa, 0x2_0000);
        drop(disk);
        let mut again = Qcow2::open(file.try_clone().unwrap(), false).unwrap();
        assert_eq!(read(&mut again, MIB, 0x2_0000), vec![0xaa; 0x2_0000]);
    }

    #[test]
    fn what_was_discarded_or_made_zero_is_zeros_and_nothing_else_is() {
        let file = image();
        for (way, may_unmap) in [("discard", None), ("zero", Some(false)), ("unmap", Some(true))] {
            let mut disk = disk(&file);
            write(&mut disk, 0, 0xaa, 0x10_0000);
            let (offset, len) = (0x1_0200, 0x4_0000);
            match may_unmap {
                None => disk.discard(offset, len).unwrap(),
                Some(may_unmap) => disk.write_zeroes(offset, len, may_unmap).unwrap(),
            }
            let all = read(&mut disk, 0, 0x10_0000);
            assert!(all[..0x1_0200].iter().all(|byte| *byte == 0xaa), "{way}");
            assert!(all[0x1_0200..0x5_0200].iter().all(|byte| *byte == 0), "{way}");
            assert!(all[0x5_0200..].iter().all(|byte| *byte == 0xaa), "{way}");
        }
    }

    #[test]
    fn an_image_open_for_reading_alone_can_not_be_written() {
        let file = image();
        let mut disk = Qcow2::open(file.try_clone().unwrap(), false).unwrap();
        let mut bytes = [1; 512];
        assert!(disk.write(0, &[VolatileSlice::from(bytes.as_mut_slice())]).is_err());
        assert!(disk.discard(0, 0x1_0000).is_err());
        disk.flush().unwrap();
    }
}
