//! [`SbatEntry`]: one line of `.sbat`.

/// A component and its generation, by which shim revokes.
///
/// shim `SBAT.md`: lines of six fields, `component,generation,vendor,package,
/// version,url`. Here as text; nothing is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SbatEntry {
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
        let lines = until_nul.lines().filter(|line| !line.trim().is_empty());
        let entry = |line: &str| {
            let mut fields = line.split(',').map(str::to_owned);
            let mut next = || fields.next().unwrap_or_default();
            let (component, generation) = (next(), next());
            Self { component, generation, rest: fields.collect() }
        };
        lines.map(entry).collect()
    }

    /// Whether shim can read it: six fields, a component, a generation from 1 on.
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
        assert_eq!(entries.len(), 2);
        assert_eq!((entries[0].component.as_str(), entries[0].generation.as_str()), ("sbat", "1"));
        assert_eq!(entries[0].rest, ["SBAT Version", "sbat", "1", "https://a"]);
        assert!(entries[0].is_sound());
        assert!(!entries[1].is_sound());
        assert!(!SbatEntry::parse("a,0,b,c,d,e")[0].is_sound());
        assert!(!SbatEntry::parse("a,1,b,c,d,e,f")[0].is_sound());
    }
}
