//! A plan as a person and as a script reads it.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeStruct as _};

use super::{BootPlan, Content};

/// The memory map as a person reads it: one line a placement, ascending.
impl fmt::Display for BootPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for placement in &self.placements {
            let range = placement.range;
            writeln!(
                f,
                "{:#014x}  {:#014x}  {:>10}  {}",
                range.start(),
                range.end(),
                size(range.len()),
                placement.name
            )?;
        }
        Ok(())
    }
}

/// `bytes` in the largest binary unit that leaves at least one whole.
#[must_use]
pub fn size(bytes: u64) -> String {
    let units = [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) if bytes.is_multiple_of(unit) => {
            format!("{} {name}", bytes.div_euclid(unit))
        }
        Some((unit, name)) => {
            let tenths = u128::from(bytes).saturating_mul(10).div_euclid(u128::from(unit));
            format!("{}.{} {name}", tenths.div_euclid(10), tenths.rem_euclid(10))
        }
        None => format!("{bytes} B"),
    }
}

/// The stable JSON form of a plan. Bytes at hand are given by their number;
/// their values are in the dump of guest memory.
impl Serialize for BootPlan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut plan = serializer.serialize_struct("BootPlan", 4)?;
        plan.serialize_field("machine", &self.machine)?;
        plan.serialize_field("memory_map", &self.memory_map)?;
        plan.serialize_field("placements", &self.placements)?;
        plan.serialize_field("cpu", &self.cpu)?;
        plan.end()
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut content = serializer.serialize_struct("Content", 4)?;
        content.serialize_field("len", &self.len())?;
        match self {
            Self::Bytes(_) => content.serialize_field("from", "plan")?,
            Self::File(slice) => {
                content.serialize_field("from", "file")?;
                content.serialize_field("file", &slice.file)?;
                content.serialize_field("file_offset", &slice.range.offset())?;
            }
        }
        content.end()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{at, plan},
        *,
    };

    #[test]
    fn the_map_reads_ascending_with_sizes() {
        let plan = plan(vec![at("kernel", 0x10_0000, 3 << 20), at("params", 0x3000, 0x1800)]);
        assert_eq!(
            plan.unwrap().to_string(),
            "0x000000003000  0x000000004800       6 KiB  params\n\
             0x000000100000  0x000000400000       3 MiB  kernel\n"
        );
    }

    #[test]
    fn sizes_are_in_the_unit_a_person_would_choose() {
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(64 << 30), "64 GiB");
        assert_eq!(size(u64::MAX), "17179869183.9 GiB");
    }
}
