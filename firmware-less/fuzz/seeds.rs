//! Writes images from which the fuzzers begin: without them, they would spend
//! their time on finding out how a PE file begins.

use std::{fs, io};

use firmware_less::testing::{Image, bzimage, uki};

fn main() -> io::Result<()> {
    fs::create_dir_all("corpus/uki")?;
    fs::create_dir_all("corpus/bzimage")?;
    for (name, image) in images() {
        fs::write(format!("corpus/uki/{name}"), image.build())?;
    }
    fs::write("corpus/bzimage/plain", bzimage().build())
}

fn images() -> [(&'static str, Image); 3] {
    let plain = uki().section(".cmdline", "quiet").section(".linux", bzimage().build());
    let profiles = plain
        .clone()
        .section(".initrd", "cpio")
        .section(".profile", "ID=main")
        .section(".profile", "ID=other")
        .section(".cmdline", "");
    let addon = uki()
        .section(".sdmagic", "#### LoaderInfo: systemd-addon 257 ####")
        .section(".cmdline", "debug");
    [("plain", plain), ("profiles", profiles), ("addon", addon)]
}
