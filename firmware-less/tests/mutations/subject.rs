//! [`Subject`]: a file to be changed, again and again.

use firmware_less::testing::Random;

/// Where the PE header of the images here is, and where their section table is.
const PE_HEADER: usize = 0x40;
const TABLE: usize = PE_HEADER + 24 + 240;
const ENTRY: usize = 40;

/// An image, and which of its bytes are worth changing.
pub(crate) struct Subject {
    file: Vec<u8>,
    /// Where each field is, and how many bytes it has.
    fields: Vec<(usize, usize)>,
}

impl Subject {
    /// That file with every field of its headers, all bytes of text and of the
    /// kernel's header, and what follows the sections.
    pub(crate) fn new(file: Vec<u8>) -> Self {
        let number = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
        let sections = usize::from(file[PE_HEADER + 6]);
        let words =
            |range: std::ops::Range<usize>, len| range.step_by(len).map(move |at| (at, len));
        let mut fields = vec![(0, 2), (0x3c, 4)];
        let mut end = 0;
        fields.extend(words(PE_HEADER..PE_HEADER + 24, 2));
        fields.extend(words(PE_HEADER + 24..TABLE, 4));
        for entry in (0..sections).map(|place| TABLE + ENTRY * place) {
            fields.extend([(entry, 8), (entry + 7, 1)]);
            fields.extend(words(entry + 8..entry + ENTRY, 4));
            // Twice, since most of a UKI's meaning is there.
            fields.extend(words(entry + 8..entry + 24, 4));
            let (size, offset) = (number(entry + 8), number(entry + 20));
            let content = if size > 0x1000 { 0x1f1..0x270 } else { 0..size };
            fields.extend(content.map(|at| (offset + at, 1)));
            end = end.max(offset + number(entry + 16));
        }
        fields.extend((end..file.len()).map(|at| (at, 1)));
        Self { file, fields }
    }

    /// Changes one to four fields, has `read` look at the file, and undoes it.
    pub(crate) fn change(&mut self, random: &mut Random, read: impl FnOnce(&[u8])) {
        let mut before = Vec::with_capacity(4);
        for _ in 0..=random.below(4) {
            let (at, len) = random.one_of(&self.fields);
            let mut field = [0; 8];
            field[..len].copy_from_slice(&self.file[at..at + len]);
            before.push((at, len, field));
            let value = random.edge(u64::from_le_bytes(field), self.file.len() as u64);
            self.file[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
        }
        // Now and then, the end is missing too.
        let cut = if random.below(16) == 0 { random.below(self.file.len()) } else { 0 };
        read(&self.file[..self.file.len() - cut]);
        for (at, len, field) in before.into_iter().rev() {
            self.file[at..at + len].copy_from_slice(&field[..len]);
        }
    }
}
