//! One boot, in a process of its own: what `ukivm bench` starts itself again for.

use std::{path::Path, time::Instant};

use firmware_less::kernel::Leave;

use crate::{
    bench::{
        Until,
        arm::{Decompressor, Told},
        arms::kexec::{Way, boot},
        clock, count,
    },
    cli::{BenchOptions, EngineOption, HandoffOption, JobOptions, KexecOption},
    commands::{print, warn},
    engine::{self, Engine, Kind, Load, tcg::Counted},
    error::Error,
    job::{self, Handoff, Job},
    outcome::{End, Outcome},
    sandbox::Sandbox,
    session::{Finished, Limits, Milestone, Record, Session},
    timeline::Timeline,
    verdict::{Criterion, Goal, Limits as VerdictLimits, MarkName, Policy, Severity, Watch, rules},
};

/// How many lines of the console are told of.
const LINES: usize = 10;

/// Boots `image` and tells of it on standard output.
pub(super) fn run(
    options: &BenchOptions,
    image: &Path,
    engine: Kind,
    start: Instant,
) -> Result<u8, Error> {
    let sandbox = Sandbox::unless(options.sandbox.no_sandbox).starting_again(options.count);
    let main_at = clock::now().saturating_sub(nanos(start.elapsed()));
    if let Some(how) = options.trial_kexec {
        let way = Way {
            engine,
            until: options.until.into(),
            is_check: how == KexecOption::Check,
            is_counted: how == KexecOption::Count,
            limits: Limits { start, time_limit: options.time_limit, interactive: false },
            sandbox: &sandbox,
        };
        return by_kexec(options, image, way);
    }
    let mut timeline = Timeline::new(start);
    let mut job_options = JobOptions { image: image.to_owned(), ..options.job.clone() };
    if options.trial_direct {
        job_options.handoff = HandoffOption::Direct;
    }
    if options.count {
        job_options.rng_seed.get_or_insert(count::SEED);
    }
    let machine = job::machine(&job_options)?;
    let job = Job::open(&job_options, &mut |milestone| timeline.note(milestone))?;
    let engine = Engine::choose(match engine {
        Kind::Kvm => EngineOption::Kvm,
        Kind::Tcg => EngineOption::Tcg,
    })?;
    timeline.note(Milestone::EngineChosen);
    let planned = job.plan_to_load(&engine.kind.equip(machine), job_options.digest)?;
    timeline.note(Milestone::Planned);
    warn(&planned);
    if options.trial_direct
        && let Some(why) = planned.not_direct
    {
        return Err(Error::NotDirect { path: job_options.image, why });
    }
    let load = job.load(&planned, &sandbox);
    let watch = Watch::new(policy(options.until.into()));
    let time_limit = Some(super::time_limit(options, engine.kind));
    let limits = Limits { start, time_limit, interactive: false };
    let session = Session::watched(Record::default(), watch, limits, timeline)
        .map_err(|source| Error::Host { what: "can't set up the console", source })?;
    let told = if options.count {
        let told = counted(options, main_at, &load, session)?;
        let decompressor = match &planned.handoff {
            _ if told.counts.is_none() => None,
            // The host's work.
            Handoff::Direct(_) => Some(Decompressor::Counted(0)),
            Handoff::Kexec => Some(decompressor(&job, &load, limits)?),
        };
        Told { decompressor, ..told }
    } else {
        let outcome = engine.run(&load, &session);
        let finished = session.finish();
        tell(main_at, &outcome?, &finished)
    };
    print(&serde_json::to_string(&told).unwrap_or_default()).map(|()| 0)
}

/// Boots `image` by way of its own kernel, and tells of it on standard output.
fn by_kexec(options: &BenchOptions, image: &Path, way: Way<'_>) -> Result<u8, Error> {
    let subject = JobOptions { image: image.to_owned(), ..options.job.clone() };
    let told = boot(&subject, way)?;
    print(&serde_json::to_string(&told).unwrap_or_default()).map(|()| 0)
}

/// Boots with the guest's instructions counted.
fn counted(
    options: &BenchOptions,
    main_at: u64,
    load: &Load<'_>,
    session: Session,
) -> Result<Told, Error> {
    let counted = engine::count(load, &session);
    let finished = session.finish();
    let Counted { outcome, counts } = counted?;
    let told = tell(main_at, &outcome, &finished);
    if told.status != 0 {
        return Ok(told);
    }
    let counts = counts.map_err(|error| engine::Error::Tcg(error.into()))?;
    let until = options.until.into();
    let counts = count::milestones(&counts, policy(until), until, &outcome.end);
    Ok(Told { counts: Some(counts), ..told })
}

/// Boots once more, up to where the decompressor is done. So far it is the same boot:
/// that it stops there has no part in what was executed before.
fn decompressor(job: &Job, load: &Load<'_>, limits: Limits) -> Result<Decompressor, Error> {
    let loaded = load.plan.placement("kernel").map(|kernel| kernel.range.start());
    let leave = Leave::find(&job.kernel, job.files.uki());
    let address = leave.zip(loaded).and_then(|(leave, loaded)| leave.address(loaded));
    let Some(address) = address else {
        return Ok(Decompressor::Unseen(count::UNKNOWN.to_owned()));
    };
    let timeline = Timeline::new(limits.start);
    let session = Session::watched(Record::default(), Watch::default(), limits, timeline)
        .map_err(|source| Error::Host { what: "can't set up the console", source })?;
    let before = engine::count_to(load, address, &session);
    drop(session.finish());
    Ok(match before? {
        // The jump is the decompressor's last.
        Some(before) => Decompressor::Counted(before.saturating_add(1)),
        None => Decompressor::Unseen(count::ELSEWHERE.to_owned()),
    })
}

/// What ends a guest that shows what is wanted of it.
fn policy(until: Until) -> Policy {
    let goal = match until {
        // Ends by itself.
        Until::End => return Policy::default(),
        Until::Init => Goal::Init,
        Until::Login => Goal::Login,
    };
    let criterion = Criterion { goal: Some(goal), ..Criterion::default() };
    let limits = VerdictLimits { settle: std::time::Duration::ZERO, ..VerdictLimits::NONE };
    Policy { criterion, limits, ..Policy::default() }
}

fn tell(main_at: u64, outcome: &Outcome, finished: &Finished) -> Told {
    let Finished { timeline, watch, .. } = finished;
    let time = |milestone| Some((milestone, nanos(timeline.at(milestone)?)));
    let worst = watch.findings().iter().max_by_key(|finding| finding.severity);
    let severity = worst.map(|finding| finding.severity);
    let panicked = severity == Some(Severity::Panic);
    let status = rules::run(&outcome.end, panicked, severity == Some(Severity::Fail));
    let finding = worst.filter(|finding| finding.severity > Severity::Warning);
    let kernel = watch.marks().iter().find(|mark| mark.name == MarkName::LinuxVersion);
    let lines: Vec<_> = watch.recent().map(str::to_owned).collect();
    Told {
        main_at,
        times: Milestone::ALL.into_iter().filter_map(time).collect(),
        counts: None,
        decompressor: None,
        end: outcome.end.clone(),
        status: if matches!(outcome.end, End::Interrupted { .. }) { 1 } else { status },
        finding: finding.map(|finding| format!("{}: {}", finding.name, finding.text)),
        linux_version: kernel.map(|mark| mark.text.clone()),
        console: lines.into_iter().rev().take(LINES).rev().collect(),
    }
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
