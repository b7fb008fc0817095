//! `ukivm measure`: the values of PCR 11, in the forms of `systemd-measure`.

use std::{collections::BTreeMap, io::Write as _};

use firmware_less::uki::{
    Uki, handed,
    pcr11::{self, Bank, Pcr11, PhasePath},
};
use serde::Serialize;

use crate::{
    cli::MeasureOptions,
    commands::{json_file::JsonFile, print},
    digest::hex,
    error::Error,
    files::{Files, OpenFile},
};

/// One value, as `systemd-measure calculate --json` gives it.
#[derive(Debug, Serialize)]
struct Value {
    #[serde(skip_serializing_if = "String::is_empty")]
    phase: String,
    pcr: u32,
    hash: String,
}

/// Prints the values.
pub fn run(options: &MeasureOptions) -> Result<u8, Error> {
    let file = OpenFile::open(&options.image)
        .map_err(|source| Error::File { path: options.image.clone(), source })?;
    let mut files = Files::default();
    files.push(file);
    let json = options.json.as_deref().map(|path| JsonFile::prepare(path, &files)).transpose()?;
    let values = values(options, files.uki())?;
    let mut phases = options.phase.clone();
    if phases.is_empty() {
        phases = PhasePath::defaults();
    }
    phases.sort_unstable();
    phases.dedup();
    match json {
        Some(file) => file.write(&report(&values, &phases))?,
        None => phases.iter().try_for_each(|path| tell(&values, path))?,
    }
    Ok(0)
}

/// The values that the stub leaves, one for each bank, sorted by its name.
fn values(options: &MeasureOptions, file: &OpenFile) -> Result<Vec<Pcr11>, Error> {
    let path = || options.image.clone();
    let uki = Uki::read(file).map_err(|source| Error::Uki { path: path(), source })?;
    let not_handed = |source| Error::Handed { path: path(), source };
    let number = options.profile.find(file, &uki).map_err(|error| not_handed(error.into()))?;
    let profile = uki.profile(number).map_err(|error| not_handed(error.into()))?;
    // The stub measures nothing of a profile that it can't boot.
    profile.linux().map_err(|error| not_handed(handed::Error::from(error)))?;
    let mut banks: Vec<_> = options.bank.iter().map(|&bank| Bank::from(bank)).collect();
    if banks.is_empty() {
        banks = Bank::ALL.into();
    }
    banks.sort_unstable();
    banks.dedup();
    Pcr11::read(file, &profile, &banks).map_err(|source| Error::Measure { path: path(), source })
}

fn report<'a>(values: &'a [Pcr11], phases: &[PhasePath]) -> BTreeMap<&'a str, Vec<Value>> {
    let of_bank = |value: &'a Pcr11| {
        let after = |path: &PhasePath| Value {
            phase: path.to_string(),
            pcr: pcr11::INDEX,
            hash: hex(&value.after(path).value),
        };
        (value.bank.as_str(), phases.iter().map(after).collect())
    };
    values.iter().map(of_bank).collect()
}

/// Prints the values after `path`. As with `systemd-measure`, its name goes to
/// standard error, so that standard output has values only.
fn tell(values: &[Pcr11], path: &PhasePath) -> Result<(), Error> {
    let name = if path.is_empty() { ":".to_owned() } else { path.to_string() };
    // Nobody may be listening.
    drop(writeln!(std::io::stderr(), "# PCR[{}] Phase <{name}>", pcr11::INDEX));
    let line = |value: &Pcr11| {
        let hash = hex(&value.after(path).value);
        format!("{}:{}={hash}\n", pcr11::INDEX, value.bank)
    };
    print(&values.iter().map(line).collect::<Vec<_>>().concat())
}
