//! [`Input`]: values out of any bytes.

/// Bytes that are taken for values, from the first on. Where they end, all further
/// values are zeros: whatever the bytes, there is something to try.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// Values out of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether all is taken.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    /// Yes or no.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number of as many bytes as the next one says, so that small ones are as likely
    /// as large ones.
    pub fn number(&mut self) -> u64 {
        let width = usize::from(self.byte() % 9);
        let mut number = [0; 8];
        let taken = self.take(width);
        number[..taken.len()].copy_from_slice(taken);
        u64::from_le_bytes(number)
    }

    /// One of `choices`.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    /// As many bytes as the next one says.
    pub fn bytes(&mut self) -> &'a [u8] {
        let len = self.byte();
        self.take(len.into())
    }

    /// The same, or nothing at all.
    pub fn maybe_bytes(&mut self) -> Option<&'a [u8]> {
        self.flag().then(|| self.bytes())
    }

    /// The same as text.
    pub fn text(&mut self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// Bytes out of which an [`Input`] takes these again.
pub(super) fn with_lengths(parts: &[&[u8]]) -> Vec<u8> {
    let len = |part: &[u8]| u8::try_from(part.len()).expect("a short part");
    parts.iter().flat_map(|part| [&[len(part)], *part].concat()).collect()
}
