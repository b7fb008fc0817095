//! [`Line`]: the command line, the UKI's and the user's as the reading joins them.

use super::{Choice, Console, Error, Input, Note, TEXT_MAX, section_bytes};
use crate::{
    bytes::until_nul,
    read_at::ReadAt,
    uki::{
        Addon, Name, Section,
        cmdline::{append, mangle},
        reading::{Cmdline, GivenCmdline, Rule, Text, View},
    },
};

/// What systemd's userspace takes for white space. `src/basic/string-util.h`,
/// `WHITESPACE`.
const WHITESPACE: &[u8] = b" \t\n\r";

/// The command line.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// What the kernel reads.
    pub(super) text: Vec<u8>,
    /// How many bytes follow the NUL after that.
    pub(super) padding: u64,
    /// Where in the section a NUL ends it, if text follows that.
    cut: Option<usize>,
}

/// The command line: the UKI's and the user's, then what is appended.
///
/// `src/boot/stub.c`, `run`: addons, what the host adds (there by SMBIOS), and
/// the console. Other readings have less of it.
pub(super) fn line(
    source: &(impl ReadAt + ?Sized),
    view: &View<'_>,
    addons: &[&Addon],
    choice: &Choice,
    notes: &mut Vec<Note>,
) -> Result<Line, Error> {
    let rules = view.reading().rules();
    let section = view.entry(Name::Cmdline);
    check_locked(&rules.cmdline, section, choice)?;
    let given = given(&rules.cmdline, choice);
    let mut line = settled(source, view, given, choice, notes)?;
    notes.extend(line.cut.map(|at| Note::CmdlineCut { at }));
    for words in addons.iter().filter_map(|addon| addon.cmdline.as_deref()) {
        append(&mut line.text, words.as_bytes());
    }
    if rules.cmdline.append_last {
        for words in &choice.append {
            append(&mut line.text, &given_text(&rules.cmdline, words.as_bytes())?);
        }
    }
    let may_append = choice.console != Console::Hvc0 || !is_locked(&rules.cmdline, section, choice);
    if rules.scope.console
        && may_append
        && let Some(word) = choice.console.word_for(&line.text)
    {
        append(&mut line.text, word.as_bytes());
        let unasked = choice.console == Console::Stub;
        notes.extend(unasked.then_some(Note::Console { appended: word }));
    }
    Ok(line)
}

/// The section's, or the user's, or both. As for the stub, `src/boot/stub.c`,
/// `settle_command_line`.
fn settled(
    source: &(impl ReadAt + ?Sized),
    view: &View<'_>,
    given: Option<(Input, Vec<u8>)>,
    choice: &Choice,
    notes: &mut Vec<Note>,
) -> Result<Line, Error> {
    let reading = view.reading();
    let rules = &reading.rules().cmdline;
    let section = view.entry(Name::Cmdline);
    let embedded = || embedded(source, view, rules.text);
    let Some((input, words)) = given else {
        if rules.given == GivenCmdline::Alone && section.is_some() {
            notes.push(Note::SectionUnused { section: Name::Cmdline, reading });
        }
        return embedded();
    };
    let given = || Ok(Line { text: given_text(rules, &words)?, ..Line::default() });
    match rules.given {
        GivenCmdline::UnlessLocked { locked } if choice.enforced && section.is_some() => {
            not_allowed(input, section, locked)
        }
        GivenCmdline::IfAbsent(rule) if section.is_some() => not_allowed(input, section, rule),
        GivenCmdline::Never(rule) => not_allowed(input, section, rule),
        GivenCmdline::UnlessLocked { .. } | GivenCmdline::IfAbsent(_) | GivenCmdline::Alone => {
            given()
        }
        GivenCmdline::Ignored => {
            notes.push(Note::Ignored { input, reading });
            embedded()
        }
        GivenCmdline::Appended => {
            let mut line = embedded()?;
            append(&mut line.text, &given_text(rules, &words)?);
            Ok(line)
        }
    }
}

/// Under enforcement, words at the end are no better than a whole line.
fn check_locked(rules: &Cmdline, section: Option<Section>, choice: &Choice) -> Result<(), Error> {
    let GivenCmdline::UnlessLocked { locked } = rules.given else { return Ok(()) };
    if !is_locked(rules, section, choice) {
        return Ok(());
    }
    let asked_for = [
        (Input::Append, !choice.append.is_empty()),
        (Input::Console, choice.console.is_asked_for()),
    ];
    match asked_for.into_iter().find(|(_, given)| *given) {
        Some((input, _)) => not_allowed(input, section, locked),
        None => Ok(()),
    }
}

/// Whether nothing may be appended to what is in the UKI.
fn is_locked(rules: &Cmdline, section: Option<Section>, choice: &Choice) -> bool {
    let unless_locked = matches!(rules.given, GivenCmdline::UnlessLocked { .. });
    unless_locked && choice.enforced && rules.append_last && section.is_some()
}

fn not_allowed<T>(input: Input, section: Option<Section>, rule: Rule) -> Result<T, Error> {
    let beside = section.map(|section| (Name::Cmdline, section.virtual_size));
    Err(Error::NotAllowed { input, beside, rule })
}

/// The user's command line, appended words included unless they come last.
fn given(rules: &Cmdline, choice: &Choice) -> Option<(Input, Vec<u8>)> {
    let mut line = choice.cmdline.as_ref().map(|line| (Input::Cmdline, line.clone().into_bytes()));
    if !rules.append_last && !choice.append.is_empty() {
        let (_, text) = line.get_or_insert((Input::Append, Vec::new()));
        choice.append.iter().for_each(|words| append(text, words.as_bytes()));
    }
    line.filter(|(_, text)| rules.empty_is_given || !text.is_empty())
}

fn given_text(rules: &Cmdline, words: &[u8]) -> Result<Vec<u8>, Error> {
    match rules.text {
        Text::Mangled => mangled(words),
        _ => Ok(until_nul(words).to_vec()),
    }
}

fn mangled(raw: &[u8]) -> Result<Vec<u8>, Error> {
    let not_utf8 = |source| Error::NotUtf8 { section: Name::Cmdline, source };
    Ok(mangle(raw).map_err(not_utf8)?.into_bytes())
}

/// The section's, as `text` has it.
fn embedded(source: &(impl ReadAt + ?Sized), view: &View<'_>, text: Text) -> Result<Line, Error> {
    let found = match text {
        Text::Unused => None,
        _ => view.bytes_of(Name::Cmdline)?,
    };
    let Some(found) = found else { return Ok(Line::default()) };
    let raw = section_bytes(source, Name::Cmdline, found, TEXT_MAX)?;
    let end = until_nul(&raw).len();
    let cut = raw.iter().skip(end).any(|&byte| byte != 0).then_some(end);
    let with_padding = |whole: &[u8]| {
        let text = until_nul(whole).to_vec();
        let padding = whole.len().saturating_sub(text.len()) as u64;
        Line { text, padding, cut }
    };
    let alone = |text: &[u8]| Line { text: text.to_vec(), padding: 0, cut };
    Ok(match text {
        Text::Unused => Line::default(),
        Text::Mangled => alone(&mangled(&raw)?),
        Text::Verbatim => alone(until_nul(&raw)),
        Text::LastByteNul => with_padding(raw.split_last().map_or(&[], |(_, rest)| rest)),
        Text::NulAdded => with_padding(raw.strip_suffix(&[0]).unwrap_or(&raw)),
        Text::Trimmed => match cut {
            Some(at) => return Err(Error::NulWithin { section: Name::Cmdline, at }),
            None => alone(trimmed(until_nul(&raw))),
        },
    })
}

fn trimmed(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && WHITESPACE.contains(first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && WHITESPACE.contains(last)
    {
        text = rest;
    }
    text
}
