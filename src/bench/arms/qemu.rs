//! QEMU's own direct boot: `-kernel`, `-initrd` and `-append`.
//!
//! QEMU's firmware, SeaBIOS, runs, and an option ROM of QEMU's takes the kernel from
//! the monitor and enters it in real mode (docs/system/linuxboot.rst).

use std::ffi::OsString;

use super::{judge, parts::Parts, program::Program};
use crate::{
    bench::{
        arm::{Arm, Error, Mode, Request, Why},
        trial::Trial,
    },
    engine::{
        Kind,
        tcg::{self, QemuFound},
    },
};

/// QEMU's direct boot, by either of its accelerators.
#[derive(Debug)]
pub struct Qemu {
    /// What runs the guest.
    pub engine: Kind,
}

impl Arm for Qemu {
    fn name(&self) -> &'static str {
        "qemu"
    }

    fn engine(&self) -> Kind {
        self.engine
    }

    fn available(&self, mode: Mode) -> Result<(), Why> {
        available(mode)
    }

    fn versions(&self) -> Vec<(String, String)> {
        versions()
    }

    fn trial(&self, request: &Request<'_>) -> Result<Trial, Error> {
        let parts = Parts::open(request.subject)?;
        let qemu = found()?;
        let mut program = machine(&qemu, self.engine, &parts);
        let kernel = program.inherit(parts.bzimage()?);
        program.arg("-kernel").arg(kernel);
        if let Some(initrd) = parts.initrd()? {
            let initrd = program.inherit(initrd);
            program.arg("-initrd").arg(initrd);
        }
        program.arg("-append").arg(parts.cmdline());
        let seen = program.run(request)?;
        let trial = judge::timed(judge::proof(&parts, &seen, &[])?);
        Ok(judge::until_end(trial, &seen, seen.console.first_byte()))
    }
}

/// Whether there is a QEMU, and it can be measured so.
pub(super) fn available(mode: Mode) -> Result<(), Why> {
    if mode == Mode::Count {
        let reason = "its instructions can't be counted".to_owned();
        return Err(Why { reason, mend: None });
    }
    tcg::qemu().map(drop).map_err(|error| Why { reason: error.to_string(), mend: None })
}

pub(super) fn versions() -> Vec<(String, String)> {
    tcg::qemu().map(|qemu| vec![("QEMU".to_owned(), qemu.version)]).unwrap_or_default()
}

/// The QEMU of this host.
pub(super) fn found() -> Result<QemuFound, Error> {
    tcg::qemu().map_err(|error| Error::Program {
        program: "qemu-system-x86_64".into(),
        what: error.to_string(),
        source: None,
    })
}

/// A q35 board that ends with its guest, its serial port on standard output, and
/// nothing to boot yet.
pub(super) fn machine(qemu: &QemuFound, engine: Kind, parts: &Parts) -> Program {
    let mut program = Program::new(&qemu.path);
    program.args(board(engine, qemu.cpu(), parts.cpus, parts.memory_mib));
    program
}

fn board(engine: Kind, cpu: &str, cpus: u32, memory_mib: u64) -> Vec<OsString> {
    let (accelerator, cpu) = match engine {
        Kind::Kvm => ("kvm", "host"),
        Kind::Tcg => ("tcg,thread=multi", cpu),
    };
    let words = [
        "-M",
        "q35,smm=off",
        "-accel",
        accelerator,
        "-cpu",
        cpu,
        "-smp",
        &cpus.to_string(),
        "-m",
        &format!("{memory_mib}M"),
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-display",
        "none",
        "-chardev",
        "stdio,id=serial,signal=off",
        "-serial",
        "chardev:serial",
    ];
    words.map(OsString::from).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(engine: Kind) -> String {
        board(engine, "max", 2, 1024).join(" ".as_ref()).into_string().expect("text")
    }

    #[test]
    fn qemu_has_one_board_under_both_accelerators() {
        assert_eq!(
            words(Kind::Tcg),
            "-M q35,smm=off -accel tcg,thread=multi -cpu max -smp 2 -m 1024M -nodefaults \
             -no-user-config -no-reboot -display none -chardev stdio,id=serial,signal=off \
             -serial chardev:serial"
        );
        let kvm = words(Kind::Tcg).replace("tcg,thread=multi -cpu max", "kvm -cpu host");
        assert_eq!(words(Kind::Kvm), kvm);
    }
}
