//! A guest that is given disks, and a script.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest as _, Sha256};
use ukivm::digest::hex;

use super::{Ran, Scratch, bed, built, skip};

pub(crate) const MIB: u64 = 1 << 20;

/// A guest with disks, that does what a script says.
pub(crate) struct Guest {
    pub(crate) scratch: Scratch,
    image: PathBuf,
    options: Vec<String>,
}

impl Guest {
    /// `None`, and `test` noted as skipped, where the image was not made.
    pub(crate) fn new(test: &str, script: &str) -> Option<Self> {
        let image = built(test, "devices-6.12.efi")?;
        let scratch = Scratch::seen_in_the_bed();
        scratch.doing(script);
        Some(Self { scratch, image, options: Vec::new() })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// A raw image of that many MiB of zeros, used as `how` says.
    pub(crate) fn disk(self, name: &str, mib: u64, how: &str) -> Self {
        File::create(self.path(name)).expect("an image").set_len(mib * MIB).expect("room");
        self.with_disk(name, how)
    }

    /// An empty qcow2 image of that many MiB. `None`, and `test` noted as skipped, where there
    /// is no qemu-img.
    pub(crate) fn qcow2(self, test: &str, (name, mib): (&str, u64), how: &str) -> Option<Self> {
        let size = (mib * MIB).to_string();
        qemu_img(test, &["create", "-q", "-f", "qcow2", self.name(name).as_str(), &size])?;
        Some(self.with_disk(name, how))
    }

    pub(crate) fn with_disk(mut self, name: &str, how: &str) -> Self {
        self.options.push(format!("--disk={}{how}", self.name(name)));
        self
    }

    pub(crate) fn name(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// `ukivm run` of it.
    pub(crate) fn arguments(&self, engine: &str) -> Vec<String> {
        self.command(&["run", "--timeout", "100"], engine)
    }

    /// What begins so.
    pub(crate) fn command(&self, start: &[&str], engine: &str) -> Vec<String> {
        let mut command: Vec<String> = start.iter().map(|word| (*word).to_owned()).collect();
        command.push(format!("--engine={engine}"));
        command.push(format!("--initrd={}", self.name("do.cpio")));
        command.extend(self.options.iter().cloned());
        command.push(self.image.display().to_string());
        command
    }

    pub(crate) fn on_tcg(&self) -> Ran {
        Scratch::new().ukivm(self.arguments("tcg"))
    }

    /// On KVM, here or in the bed.
    pub(crate) fn on_kvm(&self, test: &str) -> Option<Ran> {
        bed::on_kvm_writing(test, &self.arguments("kvm"), self.scratch.path())
    }
}

/// What qemu-img prints, which has to succeed; `None`, and `test` noted as skipped, where there
/// is none.
pub(crate) fn qemu_img(test: &str, arguments: &[&str]) -> Option<String> {
    let Ok(output) = Command::new("qemu-img").args(arguments).output() else {
        skip(test, "no qemu-img: images/deps installs it");
        return None;
    };
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The SHA-256 of the first `len` bytes of the file at `path`.
pub(crate) fn digest(path: &Path, len: u64) -> String {
    let mut file = File::open(path).expect("an image").take(len);
    let (mut digest, mut piece) = (Sha256::new(), vec![0; 1 << 20]);
    let mut left = len;
    while left > 0 {
        let read = file.read(&mut piece).expect("bytes");
        assert!(read > 0, "{} ends {left} bytes early", path.display());
        digest.update(&piece[..read]);
        left -= read as u64;
    }
    hex(&<[u8; 32]>::from(digest.finalize()))
}
