//! [`Directly`]: what a job takes more for a kernel that is entered itself.

use std::thread;

use firmware_less::{
    handoff::{direct::Wish, kexec},
    kernel::{Kernel, Unpacked},
    uki::Handed,
};

use crate::{
    cli::{HandoffOption, JobOptions, KaslrOption},
    error::Error,
    files::Files,
    unpacking::{self, Initrd, NotDirect, Parts},
};

/// How a kernel is to be entered directly.
#[derive(Debug)]
pub struct Directly {
    /// Whether at random addresses.
    pub wish: Wish,
    /// The kernel proper, or why there is none.
    pub unpacked: Result<Unpacked, NotDirect>,
    /// What it is given then, with the initrd unpacked, if that is wanted.
    pub handed: Option<Handed>,
}

impl Directly {
    /// Unpacks what is to be unpacked of what is handed to `kernel`, kernel and initrd
    /// side by side.
    pub(super) fn unpack(
        files: &mut Files,
        (handed, kernel): (&Handed, &Kernel),
        options: &JobOptions,
        wish: Wish,
    ) -> Self {
        let cache = if options.unpacking.no_cache { None } else { unpacking::cache() };
        let cache = cache.as_ref();
        let initrd =
            options.unpacking.unpack_initrd.then(|| Initrd::of(files, handed, options.memory));
        let slice = handed.kernel;
        let (kernel, initrd): (_, Option<Parts>) = thread::scope(|scope| {
            let initrd = initrd.map(|initrd| scope.spawn(move || initrd.unpack(cache)));
            let kernel = unpacking::kernel(files, (slice, kernel), options.memory, cache);
            let join = |worker: thread::ScopedJoinHandle<'_, _>| {
                worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            (kernel, initrd.map(join))
        });
        let unpacked = kernel.and_then(|file| {
            let id = files.push(file);
            let file = files.get(id).unwrap_or(files.uki());
            let unpacked = Unpacked::read(id, file)?;
            Ok(if wish == Wish::Off { unpacked } else { unpacked.with_relocations(file)? })
        });
        let handed = initrd.map(|initrd| unpacking::handed_with(files, handed, initrd));
        Self { wish, unpacked, handed }
    }
}

/// Whether the kernel is to be entered directly, and where.
pub(super) fn wish(options: &JobOptions, kexec: &kexec::Options) -> Result<Option<Wish>, Error> {
    if options.handoff == HandoffOption::Kexec && options.unpacking.unpack_initrd {
        return Err(Error::PackedForKexec);
    }
    match (options.handoff, options.kaslr) {
        (HandoffOption::Kexec, None) => Ok(None),
        (HandoffOption::Kexec, Some(_)) => Err(Error::KaslrIsTheKernels),
        (HandoffOption::Direct, Some(KaslrOption::Off)) => Ok(Some(Wish::Off)),
        (HandoffOption::Direct, Some(KaslrOption::Seed(seed))) => Ok(Some(Wish::On(seed))),
        // So that a plan with a seed of its own is the same each time.
        (HandoffOption::Direct, None | Some(KaslrOption::On)) => Ok(Some(Wish::On(kexec.seed))),
    }
}
