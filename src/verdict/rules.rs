//! From what was seen to the verdict and its exit status: one function.

use crate::{
    exit,
    outcome::{End, Signal},
};

/// What was seen of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// How it ended.
    pub end: End,
    /// The name of the panic, or of what it came of, where the kernel panicked.
    pub panic: Option<String>,
    /// The name of the first finding that fails, or of what that came of.
    pub pattern: Option<String>,
    /// The status that was expected on the exit port.
    pub expected_status: Option<u8>,
    /// All that was wanted was seen.
    pub proven: bool,
    /// Userspace had started.
    pub userspace: bool,
    /// The guest was started again as often as it may be.
    pub restarted: bool,
}

/// What a run comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The exit status; [`crate::exit`] has the table.
    pub status: u8,
    /// What decided, by name.
    pub cause: String,
}

impl Verdict {
    fn new(status: u8, cause: impl Into<String>) -> Self {
        Self { status, cause: cause.into() }
    }

    /// Whether what was wanted was seen, and nothing spoke against it.
    #[must_use]
    pub fn is_pass(&self) -> bool {
        self.status == 0
    }
}

/// The name of what decided, where all is well.
pub const PROVEN: &str = "proven";
/// The same where a signal did.
pub const INTERRUPTED: &str = "interrupted";

/// The verdict of `ukivm smoke`: the first that applies of engine failure, triple
/// fault, panic, fail pattern, interruption, guest status, proof, limits. Without
/// proof nothing passes.
#[must_use]
pub fn smoke(facts: &Facts) -> Verdict {
    failure(facts)
        .unwrap_or_else(|| if facts.proven { Verdict::new(0, PROVEN) } else { unproven(facts) })
}

/// The exit status of `ukivm run`: its own rule for the end, but for what was seen
/// to go wrong before.
#[must_use]
pub fn run(end: &End, panicked: bool, failed: bool) -> u8 {
    match end {
        End::EngineFailure { .. }
        | End::TripleFault
        | End::Panic
        | End::Interrupted { .. }
        | End::ConsoleClosed => end.run_status(),
        _ if panicked => exit::PANIC,
        _ if failed => exit::FAIL_PATTERN,
        _ => end.run_status(),
    }
}

/// What outranks a proof.
fn failure(facts: &Facts) -> Option<Verdict> {
    let end = &facts.end;
    match (end, &facts.panic, &facts.pattern) {
        (End::EngineFailure { .. }, ..) => {
            Some(Verdict::new(exit::ENGINE_FAILURE, "engine-failure"))
        }
        (End::TripleFault, ..) => Some(Verdict::new(exit::TRIPLE_FAULT, "triple-fault")),
        (_, Some(name), _) => Some(Verdict::new(exit::PANIC, name.as_str())),
        (End::Panic, ..) => Some(Verdict::new(exit::PANIC, "panic")),
        (_, _, Some(name)) => Some(Verdict::new(exit::FAIL_PATTERN, name.as_str())),
        (End::Interrupted { signal }, ..) => Some(interrupted(*signal)),
        (End::ConsoleClosed, ..) => Some(Verdict::new(exit::IO, "console-closed")),
        (End::Status { status }, ..) if !is_expected(*status, facts) && *status != 0 => {
            Some(Verdict::new((*status).min(exit::GUEST_STATUS_MAX), "guest-status"))
        }
        _ => None,
    }
}

fn is_expected(status: u8, facts: &Facts) -> bool {
    facts.expected_status == Some(status)
}

fn interrupted(signal: Signal) -> Verdict {
    Verdict::new(End::Interrupted { signal }.run_status(), INTERRUPTED)
}

/// Why there is no proof.
fn unproven(facts: &Facts) -> Verdict {
    match &facts.end {
        End::Silence => Verdict::new(exit::SILENCE, "silence"),
        End::Halted => Verdict::new(exit::SILENCE, "halted"),
        End::BootLimit => Verdict::new(exit::TIME_LIMIT, "boot-time-limit"),
        End::TimeLimit if !facts.userspace => Verdict::new(exit::TIME_LIMIT, "time-limit"),
        End::TimeLimit => Verdict::new(exit::NO_PROOF, "time-limit-without-proof"),
        End::Reset { .. } if facts.restarted => Verdict::new(exit::NO_PROOF, "reboot-loop"),
        End::Reset { .. } => Verdict::new(exit::NO_PROOF, "reset-without-proof"),
        End::Status { .. } => Verdict::new(exit::NO_PROOF, "status-without-proof"),
        End::PowerOff => Verdict::new(exit::NO_PROOF, "power-off-without-proof"),
        _ => Verdict::new(exit::NO_PROOF, "ended-without-proof"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::ResetBy;

    fn facts(end: End) -> Facts {
        Facts {
            end,
            panic: None,
            pattern: None,
            expected_status: None,
            proven: false,
            userspace: false,
            restarted: false,
        }
    }

    fn ends() -> Vec<End> {
        let statuses = [0, 1, 7, 63, 64, 255].map(|status| End::Status { status });
        let signals =
            [Signal::Int, Signal::Term, Signal::Hup].map(|signal| End::Interrupted { signal });
        let others = [
            End::PowerOff,
            End::Reset { by: ResetBy::Unknown },
            End::Panic,
            End::TripleFault,
            End::TimeLimit,
            End::BootLimit,
            End::Silence,
            End::Halted,
            End::Decided,
            End::ConsoleClosed,
            End::EngineFailure { reason: "x".into() },
        ];
        [statuses.to_vec(), signals.to_vec(), others.to_vec()].concat()
    }

    /// Every combination of facts.
    fn all() -> Vec<Facts> {
        let both = [false, true];
        let mut all = Vec::new();
        for end in ends() {
            for bits in 0..32_u32 {
                for expected_status in [None, Some(0), Some(7)] {
                    let bit = |at: u32| both[usize::from(bits >> at & 1 == 1)];
                    all.push(Facts {
                        end: end.clone(),
                        panic: bit(0).then(|| "root-missing".to_owned()),
                        pattern: bit(1).then(|| "oops".to_owned()),
                        expected_status,
                        proven: bit(2),
                        userspace: bit(3),
                        restarted: bit(4),
                    });
                }
            }
        }
        all
    }

    #[test]
    fn nothing_passes_without_proof() {
        for facts in all().iter().filter(|facts| !facts.proven) {
            assert_ne!(smoke(facts).status, 0, "{facts:?}");
        }
    }

    #[test]
    fn a_proof_does_not_outrank_what_went_wrong() {
        for facts in all() {
            let verdict = smoke(&facts);
            let wrong = facts.panic.is_some()
                || facts.pattern.is_some()
                || matches!(
                    facts.end,
                    End::EngineFailure { .. }
                        | End::TripleFault
                        | End::Panic
                        | End::Interrupted { .. }
                        | End::ConsoleClosed
                );
            assert!(!(wrong && verdict.is_pass()), "{facts:?}");
        }
    }

    #[test]
    fn the_first_of_the_documented_order_decides() {
        // In that order: whether it applies, and the status it has.
        type Rule = (fn(&Facts) -> bool, fn(&Facts) -> u8);
        let rules: [Rule; 9] = [
            (|facts| matches!(facts.end, End::EngineFailure { .. }), |_| 105),
            (|facts| facts.end == End::TripleFault, |_| 102),
            (|facts| facts.panic.is_some() || facts.end == End::Panic, |_| 101),
            (|facts| facts.pattern.is_some(), |_| 103),
            (
                |facts| matches!(facts.end, End::Interrupted { .. } | End::ConsoleClosed),
                |facts| match facts.end {
                    End::Interrupted { signal: Signal::Int } => 130,
                    End::Interrupted { signal: Signal::Term } => 143,
                    End::Interrupted { signal: Signal::Hup } => 129,
                    _ => 74,
                },
            ),
            (
                |facts| match facts.end {
                    End::Status { status } => status != 0 && facts.expected_status != Some(status),
                    _ => false,
                },
                |facts| match facts.end {
                    End::Status { status } => status.min(63),
                    _ => 0,
                },
            ),
            (|facts| facts.proven, |_| 0),
            (|facts| matches!(facts.end, End::Silence | End::Halted), |_| 104),
            (
                |facts| match facts.end {
                    End::BootLimit => true,
                    End::TimeLimit => !facts.userspace,
                    _ => false,
                },
                |_| 124,
            ),
        ];
        for facts in all() {
            let wanted = rules.iter().find(|(applies, _)| applies(&facts));
            let wanted = wanted.map_or(100, |(_, status)| status(&facts));
            assert_eq!(smoke(&facts).status, wanted, "{facts:?}");
        }
    }

    #[test]
    fn a_loop_of_restarts_is_named() {
        let reset = End::Reset { by: ResetBy::ResetRegister };
        let verdict = smoke(&Facts { restarted: true, ..facts(reset.clone()) });
        assert_eq!((verdict.status, verdict.cause.as_str()), (100, "reboot-loop"));
        assert_eq!(smoke(&facts(reset)).cause, "reset-without-proof");
    }

    #[test]
    fn run_keeps_its_rule_but_for_what_it_saw() {
        assert_eq!(run(&End::PowerOff, false, false), 0);
        assert_eq!(run(&End::PowerOff, false, true), 103);
        assert_eq!(run(&End::Status { status: 7 }, false, true), 103);
        assert_eq!(run(&End::Status { status: 7 }, false, false), 7);
        assert_eq!(run(&End::TimeLimit, true, true), 101);
        assert_eq!(run(&End::TripleFault, true, true), 102);
        assert_eq!(run(&End::EngineFailure { reason: String::new() }, true, true), 105);
        assert_eq!(run(&End::Interrupted { signal: Signal::Int }, true, true), 130);
    }
}
