//! A run of the program that goes on while the test does something to it.

use std::{
    ffi::OsStr,
    fs,
    io::Write as _,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

/// The longest that anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A process whose output is gathered as it comes.
pub(crate) struct Running {
    child: Child,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Running {
    /// Starts `ukivm` with `arguments` in `folder`, its input a pipe that stays
    /// open.
    pub(crate) fn ukivm<A: AsRef<OsStr>>(
        folder: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let mut command = Command::new(super::program());
        command.args(arguments).current_dir(folder);
        Self::start(command)
    }

    /// Starts `command`; what it writes to output and errors is gathered as one.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        gather(stdout.expect("a pipe"), &seen);
        gather(stderr.expect("a pipe"), &seen);
        Self { child, seen }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What was written so far.
    pub(crate) fn seen(&self) -> String {
        let seen = self.seen.lock().expect("no reader panics");
        String::from_utf8_lossy(&seen).into_owned()
    }

    /// Waits until `text` was written.
    pub(crate) fn wait_for(&self, text: &str) {
        let found = within(PATIENCE, || self.seen().contains(text));
        assert!(found, "no {text:?} in {:?}", self.seen());
    }

    /// Waits at most `limit` until it has ended or has written `text`.
    pub(crate) fn wait_for_end_or(&mut self, text: &str, limit: Duration) {
        let ended = |child: &mut Child| child.try_wait().expect("our child").is_some();
        let over = within(limit, || self.seen().contains(text) || ended(&mut self.child));
        assert!(over, "still running after {limit:?}, wrote {:?}", self.seen());
    }

    /// Types `bytes`.
    pub(crate) fn type_in(&mut self, bytes: &[u8]) {
        let stdin = self.child.stdin.as_mut().expect("a pipe");
        stdin.write_all(bytes).and_then(|()| stdin.flush()).expect("somebody reads");
    }

    /// Ends its standard input.
    pub(crate) fn close_input(&mut self) {
        drop(self.child.stdin.take());
    }

    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// The exit status, or the signal's number less 256.
    pub(crate) fn status(&mut self) -> i32 {
        let ended = within(PATIENCE, || self.child.try_wait().expect("our child").is_some());
        assert!(ended, "still running after {PATIENCE:?}, wrote {:?}", self.seen());
        let status = self.child.wait().expect("our child");
        status.code().unwrap_or_else(|| status.signal().unwrap_or(0) - 256)
    }

    /// The processes that it has started, and those that they have.
    pub(crate) fn descendants(&self) -> Vec<u32> {
        descendants(self.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn gather(mut from: impl std::io::Read + Send + 'static, into: &Arc<Mutex<Vec<u8>>>) {
    let into = Arc::clone(into);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            into.lock().expect("no reader panics").extend_from_slice(&buffer[..count]);
        }
    });
}

/// Whether `holds` becomes true within `limit`.
pub(crate) fn within(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !holds() {
        if start.elapsed() > limit {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}

/// The numbers of all processes.
fn processes() -> impl Iterator<Item = u32> {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The processes with all of `words` on their command line. Those that have ended have none.
pub(crate) fn processes_with(words: &[&str]) -> Vec<u32> {
    let has_all = |process: &u32| {
        let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        words.iter().all(|word| line.contains(word))
    };
    processes().filter(has_all).collect()
}

fn descendants(parent: u32) -> Vec<u32> {
    let children: Vec<u32> =
        processes().filter(|process| parent_of(*process) == Some(parent)).collect();
    let more: Vec<u32> = children.iter().flat_map(|child| descendants(*child)).collect();
    [children, more].concat()
}

fn parent_of(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before may hold anything, blanks and brackets too.
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_whitespace().nth(1)?.parse().ok()
}

/// Whether that process is there and not a zombie.
pub(crate) fn is_alive(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, behind)| !behind.trim_start().starts_with(['Z', 'X']))
}

/// The files that a process holds open, by name.
pub(crate) fn open_files(process: u32) -> Vec<String> {
    let folder = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    let names = folder.filter_map(|entry| fs::read_link(entry.path()).ok());
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}
