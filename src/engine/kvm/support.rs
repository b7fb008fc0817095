//! Whether this host's KVM is of use, and what to do where it is not.

use std::{error::Error as _, fmt, fs, path::Path};

use kvm_bindings::KVM_API_VERSION;
use kvm_ioctls::{Cap, Kvm};
use vmm_sys_util::errno;

use super::{DEVICE, Error, self_test};

/// What the engine cannot do without.
const NEEDED: [(Cap, &str); 6] = [
    (Cap::UserMemory, "KVM_CAP_USER_MEMORY"),
    (Cap::SetTssAddr, "KVM_CAP_SET_TSS_ADDR"),
    (Cap::SetIdentityMapAddr, "KVM_CAP_SET_IDENTITY_MAP_ADDR"),
    (Cap::Irqchip, "KVM_CAP_IRQCHIP"),
    (Cap::Irqfd, "KVM_CAP_IRQFD"),
    (Cap::ExtCpuid, "KVM_CAP_EXT_CPUID"),
];

/// The kernel modules that put hardware under KVM, each with the processor flag
/// that says they can.
const MODULES: [(&str, &str); 2] = [("kvm_intel", "vmx"), ("kvm_amd", "svm")];

/// What KVM on this host is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Support {
    /// It runs kernels.
    Works,
    /// There is no KVM.
    Absent(Absence),
    /// There is, but not for us.
    NotPermitted,
    /// Another hypervisor has the processor.
    Busy,
    /// It lacks something that every KVM has had for ten years.
    TooOld {
        /// What it lacks.
        lacks: &'static str,
    },
    /// It runs guests, but not kernels.
    CannotRunKernels {
        /// What a guest of a few instructions met.
        reason: String,
    },
    /// It fails otherwise.
    Fails {
        /// How.
        reason: String,
    },
}

/// Why there is no KVM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// The kernel has it, but there is no device for it: a container.
    Hidden,
    /// The processor could; this module is not loaded.
    NotLoaded(&'static str),
    /// The processor can't, or whoever lends it to us hides that it can.
    NoHardware,
}

impl Support {
    /// The command that mends it, where there is one.
    #[must_use]
    pub fn mend(&self) -> Option<String> {
        match self {
            Self::Absent(Absence::Hidden) => Some("docker run --device /dev/kvm …".to_owned()),
            Self::Absent(Absence::NotLoaded(module)) => Some(format!("sudo modprobe {module}")),
            Self::NotPermitted => Some("sudo usermod -aG kvm $USER, then log in again".to_owned()),
            _ => None,
        }
    }
}

impl fmt::Display for Support {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Works => write!(f, "runs kernels"),
            Self::Absent(Absence::Hidden) => {
                write!(f, "no {DEVICE} here, though the kernel has KVM (a container?)")
            }
            Self::Absent(Absence::NotLoaded(module)) => {
                write!(f, "no {DEVICE}: the module {module} is not loaded")
            }
            Self::Absent(Absence::NoHardware) => {
                write!(f, "no {DEVICE}: the processor shows neither vmx nor svm")
            }
            Self::NotPermitted => write!(f, "no permission for {DEVICE}"),
            Self::Busy => write!(f, "another hypervisor is using the processor"),
            Self::TooOld { lacks } => write!(f, "KVM is too old: it lacks {lacks}"),
            Self::CannotRunKernels { reason } => write!(f, "can't run kernels: {reason}"),
            Self::Fails { reason } => f.write_str(reason),
        }
    }
}

/// Finds out. Takes a few milliseconds where the self-test has to run, which it
/// does not where hardware is under KVM.
#[must_use]
pub fn probe() -> Support {
    let kvm = match open_checked() {
        Ok(kvm) => kvm,
        Err(support) => return support,
    };
    if loaded_module(Path::new("/sys/module")).is_some() {
        return Support::Works;
    }
    match self_test::run(&kvm) {
        Ok(None) => Support::Works,
        Ok(Some(reason)) => Support::CannotRunKernels { reason },
        Err(error) => fails(&error),
    }
}

/// Whether KVM is there, permitted and new enough, or what it is instead. Runs
/// no guest: whether this KVM runs kernels is left open.
pub fn check() -> Result<(), Support> {
    open_checked().map(drop)
}

/// What this KVM says of itself, by the names of its documentation; nothing where it
/// can't be opened.
#[must_use]
pub fn extensions() -> Vec<(&'static str, i32)> {
    const ASKED: [(Cap, &str); 9] = [
        (Cap::NrVcpus, "KVM_CAP_NR_VCPUS"),
        (Cap::MaxVcpus, "KVM_CAP_MAX_VCPUS"),
        (Cap::NrMemslots, "KVM_CAP_NR_MEMSLOTS"),
        (Cap::TscDeadlineTimer, "KVM_CAP_TSC_DEADLINE_TIMER"),
        (Cap::SplitIrqchip, "KVM_CAP_SPLIT_IRQCHIP"),
        (Cap::ImmediateExit, "KVM_CAP_IMMEDIATE_EXIT"),
        (Cap::Ioeventfd, "KVM_CAP_IOEVENTFD"),
        (Cap::SignalMsi, "KVM_CAP_SIGNAL_MSI"),
        (Cap::X2ApicApi, "KVM_CAP_X2APIC_API"),
    ];
    let Ok(kvm) = Kvm::new() else { return Vec::new() };
    let all = NEEDED.iter().chain(&ASKED);
    all.map(|(cap, name)| (*name, kvm.check_extension_int(*cap))).collect()
}

fn open_checked() -> Result<Kvm, Support> {
    let kvm = Kvm::new().map_err(cannot_open)?;
    if kvm.get_api_version().cast_unsigned() != KVM_API_VERSION {
        return Err(Support::TooOld { lacks: "the stable API, version 12" });
    }
    match NEEDED.iter().find(|(cap, _)| !kvm.check_extension(*cap)) {
        Some((_, lacks)) => Err(Support::TooOld { lacks }),
        None => Ok(kvm),
    }
}

fn cannot_open(error: errno::Error) -> Support {
    match error.errno() {
        libc::ENOENT | libc::ENODEV | libc::ENXIO => Support::Absent(absence()),
        libc::EACCES | libc::EPERM => Support::NotPermitted,
        _ => fails(&Error::Open(error)),
    }
}

fn fails(error: &Error) -> Support {
    match error {
        Error::Kvm { source, .. } if source.errno() == libc::EBUSY => Support::Busy,
        _ => {
            let cause = error.source().map(|source| format!(": {source}"));
            Support::Fails { reason: format!("{error}{}", cause.unwrap_or_default()) }
        }
    }
}

fn absence() -> Absence {
    if loaded_module(Path::new("/sys/module")).is_some() {
        return Absence::Hidden;
    }
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    module_for(&cpuinfo).map_or(Absence::NoHardware, Absence::NotLoaded)
}

fn loaded_module(modules: &Path) -> Option<&'static str> {
    MODULES.iter().map(|(module, _)| *module).find(|module| modules.join(module).exists())
}

fn module_for(cpuinfo: &str) -> Option<&'static str> {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"))?;
    let has = |flag| flags.split_whitespace().any(|word| word == flag);
    MODULES.iter().find(|(_, flag)| has(*flag)).map(|(module, _)| *module)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_module_is_named_after_the_processor() {
        assert_eq!(module_for("processor : 0\nflags\t: fpu vmx sse\n"), Some("kvm_intel"));
        assert_eq!(module_for("flags\t: fpu svm sse\n"), Some("kvm_amd"));
        assert_eq!(module_for("flags\t: fpu sse svm_lock\n"), None);
    }

    #[test]
    fn each_refusal_says_what_to_do_about_it() {
        let of = |errno| cannot_open(errno::Error::new(errno));
        assert_eq!(of(libc::EACCES), Support::NotPermitted);
        assert_eq!(
            of(libc::EACCES).mend().unwrap(),
            "sudo usermod -aG kvm $USER, then log in again"
        );
        assert!(matches!(of(libc::ENOENT), Support::Absent(_)));
        let not_loaded = Support::Absent(Absence::NotLoaded("kvm_intel"));
        assert_eq!(not_loaded.mend().unwrap(), "sudo modprobe kvm_intel");
        assert_eq!(not_loaded.to_string(), "no /dev/kvm: the module kvm_intel is not loaded");
    }

    #[test]
    fn another_hypervisor_is_named_as_the_cause() {
        let source = errno::Error::new(libc::EBUSY);
        assert_eq!(fails(&Error::Kvm { call: "KVM_CREATE_VM", source }), Support::Busy);
    }

    #[test]
    fn other_failures_keep_their_cause() {
        let source = errno::Error::new(libc::ENOMEM);
        let support = fails(&Error::Kvm { call: "KVM_CREATE_VM", source });
        assert_eq!(
            support.to_string(),
            "KVM_CREATE_VM failed: Cannot allocate memory (os error 12)"
        );
    }
}
