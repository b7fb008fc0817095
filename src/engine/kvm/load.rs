//! How a plan gets into guest memory.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use firmware_less::{
    kernel::{Image, Places},
    plan::BootPlan,
    range::{GuestRange, align_down, align_up},
};
use rustix::thread::sched_getaffinity;
use vm_memory::VolatileSlice;

use super::{
    Error,
    chunk::{CHUNK, Chunk},
    join,
    memory::{GuestMemory, Withheld},
    vm,
};
use crate::files::Files;

/// The name of what may come later.
const INITRD: &str = "initrd";

/// How much of an initrd may come later, at the least: a thread and a move cost
/// as much as reading a tenth of that.
const WORTH_A_THREAD: u64 = 2 * CHUNK;

impl GuestMemory {
    /// Puts everything that `plan` places where it belongs, files by reading
    /// straight into guest memory.
    pub fn load(&self, plan: &BootPlan, files: &Files) -> Result<(), Error> {
        self.load_now(plan, &chunks(plan), files)
    }

    /// The same for all that the guest needs at once. The rest, if that is worth it,
    /// may be loaded while the guest runs: whoever comes too early waits for it.
    pub fn load_first<'a>(
        &'a self,
        plan: &'a BootPlan,
        files: &'a Files,
    ) -> Result<Option<Rest<'a>>, Error> {
        let mut chunks = chunks(plan);
        let withheld = patient(plan).and_then(|range| self.withhold(range));
        let rest = withheld.map(|withheld| {
            let is_later = |chunk: &mut Chunk<'_>| withheld.range().contains(chunk.range);
            let chunks = chunks.extract_if(.., is_later).collect();
            let vcpus = plan.machine().cpus() as usize;
            Rest { withheld, chunks, files, vcpus }
        });
        self.load_now(plan, &chunks, files)?;
        Ok(rest)
    }

    fn load_now(&self, plan: &BootPlan, chunks: &[Chunk<'_>], files: &Files) -> Result<(), Error> {
        read(chunks, readers(chunks.len(), 0), &|chunk| {
            chunk.read(&self.slice(chunk.range)?, files)?;
            Ok(true)
        })?;
        for placement in plan.placements() {
            if let Some(relocation) = &placement.relocation {
                let memory = self.slice(placement.range)?;
                relocation.apply(&mut InGuest(memory));
            }
        }
        Ok(())
    }
}

/// What the guest does not need at once.
#[derive(Debug)]
pub struct Rest<'a> {
    withheld: Withheld<'a>,
    chunks: Vec<Chunk<'a>>,
    files: &'a Files,
    vcpus: usize,
}

impl Rest<'_> {
    /// Loads it, and lets everybody see it. Stops early if nobody needs it any more.
    pub fn load(self) -> Result<(), Error> {
        let Self { withheld, chunks, files, vcpus } = self;
        let spare = withheld.spare()?;
        read(&chunks, readers(chunks.len(), vcpus), &|chunk| {
            chunk.read(&spare.slice(chunk.range)?, files)?;
            Ok(!withheld.is_abandoned())
        })?;
        if withheld.is_abandoned() { Ok(()) } else { withheld.give(&spare) }
    }
}

/// What no kernel reads before it has come far: the whole chunks of the initrd.
fn patient(plan: &BootPlan) -> Option<GuestRange> {
    let initrd = plan.placements().iter().find(|placement| placement.name == INITRD)?.range;
    let (start, end) = (align_up(initrd.start(), CHUNK)?, align_down(initrd.end(), CHUNK));
    GuestRange::between(start, end).filter(|range| range.len() >= WORTH_A_THREAD)
}

/// Everything that `plan` places, in chunks.
fn chunks(plan: &BootPlan) -> Vec<Chunk<'_>> {
    let pieces = plan.placements().iter().flat_map(|placement| {
        placement.pieces.iter().filter_map(|piece| {
            let start = placement.range.start().saturating_add(piece.offset);
            Some((GuestRange::new(start, piece.content.len())?, &piece.content))
        })
    });
    pieces.flat_map(|(range, content)| Chunk::all_of(range, content)).collect()
}

/// Gives `chunks` to `one`, several at a time where there are `threads`, until it
/// says that no more is wanted.
fn read(
    chunks: &[Chunk<'_>],
    threads: usize,
    one: &(dyn Fn(&Chunk<'_>) -> Result<bool, Error> + Sync),
) -> Result<(), Error> {
    let next = AtomicUsize::new(0);
    let read_some = || {
        while let Some(chunk) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
            if !one(chunk)? {
                break;
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        // Where a helper can't be had, there is more for the others.
        let helper = |_| thread::Builder::new().spawn_scoped(scope, read_some).ok();
        let helpers: Vec<_> = (1..threads).filter_map(helper).collect();
        let mine = read_some();
        helpers.into_iter().map(join).fold(mine, Result::and)
    })
}

/// Guest memory as something to be changed in place.
struct InGuest<'m>(VolatileSlice<'m>);

impl Image for InGuest<'_> {
    fn change<const N: usize>(&mut self, places: Places<'_>, change: impl Fn([u8; N]) -> [u8; N]) {
        vm::change(&self.0, places.offsets(), change);
    }
}

/// How many threads are to read so many chunks, beside `busy` others. A second one
/// makes loading 1.6 times as fast: most of the time goes into clearing and filling
/// fresh pages.
fn readers(chunks: usize, busy: usize) -> usize {
    const MOST: usize = 4;
    let cpus = sched_getaffinity(None).map_or(1, |cpus| cpus.count() as usize);
    cpus.saturating_sub(busy).max(1).min(chunks).min(MOST)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use firmware_less::{
        e820::MemoryMap,
        machine::Machine,
        plan::{Content, FileId, FileSlice, Piece, Placement},
        range::{FileRange, index},
    };

    use super::*;
    use crate::{
        engine::kvm::self_test,
        files::{OpenFile, Source},
    };

    const MIB: u64 = 1 << 20;

    fn plan(placements: Vec<Placement>) -> BootPlan {
        let machine = Machine::new(64 * MIB, 1).unwrap();
        let map = MemoryMap::of(&machine);
        BootPlan::new(machine, map, placements, self_test::cpu_state()).unwrap()
    }

    /// A file of `len` bytes that differ from page to page.
    fn files(len: u64) -> Files {
        let file = tempfile::tempfile().unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &contents(len), 0).unwrap();
        let mut files = Files::default();
        files.push(OpenFile {
            path: "test.efi".into(),
            source: Source::File(file),
            len,
            data: None,
        });
        files
    }

    fn contents(len: u64) -> Vec<u8> {
        // A length that shares no factor with a page's.
        (0..251).cycle().take(index(len)).collect()
    }

    fn from_file(start: u64, offset: u64, len: u64) -> Placement {
        let range = FileRange::new(offset, len).unwrap();
        let content = Content::File(FileSlice { file: FileId::UKI, range });
        let range = GuestRange::new(start, len).unwrap();
        Placement::of_pieces("initrd", range, vec![Piece { offset: 0, content }])
    }

    fn read(memory: &GuestMemory, start: u64, len: u64) -> Vec<u8> {
        let mut seen = Vec::new();
        memory
            .read_memory(GuestRange::new(start, len).unwrap(), &mut |bytes| seen.extend(bytes))
            .unwrap();
        seen
    }

    #[test]
    fn bytes_and_files_land_where_they_are_placed() {
        let (start, offset, len) = (5 * MIB + 0x1000, 0x200, 9 * MIB + 123);
        let bytes = Placement::of_bytes(
            "params",
            GuestRange::constant(0x9000, 0x1000),
            b"boot_params".to_vec(),
        );
        let plan = plan(vec![bytes, from_file(start, offset, len)]);
        let memory = GuestMemory::new(plan.machine()).unwrap();
        memory.load(&plan, &files(offset + len + 7)).unwrap();
        assert_eq!(read(&memory, 0x8fff, 13), b"\0boot_params\0");
        assert_eq!(read(&memory, start - 1, 1), [0]);
        assert!(read(&memory, start, len) == contents(offset + len)[0x200..]);
        assert_eq!(read(&memory, start + len, 9), [0; 9]);
    }

    #[test]
    fn a_file_that_shrank_is_named_with_both_sizes() {
        let plan = plan(vec![from_file(MIB, 0x200, 4 * CHUNK)]);
        let memory = GuestMemory::new(plan.machine()).unwrap();
        let error = memory.load(&plan, &files(0x300)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "test.efi ends at offset 0x300 by now, the plan wants it up to 0x1000200"
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let plan = plan(vec![from_file(MIB, 0, 0x1000)]);
        let memory = GuestMemory::new(plan.machine()).unwrap();
        let mut files = Files::default();
        let file = File::open("/").unwrap();
        files.push(OpenFile {
            path: "dir.efi".into(),
            source: Source::File(file),
            len: 0x1000,
            data: None,
        });
        let error = memory.load(&plan, &files).unwrap_err();
        assert_eq!(error.to_string(), "dir.efi: can't read at offset 0x0");
    }
}
