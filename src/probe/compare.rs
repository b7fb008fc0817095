//! What was found beside what was planned.

use serde::Serialize;

use super::rows::{Row, Value};
use crate::engine::Kind;

/// Where an engine may leave other bits than the plan's: which bits count all the
/// same, and why the others do not.
const FREE: [(Kind, &str, u64, &str); 5] = [
    (Kind::Kvm, "misc_enable", 1, "the plan says which bits to set; the others are the host's"),
    (
        Kind::Kvm,
        "other_misc_enable",
        1,
        "the plan says which bits to set; the others are the host's",
    ),
    (Kind::Tcg, "misc_enable", 1, "the plan says which bits to set; QEMU sets bit 18 (MWAIT) too"),
    (
        Kind::Tcg,
        "other_misc_enable",
        1,
        "the plan says which bits to set; QEMU sets bit 18 (MWAIT) too",
    ),
    (
        Kind::Tcg,
        "other_mtrr_def_type",
        0,
        "QEMU clears MTRRs at INIT, whoever set them; Linux copies the boot processor's",
    ),
];

/// One thing, as it was found and as it was planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// The group.
    pub group: &'static str,
    /// The name, of which there is one in each group.
    pub name: String,
    /// What was found; null where the report does not have it.
    pub found: Option<Value>,
    /// What was planned; null where the plan does not have it, or there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub planned: Option<Value>,
    /// Whether the two differ in what counts.
    pub differs: bool,
    /// Why they don't, though they are not the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<&'static str>,
}

/// Everything found, beside the plan if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// In the order of groups; what was only planned stands behind its group.
    pub pairs: Vec<Pair>,
}

impl Comparison {
    /// What is not as planned.
    pub fn differences(&self) -> impl Iterator<Item = &Pair> {
        self.pairs.iter().filter(|pair| pair.differs)
    }
}

/// Compares what was `found` with what was `planned`, if anything was, for an
/// engine.
#[must_use]
pub fn compare(found: Vec<Row>, planned: Option<(Vec<Row>, Kind)>) -> Comparison {
    let Some((mut planned, engine)) = planned else {
        let alone = |Row { group, name, value }| Pair {
            group,
            name,
            found: Some(value),
            planned: None,
            differs: false,
            note: None,
        };
        return Comparison { pairs: found.into_iter().map(alone).collect() };
    };
    let mut pairs: Vec<Pair> = Vec::with_capacity(found.len());
    for row in found {
        let same = |other: &Row| (other.group, &other.name) == (row.group, &row.name);
        let place = planned.iter().position(same);
        let value = place.map(|place| planned.remove(place).value);
        pairs.push(pair(row.group, row.name, Some(row.value), value, engine));
    }
    for row in planned {
        let last = pairs.iter().rposition(|pair| pair.group == row.group);
        let place = last.map_or(pairs.len(), |last| last.saturating_add(1));
        pairs.insert(place, pair(row.group, row.name, None, Some(row.value), engine));
    }
    Comparison { pairs }
}

fn pair(
    group: &'static str,
    name: String,
    found: Option<Value>,
    planned: Option<Value>,
    engine: Kind,
) -> Pair {
    let free = FREE.iter().find(|(of, free, ..)| (*of, *free) == (engine, name.as_str()));
    let (differs, note) = match (&found, &planned, free) {
        (Some(found), Some(planned), _) if found == planned => (false, None),
        (Some(Value::Number(found)), Some(Value::Number(planned)), Some((.., mask, why)))
            if found & mask == planned & mask =>
        {
            (false, Some(*why))
        }
        _ => (true, None),
    };
    Pair { group, name, found, planned, differs, note }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, value: u64) -> Row {
        Row { group: "registers", name: name.into(), value: Value::Number(value) }
    }

    #[test]
    fn what_is_missing_on_either_side_is_a_difference() {
        let planned = Some((vec![row("rax", 1), row("rbx", 2)], Kind::Kvm));
        let comparison = compare(vec![row("rcx", 3), row("rbx", 2)], planned);
        let names: Vec<_> = comparison.differences().map(|pair| pair.name.as_str()).collect();
        assert_eq!(names, ["rcx", "rax"]);
    }

    #[test]
    fn only_bits_that_are_the_engine_s_to_set_may_differ() {
        let differs = |found, engine| {
            let planned = Some((vec![row("misc_enable", 1)], engine));
            compare(vec![row("misc_enable", found)], planned).differences().count()
        };
        assert_eq!(differs(0x40001, Kind::Tcg), 0);
        assert_eq!(differs(0x40000, Kind::Tcg), 1);
        let planned = Some((vec![row("rax", 1)], Kind::Tcg));
        assert_eq!(compare(vec![row("rax", 3)], planned).differences().count(), 1);
    }

    #[test]
    fn without_a_plan_nothing_differs() {
        assert_eq!(compare(vec![row("rax", 1)], None).differences().count(), 0);
    }
}
