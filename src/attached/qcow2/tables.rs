//! Whether the tables of an image are such that what follows them, or takes clusters by them,
//! stays in the image and comes to an end.
//!
//! What reads and writes images takes its word for much: of one whose refcounts are not there it
//! would take the clusters that its header and tables are in.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use super::{Error, Header};

/// The most bits of a cluster's size, and the fewest.
const CLUSTER_BITS: std::ops::RangeInclusive<u32> = 9..=21;
/// The most bits of a refcount, as a power of two.
const REFCOUNT_ORDER_MAX: u32 = 6;
/// The refcounts of images of version 2 have 16 bits.
const REFCOUNT_ORDER_2: u32 = 4;
/// What a table's entry has of an offset.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const ENTRY_LEN: u64 = 8;
/// The names of features: 48 bytes each.
const FEATURE_NAMES: u32 = 0x6803_f857;
const FEATURE_NAME_LEN: u32 = 48;

/// What is wrong with a table.
fn wrong(what: &'static str) -> Error {
    Error::Broken(io::Error::new(io::ErrorKind::InvalidData, what))
}

/// Whether `header` has a size of clusters, and extensions, that can be.
pub(super) fn check_header(file: &File, header: &Header) -> Result<(), Error> {
    let cluster = cluster_len(header)?;
    if header.size() < cluster {
        return Err(Error::TooShort { found: header.size(), cluster });
    }
    if header.version() == 2 {
        return Ok(());
    }
    let mut at = u64::from(header.word(100));
    loop {
        if at.saturating_add(ENTRY_LEN) > cluster {
            return Err(wrong("its header is longer than a cluster"));
        }
        let [kind, len] = [at, at.saturating_add(4)].map(|at| number(file, at, 4));
        let (kind, len) = (kind?, len?);
        match u32::try_from(kind).unwrap_or(0) {
            0 => return Ok(()),
            FEATURE_NAMES if !len.is_multiple_of(FEATURE_NAME_LEN.into()) => {
                return Err(wrong("its names of features are cut off"));
            }
            _ => at = at.saturating_add(ENTRY_LEN).saturating_add(len.next_multiple_of(8)),
        }
    }
}

/// Whether every cluster of the image has a refcount somewhere, and those of its tables have
/// one that is not 0: for who is to write to it.
pub(super) fn check_refcounts(file: &File, header: &Header) -> Result<(), Error> {
    let refcounts = Refcounts::of(file, header)?;
    let cluster = refcounts.cluster;
    refcounts.check_in_use(0)?;
    for number in 0..header.word(56).into() {
        refcounts.check_in_use(refcounts.table.div_euclid(cluster).saturating_add(number))?;
    }
    for block in 0..refcounts.len.div_ceil(cluster).div_ceil(refcounts.per_block) {
        refcounts.check_in_use(refcounts.block(block)?.div_euclid(cluster))?;
    }
    let (first, entries) = (header.long(40), u64::from(header.word(36)));
    let len = entries.saturating_mul(ENTRY_LEN);
    check_place(first, len, (cluster, refcounts.len))?;
    for number in 0..len.div_ceil(cluster) {
        refcounts.check_in_use(first.div_euclid(cluster).saturating_add(number))?;
    }
    for entry in 0..entries {
        let at = first.saturating_add(entry.saturating_mul(ENTRY_LEN));
        let offset = number(file, at, 8)? & OFFSET;
        if offset != 0 {
            check_place(offset, cluster, (cluster, refcounts.len))?;
            refcounts.check_in_use(offset.div_euclid(cluster))?;
        }
    }
    Ok(())
}

/// Where an image has its refcounts.
struct Refcounts<'f> {
    file: &'f File,
    /// Bytes of the image.
    len: u64,
    cluster: u64,
    /// Where the table of blocks is, and how many entries it has.
    table: u64,
    entries: u64,
    /// Bits of a refcount, as a power of two, and how many a block has.
    order: u32,
    per_block: u64,
}

impl<'f> Refcounts<'f> {
    fn of(file: &'f File, header: &Header) -> Result<Self, Error> {
        let cluster = cluster_len(header)?;
        let order = if header.version() == 2 { REFCOUNT_ORDER_2 } else { header.word(96) };
        if order > REFCOUNT_ORDER_MAX {
            return Err(wrong("its refcounts are too long"));
        }
        let len = file.metadata().map_err(Error::Broken)?.len();
        let (table, clusters) = (header.long(48), u64::from(header.word(56)));
        let table_len = clusters.saturating_mul(cluster);
        if table == 0 || clusters == 0 {
            return Err(wrong("it has no refcounts"));
        }
        check_place(table, table_len, (cluster, len))?;
        let per_block = cluster.saturating_mul(8) >> order;
        Ok(Self { file, len, cluster, table, entries: table_len / ENTRY_LEN, order, per_block })
    }

    /// Where the block of that number is.
    fn block(&self, number: u64) -> Result<u64, Error> {
        if number >= self.entries {
            return Err(wrong("a cluster has no refcount"));
        }
        let at = self.table.saturating_add(number.saturating_mul(ENTRY_LEN));
        let block = self::number(self.file, at, 8)?;
        if block == 0 {
            return Err(wrong("a cluster has no refcount"));
        }
        check_place(block, self.cluster, (self.cluster, self.len))?;
        Ok(block)
    }

    /// That the cluster of that number is in use.
    fn check_in_use(&self, cluster: u64) -> Result<(), Error> {
        let block = self.block(cluster.div_euclid(self.per_block))?;
        let bit = cluster.rem_euclid(self.per_block) << self.order;
        let at = block.saturating_add(bit / 8);
        let bytes = 1_usize << self.order.saturating_sub(3);
        let found = number(self.file, at, bytes)?;
        // Of those that are shorter than a byte, the other ones are left out.
        let mask = match self.order {
            0 => 1,
            1 => 3,
            2 => 0xf,
            _ => u64::MAX,
        };
        let shift = if self.order < 3 { bit % 8 } else { 0 };
        let count = (found >> shift) & mask;
        if count == 0 { Err(wrong("a table is in a cluster that is free")) } else { Ok(()) }
    }
}

fn cluster_len(header: &Header) -> Result<u64, Error> {
    match header.word(20) {
        bits if CLUSTER_BITS.contains(&bits) => Ok(1 << bits),
        _ => Err(wrong("its clusters have a size that can't be")),
    }
}

/// That `len` bytes at `offset` begin with a cluster and end in the image.
fn check_place(offset: u64, len: u64, (cluster, image): (u64, u64)) -> Result<(), Error> {
    let end = offset.checked_add(len);
    // The last cluster may not be there as a whole.
    let fits = end.is_some_and(|end| end <= image.next_multiple_of(cluster)) && offset < image;
    if fits && offset.is_multiple_of(cluster) {
        Ok(())
    } else {
        Err(wrong("a table is where none can be"))
    }
}

/// The number of `len` bytes at `at`; what is behind the end is 0.
fn number(file: &File, at: u64, len: usize) -> Result<u64, Error> {
    let mut bytes = [0; 8];
    let place = bytes.get_mut(8_usize.saturating_sub(len)..).unwrap_or_default();
    match file.read_exact_at(place, at) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        done => done.map(|()| u64::from_be_bytes(bytes)).map_err(Error::Broken),
    }
}
