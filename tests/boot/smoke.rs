//! Verdicts on whole kernels.

use serde_json::Value;

use super::Boot;
use crate::{
    smoke::forms::result,
    support::{Scratch, skip},
};

/// What a kernel is made to do, and the verdict that it has to get.
struct Case {
    image: &'static str,
    options: &'static [&'static str],
    /// Behind `--`.
    words: &'static [&'static str],
    status: i32,
    cause: &'static str,
}

const GUEST: &str = "corpus/6.12-zstd-ukify.efi";

const CASES: &[Case] = &[
    Case { image: "demo.efi", options: &[], words: &[], status: 0, cause: "proven" },
    Case { image: GUEST, options: &[], words: &[], status: 0, cause: "proven" },
    Case {
        image: GUEST,
        options: &["--expect=nproc=1", "--expect=^ukivm-guest: ready$"],
        words: &["ukivm.end=reboot"],
        status: 0,
        cause: "proven",
    },
    Case {
        image: GUEST,
        options: &["--expect=ukivm-guest: ready"],
        words: &["ukivm.end=panic"],
        status: 101,
        cause: "sysrq-crash",
    },
    Case {
        image: GUEST,
        options: &["--settle=1s", "--expect=ukivm-guest: ready"],
        words: &["ukivm.end=sleep"],
        status: 0,
        cause: "proven",
    },
    Case {
        image: GUEST,
        options: &["--expect-status=5"],
        words: &["ukivm.end=status:5"],
        status: 0,
        cause: "proven",
    },
    Case {
        image: GUEST,
        options: &["--expect=ukivm-guest: ready"],
        words: &["ukivm.end=status:6"],
        status: 6,
        cause: "guest-status",
    },
    Case {
        image: GUEST,
        options: &["--expect=never printed"],
        words: &[],
        status: 100,
        cause: "power-off-without-proof",
    },
    Case {
        image: "no-initrd-6.12.efi",
        options: &[],
        words: &[],
        status: 101,
        cause: "root-missing",
    },
    Case {
        image: GUEST,
        options: &["--cmdline=console=ttyS1 quiet", "--silence-timeout=30s"],
        words: &["ukivm.end=sleep"],
        status: 104,
        cause: "silence",
    },
];

fn report(test: &str, case: &Case) -> Option<Value> {
    let boot = Boot::of(test, case.image)?;
    let image = boot.image.display().to_string();
    let fixed = ["smoke", "--engine=tcg", "--format=json", &image];
    let arguments = fixed.iter().chain(case.options).chain(&["--"]).chain(case.words);
    let ran = Scratch::new().ukivm(arguments);
    let report = result(&ran.stdout);
    assert_eq!(report["exit_status"], ran.status.unwrap_or(-1));
    Some(report)
}

#[test]
fn kernels_get_the_verdicts_that_they_deserve() {
    let test = "kernels_get_the_verdicts_that_they_deserve";
    if let Err(error) = ukivm::engine::tcg::qemu() {
        return skip(test, &format!("no TCG: {error}"));
    }
    let mut wrong = Vec::new();
    for case in CASES {
        let Some(report) = report(test, case) else { continue };
        let Case { image, options, words, status, cause } = case;
        if report["exit_status"] != *status || report["cause"] != *cause {
            wrong.push(format!("{image} {options:?} {words:?}: {report:#}"));
        }
        if *status == 101 {
            let excerpt = report["findings"][0]["excerpt"].to_string();
            assert!(excerpt.contains("Call Trace:") && excerpt.contains("Kernel Offset"));
        }
        if *status == 104 {
            let said = report["explanation"].as_str().expect("a text");
            assert!(said.contains("vCPU 0 is halted") && said.contains("console=ttyS1"), "{said}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
