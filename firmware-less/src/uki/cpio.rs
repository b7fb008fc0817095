//! [`archive`]: the cpio archives in which systemd-stub hands files to the initrd.

use std::fmt::Write as _;

use crate::range::{align_up, index};

/// Where in the initrd's tree files are put, and with what rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The folder, without a slash at either end.
    pub dir: &'static str,
    /// Rights of the folder itself; folders above it have 0555.
    pub dir_mode: u32,
    /// Rights of the files in it.
    pub file_mode: u32,
}

impl Target {
    /// What the UKI's own sections become. `src/boot/cpio.c`, `cpio_target_meta`.
    pub const EXTRA: Self = Self { dir: ".extra", dir_mode: 0o555, file_mode: 0o444 };
    /// Credentials that lie beside the UKI. `src/boot/cpio.c`, `cpio_target_credentials`.
    pub const CREDENTIALS: Self =
        Self { dir: ".extra/credentials", dir_mode: 0o500, file_mode: 0o400 };
}

/// A directory's bits in the mode. `inode(7)`.
const DIRECTORY: u32 = 0o040_000;
/// A regular file's.
const REGULAR: u32 = 0o100_000;
/// The rights of folders above the target's.
const PARENT_MODE: u32 = 0o555;
/// Every record and its content begin at a multiple of this.
const ALIGN: u64 = 4;
/// The end of the archive. Its length of the name is the one number that the
/// stub writes with a capital letter.
const TRAILER: &[u8; 124] = b"070701\
    00000000000000000000000000000000000000010000000000000000\
    000000000000000000000000000000000000000B00000000\
    TRAILER!!!\0\0\0\0";

/// The archive that the stub makes of `files`, names and contents, byte for byte;
/// `None` where one is longer than 32 bits can say.
///
/// Format "newc" of the kernel's `Documentation/driver-api/early-userspace/
/// buffer-format.rst`, as `src/boot/cpio.c` writes it: the folders, the files,
/// the trailer, and no padding after it.
#[must_use]
pub fn archive(target: &Target, files: &[(&str, &[u8])]) -> Option<Vec<u8>> {
    let mut archive = Archive::default();
    for (slash, _) in target.dir.match_indices('/') {
        archive.add(DIRECTORY | PARENT_MODE, target.dir.get(..slash)?, &[])?;
    }
    archive.add(DIRECTORY | target.dir_mode, target.dir, &[])?;
    for (name, content) in files {
        let path = format!("{}/{name}", target.dir);
        archive.add(REGULAR | target.file_mode, &path, content)?;
    }
    archive.bytes.extend(TRAILER);
    Some(archive.bytes)
}

/// A file at the root of an initrd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootFile<'a> {
    /// Its name, without a slash.
    pub name: &'a str,
    /// Its rights.
    pub mode: u32,
    /// What is in it.
    pub content: &'a [u8],
}

/// An initrd of `files` and nothing else; `None` where one is longer than 32 bits
/// can say.
#[must_use]
pub fn initrd(files: &[RootFile<'_>]) -> Option<Vec<u8>> {
    let mut archive = Archive::default();
    for RootFile { name, mode, content } in files {
        archive.add(REGULAR | mode, name, content)?;
    }
    archive.bytes.extend(TRAILER);
    Some(archive.bytes)
}

/// An archive in the making.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    records: u32,
}

impl Archive {
    fn add(&mut self, mode: u32, path: &str, content: &[u8]) -> Option<()> {
        self.records = self.records.checked_add(1)?;
        let size = u32::try_from(content.len()).ok()?;
        let name_size = u32::try_from(path.len()).ok()?.checked_add(1)?;
        // Inode, mode, uid, gid, links, mtime, size, device and special device by
        // major and minor number, size of the name, check sum.
        let fields = [self.records, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        let mut header = String::from("070701");
        for field in fields {
            write!(header, "{field:08x}").ok()?;
        }
        self.bytes.extend(header.bytes().chain(path.bytes()).chain([0]));
        self.pad()?;
        self.bytes.extend(content);
        self.pad()
    }

    fn pad(&mut self) -> Option<()> {
        let padded = align_up(self.bytes.len() as u64, ALIGN)?;
        self.bytes.resize(index(padded), 0);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    const OS_RELEASE: &[u8] = b"ID=test\nPRETTY_NAME=\"Test\"\n";

    #[test]
    fn an_os_release_file_is_packed_as_the_stub_packs_it() {
        let archive = archive(&Target::EXTRA, &[("os-release", OS_RELEASE)]).unwrap();
        assert_eq!(archive.len(), 400);
        let digest: [u8; 32] = Sha256::digest(&archive).into();
        assert_eq!(
            digest.map(|byte| format!("{byte:02x}")).concat(),
            "0cff8b063ad7c966c1cc9b5c07a84569ac345b13db240dbc903d2b6389fe07f7"
        );
    }

    #[test]
    fn an_initrd_has_its_files_at_the_root() {
        let file = |name, mode, content| RootFile { name, mode, content };
        let files = [file("init", 0o755, b"ELF".as_slice()), file("kernel", 0o444, b"MZ....")];
        let archive = initrd(&files).unwrap();
        let text = String::from_utf8_lossy(&archive).replace('\0', "_");
        let records: Vec<_> = text.split("070701").skip(1).collect();
        let record = |number: usize| {
            let (fields, rest) = records[number].split_at(104);
            (&fields[8..16], &fields[48..56], rest)
        };
        assert_eq!(record(0), ("000081ed", "00000003", "init__ELF_"));
        assert_eq!(record(1), ("00008124", "00000006", "kernel____MZ....__"));
        assert_eq!(record(2).2, "TRAILER!!!____");
        assert_eq!(records.len(), 3);
    }

    #[test]
    fn each_folder_of_the_path_is_a_record_of_its_own() {
        let archive = archive(&Target::CREDENTIALS, &[("a.cred", b"12345"), ("b.cred", b"")]);
        let archive = archive.unwrap();
        let text = String::from_utf8_lossy(&archive).replace('\0', "_");
        let records: Vec<_> = text.split("070701").skip(1).collect();
        let record = |number: usize| {
            let (fields, rest) = records[number].split_at(104);
            (&fields[..16], &fields[48..56], &fields[88..96], rest)
        };
        assert_eq!(record(0), ("000000010000416d", "00000000", "00000007", ".extra____"));
        assert_eq!(
            record(1),
            ("0000000200004140", "00000000", "00000013", ".extra/credentials____")
        );
        assert_eq!(
            record(2),
            ("0000000300008100", "00000005", "0000001a", ".extra/credentials/a.cred_12345___")
        );
        assert_eq!(record(3).0, "0000000400008100");
        assert_eq!(record(4).2, "0000000B");
        assert_eq!(records.len(), 5);
        assert_eq!(archive.len() % 4, 0);
    }

    #[test]
    fn a_file_that_says_that_it_is_one_is_one() {
        let file = |mode| RootFile { name: "a", mode, content: b"" };
        assert_eq!(initrd(&[file(0o100_644)]), initrd(&[file(0o644)]));
    }
}
