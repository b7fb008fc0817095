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
        available(self.engine, mode)
    }

    fn versions(&self) -> Vec<(String, String)> {
        versions()
    }

    fn trial(&self, request: &Request<'_>) -> Result<Trial, Error> {
        let parts = Parts::open(request.subject)?;
        let qemu = found()?;
        let mut program = machine(&qemu, self.engine, &parts, request.mode)?;
        let kernel = program.inherit(parts.bzimage()?);
        program.arg("-kernel").arg(kernel);
        if let Some(initrd) = parts.initrd()? {
            let initrd = program.inherit(initrd);
            program.arg("-initrd").arg(initrd);
        }
        program.arg("-append").arg(parts.cmdline());
        let seen = program.run(request)?;
        let trial = judge::trial(request.mode, judge::proof(&parts, &seen, &[])?);
        Ok(judge::until_end(trial, &seen, seen.console.first_byte()))
    }
}

/// Whether there is a QEMU, and it can be measured so.
pub(super) fn available(engine: Kind, mode: Mode) -> Result<(), Why> {
    if (engine, mode) == (Kind::Kvm, Mode::Count) {
        let reason = "KVM does not count a guest's instructions".to_owned();
        let mend = Some("use --engine tcg".to_owned());
        return Err(Why { reason, mend });
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
pub(super) fn machine(
    qemu: &QemuFound,
    engine: Kind,
    parts: &Parts,
    mode: Mode,
) -> Result<Program, Error> {
    let mut program = Program::new(&qemu.path);
    program.args(board(parts.cpus, parts.memory_mib));
    if mode == Mode::Count {
        let log = program.log();
        let log = log.map_err(|source| Error::Host { what: "can't make a replay log", source })?;
        program.args(["-accel", "tcg,thread=single", "-cpu", qemu.cpu()]);
        program.arg("-icount").arg(format!("shift=0,sleep=off,rr=record,rrfile={log}"));
        // All that QEMU takes from the host otherwise.
        program.args(["-rtc", "base=2026-01-01T00:00:00,clock=vm", "-seed", "1"]);
        program.args(tcg::EVENTS.concat());
    } else {
        program.args(match engine {
            Kind::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Kind::Tcg => ["-accel", "tcg,thread=multi", "-cpu", qemu.cpu()],
        });
    }
    Ok(program)
}

fn board(cpus: u32, memory_mib: u64) -> Vec<OsString> {
    let words = [
        "-M",
        "q35,smm=off",
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

    #[test]
    fn qemu_has_one_board_for_all_that_it_boots() {
        assert_eq!(
            board(2, 1024).join(" ".as_ref()),
            "-M q35,smm=off -smp 2 -m 1024M -nodefaults -no-user-config -no-reboot -display none \
             -chardev stdio,id=serial,signal=off -serial chardev:serial"
        );
    }
}
