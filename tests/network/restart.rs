//! A guest that is started again has its network again; and what it sends in frames longer than
//! an Ethernet's comes whole.

use std::{fs, path::PathBuf, process::Command};

use super::{free_port, has_passt};
use crate::support::{
    Ran, bed,
    disks::{Guest, MIB},
    images, program, skip,
};

/// How much the guest sends, each time.
const MIBS: u64 = 8;

/// Sends, and resets the machine; the second time it powers off. Nobody may listen yet, again.
const SCRIPT: &str = "
tell mtu=$(cat /sys/class/net/eth0/mtu)
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route add default via 10.0.2.2
dd if=/dev/urandom of=/tmp/data bs=1M count=MIBS 2>/dev/null
tell sends=$(sha256sum </tmp/data)
until nc 10.0.2.2 PORT </tmp/data; do sleep 1; done
tell frames=$(cat /sys/class/net/eth0/statistics/tx_packets)
if [ \"$(head -c 6 /dev/vda)\" != second ]; then
    echo second | dd of=/dev/vda conv=fsync 2>/dev/null
    reboot -f
fi
";

/// What is on the host meanwhile: who takes what is sent, and has nothing to say, without an end:
/// at an end the guest's nc would stop. It is slow to begin: the guest's nc writes a KiB at a time,
/// and only what has to wait is put together to long frames. In the bed a route to nowhere, where
/// there is no network but its own.
const HOST: &str = r#"
[ ! -d /run/bed/job ] || BUSYBOX ip route add default dev lo
silence=$(mktemp -u)
mkfifo "$silence"
(for time in 1 2; do BUSYBOX nc -l -p PORT <>"$silence" | (sleep 3; sha256sum); done) >"$(dirname "$0")/taken" &
taker=$!
"$@"
status=$?
kill $taker 2>/dev/null
rm "$silence"
exit $status
"#;

/// The guest, the script for the host, and the command.
fn restarting(test: &str, engine: &str) -> Option<(Guest, PathBuf, Vec<String>)> {
    if !has_passt(test) {
        return None;
    }
    let (port, mibs) = (free_port().to_string(), MIBS.to_string());
    let script = SCRIPT.replace("PORT", &port).replace("MIBS", &mibs);
    let guest = Guest::new(test, &script)?.disk("a.img", 1, "");
    let busybox = images().join("tools/busybox").display().to_string();
    let host = HOST.replace("PORT", &port).replace("BUSYBOX", &busybox);
    let host = guest.scratch.file("host.sh", host);
    let start = ["smoke", "--net=user", "--reboot=restart=1", "--live", "--timeout=200"];
    let command = guest.command(&start, engine);
    Some((guest, host, command))
}

fn assert_came_whole(guest: &Guest, ran: &Ran) {
    assert_eq!(ran.status, Some(0), "{ran:?}");
    // The console, as it came.
    let console = Ran { stdout: ran.stderr.clone(), ..ran.clone() };
    assert_eq!(console.told("mtu"), ["65520"; 2], "{ran:?}");
    let sent = console.told("sends");
    assert!(sent.len() == 2 && sent[0] != sent[1], "{ran:?}");
    let taken = fs::read_to_string(guest.path("taken")).expect("what was taken");
    let digests = |lines: &[&str]| -> Vec<String> {
        lines.iter().filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect()
    };
    assert_eq!(digests(&taken.lines().collect::<Vec<_>>()), digests(&sent), "{ran:?}");
    for frames in console.told("frames") {
        let frames: u64 = frames.parse().expect("a number");
        // As few can't all have been an Ethernet's, with 1460 bytes each.
        assert!(frames < MIBS * MIB / 1460, "{frames} frames: {ran:?}");
    }
}

#[test]
fn guests_started_again_send_long_frames_again_on_tcg() {
    let test = "guests_started_again_send_long_frames_again_on_tcg";
    if let Err(error) = ukivm::engine::tcg::qemu() {
        return skip(test, &format!("no TCG: {error}"));
    }
    let Some((guest, host, command)) = restarting(test, "tcg") else { return };
    let ran = Ran::of(Command::new("sh").arg(host).arg(program()).args(command));
    assert_came_whole(&guest, &ran);
}

#[test]
fn guests_started_again_send_long_frames_again_on_kvm() {
    let test = "guests_started_again_send_long_frames_again_on_kvm";
    let Some((guest, host, command)) = restarting(test, "kvm") else { return };
    let Some(ran) = bed::on_kvm_by(test, Some(&host), &command, guest.scratch.path()) else {
        return;
    };
    assert_came_whole(&guest, &ran);
}
