//! [`Child`]: a child process that ends when we do, however we end.
#![expect(
    unsafe_code,
    reason = "Command::pre_exec, to ask for the death signal after fork; and what the sandbox does \
              with bare numbers of descriptors and a signal's bare data"
)]

mod program;
mod text;

pub(crate) use program::program;
pub(crate) use text::{Text, anonymous_file};

use std::{
    ffi::OsStr,
    io,
    marker::PhantomData,
    os::{
        fd::{BorrowedFd, OwnedFd, RawFd},
        unix::process::CommandExt as _,
    },
    path::Path,
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};

use rustix::{
    io::FdFlags,
    process::{Pid, Signal},
};

use crate::sandbox::Limits;

/// What is to be a child's standard files.
#[derive(Debug)]
pub(crate) struct Standard {
    pub(crate) input: OwnedFd,
    pub(crate) output: OwnedFd,
    pub(crate) error: OwnedFd,
}

/// A running child; killed when dropped.
///
/// The kernel kills it when the *thread* that started it ends, so it is not
/// `Send`: it can't outlive that thread by mistake.
#[derive(Debug)]
pub(crate) struct Child {
    inner: std::process::Child,
    not_send: PhantomData<*const ()>,
}

impl Child {
    /// Starts `program`. It inherits `files` under the numbers they have here; our
    /// copies of them and of its standard files are closed.
    pub(crate) fn start(
        program: &Path,
        arguments: &[impl AsRef<OsStr>],
        files: Vec<OwnedFd>,
        standard: Standard,
    ) -> io::Result<Self> {
        Self::start_confined(program, arguments, files, standard, None)
    }

    /// The same, confined to `limits`.
    pub(crate) fn start_confined(
        program: &Path,
        arguments: &[impl AsRef<OsStr>],
        files: Vec<OwnedFd>,
        standard: Standard,
        mut limits: Option<Limits>,
    ) -> io::Result<Self> {
        let parent = rustix::process::getpid();
        let mut command = Command::new(program);
        command.args(arguments);
        command.stdin(standard.input).stdout(standard.output).stderr(standard.error);
        let prepare = move || {
            detach(parent, &files)?;
            limits.as_mut().map_or(Ok(()), Limits::apply)
        };
        // SAFETY: `detach` and `apply` only make system calls, all of them allowed between
        // fork and exec: no allocation, no lock, nothing of the parent's state.
        unsafe { command.pre_exec(prepare) };
        Ok(Self { inner: command.spawn()?, not_send: PhantomData })
    }

    /// Ends the child at once, and whatever it has started. Nothing to do if it
    /// has ended.
    pub(crate) fn kill(&mut self) {
        let group = i32::try_from(self.inner.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            rustix::process::kill_process_group(group, Signal::KILL).ok();
        }
        self.inner.kill().ok();
    }

    /// Asks the child to end.
    pub(crate) fn terminate(&mut self) {
        if let Some(process) = i32::try_from(self.inner.id()).ok().and_then(Pid::from_raw) {
            rustix::process::kill_process(process, Signal::TERM).ok();
        }
    }

    /// Waits until the child has ended.
    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        self.inner.wait()
    }
}

impl Child {
    /// Waits until the child has ended, and ends it when `limit` has passed.
    pub(crate) fn wait_at_most(&mut self, limit: Duration) -> io::Result<ExitStatus> {
        const STEP: Duration = Duration::from_millis(5);
        let start = Instant::now();
        while start.elapsed() < limit {
            if let Some(status) = self.inner.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(STEP);
        }
        self.kill();
        self.wait()
    }

    /// Waits like [`Child::wait_at_most`] for a child that ends well when it goes on in the
    /// background. What it started then lives on: it may not have left the child's process
    /// group yet, which ends otherwise with the child.
    pub(crate) fn into_background(mut self, limit: Duration) -> io::Result<ExitStatus> {
        let status = self.wait_at_most(limit)?;
        if status.success() {
            std::mem::forget(self);
        }
        Ok(status)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        self.wait().ok();
    }
}

/// In the child: out of the terminal's reach, bound to `parent`'s life, and
/// with `files` kept open over exec.
fn detach(parent: Pid, files: &[OwnedFd]) -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have ended before the line above.
    if rustix::process::getppid() != Some(parent) {
        return Err(rustix::io::Errno::SRCH.into());
    }
    for file in files {
        rustix::io::fcntl_setfd(file, FdFlags::empty())?;
    }
    Ok(())
}

/// Whether that descriptor is open.
pub(crate) fn is_open(number: RawFd) -> bool {
    // SAFETY: not kept, and asked a question that is answered also where it is closed.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_getfd(descriptor).is_ok()
}

/// Closes descriptors that whoever started us left open, and that nothing here owns.
pub(crate) fn close(inherited: &[RawFd]) {
    for number in inherited {
        // SAFETY: it was open before anything here was, and so no owner's.
        unsafe { rustix::io::close(*number) };
    }
}

/// Has all threads share one heap.
///
/// For others glibc opens files, in whatever thread it is: to count the processors before
/// it makes the ninth (`arena_get2` of its malloc/arena.c), and to ask whether memory is
/// overcommitted before it gives some back (`shrink_heap` there).
pub(crate) fn share_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it sets a number of the allocator's own.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// The system call that a SIGSYS is about.
pub(crate) fn refused_call(info: *const libc::siginfo_t) -> libc::c_int {
    /// Where `_sigsys._syscall` is. include/uapi/asm-generic/siginfo.h, 64 bits.
    const OFFSET: usize = 24;
    let place = info.wrapping_byte_add(OFFSET).cast::<libc::c_int>();
    // SAFETY: the kernel gives a handler of SIGSYS a `siginfo_t`, which is longer.
    unsafe { place.read() }
}

/// Says of every thread that its stack has no frames: nothing is unwound in a program that ends
/// at a panic, and what is shipped has neither what tells where frames are nor names for them.
/// By this nothing needs what std would read those by, 185 KB.
#[cfg(panic = "abort")]
// SAFETY: it has the arguments and the result of the C++ ABI for exception handling, and whoever
// calls it takes `_URC_END_OF_STACK` as it would at a stack's end.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_: *const libc::c_void, _: *mut libc::c_void) -> libc::c_int {
    const END_OF_STACK: libc::c_int = 5;
    END_OF_STACK
}

/// What a thread is called.
#[derive(Debug)]
pub(crate) struct ThreadName([u8; Self::LEN]);

impl ThreadName {
    /// As much of it as the kernel keeps (TASK_COMM_LEN), and NUL.
    const LEN: usize = 16;

    /// The calling thread's, as the kernel has it: asked for without an allocation.
    pub(crate) fn of_this() -> Self {
        let mut name = [0; Self::LEN];
        // SAFETY: the kernel writes LEN bytes there, NUL at the end.
        unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
        Self(name)
    }

    pub(crate) fn name(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

/// Becomes another program, as no thread under a guest may.
#[cfg(debug_assertions)]
pub(crate) fn execute(program: &std::ffi::CStr) {
    // SAFETY: `program` ends in NUL, and Linux takes no arguments for none.
    unsafe { libc::execve(program.as_ptr(), std::ptr::null(), std::ptr::null()) };
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{PipeReader, Read as _},
        os::fd::AsRawFd as _,
        path::Path,
    };

    use rustix::fs::MemfdFlags;

    use super::*;

    /// With what it writes to its standard output.
    fn shell(script: &str, files: Vec<OwnedFd>) -> (Child, PipeReader) {
        let nothing = || File::from(rustix::fs::memfd_create("", MemfdFlags::CLOEXEC).unwrap());
        let (said, output) = io::pipe().unwrap();
        let standard =
            Standard { input: nothing().into(), output: output.into(), error: nothing().into() };
        let child = Child::start(Path::new("/bin/sh"), &["-c", script], files, standard).unwrap();
        (child, said)
    }

    #[test]
    fn a_child_inherits_the_files_it_is_given_under_their_numbers() {
        let (mut ours, theirs) = io::pipe().unwrap();
        let script = format!("echo through >/proc/self/fd/{}", theirs.as_raw_fd());
        let (mut child, _) = shell(&script, vec![theirs.into()]);
        let mut through = String::new();
        ours.read_to_string(&mut through).unwrap();
        assert_eq!(through, "through\n");
        assert!(child.wait().unwrap().success());
    }

    #[test]
    fn a_child_is_its_own_session_so_that_the_terminals_signals_pass_it_by() {
        let (child, _) = shell("exec sleep 60", Vec::new());
        let pid = Pid::from_raw(child.inner.id().try_into().unwrap()).unwrap();
        assert_eq!(rustix::process::getsid(Some(pid)).unwrap(), pid);
    }

    #[test]
    fn a_child_that_is_waited_for_long_enough_is_ended() {
        let (mut child, _) = shell("exec sleep 60", Vec::new());
        let status = child.wait_at_most(Duration::from_millis(20)).unwrap();
        assert!(!status.success());
        let (mut child, _) = shell("exit 3", Vec::new());
        assert_eq!(child.wait_at_most(Duration::from_mins(1)).unwrap().code(), Some(3));
    }

    #[test]
    fn what_goes_on_in_the_background_is_left_alone_though_it_shares_a_process_group() {
        let (child, mut output) = shell("(sleep 0.5; echo alive) & exit 0", Vec::new());
        assert!(child.into_background(Duration::from_mins(1)).unwrap().success());
        let mut said = String::new();
        output.read_to_string(&mut said).unwrap();
        assert_eq!(said, "alive\n");
    }

    #[test]
    fn a_child_ends_with_the_thread_that_started_it() {
        let (mut ours, theirs) = io::pipe().unwrap();
        let start = move || std::mem::forget(shell("exec sleep 60", vec![theirs.into()]));
        std::thread::spawn(start).join().unwrap();
        let mut nothing = Vec::new();
        assert_eq!(ours.read_to_end(&mut nothing).unwrap(), 0, "ends when the child does");
    }
}
