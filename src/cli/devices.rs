//! Options for the machine's devices on PCI.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::Args;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{NetOption, Publish, ShareOption};
use crate::devices::virtio::block::SERIAL_LEN;

/// Devices on PCI.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Devices")]
pub struct DeviceOptions {
    /// Give the guest a disk (virtio-blk); may be repeated
    ///
    /// DISK is the path of an image: path=FILE, or FILE alone where it comes first. Behind it,
    /// after commas: `ro`, it can't be written to; `serial=TEXT`, what it calls itself, at most
    /// 20 bytes; `discard`, what the guest discards is taken out of the file; `ephemeral`, as
    /// --ephemeral for this disk; `format=raw` or `format=qcow2`, which is else told by the name
    /// alone: qcow2 if it ends in .qcow2, raw if not. A comma in a path or a serial number is
    /// written twice. With a disk comes a source of random numbers (virtio-rng), in the slot
    /// behind the last one.
    #[arg(long, value_name = "DISK")]
    pub disk: Vec<DiskOption>,

    /// Keep what guests write to disks aside, and drop it at the end: the images stay as they are
    #[arg(long)]
    pub ephemeral: bool,

    /// Give the guest a network card (virtio-net); may be repeated
    ///
    /// `user`: a network of its own, by passt(1), for which no privileges are needed. The guest is
    /// 10.0.2.15, as DHCP tells it too; 10.0.2.2 is the host itself, and what lies beyond is
    /// reached as the host reaches it. IPv6 is as the host has it. `tap=NAME`: the host's tap
    /// device of that name, which is there and may be used. Behind it, after a comma,
    /// mac=ADDRESS; otherwise the card's address is the same every time.
    #[arg(long, value_name = "user|tap=NAME[,mac=ADDRESS]")]
    pub net: Vec<NetOption>,

    /// Let the host in at a port of a guest with --net user; may be repeated
    ///
    /// Who connects to HOST at the host's address HOSTADDR comes to the guest's port GUEST.
    /// HOSTADDR is 127.0.0.1 if left out, so that nobody else is let in; 0.0.0.0 is all that the
    /// host has, and an address of IPv6 stands in brackets. Of several cards it is the first with
    /// `user`.
    #[arg(long, value_name = "[HOSTADDR:]HOST:GUEST[/udp]")]
    pub publish: Vec<Publish>,

    /// Share a folder with the guest (virtio-fs); may be repeated
    ///
    /// By virtiofsd, which has to be installed. The guest mounts it with: mount -t virtiofs TAG
    /// WHERE. TAG has at most 36 bytes and no slash, and is the folder's own name if left out.
    /// With `:ro` nobody can write to it through the guest.
    // virtiofsd has guest memory too; that in huge pages was never tried with it.
    #[arg(long, value_name = "DIR[:TAG][:ro]", conflicts_with = "hugepages")]
    pub share: Vec<ShareOption>,
}

/// `--disk`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskOption {
    /// The image.
    pub path: PathBuf,
    /// The guest can't write to it.
    pub read_only: bool,
    /// What the guest discards is taken out of the image.
    pub discard: bool,
    /// Changes are dropped at the end.
    pub ephemeral: bool,
    /// What the disk calls itself.
    pub serial: Option<String>,
    /// How the disk lies in the image, if that was said.
    pub format: Option<DiskFormat>,
}

impl DiskOption {
    /// How the disk lies in the image. Never told by what is in it: whoever can write to a raw
    /// image, a guest above all, could make it another one that names files of the host's.
    #[must_use]
    pub fn format(&self) -> DiskFormat {
        self.format.unwrap_or_else(|| DiskFormat::by_name(&self.path))
    }
}

/// How a disk lies in its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskFormat {
    /// Byte for byte.
    Raw,
    /// In clusters, as QEMU does it.
    Qcow2,
}

impl DiskFormat {
    fn by_name(path: &Path) -> Self {
        match path.extension() {
            Some(extension) if extension.eq_ignore_ascii_case("qcow2") => Self::Qcow2,
            _ => Self::Raw,
        }
    }
}

/// What is wrong with a value of `--disk`.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DiskError {
    /// No image.
    #[error("give the path of an image first, or path=FILE")]
    NoPath,
    /// The same key twice.
    #[error("{0} is given twice")]
    Twice(String),
    /// A key that is none.
    #[error(
        "{0:?} is none of path=FILE, ro, serial=TEXT, discard, ephemeral, format=raw, format=qcow2"
    )]
    Unknown(String),
    /// A key without its value.
    #[error("{0} wants a value, as in {0}=…")]
    NoValue(String),
    /// A serial number that does not fit.
    #[error("the serial number has {found} bytes, and there is room for {SERIAL_LEN}")]
    Serial {
        /// How many.
        found: usize,
    },
}

impl FromStr for DiskOption {
    type Err = DiskError;

    fn from_str(text: &str) -> Result<Self, DiskError> {
        let mut disk = Self::default();
        let mut seen: Vec<String> = Vec::new();
        for (number, word) in words(text).into_iter().enumerate() {
            let (key, value) = match word.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None if number == 0 && !FLAGS.contains(&word.as_str()) => {
                    ("path".to_owned(), Some(word))
                }
                None => (word, None),
            };
            if seen.contains(&key) {
                return Err(DiskError::Twice(key));
            }
            match (key.as_str(), value) {
                ("path" | "serial" | "format", None) => return Err(DiskError::NoValue(key)),
                ("path", Some(path)) if !path.is_empty() => disk.path = path.into(),
                ("ro", None) => disk.read_only = true,
                ("discard", None) => disk.discard = true,
                ("ephemeral", None) => disk.ephemeral = true,
                ("serial", Some(serial)) if serial.len() > SERIAL_LEN => {
                    return Err(DiskError::Serial { found: serial.len() });
                }
                ("serial", Some(serial)) => disk.serial = Some(serial),
                ("format", Some(format)) if format == "raw" => disk.format = Some(DiskFormat::Raw),
                ("format", Some(format)) if format == "qcow2" => {
                    disk.format = Some(DiskFormat::Qcow2);
                }
                ("path", Some(_)) => return Err(DiskError::NoPath),
                (_, Some(value)) => return Err(DiskError::Unknown(format!("{key}={value}"))),
                (_, None) => return Err(DiskError::Unknown(key)),
            }
            seen.push(key);
        }
        if disk.path.as_os_str().is_empty() { Err(DiskError::NoPath) } else { Ok(disk) }
    }
}

/// The keys without values.
const FLAGS: [&str; 3] = ["ro", "discard", "ephemeral"];

/// What lies between single commas, with two commas for one.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character != ',' || characters.next_if_eq(&',').is_some() {
            words.last_mut().into_iter().for_each(|word| word.push(character));
        } else {
            words.push(String::new());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        text.parse::<DiskOption>().unwrap_err().to_string()
    }

    #[test]
    fn a_disk_is_a_path_and_what_else_is_said_of_it() {
        let all = "path=a,,b=c.img,ro,serial=x=1,discard,ephemeral,format=raw";
        let all = all.parse::<DiskOption>();
        let expected = DiskOption {
            path: "a,b=c.img".into(),
            read_only: true,
            discard: true,
            ephemeral: true,
            serial: Some("x=1".into()),
            format: Some(DiskFormat::Raw),
        };
        assert_eq!(all, Ok(expected));
        let short = DiskOption { path: "disk.img".into(), ..DiskOption::default() };
        assert_eq!("disk.img".parse(), Ok(short));
    }

    #[test]
    fn what_is_wrong_with_a_disk_is_said() {
        assert_eq!(wrong(""), "give the path of an image first, or path=FILE");
        assert_eq!(wrong("ro"), "give the path of an image first, or path=FILE");
        assert_eq!(wrong("a.img,ro,ro"), "ro is given twice");
        assert_eq!(wrong("a.img,path=b.img"), "path is given twice");
        assert_eq!(wrong("a.img,serial"), "serial wants a value, as in serial=…");
        assert_eq!(
            wrong("a.img,readonly=on"),
            "\"readonly=on\" is none of path=FILE, ro, serial=TEXT, discard, ephemeral, \
             format=raw, format=qcow2"
        );
        assert!(wrong("a.img,format=vmdk").starts_with("\"format=vmdk\" is none of "));
        assert_eq!(
            wrong("a.img,serial=123456789012345678901"),
            "the serial number has 21 bytes, and there is room for 20"
        );
    }

    #[test]
    fn a_format_is_told_by_an_option_or_by_the_name_and_by_nothing_else() {
        let format = |text: &str| text.parse::<DiskOption>().unwrap().format();
        for raw in ["a", "a.img", "qcow2", "a.qcow2.raw", "a.qcow2,format=raw"] {
            assert_eq!(format(raw), DiskFormat::Raw, "{raw}");
        }
        for qcow2 in ["a.qcow2", "a.QCOW2,ro", "a.img,format=qcow2"] {
            assert_eq!(format(qcow2), DiskFormat::Qcow2, "{qcow2}");
        }
    }
}
