//! The sections that systemd-stub hands to userspace as files in `/.extra`.

use super::{Error, InitrdOrigin, TEXT_MAX, section_bytes};
use crate::{
    plan::Content,
    read_at::ReadAt,
    uki::{
        Name,
        cpio::{Target, archive},
        reading::View,
    },
};

/// The longest `.pcrsig` that is read: it grows with each key, bank and phase.
const PCRSIG_MAX: u32 = 1 << 20;

/// The sections, in the order of the parts they become. `src/boot/stub.c`,
/// `INITRD_PCRSIG` and those after it.
const SECTIONS: [Name; 4] = [Name::Pcrsig, Name::Pcrpkey, Name::Osrel, Name::Profile];

/// What the file of that section is called; `None` for those that become none.
/// `src/boot/stub.c`, `generate_embedded_initrds`.
#[must_use]
pub(super) fn file_name(section: Name) -> Option<&'static str> {
    match section {
        Name::Pcrsig => Some("tpm2-pcr-signature.json"),
        Name::Pcrpkey => Some("tpm2-pcr-public-key.pem"),
        Name::Osrel => Some("os-release"),
        Name::Profile => Some("profile"),
        _ => None,
    }
}

/// An archive for each of those sections that there are.
pub(super) fn parts(
    source: &(impl ReadAt + ?Sized),
    view: &View<'_>,
) -> Result<Vec<(InitrdOrigin, Content)>, Error> {
    let mut parts = Vec::new();
    for name in SECTIONS {
        let (Some(found), Some(file)) = (view.bytes_of(name)?, file_name(name)) else {
            continue;
        };
        let max = if name == Name::Pcrsig { PCRSIG_MAX } else { TEXT_MAX };
        let bytes = section_bytes(source, name, found, max)?;
        let archive = archive(&Target::EXTRA, &[(file, &bytes)]).ok_or(Error::InitrdTooLong)?;
        parts.push((InitrdOrigin::Extra(name), Content::Bytes(archive)));
    }
    Ok(parts)
}
