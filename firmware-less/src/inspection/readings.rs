//! [`ReadingFacts`]: what each reading makes of a UKI.

use crate::{
    acceptance::{Accepted, Refusal},
    read_at::ReadAt,
    uki::{self, Handed, Headers, Reading, handed::Choice},
};

/// What one reading makes of it.
#[derive(Debug)]
pub struct ReadingFacts {
    /// Whose.
    pub reading: Reading,
    /// What it hands over, or why it refuses.
    pub verdict: Result<Given, Refusal>,
}

/// What a reading hands over, by lengths in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The kernel's.
    pub kernel: u64,
    /// The whole initrd's.
    pub initrd: u64,
    /// The command line's, with what pads it, its NUL not counted.
    pub cmdline: u64,
    /// In what it is something else than [`Reading::Stub`] hands over; `None` for
    /// that reading itself, and where it refuses.
    pub unlike_stub: Option<Unlike>,
}

/// What is not the same, be it as long or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unlike {
    /// The kernel.
    pub kernel: bool,
    /// The initrd.
    pub initrd: bool,
    /// The command line.
    pub cmdline: bool,
}

/// What every reading makes of `source`, one after the other so that little is held
/// at a time; an error where it is no UKI by any.
pub(super) fn of(
    source: &(impl ReadAt + ?Sized),
    choice: &Choice,
) -> Result<Vec<ReadingFacts>, uki::Error> {
    Headers::of_uki(source)?;
    let handed = |reading| Accepted::read(source, reading, choice).map(|accepted| accepted.handed);
    let stub = handed(Reading::Stub).ok();
    let facts = |reading| ReadingFacts {
        reading,
        verdict: handed(reading)
            .map(|handed| given(&handed, stub.as_ref().filter(|_| reading != Reading::Stub))),
    };
    Ok(Reading::ALL.into_iter().map(facts).collect())
}

fn given(handed: &Handed, stub: Option<&Handed>) -> Given {
    let line = |handed: &Handed| (handed.cmdline.clone(), handed.cmdline_padding);
    Given {
        kernel: handed.kernel.range.len(),
        initrd: handed.initrd_len(),
        cmdline: handed.cmdline_len(),
        unlike_stub: stub.map(|stub| Unlike {
            kernel: handed.kernel != stub.kernel,
            initrd: handed.initrd != stub.initrd,
            cmdline: line(handed) != line(stub),
        }),
    }
}
