//! Where systemd-stub would find a UKI's addons.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

use firmware_less::uki::handed::is_taken_by_the_stub;

/// The folder of the files that belong to the UKI at `image`: its own name without
/// a boot counter, and `.extra.d`. systemd `src/boot/util.c`, `get_extra_dir`.
#[must_use]
pub fn folder(image: &Path) -> PathBuf {
    let mut name = without_boot_counter(image.file_name().unwrap_or_default());
    name.push(".extra.d");
    image.with_file_name(name)
}

/// The addons in `folder`, in the order in which the stub applies them.
///
/// systemd `src/boot/stub.c`, `load_addons_from_dir`: not all names will do, and
/// the rest is sorted by them.
pub fn in_folder(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(OsStr::to_str);
        let fits = name.is_some_and(|name| is_taken_by_the_stub(name, ".addon.efi"));
        if fits && !path.is_dir() {
            names.push(path);
        }
    }
    names.sort();
    Ok(names)
}

/// `foo+3-1.efi` is `foo.efi`: tries left, and tries done, are counted in the name.
/// systemd `src/boot/util.c`, `remove_boot_count`.
fn without_boot_counter(name: &OsStr) -> OsString {
    let bytes = name.as_bytes();
    let counted = || {
        let plus = bytes.iter().position(|&byte| byte == b'+')?;
        let (stem, rest) = bytes.split_at(plus);
        let rest = number(rest.strip_prefix(b"+")?)?;
        let rest = rest.strip_prefix(b"-").map_or(Some(rest), number)?;
        let ends = rest.first().is_none_or(|&byte| byte == b'.');
        ends.then(|| OsString::from_vec([stem, rest].concat()))
    };
    counted().unwrap_or_else(|| name.to_owned())
}

/// What follows the digits that `text` begins with; `None` if there are none.
fn number(text: &[u8]) -> Option<&[u8]> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.get(digits..).filter(|_| digits > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_named_for_the_uki_without_its_boot_counter() {
        let folder = |image: &str| folder(Path::new(image)).display().to_string();
        assert_eq!(folder("foo.efi"), "foo.efi.extra.d");
        assert_eq!(folder("a+1/foo+3.efi"), "a+1/foo.efi.extra.d");
        assert_eq!(folder("foo+3-1.efi"), "foo.efi.extra.d");
        assert_eq!(folder("foo+3-1"), "foo.extra.d");
        for kept in ["foo+.efi", "foo+3-.efi", "foo+3-x.efi", "foo+deb12.efi", "foo+3x.efi"] {
            assert_eq!(folder(kept), format!("{kept}.extra.d"));
        }
    }
}
