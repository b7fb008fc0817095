//! Each reading's distinguishing files, and the very bytes that each reading
//! hands over of them.

mod contents;
mod differences;
mod files;
mod given;
mod verdicts;

use firmware_less::{
    acceptance::Accepted,
    plan::{Content, FileId},
    range::index,
    testing::{Image, assert_handed_is_sound_for, bzimage, uki},
    uki::{
        Handed, Reading,
        cpio::{Target, archive},
        handed::{Choice, Console},
    },
};

/// What systemd-stub and those who follow it would have left of a section's padding.
const ALIGN: usize = 0x200;
/// The user's initrd, file 1 of the job.
const USERS: &[u8] = b"the user's";

/// Those of one mind wherever a test says nothing else.
const SPEC: [Reading; 2] = [Reading::Uapi, Reading::Bls];
const SPEC_2023: [Reading; 2] = [Reading::Uapi2023, Reading::Bls2023];
const PATCHES: [Reading; 3] = [Reading::KexecV1, Reading::KexecV2, Reading::KexecV3];

/// A kernel whose length is no multiple of anything.
fn kernel() -> Vec<u8> {
    bzimage().followed_by("signature").build()
}

/// A UKI that every reading accepts.
fn whole() -> Image {
    uki()
        .section(".osrel", "ID=test\n")
        .section(".cmdline", "quiet\n")
        .section(".linux", kernel())
        .section(".initrd", "initrd")
}

/// Without the console that the stub would append.
fn plain() -> Choice {
    Choice { console: Console::None, ..Choice::default() }
}

/// What the stub makes of `.osrel`.
fn os_release() -> Vec<u8> {
    archive(&Target::EXTRA, &[("os-release", b"ID=test\n")]).unwrap()
}

/// What the stub hands over: the initrd, and the os-release file.
fn by_the_stub(initrd: &str, cmdline: &str) -> Bytes {
    exact(joined(&[initrd.as_bytes(), &os_release()]), cmdline)
}

/// What is handed over, byte by byte.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bytes {
    kernel: Vec<u8>,
    initrd: Vec<u8>,
    cmdline: Vec<u8>,
    cmdline_padding: u64,
}

/// Exactly these bytes, and the kernel as it is.
fn exact(initrd: impl AsRef<[u8]>, cmdline: impl AsRef<[u8]>) -> Bytes {
    let (initrd, cmdline) = (initrd.as_ref().to_vec(), cmdline.as_ref().to_vec());
    Bytes { kernel: kernel(), initrd, cmdline, cmdline_padding: 0 }
}

/// The same with the padding of each section; of the command line all of it but
/// the NUL that ends it.
fn padded(initrd: impl AsRef<[u8]>, cmdline: impl AsRef<[u8]>) -> Bytes {
    let Bytes { kernel, initrd, cmdline, .. } = exact(initrd, cmdline);
    let len = cmdline.len().next_multiple_of(ALIGN).saturating_sub(1);
    let cmdline_padding = len.saturating_sub(cmdline.len()) as u64;
    Bytes { kernel: zeros_after(kernel), initrd: zeros_after(initrd), cmdline, cmdline_padding }
}

/// The same without a command line.
fn without_cmdline(bytes: Bytes) -> Bytes {
    Bytes { cmdline: Vec::new(), cmdline_padding: 0, ..bytes }
}

fn zeros_after(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
    bytes
}

/// Each part with zeros up to a multiple of 4.
fn joined(parts: &[&[u8]]) -> Vec<u8> {
    let mut joined = Vec::new();
    for part in parts {
        joined.extend_from_slice(part);
        joined.resize(joined.len().next_multiple_of(4), 0);
    }
    joined
}

/// The bytes that `handed` speaks of, in `file` and the user's file.
fn bytes(file: &[u8], handed: &Handed) -> Bytes {
    let content = |content: &Content| match content {
        Content::Bytes(bytes) => bytes.clone(),
        Content::File(slice) => {
            let file = if slice.file == FileId::UKI { file } else { USERS };
            file[index(slice.range.offset())..index(slice.range.end())].to_vec()
        }
    };
    let mut initrd = Vec::new();
    for part in &handed.initrd {
        let end = initrd.len() + usize::try_from(part.padded_len).unwrap();
        initrd.extend(content(&part.content));
        initrd.resize(end, 0);
    }
    Bytes {
        kernel: content(&Content::File(handed.kernel)),
        initrd,
        cmdline: handed.cmdline.clone(),
        cmdline_padding: handed.cmdline_padding,
    }
}

/// What a reading makes of a file: bytes, or a sentence.
fn verdict(file: &[u8], reading: Reading, choice: &Choice) -> Result<Bytes, String> {
    let accepted = Accepted::read(file, reading, choice).map_err(|refusal| refusal.to_string())?;
    assert_handed_is_sound_for(reading, &accepted.handed);
    Ok(bytes(file, &accepted.handed))
}

/// A file, what the user asks for, and the readings that have been heard.
struct Case {
    file: Vec<u8>,
    choice: Choice,
    heard: Vec<Reading>,
}

impl Case {
    fn of(image: &Image) -> Self {
        Self { file: image.build(), choice: plain(), heard: Vec::new() }
    }

    fn with(self, choice: Choice) -> Self {
        Self { choice, ..self }
    }

    /// These readings hand over these bytes.
    #[track_caller]
    fn takes(mut self, readings: &[Reading], wanted: &Bytes) -> Self {
        for &reading in readings {
            let found = verdict(&self.file, reading, &self.choice);
            let shown = format!("{reading}: {found:?}");
            assert_eq!(found.as_ref(), Ok(wanted), "{shown}");
            self.heard.push(reading);
        }
        self
    }

    /// These readings refuse it, and say so.
    #[track_caller]
    fn refuses(mut self, readings: &[Reading], found: &str, rule: &str) -> Self {
        for &reading in readings {
            let refusal = verdict(&self.file, reading, &self.choice).expect_err(reading.as_str());
            let wanted = format!("{found}; refused as {reading}: {rule}");
            assert!(refusal.starts_with(&wanted), "wanted {wanted:?} in {refusal:?}");
            self.heard.push(reading);
        }
        self
    }

    /// All readings have been heard, each once.
    #[track_caller]
    fn and_that_is_all(mut self) {
        self.heard.sort_unstable();
        assert_eq!(self.heard, Reading::ALL);
    }
}
