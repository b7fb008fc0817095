//! From the options to what decides a verdict.

use std::{fs, path::PathBuf};

use crate::{
    cli::{LimitOptions, SmokeOptions},
    engine::Kind,
    error::Error,
    verdict::{
        Criterion, EMULATION_FACTOR, Expression, Limits, Policy,
        lists::{self, Allow, Deny},
    },
};

/// Reads the lists; limits are settled when the engine is known.
pub(super) fn read(options: &SmokeOptions) -> Result<Policy, Error> {
    let (proof, failure) = (&options.proof, &options.failure);
    Ok(Policy {
        criterion: Criterion {
            expects: proof.expressions().cloned().collect(),
            sayings: proof.sayings().cloned().collect(),
            in_any_order: proof.any,
            status: proof.expect_status,
            goal: proof.pass_on.map(Into::into),
        },
        deny: Deny(read_lists(&failure.deny)?),
        allow: Allow(read_lists(&failure.allow)?),
        fail_on: failure.fail_on.into(),
        limits: Limits::DEFAULT,
    })
}

fn read_lists(paths: &[PathBuf]) -> Result<Vec<Expression>, Error> {
    let mut all = Vec::new();
    for path in paths {
        let text = fs::read_to_string(path)
            .map_err(|source| Error::Read { path: path.clone(), source })?;
        let list = lists::read(&text);
        all.extend(list.map_err(|source| Error::List { path: path.clone(), source })?);
    }
    Ok(all)
}

/// The limits as given, and the others as they are by default on that engine.
pub(super) fn limits(options: &LimitOptions, engine: Kind) -> Limits {
    let factor = match engine {
        Kind::Kvm => 1,
        Kind::Tcg => EMULATION_FACTOR,
    };
    let scaled = |time: std::time::Duration| time.saturating_mul(factor);
    let Limits { total, boot, silence, settle } = Limits::DEFAULT;
    Limits {
        total: options.timeout.map_or(total.map(scaled), |limit| limit.0),
        boot: options.boot_timeout.map_or(boot.map(scaled), |limit| limit.0),
        silence: options.silence_timeout.map_or(silence.map(scaled), |limit| limit.0),
        settle: options.settle.unwrap_or(scaled(settle)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::Limit;

    #[test]
    fn an_emulated_guest_has_five_times_as_long_but_where_a_limit_is_given() {
        let given = LimitOptions {
            timeout: None,
            boot_timeout: Some(Limit(Some(Duration::from_secs(7)))),
            silence_timeout: Some(Limit(None)),
            settle: None,
        };
        let seconds = |limits: Limits| {
            [limits.total, limits.boot, limits.silence, Some(limits.settle)]
                .map(|limit| limit.map(|limit| limit.as_secs()))
        };
        assert_eq!(seconds(limits(&given, Kind::Kvm)), [Some(120), Some(7), None, Some(2)]);
        assert_eq!(seconds(limits(&given, Kind::Tcg)), [Some(600), Some(7), None, Some(10)]);
    }
}
