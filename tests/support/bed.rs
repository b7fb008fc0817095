//! The KVM engine with whole kernels: on this host where its KVM runs them, else in
//! the bed, a nested machine with a true /dev/kvm.

use std::{
    env,
    fs::{self, File},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use ukivm::{engine::kvm, exit};

use super::{Ran, Scratch, images, skip};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ukivm");

/// How long the bed may be at one command, each of which has a limit of its own that
/// is shorter. Now and then the emulated processor loses the state not of a guest
/// but of the bed, which then hangs.
const STALL: Duration = Duration::from_mins(2);

/// Whether KVM runs kernels on this very host.
pub(crate) fn kvm_works() -> bool {
    matches!(kvm::probe(), kvm::Support::Works)
}

/// Runs `ukivm` with each of `commands`, none of which is to end as the bed may end it: in
/// the bed all in one, and there once more those that do. `None`, and `test` noted as
/// skipped, where KVM can't be had either way.
pub(crate) fn on_kvm(test: &str, commands: &[Vec<String>]) -> Option<Vec<Ran>> {
    on_kvm_unless(test, commands, |_, _| false)
}

/// The same where some are to end so: those are not run once more of which `is_wanted`
/// says that it is what is wanted, by their number.
pub(crate) fn on_kvm_unless(
    test: &str,
    commands: &[Vec<String>],
    is_wanted: impl Fn(usize, &Ran) -> bool,
) -> Option<Vec<Ran>> {
    if kvm_works() {
        return Some(commands.iter().map(|arguments| Scratch::new().ukivm(arguments)).collect());
    }
    if !images().join("bed/initrd").is_file() {
        skip(test, "KVM can't run kernels here, and there is no bed: images/build bed makes it");
        return None;
    }
    let mut runs = run(commands, None);
    for (number, ran) in runs.iter_mut().enumerate() {
        if is_the_bed_s_own(ran) && !is_wanted(number, ran) {
            eprintln!("once more in the bed, {:?} gave {ran:?}", commands.get(number));
            let command = commands.get(number).into_iter().cloned().collect::<Vec<_>>();
            *ran = run(&command, None).remove(0);
        }
    }
    Some(runs)
}

/// Runs `ukivm` with `command`, which writes to files in `folder`, once. `None`, and `test`
/// noted as skipped, where KVM can't be had.
pub(crate) fn on_kvm_writing(test: &str, command: &[String], folder: &Path) -> Option<Ran> {
    on_kvm_by(test, None, command, folder)
}

/// The same by a shell script in `folder`, if there is one: its arguments are the program and
/// the program's.
pub(crate) fn on_kvm_by(
    test: &str,
    script: Option<&Path>,
    command: &[String],
    folder: &Path,
) -> Option<Ran> {
    if kvm_works() {
        return Some(match script {
            Some(script) => Ran::of(Command::new("sh").arg(script).arg(PROGRAM).args(command)),
            None => Scratch::new().ukivm(command),
        });
    }
    if !images().join("bed/initrd").is_file() {
        skip(test, "KVM can't run kernels here, and there is no bed: images/build bed makes it");
        return None;
    }
    let commands = [command.to_vec()];
    let run = || run(&commands, Some((folder, script))).remove(0);
    let ran = run();
    Some(if is_the_bed_s_own(&ran) { run() } else { ran })
}

/// Whether a run may have ended so because the bed's processor is emulated: now
/// and then its SVM loses a guest's state, which then faults or hangs, and with two
/// processors one may go on with code that the other has changed (an int3 that Linux sets
/// while it patches itself, and has taken away).
fn is_the_bed_s_own(ran: &Ran) -> bool {
    const ENDS: [u8; 4] =
        [exit::TRIPLE_FAULT, exit::SILENCE, exit::ENGINE_FAILURE, exit::TIME_LIMIT];
    ENDS.iter().any(|end| ran.status == Some((*end).into())) || ran.stdout.contains("Oops: int3")
}

/// Runs `ukivm` with each of `commands`, one after the other in one bed, or in
/// another where that one hangs; `folder` is one that they write to. What each wrote comes back through a shared folder.
fn run(commands: &[Vec<String>], folder: Option<(&Path, Option<&Path>)>) -> Vec<Ran> {
    let scratch = Scratch::new();
    let mut hung_at = None;
    loop {
        let first = finished(&scratch, commands.len());
        if in_one_bed((&scratch, folder), commands, first) {
            break;
        }
        let done = finished(&scratch, commands.len());
        assert!(hung_at != Some(done), "the bed hung twice at {:?}", commands.get(done));
        eprintln!("the bed hung at {:?}: once more, in another", commands.get(done));
        hung_at = Some(done);
    }
    let read = |name: String| {
        let bytes = fs::read(scratch.path().join(&name)).expect(&name);
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let ran = |number: usize| Ran {
        status: read(format!("{number}.status")).trim().parse().ok(),
        stdout: read(format!("{number}.out")),
        stderr: read(format!("{number}.err")),
    };
    (0..commands.len()).map(ran).collect()
}

/// Whether all that could be run on KVM is to be: not where that takes a bed, in which a
/// guest takes four times as long, unless asked for.
pub(crate) fn runs_all() -> bool {
    kvm_works() || env::var_os("UKIVM_ALL").is_some()
}

/// What shares the folder of this project, where the bed would hide it: somebody's
/// clone in /tmp.
fn own_folder() -> Vec<&'static str> {
    const HIDDEN: [&str; 4] = ["/tmp/", "/run/", "/var/tmp/", "/dev/shm/"];
    let own = env!("CARGO_MANIFEST_DIR");
    if HIDDEN.iter().any(|hidden| own.starts_with(hidden)) {
        vec!["--share", own]
    } else {
        Vec::new()
    }
}

/// How many of that many commands have left their status, from the first one on.
fn finished(scratch: &Scratch, commands: usize) -> usize {
    let has_ended = |number: &usize| {
        let status = fs::read(scratch.path().join(format!("{number}.status")));
        status.is_ok_and(|status| status.ends_with(b"\n"))
    };
    (0..commands).take_while(has_ended).count()
}

/// Runs `commands` from the one numbered `first` on in a bed. Whether it came to its
/// end; else it hung, and was ended.
fn in_one_bed(
    (scratch, folder): (&Scratch, Option<(&Path, Option<&Path>)>),
    commands: &[Vec<String>],
    first: usize,
) -> bool {
    let (folder, script) = folder.unzip();
    let script = script.flatten().map_or(String::new(), |path| format!("sh '{}' ", path.display()));
    let line = |(number, arguments): (usize, &Vec<String>)| {
        let quoted: Vec<_> = arguments.iter().map(|word| format!("'{word}'")).collect();
        format!(
            "{script}{PROGRAM} {} >$BED_SHARE/{number}.out 2>$BED_SHARE/{number}.err; echo $? >$BED_SHARE/{number}.status",
            quoted.join(" ")
        )
    };
    let lines: Vec<String> = commands.iter().enumerate().skip(first).map(line).collect();
    let said = scratch.path().join("bed");
    let mut bed = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bed/bed"))
        .args(["--timeout", "1500", "--share"])
        .arg(scratch.path())
        .args(own_folder())
        .args(folder.iter().flat_map(|folder| [Path::new("--share"), folder]))
        .args(["-c", &lines.join("\n")])
        .stderr(File::create(&said).expect("a file for what it says"))
        .spawn()
        .expect("the bed starts");
    let mut progress = (first, Instant::now());
    loop {
        if let Some(status) = bed.try_wait().expect("a child of ours") {
            let said = fs::read(&said).unwrap_or_default();
            assert!(status.success(), "{status}: {}", String::from_utf8_lossy(&said));
            return true;
        }
        let done = finished(scratch, commands.len());
        if done != progress.0 {
            progress = (done, Instant::now());
        } else if progress.1.elapsed() > STALL {
            // It cleans up on SIGTERM.
            kill_process(Pid::from_child(&bed), Signal::TERM).expect("it runs");
            bed.wait().expect("a child of ours");
            return false;
        }
        thread::sleep(Duration::from_millis(100));
    }
}
