//! Initrds that are loaded while their guest runs.

use std::{
    fs::{self, File},
    thread,
    time::{Duration, Instant},
};

use firmware_less::{
    plan::{BootPlan, Content, FileId, FileSlice, Piece, Placement},
    range::{FileRange, GuestRange},
};
use iced_x86::code_asm::*;
use ukivm::{
    attached::Attached,
    engine::{
        Engine, Error, Kind, Load,
        kvm::{self, GuestMemory, Vm},
    },
    exit,
    files::{Files, OpenFile, Source},
    outcome::End,
    sandbox::Sandbox,
    session::{Limits, Milestone, Session},
    timeline::Timeline,
};

use super::guest::{Guest, power_off, send};
use crate::support::{Scratch, engines};

const MIB: u64 = 1 << 20;
const INITRD: GuestRange = GuestRange::constant(16 * MIB, 32 * MIB);
/// Within it, far from where a copier begins.
const LATE: u64 = 40 * MIB - 4;
/// How late the rest is.
const DELAY: Duration = Duration::from_millis(300);

/// A session that talks to nobody.
fn session(scratch: &Scratch) -> Session {
    let start = Instant::now();
    let limits = Limits { start, time_limit: Some(Duration::from_mins(1)), interactive: false };
    let output = File::create(scratch.path().join("output")).expect("a file");
    let input = File::open("/dev/null").expect("/dev/null");
    Session::with_console(input, output, limits, Timeline::new(start)).expect("a session")
}

/// A plan with an initrd of those pieces.
fn plan(guest: &Guest, content: Content) -> BootPlan {
    let initrd = Placement::of_pieces("initrd", INITRD, vec![Piece { offset: 0, content }]);
    guest.plan_with(initrd)
}

#[test]
fn a_guest_that_comes_to_its_initrd_too_early_waits() {
    let test = "a_guest_that_comes_to_its_initrd_too_early_waits";
    if !engines(test).contains(&"kvm") {
        return;
    }
    let guest = Guest::new(|a| {
        a.mov(rbx, LATE)?;
        a.mov(rax, u64::from_le_bytes(*b"written\n"))?;
        a.mov(qword_ptr(rbx), rax)?;
        send(a, LATE - 4, 12)?;
        power_off(a)
    });
    let len = usize::try_from(INITRD.len()).expect("a length");
    let plan = plan(&guest, Content::Bytes(vec![b'.'; len]));
    let scratch = Scratch::new();
    let session = session(&scratch);
    let (memory, files) = (GuestMemory::new(plan.machine()).expect("memory"), Files::default());
    let rest = memory.load_first(&plan, &files).expect("a loaded plan").expect("a rest");
    let vm = Vm::create(plan.machine(), &memory).expect("a VM").ready(&plan).expect("vCPUs");
    let (outcome, took) = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(DELAY);
            rest.load().expect("the rest");
        });
        let start = Instant::now();
        (vm.run(&session, &Sandbox::none()).expect("a run"), start.elapsed())
    });
    drop(session.finish());
    assert_eq!(outcome.end, End::PowerOff, "{:?}", outcome.crash);
    assert!(took >= DELAY, "{took:?}");
    let output = fs::read_to_string(scratch.path().join("output")).expect("output");
    assert_eq!(output, "....written\n");
}

/// What becomes of a guest whose initrd is a file, which `change` changes once all is
/// planned.
fn run_from_file(guest: &Guest, change: impl FnOnce(&File)) -> (Result<End, Error>, Timeline) {
    let scratch = Scratch::new();
    let path = scratch.path().join("initrd");
    let file = File::options().create_new(true).read(true).write(true).open(&path).expect("a file");
    file.set_len(INITRD.len()).expect("room");
    let range = FileRange::first(INITRD.len());
    let plan = plan(guest, Content::File(FileSlice { file: FileId::UKI, range }));
    let mut files = Files::default();
    files.push(OpenFile {
        path,
        source: Source::File(file.try_clone().expect("a file")),
        len: INITRD.len(),
        data: None,
    });
    change(&file);
    let session = session(&scratch);
    let (attached, sandbox) = (&Attached::default(), &Sandbox::none());
    let (plan, files) = (&plan, &files);
    let load =
        Load { plan, files, huge_pages: false, expected: None, attached, sandbox, ahead: None };
    let ran = Engine { kind: Kind::Kvm, reason: "tested".into() }.run(&load, &session);
    (ran.map(|outcome| outcome.end), session.finish().timeline)
}

#[test]
fn a_file_that_shrinks_while_the_guest_runs_ends_the_run_and_says_so() {
    let test = "a_file_that_shrinks_while_the_guest_runs_ends_the_run_and_says_so";
    if !engines(test).contains(&"kvm") {
        return;
    }
    let waits = |a: &mut CodeAssembler| {
        a.mov(rbx, LATE)?;
        a.mov(al, byte_ptr(rbx))?;
        power_off(a)
    };
    let never_looks = |a: &mut CodeAssembler| {
        let mut again = a.create_label();
        a.set_label(&mut again)?;
        a.pause()?;
        a.jmp(again)
    };
    for guest in [Guest::new(waits), Guest::new(never_looks)] {
        let (ran, timeline) = run_from_file(&guest, |file| file.set_len(20 * MIB).expect("less"));
        let error = ran.expect_err("there is too little to read");
        assert!(matches!(error, Error::Kvm(kvm::Error::ShortRead { .. })), "{error:?}");
        assert_eq!(error.exit_status(), exit::IO);
        assert!(timeline.at(Milestone::MemoryLoaded).is_some());
        assert_eq!(timeline.at(Milestone::RestLoaded), None);
    }
}

#[test]
fn a_guest_that_ends_before_its_initrd_is_there_has_ended_well() {
    let test = "a_guest_that_ends_before_its_initrd_is_there_has_ended_well";
    if !engines(test).contains(&"kvm") {
        return;
    }
    let (ran, _) = run_from_file(&Guest::new(power_off), |_| ());
    assert_eq!(ran.expect("a run"), End::PowerOff);
}
