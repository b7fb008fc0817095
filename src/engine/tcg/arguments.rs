//! QEMU's command line.

use std::os::fd::RawFd;

use firmware_less::machine::{Machine, port};

use super::{QemuFound, count, devices};

/// The numbers of the files that QEMU inherits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    pub(super) ram: RawFd,
    pub(super) rom: RawFd,
    pub(super) log: RawFd,
    pub(super) qmp: RawFd,
    pub(super) exit: RawFd,
    pub(super) milestone: RawFd,
    /// The serial port, where standard input and output are another console's.
    pub(super) serial: Option<RawFd>,
    /// Those of a counted run.
    pub(super) counting: Option<CountingNumbers>,
}

/// The numbers of the files that only a counted run has.
#[derive(Clone, Copy, Debug)]
pub(super) struct CountingNumbers {
    /// The replay log.
    pub(super) replay: RawFd,
    /// What is written to the port of the mark.
    pub(super) mark: RawFd,
    /// The gdb stub, where the guest is to stop at an address.
    pub(super) stub: Option<RawFd>,
}

/// QEMU's arguments for `machine`: a CPU, the few devices that the guest is
/// told of, and nothing to boot but our ROM, which it does not run before QMP
/// says so.
///
/// QEMU adds no tables and no firmware of its own. A reset pauses it, so that
/// registers can still be asked for.
pub(super) fn arguments(machine: &Machine, qemu: &QemuFound, numbers: Numbers) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut add = |option: &str, value: String| arguments.extend([option.to_owned(), value]);

    add("-M", MACHINE.join(","));
    match numbers.counting {
        None => add("-accel", format!("tcg,thread={}", qemu.threads())),
        Some(CountingNumbers { replay, .. }) => {
            add("-accel", "tcg,thread=single".to_owned());
            let replay = file(replay);
            add("-icount", format!("shift=0,sleep=off,rr=record,rrfile={replay}"));
            // All that QEMU takes from the host otherwise.
            add("-rtc", format!("base={COUNTED_DATE},clock=vm"));
            add("-seed", "1".to_owned());
        }
    }
    add("-cpu", qemu.cpu().to_owned());
    let cpus = machine.cpus();
    add("-smp", format!("cpus={cpus},sockets=1,cores={cpus},threads=1"));
    let size = machine.memory();
    add("-m", format!("{}M", size >> 20));
    let ram = file(numbers.ram);
    add("-object", format!("memory-backend-file,id=ram,size={size},mem-path={ram},share=on"));
    add("-bios", file(numbers.rom));

    for (id, number) in
        [("qmp", numbers.qmp), ("exit", numbers.exit), ("milestone", numbers.milestone)]
    {
        add("-chardev", format!("socket,id={id},fd={number}"));
    }
    // Standard input and output. ^C and the like are the guest's.
    let console = if numbers.serial.is_some() { devices::CONSOLE } else { "serial" };
    add("-chardev", format!("stdio,id={console},signal=off"));
    if let Some(serial) = numbers.serial {
        add("-chardev", format!("file,id=serial,path={}", file(serial)));
    }
    add("-mon", "chardev=qmp,mode=control".to_owned());
    add("-serial", "chardev:serial".to_owned());
    for (id, port) in [("exit", port::EXIT), ("milestone", port::MILESTONE)] {
        add("-device", format!("isa-debugcon,iobase={port:#x},readback=0xff,chardev={id}"));
    }
    if let Some(CountingNumbers { mark, stub, .. }) = numbers.counting {
        if let Some(stub) = stub {
            add("-chardev", format!("socket,id=stub,fd={stub}"));
            add("-gdb", "chardev:stub".to_owned());
        }
        // The only debug console whose writes the replay log has is that of this option,
        // which has no port of its own and wants this name for its other end.
        add("-chardev", format!("socket,id=debugcon,fd={mark}"));
        add("-debugcon", "chardev:debugcon".to_owned());
        add("-global", format!("isa-debugcon.iobase={:#x}", count::MARK));
        add("-global", "isa-debugcon.readback=0xff".to_owned());
        for [option, value] in EVENTS {
            add(option, value.to_owned());
        }
    }
    add("-device", format!("isa-debug-exit,iobase={:#x},iosize=1", port::SLEEP_CONTROL));
    add("-device", format!("pvpanic,ioport={:#x}", port::PVPANIC));

    add("-action", "reboot=shutdown,shutdown=pause,panic=none".to_owned());
    add("-d", "cpu_reset".to_owned());
    add("-D", file(numbers.log));
    arguments.extend(["-nodefaults", "-no-user-config", "-S"].map(str::to_owned));
    arguments.extend(["-display", "none"].map(str::to_owned));
    arguments
}

/// QEMU's own sandbox: its guest's code gets no further than its system calls. Where it is
/// built without, it says so and ends.
pub(super) const SANDBOX: [&str; 2] =
    ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"];

/// The path under which a process opens its own file of that number.
pub(super) fn file(number: RawFd) -> String {
    format!("/proc/self/fd/{number}")
}

/// What gives the replay log an event now and then. QEMU 7.2 aborts where 2^31
/// instructions pass without one, as in purgatory (replay/replay-internal.c,
/// `replay_advance_current_icount`). A timer that no guest sees is one, every half a
/// second of the guest's: it empties a buffer for packets of nobody.
pub(crate) const EVENTS: [[&str; 2]; 2] = [
    ["-netdev", "hubport,id=nobody,hubid=0"],
    ["-object", "filter-buffer,id=event,netdev=nobody,interval=500000"],
];

/// When a counted guest lives, by its real-time clock.
const COUNTED_DATE: &str = "2026-01-01T00:00:00";

/// The q35 board without what the guest is not told of.
const MACHINE: [&str; 12] = [
    "q35",
    "memory-backend=ram",
    "max-ram-below-4g=2G",
    "acpi=off",
    "dump-guest-core=off",
    "hpet=off",
    "mem-merge=off",
    "pit=off",
    "sata=off",
    "smbus=off",
    "smm=off",
    "vmport=off",
];

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERS: Numbers = Numbers {
        ram: 3,
        rom: 4,
        log: 5,
        qmp: 6,
        exit: 7,
        milestone: 8,
        serial: None,
        counting: None,
    };

    fn qemu() -> QemuFound {
        QemuFound { path: "qemu-system-x86_64".into(), version: "10.0.2".into() }
    }

    #[test]
    fn qemu_gets_these_arguments() {
        let machine = Machine::new(3 << 30, 2).unwrap();
        assert_eq!(
            arguments(&machine, &qemu(), NUMBERS).join(" "),
            "-M q35,memory-backend=ram,max-ram-below-4g=2G,acpi=off,dump-guest-core=off,hpet=off,\
             mem-merge=off,pit=off,sata=off,smbus=off,smm=off,vmport=off \
             -accel tcg,thread=multi -cpu max -smp cpus=2,sockets=1,cores=2,threads=1 -m 3072M \
             -object memory-backend-file,id=ram,size=3221225472,mem-path=/proc/self/fd/3,share=on \
             -bios /proc/self/fd/4 -chardev socket,id=qmp,fd=6 -chardev socket,id=exit,fd=7 \
             -chardev socket,id=milestone,fd=8 -chardev stdio,id=serial,signal=off \
             -mon chardev=qmp,mode=control -serial chardev:serial \
             -device isa-debugcon,iobase=0xf4,readback=0xff,chardev=exit \
             -device isa-debugcon,iobase=0xf5,readback=0xff,chardev=milestone \
             -device isa-debug-exit,iobase=0x520,iosize=1 -device pvpanic,ioport=0x505 \
             -action reboot=shutdown,shutdown=pause,panic=none -d cpu_reset \
             -D /proc/self/fd/5 -nodefaults -no-user-config -S -display none"
        );
    }

    #[test]
    fn a_counted_qemu_takes_nothing_from_the_host() {
        let counting = Some(CountingNumbers { replay: 9, mark: 10, stub: None });
        let machine = Machine::new(1 << 30, 1).unwrap();
        let arguments = arguments(&machine, &qemu(), Numbers { counting, ..NUMBERS }).join(" ");
        for options in [
            "-accel tcg,thread=single -icount shift=0,sleep=off,rr=record,rrfile=/proc/self/fd/9 \
             -rtc base=2026-01-01T00:00:00,clock=vm -seed 1 ",
            "-chardev socket,id=debugcon,fd=10 -debugcon chardev:debugcon \
             -global isa-debugcon.iobase=0xf6 -global isa-debugcon.readback=0xff ",
        ] {
            assert!(arguments.contains(options), "{arguments}");
        }
    }

    #[test]
    fn a_guest_that_is_to_stop_has_a_gdb_stub() {
        let counting = Some(CountingNumbers { replay: 9, mark: 10, stub: Some(11) });
        let machine = Machine::new(1 << 30, 1).unwrap();
        let arguments = arguments(&machine, &qemu(), Numbers { counting, ..NUMBERS }).join(" ");
        assert!(arguments.contains("-chardev socket,id=stub,fd=11 -gdb chardev:stub "));
    }

    #[test]
    fn with_another_console_the_serial_port_has_a_file_of_its_own() {
        let machine = Machine::new(1 << 30, 1).unwrap();
        let arguments = arguments(&machine, &qemu(), Numbers { serial: Some(9), ..NUMBERS });
        let wanted = " -chardev stdio,id=hvc0,signal=off \
                      -chardev file,id=serial,path=/proc/self/fd/9 ";
        assert!(arguments.join(" ").contains(wanted), "{arguments:?}");
    }

    #[test]
    fn qemu_is_never_told_what_to_boot() {
        let arguments = arguments(&Machine::new(1 << 30, 1).unwrap(), &qemu(), NUMBERS);
        for option in ["-kernel", "-initrd", "-append", "-drive", "-fw_cfg", "-dtb"] {
            assert!(!arguments.iter().any(|argument| argument == option), "{option}");
        }
    }
}
