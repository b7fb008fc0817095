//! virtiofsd(1): a folder at the other end of a socket.
//!
//! There are two programs of that name: one in C, which came with QEMU up to 7.2, and one in
//! Rust, which has taken its place. They differ in their options.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd, RawFd},
        unix::{ffi::OsStrExt as _, net::UnixStream},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::{
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
    },
    rand::{GetRandomFlags, getrandom},
};

use super::Error;
use crate::{
    attached::farewell,
    child::{Child, Standard, Text, anonymous_file},
    devices::virtio::{Front, share::SharedFront},
};

/// Where it is, if it is not to be found like other programs: distributions put it out of the
/// way.
const PLACES: [&str; 3] =
    ["/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd", "/usr/lib/virtiofsd"];
/// How long its help, or its start, may take. The latter takes a few milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// The program's path, if it is installed.
#[must_use]
pub fn program() -> Option<PathBuf> {
    let names = std::iter::once("virtiofsd").chain(PLACES);
    names.map(OsStr::new).find_map(crate::child::program)
}

/// A virtiofsd that runs, and ends when the last of these sockets is closed: with us, however
/// we end.
#[derive(Debug)]
pub(super) struct Daemon {
    pub(super) socket: UnixStream,
    pub(super) front: SharedFront,
    said: Text,
}

/// Which of the programs it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    C,
    Rust { has_readonly: bool },
}

impl Daemon {
    /// Starts one that serves `folder`, and waits until it does.
    pub(super) fn start(folder: &Path, read_only: bool) -> Result<Self, Error> {
        let path = program().ok_or(Error::NoDaemon)?;
        let failed = |source| Error::Start { path: path.clone(), source };
        let kind = Program::of(&path).map_err(failed)?;
        let said = Text::create().map_err(failed)?;
        let run = || {
            let (socket, theirs) = connection()?;
            let arguments = arguments(&path, kind, folder, (theirs.as_raw_fd(), read_only));
            // The shell ends at once, so that the daemon outlives whoever starts it.
            let shell = [OsString::from("-c"), "\"$@\" &".into(), "sh".into()];
            let arguments: Vec<_> = shell.into_iter().chain(arguments).collect();
            let standard = standard(&said)?;
            Child::start(Path::new(SHELL), &arguments, vec![theirs], standard)?
                .into_background(PATIENCE)?;
            Ok(socket)
        };
        let socket: UnixStream = run().map_err(failed)?;
        let front = socket.try_clone().map_err(failed)?;
        let gave_up = |source| Error::Daemon {
            path: path.clone(),
            said: reason(&said.tail()).unwrap_or_else(|| "it said nothing".to_owned()),
            source,
        };
        let front = Arc::new(Mutex::new(Front::new(front).map_err(gave_up)?));
        Ok(Self { socket, front, said })
    }

    /// The last that it said.
    pub(super) fn said(&self) -> Option<String> {
        reason(&self.said.tail())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        farewell(&self.socket);
    }
}

impl Program {
    /// The one at `path`, by what its help names.
    fn of(path: &Path) -> io::Result<Self> {
        let said = Text::create()?;
        Child::start(path, &["--help"], Vec::new(), standard(&said)?)?.wait_at_most(PATIENCE)?;
        Ok(Self::by_help(&said.tail()))
    }

    fn by_help(help: &str) -> Self {
        if help.contains("--shared-dir") {
            Self::Rust { has_readonly: help.contains("--readonly") }
        } else {
            Self::C
        }
    }
}

const SHELL: &str = "/bin/sh";
/// Makes the folder one that nobody writes to, in a namespace of its own, and sees to it that
/// it is; then becomes what follows it. What is mounted below the folder is not there.
const READ_ONLY: &str = "mount --bind -o ro -- \"$1\" \"$1\" && \
                         if [ -w \"$1\" ]; then echo \"$1 can't be made read-only\" >&2; exit 1; \
                         fi && shift && exec \"$@\"";

/// The daemon's command line.
fn arguments(
    path: &Path,
    kind: Program,
    folder: &Path,
    (socket, read_only): (RawFd, bool),
) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = Vec::new();
    if read_only && kind != (Program::Rust { has_readonly: true }) {
        for word in ["unshare", "--mount", SHELL, "-c", READ_ONLY, "sh"] {
            arguments.push(word.into());
        }
        arguments.push(folder.into());
    }
    arguments.push(path.into());
    arguments.push(format!("--fd={socket}").into());
    match kind {
        Program::C => {
            arguments.extend(["-f", "-o"].map(OsString::from));
            arguments.push(source(folder));
            arguments.extend(["-o", "sandbox=namespace,log_level=warn"].map(OsString::from));
        }
        Program::Rust { has_readonly } => {
            arguments.push("--shared-dir".into());
            arguments.push(folder.into());
            arguments.extend(["--sandbox=namespace", "--log-level=warn"].map(OsString::from));
            if read_only && has_readonly {
                arguments.push("--readonly".into());
            }
        }
    }
    arguments
}

/// The option that names the folder, with what separates options in it marked. libfuse's
/// lib/fuse_opt.c.
fn source(folder: &Path) -> OsString {
    let mut option = b"source=".to_vec();
    for &byte in folder.as_os_str().as_bytes() {
        if matches!(byte, b',' | b'\\') {
            option.push(b'\\');
        }
        option.push(byte);
    }
    OsStr::from_bytes(&option).to_owned()
}

/// Our end of a connection, and what the daemon takes the other from.
///
/// The name is nowhere in the file system. Nobody else can come before us, and go unnoticed:
/// there is room for one.
fn connection() -> io::Result<(UnixStream, OwnedFd)> {
    let mut name = [0; 16];
    getrandom(&mut name, GetRandomFlags::empty())?;
    let address = SocketAddrUnix::new_abstract_name(&name)?;
    let socket = |flags| {
        socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | flags, None)
    };
    let theirs = socket(SocketFlags::empty())?;
    bind(&theirs, &address)?;
    listen(&theirs, 0)?;
    let ours = socket(SocketFlags::NONBLOCK)?;
    connect(&ours, &address)?;
    let ours = UnixStream::from(ours);
    ours.set_nonblocking(false)?;
    Ok((ours, theirs))
}

fn standard(said: &Text) -> io::Result<Standard> {
    Ok(Standard {
        input: anonymous_file()?.into(),
        output: said.handle()?.into(),
        error: said.handle()?.into(),
    })
}

/// The last of what it said that says something.
fn reason(said: &str) -> Option<String> {
    let line = said.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    Some(crate::visible::visible(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(kind: Program, read_only: bool) -> String {
        let arguments = arguments(Path::new("/d"), kind, Path::new("/a,b"), (5, read_only));
        arguments.join(OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn each_daemon_gets_its_own_options() {
        assert_eq!(
            words(Program::C, false),
            "/d --fd=5 -f -o source=/a\\,b -o sandbox=namespace,log_level=warn"
        );
        let old = Program::by_help("--shared-dir <DIR>");
        let new = Program::by_help("--shared-dir <DIR>\n--readonly\n");
        let rust = "/d --fd=5 --shared-dir /a,b --sandbox=namespace --log-level=warn";
        assert_eq!(words(old, false), rust);
        assert_eq!(words(new, false), rust);
        assert_eq!(words(new, true), format!("{rust} --readonly"));
        for kind in [Program::C, old] {
            let wrapped = words(kind, true);
            assert!(wrapped.starts_with("unshare --mount /bin/sh -c mount --bind -o ro -- "));
            assert!(wrapped.ends_with(&format!(" sh /a,b {}", words(kind, false))), "{wrapped}");
        }
    }

    #[test]
    fn a_connection_has_room_for_one() {
        let (ours, theirs) = connection().unwrap();
        let address = rustix::net::getsockname(&theirs).unwrap();
        let late =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK, None)
                .unwrap();
        assert!(connect(&late, &address).is_err());
        drop(ours);
    }
}
