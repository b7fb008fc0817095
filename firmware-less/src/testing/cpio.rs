//! Archives, record by record.

/// A record of the format "newc": its name as it stands there, the NUL at its end too.
#[must_use]
pub fn record(name: &str, mode: u32, content: &[u8]) -> Vec<u8> {
    let mut record = format!("070701{:08x}{mode:08x}", 1).into_bytes();
    record.extend_from_slice(format!("{:032x}", 1).as_bytes());
    record.truncate(6 + 6 * 8);
    record.extend_from_slice(format!("{:08x}", content.len()).as_bytes());
    record.extend_from_slice(format!("{:032x}{:08x}{:08x}", 0, name.len(), 0).as_bytes());
    record.extend_from_slice(name.as_bytes());
    record.resize(record.len().next_multiple_of(4), 0);
    record.extend_from_slice(content);
    record.resize(record.len().next_multiple_of(4), 0);
    record
}

/// An archive of regular files, names and contents, and its trailer.
#[must_use]
pub fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let file = |(name, content): &(&str, &[u8])| record(&format!("{name}\0"), 0o100_644, content);
    let mut archive: Vec<u8> = files.iter().flat_map(file).collect();
    archive.extend(record("TRAILER!!!\0", 0, b""));
    archive
}
