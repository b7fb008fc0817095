//! The UKI as it is, booted by UEFI firmware and its own stub.
//!
//! OVMF under QEMU finds it as `\EFI\BOOT\BOOTX64.EFI` on an EFI system partition,
//! with the addons and credentials that are given beside it. (UEFI 2.10, 3.5.1.1.)

mod ovmf;
mod partition;

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::Path,
};

use firmware_less::{
    inspection::Stub,
    read_at::fetch,
    uki::{Name, Reading, Selector},
};

use self::{
    ovmf::Ovmf,
    partition::{Partition, option},
};
use super::{
    console::Heard,
    judge::{self, nanoseconds},
    parts::{Inherited, Parts},
    program::Seen,
    qemu,
};
use crate::{
    bench::{
        arm::{Arm, Error, Mode, Request, Subject, Why},
        phase::Phase,
        trial::Trial,
    },
    engine::Kind,
};

/// Firmware and stub, by either of QEMU's accelerators.
#[derive(Debug)]
pub struct Firmware {
    /// What runs the guest.
    pub engine: Kind,
}

impl Arm for Firmware {
    fn name(&self) -> &'static str {
        "firmware"
    }

    fn engine(&self) -> Kind {
        self.engine
    }

    fn available(&self, mode: Mode) -> Result<(), Why> {
        qemu::available(self.engine, mode)?;
        Ovmf::find().map(drop)
    }

    fn versions(&self) -> Vec<(String, String)> {
        let ovmf = Ovmf::find().map(|ovmf| ("OVMF".to_owned(), ovmf.code.display().to_string()));
        qemu::versions().into_iter().chain(ovmf.ok()).collect()
    }

    fn trial(&self, request: &Request<'_>) -> Result<Trial, Error> {
        let parts = Parts::open(request.subject)?;
        let words = words(request.subject, &parts, request.mode)?;
        let ovmf = Ovmf::find().map_err(|why| host(io::Error::other(why)))?;
        let qemu = qemu::found()?;
        let mut program = qemu::machine(&qemu, self.engine, &parts, request.mode)?;
        let uki = parts.job().files.uki().file().ok_or(io::ErrorKind::NotFound.into());
        let uki = uki.and_then(File::try_clone).map_err(host)?;
        let uki = program.inherit(Inherited::new(uki));
        let variables = fs::read(&ovmf.variables).and_then(|bytes| Inherited::of_bytes(&bytes));
        let variables = program.inherit(variables.map_err(host)?);
        program.args(flash(&ovmf.code, Path::new(&variables)));
        if !words.is_empty() {
            program.args(smbios(&words));
        }
        // Kept until the program has ended.
        let partition = match request.mode {
            Mode::Time => Some(Partition::make(Path::new(&uki), request.subject).map_err(host)?),
            Mode::Count => None,
        };
        match &partition {
            Some(partition) => program.args(partition.drive()),
            None => program.args(["-kernel", &uki]),
        };
        let seen = program.run(request)?;
        drop(partition);
        let mut proof = judge::proof(&parts, &seen, &[])?;
        if request.mode == Mode::Count {
            proof.more.insert("the UKI is handed to the firmware".to_owned(), BY_QEMU.to_owned());
        }
        Ok(phases(judge::trial(request.mode, proof), &seen))
    }
}

/// Why no disk is in a machine whose instructions are counted.
const BY_QEMU: &str =
    "by QEMU (fw_cfg), not by a disk, whose answers don't come after as many instructions twice";

/// The words that the stub is to append.
///
/// What else the options change, no stub can be told. It appends what SMBIOS has for
/// it since systemd 254, `src/boot/stub.c`, `cmdline_append_and_measure_smbios`.
fn words(subject: &Subject, parts: &Parts, mode: Mode) -> Result<String, Error> {
    check_options(subject, mode)?;
    let mut plain = subject.clone();
    (plain.append, plain.words, plain.handed.console) = (Vec::new(), Vec::new(), None);
    let plain = Parts::open(&plain)?;
    let (plain, wanted) = (plain.cmdline().to_string_lossy(), parts.cmdline().to_string_lossy());
    let appended = wanted.strip_prefix(&*plain).map(|more| more.trim().to_owned());
    let appended = appended
        .ok_or_else(|| cannot(format!("the stub can't be told to make {wanted:?} of {plain:?}")))?;
    let stub = stub(parts);
    if appended.is_empty() || stub.as_ref().and_then(Stub::release) >= Some(SMBIOS_SINCE) {
        return Ok(appended);
    }
    let stub = stub.map_or_else(|| "of this UKI".to_owned(), |stub| stub.to_string());
    Err(cannot(format!(
        "the stub {stub} can't be told of further words for the command line, as those since \
         systemd {SMBIOS_SINCE} can"
    )))
}

/// The first systemd whose stub looks into SMBIOS for words.
const SMBIOS_SINCE: u32 = 254;

/// Refuses options that make of the UKI what neither firmware nor stub would.
fn check_options(subject: &Subject, mode: Mode) -> Result<(), Error> {
    let handed = &subject.handed;
    // Beside a UKI that is on no disk there is nothing.
    let is_alone = mode == Mode::Count;
    let unlike = [
        ("--as", handed.reading() != Reading::Stub),
        ("--cmdline", subject.cmdline.is_some()),
        ("--initrd", !subject.initrd.is_empty()),
        ("--addon", is_alone && (handed.addons || !handed.addon.is_empty())),
        ("--extra-credential", is_alone && !handed.extra_credential.is_empty()),
        ("--profile", handed.profile != Selector::default()),
    ];
    match unlike.into_iter().find(|(_, given)| *given) {
        Some((name, _)) => Err(cannot(format!("firmware and stub can't be told of {name}"))),
        None => Ok(()),
    }
}

/// The UKI's stub, by its own account.
fn stub(parts: &Parts) -> Option<Stub> {
    const MAX: u64 = 256;
    let range = parts.job().uki.base().entry(Name::Sdmagic)?.range();
    let text = fetch(parts.job().files.uki(), range.offset(), range.len().min(MAX)).ok()?;
    Stub::parse(&String::from_utf8_lossy(&text))
}

/// Firmware, and a copy of its variables that it may write to.
fn flash(code: &Path, variables: &Path) -> [OsString; 4] {
    let unit = |number: u32, more: &str, file: &Path| {
        option(&format!("if=pflash,unit={number},format=raw{more},file="), file)
    };
    ["-drive".into(), unit(0, ",readonly=on", code), "-drive".into(), unit(1, "", variables)]
}

/// Words for the stub to append. systemd-stub(7), "SMBIOS Type 11 Strings".
fn smbios(words: &str) -> [OsString; 2] {
    let value = "type=11,value=io.systemd.stub.kernel-cmdline-extra=";
    ["-smbios".into(), option(value, Path::new(words))]
}

/// The phases of a boot by firmware, by what it and the kernel say.
fn phases(trial: Trial, seen: &Seen) -> Trial {
    let lines = seen.console.lines();
    let starts = lines.iter().position(|line| line.text.contains(STARTS));
    let trial = match starts.and_then(|at| lines.get(at)) {
        Some(line) => trial.reached(Phase::Firmware, nanoseconds(line.over)),
        None => trial.without(Phase::Firmware, "it did not say that it starts the UKI"),
    };
    let trial =
        trial.without(Phase::Stub, "neither stub nor kernel says when the kernel is entered");
    let rest = lines.get(starts.map_or(0, |at| at.saturating_add(1))..).unwrap_or_default();
    let first = rest.iter().find(|line| is_kernels(line)).map(|line| line.began);
    judge::until_end(trial, seen, first)
}

/// What OVMF prints when it has loaded a boot option and is about to start it. edk2
/// `MdeModulePkg/Universal/BdsDxe/BdsEntry.c`, `BdsDxe: starting`.
const STARTS: &str = "BdsDxe: starting Boot";

/// Whether the kernel printed it to its console, and not by the firmware's.
/// drivers/firmware/efi/libstub/printk.c, `efi_printk`.
fn is_kernels(line: &Heard) -> bool {
    !line.text.trim().is_empty() && !line.text.starts_with("EFI stub: ")
}

fn cannot(what: String) -> Error {
    Error::Host { what: "the UKI can't be booted so by firmware", source: io::Error::other(what) }
}

fn host(source: io::Error) -> Error {
    Error::Host { what: "can't make a disk for the firmware", source }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_what_the_kernel_prints_itself_is_its_first_output() {
        let heard = |text: &str| {
            is_kernels(&Heard { began: Duration::ZERO, over: Duration::ZERO, text: text.into() })
        };
        assert!(heard("[    0.000000] Linux version 6.12"));
        assert!(heard("  Hello"));
        assert!(!heard("EFI stub: Loaded initrd from LINUX_EFI_INITRD_MEDIA_GUID device path"));
        assert!(!heard("  "));
    }

    #[test]
    fn the_stub_is_told_of_words_in_smbios() {
        let [_, words] = smbios("a=1,2 b");
        assert_eq!(words, "type=11,value=io.systemd.stub.kernel-cmdline-extra=a=1,,2 b");
    }
}
