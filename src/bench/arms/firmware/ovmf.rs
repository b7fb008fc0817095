//! UEFI firmware for QEMU.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::bench::arm::Why;

/// Names another folder with OVMF than those where distributions have it.
const OVERRIDE: &str = "UKIVM_OVMF";

/// A build of OVMF.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ovmf {
    /// The firmware.
    pub(super) code: PathBuf,
    /// Its variables as they are before the first boot.
    pub(super) variables: PathBuf,
}

/// Where distributions have it: Debian and its kin, Fedora, Arch, and QEMU's own.
const FOLDERS: [&str; 4] =
    ["/usr/share/OVMF", "/usr/share/edk2/ovmf", "/usr/share/edk2/x64", "/usr/share/qemu"];

/// How they name code and variables, of builds without Secure Boot, which would want
/// keys and system management mode. The first is that of a folder of one's own.
const NAMES: [(&str, &str); 5] = [
    ("code.fd", "variables.fd"),
    ("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"),
    ("OVMF_CODE.4m.fd", "OVMF_VARS.4m.fd"),
    ("OVMF_CODE.fd", "OVMF_VARS.fd"),
    ("edk2-x86_64-code.fd", "edk2-i386-vars.fd"),
];

impl Ovmf {
    /// The one of this host.
    pub(super) fn find() -> Result<Self, Why> {
        let chosen = env::var_os(OVERRIDE).map(PathBuf::from);
        let folders = chosen
            .as_ref()
            .map_or_else(|| FOLDERS.map(Path::new).to_vec(), |folder| vec![folder.as_path()]);
        folders.iter().find_map(|folder| Self::in_folder(folder)).ok_or_else(|| {
            let folders: Vec<_> = folders.iter().map(|one| one.display().to_string()).collect();
            let names = NAMES.map(|(code, variables)| format!("{code} and {variables}"));
            Why {
                reason: format!("no OVMF in {}: no {}", folders.join(", "), names.join(", no ")),
                mend: Some(match chosen {
                    Some(_) => format!("let {OVERRIDE} name a folder that has it"),
                    None => format!("apt-get install ovmf, or name its folder in {OVERRIDE}"),
                }),
            }
        })
    }

    fn in_folder(folder: &Path) -> Option<Self> {
        let build =
            |(code, variables)| Self { code: folder.join(code), variables: folder.join(variables) };
        let mut builds = NAMES.into_iter().map(build);
        builds.find(|build| build.code.is_file() && build.variables.is_file())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_variables_are_of_one_build() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let write = |name: &str| std::fs::write(at(name), b"").unwrap();
        write("OVMF_CODE.fd");
        write("OVMF_VARS_4M.fd");
        assert_eq!(Ovmf::in_folder(folder.path()), None);
        write("OVMF_CODE_4M.fd");
        let found = Ovmf::in_folder(folder.path()).unwrap();
        assert_eq!(found.code, at("OVMF_CODE_4M.fd"));
        assert_eq!(found.variables, at("OVMF_VARS_4M.fd"));
    }
}
