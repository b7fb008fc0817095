//! `ukivm measure`: the values of PCR 11, in the forms of `systemd-measure`.

use std::{collections::BTreeMap, io::Write as _};

use firmware_less::uki::{
    Profile, Uki, handed,
    pcr11::{self, Bank, Pcr11, PhasePath},
    pcrsig::{PcrSignature, PcrSignatures},
};
use serde::Serialize;

use crate::{
    cli::MeasureOptions,
    commands::{json_file::JsonFile, print},
    digest::hex,
    error::Error,
    exit,
    files::{Files, OpenFile},
    messages::{chain, say},
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
    let uki = Uki::read(files.uki())
        .map_err(|source| Error::Uki { path: options.image.clone(), source })?;
    let profile = profile(options, files.uki(), &uki)?;
    if options.check {
        return check(options, files.uki(), &uki, &profile, json);
    }
    let values = values(options, files.uki(), &profile)?;
    let mut phases = options.phase.clone();
    if phases.is_empty() {
        phases = PhasePath::defaults();
    }
    phases.sort_unstable();
    phases.dedup();
    if let Some(file) = json {
        file.write(&report(&values, &phases))?;
    } else {
        phases.iter().try_for_each(|path| tell(&values, path))?;
        tell_wrong(options, files.uki(), &uki, &profile);
    }
    Ok(0)
}

/// The profile that the values are of.
fn profile<'a>(
    options: &MeasureOptions,
    file: &OpenFile,
    uki: &'a Uki,
) -> Result<Profile<'a>, Error> {
    let not_handed = |source| Error::Handed { path: options.image.clone(), source };
    let number = options.profile.find(file, uki).map_err(|error| not_handed(error.into()))?;
    let profile = uki.profile(number).map_err(|error| not_handed(error.into()))?;
    // The stub measures nothing of a profile that it can't boot.
    profile.linux().map_err(|error| not_handed(handed::Error::from(error)))?;
    Ok(profile)
}

/// Says of each signature in `.pcrsig` whether it is good.
fn check(
    options: &MeasureOptions,
    file: &OpenFile,
    uki: &Uki,
    profile: &Profile<'_>,
    json: Option<JsonFile>,
) -> Result<u8, Error> {
    let refused = |source| Error::Pcrsig { path: options.image.clone(), source };
    let checked = PcrSignatures::check(file, uki, profile, &options.phase).map_err(refused)?;
    let Some(checked) = checked else {
        return Err(Error::NoPcrsig { path: options.image.clone() });
    };
    if let Some(file) = json {
        file.write(&checked.0.iter().map(Signature::new).collect::<Vec<_>>())?;
    } else {
        let lines = checked.0.iter().map(|one| format!("{one}\n"));
        print(&lines.collect::<Vec<_>>().concat())?;
    }
    if checked.0.is_empty() {
        say(&format!("{}: section .pcrsig has no signatures", options.image.display()));
    }
    Ok(if checked.are_good() { 0 } else { exit::DATA })
}

/// One signature in JSON.
#[derive(Debug, Serialize)]
struct Signature<'a> {
    bank: &'a str,
    pcrs: &'a [u32],
    policy: &'a str,
    reference: Option<&'a str>,
    profile: Option<usize>,
    phase: Option<String>,
    good: bool,
    wrong: Vec<&'static str>,
}

impl<'a> Signature<'a> {
    fn new(one: &'a PcrSignature) -> Self {
        let wrong = one.wrong();
        Self {
            bank: &one.bank,
            pcrs: &one.pcrs,
            policy: &one.policy,
            reference: one.reference.as_deref(),
            profile: one.of.as_ref().map(|moment| moment.profile),
            phase: one.of.as_ref().map(|moment| moment.path.to_string()),
            good: wrong.is_empty(),
            wrong,
        }
    }
}

/// Says on standard error what is wrong with the signatures, if there are some:
/// the values are right all the same.
fn tell_wrong(options: &MeasureOptions, file: &OpenFile, uki: &Uki, profile: &Profile<'_>) {
    match PcrSignatures::check(file, uki, profile, &options.phase) {
        Ok(None) => {}
        Ok(Some(checked)) if checked.are_good() => {
            say(&format!(".pcrsig: all {} signatures are good", checked.0.len()));
        }
        Ok(Some(checked)) => {
            let wrong = checked.0.iter().filter(|one| !one.wrong().is_empty());
            wrong.for_each(|one| say(&format!("warning: .pcrsig: {one}")));
        }
        Err(error) => say(&format!("warning: {}", chain(&error))),
    }
}

/// The values that the stub leaves, one for each bank, sorted by its name.
fn values(
    options: &MeasureOptions,
    file: &OpenFile,
    profile: &Profile<'_>,
) -> Result<Vec<Pcr11>, Error> {
    let mut banks: Vec<_> = options.bank.iter().map(|&bank| Bank::from(bank)).collect();
    if banks.is_empty() {
        banks = Bank::ALL.into();
    }
    banks.sort_unstable();
    banks.dedup();
    Pcr11::read(file, profile, &banks)
        .map_err(|source| Error::Measure { path: options.image.clone(), source })
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
