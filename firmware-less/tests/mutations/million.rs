//! Every reader, over every changed file.

use std::io;

use firmware_less::{
    acceptance::Accepted,
    inspection::{Depth, Inspection},
    plan::{Content, FileId},
    read_at::ReadAt,
    testing::{
        Image, Random, assert_handed_is_sound, bzimage,
        signing::{Signatory, signed},
        uki,
    },
    uki::{Addon, Headers, Reading, Selector, authenticode::Facts, handed::Choice},
};
use peak_alloc::PeakAlloc;

use crate::subject::Subject;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const MUTATIONS: usize = 1_000_000;
/// What may be taken beside twice the file: the page that headers are read from.
const BESIDE: usize = 0x1000;

/// A file that knows where it ends.
struct Watched<'a>(&'a [u8]);

impl ReadAt for Watched<'_> {
    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64).expect("an offset");
        assert!(end <= self.len(), "read up to {end:#x} of {:#x} bytes", self.len());
        self.0.read_exact_at(offset, buf)
    }

    fn len(&self) -> u64 {
        self.0.len() as u64
    }
}

/// Everything that a UKI may hold.
fn unified_kernel_image() -> Image {
    uki()
        .section(".sdmagic", "#### LoaderInfo: systemd-stub 257 ####")
        .section(".sbat", "sbat,1,SBAT Version,sbat,1,https://example.org\n")
        .section(".osrel", "ID=a\nPRETTY_NAME=\"A\"\n")
        .section(".cmdline", "root=/dev/vda\tquiet \u{e4}\u{20ac}\n")
        .section(".uname", "6.12.0")
        .section(".linux", bzimage().build())
        .section(".ucode", "07070100000001")
        .section(".initrd", vec![b'i'; 0x8000])
        .section(".pcrsig", "{\"sha256\":[]}")
        .section(".profile", "ID=main\n")
        .section(".profile", "ID=other\nTITLE='other'\n")
        .section(".cmdline", "")
        .section(".ucode", "0707")
}

fn addon() -> Image {
    uki()
        .section(".sdmagic", "#### LoaderInfo: systemd-addon 257 ####")
        .section(".cmdline", "debug")
        .section(".uname", "6.12.0")
        .section(".initrd", vec![b'i'; 0x8000])
}

/// Runs `read`, which may take `times` the file's length.
fn within<T>(times: usize, file: &[u8], read: impl FnOnce() -> T) -> T {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let found = read();
    let taken = MEMORY.peak_usage() - before;
    assert!(taken <= times * file.len() + BESIDE, "{taken} bytes for {}", file.len());
    found
}

/// Reads the file in every way there is. Whether it was accepted as a UKI.
fn read_in_every_way(file: &[u8], random: &mut Random) -> bool {
    let source = Watched(file);
    let profile = Selector::Number(random.below(3));
    let reading = random.one_of(&Reading::ALL);
    within(2, file, || drop(Addon::read(&source, FileId(1))));
    if let Ok(accepted) = within(2, file, || Accepted::read(&source, reading, &Choice::default())) {
        assert_is_inside(&accepted, file);
    }
    if random.below(4) == 0 {
        within(2, file, || Headers::read(&source).map(|found| Facts::read(&source, &found)).ok());
    }
    let choice = Choice { profile, ..Choice::default() };
    if random.below(16) == 0 {
        // It keeps the table, and more than that of each of its entries.
        within(4, file, || {
            Inspection::read(&[&source], &choice, Depth::Headers, &mut |_, _| {}).ok()
        });
    }
    let accepted = within(2, file, || Accepted::read(&source, Reading::Stub, &choice));
    accepted.is_ok_and(|accepted| {
        assert_handed_is_sound(&accepted.handed);
        assert_is_inside(&accepted, file);
        true
    })
}

fn assert_is_inside(accepted: &Accepted, file: &[u8]) {
    let Accepted { handed, kernel, .. } = accepted;
    assert!(handed.kernel.range.end() <= file.len() as u64, "{handed:?}");
    assert!(kernel.protected_mode().end() <= handed.kernel.range.end(), "{kernel:?}");
    for part in &handed.initrd {
        if let Content::File(slice) = &part.content
            && slice.file == FileId::UKI
        {
            assert!(slice.range.end() <= file.len() as u64, "{part:?}");
        }
    }
}

#[test]
fn a_million_changed_files_are_read_without_a_panic_or_a_read_past_the_end_or_much_memory() {
    let mut random = Random::seeded(0x756b_6976_6d03);
    let [image, addon] = [unified_kernel_image(), addon()].map(|image| image.build());
    let root = Signatory::root("root");
    let signed = signed(&image, &root.signer("signer"), &[&root]);
    // Most of them the first.
    let mut subjects = [image.clone(), image, signed, addon].map(Subject::new);
    let mut accepted = 0;
    for count in 0..MUTATIONS {
        let mut choices = random.clone();
        subjects[count % 4].change(&mut random, |file| {
            accepted += usize::from(read_in_every_way(file, &mut choices));
        });
    }
    // Neither all nor none: the changes are neither without effect nor only noise.
    assert!((MUTATIONS / 10..MUTATIONS * 9 / 10).contains(&accepted), "{accepted} accepted");
}
