//! The arms that are asked for.

use std::env;

use crate::{
    bench::{
        arm::{Arm, Ukivm},
        arms::{CloudHypervisor, Firecracker, Firmware, Kexec, Qemu},
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
    let program = env::current_exe()
        .map_err(|source| Error::Host { what: "can't find this program", source })?;
    let arguments = env::args_os().skip(1).collect();
    let other: Box<dyn Arm> = match arm {
        ArmOption::Ukivm => Box::new(Ukivm::new(engine, program, arguments)),
        ArmOption::Direct => Box::new(Ukivm::new(engine, program, arguments).direct()),
        ArmOption::Kexec => Box::new(Kexec::new(engine, program, arguments)),
        ArmOption::Firmware => Box::new(Firmware { engine }),
        ArmOption::Qemu => Box::new(Qemu { engine }),
        ArmOption::Firecracker => Box::new(Firecracker { engine }),
        ArmOption::CloudHypervisor => Box::new(CloudHypervisor { engine }),
    };
    Ok(other)
}
