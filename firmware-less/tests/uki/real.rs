//! UKIs that real tools made, where there are any.

use std::{fs, path::Path};

use firmware_less::{
    kernel::Kernel,
    uki::{Handed, Uki, handed::Choice},
};

/// Names a UKI, or several with `:` between them.
const VARIABLE: &str = "UKIVM_TEST_UKI";

#[test]
#[expect(clippy::print_stdout, reason = "a test that could not run says so")]
fn what_real_tools_write_is_accepted() {
    let Some(paths) = std::env::var_os(VARIABLE) else {
        println!("skipped: {VARIABLE} names no UKI");
        return;
    };
    for path in std::env::split_paths(&paths) {
        let (handed, kernel) = read(&path);
        assert_eq!(handed.kernel.range.end(), kernel.protected_mode().end(), "{}", path.display());
        assert!(kernel.payload().is_some(), "{}", path.display());
    }
}

fn read(path: &Path) -> (Handed, Kernel) {
    let file = fs::read(path).unwrap();
    let name = path.display();
    let uki = Uki::read(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
    let handed = Handed::read(&file, &uki, &Choice::default())
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let kernel =
        Kernel::read(&file, handed.kernel.range).unwrap_or_else(|error| panic!("{name}: {error}"));
    (handed, kernel)
}
