//! Everything that can go wrong on our side of a run, and the exit status of each.

use std::{io, path::PathBuf};

use firmware_less::{
    acceptance::Refusal,
    handoff::kexec,
    inspection, machine, plan, smbios,
    uki::{self, Reading, addon, authenticode, handed, pcr11, pcrsig},
};
use thiserror::Error;

use crate::{
    attached,
    cli::Publish,
    credentials, engine, exit, files,
    outcome::Signal,
    probe, symbols,
    verdict::lists,
    verify::{self, TrustError},
};

/// What a command failed of. Its message follows `ukivm: `.
#[derive(Debug, Error)]
pub enum Error {
    /// A file of the job can't be used.
    #[error("{}", path.display())]
    File {
        /// As the user named it.
        path: PathBuf,
        /// Why not.
        #[source]
        source: files::Error,
    },
    /// A disk can't be had.
    #[error("{}", path.display())]
    Disk {
        /// As the user named it.
        path: PathBuf,
        /// Why not.
        #[source]
        source: attached::Error,
    },
    /// A folder can't be shared.
    #[error("--share {}", path.display())]
    Share {
        /// As the user named it.
        path: PathBuf,
        /// Why not.
        #[source]
        source: attached::ShareError,
    },
    /// Ports are published of a guest that has none.
    #[error("--publish {port} is for a guest with --net user, and this one has none")]
    NothingToPublish {
        /// The first.
        port: Publish,
    },
    /// Reading a file failed.
    #[error("{}: reading it failed", path.display())]
    Read {
        /// As the user named it.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A file that was to be written can't be.
    #[error("{}: writing it failed", path.display())]
    Write {
        /// As the user named it.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The report would replace what is to be booted.
    #[error("{}: is a file of this very run, and is not to be written", path.display())]
    SameFile {
        /// As the user named it.
        path: PathBuf,
    },
    /// A folder that is to be filled has something in it.
    #[error("{}: is not empty, and what is there is not to be mixed with what is written", path.display())]
    FolderInUse {
        /// As the user named it.
        path: PathBuf,
    },
    /// A System.map can't be used.
    #[error("{}", path.display())]
    SystemMap {
        /// As the user named it.
        path: PathBuf,
        /// Why not.
        #[source]
        source: symbols::Error,
    },
    /// A list of regular expressions can't be used.
    #[error("{}", path.display())]
    List {
        /// As the user named it.
        path: PathBuf,
        /// Why not.
        #[source]
        source: lists::Error,
    },
    /// A shard without a UKI, which would pass without having booted anything.
    #[error("shard {number}/{of} has none of the {images} UKIs; give at most {images} shards")]
    EmptyShard {
        /// Which.
        number: usize,
        /// Of how many.
        of: usize,
        /// How many UKIs there are.
        images: usize,
    },
    /// The file is no UKI, or one that is refused.
    #[error("{}", path.display())]
    Uki {
        /// As the user named it.
        path: PathBuf,
        /// Why.
        #[source]
        source: uki::Error,
    },
    /// The reading that was chosen refuses the file, or what was asked of it.
    #[error("{}: {refusal}{}", path.display(), accepted(refusal, accepting))]
    Refused {
        /// As the user named it.
        path: PathBuf,
        /// By which reading, and why.
        refusal: Box<Refusal>,
        /// The readings that would accept it.
        accepting: Vec<Reading>,
    },
    /// What the UKI holds can't be handed to a kernel.
    #[error("{}", path.display())]
    Handed {
        /// As the user named the UKI.
        path: PathBuf,
        /// Why.
        #[source]
        source: handed::Error,
    },
    /// A file is no addon, or one that is refused.
    #[error("{}", path.display())]
    Addon {
        /// As the user named it, or as it was found.
        path: PathBuf,
        /// Why.
        #[source]
        source: addon::Error,
    },
    /// A file is not taken as a credential.
    #[error("{}", path.display())]
    Credential {
        /// As the user named it.
        path: PathBuf,
        /// Why not.
        #[source]
        source: handed::CredentialError,
    },
    /// A file holds nothing that the system could be told.
    #[error("{}", path.display())]
    System {
        /// As the user named it.
        path: PathBuf,
        /// Why not.
        #[source]
        source: credentials::Unusable,
    },
    /// Two values for one credential.
    #[error("the credential {id} is set twice")]
    CredentialTwice {
        /// Its name.
        id: String,
    },
    /// There is more to tell than there is room.
    #[error("the system can't be told all that")]
    Smbios(#[source] smbios::TooLarge),
    /// A file can't even be described.
    #[error("{}", path.display())]
    Inspect {
        /// As the user named it.
        path: PathBuf,
        /// Why not.
        #[source]
        source: inspection::Error,
    },
    /// There is no such section.
    #[error("{}: profile {profile} has no section {section}: there are {}", path.display(), others.join(" "))]
    NoSection {
        /// As the user named the UKI.
        path: PathBuf,
        /// What was asked for.
        section: String,
        /// The number of the profile.
        profile: usize,
        /// The names that there are.
        others: Vec<String>,
    },
    /// Bytes that would do something to a terminal.
    #[error("section {section} is not text, and standard output is a terminal")]
    BinaryToTerminal {
        /// The name.
        section: String,
    },
    /// A signal ended it.
    #[error("interrupted")]
    Interrupted {
        /// Which one.
        signal: Signal,
    },
    /// What a UKI would measure can't be computed.
    #[error("{}", path.display())]
    Measure {
        /// As the user named the UKI.
        path: PathBuf,
        /// Why.
        #[source]
        source: pcr11::Error,
    },
    /// A file is not from whom it has to be.
    #[error("{}", path.display())]
    Verify {
        /// As the user named it, or as it was found.
        path: PathBuf,
        /// Why not.
        #[source]
        source: authenticode::Error,
    },
    /// A file that says what to trust can't be used.
    #[error("{}", path.display())]
    Trust {
        /// As the user named it.
        path: PathBuf,
        /// Why not.
        #[source]
        source: TrustError,
    },
    /// Something is denied, but nothing is trusted.
    #[error("{option} only denies what is trusted otherwise: give --verify or --allow-hash too")]
    NothingTrusted {
        /// The option.
        option: &'static str,
    },
    /// Signatures of PCR values can't be held against anything.
    #[error("{}", path.display())]
    Pcrsig {
        /// As the user named the UKI.
        path: PathBuf,
        /// Why not.
        #[source]
        source: pcrsig::Error,
    },
    /// There are none.
    #[error("{}: there is no section .pcrsig to check", path.display())]
    NoPcrsig {
        /// As the user named the UKI.
        path: PathBuf,
    },
    /// The machine asked for can't be.
    #[error("the machine asked for can't be")]
    Machine(#[source] machine::Error),
    /// The hand-off can't be made on this machine.
    #[error("{}: the kernel can't be handed over", path.display())]
    Handoff {
        /// As the user named the UKI.
        path: PathBuf,
        /// Why.
        #[source]
        source: kexec::Error,
    },
    /// The probe does not fit into the place of the UKI's kernel.
    #[error("{}: the probe can't take the kernel's place", path.display())]
    StandIn {
        /// As the user named the UKI.
        path: PathBuf,
        /// Why not.
        #[source]
        source: plan::Error,
    },
    /// A probe printed no report, or not all of it.
    #[error("{}", path.display())]
    Probe {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: probe::Error,
    },
    /// A choice that is the kernel's own.
    #[error(
        "--kaslr is for --handoff direct: handed over as kexec does, the kernel chooses its \
         addresses itself"
    )]
    KaslrIsTheKernels,
    /// An initrd that is to be another than kexec would hand over.
    #[error(
        "--unpack-initrd is for --handoff direct: kexec hands an initrd over as it is, and the \
         kernel unpacks it"
    )]
    PackedForKexec,
    /// The plan contradicts itself.
    #[error("{}: no plan", path.display())]
    Plan {
        /// As the user named the UKI.
        path: PathBuf,
        /// How.
        #[source]
        source: plan::Error,
    },
    /// The engine can't be used, or failed before the guest ran.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// The kernel can't be entered directly, and nothing else is wanted.
    #[error("{}: can't be handed over directly: {why}", path.display())]
    NotDirect {
        /// As the user named the UKI.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// A file is no report of a benchmark.
    #[error("{}: {what}", path.display())]
    BenchReport {
        /// As the user named it.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// An earlier report can't be compared with.
    #[error("{}: can't be compared with: {why}", path.display())]
    Incomparable {
        /// As the user named it.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// What is asked for can't be counted.
    #[error("--count needs one vCPU on the TCG engine, not {found}")]
    Counting {
        /// What was asked for.
        found: String,
    },
    /// The host refused something every process may do.
    #[error("{what}")]
    Host {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// The exit status; [`crate::exit`] has the table.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::File { .. }
            | Self::Read { .. }
            | Self::Write { .. }
            | Self::Uki { source: uki::Error::Read(_), .. }
            | Self::Handed { source: handed::Error::Read { .. }, .. }
            | Self::Addon { source: addon::Error::Read { .. }, .. }
            | Self::Measure { source: pcr11::Error::Read { .. }, .. }
            | Self::Inspect {
                source: inspection::Error::Read(_) | inspection::Error::Headers(uki::Error::Read(_)),
                ..
            }
            | Self::Pcrsig { source: pcrsig::Error::Read { .. }, .. }
            | Self::Trust { source: TrustError::NoDigest, .. } => exit::IO,
            Self::Refused { refusal, .. } if refusal.is_io() => exit::IO,
            Self::Verify { source, .. } if verify::is_io(source) => exit::IO,
            Self::Refused { refusal, .. } if refusal.is_usage() => exit::USAGE,
            Self::Refused { .. }
            | Self::Verify { .. }
            | Self::Pcrsig { .. }
            | Self::NoPcrsig { .. }
            | Self::Trust { .. }
            | Self::Uki { .. }
            | Self::Handed { .. }
            | Self::Addon { .. }
            | Self::Credential { .. }
            | Self::System { .. }
            | Self::Smbios(_)
            | Self::Measure { .. }
            | Self::Inspect { .. }
            | Self::NoSection { .. }
            | Self::NotDirect { .. }
            | Self::BenchReport { .. }
            | Self::Incomparable { .. }
            | Self::Handoff { .. }
            | Self::StandIn { .. }
            | Self::Probe { .. }
            | Self::Plan { .. } => exit::DATA,
            Self::Machine(_)
            | Self::CredentialTwice { .. }
            | Self::KaslrIsTheKernels
            | Self::NothingToPublish { .. }
            | Self::PackedForKexec
            | Self::SameFile { .. }
            | Self::FolderInUse { .. }
            | Self::BinaryToTerminal { .. }
            | Self::NothingTrusted { .. }
            | Self::List { .. }
            | Self::SystemMap { .. }
            | Self::Counting { .. }
            | Self::EmptyShard { .. } => exit::USAGE,
            Self::Interrupted { signal } => exit::of_signal(*signal),
            Self::Engine(error) => error.exit_status(),
            Self::Disk { source, .. } => source.exit_status(),
            Self::Share { source, .. } => source.exit_status(),
            Self::Host { .. } => exit::BUG,
        }
    }

    /// The way out, where we know it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Handoff { source: kexec::Error::NoRoom { .. }, .. } => {
                Some("give the machine more memory with --memory".into())
            }
            Self::Disk { source: attached::Error::Open { for_writing: true, source }, .. }
                if source.kind() != io::ErrorKind::NotFound =>
            {
                Some("with ,ro the guest can't write to it, with ,ephemeral what it writes is dropped".into())
            }
            Self::Disk { source: attached::Error::Qcow2(source), path } => {
                source.hint(&path.display().to_string())
            }
            Self::Share { source, .. } => source.hint(),
            Self::NothingToPublish { .. } => Some("add --net user".into()),
            Self::PackedForKexec => Some("add --handoff direct".into()),
            Self::KaslrIsTheKernels => {
                Some("add --handoff direct, or nokaslr to the command line".into())
            }
            Self::Verify { source: authenticode::Error::Unsigned { digest }, path } => {
                let path = path.display();
                Some(format!(
                    "sign it, as with sbsign --key KEY --cert CERT.pem --output {path} {path}, or \
                     give --allow-hash {digest}"
                ))
            }
            Self::Verify { source: authenticode::Error::Untrusted { .. }, .. } => {
                Some("give --verify the certificate of the signer, or of who vouches for it".into())
            }
            Self::Engine(error) => error.hint(),
            Self::Smbios(_) => Some(
                "put what is long into a file of the initrd, with --initrd, or encrypt it and give \
                 it to --extra-credential"
                    .into(),
            ),
            Self::FolderInUse { .. } => Some("remove it, or name another".into()),
            Self::BinaryToTerminal { .. } => Some("name a file with -o".into()),
            _ => None,
        }
    }
}

/// Who would accept what was refused, as the end of a sentence.
fn accepted(refusal: &Refusal, accepting: &[Reading]) -> String {
    let names: Vec<_> = accepting.iter().map(|reading| reading.as_str()).collect();
    match names.as_slice() {
        [] if refusal.rule().is_some() => "; no reading accepts it".to_owned(),
        [] => String::new(),
        names => format!("; accepted with --as {}", names.join(", ")),
    }
}
