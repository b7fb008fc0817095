//! That the readings do differ, and how little it takes.

use firmware_less::{
    testing::{Image, uki},
    uki::{Reading, handed::Choice},
};

use super::{kernel, plain, verdict, whole};

/// Files and choices that are read differently.
fn jobs() -> Vec<(Image, Choice)> {
    let line = Choice { cmdline: Some("debug".into()), ..plain() };
    let linux = || uki().section(".linux", kernel());
    vec![
        (whole(), plain()),
        (linux(), plain()),
        (linux().section(".initrd", "a"), plain()),
        (linux().section(".initrd", "a").section(".cmdline", "a"), line),
        (linux().section(".osrel", "a").section(".cmdline", "a"), plain()),
        (whole().section(".initrd", "b"), plain()),
    ]
}

/// Since 2025 UAPI.1 leaves it to UAPI.5 what a UKI is.
#[test]
fn any_two_readings_differ_but_for_the_specifications_of_today() {
    let jobs: Vec<_> = jobs().into_iter().map(|(image, choice)| (image.build(), choice)).collect();
    let all = |reading| {
        let verdicts = jobs.iter().map(|(file, choice)| verdict(file, reading, choice).ok());
        verdicts.collect::<Vec<_>>()
    };
    for (place, one) in Reading::ALL.into_iter().enumerate() {
        for other in Reading::ALL.into_iter().skip(place + 1) {
            let same = (one, other) == (Reading::Uapi, Reading::Bls);
            assert_eq!(all(one) == all(other), same, "{one} and {other}");
        }
    }
}

#[test]
fn an_empty_kernel_is_refused_by_every_reading() {
    let image = uki()
        .section(".osrel", "ID=test\n")
        .section(".cmdline", "a")
        .section(".initrd", "a")
        .section(".linux", "");
    let file = image.build();
    for reading in Reading::ALL {
        let refusal = verdict(&file, reading, &plain()).expect_err(reading.as_str());
        let wanted = match reading {
            Reading::Stub => {
                "section .linux is empty (VirtualSize 0x0): there is no kernel; refused"
            }
            Reading::BpfV7 => "section .linux is missing; refused as bpf-v7",
            _ => "section .linux: the kernel has 0x0 bytes, a bzImage has at least",
        };
        assert!(refusal.starts_with(wanted), "{reading}: {refusal}");
    }
}
