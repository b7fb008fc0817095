//! Values of PCR 11, each as systemd-measure 257.13 gives it for the same sections.

use std::cell::Cell;

use firmware_less::{
    read_at::ReadAt,
    testing::{Image, uki},
    uki::{
        Uki,
        pcr11::{Bank, Pcr11, PhasePath},
    },
};

const SBAT: &str = "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\n";
const LINUX_ONLY: &str = "48ce0f5b58f021a07d22dd51576c402ec10cb7357fadb09340e725ac820afd30";

/// In another order than that in which sections are measured.
fn six_sections() -> Image {
    uki()
        .section(".sbat", SBAT)
        .section(".osrel", "ID=test\nPRETTY_NAME=\"Test\"\n")
        .section(".cmdline", "root=/dev/vda quiet")
        .section(".uname", "6.12.0-test")
        .section(".initrd", "INITRD\0\0")
        .section(".linux", "KERNEL")
}

fn linux_only() -> Image {
    uki().section(".linux", "KERNEL")
}

fn value_of(image: &Image, profile: usize, bank: Bank, phases: &str) -> String {
    let file = image.build();
    let uki = Uki::read(&file).unwrap();
    let values = Pcr11::read(&file, &uki.profile(profile).unwrap(), &[bank]).unwrap();
    let Ok(path) = phases.parse::<PhasePath>();
    let digits = values[0].after(&path).value.into_iter().map(|byte| format!("{byte:02x}"));
    digits.collect::<Vec<_>>().concat()
}

fn sha256(image: &Image) -> String {
    value_of(image, 0, Bank::Sha256, "")
}

#[test]
fn phases_extend_what_the_sections_make() {
    let after = |phases| value_of(&six_sections(), 0, Bank::Sha256, phases);
    let vectors = [
        ("", "63b002324b0df238518643b61a0d84899ed6e990c06d9666a09193aa23ae1ddd"),
        ("enter-initrd", "59dea7b859e71d14082dc352f7d72a4cce4771e7559d80fb3effebe334037a53"),
        (
            "enter-initrd:leave-initrd",
            "7d31bf651b76cd0ff4d1e86196abdf3222ceca9c7f15d045edee8af633a2a41e",
        ),
        (
            "enter-initrd:leave-initrd:sysinit",
            "e0cdd59d19784f2a6c5558ef02dc8732b2483b3f7042e78f2c2a6e1997bd1ead",
        ),
        (
            "enter-initrd:leave-initrd:sysinit:ready",
            "884ce91b05e5856d514a0e9e37fc319e9569412d2e6762ee4c8c285f5eaae833",
        ),
    ];
    for (phases, value) in vectors {
        assert_eq!(after(phases), value, "{phases}");
    }
}

#[test]
fn every_bank_has_its_own_value() {
    let of = |bank| value_of(&linux_only(), 0, bank, "");
    assert_eq!(of(Bank::Sha1), "bb45acac8948a4099a6d6e8d39c32834ec7e40e2");
    assert_eq!(of(Bank::Sha256), LINUX_ONLY);
    assert_eq!(
        of(Bank::Sha384),
        "88b5402a51b709683fd9aa2c5523392e4f0abc5a529df63446481c3481fe5af9\
         3f97a5903fcdc98218cdc52e521eed99"
    );
    assert_eq!(
        of(Bank::Sha512),
        "8d2bb8fb54b6dca8f87d7c01b74fcca44ef6f951b53973a551311af66e645c66\
         632769ba72153a2aa6d19b7c24950de9b8857abb071a2399aedb47581e39bab6"
    );
    assert_eq!(
        value_of(&linux_only(), 0, Bank::Sha256, "enter-initrd"),
        "fec6ae4b97c32acb0b4226209764d0a2342427f1dcc894dcad910f1f744afe35"
    );
}

#[test]
fn the_order_is_the_stubs_and_not_the_specifications() {
    let image = linux_only()
        .section(".profile", "ID=main\n")
        .section(".pcrpkey", "PCRPKEY")
        .section(".dtb", "DTB")
        .section(".splash", "SPLASH")
        .section(".ucode", "UCODE")
        .section(".sbat", "SBAT")
        .section(".uname", "UNAME");
    assert_eq!(sha256(&image), ALL_THE_REST);
    // Not systemd-measure 257's value: its --hwids measures the file as .dtbauto.
    assert_eq!(sha256(&image.section(".hwids", "HWIDS")), WITH_HWIDS);
}

const ALL_THE_REST: &str = "ac1a1e18655de79d4317cd6dd5f500b32e9c8fdf6d66c503bef825e74439a8dc";
const WITH_HWIDS: &str = "88c61e28260e9c8ddd8ba87fbbda1b120d7780e6bf004d1a5db7b74875d353d3";

#[test]
fn what_the_stub_does_not_measure_does_not_count() {
    let image = linux_only()
        .section(".pcrsig", "{}")
        .section(".efifw", "firmware")
        .section(".dtbauto", "tree")
        .section(".sdmagic", "#### LoaderInfo: systemd-stub 257 ####")
        .section(".text", "code")
        .section(".cmdline", "");
    assert_eq!(sha256(&image), LINUX_ONLY);
}

#[test]
fn each_profile_has_its_own_value() {
    let image = linux_only()
        .section(".cmdline", "base")
        .section(".profile", "ID=a\n")
        .section(".profile", "ID=b\n")
        .section(".cmdline", "other")
        .section(".profile", "ID=c\n")
        .section(".cmdline", "");
    let of = |profile| value_of(&image, profile, Bank::Sha256, "");
    assert_eq!([of(0), of(1), of(2)], PROFILES.map(str::to_owned));
}

const PROFILES: [&str; 3] = [
    "6f81cfa1e7f300fa040d8b7121c0d2adc89201f9eff23f52ddbdeb3d3c8792ab",
    "797741866605df6e82bb23e9db4f7be53079493e54798b9799b7c00dada4ae71",
    "47c0889ab3b5bfbf3e34f5a38cb0ef4ad4b8d4f32d59869a051d3aa6cabe33ca",
];

/// Counts the largest read.
struct Watched(Vec<u8>, Cell<usize>);

impl ReadAt for Watched {
    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        self.1.set(self.1.get().max(buf.len()));
        self.0.read_exact_at(offset, buf)
    }

    fn len(&self) -> u64 {
        self.0.len() as u64
    }
}

#[test]
fn a_section_is_never_wholly_in_memory() {
    let initrd: Vec<u8> = (0..3 << 20).map(|n: u32| n.to_le_bytes()[n as usize % 3]).collect();
    let image = linux_only().section(".initrd", &initrd);
    let source = Watched(image.build(), Cell::new(0));
    let uki = Uki::read(&source).unwrap();
    let values = Pcr11::read(&source, &uki.profile(0).unwrap(), &Bank::ALL).unwrap();
    assert_eq!(values.len(), 4);
    assert!(source.1.get() <= 1 << 18, "{} bytes at once", source.1.get());
}

#[test]
fn a_phase_path_ignores_empty_words() {
    let parse = |text: &str| {
        let Ok(path) = text.parse::<PhasePath>();
        path.to_string()
    };
    assert_eq!(parse("a::b"), "a:b");
    assert_eq!(parse(":a:"), "a");
    assert_eq!(parse(":"), "");
    let defaults: Vec<_> = PhasePath::defaults().iter().map(PhasePath::to_string).collect();
    assert_eq!(defaults.len(), 4);
    assert_eq!(defaults[3], "enter-initrd:leave-initrd:sysinit:ready");
}
