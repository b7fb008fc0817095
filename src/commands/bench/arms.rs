//! The arms that are asked for.

use std::env;

use crate::{
    bench::{
        arm::{Arm, Ukivm},
        arms,
    },
    cli::{ArmOption, BenchOptions},
    engine::Kind,
    error::Error,
};

/// Each arm once, in the order of the options.
pub(super) fn arms(options: &BenchOptions, engine: Kind) -> Result<Vec<Box<dyn Arm>>, Error> {
    let mut wanted: Vec<ArmOption> = Vec::new();
    for arm in &options.arm {
        if !wanted.contains(arm) {
            wanted.push(*arm);
        }
    }
    wanted.into_iter().map(|arm| make(arm, engine)).collect()
}

fn make(arm: ArmOption, engine: Kind) -> Result<Box<dyn Arm>, Error> {
    let program = || {
        let found = env::current_exe();
        found.map_err(|source| Error::Host { what: "can't find this program", source })
    };
    let arguments = || env::args_os().skip(1).collect();
    Ok(match arm {
        ArmOption::Ukivm => Box::new(Ukivm::new(engine, program()?, arguments())),
        ArmOption::Kexec => arms::kexec(engine, program()?, arguments()),
        ArmOption::Firmware => arms::firmware(engine),
        ArmOption::Qemu => arms::qemu(engine),
        ArmOption::Firecracker => arms::firecracker(engine),
        ArmOption::CloudHypervisor => arms::cloud_hypervisor(engine),
    })
}
