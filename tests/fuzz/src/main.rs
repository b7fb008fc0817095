//! All targets, for libFuzzer: `UKIVM_FUZZ` says which one. Without it, writes what each
//! of them begins with to a folder of its own in `corpus`, and says their names.
#![no_main]

use std::{env, fs, io, path::Path, process, sync::LazyLock};

use firmware_less::testing::fuzz::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = env::var("UKIVM_FUZZ").unwrap_or_default();
    all().find(|target| target.name == name).expect("UKIVM_FUZZ names a target")
});

fuzz_target!(
    init: {
        if env::var_os("UKIVM_FUZZ").is_none() {
            write_seeds().expect("a folder to write to");
            process::exit(0);
        }
    },
    |bytes: &[u8]| (TARGET.run)(bytes)
);

fn all() -> impl Iterator<Item = Target> {
    TARGETS.into_iter().chain(ukivm::devices::fuzz::TARGETS)
}

fn write_seeds() -> io::Result<()> {
    for target in all() {
        let folder = Path::new("corpus").join(target.name);
        fs::create_dir_all(&folder)?;
        for (number, seed) in (target.seeds)().into_iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
        println!("{}", target.name);
    }
    Ok(())
}
