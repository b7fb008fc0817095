//! The parts of an initrd, for `--unpack-initrd`.

use std::thread;

use firmware_less::{
    initrd::{Error, Look, Part, Unpacked, Why, look, unpack},
    plan::{Content, FileSlice},
    range::{FileRange, align_up},
    uki::{Handed, handed::InitrdPart},
};

use super::{Excerpt, Failed, Wanted, threads};
use crate::{
    cache::{Cache, Kind},
    files::{Files, OpenFile},
    messages::{chain, say},
};

/// The guest holds what is unpacked twice, while the kernel copies it from where the
/// initrd is to its root; and itself beside it.
const PARTS_OF_MEMORY: u64 = 3;
/// Where parts begin if there are several. systemd's `src/boot/initrd.c`.
const ALIGN: u64 = 4;

/// What is to be unpacked of a job's initrd.
#[derive(Debug)]
pub(crate) struct Initrd<'a> {
    files: &'a Files,
    parts: &'a [InitrdPart],
    limit: u64,
}

/// What the parts of an initrd come to; nothing for those that stay as they are.
pub(crate) type Parts = Vec<Option<OpenFile>>;

/// What became of a part.
#[derive(Default)]
struct Came {
    /// What it is now, if that is not what it was.
    file: Option<OpenFile>,
    /// Why some of it is left to the kernel, if so.
    left: Option<String>,
    /// What is left allows nothing before it to be unpacked.
    alone: bool,
}

impl Came {
    fn left(why: impl Into<String>) -> Self {
        Self { left: Some(why.into()), ..Self::default() }
    }
}

impl<'a> Initrd<'a> {
    /// That of `handed`, for a guest with `memory` bytes.
    pub(crate) fn of(files: &'a Files, handed: &'a Handed, memory: u64) -> Self {
        let limit = memory.div_euclid(PARTS_OF_MEMORY);
        Self { files, parts: &handed.initrd, limit }
    }

    /// Unpacks its parts, as many at once as there are processors, up to one that has to
    /// be left to the kernel: what that makes of what follows is not known.
    pub(crate) fn unpack(&self, cache: Option<&Cache>) -> Parts {
        let mut unpacked: Parts = Vec::new();
        let mut room = self.limit;
        let numbers: Vec<usize> = (0..self.parts.len()).collect();
        for some in numbers.chunks(threads()) {
            for came in self.several(some, room, cache) {
                let left = match (&came.file, came.left) {
                    (Some(file), None) if file.len > room => Some(self.too_large()),
                    (_, left) => left,
                };
                if let Some(why) = left {
                    self.say_left(unpacked.len(), &why);
                    if came.alone {
                        unpacked.clear();
                    }
                    unpacked.push(came.file.filter(|file| file.len <= room));
                    unpacked.resize_with(self.parts.len(), || None);
                    return unpacked;
                }
                room = room.saturating_sub(came.file.as_ref().map_or(0, |file| file.len));
                unpacked.push(came.file);
            }
        }
        unpacked
    }

    /// Some of its parts side by side, each of which may come to `room` bytes.
    fn several(&self, numbers: &[usize], room: u64, cache: Option<&Cache>) -> Vec<Came> {
        thread::scope(|scope| {
            let start = |number: &usize| {
                let number = *number;
                scope.spawn(move || self.part(number, room, cache))
            };
            let workers: Vec<_> = numbers.iter().map(start).collect();
            let join = |worker: thread::ScopedJoinHandle<'_, _>| {
                worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            workers.into_iter().map(join).collect()
        })
    }

    fn part(&self, number: usize, room: u64, cache: Option<&Cache>) -> Came {
        // What is not in a file was made here, of archives.
        let Some(InitrdPart { origin, content: Content::File(slice), .. }) = self.parts.get(number)
        else {
            return Came::default();
        };
        let packed = self.files.get(slice.file).unwrap_or(self.files.uki());
        let cache = match look(packed, slice.range) {
            Ok(Look::Archives) => return Came::default(),
            Ok(Look::Packed) => cache,
            Ok(Look::Other) => None,
            Err(error) => return Came::left(chain(&error)),
        };
        let is_last = number.saturating_add(1) == self.parts.len();
        let kind = if is_last { Kind::LastOfInitrd } else { Kind::Initrd };
        let name = format!("initrd's {origin}");
        let wanted = Wanted { kind, name: &name, packed, part: slice.range, limit: room };
        let fresh = |excerpt: &Excerpt| {
            let part = Part { bytes: &excerpt.bytes, is_last };
            let Unpacked { bytes, formats, rest } = unpack(part, room, threads());
            let Some(rest) = rest else { return Ok(bytes) };
            Err((rest, if formats.is_empty() { None } else { Some(bytes) }))
        };
        match wanted.get(cache, fresh) {
            Ok(file) => Came { file: Some(file), ..Came::default() },
            Err(Failed::Read(error)) => Came::left(chain(&error)),
            Err(Failed::Unpack((rest, bytes))) => {
                let alone = !rest.is_aligned();
                let why = match rest.why {
                    Why::Packed(Error::Large { .. }) => self.too_large(),
                    _ => chain(&rest),
                };
                let file = bytes.map(|bytes| wanted.in_memory(bytes));
                Came { file, left: Some(why), alone }
            }
        }
    }

    fn say_left(&self, number: usize, why: &str) {
        let Some(part) = self.parts.get(number) else { return };
        let behind = self.parts.len().saturating_sub(number) > 1;
        let behind = if behind { ", and so is what follows it" } else { "" };
        say(&format!("the initrd's {} is handed over as it is{behind}: {why}", part.origin));
    }

    fn too_large(&self) -> String {
        format!(
            "it unpacks to more than {} MiB, a third of the guest's memory, which has to hold it \
             twice for a while (give more with --memory)",
            self.limit >> 20
        )
    }
}

/// `handed` with what became of its initrd's parts, which come into `files`.
pub(crate) fn handed_with(files: &mut Files, handed: &Handed, unpacked: Parts) -> Handed {
    let mut handed = handed.clone();
    let align = if handed.initrd.len() > 1 { ALIGN } else { 1 };
    for (part, file) in handed.initrd.iter_mut().zip(unpacked) {
        let Some(file) = file else { continue };
        let range = FileRange::first(file.len);
        part.padded_len = align_up(file.len, align).unwrap_or(file.len);
        part.content = Content::File(FileSlice { file: files.push(file), range });
    }
    handed
}
