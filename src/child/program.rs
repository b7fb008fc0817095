//! Where a program is.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// The path of `name` as a shell would find it, if there is such a program.
pub(crate) fn program(name: &OsStr) -> Option<PathBuf> {
    search(name, &env::var_os("PATH").unwrap_or_default())
}

/// As a shell does: names with a slash are paths, others are looked for.
fn search(program: &OsStr, path: &OsStr) -> Option<PathBuf> {
    let executable = |candidate: &PathBuf| {
        candidate.is_file() && rustix::fs::access(candidate, rustix::fs::Access::EXEC_OK).is_ok()
    };
    if Path::new(program).components().count() > 1 {
        return Some(PathBuf::from(program)).filter(executable);
    }
    env::split_paths(path).map(|folder| folder.join(program)).find(executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_looked_for_as_a_shell_would() {
        let search = |program: &str| search(OsStr::new(program), OsStr::new("/nowhere:/bin"));
        assert_eq!(search("sh"), Some(PathBuf::from("/bin/sh")));
        assert_eq!(search("/bin/sh"), Some(PathBuf::from("/bin/sh")));
        assert_eq!(search("no-such-program"), None);
        assert_eq!(search("/bin"), None, "a folder can't be run");
        assert_eq!(search("/etc/passwd"), None, "nor can a file that is no program");
    }
}
