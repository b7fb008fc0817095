//! What a probe said.

/// The lines of one run, in order.
#[derive(Debug)]
pub(crate) struct Report {
    lines: Vec<(String, String)>,
}

impl Report {
    /// Reads what the guest printed; complete, or the test is over.
    pub(crate) fn read(printed: &str) -> Self {
        let line = |line: &str| {
            let (name, value) = line.strip_prefix("probe: ")?.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        };
        let lines: Vec<_> = printed.lines().filter_map(line).collect();
        assert_eq!(lines.last().map(|(name, _)| name.as_str()), Some("end"), "{printed}");
        Self { lines }
    }

    /// The number of that name.
    pub(crate) fn number(&self, name: &str) -> u64 {
        let bytes = self.bytes(name).try_into();
        u64::from_be_bytes(bytes.unwrap_or_else(|bytes| panic!("{name}: {bytes:x?}")))
    }

    /// The memory or the digest of that name.
    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        let mut all = self.all(name);
        assert_eq!(all.len(), 1, "{name} is reported once");
        all.remove(0)
    }

    /// The name of each line.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(|(name, _)| name.as_str())
    }

    /// Everything of that name.
    pub(crate) fn all(&self, name: &str) -> Vec<Vec<u8>> {
        let named = self.lines.iter().filter(|(found, _)| found == name);
        named.map(|(_, value)| from_hex(value)).collect()
    }
}

fn from_hex(text: &str) -> Vec<u8> {
    let byte = |pair: &[u8]| {
        let pair = str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    };
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
    bytes.unwrap_or_else(|| panic!("{text:?} is not hex"))
}
