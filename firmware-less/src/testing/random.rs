//! Random numbers that are the same every time.

/// A small generator, xorshift64*: good enough to find mistakes, and repeatable.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of that seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// The next number below `end`, which must not be 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() >> 11) as usize % end
    }

    /// One of `choices`.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// A number that is likely to hit an edge: of the PE format, of its types, of a
    /// file of that length, or near `before`.
    pub fn edge(&mut self, before: u64, file_len: u64) -> u64 {
        let edges = [0, 1, 8, 0x10, 0x28, 0x40, 0x200, 0x1000, 0x7fff_ffff, 0xffff_ffff, u64::MAX];
        match self.below(6) {
            0 => self.one_of(&edges),
            1 => self.one_of(&edges).wrapping_sub(1),
            2 => before.wrapping_add(self.number() % 3).wrapping_sub(1),
            3 => file_len.wrapping_add(self.number() % 3).wrapping_sub(1),
            4 => before ^ (1 << self.below(64)),
            _ => self.number() >> self.below(64),
        }
    }
}
