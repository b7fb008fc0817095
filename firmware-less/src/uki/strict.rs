//! Which files are refused by what their headers say of the sections.
//!
//! Which of it is checked is for the reading to say. The default's rule: what two
//! of today's readers (firmware and stub, bootctl, ukify, the kernel's and
//! kexec-tools' loaders) read differently is refused; what ukify, objcopy and
//! signing tools write is accepted.

use std::mem;

use goblin::pe::subsystem::IMAGE_SUBSYSTEM_EFI_APPLICATION;

use super::{
    error::Error,
    pe::Headers,
    reading::{Check, Rules},
    section::{Name, RawName, Section},
};

/// Checks what `rules` want of the headers, in the order of the file: header
/// fields, then the sections one by one, then together.
pub(super) fn check(headers: &Headers, rules: &Rules) -> Result<(), Error> {
    let wanted = |check| rules.checks(check).is_some();
    let extremes = Extremes::of(&headers.sections);
    if wanted(Check::Subsystem) {
        check_subsystem(headers.subsystem)?;
    }
    if wanted(Check::TableInHeaders) {
        check_table_in_headers(headers)?;
    }
    if wanted(Check::SectionsPastHeaders) && extremes.pointer < headers.size_of_headers {
        refuse_sections_within_headers(headers)?;
    }
    let all_inside = extremes.are_inside(headers);
    for section in headers.sections.iter().filter(|section| !all_inside || section.name.is_some()) {
        check_section(section, headers, wanted)?;
    }
    if wanted(Check::Singletons) {
        check_duplicates(&headers.sections)?;
    }
    if wanted(Check::OverlapInFile) {
        check_overlaps_in_file(&headers.sections)?;
    }
    if wanted(Check::OverlapInMemory) && !extremes.ascend {
        check_overlaps_in_memory(&headers.sections)?;
    }
    Ok(())
}

/// What one look at all sections tells, so that those which mean nothing need no
/// second one: there are files with tens of thousands.
struct Extremes {
    /// Where in the file the first one begins that has bytes there.
    pointer: u32,
    /// Where in the file the last one ends that has bytes there.
    end: u64,
    /// Where in memory the last one ends that has bytes there.
    virtual_end: u64,
    /// Whether each begins in memory where the one before it ends, or later.
    ascend: bool,
}

impl Extremes {
    fn of(sections: &[Section]) -> Self {
        let mut seen = Self { pointer: u32::MAX, end: 0, virtual_end: 0, ascend: true };
        for section in sections {
            if section.size_of_raw_data != 0 {
                seen.pointer = seen.pointer.min(section.pointer_to_raw_data);
                let len = u64::from(section.size_of_raw_data);
                seen.end = seen.end.max(len.saturating_add(section.pointer_to_raw_data.into()));
            }
            if section.is_set() {
                seen.ascend &= u64::from(section.virtual_address) >= seen.virtual_end;
                seen.virtual_end = seen.virtual_end.max(section.virtual_end());
            }
        }
        seen
    }

    /// Whether no section ends past the file's end, nor past the image's in memory.
    fn are_inside(&self, headers: &Headers) -> bool {
        self.end <= headers.file_len && self.virtual_end <= headers.size_of_image.into()
    }
}

/// UAPI.5 "Unified Kernel Image": the subsystem of UKIs is EFI application.
fn check_subsystem(found: u16) -> Result<(), Error> {
    let wanted = IMAGE_SUBSYSTEM_EFI_APPLICATION;
    if found == wanted { Ok(()) } else { Err(Error::Subsystem { found, wanted }) }
}

/// Firmware finds no section header past SizeOfHeaders.
fn check_table_in_headers(headers: &Headers) -> Result<(), Error> {
    let &Headers { size_of_headers, table_end, .. } = headers;
    if u64::from(size_of_headers) < table_end {
        return Err(Error::HeadersCut { size_of_headers, table_end });
    }
    Ok(())
}

/// The Authenticode digest takes for content what begins within the headers, so
/// that it is counted twice. Only called where something does: says what.
fn refuse_sections_within_headers(headers: &Headers) -> Result<(), Error> {
    let size_of_headers = headers.size_of_headers;
    let in_file = headers.sections.iter().filter(|section| section.size_of_raw_data != 0);
    match in_file.min_by_key(|section| section.pointer_to_raw_data) {
        Some(first) => Err(Error::WithinHeaders {
            section: first.raw_name,
            pointer: first.pointer_to_raw_data,
            size_of_headers,
        }),
        None => Ok(()),
    }
}

fn check_section(
    section: &Section,
    headers: &Headers,
    wanted: impl Fn(Check) -> bool,
) -> Result<(), Error> {
    let past_end = section.size_of_raw_data != 0 && section.raw_range().end() > headers.file_len;
    if past_end && wanted(Check::SectionsInFile) {
        return Err(Error::PastEndOfFile {
            section: section.raw_name,
            end: section.raw_range().end(),
            file_len: headers.file_len,
        });
    }
    if let Some(name) = section.name {
        check_known_section(name, section, headers, &wanted)?;
    }
    let past_image = section.is_set() && section.virtual_end() > headers.size_of_image.into();
    if past_image && wanted(Check::InImage) {
        return Err(Error::PastImage {
            section: section.raw_name,
            end: section.virtual_end(),
            size_of_image: headers.size_of_image,
        });
    }
    Ok(())
}

/// What is asked only of sections that mean something: `.bss` and its kind may
/// well be longer in memory.
fn check_known_section(
    name: Name,
    section: &Section,
    headers: &Headers,
    wanted: impl Fn(Check) -> bool,
) -> Result<(), Error> {
    if !section.raw_name.is_padded_with_nuls() && wanted(Check::NamePadding) {
        return Err(Error::BytesAfterName { name, raw: section.raw_name });
    }
    if section.virtual_size > section.size_of_raw_data && wanted(Check::VirtualSize) {
        return Err(Error::VirtualSize {
            section: section.raw_name,
            virtual_size: section.virtual_size,
            size_of_raw_data: section.size_of_raw_data,
        });
    }
    let aligned = section.pointer_to_raw_data.is_multiple_of(headers.file_alignment);
    if section.is_set() && !aligned && wanted(Check::Alignment) {
        return Err(Error::Unaligned {
            section: section.raw_name,
            pointer: section.pointer_to_raw_data,
            file_alignment: headers.file_alignment,
        });
    }
    Ok(())
}

/// Within the base, and within each profile, a name may stand once, whatever
/// its size: an empty section hides a later one from the stub.
fn check_duplicates(sections: &[Section]) -> Result<(), Error> {
    let mut seen = [None; Name::ALL.len()];
    for (place, section) in sections.iter().enumerate() {
        let Some(name) = section.name else { continue };
        if name == Name::Profile {
            seen = [None; Name::ALL.len()];
        }
        let Some(earlier) = seen.get_mut(name as usize) else { continue };
        match earlier.replace(place) {
            Some(first) if !name.repeats() => {
                return Err(Error::Duplicate { section: name, first, second: place });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Only sections that mean something: nobody reads the others from the file.
fn check_overlaps_in_file(sections: &[Section]) -> Result<(), Error> {
    let known = sections.iter().filter(|section| section.name.is_some());
    let extents = known.map(|section| Extent {
        name: section.raw_name,
        start: section.raw_range().offset(),
        end: section.raw_range().end(),
    });
    match first_overlap(extents) {
        None => Ok(()),
        Some((first, second)) => Err(Error::OverlapInFile {
            first: first.name,
            first_end: first.end,
            second: second.name,
            second_start: second.start,
        }),
    }
}

/// Every section: firmware loads them all, one over the other if need be.
fn check_overlaps_in_memory(sections: &[Section]) -> Result<(), Error> {
    let extents = sections.iter().map(|section| Extent {
        name: section.raw_name,
        start: section.virtual_address.into(),
        end: section.virtual_end(),
    });
    match first_overlap(extents) {
        None => Ok(()),
        Some((first, second)) => Err(Error::OverlapInMemory {
            first: first.name,
            first_end: first.end,
            second: second.name,
            second_start: second.start,
        }),
    }
}

/// Where a section is, be it in the file or in memory.
#[derive(Clone, Copy)]
struct Extent {
    name: RawName,
    start: u64,
    end: u64,
}

/// The lowest two of `extents` that share an address. Empty ones share none.
fn first_overlap(extents: impl Iterator<Item = Extent> + Clone) -> Option<(Extent, Extent)> {
    let extents = extents.filter(|extent| extent.start < extent.end);
    // Nearly every file has them one after the other, and then nothing is to be sorted.
    let mut end = 0;
    if extents.clone().all(|extent| extent.start >= mem::replace(&mut end, extent.end)) {
        return None;
    }
    let mut extents: Vec<_> = extents.collect();
    extents.sort_by_key(|extent| extent.start);
    let pairs = extents.iter().zip(extents.iter().skip(1));
    pairs.into_iter().find(|(low, high)| high.start < low.end).map(|(low, high)| (*low, *high))
}
