//! A first kernel in QEMU that goes to the next one by a real kexec, and the machine
//! as the next one finds it.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::cases::Case;
use crate::support::{Scratch, kexec::kexec_initrd};

/// The longest that a machine may take, emulated, on a busy host.
const PATIENCE: Duration = Duration::from_mins(3);
/// How QEMU's exit device turns a status into its own: `status << 1 | 1`.
const EXIT_DEVICE: &str = "isa-debug-exit,iobase=0xf4,iosize=1";

/// How the attempt ended.
pub(super) enum Attempt {
    /// `kexec_file_load(2)` refused, with that error.
    Refused(i32),
    /// The next kernel stands at its first instruction.
    Arrived(Box<Guest>),
}

/// A machine that was stopped; it ends with its owner.
pub(super) struct Guest {
    scratch: Scratch,
    _qemu: Running,
    monitor: Monitor,
}

/// QEMU, ended with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Boots `vmlinuz` and lets it do what `case` says.
pub(super) fn attempt(program: &Path, vmlinuz: &Path, case: &Case) -> Attempt {
    let scratch = Scratch::new();
    let initrd = case.initrd_bytes();
    let initrd = (!initrd.is_empty()).then_some(initrd.as_slice());
    let initrd = kexec_initrd(&case.kernel(), initrd, case.cmdline.as_bytes());
    let initrd = scratch.file("initrd", initrd);
    let console = scratch.file("console", "");
    let socket = scratch.path().join("monitor");
    let mut command = Command::new(program);
    command
        .args(["-no-user-config", "-nodefaults", "-display", "none", "-no-reboot"])
        .args(["-machine", "q35,accel=tcg", "-cpu", &cpu(case), "-smp", "1"])
        .args(["-m", &format!("{}M", case.memory_mib), "-device", EXIT_DEVICE])
        .args(["-append", "console=ttyS0 quiet panic=-1", "-kernel"])
        .arg(vmlinuz)
        .arg("-initrd")
        .arg(initrd)
        .args(["-serial", &format!("file:{}", console.display())])
        .args(["-qmp", &format!("unix:{},server=on,wait=off", socket.display())])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(scratch.path().join("qemu")).expect("a file for its words"));
    let mut qemu = Running(command.spawn().expect("QEMU starts"));
    let start = Instant::now();
    let mut monitor = None;
    loop {
        if qemu.0.try_wait().expect("our child").is_some() {
            return Attempt::Refused(errno(&scratch, &console));
        }
        monitor = monitor.or_else(|| Monitor::connect(&socket));
        if let Some(monitor) = &mut monitor
            && let Some(entry) = monitor.at_an_entry()
            && memory(monitor, &scratch, entry - 0x200, 0x1000) == Some(kernel_start(case))
        {
            monitor.execute("stop", &json!({})).expect("it spins");
            break;
        }
        if start.elapsed() > PATIENCE {
            let said = fs::read(&console).unwrap_or_default();
            panic!("{}: no next kernel, but {}", case.name, String::from_utf8_lossy(&said));
        }
        thread::sleep(Duration::from_millis(200));
    }
    let monitor = monitor.expect("it was asked just now");
    Attempt::Arrived(Box::new(Guest { scratch, _qemu: qemu, monitor }))
}

impl Guest {
    /// What the monitor says to `command`.
    pub(super) fn says(&mut self, command: &str) -> String {
        self.monitor.says(command).expect("a machine that is stopped stays")
    }

    /// Physical memory.
    pub(super) fn memory(&mut self, start: u64, len: u64) -> Vec<u8> {
        let memory = memory(&mut self.monitor, &self.scratch, start, len);
        memory.expect("a machine that is stopped stays")
    }
}

fn cpu(case: &Case) -> String {
    let on = |yes| if yes { "on" } else { "off" };
    format!("max,la57={},pdpe1gb={}", on(case.five_level), on(case.gib_pages))
}

fn kernel_start(case: &Case) -> Vec<u8> {
    let kernel = case.kernel();
    let setup = (usize::from(kernel[0x1f1]) + 1) * 512;
    kernel[setup..setup + 0x1000].to_vec()
}

/// The error that the first guest's init gave as its last word.
fn errno(scratch: &Scratch, console: &PathBuf) -> i32 {
    let said = String::from_utf8_lossy(&fs::read(console).expect("the console")).into_owned();
    let number = said.rsplit_once("kexec: error: kexec_file_load: errno ");
    let digits = number.map(|(_, behind)| behind.split(|c: char| !c.is_ascii_digit()).next());
    digits.flatten().and_then(|digits| digits.parse().ok()).unwrap_or_else(|| {
        let words = fs::read_to_string(scratch.path().join("qemu")).unwrap_or_default();
        panic!("the machine ended: {words}{said}")
    })
}

fn memory(monitor: &mut Monitor, scratch: &Scratch, start: u64, len: u64) -> Option<Vec<u8>> {
    let path = scratch.path().join("memory");
    let filename = path.to_str().expect("a path in UTF-8");
    monitor.execute("pmemsave", &json!({ "val": start, "size": len, "filename": filename }))?;
    Some(fs::read(path).expect("the memory"))
}

/// QEMU's machine protocol.
struct Monitor {
    read: BufReader<UnixStream>,
    write: UnixStream,
}

impl Monitor {
    /// `None` while there is nobody.
    fn connect(socket: &Path) -> Option<Self> {
        let write = UnixStream::connect(socket).ok()?;
        let read = BufReader::new(write.try_clone().expect("a descriptor"));
        let mut monitor = Self { read, write };
        monitor.execute("qmp_capabilities", &json!({}))?;
        Some(monitor)
    }

    /// What QEMU returns; `None` where it has ended.
    fn execute(&mut self, command: &str, arguments: &Value) -> Option<Value> {
        let line = json!({ "execute": command, "arguments": arguments }).to_string();
        self.write.write_all(line.as_bytes()).ok()?;
        loop {
            let mut line = String::new();
            if self.read.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let answer: Value = serde_json::from_str(&line).expect("JSON");
            assert!(answer.get("error").is_none(), "{command}: {answer}");
            // Between answers there are events.
            if let Some(value) = answer.get("return") {
                return Some(value.clone());
            }
        }
    }

    fn says(&mut self, command: &str) -> Option<String> {
        let answer = self.execute("human-monitor-command", &json!({ "command-line": command }));
        Some(answer?.as_str().expect("text").to_owned())
    }

    /// The instruction pointer, where that may be a kernel's 64-bit entry.
    fn at_an_entry(&mut self) -> Option<u64> {
        let said = self.says("info registers")?;
        let (_, rip) = said.split_once("RIP=")?;
        let rip = u64::from_str_radix(rip.get(..16)?, 16).ok()?;
        (rip % 0x1000 == 0x200 && rip < 1 << 46).then_some(rip)
    }
}
