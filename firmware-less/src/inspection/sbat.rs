//! [`SbatEntry`]: one line of `.sbat`.

/// A component and its generation, by which shim revokes.
///
/// shim `SBAT.md`: lines of six fields, `component,generation,vendor,package,
/// version,url`. Here as text; nothing is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SbatEntry {
    /// Which line of the section it is, counted from 1.
    pub line: usize,
    /// What is revoked by itself.
    pub component: String,
    /// Rises with each revocation; decimal.
    pub generation: String,
    /// Vendor, package, version and address, as many as there are.
    pub rest: Vec<String>,
}

/// The number of fields in a line.
const FIELDS: usize = 6;

impl SbatEntry {
    /// Every line of `.sbat`, empty ones left out.
    #[must_use]
    pub fn parse(text: &str) -> Vec<Self> {
        let until_nul = text.split('\0').next().unwrap_or_default();
        let lines = (1..).zip(until_nul.lines()).filter(|(_, text)| !text.trim().is_empty());
        let entry = |(line, text): (usize, &str)| {
            let mut fields = text.split(',').map(str::to_owned);
            let mut next = || fields.next().unwrap_or_default();
            let (component, generation) = (next(), next());
            Self { line, component, generation, rest: fields.collect() }
        };
        lines.map(entry).collect()
    }

    /// Whether it is what it should be: six fields, a component, a generation from 1
    /// on. shim (`csv.c`, `sbat.c`) passes over more fields, refuses a file with
    /// fewer, and reads the generation with `atoi`.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let generation = self.generation.parse::<u32>();
        !self.component.is_empty()
            && generation.is_ok_and(|generation| generation > 0)
            && self.rest.len().saturating_add(2) == FIELDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_an_entry() {
        let entries = SbatEntry::parse("sbat,1,SBAT Version,sbat,1,https://a\n\nuki,x,UKI\n\0\0");
        assert_eq!(entries.iter().map(|entry| entry.line).collect::<Vec<_>>(), [1, 3]);
        assert_eq!((entries[0].component.as_str(), entries[0].generation.as_str()), ("sbat", "1"));
        assert_eq!(entries[0].rest, ["SBAT Version", "sbat", "1", "https://a"]);
        assert!(entries[0].is_sound());
        assert!(!entries[1].is_sound());
        assert!(!SbatEntry::parse("a,0,b,c,d,e")[0].is_sound());
        assert!(!SbatEntry::parse("a,1,b,c,d,e,f")[0].is_sound());
    }
}
