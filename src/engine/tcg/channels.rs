//! What connects us and QEMU: sockets, pipes and anonymous files, nothing with a
//! name.

use std::{
    fs::File,
    io::{self, PipeReader, PipeWriter},
    os::{
        fd::{AsRawFd as _, OwnedFd, RawFd},
        unix::{fs::FileExt as _, net::UnixStream},
    },
};

use super::{
    Error,
    arguments::{CountingNumbers, Numbers},
    memory::Memory,
    qmp,
};
use crate::{
    child::{Standard, Text, anonymous_file},
    session::PowerButton,
};

/// Our ends.
#[derive(Debug)]
pub(super) struct Channels {
    /// QMP.
    pub(super) qmp: UnixStream,
    /// What the guest writes to the serial port.
    ///
    /// A pipe, though a socket could carry input too: QEMU writes byte by byte, and
    /// where bytes come one by one a socket is full after some 280 of them. The
    /// guest then waits, and Linux waits 10 ms for a byte before it writes the
    /// next one over it.
    pub(super) serial: PipeReader,
    /// What it writes to its other console, if it has one. A pipe that holds much: what finds no
    /// room QEMU drops, since Linux waits with a lock held (hw/char/virtio-console.c,
    /// `flush_buf`).
    pub(super) console: Option<PipeReader>,
    /// What it is to read, there if it has one, or else at the serial port.
    pub(super) input: UnixStream,
    /// What the guest writes to the exit port.
    pub(super) exit: UnixStream,
    /// What the guest writes to the milestone port.
    pub(super) milestone: UnixStream,
    /// QEMU's log.
    pub(super) log: Text,
    /// QEMU's errors.
    pub(super) said: Text,
    /// What only a counted run has.
    pub(super) counting: Option<Counting>,
}

/// Our ends of what only a counted run has.
#[derive(Debug)]
pub(super) struct Counting {
    /// What is written to the port of the mark.
    pub(super) mark: UnixStream,
    /// The gdb stub, and where it is to stop the guest.
    pub(super) stub: Option<(UnixStream, u64)>,
    /// The replay log.
    replay: File,
}

/// Whether instructions are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    /// They are not.
    No,
    /// As long as the run takes.
    All,
    /// Up to that at this address.
    UpTo(u64),
}

/// QEMU's ends, and their numbers.
#[derive(Debug)]
pub(super) struct QemuEnds {
    pub(super) numbers: Numbers,
    pub(super) files: Vec<OwnedFd>,
    /// The serial port, and where errors go.
    pub(super) standard: Standard,
    /// Arguments for devices, which say which files are theirs.
    pub(super) devices: Vec<String>,
}

impl Channels {
    /// Everything between us and a QEMU that runs `rom` over `memory`, and counts what
    /// it runs if that is wanted.
    pub(super) fn open(
        memory: &Memory,
        rom: &[u8],
        count: Count,
    ) -> Result<(Self, QemuEnds), Error> {
        let (qmp, their_qmp) = pair("a QMP socket")?;
        let (serial, their_serial) = made("a serial pipe", io::pipe())?;
        let (input, their_input) = pair("a socket for serial input")?;
        let (exit, their_exit) = pair("an exit port socket")?;
        let (milestone, their_milestone) = pair("a milestone port socket")?;
        let log = made("QEMU's log", Text::create())?;
        let said = made("QEMU's error output", Text::create())?;

        let mut files = Vec::new();
        let mut give = |file: OwnedFd| {
            let number = file.as_raw_fd();
            files.push(file);
            number
        };
        let (counting, counting_numbers) = counting(count, &mut give)?.unzip();
        if counting.is_some() {
            // Whatever does not fit at once is counted wrong.
            rustix::pipe::fcntl_setpipe_size(&serial, LARGE_PIPE).ok();
        }
        let numbers = Numbers {
            ram: give(made("QEMU's guest RAM", memory.file().try_clone())?.into()),
            rom: give(made("the boot ROM", rom_file(rom))?.into()),
            log: give(made("QEMU's log", log.handle())?.into()),
            qmp: give(their_qmp.into()),
            exit: give(their_exit.into()),
            milestone: give(their_milestone.into()),
            serial: None,
            counting: counting_numbers,
        };
        let error = made("QEMU's error output", said.handle())?.into();
        let standard = Standard { input: their_input.into(), output: their_serial.into(), error };
        let console = None;
        let channels = Self { qmp, serial, console, input, exit, milestone, log, said, counting };
        let devices = Vec::new();
        Ok((channels, QemuEnds { numbers, files, standard, devices }))
    }

    /// Gives the guest a console beside the serial port: what is typed is for that one then.
    pub(super) fn add_console(&mut self, ends: &mut QemuEnds) -> Result<(), Error> {
        let (console, theirs) = made("a pipe for a console", io::pipe())?;
        rustix::pipe::fcntl_setpipe_size(&console, LARGE_PIPE).ok();
        let serial = std::mem::replace(&mut ends.standard.output, theirs.into());
        ends.numbers.serial = Some(serial.as_raw_fd());
        ends.files.push(serial);
        self.console = Some(console);
        Ok(())
    }

    /// The replay log of a counted run whose QEMU has ended; empty if it was none.
    pub(super) fn replay_log(&self) -> io::Result<Vec<u8>> {
        let Some(Counting { replay, .. }) = &self.counting else { return Ok(Vec::new()) };
        let len = replay.metadata()?.len();
        let mut log = vec![0; firmware_less::range::index(len)];
        replay.read_exact_at(&mut log, 0)?;
        Ok(log)
    }

    /// A second handle to the serial port's input.
    pub(super) fn serial_input(&self) -> Result<UnixStream, Error> {
        made("a socket for serial input", self.input.try_clone())
    }

    /// What presses the chipset's power button.
    pub(super) fn power_button(&self) -> Result<Button, Error> {
        made("a second handle to QMP", self.qmp.try_clone()).map(Button)
    }
}

/// The power button, by QMP. Whoever else writes there writes a line at a time too, and
/// a socket takes one whole.
#[derive(Debug)]
pub(super) struct Button(UnixStream);

impl PowerButton for Button {
    fn press(&self) {
        qmp::press_power_button(&self.0);
    }
}

/// As much as anybody may ask for, unless root says otherwise.
const LARGE_PIPE: usize = 1 << 20;

fn counting(
    count: Count,
    give: &mut dyn FnMut(OwnedFd) -> RawFd,
) -> Result<Option<(Counting, CountingNumbers)>, Error> {
    let stub = match count {
        Count::No => return Ok(None),
        Count::All => None,
        Count::UpTo(address) => Some((pair("a gdb stub's socket")?, address)),
    };
    let (stub, their_stub) = stub.map(|((ours, theirs), at)| ((ours, at), theirs)).unzip();
    let (mark, their_mark) = pair("a socket for the mark")?;
    let replay = made("QEMU's replay log", anonymous_file())?;
    let numbers = CountingNumbers {
        replay: give(made("QEMU's replay log", replay.try_clone())?.into()),
        mark: give(their_mark.into()),
        stub: their_stub.map(|stub| give(stub.into())),
    };
    Ok(Some((Counting { mark, stub, replay }, numbers)))
}

/// Two ends that tell that a session is over: the one can be read when the
/// other is dropped.
pub(super) fn over() -> Result<(PipeReader, PipeWriter), Error> {
    made("a pipe", io::pipe())
}

fn pair(what: &'static str) -> Result<(UnixStream, UnixStream), Error> {
    made(what, UnixStream::pair())
}

fn rom_file(rom: &[u8]) -> io::Result<File> {
    let file = anonymous_file()?;
    file.write_all_at(rom, 0)?;
    Ok(file)
}

fn made<T>(what: &'static str, result: io::Result<T>) -> Result<T, Error> {
    result.map_err(|source| Error::Channel { what, source })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use firmware_less::machine::Machine;

    use super::*;

    #[test]
    fn the_serial_port_takes_a_boot_log_byte_by_byte_while_nobody_reads() {
        let memory = Memory::create(&Machine::new(1 << 30, 1).unwrap()).unwrap();
        let (channels, ends) = Channels::open(&memory, b"rom", Count::No).unwrap();
        rustix::io::ioctl_fionbio(&ends.standard.output, true).unwrap();
        let mut serial = File::from(ends.standard.output);
        let taken = (0..40_000).take_while(|_| serial.write(b"x").is_ok()).count();
        assert_eq!(taken, 40_000);
        drop(channels);
    }
}
