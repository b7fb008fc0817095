//! `--console=hvc0`: a virtio console, by whole kernels on both engines.

use crate::support::{Ran, Scratch, bed, built, run::Running, sound_uki};

/// A guest whose only console is hvc0 once its driver is there, and that does what `script` says.
fn arguments(scratch: &Scratch, test: &str, engine: &str, script: &str) -> Option<Vec<String>> {
    let image = built(test, "devices-6.12.efi")?.display().to_string();
    let initrd = format!("--initrd={}", scratch.doing(script).display());
    let words = ["run", "--engine", engine, "--timeout", "100", "--console=hvc0", "--cmdline"];
    let mut arguments: Vec<String> = words.map(String::from).into();
    arguments.extend(["panic=-1 earlyprintk=ttyS0".to_owned(), image, initrd]);
    Some(arguments)
}

/// Writes to both consoles, 64 KiB to the one and a line to the other.
const SCRIPT: &str = "
seq=0
while [ $seq -lt 1024 ]; do
    echo \"$seq is a line of sixty-four bytes or so, one after the other......\"
    seq=$((seq + 1))
done
echo 'by the serial port' >/dev/ttyS0
echo 'and by hvc0' >/dev/hvc0
";

/// That all came, once, and from the guest's first line on.
fn assert_heard(ran: &Ran) {
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let lines: Vec<_> = ran.stdout.lines().map(str::trim_end).collect();
    let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(count("Linux version 6.12"), 1, "early, by the serial port: {ran:?}");
    assert_eq!(count("Run /init as init process"), 1, "later, by hvc0: {ran:?}");
    let numbered: Vec<_> =
        lines.iter().filter(|line| line.contains(" is a line of sixty-four bytes")).collect();
    assert_eq!(numbered.len(), 1024, "{ran:?}");
    for (number, line) in numbered.iter().enumerate() {
        assert!(line.starts_with(&format!("{number} is")), "{line}");
    }
    assert_eq!((count("by the serial port"), count("and by hvc0")), (1, 1), "{ran:?}");
    assert_eq!(count("0x1af4 0x1043 0x078000"), 1, "{ran:?}");
    assert_eq!(count("cmdline=panic=-1 earlyprintk=ttyS0 console=hvc0"), 1, "{ran:?}");
}

#[test]
fn guests_speak_on_hvc0_and_on_the_serial_port_on_tcg() {
    let test = "guests_speak_on_hvc0_and_on_the_serial_port_on_tcg";
    let scratch = Scratch::new();
    let Some(arguments) = arguments(&scratch, test, "tcg", SCRIPT) else { return };
    assert_heard(&scratch.ukivm(arguments));
}

#[test]
fn guests_speak_on_hvc0_and_on_the_serial_port_on_kvm() {
    let test = "guests_speak_on_hvc0_and_on_the_serial_port_on_kvm";
    let scratch = Scratch::seen_in_the_bed();
    let Some(mut arguments) = arguments(&scratch, test, "kvm", SCRIPT) else { return };
    let json = scratch.path().join("result.json");
    arguments.push(format!("--json={}", json.display()));
    let Some(ran) = bed::on_kvm_writing(test, &arguments, scratch.path()) else { return };
    assert_heard(&ran);
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(json).expect("a report")).expect("JSON");
    let ports = report["exits"]["ports"].as_array().expect("a list");
    let configuration = ports.iter().find(|port| port["port"] == "0xcfc").expect("it was read");
    let reads = configuration["reads"].as_u64().expect("a number");
    assert!(reads < 500, "the guest looks for {reads} registers on buses that are not there");
}

#[test]
fn guests_are_typed_to_at_hvc0() {
    let test = "guests_are_typed_to_at_hvc0";
    let scratch = Scratch::new();
    let script = "
tell asks
read -r line </dev/hvc0
tell typed=\"$line\"
tell long=$(head -c 2000 /dev/hvc0 | wc -c)
";
    let engine = if bed::kvm_works() { "kvm" } else { "tcg" };
    let Some(arguments) = arguments(&scratch, test, engine, script) else { return };
    let mut running = Running::ukivm(scratch.path(), arguments);
    // Before anybody reads it.
    running.type_in(b"what is typed\n");
    running.type_in("twenty bytes a line\n".repeat(100).as_bytes());
    running.wait_for("asks");
    assert_eq!(running.status(), 0, "{}", running.seen());
    let seen = running.seen();
    assert!(seen.contains("typed=what is typed"), "{seen}");
    assert!(seen.contains("long=2000"), "{seen}");
}

#[test]
fn guests_prove_and_fail_by_what_they_say_on_hvc0() {
    let test = "guests_prove_and_fail_by_what_they_say_on_hvc0";
    let engine = if bed::kvm_works() { "kvm" } else { "tcg" };
    let crash = "echo c >/proc/sysrq-trigger\n";
    for (rest, status) in [("", 0), (crash, 101)] {
        let scratch = Scratch::new();
        let script = format!("echo by hvc0 >/dev/hvc0\n{rest}");
        let Some(mut arguments) = arguments(&scratch, test, engine, &script) else { return };
        arguments[0] = "smoke".to_owned();
        // Nothing that comes by the serial port has these words behind init's start.
        arguments.extend(["--settle=5s", "--expect=^by hvc0$", "--live"].map(String::from));
        let ran = scratch.ukivm(arguments);
        assert_eq!(ran.status, Some(status), "{ran:?}");
    }
}

/// Of another size while the guest runs, which has told its first one by then.
const TERMINAL: &str = r#"
stty rows 33 cols 101
terminal=$(tty)
(until grep -q 'size=33 101' "$SEEN"; do sleep 0.5; done; stty rows 44 cols 77) <"$terminal" &
exec "$@"
"#;

#[test]
fn guests_have_the_size_of_the_terminal_at_hvc0_on_kvm() {
    let test = "guests_have_the_size_of_the_terminal_at_hvc0_on_kvm";
    let scratch = Scratch::seen_in_the_bed();
    let content = "
tell size=$(stty size </dev/hvc0)
tries=0
until [ \"$(stty size </dev/hvc0)\" = '44 77' ] || [ $tries = 30 ]; do
    sleep 1
    tries=$((tries + 1))
done
tell then=$(stty size </dev/hvc0)
";
    let Some(arguments) = arguments(&scratch, test, "kvm", content) else { return };
    let terminal = scratch.file("terminal.sh", TERMINAL);
    let seen = scratch.path().join("seen");
    let script = format!(
        "line=\"sh '{}'\"\nfor word; do line=\"$line '$word'\"; done\n\
         SHELL=/bin/sh SEEN='{seen}' exec script --quiet --return --flush --command \"$line\" '{seen}'\n",
        terminal.display(),
        seen = seen.display(),
    );
    let script = scratch.file("script.sh", script);
    let ran = bed::on_kvm_by(test, Some(&script), &arguments, scratch.path());
    let Some(ran) = ran else { return };
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert_eq!((ran.told("size"), ran.told("then")), (vec!["33 101"], vec!["44 77"]), "{ran:?}");
}

#[test]
fn the_plan_has_the_console_in_its_slot_and_on_the_command_line() {
    let scratch = Scratch::new();
    scratch.file("foo.efi", sound_uki());
    scratch.file("disk.img", [0; 4096]);
    let ran = scratch.ukivm(["plan", "foo.efi", "--console=hvc0", "--disk", "disk.img"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let lines: Vec<_> = ran.stdout.lines().skip_while(|line| *line != "PCI").collect();
    assert_eq!(lines[2..4], ["  00:02.0  random", "  00:03.0  console"], "{lines:?}");
    assert!(ran.stdout.contains("console=hvc0"), "{ran:?}");
    assert!(ran.stderr.contains("what the kernel says comes twice"), "{ran:?}");
    // A device needs no place on the command line, and where none may be appended, none is.
    let ran = scratch.ukivm(["plan", "foo.efi", "--console=hvc0", "--as", "uapi"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(!ran.stdout.contains("console=hvc0"), "{ran:?}");
    assert!(ran.stderr.contains("has no console=hvc0, and none may be appended here"), "{ran:?}");
}
