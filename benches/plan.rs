//! From the bytes of a UKI to its boot plan, without any I/O.
#![expect(clippy::expect_used, reason = "a benchmark stops where it can't measure")]

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use firmware_less::{
    handoff::kexec::{self, Flavour, Options, Platform, SEED_LEN},
    kernel::Kernel,
    machine::Machine,
    plan::BootPlan,
    testing::{bzimage, uki},
    uki::{
        Uki,
        handed::{Choice, Handed},
    },
};

const GIB: u64 = 1 << 30;

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(3));
    targets = all
}
criterion_main!(benches);

fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    let small = image(0);
    for (name, memory) in [("1 GiB", GIB), ("6 GiB", 6 * GIB), ("64 GiB", 64 * GIB)] {
        let machine = machine(memory);
        group.bench_function(name, |b| b.iter(|| plan(black_box(&small), black_box(&machine))));
    }
    let machine = machine(GIB);
    for sections in [100, 10_000] {
        let many = image(sections);
        let name = format!("1 GiB, {sections} more sections");
        group.bench_function(name, |b| b.iter(|| plan(black_box(&many), black_box(&machine))));
    }
    group.finish();
}

fn machine(memory: u64) -> Machine {
    Machine::new(memory, 2).expect("a machine that can be")
}

/// A UKI as ukify makes them, and as many sections more that mean nothing.
fn image(more: usize) -> Vec<u8> {
    let image = uki()
        .section(".osrel", "ID=debian\n")
        .section(".uname", "6.12.0-amd64")
        .section(".cmdline", "console=ttyS0 root=/dev/vda1 quiet")
        .section(".linux", bzimage().build())
        .section(".initrd", vec![0x5a; 100_000]);
    (0..more).fold(image, |image, _| image.section(".more", "more")).build()
}

/// All that comes between the bytes of a UKI and the plan.
fn plan(image: &Vec<u8>, machine: &Machine) -> BootPlan {
    let uki = Uki::read(image).expect("a UKI");
    let handed = Handed::read(image, &uki, &Choice::default()).expect("something to hand over");
    let kernel = Kernel::read(image, handed.kernel.range).expect("a kernel");
    let options = Options { flavour: Flavour::Modern, seed: [0; SEED_LEN] };
    let kexec = kexec::lay_out(machine, Platform::of(machine), &kernel, &handed, &options)
        .expect("room for everything");
    kexec.plan(None).expect("a plan")
}
