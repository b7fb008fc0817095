//! The programs that are compared.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    Result, floor,
    guest::{MEMORY, OnDisk},
};

/// A program that boots the guest.
#[derive(Clone, Debug)]
pub(crate) enum Arm {
    /// The one that does only what is needed.
    Floor,
    /// A build of ukivm.
    Ukivm(PathBuf),
}

impl Arm {
    /// The command that boots `guest`; ukivm writes its report to `json`.
    pub(crate) fn command(&self, guest: &OnDisk, json: &Path) -> Result<Command> {
        let mut command = match self {
            Self::Floor => {
                let mut command = Command::new(env::current_exe()?);
                command.args(floor::arguments(guest));
                command
            }
            Self::Ukivm(program) => {
                let mut command = Command::new(program);
                let limit = floor::TIME_LIMIT_S.to_string();
                let memory = format!("{}M", MEMORY >> 20);
                command.args(["run", "--engine", "kvm", "--timeout", &limit, "--memory", &memory]);
                let mut option = std::ffi::OsString::from("--json=");
                option.push(json);
                command.arg(option).arg(&guest.path);
                command
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Floor => f.write_str("floor"),
            Self::Ukivm(path) if path == Path::new(env!("CARGO_BIN_EXE_ukivm")) => {
                f.write_str("ukivm")
            }
            Self::Ukivm(path) => path.display().fmt(f),
        }
    }
}
