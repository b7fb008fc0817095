//! Guest RAM as a file.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use firmware_less::{
    machine::Machine,
    range::{FileRange, GuestRange, index},
};
use rustix::fs::{MemfdFlags, SeekFrom};

/// Guest RAM: an anonymous file that QEMU maps, one range of RAM after the
/// other. What was never written is a hole in it and reads as zero.
#[derive(Debug)]
pub struct Memory {
    file: File,
    ram: Vec<GuestRange>,
}

impl Memory {
    pub(super) fn create(machine: &Machine) -> io::Result<Self> {
        let file = File::from(rustix::fs::memfd_create("guest-ram", MemfdFlags::CLOEXEC)?);
        file.set_len(machine.memory())?;
        Ok(Self { file, ram: machine.ram().collect() })
    }

    /// The file, for QEMU.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Puts `bytes` at the guest address `address`.
    pub(super) fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        match GuestRange::new(address, bytes.len() as u64) {
            Some(range) => self.file.write_all_at(bytes, self.offset(range)?),
            None => Ok(()),
        }
    }

    /// Copies a part of `source` to the guest address `address`, inside the
    /// kernel. Returns how many bytes there were: less than the range has if the
    /// file ends within it.
    pub(super) fn copy_from(
        &mut self,
        source: &File,
        range: FileRange,
        address: u64,
    ) -> io::Result<u64> {
        let Some(target) = GuestRange::new(address, range.len()) else {
            return Ok(0);
        };
        rustix::fs::seek(&self.file, SeekFrom::Start(self.offset(target)?))?;
        let mut from = range.offset();
        while from < range.end() {
            let rest = index(range.end().saturating_sub(from));
            match rustix::fs::sendfile(&self.file, source, Some(&mut from), rest) {
                Ok(0) => break,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(from.saturating_sub(range.offset()))
    }

    /// Shows `range` to `take`, ascending, a piece at a time.
    pub fn read(&self, range: GuestRange, take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 18];
        let mut offset = self.offset(range)?;
        let mut rest = index(range.len());
        while rest > 0 {
            let wanted = rest.min(buffer.len());
            let (piece, _) = buffer.split_at_mut(wanted);
            self.file.read_exact_at(piece, offset)?;
            take(piece);
            rest = rest.saturating_sub(wanted);
            offset = offset.saturating_add(wanted as u64);
        }
        Ok(())
    }

    /// Where `range` is in the file.
    fn offset(&self, range: GuestRange) -> io::Result<u64> {
        let mut before = 0_u64;
        for ram in &self.ram {
            if ram.contains(range) {
                return Ok(before.saturating_add(range.start().saturating_sub(ram.start())));
            }
            before = before.saturating_add(ram.len());
        }
        let message = format!("{range} is not wholly in RAM");
        Err(io::Error::new(io::ErrorKind::InvalidInput, message))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn memory(size: u64) -> Memory {
        Memory::create(&Machine::new(size, 1).unwrap()).unwrap()
    }

    fn bytes(memory: &Memory, start: u64, len: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let range = GuestRange::new(start, len).unwrap();
        memory.read(range, &mut |piece| bytes.extend_from_slice(piece)).unwrap();
        bytes
    }

    fn file(content: &[u8]) -> File {
        let fd = rustix::fs::memfd_create("source", MemfdFlags::CLOEXEC).unwrap();
        let mut file = File::from(fd);
        file.write_all(content).unwrap();
        file
    }

    #[test]
    fn what_was_written_is_read_and_the_rest_is_zero() {
        let memory = memory(GIB);
        memory.write(0x1000, b"kernel").unwrap();
        assert_eq!(bytes(&memory, 0xffe, 10), b"\0\0kernel\0\0");
    }

    #[test]
    fn ram_above_the_hole_follows_ram_below_it_in_the_file() {
        let memory = memory(3 * GIB);
        memory.write(4 * GIB, b"high").unwrap();
        assert_eq!(bytes(&memory, 4 * GIB, 4), b"high");
        assert_eq!(memory.offset(GuestRange::constant(4 * GIB, 4)).unwrap(), 2 * GIB);
    }

    #[test]
    fn the_hole_is_no_ram() {
        assert_eq!(
            memory(3 * GIB).write(2 * GIB - 1, b"ab").unwrap_err().to_string(),
            "[0x7fffffff, 0x80000001) is not wholly in RAM"
        );
    }

    #[test]
    fn a_part_of_a_file_is_copied_from_its_offset() {
        let mut memory = memory(GIB);
        let part = FileRange::new(3, 4).unwrap();
        assert_eq!(memory.copy_from(&file(b"0123456789"), part, 0x2000).unwrap(), 4);
        assert_eq!(bytes(&memory, 0x1fff, 6), b"\x003456\0");
    }

    #[test]
    fn a_file_that_ends_early_gives_the_bytes_it_has() {
        let part = FileRange::new(3, 40).unwrap();
        assert_eq!(memory(GIB).copy_from(&file(b"0123456789"), part, 0x2000).unwrap(), 7);
    }
}
