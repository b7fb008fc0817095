//! Resident memory outside the guest's RAM.

use std::{fs, io::Read as _, sync::mpsc, thread};

use serde::Serialize;

use crate::{Result, arm::Arm, guest::OnDisk};

/// Resident pages outside the mapping that is guest RAM, in KiB: program text,
/// libraries, heap, stacks, and what the kernel maps for a vCPU.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Resident {
    /// The most that was seen from the start to the guest's first instruction.
    pub(crate) peak_kib: u64,
    /// At the guest's first instruction, where it waits.
    pub(crate) at_entry_kib: u64,
    /// How often that was looked at before.
    pub(crate) samples: usize,
}

/// Boots `waiting`, whose guest stops after its first byte, and looks at the
/// program's mappings over and over until then, and once after.
pub(crate) fn peak(arm: &Arm, waiting: &OnDisk) -> Result<Resident> {
    let mut child = arm.command(waiting, &waiting.path.with_extension("json"))?.spawn()?;
    let mut stdout = child.stdout.take().ok_or("no pipe")?;
    let (sender, entered) = mpsc::channel();
    let reader = thread::spawn(move || sender.send(stdout.read_exact(&mut [0])));
    let smaps = format!("/proc/{}/smaps", child.id());
    let mut peak = Resident { peak_kib: 0, at_entry_kib: 0, samples: 0 };
    let said = loop {
        let sample = beside_guest_ram(&fs::read_to_string(&smaps)?);
        peak.peak_kib = peak.peak_kib.max(sample);
        peak.samples += 1;
        if let Ok(said) = entered.try_recv() {
            break said;
        }
    };
    peak.at_entry_kib = beside_guest_ram(&fs::read_to_string(&smaps)?);
    peak.peak_kib = peak.peak_kib.max(peak.at_entry_kib);
    child.kill()?;
    child.wait()?;
    drop(reader.join());
    said.map_err(|error| format!("{arm} ended before the guest ran: {error}"))?;
    Ok(peak)
}

/// The resident KiB of all mappings but the guest's RAM, for which alone huge pages
/// are asked for.
fn beside_guest_ram(smaps: &str) -> u64 {
    let kib = |line: &str| -> Option<u64> {
        line.strip_prefix("Rss:")?.trim_end_matches("kB").trim().parse().ok()
    };
    let (mut sum, mut resident) = (0, 0);
    for line in smaps.lines() {
        if let Some(rss) = kib(line) {
            resident = rss;
        } else if let Some(flags) = line.strip_prefix("VmFlags:")
            && !flags.split_whitespace().any(|flag| flag == "hg")
        {
            sum += resident;
        }
    }
    sum
}
