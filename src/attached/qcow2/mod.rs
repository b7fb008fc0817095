//! What a qcow2 image says of itself, looked at before anybody follows it: QEMU,
//! docs/interop/qcow2.rst.

#[cfg(test)]
mod lies;
mod tables;

use std::{fs::File, io, os::unix::fs::FileExt as _};

use thiserror::Error;

use crate::visible::visible;

/// What every qcow2 image begins with.
const MAGIC: [u8; 4] = *b"QFI\xfb";
/// Bytes of the header's fields of interest: all of version 2, and of version 3 what an image
/// wants of its readers.
const LEN: usize = 104;
/// The longest name of a backing file.
const NAME_MAX: u32 = 1023;
/// The longest disk, so that what is kept of one has bounds: the longest file of ext4.
const DISK_MAX: u64 = 16 << 40;

/// What readers of an image have to know, by bit.
mod feature {
    pub(super) const DIRTY: u64 = 1;
    pub(super) const CORRUPT: u64 = 2;
    pub(super) const DATA_FILE: u64 = 4;
}

/// Why a qcow2 image is not taken.
#[derive(Debug, Error)]
pub enum Error {
    /// It is something else.
    #[error("is no qcow2 image: its first bytes are not those of one")]
    Other,
    /// Nobody knows it.
    #[error("is a qcow2 image of version {found}, and 2 and 3 are known")]
    Version {
        /// Which.
        found: u32,
    },
    /// It stands on another one.
    #[error(
        "is a part of an image: the rest is in {}, and no file is opened because an image names it",
        visible(name)
    )]
    Backing {
        /// As the image has it.
        name: String,
    },
    /// What it holds is elsewhere.
    #[error(
        "holds no data: they are in a file beside it, and no file is opened because an image names it"
    )]
    DataFile,
    /// It is encrypted.
    #[error("is encrypted, and no key can be given")]
    Encrypted,
    /// It was not closed, or is known to be broken.
    #[error("was {}", if *is_corrupt { "found to be corrupt" } else { "not closed as it should be" })]
    Unclean {
        /// Which of both.
        is_corrupt: bool,
    },
    /// It is of a newer kind.
    #[error("wants features that are not known here: {bits:#x}")]
    Features {
        /// Their bits.
        bits: u64,
    },
    /// It is longer than a disk may be.
    #[error("holds a disk of {found} bytes, and the longest has {DISK_MAX}")]
    TooLong {
        /// How long.
        found: u64,
    },
    /// It is shorter than what an image has it in.
    #[error("holds a disk of {found} bytes, less than one cluster, {cluster}")]
    TooShort {
        /// How long.
        found: u64,
        /// How long a cluster is.
        cluster: u64,
    },
    /// Its tables are wrong, or it can't be read.
    #[error("is a qcow2 image that can't be read")]
    Broken(#[source] io::Error),
}

impl Error {
    /// The way out, for the image at `path`.
    pub(crate) fn hint(&self, path: &str) -> Option<String> {
        match self {
            Self::Other => Some("a raw image wants ,format=raw".into()),
            // Not without a condition: it is QEMU's program then that opens what is named.
            Self::Backing { .. } | Self::DataFile => Some(format!(
                "if you trust its maker: qemu-img convert -O qcow2 {path} whole.qcow2 makes one file of all"
            )),
            Self::Encrypted => Some(format!(
                "with its key in the file KEY, qemu-img convert --object secret,id=key,file=KEY --image-opts driver=qcow2,encrypt.key-secret=key,file.filename={path} -O raw disk.raw makes a raw image of it"
            )),
            Self::Features { .. } | Self::Version { .. } => {
                Some(format!("qemu-img convert -O raw {path} disk.raw makes a raw image of it"))
            }
            Self::Unclean { .. } => Some(format!("qemu-img check -r all {path} mends it")),
            Self::Broken(_) => Some(format!("qemu-img check {path} says more")),
            Self::TooShort { .. } | Self::TooLong { .. } => None,
        }
    }
}

/// How long the disk is that `file` holds, if it stands on nothing else and its tables can be
/// followed; and if it `is_written`, by what allots its clusters too.
pub(super) fn disk_len(file: &File, is_written: bool) -> Result<u64, Error> {
    let header = Header::read(file)?;
    header.check(file)?;
    tables::check_header(file, &header)?;
    if is_written {
        tables::check_refcounts(file, &header)?;
    }
    Ok(header.size())
}

/// Whether `file` begins as qcow2 images do.
pub(super) fn looks_so(file: &File) -> bool {
    let mut start = MAGIC;
    start.reverse();
    read(file, &mut start).is_ok() && start == MAGIC
}

/// The header of an image that begins as one does.
struct Header([u8; LEN]);

impl Header {
    fn read(file: &File) -> Result<Self, Error> {
        let mut header = [0; LEN];
        read(file, &mut header)?;
        if header.starts_with(&MAGIC) { Ok(Self(header)) } else { Err(Error::Other) }
    }

    fn check(&self, file: &File) -> Result<(), Error> {
        if !matches!(self.version(), 2 | 3) {
            return Err(Error::Version { found: self.version() });
        }
        // Those of version 2 are shorter.
        check_features(if self.version() == 2 { 0 } else { self.long(72) })?;
        if self.long(8) != 0 {
            return Err(Error::Backing { name: self.backing_name(file)? });
        }
        if self.word(32) != 0 {
            return Err(Error::Encrypted);
        }
        match self.size() {
            found if found > DISK_MAX => Err(Error::TooLong { found }),
            _ => Ok(()),
        }
    }

    fn version(&self) -> u32 {
        self.word(4)
    }

    /// Bytes of the disk.
    fn size(&self) -> u64 {
        self.long(24)
    }

    fn backing_name(&self, file: &File) -> Result<String, Error> {
        let len = self.word(16).min(NAME_MAX);
        let mut name = vec![0; usize::try_from(len).unwrap_or(0)];
        match file.read_exact_at(&mut name, self.long(8)) {
            Ok(()) => Ok(String::from_utf8_lossy(&name).into_owned()),
            Err(error) => Err(Error::Broken(error)),
        }
    }

    /// The field at `at`.
    fn word(&self, at: usize) -> u32 {
        let bytes = self.0.get(at..).and_then(<[u8]>::first_chunk);
        u32::from_be_bytes(bytes.copied().unwrap_or_default())
    }

    /// The field of twice that length at `at`.
    fn long(&self, at: usize) -> u64 {
        let bytes = self.0.get(at..).and_then(<[u8]>::first_chunk);
        u64::from_be_bytes(bytes.copied().unwrap_or_default())
    }
}

fn check_features(features: u64) -> Result<(), Error> {
    if features & feature::DATA_FILE != 0 {
        return Err(Error::DataFile);
    }
    match features & !(feature::DIRTY | feature::CORRUPT) {
        0 if features == 0 => Ok(()),
        0 => Err(Error::Unclean { is_corrupt: features & feature::CORRUPT != 0 }),
        bits => Err(Error::Features { bits }),
    }
}

fn read(file: &File, into: &mut [u8]) -> Result<(), Error> {
    match file.read_exact_at(into, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Error::Other),
        done => done.map_err(Error::Broken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The start of a sound image, with `changes`.
    fn said(changes: &[(usize, &[u8])]) -> String {
        let mut image = vec![0; 0x1_0000];
        let mut put = |at: usize, bytes: &[u8]| image[at..][..bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC);
        put(4, &3_u32.to_be_bytes());
        put(20, &16_u32.to_be_bytes());
        put(24, &(5_u64 << 20).to_be_bytes());
        put(100, &104_u32.to_be_bytes());
        for (at, bytes) in changes {
            put(*at, bytes);
        }
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&image, 0).unwrap();
        match disk_len(&file, false) {
            Ok(len) => len.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_sound_image_says_how_long_its_disk_is() {
        assert_eq!(said(&[]), "5242880");
        // What would be features belongs to something else in version 2.
        assert_eq!(said(&[(4, &2_u32.to_be_bytes()), (72, &[0xff; 8])]), "5242880");
    }

    #[test]
    fn an_image_that_names_another_file_is_refused_with_its_name() {
        let backing: &[(usize, &[u8])] =
            &[(14, &[2, 0]), (16, &11_u32.to_be_bytes()), (0x200, b"/etc/shadow")];
        assert_eq!(
            said(backing),
            "is a part of an image: the rest is in /etc/shadow, and no file is opened because an \
             image names it"
        );
        assert_eq!(
            said(&[(79, &[4])]),
            "holds no data: they are in a file beside it, and no file is opened because an image \
             names it"
        );
    }

    #[test]
    fn what_can_not_be_read_right_is_refused() {
        assert_eq!(
            said(&[(0, b"QFI!")]),
            "is no qcow2 image: its first bytes are not those of one"
        );
        assert_eq!(said(&[(7, &[4])]), "is a qcow2 image of version 4, and 2 and 3 are known");
        assert_eq!(said(&[(35, &[1])]), "is encrypted, and no key can be given");
        assert_eq!(said(&[(79, &[1])]), "was not closed as it should be");
        assert_eq!(said(&[(79, &[3])]), "was found to be corrupt");
        assert_eq!(said(&[(79, &[0x11])]), "wants features that are not known here: 0x10");
        assert_eq!(
            said(&[(24, &[1])]),
            "holds a disk of 72057594043170816 bytes, and the longest has 17592186044416"
        );
        let short = tempfile::tempfile().unwrap();
        short.write_all_at(&MAGIC, 0).unwrap();
        assert!(matches!(disk_len(&short, false), Err(Error::Other)));
        assert!(looks_so(&short));
    }

    #[test]
    fn tables_that_lie_are_found() {
        assert_eq!(said(&[(24, &[0; 8])]), "holds a disk of 0 bytes, less than one cluster, 65536");
        let broken = "is a qcow2 image that can't be read";
        assert_eq!(said(&[(20, &32_u32.to_be_bytes())]), broken);
        // Names of features that are cut off, and an extension without end.
        assert_eq!(said(&[(104, &[0x68, 0x03, 0xf8, 0x57, 0, 0, 0, 1])]), broken);
        assert_eq!(said(&[(104, &[0xff; 8])]), broken);
    }

    #[test]
    fn an_image_without_refcounts_is_not_written() {
        let file = tempfile::tempfile().unwrap();
        let mut image = vec![0; 0x1_0000];
        for (at, bytes) in [(0, &MAGIC[..]), (7, &[3]), (23, &[16]), (29, &[0x50]), (103, &[104])] {
            image[at..][..bytes.len()].copy_from_slice(bytes);
        }
        file.write_all_at(&image, 0).unwrap();
        assert_eq!(disk_len(&file, false).unwrap(), 5 << 20);
        assert!(matches!(disk_len(&file, true), Err(Error::Broken(_))));
    }
}
