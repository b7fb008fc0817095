//! How runs end, on both engines, with guests of a few instructions; and what
//! is left when they have.

use std::{fs, process::Command, time::Duration};

use firmware_less::machine::{PVPANIC_PANICKED, port};
use iced_x86::{IcedError, code_asm::CodeAssembler};
use serde_json::Value;

use crate::support::{
    Scratch, engines,
    run::{Running, is_alive, open_files, within},
    tiny::{chatter, echo, flush, guest, halt, power_off, print, spin, triple_fault, write_port},
};

type Instructions = fn(&mut CodeAssembler) -> Result<(), IcedError>;

/// Runs a guest to its end on `engine`; the exit status and the report.
fn ended(engine: &str, code: Instructions, options: &[&str]) -> (Option<i32>, Value) {
    let scratch = Scratch::new();
    scratch.file("guest.efi", guest(code));
    let arguments = ["run", "--engine", engine, "--memory", "64M", "--json=out.json"];
    let ran = scratch.ukivm(arguments.iter().chain(options).chain(&["guest.efi"]));
    let report = fs::read_to_string(scratch.path().join("out.json"));
    let report = report.unwrap_or_else(|error| panic!("{error}, {ran:?}"));
    (ran.status, serde_json::from_str(&report).expect("JSON"))
}

#[test]
fn power_off_is_0() {
    for engine in engines("power_off_is_0") {
        let (status, report) = ended(engine, power_off, &[]);
        assert_eq!((status, &report["outcome"]["kind"]), (Some(0), &Value::from("power-off")));
        assert_eq!(report["engine"]["kind"], engine);
    }
}

#[test]
fn the_report_says_whose_reading_applied() {
    for engine in engines("the_report_says_whose_reading_applied") {
        for (reading, options) in
            [("stub", &[][..]), ("kexec-tools", &["--as", "kexec-tools", "--cmdline", "a"])]
        {
            let (status, report) = ended(engine, power_off, options);
            assert_eq!((status, &report["reading"]), (Some(0), &Value::from(reading)));
        }
    }
}

#[test]
fn a_reset_is_0() {
    for engine in engines("a_reset_is_0") {
        let (status, report) = ended(engine, |a| write_port(a, port::RESET, 6), &[]);
        assert_eq!((status, &report["outcome"]["kind"]), (Some(0), &Value::from("reset")));
    }
}

#[test]
fn a_jump_to_the_reset_vector_s_code_is_a_reset() {
    // As far as 64-bit code can: the bytes are there for real mode to run.
    for engine in engines("a_jump_to_the_reset_vector_s_code_is_a_reset") {
        let code = |a: &mut CodeAssembler| {
            a.mov(iced_x86::code_asm::eax, 0xf_fff0)?;
            a.mov(iced_x86::code_asm::al, iced_x86::code_asm::byte_ptr(iced_x86::code_asm::rax))?;
            a.mov(iced_x86::code_asm::edx, u32::from(port::EXIT))?;
            a.out(iced_x86::code_asm::dx, iced_x86::code_asm::al)
        };
        let (_, report) = ended(engine, code, &[]);
        // `mov dx, imm16` on a bare board, a jump in the boot ROM on q35.
        let wanted = if engine == "kvm" { 0xba } else { 0xe9 };
        assert_eq!(report["outcome"]["status"], wanted, "{engine}");
    }
}

#[test]
fn the_guest_s_own_status_is_the_exit_status_up_to_63() {
    for engine in engines("the_guest_s_own_status_is_the_exit_status_up_to_63") {
        let statuses: [(Instructions, i32, i32); 4] = [
            (|a| write_port(a, port::EXIT, 0), 0, 0),
            (|a| write_port(a, port::EXIT, 7), 7, 7),
            (|a| write_port(a, port::EXIT, 63), 63, 63),
            (|a| write_port(a, port::EXIT, 200), 200, 63),
        ];
        for (code, written, wanted) in statuses {
            let (status, report) = ended(engine, code, &[]);
            assert_eq!(status, Some(wanted), "{engine}, {written}");
            assert_eq!(report["outcome"]["status"], written);
        }
    }
}

#[test]
fn a_triple_fault_is_102_with_a_crash_report() {
    for engine in engines("a_triple_fault_is_102_with_a_crash_report") {
        let (status, report) = ended(engine, triple_fault, &[]);
        assert_eq!(status, Some(102), "{engine}");
        assert!(!report["crash"]["lines"].as_array().expect("lines").is_empty());
    }
}

#[test]
fn a_panic_that_pvpanic_reports_is_101() {
    for engine in engines("a_panic_that_pvpanic_reports_is_101") {
        let code = |a: &mut CodeAssembler| {
            write_port(a, port::PVPANIC, PVPANIC_PANICKED)?;
            write_port(a, port::RESET, 6)
        };
        assert_eq!(ended(engine, code, &[]).0, Some(101), "{engine}");
        // One that hangs afterwards is not waited for.
        let code = |a: &mut CodeAssembler| {
            write_port(a, port::PVPANIC, PVPANIC_PANICKED)?;
            halt(a)
        };
        assert_eq!(ended(engine, code, &["--timeout", "60"]).0, Some(101), "{engine}");
    }
}

#[test]
fn a_panic_and_a_reset_right_behind_it_are_101() {
    for engine in engines("a_panic_and_a_reset_right_behind_it_are_101") {
        let code = |a: &mut CodeAssembler| {
            print(a, "[    0.1] Kernel panic - not syncing: test\r\n")?;
            flush(a)?;
            write_port(a, port::RESET, 6)
        };
        for _ in 0..10 {
            assert_eq!(ended(engine, code, &[]).0, Some(101), "{engine}");
        }
    }
}

#[test]
fn a_reader_that_reads_nothing_cannot_keep_a_signal_from_ending_the_run() {
    for engine in engines("a_reader_that_reads_nothing_cannot_keep_a_signal_from_ending_the_run") {
        let scratch = Scratch::new();
        scratch.file("guest.efi", guest(chatter));
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut child = Command::new(env!("CARGO_BIN_EXE_ukivm"))
            .args(["run", "--engine", engine, "--memory", "64M", "guest.efi"])
            .current_dir(scratch.path())
            .stdout(writer.try_clone().expect("a pipe"))
            .stderr(writer)
            .spawn()
            .expect("ukivm starts");
        // By then the pipe is full.
        std::thread::sleep(Duration::from_secs(2));
        let sent = Command::new("kill").arg(child.id().to_string()).status();
        assert!(sent.expect("kill runs").success());
        let over = || child.try_wait().expect("our child").is_some();
        let ended = within(Duration::from_secs(10), over);
        child.kill().ok();
        let status = child.wait().expect("our child").code();
        assert!(ended, "{engine} goes on");
        assert_eq!(status, Some(143), "{engine}");
        drop(reader);
    }
}

#[test]
fn milestones_are_in_the_report() {
    for engine in engines("milestones_are_in_the_report") {
        let code = |a: &mut CodeAssembler| {
            write_port(a, port::MILESTONE, 3)?;
            write_port(a, port::MILESTONE, 9)?;
            power_off(a)
        };
        let (_, report) = ended(engine, code, &[]);
        let milestones = report["guest_milestones"].as_array().expect("a list");
        let values: Vec<_> = milestones.iter().map(|one| one["value"].as_u64()).collect();
        assert_eq!(values, [Some(3), Some(9)], "{engine}");
    }
}

#[test]
fn a_time_that_no_engine_sees_is_null_with_a_reason() {
    for engine in engines("a_time_that_no_engine_sees_is_null_with_a_reason") {
        let (_, report) = ended(engine, power_off, &[]);
        let timeline = &report["timeline"];
        assert!(timeline["first_entry"]["at_us"].is_u64(), "{timeline}");
        assert!(timeline["linux_version"]["at_us"].is_null());
        assert!(timeline["linux_version"]["reason"].is_string());
        let exits_seen = engine == "kvm";
        assert_eq!(timeline["first_exit"]["at_us"].is_u64(), exits_seen, "{engine}");
        assert_eq!(report["exits"]["pio_out"].is_u64(), exits_seen, "{engine}");
    }
}

#[test]
fn a_digest_is_verified_and_reported() {
    for engine in engines("a_digest_is_verified_and_reported") {
        let (status, report) = ended(engine, power_off, &["--digest"]);
        assert_eq!(status, Some(0), "{engine}");
        assert_eq!(report["handoff"]["digest"].as_str().map(str::len), Some(64));
    }
}

#[test]
fn a_guest_without_end_meets_the_time_limit() {
    for engine in engines("a_guest_without_end_meets_the_time_limit") {
        for code in [spin as Instructions, halt] {
            assert_eq!(ended(engine, code, &["--timeout", "1s"]).0, Some(124), "{engine}");
        }
    }
}

/// A guest that says "ready" and goes on without end.
fn endless(engine: &str) -> (Scratch, Running) {
    let scratch = Scratch::new();
    scratch.file("guest.efi", guest(echo));
    let arguments = ["run", "--engine", engine, "--memory", "64M", "guest.efi"];
    let running = Running::ukivm(scratch.path(), arguments);
    running.wait_for("ready");
    (scratch, running)
}

/// Sends `signal` to an endless run: it ends with `status` and leaves nothing.
fn ends_by(engine: &str, signal: &str, status: i32) {
    let (_scratch, mut running) = endless(engine);
    let processes = running.descendants();
    assert_eq!(processes.is_empty(), engine == "kvm", "TCG is a process of its own");
    for process in processes.iter().chain(&[running.id()]) {
        let files = open_files(*process);
        assert!(!files.iter().any(|name| name.starts_with("/dev/shm")), "{files:?}");
    }
    running.signal(signal);
    assert_eq!(running.status(), status, "{engine} {signal}");
    let gone = || !processes.iter().any(|process| is_alive(*process));
    assert!(within(Duration::from_secs(10), gone), "{engine} {signal} left {processes:?}");
}

#[test]
fn signals_end_a_run_and_leave_nothing() {
    for engine in engines("signals_end_a_run_and_leave_nothing") {
        ends_by(engine, "-INT", 130);
        ends_by(engine, "-TERM", 143);
        ends_by(engine, "-HUP", 129);
    }
}

#[test]
fn even_a_kill_leaves_nothing() {
    for engine in engines("even_a_kill_leaves_nothing") {
        ends_by(engine, "-KILL", 9 - 256);
    }
}

#[test]
fn input_from_a_pipe_reaches_the_guest_and_its_end_ends_nothing() {
    for engine in engines("input_from_a_pipe_reaches_the_guest_and_its_end_ends_nothing") {
        let (_scratch, mut running) = endless(engine);
        // More than any FIFO holds: nothing may be lost.
        let text = "0123456789abcdef".repeat(20);
        running.type_in(text.as_bytes());
        running.wait_for(&text);
        running.type_in(b"last q");
        running.close_input();
        assert_eq!(running.status(), 0, "{engine}");
        assert!(running.seen().contains("last "), "{engine}: {}", running.seen());
    }
}

#[test]
fn a_run_does_without_standard_input() {
    for engine in engines("a_run_does_without_standard_input") {
        let scratch = Scratch::new();
        let hello = |a: &mut CodeAssembler| {
            print(a, "hello\r\n")?;
            power_off(a)
        };
        scratch.file("guest.efi", guest(hello));
        for redirection in ["<&-", "</dev/null", "< guest.efi"] {
            let line = format!(
                "{} run --engine {engine} --memory 64M guest.efi {redirection}",
                env!("CARGO_BIN_EXE_ukivm")
            );
            let output =
                Command::new("sh").arg("-c").arg(line).current_dir(scratch.path()).output();
            let output = output.expect("sh runs");
            assert_eq!(output.status.code(), Some(0), "{engine} {redirection}: {output:?}");
            assert_eq!(output.stdout, b"hello\r\n", "{engine} {redirection}");
        }
    }
}

#[test]
fn a_console_that_nobody_reads_ends_the_run() {
    for engine in engines("a_console_that_nobody_reads_ends_the_run") {
        let scratch = Scratch::new();
        scratch.file("guest.efi", guest(chatter));
        let line = format!(
            "{} run --engine {engine} --memory 64M guest.efi | head -c 1000 | wc -c; \
             echo ${{PIPESTATUS[0]}}",
            env!("CARGO_BIN_EXE_ukivm")
        );
        let output = Command::new("bash").arg("-c").arg(line).current_dir(scratch.path()).output();
        let output = output.expect("bash runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "1000\n74\n", "{engine}");
    }
}
