//! Firecracker, with the UKI's kernel, initrd and command line.

use serde::Serialize;

use super::{
    judge,
    parts::{Inherited, Parts},
    peer::{Peer, Version},
    program::{Program, Seen},
};
use crate::{
    bench::{
        arm::{Arm, Error, Mode, Request, Why},
        trial::Trial,
    },
    child::anonymous_file,
    engine::Kind,
};

/// Firecracker, where guests are run by `engine`.
#[derive(Debug)]
pub struct Firecracker {
    /// What runs the guest.
    pub engine: Kind,
}

const PEER: Peer = Peer {
    name: "firecracker",
    before_version: "Firecracker v",
    from: "https://github.com/firecracker-microvm/firecracker/releases",
};

/// The first version that starts a bzImage; others want what is packed in it.
/// CHANGELOG.md.
const TAKES_BZIMAGE: Version = (1, 17);

/// What it puts on the command line by itself: that there is no PCI, unless told
/// otherwise, and what it has instead.
const ADDS: [&str; 2] = ["pci=off", "virtio_mmio.device="];

impl Arm for Firecracker {
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
        let (seen, form) = boot(request, &parts)?;
        let mut proof = judge::proof(&parts, &seen, &ADDS)?;
        proof.more.insert("kernel".to_owned(), form.to_owned());
        Ok(judge::until_end(judge::trial(request.mode, proof), &seen, seen.console.first_byte()))
    }
}

/// Boots, and says in which form the kernel was given.
fn boot(request: &Request<'_>, parts: &Parts) -> Result<(Seen, &'static str), Error> {
    let host = |source| Error::Host { what: "can't make a configuration for Firecracker", source };
    let installed = PEER.found()?;
    let mut program = Program::new(&installed.path);
    let (kernel, form) = installed.kernel(parts, TAKES_BZIMAGE)?;
    let kernel = program.inherit(kernel);
    let initrd = parts.initrd()?.map(|initrd| program.inherit(initrd));
    let cmdline = parts.cmdline().to_string_lossy();
    let config = Config::new(parts, &kernel, initrd.as_deref(), &cmdline);
    let config = serde_json::to_vec(&config).map_err(|error| host(error.into()))?;
    let config = program.inherit(Inherited::of_bytes(&config).map_err(host)?);
    // On standard output, where its log would be else, is the guest's console.
    let log = program.inherit(Inherited::new(anonymous_file().map_err(host)?));
    program.args(["--no-api", "--config-file", &config, "--log-path", &log]);
    Ok((program.run(request)?, form))
}

/// What `--config-file` holds. Firecracker `src/vmm/src/resources.rs`, `VmmConfig`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Config<'a> {
    boot_source: BootSource<'a>,
    /// None, but it has to be there.
    drives: [(); 0],
    #[serde(rename = "machine-config")]
    machine: MachineConfig,
}

/// `src/vmm/src/vmm_config/boot_source.rs`, `BootSourceConfig`.
#[derive(Debug, Serialize)]
struct BootSource<'a> {
    kernel_image_path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    initrd_path: Option<&'a str>,
    boot_args: &'a str,
}

/// `src/vmm/src/vmm_config/machine_config.rs`, `MachineConfig`.
#[derive(Debug, Serialize)]
struct MachineConfig {
    vcpu_count: u32,
    mem_size_mib: u64,
}

impl<'a> Config<'a> {
    fn new(parts: &Parts, kernel: &'a str, initrd: Option<&'a str>, cmdline: &'a str) -> Self {
        Self {
            boot_source: BootSource {
                kernel_image_path: kernel,
                initrd_path: initrd,
                boot_args: cmdline,
            },
            drives: [],
            machine: MachineConfig { vcpu_count: parts.cpus, mem_size_mib: parts.memory_mib },
        }
    }
}
