//! The whole system on its disk, as a smoke test: it starts, says so, fetches over the network,
//! writes to the host's folder, and gives a status.

use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;

use super::{on_disk, takes_too_long, told};
use crate::{
    network::{free_port, has_passt},
    share::has_virtiofsd,
    support::{Ran, Scratch, bed, images, program, skip},
};

/// What the system does when all has started: the lease comes when it comes.
const GUEST: &str = "
for try in $(seq 120); do
    [ -z \"$(ip route show default)\" ] || break
    sleep 1
done
mkdir -p /mnt
mount -t virtiofs shared /mnt && cat /mnt/given
busybox wget -q -O /mnt/fetched http://10.0.2.2:PORT/data && sync && umount /mnt && echo fetched
";

/// What is on the host meanwhile: a server of files, and in the bed a route to nowhere, where there
/// is no network but its own. Now and then something is said, since a boot in the bed says nothing
/// for minutes: its own limits are what ends it.
const HOST: &str = r#"
[ ! -d /run/bed/job ] || BUSYBOX ip route add default dev lo
BUSYBOX httpd -f -p 127.0.0.1:PORT -h "$(dirname "$0")/served" &
server=$!
while sleep 20; do echo waiting >&2; done &
waiter=$!
"$@"
status=$?
kill $server $waiter
exit $status
"#;

/// The test that takes one command.
struct Whole {
    scratch: Scratch,
    host: PathBuf,
    command: Vec<String>,
    data: Vec<u8>,
}

impl Whole {
    /// `None`, and `test` noted as skipped, where that can't be.
    fn new(test: &str, engine: &str) -> Option<Self> {
        if !has_passt(test) || !has_virtiofsd(test) {
            return None;
        }
        let scratch = Scratch::seen_in_the_bed();
        for folder in ["served", "shared"] {
            fs::create_dir(scratch.path().join(folder)).expect("a folder");
        }
        let data: Vec<u8> =
            (0..1 << 18).flat_map(|n: u32| n.wrapping_mul(n).to_le_bytes()).collect();
        scratch.file("served/data", &data);
        scratch.file("shared/given", "given by the host\n");
        let port = free_port().to_string();
        let busybox = images().join("tools/busybox").display().to_string();
        let script = scratch.file("script", GUEST.replace("PORT", &port));
        let host = HOST.replace("PORT", &port).replace("BUSYBOX", &busybox);
        let host = scratch.file("host.sh", host);
        let of =
            |option: &str, name: &str| format!("{option}{}", scratch.path().join(name).display());
        let (engine, script) = (
            format!("--engine={engine}"),
            format!("--load-credential=ukivm.script:{}", script.display()),
        );
        let devices = [&*of("--share=", "shared"), "--net=user", &script];
        let expected = ["--expect=ready", "--expect=unit=multi-user.target", "--expect-status=9"];
        let limits = ["--timeout=600", "--boot-timeout=off", "--silence-timeout=off"];
        let output = [&*of("--output=", "output"), "--format=junit", "--live"];
        let start = [&["smoke", &engine], &devices[..], &expected, &limits, &output].concat();
        let command = on_disk(test, (&start, "initramfs-tools"), "ukivm.end=exit:9")?;
        Some(Self { scratch, host, command, data })
    }

    fn assert(&self, ran: &Ran) {
        assert_eq!(ran.status, Some(0), "{ran:?}");
        assert!(ran.stdout.contains("<testsuite "), "{ran:?}");
        assert!(!ran.stdout.contains("<failure"), "{ran:?}");
        let told = told(&ran.stderr);
        for line in ["state=running", "root=ext4", "script=given by the host", "script=fetched"] {
            assert!(told.contains(&line), "{line}: {ran:?}");
        }
        let fetched = fs::read(self.scratch.path().join("shared/fetched")).expect("it was written");
        assert!(fetched == self.data, "what was fetched is what is served");
        let report = fs::read_to_string(self.scratch.path().join("output/result.json"));
        let report: Value = serde_json::from_str(&report.expect("a report")).expect("JSON");
        let proofs = report["proofs"].as_array().expect("proofs");
        let said = proofs.iter().filter(|proof| proof["text"] == "said by vsock").count();
        assert_eq!(said, 2, "{report}");
    }
}

#[test]
fn a_system_with_a_network_and_a_share_passes_its_smoke_test_on_tcg() {
    let test = "a_system_with_a_network_and_a_share_passes_its_smoke_test_on_tcg";
    if let Err(error) = ukivm::engine::tcg::qemu() {
        return skip(test, &format!("no TCG: {error}"));
    }
    let Some(whole) = Whole::new(test, "tcg") else { return };
    let mut command = Command::new("sh");
    command.arg(&whole.host).arg(program()).args(&whole.command);
    whole.assert(&Ran::of(&mut command));
}

#[test]
fn a_system_with_a_network_and_a_share_passes_its_smoke_test_on_kvm() {
    let test = "a_system_with_a_network_and_a_share_passes_its_smoke_test_on_kvm";
    if takes_too_long(test) {
        return;
    }
    let Some(whole) = Whole::new(test, "kvm") else { return };
    let folder = whole.scratch.path();
    let ran = bed::on_kvm_by(test, Some(&whole.host), &whole.command, folder);
    let Some(ran) = ran else { return };
    whole.assert(&ran);
}
