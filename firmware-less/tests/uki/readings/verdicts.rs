//! The table of verdicts over a file.

use firmware_less::{
    acceptance::{accepting, verdicts},
    testing::{Counted, bzimage, uki},
    uki::{Reading, handed::Choice},
};

use super::whole;

#[test]
fn every_reading_has_its_row() {
    let file = whole().section(".initrd", "second").build();
    let rows = verdicts(&file, &Choice::default()).unwrap();
    let readings: Vec<_> = rows.iter().map(|(reading, _)| *reading).collect();
    assert_eq!(readings, Reading::ALL);
    let reasons: Vec<_> = rows
        .iter()
        .filter_map(|(reading, verdict)| Some((*reading, verdict.as_ref().err()?.reason())))
        .collect();
    let found = "section .initrd occurs twice in one profile, as entries 0x3 and 0x4 of the section \
                 table";
    let uapi = "sections are singletons, in the base and in each profile (UAPI.5, UKI Components)";
    let stub = "the stub takes the first since systemd 257, and took the last before \
                (systemd src/boot/pe.c)";
    assert_eq!(
        reasons,
        [
            (Reading::Stub, format!("{found}: {stub}")),
            (Reading::Uapi, format!("{found}: {uapi}")),
            (Reading::Bls, format!("{found}: {uapi}")),
        ]
    );
    let all = Reading::ALL.into_iter();
    let others = all.filter(|reading| reasons.iter().all(|(refusing, _)| refusing != reading));
    assert_eq!(accepting(&file, &Choice::default()), others.collect::<Vec<_>>());
}

#[test]
fn a_file_that_is_no_uki_has_no_rows() {
    for file in [
        Vec::new(),
        b"text".to_vec(),
        bzimage().build(),
        uki().section(".cmdline", "a").build(),
        whole().header(|header| header.machine = 0xaa64).build(),
    ] {
        assert!(verdicts(&file, &Choice::default()).is_err());
        assert_eq!(accepting(&file, &Choice::default()), []);
    }
}

#[test]
fn nothing_long_is_read() {
    let image = uki()
        .section(".osrel", "ID=test\n")
        .section(".cmdline", "quiet")
        .section(".linux", bzimage().protected_mode(vec![1; 1 << 20]).build())
        .section(".initrd", vec![2; 4 << 20]);
    let file = Counted::new(image.build());
    let rows = verdicts(&file, &Choice::default()).unwrap();
    assert!(rows.iter().all(|(_, verdict)| verdict.is_ok()));
    assert!(file.bytes_read() < 64 << 10, "{} bytes", file.bytes_read());
}
