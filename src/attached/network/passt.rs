//! passt(1): a network without privileges, at the other end of a socket.

use std::{
    ffi::OsStr,
    io,
    net::{TcpListener, UdpSocket},
    os::{
        fd::{AsRawFd as _, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use super::Error;
use crate::{
    attached::farewell,
    child::{Child, Standard, Text, anonymous_file, program},
    cli::{Protocol, Publish},
};

const PROGRAM: &str = "passt";
/// The most that it tells the guest an IP packet can be: what it takes (passt(1), `--mtu`).
pub(super) const MTU: u16 = 65520;
/// How long it may take to start. It takes some 70 ms.
const PATIENCE: Duration = Duration::from_secs(20);

/// What guests find, on every host: an address, and the host behind another, as QEMU's user
/// network has had them ever since. passt would give its guest the host's own.
const ADDRESSES: [&str; 8] = [
    "--address",
    "10.0.2.15",
    "--netmask",
    "255.255.255.0",
    "--gateway",
    "10.0.2.2",
    // The other end's. Without it passt wants an interface of the host's that has one.
    "--mac-addr",
    "02:75:6b:69:ff:ff",
];

/// A passt that runs, and ends when the last of these sockets is closed: with us, however we
/// end.
#[derive(Debug)]
pub(super) struct Passt(UnixStream);

impl Passt {
    /// Starts one that lets the host in at `ports`, and waits until it does.
    pub(super) fn start(ports: &[Publish]) -> Result<Self, Error> {
        let path = program(OsStr::new(PROGRAM)).ok_or(Error::NoPasst)?;
        check_ports(ports)?;
        let failed = |source| Error::Start { path: path.clone(), source };
        let (socket, theirs) = UnixStream::pair().map_err(failed)?;
        let said = Text::create().map_err(failed)?;
        let run = |theirs: UnixStream| {
            let arguments = arguments(theirs.as_raw_fd(), ports);
            let standard = Standard {
                input: anonymous_file()?.into(),
                output: said.handle()?.into(),
                error: said.handle()?.into(),
            };
            let files = vec![OwnedFd::from(theirs)];
            // It goes into the background when it is ready, and this one ends.
            Child::start(&path, &arguments, files, standard)?.into_background(PATIENCE)
        };
        let status = run(theirs).map_err(failed)?;
        if status.success() {
            return Ok(Self(socket));
        }
        let said = reason(&said.tail()).unwrap_or_else(|| format!("it said nothing ({status})"));
        Err(Error::Passt { path, said })
    }

    /// A second handle to the socket.
    pub(super) fn socket(&self) -> io::Result<UnixStream> {
        self.0.try_clone()
    }
}

impl Drop for Passt {
    /// Waits until it has ended, so that its ports are free again.
    fn drop(&mut self) {
        farewell(&self.0);
    }
}

/// passt's arguments.
fn arguments(socket: RawFd, ports: &[Publish]) -> Vec<String> {
    let mut arguments = vec!["--quiet".to_owned(), "--fd".to_owned(), socket.to_string()];
    arguments.extend(ADDRESSES.map(str::to_owned));
    for (protocol, option) in [(Protocol::Tcp, "--tcp-ports"), (Protocol::Udp, "--udp-ports")] {
        let mut any = false;
        for Publish { address, host, guest, .. } in
            ports.iter().filter(|port| port.protocol == protocol)
        {
            arguments.extend([option.to_owned(), format!("{address}/{host}:{guest}")]);
            any = true;
        }
        if !any {
            // Else it publishes for UDP what it does for TCP.
            arguments.extend([option.to_owned(), "none".to_owned()]);
        }
    }
    arguments
}

/// Whether all `ports` are to be had: passt says only that one is not.
fn check_ports(ports: &[Publish]) -> Result<(), Error> {
    let mut taken: Vec<OwnedFd> = Vec::new();
    for port in ports {
        let address = (port.address, port.host);
        let taking = match port.protocol {
            Protocol::Tcp => TcpListener::bind(address).map(OwnedFd::from),
            Protocol::Udp => UdpSocket::bind(address).map(OwnedFd::from),
        };
        taken.push(taking.map_err(|source| Error::Port { port: *port, source })?);
    }
    Ok(())
}

/// The last of what passt said that says something.
fn reason(said: &str) -> Option<String> {
    let is_noise = |line: &&str| line.is_empty() || line.contains("syslog");
    let line = said.lines().map(str::trim).rfind(|line| !is_noise(line))?;
    Some(crate::visible::visible(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passt_gets_these_arguments() {
        let ports: Vec<Publish> =
            ["8080:80", "[::1]:8443:443"].iter().map(|port| port.parse().unwrap()).collect();
        assert_eq!(
            arguments(5, &ports).join(" "),
            "--quiet --fd 5 --address 10.0.2.15 --netmask 255.255.255.0 --gateway 10.0.2.2 \
             --mac-addr 02:75:6b:69:ff:ff --tcp-ports 127.0.0.1/8080:80 --tcp-ports ::1/8443:443 \
             --udp-ports none"
        );
    }

    #[test]
    fn what_passt_said_last_is_the_reason() {
        let said = "Failed to send 47 bytes to syslog\nDon't run as root.\nNo \x1broute\n\
                    Failed to send 4 bytes to syslog\n";
        assert_eq!(reason(said).as_deref(), Some("No \\u{1b}route"));
        assert_eq!(reason("\n"), None);
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let published = format!("{port}:80").parse().unwrap();
        let error = check_ports(&[published]).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("--publish 127.0.0.1:{port}:80: that port can't be had on the host")
        );
        drop(taken);
        check_ports(&[published]).unwrap();
        check_ports(&[published, published]).unwrap_err();
    }
}
