//! A bug of ours: told, and ended with a status of its own, in whichever thread.

use std::{panic, thread};

use crate::{console::restore_terminal, exit, messages::say, sandbox::is_confined};

/// From now on a panic ends the process with [`exit::BUG`]; Rust's own status for
/// it, 101, means something else here. Nothing is unwound: children and guests end
/// with the process, and the terminal is restored here.
pub fn end_with_a_status() {
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |what| {
        restore_terminal();
        if is_confined() {
            // A backtrace, if it is wanted, takes files that are out of reach.
            let thread = thread::current();
            let name = thread.name().unwrap_or("?");
            let what = what.to_string().replace('\n', " ");
            let mend =
                if cfg!(panic = "unwind") { " (--no-sandbox allows a backtrace)" } else { "" };
            say(&format!("bug: thread {name} {what}{mend}"));
        } else {
            tell(what);
        }
        end();
    }));
}

#[expect(clippy::exit, clippy::disallowed_methods, reason = "the terminal has been restored")]
fn end() {
    std::process::exit(i32::from(exit::BUG))
}

#[cfg(test)]
mod tests {
    use std::{env, process::Command};

    use super::*;

    /// Set in the process that is to panic.
    const VICTIM: &str = "UKIVM_TEST_PANIC";

    #[test]
    fn a_panic_of_any_thread_ends_the_process_with_its_own_status() {
        let name = "bug::tests::a_panic_of_any_thread_ends_the_process_with_its_own_status";
        match env::var(VICTIM).as_deref() {
            Ok("main") => {
                end_with_a_status();
                panic!("in main");
            }
            Ok(_) => {
                end_with_a_status();
                thread::spawn(|| panic!("in another")).join().ok();
                thread::park();
            }
            Err(_) => {
                for thread in ["main", "another"] {
                    let mut victim = Command::new(env::current_exe().expect("a path"));
                    victim.args(["--exact", name, "--nocapture"]).env(VICTIM, thread);
                    let output = victim.output().expect("it starts");
                    let said = String::from_utf8_lossy(&output.stderr);
                    assert_eq!(output.status.code(), Some(i32::from(exit::BUG)), "{said}");
                    assert!(said.contains(&format!("in {thread}")), "{said}");
                }
            }
        }
    }
}
