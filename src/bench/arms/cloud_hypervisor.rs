//! Cloud Hypervisor, with the UKI's kernel, initrd and command line.

use super::{
    judge,
    parts::Parts,
    peer::{Peer, Version},
    program::Program,
};
use crate::{
    bench::{
        arm::{Arm, Error, Mode, Request, Why},
        trial::Trial,
    },
    engine::Kind,
};

/// Cloud Hypervisor, where guests are run by `engine`.
#[derive(Debug)]
pub struct CloudHypervisor {
    /// What runs the guest.
    pub engine: Kind,
}

const PEER: Peer = Peer {
    name: "cloud-hypervisor",
    before_version: "cloud-hypervisor v",
    from: "https://github.com/cloud-hypervisor/cloud-hypervisor/releases",
};

/// The first version that starts a bzImage; others want what is packed in it.
/// release-notes.md, v39.0, "Direct Booting with bzImages".
const TAKES_BZIMAGE: Version = (39, 0);

impl Arm for CloudHypervisor {
    fn name(&self) -> &'static str {
        PEER.name
    }

    fn engine(&self) -> Kind {
        Kind::Kvm
    }

    fn available(&self, mode: Mode) -> Result<(), Why> {
        PEER.available(self.engine, mode)
    }

    fn versions(&self) -> Vec<(String, String)> {
        PEER.versions()
    }

    fn trial(&self, request: &Request<'_>) -> Result<Trial, Error> {
        let parts = Parts::open(request.subject)?;
        let installed = PEER.found()?;
        let mut program = Program::new(&installed.path);
        let (kernel, form) = installed.kernel(&parts, TAKES_BZIMAGE)?;
        let kernel = program.inherit(kernel);
        program.args(["--kernel", &kernel]);
        if let Some(initrd) = parts.initrd()? {
            let initrd = program.inherit(initrd);
            program.args(["--initramfs", &initrd]);
        }
        program.arg("--cmdline").arg(parts.cmdline());
        program.args(["--cpus", &format!("boot={}", parts.cpus)]);
        program.args(["--memory", &format!("size={}M", parts.memory_mib)]);
        // The first serial port on standard output, and no virtio console beside it.
        program.args(["--serial", "tty", "--console", "off"]);
        let seen = program.run(request)?;
        let mut proof = judge::proof(&parts, &seen, &[])?;
        proof.more.insert("kernel".to_owned(), form.to_owned());
        Ok(judge::until_end(judge::trial(request.mode, proof), &seen, seen.console.first_byte()))
    }
}
