//! What ukify says of a UKI, and what ukivm says of it.

use std::{
    ffi::OsStr,
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use firmware_less::testing::{bzimage, uki};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

use crate::support::{Scratch, built, images, skip, sound_uki};

/// JSON with its keys in their order.
#[derive(Clone, Debug, PartialEq)]
enum Json {
    Null,
    Scalar(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
                Ok(Json::Scalar(value.to_string()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
                Ok(Json::Scalar(value.to_string()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Json, E> {
                Ok(Json::Scalar(format!("{value:?}")))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = list.next_element()? {
                    all.push(one);
                }
                Ok(Json::List(all))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
                let mut all = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    all.push(entry);
                }
                Ok(Json::Object(all))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl Json {
    /// Without our own facts: all keys that begin with an underscore but ukify's
    /// one.
    fn without_ours(self) -> Self {
        match self {
            Self::Object(entries) => {
                let is_ukifys = |key: &str| !key.starts_with('_') || key == "_profiles";
                let entries = entries.into_iter().filter(|(key, _)| is_ukifys(key));
                Self::Object(entries.map(|(key, value)| (key, value.without_ours())).collect())
            }
            Self::List(list) => Self::List(list.into_iter().map(Self::without_ours).collect()),
            other => other,
        }
    }
}

/// A ukify, and the release that it says it is of.
struct Ukify {
    program: PathBuf,
    release: u32,
}

impl Ukify {
    fn new(program: PathBuf) -> Option<Self> {
        let version = Command::new(&program).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&version.stdout).into_owned();
        let digits = text.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty())?;
        Some(Self { program, release: digits.parse().ok()? })
    }

    fn run<A: AsRef<OsStr>>(
        &self,
        folder: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> String {
        let mut command = Command::new(&self.program);
        let output = command.args(arguments).current_dir(folder).output().expect("ukify starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// The newest ukify among those that the recipes make, or that UKIVM_TEST_UKIFY
/// names.
fn real_ukify(test: &str) -> Option<Ukify> {
    let folders = fs::read_dir(images()).into_iter().flatten().flatten();
    let made = folders.map(|folder| folder.path().join("ukify"));
    let named = std::env::var_os("UKIVM_TEST_UKIFY").map(PathBuf::from);
    let programs = named.into_iter().chain(made);
    let all = programs.filter(|program| program.is_file()).filter_map(Ukify::new);
    let newest = all.max_by_key(|ukify| ukify.release);
    if newest.is_none() {
        skip(test, "no ukify: `images/build tools` makes it");
    }
    newest
}

/// That both say the same of `image`, with and without `--all`.
fn says_the_same(ukify: &Ukify, folder: &Path, image: &Path) {
    for all in [&[][..], &["--all"]] {
        let arguments = [&["inspect"], &[image.to_str().expect("UTF-8")][..], all].concat();
        let theirs = ukify.run(folder, arguments.iter().chain(&["--json", "pretty"]));
        let ours = Command::new(env!("CARGO_BIN_EXE_ukivm"))
            .args(arguments.iter().chain(&["--json"]))
            .current_dir(folder)
            .output()
            .expect("ukivm starts");
        let ours: Json = serde_json::from_slice(&ours.stdout).expect("our JSON");
        let theirs: Json = serde_json::from_str(&theirs).expect("their JSON");
        assert_eq!(ours.without_ours(), theirs, "{} {all:?}", image.display());
    }
}

#[test]
fn of_images_made_by_ukify_and_objcopy_both_say_the_same() {
    let test = "of_images_made_by_ukify_and_objcopy_both_say_the_same";
    let Some(ukify) = real_ukify(test) else { return };
    let names = ["demo.efi", "corpus/6.12-cpio-objcopy.efi", "corpus/6.1-cpio-ukify.efi"];
    for image in names.map(|name| images().join(name)) {
        if image.is_file() {
            says_the_same(&ukify, Path::new("."), &image);
        } else {
            skip(test, &format!("no {}", image.display()));
        }
    }
}

#[test]
fn of_all_that_a_uki_can_have_both_say_the_same() {
    let test = "of_all_that_a_uki_can_have_both_say_the_same";
    let Some(folder) = built(test, "features") else { return };
    let Some(ukify) = real_ukify(test) else { return };
    let files = fs::read_dir(folder).expect("a folder").flatten().map(|file| file.path());
    let is_image = |path: &PathBuf| path.extension() == Some(OsStr::new("efi")) && path.is_file();
    let images: Vec<_> = files.filter(is_image).collect();
    assert!(images.len() >= 10, "{images:?}");
    for image in images {
        says_the_same(&ukify, Path::new("."), &image);
    }
}

#[test]
fn of_images_made_here_with_ukify_both_say_the_same() {
    let test = "of_images_made_here_with_ukify_both_say_the_same";
    let Some(ukify) = real_ukify(test) else { return };
    let stub = images().join("tools/linuxx64.efi.stub");
    if !stub.is_file() {
        return skip(test, "no systemd-stub: `images/build tools` makes it");
    }
    let scratch = Scratch::new();
    scratch.file("kernel", bzimage().version("6.12.1-test (me@here)").build());
    scratch.file("initrd", [0x5a; 1001]);
    scratch.file("empty", "");
    scratch.file("binary", b"na\xefve\0x\0\0");
    let build = |name: &str, options: &[&str]| {
        let fixed = ["build", "--stub", stub.to_str().expect("UTF-8"), "--output", name];
        ukify.run(scratch.path(), fixed.iter().chain(options));
        scratch.path().join(name)
    };
    let sound = ["--linux=kernel", "--uname=6.12.1", "--os-release=ID=test\nNAME=Tést\n"];
    for (name, options) in [
        ("plain.efi", &["--initrd=initrd", "--cmdline=console=ttyS0 \"quoted\\\\\""][..]),
        ("no-cmdline.efi", &["--initrd=initrd", "--initrd=initrd"]),
        ("no-initrd.efi", &["--cmdline=@empty", "--section=.more:@binary", "--section=.x:y"]),
        ("binary.efi", &["--cmdline=@binary", "--microcode=initrd", "--pcrpkey=binary"]),
        ("base.efi", &["--cmdline=base", "--profile=ID=main"]),
    ] {
        let image = build(name, &[&sound, options].concat());
        // Older ones have no list of profiles.
        if ukify.release >= 262 || name != "base.efi" {
            says_the_same(&ukify, scratch.path(), &image);
        }
    }
    if ukify.release < 262 {
        return skip(test, "no ukify of systemd 262, whose JSON has profiles");
    }
    let profile = |text| uki().section(".profile", text);
    scratch
        .file("debug.efi", profile("ID=debug\nTITLE=Debug").section(".cmdline", "debug").build());
    scratch.file("other.efi", profile("ID=other").section(".osrel", "ID=other").build());
    let joined = ["--cmdline=base", "--join-profile=debug.efi", "--join-profile=other.efi"];
    let image = build("profiles.efi", &[&sound[..], &joined].concat());
    says_the_same(&ukify, scratch.path(), &image);
}

#[test]
fn of_images_that_no_tool_makes_both_say_the_same() {
    let test = "of_images_that_no_tool_makes_both_say_the_same";
    let Some(ukify) = real_ukify(test) else { return };
    let scratch = Scratch::new();
    let plain = [
        sound_uki(),
        uki().section(".cmdline", "only").build(),
        uki().section(".linux", "x").but(|section| section.virtual_size = 0x1000).build(),
        uki().section(".linux", "").section(".cmdline", "a\0b\0\0").build(),
        uki().section(".osrel", "é\u{1f427}\x7f").section(".sbom", "s").build(),
    ];
    let with_lists = [
        uki().section(".dtbauto", "a").section(".linux", "x").section(".dtbauto", "b").build(),
        uki().section(".efifw", "one").build(),
        uki().section(".cmdline", "a").section(".linux", "x").section(".cmdline", "b").build(),
        uki()
            .section(".cmdline", "a")
            .section(".profile", "ID=a")
            .section(".cmdline", "b")
            .section(".profile", "")
            .section(".cmdline", "c")
            .section(".dtbauto", "c")
            .section(".cmdline", "d")
            .build(),
    ];
    let has_lists = ukify.release >= 262;
    if !has_lists {
        skip(test, "no ukify of systemd 262, whose JSON has lists");
    }
    for image in plain.iter().chain(with_lists.iter().filter(|_| has_lists)) {
        says_the_same(&ukify, scratch.path(), &scratch.file("foo.efi", image));
    }
}
