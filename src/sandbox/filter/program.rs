//! The tables as programs, made when this program is compiled.
//!
//! A program searches for the call's number by halves, among runs of numbers that fare
//! alike, and looks at arguments only where a row asks for that. The kernel tries every call
//! there is when it is given a filter (kernel/seccomp.c, `seccomp_cache_prepare`), and
//! compiles it: what is short and searched by halves costs it a fraction.

#![expect(clippy::arithmetic_side_effects, reason = "evaluated at compile time only")]

use seccompiler::sock_filter;

use super::super::{
    ioctls,
    rules::{self, Arguments, Rule, Thread},
};

/// The most instructions of a program: any is reached by a jump, whose distance has 8 bits.
const LEN_MAX: usize = 256;
/// The most runs of numbers.
const RUNS_MAX: usize = 160;

/// `LD | W | ABS`, `ALU | AND | K`, `JMP | JEQ | K`, `JMP | JGE | K`, `RET | K`:
/// include/uapi/linux/bpf_common.h.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const IS_EQUAL: u16 = 0x15;
const IS_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Where `struct seccomp_data` has the call's number and its architecture, and the low half
/// of its first argument; another follows after so many bytes. include/uapi/linux/seccomp.h.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;
const ARGUMENT: u32 = 8;

/// include/uapi/linux/audit.h.
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;

/// What ends every program, in this order.
const VERDICTS: [u32; 4] = [
    libc::SECCOMP_RET_ALLOW,
    libc::SECCOMP_RET_TRAP,
    libc::SECCOMP_RET_KILL_PROCESS,
    libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned(),
];
const ALLOWED: usize = 0;
const TRAPPED: usize = 1;
const KILLED: usize = 2;
const NOT_THERE: usize = 3;

/// Numbers from `start` on, up to the next run.
#[derive(Clone, Copy)]
struct Run {
    start: u32,
    fares: Fares,
}

/// How calls of a number fare.
#[derive(Clone, Copy)]
enum Fares {
    /// As that one of [`VERDICTS`] says.
    So(usize),
    /// As their arguments have it.
    ByArguments(Arguments),
}

impl Fares {
    const fn of(row: &Rule) -> Self {
        match row.arguments {
            Arguments::Any => Self::So(ALLOWED),
            Arguments::Absent => Self::So(NOT_THERE),
            arguments => Self::ByArguments(arguments),
        }
    }

    const fn is_like(self, other: Self) -> bool {
        matches!((self, other), (Self::So(one), Self::So(another)) if one == another)
    }
}

/// All numbers, in runs.
struct Runs {
    all: [Run; RUNS_MAX],
    len: usize,
}

impl Runs {
    const fn of(thread: Thread) -> Self {
        let none = Run { start: 0, fares: Fares::So(TRAPPED) };
        let mut runs = Self { all: [none; RUNS_MAX], len: 1 };
        let mut next = 0;
        while let Some(row) = lowest_from(next, thread) {
            runs.push(number(row), Fares::of(row));
            next = number(row) + 1;
            runs.push(next, Fares::So(TRAPPED));
        }
        runs
    }

    /// From `start` on, numbers fare so.
    const fn push(&mut self, start: u32, fares: Fares) {
        if self.all[self.len - 1].start == start {
            self.len -= 1;
        }
        if self.len == 0 || !self.all[self.len - 1].fares.is_like(fares) {
            self.all[self.len] = Run { start, fares };
            self.len += 1;
        }
    }
}

/// The row for `thread` whose call has the lowest number that is not below `from`.
const fn lowest_from(from: u32, thread: Thread) -> Option<&'static Rule> {
    let mut lowest: Option<&'static Rule> = None;
    let mut at = 0;
    while at < rules::TABLE.len() {
        let row = &rules::TABLE[at];
        let is_lower = match lowest {
            Some(lowest) => number(row) < number(lowest),
            None => true,
        };
        if row.is_for(thread) && number(row) >= from && is_lower {
            lowest = Some(row);
        }
        at += 1;
    }
    lowest
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a call's number is a small one"
)]
const fn number(row: &Rule) -> u32 {
    row.call as u32
}

/// A filter for the kernel.
pub(super) struct Program {
    pub(super) instructions: [sock_filter; LEN_MAX],
    pub(super) len: usize,
    /// Where the [`VERDICTS`] are.
    verdicts: usize,
}

impl Program {
    /// The one for `thread`: what is in none of its rows is trapped.
    pub(super) const fn of(thread: Thread) -> Self {
        const BEFORE_SEARCH: usize = 3;
        let runs = Runs::of(thread);
        // What looks at arguments is behind the search, in the order of the runs.
        let (looks, end) = places(&runs, BEFORE_SEARCH + runs.len - 1, thread);
        let instructions = [const { instruction(0, 0) }; LEN_MAX];
        let mut program = Self { instructions, len: 0, verdicts: end };
        program.push(instruction(LOAD, ARCHITECTURE));
        program.compare(IS_EQUAL, AUDIT_ARCH_X86_64, (2, end + KILLED));
        program.push(instruction(LOAD, NUMBER));
        program.search(&runs, &looks, (0, runs.len));
        let mut at = 0;
        while at < runs.len {
            if let Fares::ByArguments(arguments) = runs.all[at].fares {
                assert!(program.len == looks[at], "each is where it was thought to be");
                program.look_at(arguments, thread);
            }
            at += 1;
        }
        assert!(program.len == end, "and so are the verdicts");
        at = 0;
        while at < VERDICTS.len() {
            program.push(instruction(RETURN, VERDICTS[at]));
            at += 1;
        }
        program
    }

    /// Its instructions, which are `LEN`.
    pub(super) const fn exact<const LEN: usize>(&self) -> [sock_filter; LEN] {
        assert!(LEN == self.len, "none is left out");
        let mut exact = [const { instruction(0, 0) }; LEN];
        let mut at = 0;
        while at < LEN {
            let sock_filter { code, jt, jf, k } = self.instructions[at];
            exact[at] = sock_filter { code, jt, jf, k };
            at += 1;
        }
        exact
    }

    const fn push(&mut self, instruction: sock_filter) {
        self.instructions[self.len] = instruction;
        self.len += 1;
    }

    /// Goes to one place where what was loaded compares so with `value`, to the other where
    /// it does not.
    const fn compare(&mut self, how: u16, value: u32, (yes, no): (usize, usize)) {
        let (jt, jf) = (distance(self.len, yes), distance(self.len, no));
        self.push(sock_filter { code: how, jt, jf, k: value });
    }

    /// Goes to where the number's run is dealt with, of those in `some`: that takes one
    /// instruction less than there are runs.
    const fn search(&mut self, runs: &Runs, looks: &[usize; RUNS_MAX], some: (usize, usize)) {
        let (first, end) = some;
        if end - first == 1 {
            return;
        }
        let middle = usize::midpoint(first, end);
        let (below, above) = (self.len + 1, self.len + middle - first);
        let below = if middle - first == 1 { self.place(runs, looks, first) } else { below };
        let above = if end - middle == 1 { self.place(runs, looks, middle) } else { above };
        self.compare(IS_AT_LEAST, runs.all[middle].start, (above, below));
        self.search(runs, looks, (first, middle));
        self.search(runs, looks, (middle, end));
    }

    /// Where that run is dealt with.
    const fn place(&self, runs: &Runs, looks: &[usize; RUNS_MAX], run: usize) -> usize {
        match runs.all[run].fares {
            Fares::So(verdict) => self.verdicts + verdict,
            Fares::ByArguments(_) => looks[run],
        }
    }

    /// Allows a call whose arguments are these, and traps any other.
    const fn look_at(&mut self, arguments: Arguments, thread: Thread) {
        let mut at = 0;
        match arguments {
            Arguments::Masked { number, mask, value } => {
                self.push(instruction(LOAD, argument(number)));
                self.push(instruction(AND, mask));
                self.allow_or_go_on(value);
            }
            Arguments::Among { number, values } => {
                self.push(instruction(LOAD, argument(number)));
                while at < values.len() {
                    self.allow_or_go_on(values[at].cast_unsigned());
                    at += 1;
                }
            }
            Arguments::Ioctl => {
                self.push(instruction(LOAD, argument(1)));
                while at < ioctls::TABLE.len() {
                    if ioctls::TABLE[at].is_for(thread) {
                        self.allow_or_go_on(ioctls::TABLE[at].number);
                    }
                    at += 1;
                }
            }
            Arguments::Any | Arguments::Absent => {}
        }
        let trapped = self.verdicts + TRAPPED;
        self.instructions[self.len - 1].jf = distance(self.len - 1, trapped);
    }

    /// Allows the call where what was loaded is `value`.
    const fn allow_or_go_on(&mut self, value: u32) {
        self.compare(IS_EQUAL, value, (self.verdicts + ALLOWED, self.len + 1));
    }
}

/// Where arguments are looked at, by run, if that begins at `place`; and where it ends.
const fn places(runs: &Runs, mut place: usize, thread: Thread) -> ([usize; RUNS_MAX], usize) {
    let mut places = [0; RUNS_MAX];
    let mut at = 0;
    while at < runs.len {
        if let Fares::ByArguments(arguments) = runs.all[at].fares {
            places[at] = place;
            place += len_of(arguments, thread);
        }
        at += 1;
    }
    (places, place)
}

/// How many instructions look at arguments.
const fn len_of(arguments: Arguments, thread: Thread) -> usize {
    match arguments {
        Arguments::Masked { .. } => 3,
        Arguments::Among { values, .. } => 1 + values.len(),
        Arguments::Ioctl => {
            let (mut len, mut at) = (1, 0);
            while at < ioctls::TABLE.len() {
                len += ioctls::TABLE[at].is_for(thread) as usize;
                at += 1;
            }
            len
        }
        Arguments::Any | Arguments::Absent => 0,
    }
}

const fn instruction(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

/// Where the low half of that argument is.
const fn argument(number: u8) -> u32 {
    ARGUMENTS + ARGUMENT * number as u32
}

/// How far it is from the instruction at `from` to the one at `to`: 0 is to the next.
#[expect(clippy::cast_possible_truncation, reason = "it is asserted to fit")]
const fn distance(from: usize, to: usize) -> u8 {
    assert!(to > from && to - from <= LEN_MAX, "a jump goes on, and not too far");
    (to - from - 1) as u8
}
