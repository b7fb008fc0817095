//! `ukivm plan`: guest memory, `boot_params` and CPU state before the first
//! instruction. Needs no KVM.

mod dump;

use std::fmt::Write as _;

use firmware_less::{
    boot_params,
    handoff::{
        direct::Kaslr,
        kexec::{SEED_LEN, Warning},
    },
    plan::{BootPlan, Content, Piece, Placement, size},
    uki::{Handed, Reading, handed::InitrdPart},
};
use serde::Serialize;

use crate::{
    attached::Described,
    cli::{JobOptions, PlanOptions},
    commands::{json_file::JsonFile, print, tell, warn},
    digest::hex,
    engine::Kind,
    error::Error,
    files::Files,
    job::{self, Job, Planned},
    messages::say,
    report::{Handoff, SCHEMA},
    verify::Origin,
    visible::visible,
};

use dump::{Dump, Dumped};

/// The name of the initrd's placement.
const INITRD: &str = "initrd";

#[derive(Debug, Serialize)]
struct Report<'a> {
    schema: u32,
    image: String,
    reading: Reading,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    verified: &'a [Origin],
    cmdline: String,
    digest: Option<String>,
    handoff: Handoff,
    #[serde(skip_serializing_if = "Option::is_none")]
    dump: Option<Dumped>,
    warnings: Vec<String>,
    initrd: Vec<Part>,
    boot_params: Vec<boot_params::Field>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    devices: Vec<Described>,
    #[serde(flatten)]
    plan: &'a BootPlan,
}

/// A part of the initrd.
#[derive(Debug, Serialize)]
struct Part {
    origin: String,
    offset: u64,
    len: u64,
}

/// Prints the plan.
pub fn run(options: &PlanOptions) -> Result<u8, Error> {
    let machine = Kind::from(options.engine).equip(job::machine(&options.job)?);
    let job = Job::open(&job_options(options), &mut |_| {})?;
    let planned = job.plan(&machine, options.job.digest)?;
    let Planned { plan, warnings, .. } = &planned;
    let dump = options.dump.as_deref().map(Dump::prepare).transpose()?;
    let dump = dump.map(|dump| dump.write(plan, &job.files)).transpose()?;
    let report = Report {
        schema: SCHEMA,
        image: options.job.image.display().to_string(),
        reading: job.uki.reading(),
        verified: &job.verified,
        cmdline: String::from_utf8_lossy(&job.handed.cmdline).into_owned(),
        digest: planned.digest().map(|digest| hex(&digest)),
        dump,
        initrd: parts(job.handed_by(planned.handoff)),
        warnings: warnings.iter().map(Warning::to_string).collect(),
        boot_params: boot_params_of(plan),
        devices: job.attached.describe(plan.machine()),
        plan,
        handoff: Handoff::new(&job, &planned),
    };
    match &options.json {
        Some(file) => JsonFile::prepare(file, &job.files)?.write(&report)?,
        None => print(&text(&report, &job.files))?,
    }
    tell(&job);
    warn(&planned);
    Ok(0)
}

/// The job, with a seed that is always the same where guest memory is to be kept:
/// no guest will run with it.
fn job_options(options: &PlanOptions) -> JobOptions {
    let mut job = options.job.clone();
    // A plan leaves nothing behind, and is the same whatever was left.
    job.unpacking.no_cache = true;
    if options.dump.is_some() && job.rng_seed.is_none() {
        say("the dump has a seed of zeros; --rng-seed gives it another");
        job.rng_seed = Some([0; SEED_LEN]);
    }
    job
}

/// The fields of `boot_params` that are not zero.
fn boot_params_of(plan: &BootPlan) -> Vec<boot_params::Field> {
    match plan.placement("params").map(|params| params.pieces.as_slice()) {
        Some([Piece { content: Content::Bytes(bytes), .. }, ..]) => boot_params::fields(bytes),
        _ => Vec::new(),
    }
}

fn text(report: &Report<'_>, files: &Files) -> String {
    let plan = report.plan;
    let machine = plan.machine();
    let mut text = String::new();
    let mut section = |title: &str, lines: Vec<String>| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{title}\n  {}\n", lines.join("\n  "));
    };
    if report.reading != Reading::default() {
        section("reading", vec![format!("{}: {}", report.reading, report.reading.title())]);
    }
    section("machine", vec![format!("{} RAM, {} vCPU", size(machine.memory()), machine.cpus())]);
    if !report.devices.is_empty() {
        section("PCI", report.devices.iter().map(ToString::to_string).collect());
    }
    if let Some(kaslr) = &report.handoff.kaslr {
        section("hand-off", vec![directly(kaslr)]);
    }
    section("command line", vec![visible(&report.cmdline)]);
    section("guest memory", memory(report, files));
    section("e820", memory_map(plan));
    section("boot_params", report.boot_params.iter().map(ToString::to_string).collect());
    section("CPU", plan.cpu().to_string().lines().map(str::to_owned).collect());
    if let Some(digest) = &report.digest {
        section("digest (SHA-256)", vec![digest.clone()]);
    }
    if let Some(Dumped { folder, sha256 }) = &report.dump {
        section("dump", vec![visible(folder), format!("SHA-256 of its SHA256SUMS: {sha256}")]);
    }
    text.pop();
    text
}

/// Where a kernel that is entered directly is.
fn directly(Kaslr { physical, virtual_offset }: &Kaslr) -> String {
    let addresses = match virtual_offset {
        Some(offset) => format!("its virtual addresses {offset:#x} above those it is linked for"),
        None => "its virtual addresses as linked".to_owned(),
    };
    format!("direct: the kernel unpacked, at {physical:#x}, {addresses}")
}

/// The parts of the initrd, each with what it is.
fn parts(handed: &Handed) -> Vec<Part> {
    let part = |(part, piece): (&InitrdPart, Piece)| Part {
        origin: part.origin.to_string(),
        offset: piece.offset,
        len: piece.content.len(),
    };
    handed.initrd.iter().zip(handed.initrd_pieces()).map(part).collect()
}

/// The memory map, each placement with what it is read from.
fn memory(report: &Report<'_>, files: &Files) -> Vec<String> {
    let map = report.plan.to_string();
    let with_sources = |(line, placement): (&str, &Placement)| {
        let parts = if placement.name == INITRD { report.initrd.as_slice() } else { &[] };
        let pieces = placement.pieces.iter().enumerate();
        let sources = pieces.filter_map(|(n, piece)| source(piece, parts.get(n), files));
        std::iter::once(line.to_owned()).chain(sources).collect::<Vec<_>>()
    };
    map.lines().zip(report.plan.placements()).flat_map(with_sources).collect()
}

/// What a piece is, where it is a part of the initrd, and which bytes of which
/// file, where it is read from one.
fn source(piece: &Piece, part: Option<&Part>, files: &Files) -> Option<String> {
    let bytes = match &piece.content {
        Content::File(slice) => {
            let path = files.get(slice.file)?.path.display().to_string();
            Some(format!("{} {}", visible(&path), slice.range))
        }
        Content::Bytes(bytes) => part.map(|_| size(bytes.len() as u64)),
    };
    let origin = part.map(|part| format!("{}, ", visible(&part.origin))).unwrap_or_default();
    Some(format!("{:>44}+{:#x}: {origin}{}", "", piece.offset, bytes?))
}

fn memory_map(plan: &BootPlan) -> Vec<String> {
    let line = |entry: &firmware_less::e820::Entry| {
        let range = entry.range;
        format!(
            "{:#014x}  {:#014x}  {:>10}  {}",
            range.start(),
            range.end(),
            size(range.len()),
            entry.kind
        )
    };
    plan.memory_map().entries().iter().map(line).collect()
}
