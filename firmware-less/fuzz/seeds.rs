//! Writes images from which the fuzzers begin: without them, they would spend
//! their time on finding out how a PE file begins.

use std::{fs, io};

use firmware_less::testing::{
    Image, bzimage,
    signing::{Pkcs7, Signatory},
    uki,
};

fn main() -> io::Result<()> {
    for target in ["uki", "inspection"] {
        fs::create_dir_all(format!("corpus/{target}"))?;
        for (name, image) in images() {
            fs::write(format!("corpus/{target}/{name}"), image.build())?;
        }
    }
    fs::create_dir_all("corpus/bzimage")?;
    fs::create_dir_all("corpus/signature")?;
    for (name, bytes) in signatures() {
        fs::write(format!("corpus/signature/{name}"), bytes)?;
    }
    fs::write("corpus/bzimage/plain", bzimage().build())
}

/// What the target of signatures takes for one thing or another.
fn signatures() -> [(&'static str, Vec<u8>); 4] {
    let root = Signatory::root("root");
    let signer = root.signer("signer");
    let image = uki().section(".sbat", "sbat,1\n").section(".linux", "kernel").build();
    [
        ("signature", Pkcs7::of(&image, &signer, &[&root]).build(&signer)),
        ("certificates", root.pem().into_bytes()),
        ("hashes", b"00".repeat(32)),
        ("generations", b"sbat,1,2024010900\nshim,4\n".to_vec()),
    ]
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
