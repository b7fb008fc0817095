//! What `ukivm plan` and the library say of a run.

use clap::Parser as _;
use firmware_less::{
    boot_params,
    plan::{BootPlan, Content},
    range::GuestRange,
    read_at::ReadAt as _,
};
use serde_json::Value;
use ukivm::{
    cli::{Cli, Command},
    digest,
    engine::Kind,
    files::Files,
    job::{self, Job},
};

use crate::support::Scratch;

/// A plan, its JSON form, and the files that its bytes come from.
pub(super) struct Planned {
    pub(super) plan: BootPlan,
    pub(super) digest: Option<digest::Digest>,
    json: Value,
    files: Files,
}

impl Planned {
    /// The plan for `engine` and `arguments`: the library's, which must be the
    /// program's.
    pub(super) fn of(engine: &str, scratch: &Scratch, arguments: &[String]) -> Self {
        let command = ["plan", "--json", "--engine", engine].map(str::to_owned);
        let arguments = [command.as_slice(), arguments].concat();
        let ran = scratch.ukivm(&arguments);
        assert_eq!(ran.status, Some(0), "{ran:?}");
        let json: Value = serde_json::from_str(&ran.stdout).expect("JSON");

        let program = ["ukivm".to_owned()];
        let cli = Cli::try_parse_from(program.iter().chain(&arguments)).expect("options");
        let Command::Plan(options) = cli.command else { panic!("it is a plan") };
        let machine = job::machine(&options.job).expect("a machine");
        let machine = Kind::from(options.engine).equip(machine);
        let job = Job::open(&options.job, &mut |_| {}).expect("a job");
        let planned = job.plan(&machine, options.job.digest).expect("a plan");
        let (digest, plan) = (planned.digest(), planned.plan);

        let whole = serde_json::to_value(&plan).expect("JSON");
        for (name, value) in whole.as_object().expect("an object") {
            assert_eq!(json[name], *value, "{name}, by the program and by the library");
        }
        Self { plan, digest, json, files: job.files }
    }

    /// A number of the JSON form.
    pub(super) fn number(&self, pointer: &str) -> u64 {
        let value = self.json.pointer(pointer).and_then(Value::as_u64);
        value.unwrap_or_else(|| panic!("{pointer} is a number of the plan"))
    }

    /// The digest in the JSON form.
    pub(super) fn digest_text(&self) -> Option<&str> {
        self.json["digest"].as_str()
    }

    /// Whether the JSON form shows just these fields of a `boot_params`.
    pub(super) fn shows(&self, page: &[u8]) -> bool {
        let fields = serde_json::to_value(boot_params::fields(page)).expect("JSON");
        self.json["boot_params"] == fields
    }

    /// Guest memory before the first instruction.
    pub(super) fn memory(&self, start: u64, len: u64) -> Vec<u8> {
        let mut memory = vec![0; usize::try_from(len).expect("a length")];
        let Some(wanted) = GuestRange::new(start, len) else { return memory };
        for placement in self.plan.placements() {
            for piece in &placement.pieces {
                let at = placement.range.start() + piece.offset;
                let bytes = self.content(&piece.content);
                let range = GuestRange::new(at, bytes.len() as u64).expect("a range");
                let Some(shared) = wanted.intersection(range) else { continue };
                let place = |from: u64| {
                    let offset = |at| usize::try_from(at).expect("an offset");
                    offset(shared.start() - from)..offset(shared.end() - from)
                };
                memory[place(start)].copy_from_slice(&bytes[place(at)]);
            }
        }
        memory
    }

    fn content(&self, content: &Content) -> Vec<u8> {
        match content {
            Content::Bytes(bytes) => bytes.clone(),
            Content::File(slice) => {
                let mut bytes = vec![0; usize::try_from(slice.range.len()).expect("a length")];
                let file = self.files.get(slice.file).expect("one of the files");
                file.read_exact_at(slice.range.offset(), &mut bytes).expect("a read");
                bytes
            }
        }
    }
}
