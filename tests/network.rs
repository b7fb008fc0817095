//! `--net` and `--publish`: what is wrong with one is said before there is a guest, a guest
//! reaches the host and is reached on both engines, and nothing of it is left afterwards.

mod restart;

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{self, Command},
    time::Duration,
};

use sha2::{Digest as _, Sha256};
use ukivm::digest::hex;

use crate::support::{
    Ran, Scratch, bed, built, engines, images,
    run::{Running, processes_with, within},
    skip, sound_uki,
    tiny::{guest, power_off, print, spin},
};

/// Whether networks without privileges can be had here; if not, `test` is noted as skipped.
pub(crate) fn has_passt(test: &str) -> bool {
    let there = Command::new("passt").arg("--version").output().is_ok();
    if !there {
        skip(test, "passt is not installed: images/deps installs it");
    }
    there
}

/// A port that nobody has.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its number").port()
}

/// The same for datagrams.
fn free_udp_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("its number").port()
}

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.file("foo.efi", sound_uki());
    scratch.file("end.efi", guest(power_off));
    scratch.file("spin.efi", guest(|a| print(a, "ready\n").and_then(|()| spin(a))));
    scratch
}

/// The status, and what was said from the option on that is at fault.
fn refused(ran: &Ran) -> (Option<i32>, Vec<&str>) {
    let lines = ran.stderr.lines().skip_while(|line| !line.starts_with("ukivm: --"));
    (ran.status, lines.collect())
}

/// A run of a guest that would end at once.
fn run(engine: &str, options: &[&str]) -> Ran {
    let arguments = ["run", "end.efi", "--memory", "64M", "--timeout", "60", "--engine", engine];
    scratch().ukivm(arguments.iter().chain(options))
}

#[test]
fn a_plan_shows_network_cards_between_disks_and_the_source_of_random_numbers() {
    let scratch = scratch();
    scratch.file("disk.img", [0; 512]);
    let arguments = [
        "plan",
        "foo.efi",
        "--net",
        "user",
        "--net",
        "tap=tap7,mac=02:00:00:00:00:07",
        "--disk",
        "disk.img",
        "--publish",
        "8080:80",
        "--publish",
        "0.0.0.0:53:53/udp",
    ];
    let ran = scratch.ukivm(arguments);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let lines: Vec<_> = ran.stdout.lines().skip_while(|line| *line != "PCI").skip(2).collect();
    assert_eq!(
        lines[0],
        "  00:02.0  network  02:75:6b:69:00:00  user, 127.0.0.1:8080:80, 0.0.0.0:53:53/udp"
    );
    assert_eq!(lines[1], "  00:03.0  network  02:00:00:00:00:07  tap=tap7");
    assert_eq!(lines[2], "  00:04.0  random");
    let ran = scratch.ukivm(arguments.iter().chain(&["--json"]));
    let plan: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(plan["devices"][1]["net"], "user");
    assert_eq!(plan["devices"][1]["publish"][0], "127.0.0.1:8080:80");
    assert_eq!(plan["devices"][2]["mac"], "02:00:00:00:00:07");
}

#[test]
fn ports_are_not_published_of_a_guest_that_has_none() {
    let scratch = scratch();
    for options in [&["--publish", "8080:80"][..], &["--publish", "8080:80", "--net", "tap=tap7"]] {
        let ran = scratch.ukivm(["plan", "foo.efi"].iter().chain(options));
        let said = "ukivm: --publish 127.0.0.1:8080:80 is for a guest with --net user, and this \
                    one has none";
        assert_eq!(refused(&ran), (Some(64), vec![said, "ukivm: hint: add --net user"]));
    }
}

#[test]
fn a_network_that_can_not_be_had_is_refused_before_there_is_a_guest() {
    let test = "a_network_that_can_not_be_had_is_refused_before_there_is_a_guest";
    for engine in engines(test) {
        let ran = run(engine, &["--net", "tap=ukivm-none"]);
        let said = "ukivm: --net tap=ukivm-none: the host has no network interface ukivm-none";
        assert_eq!((refused(&ran).0, refused(&ran).1[0]), (Some(74), said), "{ran:?}");
        let ran = run(engine, &["--net", "tap=lo"]);
        assert_eq!(
            refused(&ran),
            (Some(64), vec!["ukivm: --net tap=lo: the host's lo is no tap device"])
        );
        if !has_passt(test) {
            continue;
        }
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = taken.local_addr().expect("its number").port();
        let ran = run(engine, &["--net", "user", "--publish", &format!("{port}:80")]);
        let said = format!(
            "ukivm: --net user: --publish 127.0.0.1:{port}:80: that port can't be had on the \
             host: Address already in use (os error 98)"
        );
        assert_eq!((refused(&ran).0, refused(&ran).1[0]), (Some(64), said.as_str()), "{ran:?}");
    }
}

#[test]
fn where_passt_is_not_installed_that_is_said_and_how_to_install_it() {
    let test = "where_passt_is_not_installed_that_is_said_and_how_to_install_it";
    for engine in engines(test) {
        let scratch = scratch();
        let qemu = Command::new("sh").args(["-c", "command -v qemu-system-x86_64"]).output();
        let qemu = String::from_utf8(qemu.expect("a shell").stdout).expect("a path");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ukivm"));
        command.args(["run", "end.efi", "--engine", engine, "--net", "user"]);
        command.current_dir(scratch.path()).env("PATH", "/nowhere").env("UKIVM_QEMU", qemu.trim());
        let ran = Ran::of(&mut command);
        let said = [
            "ukivm: --net user: it takes passt, which is not installed",
            "ukivm: hint: install it, as with apt install passt or dnf install passt",
        ];
        assert_eq!(refused(&ran), (Some(69), said.to_vec()));
    }
}

#[test]
fn no_passt_is_left_however_the_run_ends() {
    let test = "no_passt_is_left_however_the_run_ends";
    if !has_passt(test) {
        return;
    }
    for engine in engines(test) {
        for signal in ["-TERM", "-KILL"] {
            let (scratch, port) = (scratch(), free_port());
            let arguments = ["run", "spin.efi", "--memory", "64M", "--engine", engine];
            let published = format!("{port}:80");
            let network = ["--net", "user", "--publish", &published];
            let mut running =
                Running::ukivm(scratch.path(), arguments.iter().chain(network.iter()));
            running.wait_for("ready");
            let mark = format!("127.0.0.1/{port}:80");
            let passts = || processes_with(&["passt", &mark]);
            assert_eq!(passts().len(), 1, "{engine}");
            running.signal(signal);
            running.status();
            if signal == "-TERM" {
                // It was waited for: the port is free again, for the next run.
                TcpListener::bind(("127.0.0.1", port)).expect("the port");
            }
            let ended = within(Duration::from_secs(10), || passts().is_empty());
            assert!(ended, "{engine} {signal}");
        }
    }
}

/// What the guest does: takes what DHCP gives it, fetches, is fetched from.
const SCRIPT: &str = r#"
cat >/tmp/lease <<'END'
#!/bin/sh
[ "$1" = bound ] || exit 0
echo "$ip $subnet $router" >/tmp/leased
ip addr add "$ip/$mask" dev "$interface"
ip route add default via "$router"
END
busybox chmod +x /tmp/lease
tell features=$(cat /sys/class/net/eth0/device/features)
tell card=$(cat /sys/class/net/eth0/address) $(cat /sys/class/net/eth0/mtu)
ip link set eth0 up
udhcpc -i eth0 -n -q -s /tmp/lease >/tmp/log 2>&1 || tell "error=$(cat /tmp/log)"
tell lease=$(cat /tmp/leased)
tell got=$(wget -q -O - http://10.0.2.2:PORT/data | sha256sum)
printf 'HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nguest' >/tmp/page
nc -l -p 80 </tmp/page >/tmp/request
tell asked=$(head -n 1 /tmp/request)
# How many datagrams have come for which nobody listens: include/uapi/linux/snmp.h.
count() {
    while read -r kind _ to_nobody _; do
        [ "$kind" != Udp: ] || datagrams=$to_nobody
    done </proc/net/snmp
}
count
before=$datagrams
while [ $datagrams -lt $((before + 2)) ]; do
    sleep 1
    count
done
tell datagrams=came
tell_pci
"#;

/// What is on the host meanwhile: a server of files, somebody who asks the guest until it
/// answers, and somebody who sends it datagrams. In the bed, where there is no network but its own, a route to nowhere.
const HOST: &str = r#"
[ ! -d /run/bed/job ] || BUSYBOX ip route add default dev lo
BUSYBOX httpd -f -p 127.0.0.1:PORT -h "$(dirname "$0")" &
server=$!
(until BUSYBOX wget -q -O - http://127.0.0.1:PUBLISHED/hello | grep guest >"$(dirname "$0")/said"
do sleep 1; done) &
client=$!
bash -c 'while :; do echo datagram >/dev/udp/127.0.0.1/DATAGRAMS; sleep 1; done' 2>/dev/null &
sender=$!
"$@"
status=$?
kill $server $client $sender 2>/dev/null
exit $status
"#;

/// A guest that talks with the host.
struct Talk {
    scratch: Scratch,
    script: PathBuf,
    arguments: Vec<String>,
    digest: String,
}

impl Talk {
    /// `None`, and `test` noted as skipped, where that can't be.
    fn new(test: &str, engine: &str) -> Option<Self> {
        let image = built(test, "devices-6.12.efi")?;
        if !has_passt(test) {
            return None;
        }
        let scratch = Scratch::seen_in_the_bed();
        let (port, published, datagrams) = (free_port(), free_port(), free_udp_port());
        let busybox = images().join("tools/busybox");
        let filled_in = |text: &str| {
            text.replace("PORT", &port.to_string())
                .replace("PUBLISHED", &published.to_string())
                .replace("DATAGRAMS", &datagrams.to_string())
                .replace("BUSYBOX", &busybox.display().to_string())
        };
        let initrd = scratch.doing(&filled_in(SCRIPT));
        let data: Vec<u8> =
            (0..1_000_000_u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).collect();
        scratch.file("data", &data);
        let script = scratch.file("host.sh", filled_in(HOST));
        let arguments = [
            format!("run {} --engine {engine} --timeout 110 --net user", image.display()),
            format!("--initrd={} --publish {published}:80", initrd.display()),
            format!("--publish {datagrams}:7/udp"),
        ];
        let arguments = arguments.join(" ").split(' ').map(str::to_owned).collect();
        let digest = hex(&<[u8; 32]>::from(Sha256::digest(&data)));
        Some(Self { scratch, script, arguments, digest })
    }

    fn assert(&self, ran: &Ran) {
        assert_eq!(ran.status, Some(0), "{ran:?}");
        let told = |key: &str| ran.told(key).join("|");
        assert_eq!(told("error"), "", "{ran:?}");
        assert_eq!(told("card"), "02:75:6b:69:00:00 65520");
        assert_eq!(told("features"), features(&[3, 5, 15, 16, 28, 29, 32]));
        assert_eq!(told("lease"), "10.0.2.15 255.255.255.0 10.0.2.2");
        assert_eq!(told("got").trim_end_matches(['-', ' ']), self.digest);
        assert_eq!(told("asked"), "GET /hello HTTP/1.1");
        assert_eq!(told("datagrams"), "came");
        let said = fs::read_to_string(self.scratch.path().join("said")).expect("an answer");
        assert_eq!(said.trim(), "guest");
        for queue in ["input.0", "output.0"] {
            let line = ran.stdout.lines().rev().find(|line| line.contains(queue));
            assert!(line.is_some_and(|line| line.contains("MSI")), "{queue}: {ran:?}");
        }
    }
}

/// As Linux shows them: a digit a bit, the lowest first.
fn features(bits: &[usize]) -> String {
    (0..64).map(|bit| if bits.contains(&bit) { '1' } else { '0' }).collect()
}

#[test]
fn guests_fetch_and_are_fetched_from_on_tcg() {
    let test = "guests_fetch_and_are_fetched_from_on_tcg";
    let Some(talk) = Talk::new(test, "tcg") else { return };
    let mut command = Command::new("sh");
    command.arg(&talk.script).arg(env!("CARGO_BIN_EXE_ukivm")).args(&talk.arguments);
    talk.assert(&Ran::of(&mut command));
}

#[test]
fn guests_fetch_and_are_fetched_from_on_kvm() {
    let test = "guests_fetch_and_are_fetched_from_on_kvm";
    let Some(talk) = Talk::new(test, "kvm") else { return };
    let folder = talk.scratch.path();
    let Some(ran) = bed::on_kvm_by(test, Some(&talk.script), &talk.arguments, folder) else {
        return;
    };
    talk.assert(&ran);
}

/// A tap device with the host at its other end, at 10.77.0.1; gone when this is dropped.
struct Tap(String);

impl Tap {
    /// `None`, and `test` noted as skipped, where none can be made.
    fn new(test: &str) -> Option<Self> {
        let name = format!("ukivm{}", process::id() % 100_000_000);
        let line = format!(
            "ip tuntap add dev {name} mode tap && ip addr add 10.77.0.1/24 dev {name} && ip link \
             set {name} up"
        );
        let tap = Self(name);
        let made = Command::new("sh").args(["-c", &line]).status();
        if made.is_ok_and(|status| status.success()) {
            return Some(tap);
        }
        skip(test, "no tap device can be made here: that takes root, /dev/net/tun and ip");
        None
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        Command::new("ip").args(["link", "del", &self.0]).output().ok();
    }
}

#[test]
fn guests_reach_the_host_by_a_tap_device_on_tcg() {
    let test = "guests_reach_the_host_by_a_tap_device_on_tcg";
    let (Some(image), Some(tap)) = (built(test, "devices-6.12.efi"), Tap::new(test)) else {
        return;
    };
    let scratch = Scratch::new();
    let script = "
ip addr add 10.77.0.2/24 dev eth0
ip link set eth0 up
tell mtu=$(cat /sys/class/net/eth0/mtu)
nc 10.77.0.1 PORT </dev/null >/tmp/said
tell said=$(cat /tmp/said)
";
    let listener = TcpListener::bind("10.77.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its number").port().to_string();
    let initrd = scratch.doing(&script.replace("PORT", &port));
    let answer = std::thread::spawn(move || {
        let (mut guest, from) = listener.accept().expect("a guest");
        std::io::Write::write_all(&mut guest, b"host\n").expect("it listens");
        from.ip().to_string()
    });
    let net = format!("--net=tap={}", tap.0);
    let arguments = ["run", "--engine", "tcg", "--timeout", "100", "--initrd"].map(Path::new);
    let rest = [initrd.as_path(), image.as_path(), Path::new(&net)];
    let ran = scratch.ukivm(arguments.iter().chain(&rest));
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert_eq!((ran.told("mtu"), ran.told("said")), (vec!["1500"], vec!["host"]), "{ran:?}");
    assert_eq!(answer.join().expect("an answer"), "10.77.0.2");
}

/// Makes a tap device with the host at its other end, says something to who comes to it there,
/// and runs what is to be run.
const TAP_HOST: &str = r#"
trap 'kill $server 2>/dev/null; ip link del ukivm-tap' EXIT
ip tuntap add dev ukivm-tap mode tap && ip addr add 10.77.0.1/24 dev ukivm-tap && ip link set ukivm-tap up || exit
echo host >"$(dirname "$0")/host"
BUSYBOX nc -l -p 7000 <"$(dirname "$0")/host" >"$(dirname "$0")/said" &
server=$!
"$@"
"#;

#[test]
fn guests_reach_the_host_by_a_tap_device_on_kvm() {
    let test = "guests_reach_the_host_by_a_tap_device_on_kvm";
    let Some(image) = built(test, "devices-6.12.efi") else { return };
    // In the bed it can be made.
    if bed::kvm_works() && Tap::new(test).is_none() {
        return;
    }
    let scratch = Scratch::seen_in_the_bed();
    let content = "
ip addr add 10.77.0.2/24 dev eth0
ip link set eth0 up
tell mtu=$(cat /sys/class/net/eth0/mtu)
echo guest | nc 10.77.0.1 7000 >/tmp/said
tell said=$(cat /tmp/said)
";
    let initrd = scratch.doing(content);
    let busybox = images().join("tools/busybox");
    let script = TAP_HOST.replace("BUSYBOX", &busybox.display().to_string());
    let script = scratch.file("host.sh", script);
    let arguments = ["run", "--engine", "kvm", "--timeout", "100", "--net=tap=ukivm-tap"];
    let files = [format!("--initrd={}", initrd.display()), image.display().to_string()];
    let arguments: Vec<String> = arguments.map(String::from).into_iter().chain(files).collect();
    let Some(ran) = bed::on_kvm_by(test, Some(&script), &arguments, scratch.path()) else {
        return;
    };
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert_eq!((ran.told("mtu"), ran.told("said")), (vec!["1500"], vec!["host"]), "{ran:?}");
    let said = fs::read_to_string(scratch.path().join("said")).expect("what the guest said");
    assert_eq!(said.trim(), "guest");
}
