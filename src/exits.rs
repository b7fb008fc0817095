//! How often a guest leaves its code for the monitor, and for what.

use std::iter::Sum;

use serde::{Serialize, Serializer};

/// The most ports that are told apart: a guest may try them all.
const PORTS_MAX: usize = 64;

/// Exits to the monitor, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Exits {
    /// Port reads.
    pub pio_in: u64,
    /// Port writes.
    pub pio_out: u64,
    /// Memory-mapped reads that no RAM backs.
    pub mmio_read: u64,
    /// Memory-mapped writes that no RAM backs.
    pub mmio_write: u64,
    /// HLT, where the engine sees it.
    pub halt: u64,
    /// Signals to the vCPU thread.
    pub interrupted: u64,
    /// All others.
    pub other: u64,
    /// Port reads and writes once more, by port, in the order in which the ports were
    /// first used; the first 64 of them.
    pub ports: Vec<PortExits>,
}

/// Exits for one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PortExits {
    /// Which.
    #[serde(serialize_with = "hexadecimal")]
    pub port: u16,
    /// Reads, or runs of reads by one string instruction.
    pub reads: u64,
    /// Writes, or runs of them.
    pub writes: u64,
}

impl Exits {
    /// An exit to read `port`.
    #[inline]
    pub fn read(&mut self, port: u16) {
        self.pio_in = self.pio_in.wrapping_add(1);
        self.add(PortExits { port, reads: 1, writes: 0 });
    }

    /// An exit to write to `port`.
    #[inline]
    pub fn write(&mut self, port: u16) {
        self.pio_out = self.pio_out.wrapping_add(1);
        self.add(PortExits { port, reads: 0, writes: 1 });
    }

    #[inline]
    fn add(&mut self, more: PortExits) {
        if let Some(known) = self.ports.iter_mut().find(|known| known.port == more.port) {
            known.reads = known.reads.wrapping_add(more.reads);
            known.writes = known.writes.wrapping_add(more.writes);
        } else if self.ports.len() < PORTS_MAX {
            self.ports.push(more);
        }
    }
}

impl Sum for Exits {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |mut sum, part| {
            part.ports.into_iter().for_each(|port| sum.add(port));
            Self {
                pio_in: sum.pio_in.wrapping_add(part.pio_in),
                pio_out: sum.pio_out.wrapping_add(part.pio_out),
                mmio_read: sum.mmio_read.wrapping_add(part.mmio_read),
                mmio_write: sum.mmio_write.wrapping_add(part.mmio_write),
                halt: sum.halt.wrapping_add(part.halt),
                interrupted: sum.interrupted.wrapping_add(part.interrupted),
                other: sum.other.wrapping_add(part.other),
                ports: sum.ports,
            }
        })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn hexadecimal<S: Serializer>(port: &u16, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{port:#x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_are_told_apart_by_port_and_summed_over_vcpus() {
        let [mut first, mut second] = [Exits::default(), Exits::default()];
        first.read(0x3fd);
        first.write(0x3f8);
        second.write(0x3f8);
        second.write(0x80);
        let sum: Exits = [first, second].into_iter().sum();
        assert_eq!((sum.pio_in, sum.pio_out), (1, 3));
        let ports: Vec<_> = sum.ports.iter().map(|p| (p.port, p.reads, p.writes)).collect();
        assert_eq!(ports, [(0x3fd, 1, 0), (0x3f8, 0, 2), (0x80, 0, 1)]);
        let json = serde_json::to_value(&sum).unwrap();
        assert_eq!(json["ports"][1]["port"], "0x3f8");
    }

    #[test]
    fn a_guest_that_tries_every_port_is_bounded_and_counted_all_the_same() {
        let mut exits = Exits::default();
        (0..=u16::MAX).for_each(|port| exits.read(port));
        assert_eq!((exits.pio_in, exits.ports.len()), (1 << 16, PORTS_MAX));
    }
}
