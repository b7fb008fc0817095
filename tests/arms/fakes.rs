use std::{fs, os::unix::fs::PermissionsExt as _};

use firmware_less::testing::{bzimage, uki};
use serde_json::{Value, json};

use super::{bench, has_kvm, phases, proof};
use crate::support::{Scratch, built};

const RELEASE: &str = "6.0-fake";

/// What a guest of such a monitor prints. Its kernel is the one of [`image`].
const CONSOLE: &str = "\
printf '[    0.000000] Linux version 6.0-fake (root@host) #1\\r\\n'
printf '[    0.000001] Kernel command line: console=ttyS0 quiet%s\\r\\n' \"$ADDED\"
printf '[    0.100000] Run /init as init process\\r\\n'
printf '[    0.200000] reboot: Power down\\r\\n'
";

/// A monitor called `name` in the scratch folder, which is on the path. It records its
/// arguments in `arguments`, a line each.
fn install(scratch: &Scratch, name: &str, version: &str, then: &str) {
    let script = format!(
        "#!/bin/sh\nset -e\nif [ \"$1\" = --version ]; then echo '{version}'; exit; fi\n\
         printf '%s\\n' \"$@\" > arguments\n{then}"
    );
    let path = scratch.file(name, script);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a script");
}

fn image(scratch: &Scratch) {
    let image = uki()
        .section(".cmdline", "console=ttyS0 quiet")
        .section(".linux", bzimage().version(RELEASE).build())
        .section(".initrd", [0x5a; 5000]);
    scratch.file("foo.efi", image.build());
}

fn recorded(scratch: &Scratch, name: &str) -> Vec<u8> {
    fs::read(scratch.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The arguments; where a file was inherited, its name in the program is left out.
fn arguments(scratch: &Scratch) -> Vec<String> {
    let text = String::from_utf8(recorded(scratch, "arguments")).expect("text");
    text.lines().map(is_inherited).collect()
}

fn is_inherited(path: &str) -> String {
    let is_file = path.starts_with("/proc/self/fd/");
    if is_file { "FILE".to_owned() } else { path.to_owned() }
}

/// Copies what Firecracker is told of in its configuration.
const COPY_CONFIGURATION: &str = "\
cat \"$3\" > config.json
cp \"$(sed 's/.*\"kernel_image_path\":\"\\([^\"]*\\)\".*/\\1/' config.json)\" kernel
cp \"$(sed 's/.*\"initrd_path\":\"\\([^\"]*\\)\".*/\\1/' config.json)\" initrd
";

#[test]
fn firecracker_gets_the_kernel_as_it_is_and_is_ended_after_its_guest() {
    let test = "firecracker_gets_the_kernel_as_it_is_and_is_ended_after_its_guest";
    if !has_kvm(test) {
        return;
    }
    let scratch = Scratch::new();
    image(&scratch);
    // It adds a word, and does not end when the guest powers off.
    let then = format!("{COPY_CONFIGURATION}ADDED=' pci=off'\n{CONSOLE}exec sleep 60\n");
    install(&scratch, "firecracker", "Firecracker v1.17.0", &then);
    let options = ["--arm=firecracker", "--engine=kvm", "--memory=256M", "--cpus=2", "foo.efi"];
    let (ran, entries) = bench(&scratch, &options);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let wanted = ["--no-api", "--config-file", "FILE", "--log-path", "FILE"];
    assert_eq!(arguments(&scratch), wanted);

    let config: Value = serde_json::from_slice(&recorded(&scratch, "config.json")).expect("JSON");
    let source = &config["boot-source"];
    let path = |name: &str| is_inherited(source[name].as_str().expect("a path"));
    assert_eq!((path("kernel_image_path"), path("initrd_path")), ("FILE".into(), "FILE".into()));
    assert_eq!(source["boot_args"], "console=ttyS0 quiet");
    assert_eq!(config["drives"], json!([]));
    assert_eq!(config["machine-config"], json!({ "vcpu_count": 2, "mem_size_mib": 256 }));
    assert_eq!(recorded(&scratch, "kernel"), bzimage().version(RELEASE).build());
    assert_eq!(recorded(&scratch, "initrd"), [0x5a; 5000]);

    assert_eq!(phases(&entries[0]), ["first-output", "linux-version", "init", "end"]);
    assert_eq!(entries[0]["engine"], "kvm");
    assert_eq!(entries[0]["versions"]["firecracker"], "1.17.0");
    assert_eq!(entries[0]["trials"][0]["proof"]["release"], RELEASE);
    assert_eq!(proof(&entries[0], "kernel"), "bzImage");
    assert_eq!(proof(&entries[0], "command line"), "console=ttyS0 quiet pci=off");
}

#[test]
fn an_older_firecracker_gets_the_kernel_unpacked() {
    let test = "an_older_firecracker_gets_the_kernel_unpacked";
    let (true, Some(uki)) = (has_kvm(test), built(test, "demo.efi")) else { return };
    let scratch = Scratch::new();
    // It is no guest: all that is wanted of it is the kernel's file.
    let then = format!("{COPY_CONFIGURATION}printf 'reboot: Power down\\r\\n'\n");
    install(&scratch, "firecracker", "Firecracker v1.16.1", &then);
    let uki = uki.display().to_string();
    let (ran, entries) = bench(&scratch, &["--arm=firecracker", "--engine=kvm", &uki]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(recorded(&scratch, "kernel").starts_with(b"\x7fELF"));
    assert_eq!(proof(&entries[0], "kernel"), "vmlinux, unpacked beforehand");
}

#[test]
fn cloud_hypervisor_gets_its_parts_by_options_and_ends_with_its_guest() {
    let test = "cloud_hypervisor_gets_its_parts_by_options_and_ends_with_its_guest";
    if !has_kvm(test) {
        return;
    }
    let scratch = Scratch::new();
    image(&scratch);
    let then = format!("cp \"$2\" kernel\ncp \"$4\" initrd\n{CONSOLE}");
    install(&scratch, "cloud-hypervisor", "cloud-hypervisor v39.0", &then);
    let options =
        ["--arm=cloud-hypervisor", "--engine=kvm", "--memory=256M", "--cpus=2", "foo.efi"];
    let (ran, entries) = bench(&scratch, &options);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let wanted = "--kernel FILE --initramfs FILE --cmdline console=ttyS0 quiet --cpus boot=2 \
                  --memory size=256M --serial tty --console off";
    assert_eq!(arguments(&scratch).join(" "), wanted);
    assert_eq!(recorded(&scratch, "kernel"), bzimage().version(RELEASE).build());
    assert_eq!(recorded(&scratch, "initrd"), [0x5a; 5000]);
    assert_eq!(proof(&entries[0], "kernel"), "bzImage");
    assert_eq!(entries[0]["versions"]["cloud-hypervisor"], "39.0");
}

#[test]
fn a_monitor_that_boots_something_else_has_no_trial() {
    let test = "a_monitor_that_boots_something_else_has_no_trial";
    if !has_kvm(test) {
        return;
    }
    let cases = [
        (CONSOLE.replace("6.0-fake", "5.0-other"), "the wrong kernel was booted: 5.0-other"),
        (CONSOLE.replace("quiet%s", "other%s"), "the wrong command line was booted"),
        ("echo 'no such machine' >&2; exit 3\n".to_owned(), "exit status: 3: no such machine"),
        ("printf 'Kernel panic - not syncing: no root\\r\\n'\n".to_owned(), "no root"),
    ];
    for (then, wanted) in cases {
        let scratch = Scratch::new();
        image(&scratch);
        install(&scratch, "cloud-hypervisor", "cloud-hypervisor v39.0", &then);
        let options = ["--arm=cloud-hypervisor", "--engine=kvm", "foo.efi"];
        let (ran, entries) = bench(&scratch, &options);
        assert_eq!(ran.status, Some(100), "{ran:?}");
        let why = entries[0]["failure"].to_string();
        assert!(why.contains(wanted), "{wanted:?} is not in {why}");
    }
}

#[test]
fn a_monitor_that_does_not_say_its_version_is_left_out() {
    let test = "a_monitor_that_does_not_say_its_version_is_left_out";
    if !has_kvm(test) {
        return;
    }
    let scratch = Scratch::new();
    image(&scratch);
    install(&scratch, "firecracker", "something else", "exit 1\n");
    let (ran, entries) = bench(&scratch, &["--arm=firecracker", "--engine=kvm", "foo.efi"]);
    assert_eq!(ran.status, Some(69), "{ran:?}");
    let why = entries[0]["unavailable"].as_str().unwrap_or_else(|| panic!("{ran:?}"));
    assert!(why.contains("said \"something else\""), "{why}");
}
