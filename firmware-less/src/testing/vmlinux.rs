//! Hand-made kernels proper.

use super::put;

/// An ELF file as a kernel's payload unpacks to, with a table of relocations behind.
#[derive(Clone, Debug)]
pub struct VmlinuxFile {
    segments: Vec<Segment>,
    entry: u64,
    lists: Vec<Vec<u32>>,
    machine: u16,
}

#[derive(Clone, Debug)]
struct Segment {
    address: u64,
    bytes: Vec<u8>,
    memsz: u64,
}

/// Where a segment's bytes may begin in the file.
const FIRST_SEGMENT: usize = 0x1000;
/// Bytes of an ELF header, of a program header, of a section header.
const SIZES: (usize, usize, usize) = (64, 56, 64);

/// A kernel linked for 16 MiB, of a segment of code and one of data with a BSS, that is
/// entered at its byte 0x10 and can be relocated.
#[must_use]
pub fn vmlinux() -> VmlinuxFile {
    VmlinuxFile {
        segments: vec![
            Segment { address: 0x100_0000, bytes: vec![0xcc; 0x1800], memsz: 0x1800 },
            Segment { address: 0x120_0000, bytes: vec![0xda; 0x800], memsz: 0x3210 },
        ],
        entry: 0x100_0010,
        lists: vec![vec![0x8100_0100], vec![0x8100_0200]],
        machine: 62,
    }
}

impl VmlinuxFile {
    /// The same with that as its segments: physical address, bytes, bytes of memory.
    #[must_use]
    pub fn segments(mut self, segments: &[(u64, &[u8], u64)]) -> Self {
        let segment = |&(address, bytes, memsz): &(u64, &[u8], u64)| Segment {
            address,
            bytes: bytes.to_vec(),
            memsz,
        };
        self.segments = segments.iter().map(segment).collect();
        self
    }

    /// The same, entered at that physical address.
    #[must_use]
    pub fn entry(mut self, entry: u64) -> Self {
        self.entry = entry;
        self
    }

    /// The same with those lists of relocations, none for no table at all.
    #[must_use]
    pub fn relocations(mut self, lists: &[&[u32]]) -> Self {
        self.lists = lists.iter().map(|list| list.to_vec()).collect();
        self
    }

    /// The same, for another processor.
    #[must_use]
    pub fn machine(mut self, machine: u16) -> Self {
        self.machine = machine;
        self
    }

    /// Its bytes.
    #[must_use]
    pub fn build(self) -> Vec<u8> {
        let (header_size, segment_size, section_size) = SIZES;
        let mut file = Vec::new();
        put(&mut file, 0, &[0x7f, b'E', b'L', b'F', 2, 1, 1]);
        put(&mut file, 0x10, &2u16.to_le_bytes());
        put(&mut file, 0x12, &self.machine.to_le_bytes());
        put(&mut file, 0x18, &self.entry.to_le_bytes());
        put(&mut file, 0x20, &(header_size as u64).to_le_bytes());
        for (at, value) in [
            (0x34, header_size),
            (0x36, segment_size),
            (0x38, self.segments.len()),
            (0x3a, section_size),
            (0x3c, 1),
        ] {
            put(&mut file, at, &u16::try_from(value).expect("small").to_le_bytes());
        }
        let mut offset = FIRST_SEGMENT;
        for (number, segment) in self.segments.iter().enumerate() {
            let words = [
                0x7_0000_0001, // PT_LOAD; read, write, execute
                offset as u64,
                segment.address.wrapping_add(0xffff_ffff_8000_0000),
                segment.address,
                segment.bytes.len() as u64,
                segment.memsz,
            ];
            let header: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
            put(&mut file, header_size + number * segment_size, &header);
            put(&mut file, offset, &segment.bytes);
            offset = file.len().next_multiple_of(0x1000);
        }
        // The one section header that every file has, of zeros.
        put(&mut file, 0x28, &(offset as u64).to_le_bytes());
        put(&mut file, offset, &vec![0; section_size]);
        for list in &self.lists {
            file.extend(std::iter::once(&0).chain(list).flat_map(|word| word.to_le_bytes()));
        }
        file
    }
}
