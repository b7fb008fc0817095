//! A guest's data, whatever they lie in: what it has synced outlasts a kill, and a gibibyte
//! comes back as it was written.

use std::{
    fs::File,
    io::Read as _,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};
use ukivm::digest::hex;

use crate::support::{
    Ran, Scratch, bed,
    disks::{Guest, MIB, digest, qemu_img},
    run::{Running, is_alive, within},
};

const SYNCS: &str = "
dd if=/dev/urandom of=/tmp/r bs=1M count=16 2>/dev/null
dd if=/tmp/r of=/dev/vda bs=1M conv=fsync 2>/dev/null
dd if=/tmp/r of=/dev/vdb bs=1M conv=fsync 2>/dev/null
tell synced=$(sha256sum </tmp/r)
sleep 1000
";

fn syncing_guest(test: &str) -> Option<Guest> {
    Guest::new(test, SYNCS)?.disk("a.img", 16, "").qcow2(test, ("b.qcow2", 16), "")
}

/// That what the guest, which said `seen`, had synced is in both images.
fn assert_synced(test: &str, guest: &Guest, seen: &str) {
    let synced = seen.split("synced=").nth(1).and_then(|rest| rest.get(..64)).expect("a digest");
    assert_eq!(digest(&guest.path("a.img"), 16 * MIB), synced);
    let (image, raw) = (guest.name("b.qcow2"), guest.name("b.raw"));
    // A QEMU whose first thread has ended is seen as dead, and others of it may hold the lock.
    let info = || Command::new("qemu-img").args(["info", &image]).output();
    within(Duration::from_secs(20), || info().is_ok_and(|output| output.status.success()));
    // A cluster that nobody has is no harm, and is found where the image is closed by nobody.
    qemu_img(test, &["convert", "-f", "qcow2", "-O", "raw", &image, &raw]);
    assert_eq!(digest(&guest.path("b.raw"), 16 * MIB), synced);
}

#[test]
fn what_a_guest_has_synced_outlasts_a_kill_on_tcg() {
    let test = "what_a_guest_has_synced_outlasts_a_kill_on_tcg";
    let Some(guest) = syncing_guest(test) else { return };
    let mut running = Running::ukivm(guest.scratch.path(), guest.arguments("tcg"));
    running.wait_for("synced=");
    running.wait_for(" -\r\n");
    let children = running.descendants();
    running.signal("-KILL");
    assert_eq!(running.status(), 9 - 256);
    let all_gone = || !children.iter().any(|process| is_alive(*process));
    assert!(within(Duration::from_secs(20), all_gone), "QEMU ends with us");
    assert_synced(test, &guest, &running.seen());
}

#[test]
fn what_a_guest_has_synced_outlasts_a_kill_on_kvm() {
    let test = "what_a_guest_has_synced_outlasts_a_kill_on_kvm";
    let Some(guest) = syncing_guest(test) else { return };
    let out = guest.name("out");
    let script = guest.scratch.file(
        "kill.sh",
        format!(
            "\"$@\" >{out} 2>&1 &\n\
             until grep -q 'synced=.* -' {out}; do kill -0 $! || break; sleep 0.2; done\n\
             kill -KILL $!\nwait $!\nstatus=$?\ncat {out}\nexit $status\n"
        ),
    );
    let folder = guest.scratch.path();
    let Some(ran) = bed::on_kvm_by(test, Some(&script), &guest.arguments("kvm"), folder) else {
        return;
    };
    assert_eq!(ran.status, Some(128 + 9), "{ran:?}");
    assert_synced(test, &guest, &ran.stdout);
}

/// How much is written, and in how large pieces, each of which begins with its number.
const PIECES: u64 = 16;
const PIECE: u64 = 64 * MIB;

/// Fills the three disks, reads them back past the cache, and tries to write to a fourth.
const FILLS: &str = "
dd if=/dev/urandom of=/tmp/r bs=1M count=64 2>/dev/null
tell piece=$(sha256sum </tmp/r)
uptime() { read seconds _ </proc/uptime; tell at=$seconds $1; }
for disk in vda vdb vdc; do
    uptime $disk-written-from
    n=0
    while [ $n -lt 16 ]; do
        dd if=/tmp/r of=/dev/$disk bs=1M seek=$((n*64)) 2>/dev/null
        printf '%-512s' \"piece $n\" | dd of=/dev/$disk bs=512 seek=$((n*131072)) conv=fsync 2>/dev/null
        n=$((n+1))
        tell $disk-written=$n
    done
    uptime $disk-read-from
    echo 3 >/proc/sys/vm/drop_caches
    dd if=/dev/$disk of=/dev/null bs=1M 2>/dev/null
    uptime $disk-digest-from
    echo 3 >/proc/sys/vm/drop_caches
    tell $disk=$(sha256sum </dev/$disk)
done
uptime end
dd if=/tmp/r of=/dev/vdd bs=1M conv=fsync 2>/dev/null || tell refused=vdd
";

fn filling_guest(test: &str) -> Option<Guest> {
    let mib = PIECES * PIECE / MIB;
    Some(
        Guest::new(test, FILLS)?
            .disk("a.img", mib, "")
            .qcow2(test, ("b.qcow2", mib), "")?
            .disk("c.img", mib, ",ephemeral")
            .disk("d.img", mib, ",ro"),
    )
}

const FILLING: [&str; 2] = ["run", "--timeout=2500"];

/// That what is in the file at `path` is what the guest told that it writes; its digest.
fn assert_filled(path: &Path, piece: &str) -> String {
    let mut file = File::open(path).expect("an image");
    let mut whole = Sha256::new();
    let mut bytes = vec![0; usize::try_from(PIECE).expect("a length")];
    let mut first = Vec::new();
    for number in 0..PIECES {
        file.read_exact(&mut bytes).expect("a piece");
        whole.update(&bytes);
        let (head, rest) = bytes.split_at(512);
        assert_eq!(head, format!("{:<512}", format!("piece {number}")).as_bytes());
        if number == 0 {
            rest.clone_into(&mut first);
        }
        assert!(rest == first, "piece {number} of {}", path.display());
    }
    assert_eq!(piece.len(), 64, "{piece}");
    hex(&<[u8; 32]>::from(whole.finalize()))
}

fn assert_came_back(test: &str, guest: &Guest, ran: &Ran) {
    assert_eq!(ran.status, Some(0), "{ran:?}");
    for time in ran.told("at") {
        eprintln!("{test}: {time}");
    }
    let bare = |key| ran.told(key)[0].trim_end_matches(['-', ' ']).to_owned();
    let (piece, read) = (bare("piece"), bare("vda"));
    assert_eq!(assert_filled(&guest.path("a.img"), &piece), read);
    let (image, raw) = (guest.name("b.qcow2"), guest.name("b.raw"));
    qemu_img(test, &["check", "-q", "-f", "qcow2", &image]);
    qemu_img(test, &["convert", "-f", "qcow2", "-O", "raw", &image, &raw]);
    assert_eq!(assert_filled(&guest.path("b.raw"), &piece), bare("vdb"));
    // Each disk was filled with the same.
    assert_eq!((bare("vdb"), bare("vdc")), (read.clone(), read));
    assert_eq!(ran.told("refused"), ["vdd"]);
    let zeros = |name: &str| {
        let mut file = File::open(guest.path(name)).expect("an image").take(PIECES * PIECE);
        let mut bytes = vec![0; 1 << 20];
        let mut seen = 0;
        while let read @ 1.. = file.read(&mut bytes).expect("bytes") {
            assert!(bytes[..read].iter().all(|byte| *byte == 0), "{name} was written to");
            seen += read as u64;
        }
        assert_eq!(seen, PIECES * PIECE);
    };
    ["c.img", "d.img"].into_iter().for_each(zeros);
}

#[test]
fn a_gibibyte_comes_back_as_it_was_written_on_tcg() {
    let test = "a_gibibyte_comes_back_as_it_was_written_on_tcg";
    let Some(guest) = filling_guest(test) else { return };
    let start = Instant::now();
    let ran = Scratch::new().ukivm(guest.command(&FILLING, "tcg"));
    eprintln!("{test}: {:?}", start.elapsed());
    assert_came_back(test, &guest, &ran);
}

#[test]
fn a_gibibyte_comes_back_as_it_was_written_on_kvm() {
    let test = "a_gibibyte_comes_back_as_it_was_written_on_kvm";
    let Some(guest) = filling_guest(test) else { return };
    let command = guest.command(&FILLING, "kvm");
    let Some(ran) = bed::on_kvm_writing(test, &command, guest.scratch.path()) else { return };
    assert_came_back(test, &guest, &ran);
}
