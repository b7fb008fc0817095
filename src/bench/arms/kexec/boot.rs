//! One trial by kexec, in a process of its own: the first kernel is booted by ukivm,
//! with an initrd whose init goes to the second.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
    sync::Arc,
    time::Duration,
};

use firmware_less::{
    plan::Content,
    uki::{
        cpio::{RootFile, initrd},
        handed::{InitrdOrigin, InitrdPart},
    },
};
use ukivm_guests::{KEXEC_INIT, kexec::LOADED};

use super::{
    recorder::{ReadGuest, Recorder},
    told::Told,
};
use crate::{
    attached::Attached,
    bench::{
        arm::{self, Subject, Until},
        arms::parts::{Inherited, Parts},
        count::SEED,
    },
    cli::HandoffOption,
    digest::{Digest, hex},
    engine::{
        self, Kind, kvm,
        tcg::{self, Counted},
    },
    error::Error,
    job::{Job, Planned, machine},
    outcome::{End, Outcome},
    sandbox::Sandbox,
    session::{Limits, Milestone, Observer, Record, Session},
    timeline::Timeline,
    verdict::Watch,
};

/// The first kernel's command line: enough is said to see it go, and no more.
/// "Starting new kernel" is a notice, 5.
const FIRST_CMDLINE: &str = "console=ttyS0 loglevel=6 panic=-1";

/// What the second kernel's command line ends with where it is looked at: so it says
/// which it is and where its initrd is, whatever stands before. Such a boot is not
/// measured.
const TALKATIVE: &str = " loglevel=7";

/// How a trial is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way<'a> {
    /// What runs the guest's code.
    pub(crate) engine: Kind,
    /// How far the second kernel's guest is to come.
    pub(crate) until: Until,
    /// Whether it is not measured, but made to say what it is.
    pub(crate) is_check: bool,
    /// Whether its instructions are counted.
    pub(crate) is_counted: bool,
    /// What times are counted from, and how long it may take.
    pub(crate) limits: Limits,
    /// What is left to this process when the guest runs.
    pub(crate) sandbox: &'a Sandbox,
}

/// Boots `subject` by way of its own kernel.
pub(crate) fn boot(subject: &Subject, way: Way<'_>) -> Result<Told, Error> {
    let host = |source| Error::Host { what: "can't make the first kernel's initrd", source };
    // The first kernel's, of which nothing is measured.
    let mut subject = Subject { handoff: HandoffOption::Kexec, ..subject.clone() };
    if way.is_counted {
        subject.rng_seed.get_or_insert(SEED);
    }
    let subject = &subject;
    let parts = Parts::of(Job::open(subject, &mut |_| {})?, &machine(subject)?);
    let mut cmdline = parts.job().handed.cmdline.clone();
    if way.is_check {
        cmdline.extend_from_slice(TALKATIVE.as_bytes());
    }
    let kernel = parts.bzimage().and_then(contents).map_err(arm_error)?;
    let next = parts.initrd().and_then(|next| next.map(contents).transpose()).map_err(arm_error)?;
    let mut files = vec![
        RootFile { name: "init", mode: 0o755, content: KEXEC_INIT },
        RootFile { name: "kernel", mode: 0o444, content: &kernel },
        RootFile { name: "cmdline", mode: 0o444, content: &cmdline },
    ];
    files.extend(next.as_deref().map(|content| RootFile { name: "initrd", mode: 0o444, content }));
    let too_long = || host(io::Error::other("a part has more than 4 GiB"));
    let archive = initrd(&files).ok_or_else(too_long)?;
    let wanted = next.as_deref().filter(|_| way.is_check).map(sha256);
    let job = first(parts.into_job(), archive);
    let told = go(&job, subject, way, next.map(|next| next.len()))?;
    Ok(Told { wanted_initrd: wanted.map(|digest| hex(&digest)), ..told })
}

/// The job of the first kernel: the UKI's own, with that initrd.
fn first(mut job: Job, archive: Vec<u8>) -> Job {
    let padded_len = archive.len() as u64;
    let content = Content::Bytes(archive);
    job.handed.initrd = vec![InitrdPart { origin: InitrdOrigin::User(0), content, padded_len }];
    job.handed.cmdline = FIRST_CMDLINE.as_bytes().to_vec();
    job.handed.cmdline_padding = 0;
    job
}

/// Boots the first kernel, and gives what was seen of both.
fn go(job: &Job, subject: &Subject, way: Way<'_>, initrd: Option<usize>) -> Result<Told, Error> {
    let console = |source| Error::Host { what: "can't set up the console", source };
    let machine = way.engine.equip(machine(subject)?);
    let planned = job.plan(&machine, false)?;
    let guest = Guest::load(way.engine, &planned, job).map_err(Error::Engine)?;
    let look = initrd.filter(|_| way.is_check).map(|len| (guest.reader(), len as u64));
    let recorder = Arc::new(Recorder::new(way.until, look));
    let observer: Arc<dyn Observer> = Arc::clone(&recorder) as _;
    let record = Record { observer: Some(observer), ..Record::default() };
    let timeline = Timeline::new(way.limits.start);
    let session = Session::watched(record, Watch::default(), way.limits, timeline);
    let session = session.map_err(console)?;
    if way.is_counted {
        let counted = guest.count(&session, way.sandbox).map_err(Error::Engine)?;
        let over = session.finish().timeline.at(Milestone::End).unwrap_or_default();
        if matches!(counted.outcome.end, End::EngineFailure { .. }) {
            let told = Told::of(&recorder.take(over), over);
            return Ok(Told { end: ended(counted.outcome), ..told });
        }
        return counted_told(counted, way.until);
    }
    let outcome = guest.run(&planned, &session, way.sandbox).map_err(Error::Engine)?;
    let over = session.finish().timeline.at(Milestone::End).unwrap_or_default();
    let told = Told::of(&recorder.take(over), over);
    Ok(Told { end: ended(outcome), ..told })
}

/// What a counted run comes to: the same that is seen of one that is timed, with
/// counts in the place of times.
fn counted_told(Counted { outcome, counts }: Counted, until: Until) -> Result<Told, Error> {
    let counts = counts.map_err(|error| Error::Engine(engine::Error::Tcg(error.into())))?;
    let recorder = Recorder::new(until, None);
    let mut last = Duration::ZERO;
    for (byte, after) in counts.console() {
        last = Duration::from_nanos(after);
        recorder.console(&[byte], last);
    }
    let mut heard = recorder.take(last);
    // Of what is written to the milestone port there is no count.
    let loaded = heard.first.lines().iter().find(|line| line.text.contains(LOADED));
    heard.jump = loaded.map(|line| line.over);
    let reached = heard.second.reached(until);
    let over = match &outcome.end {
        End::PowerOff | End::Reset { .. } => Duration::from_nanos(counts.executed()),
        _ => reached.unwrap_or(last),
    };
    let told = Told::of(&heard, over);
    Ok(Told { end: ended(outcome), is_counted: true, ..told })
}

/// How a guest ended that was not ended for having come far enough.
fn ended(outcome: Outcome) -> Option<End> {
    Some(outcome.end).filter(|end| *end != End::Decided)
}

/// A machine whose memory can be looked at while it runs.
enum Guest {
    Kvm(Arc<kvm::GuestMemory>),
    Tcg(Box<tcg::LoadedVm>),
}

impl Guest {
    fn load(engine: Kind, planned: &Planned, job: &Job) -> Result<Self, engine::Error> {
        let plan = &planned.plan;
        match engine {
            Kind::Kvm => {
                let memory = kvm::GuestMemory::new(plan.machine())?;
                memory.load(plan, &job.files)?;
                Ok(Self::Kvm(Arc::new(memory)))
            }
            Kind::Tcg => {
                let vm = tcg::Vm::create(plan.machine())?.load(plan, &job.files)?;
                Ok(Self::Tcg(Box::new(vm)))
            }
        }
    }

    /// On KVM the guest is held up while memory is read, since its own write to the
    /// serial port has to be over first. On TCG it goes on; but when a kernel's lines
    /// first reach the serial port, its initrd is still to be unpacked, which only
    /// reads it.
    fn reader(&self) -> Arc<ReadGuest> {
        match self {
            Self::Kvm(memory) => {
                let memory = Arc::clone(memory);
                Arc::new(move |range, take| {
                    memory.read_memory(range, take).map_err(io::Error::other)
                })
            }
            Self::Tcg(vm) => {
                let memory = vm.memory();
                Arc::new(move |range, take| memory.read(range, take))
            }
        }
    }

    fn count(self, session: &Session, sandbox: &Sandbox) -> Result<Counted, engine::Error> {
        match self {
            Self::Kvm(_) => {
                let failed = io::Error::other("KVM does not count a guest's instructions");
                Err(engine::Error::ReadBack(failed))
            }
            Self::Tcg(vm) => Ok(vm.count(session, sandbox)?),
        }
    }

    fn run(
        self,
        planned: &Planned,
        session: &Session,
        sandbox: &Sandbox,
    ) -> Result<Outcome, engine::Error> {
        let plan = &planned.plan;
        match self {
            Self::Kvm(memory) => {
                let vm = kvm::Vm::create(plan.machine(), &memory)?;
                Ok(vm.ready(plan)?.run(session, sandbox)?)
            }
            Self::Tcg(vm) => Ok(vm.run(session, (&Attached::default(), sandbox))?),
        }
    }
}

fn contents(file: Inherited) -> Result<Vec<u8>, arm::Error> {
    let mut file = File::from(file.file);
    let mut bytes = Vec::new();
    let read = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
    read.map_err(|source| arm::Error::Host { what: "can't read a part of the UKI", source })?;
    Ok(bytes)
}

fn arm_error(error: arm::Error) -> Error {
    Error::Host { what: "the UKI can't be taken apart", source: io::Error::other(error) }
}

fn sha256(bytes: &[u8]) -> Digest {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).into()
}
