//! The program as a user runs it, and what it is run on.

pub(crate) mod bed;
pub(crate) mod cpu_state;
pub(crate) mod disks;
pub(crate) mod kexec;
pub(crate) mod probe;
pub(crate) mod run;
pub(crate) mod tiny;

use std::{
    env,
    ffi::OsStr,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use firmware_less::{
    testing::{bzimage, uki},
    uki::cpio::{RootFile, initrd},
};
use tempfile::TempDir;

/// Where the images are that `images/build` makes.
pub(crate) fn images() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/images")
}

/// A folder for one test, gone when the test is over.
#[derive(Debug)]
pub(crate) struct Scratch {
    dir: TempDir,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a scratch folder") }
    }

    /// A folder that is seen in the bed too, where /tmp is another.
    pub(crate) fn seen_in_the_bed() -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        Self { dir: dir.expect("a scratch folder") }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file and gives its path.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, bytes).expect("a scratch file");
        path
    }

    /// Writes an initrd by which the guest of an image of ours does `script`, and gives its path.
    pub(crate) fn doing(&self, script: &str) -> PathBuf {
        let file = RootFile { name: "do", mode: 0o100_644, content: script.as_bytes() };
        self.file("do.cpio", initrd(&[file]).expect("an archive"))
    }

    /// `ukivm` with `arguments`, run in this folder without standard input.
    pub(crate) fn ukivm<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Ran {
        let output = Command::new(program())
            .args(arguments)
            .current_dir(self.path())
            .env("XDG_CACHE_HOME", self.path().join("cache"))
            .stdin(Stdio::null())
            .output()
            .expect("ukivm starts");
        Ran::from(output)
    }
}

/// The program; another build of it where `UKIVM_PROGRAM` names one.
pub(crate) fn program() -> PathBuf {
    env::var_os("UKIVM_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_ukivm").into(), PathBuf::from)
}

/// How a run of the program went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    /// The exit status; `None` where a signal ended it.
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// `command`, run without standard input.
    pub(crate) fn of(command: &mut Command) -> Self {
        Self::from(command.stdin(Stdio::null()).output().expect("it starts"))
    }

    /// What the guest of an image of ours told, in order.
    pub(crate) fn facts(&self) -> impl Iterator<Item = &str> {
        self.stdout.lines().filter_map(|line| line.trim_end().strip_prefix("ukivm-guest: "))
    }

    /// What it told under `key`, in order.
    pub(crate) fn told(&self, key: &str) -> Vec<&str> {
        self.facts().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self {
            status: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

/// A UKI that is sound and boots nothing, the same bytes every time.
pub(crate) fn sound_uki() -> Vec<u8> {
    uki()
        .section(".osrel", "ID=test\nPRETTY_NAME=\"Test\"\n")
        .section(".cmdline", "console=ttyS0 quiet\n")
        .section(".linux", bzimage().build())
        .section(".initrd", [0x5a; 5000])
        .build()
}

/// The path of that product of `images/build`; `None`, and `test` noted as
/// skipped, where it was not made.
pub(crate) fn built(test: &str, product: &str) -> Option<PathBuf> {
    let path = images().join(product);
    if !path.exists() {
        skip(test, &format!("no {product}: images/build makes it"));
        return None;
    }
    Some(path)
}

/// Compares `text` with what is kept in `tests/` under `name`.
///
/// With UKIVM_BLESS set, keeps it instead.
pub(crate) fn is_as_kept(name: &str, text: &str) {
    let path = format!("{}/tests/{name}", env!("CARGO_MANIFEST_DIR"));
    if env::var_os("UKIVM_BLESS").is_some() {
        fs::write(&path, text).expect("a place for the text");
    }
    let kept = fs::read_to_string(&path).expect("the text that was kept");
    assert!(text == kept, "not as in {path}; it is now:\n{text}");
}

/// The engines that can run a guest of a few instructions here. For each that
/// can't, `test` is noted as skipped.
pub(crate) fn engines(test: &str) -> Vec<&'static str> {
    let mut engines = Vec::new();
    match fs::File::options().read(true).write(true).open("/dev/kvm") {
        Ok(_) => engines.push("kvm"),
        Err(error) => skip(test, &format!("no KVM: /dev/kvm: {error}")),
    }
    match ukivm::engine::tcg::qemu() {
        Ok(_) => engines.push("tcg"),
        Err(error) => skip(test, &format!("no TCG: {error}")),
    }
    engines
}

/// Notes that a test, or a part of it, can't be run here. `tests/run` counts
/// what is noted.
pub(crate) fn skip(test: &str, reason: &str) {
    let note = format!("{test}: {reason}\n");
    eprint!("skipped: {note}");
    if let Some(path) = env::var_os("UKIVM_SKIPS") {
        let file = fs::File::options().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all(note.as_bytes())).expect("a place to note it");
    }
}
