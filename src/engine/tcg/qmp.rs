//! QEMU's machine protocol: a line of JSON for each message.

use std::{io::Write as _, os::unix::net::UnixStream};

use serde::Deserialize;
use serde_json::{Value, json};

use super::crash::Question;

/// What QEMU says. What we have no use for is `Other`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// The machine is set up and waits for commands.
    Greeting,
    /// The guest was stopped, or stopped itself.
    Shutdown { reason: String },
    /// pvpanic reported a panic.
    Panicked,
    /// What a monitor command printed; nothing if it failed.
    Answer { question: Question, text: String },
    /// Anything else.
    Other,
}

/// One line from QEMU.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line {
    #[serde(rename = "QMP")]
    greeting: Option<Value>,
    event: Option<String>,
    data: Value,
    #[serde(rename = "return")]
    returned: Option<Value>,
    id: Option<Question>,
}

impl Message {
    /// The message of one line.
    pub(super) fn parse(line: &[u8]) -> Self {
        serde_json::from_slice::<Line>(line).map_or(Self::Other, Self::from)
    }
}

impl From<Line> for Message {
    fn from(line: Line) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match line {
            Line { greeting: Some(_), .. } => Self::Greeting,
            Line { event: Some(event), data, .. } => match event.as_str() {
                "SHUTDOWN" => {
                    Self::Shutdown { reason: text(data.get("reason").unwrap_or(&Value::Null)) }
                }
                "GUEST_PANICKED" => Self::Panicked,
                _ => Self::Other,
            },
            Line { id: Some(question), returned, .. } => {
                Self::Answer { question, text: returned.as_ref().map(text).unwrap_or_default() }
            }
            _ => Self::Other,
        }
    }
}

/// Bytes from QEMU that are not a whole line yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    /// The messages that `bytes` complete.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<Message> {
        self.pending.extend_from_slice(bytes);
        let Some(end) = self.pending.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let rest = self.pending.split_off(end);
        let lines = std::mem::replace(&mut self.pending, rest);
        lines.split(|byte| *byte == b'\n').map(Message::parse).collect()
    }
}

/// Lets the guest run. To be sent once, after the greeting.
pub(super) fn start(qmp: &UnixStream) {
    negotiate(qmp);
    send(qmp, &json!({ "execute": "cont" }));
}

/// Makes QEMU take commands. To be sent once, after the greeting.
pub(super) fn negotiate(qmp: &UnixStream) {
    send(qmp, &json!({ "execute": "qmp_capabilities" }));
}

/// Has QEMU end, in order.
pub(super) fn quit(qmp: &UnixStream) {
    send(qmp, &json!({ "execute": "quit" }));
}

/// Presses the chipset's power button.
pub(super) fn press_power_button(qmp: &UnixStream) {
    send(qmp, &json!({ "execute": "system_powerdown" }));
}

/// Asks the human monitor; what it prints comes as [`Message::Answer`].
pub(super) fn ask(qmp: &UnixStream, question: &Question) {
    ask_as(qmp, question, &question.command);
}

/// Asks the human monitor `command`, whose answer comes as that to `question`.
pub(super) fn ask_as(qmp: &UnixStream, question: &Question, command: &str) {
    let arguments = json!({ "command-line": command, "cpu-index": question.cpu });
    send(
        qmp,
        &json!({ "execute": "human-monitor-command", "arguments": arguments, "id": question }),
    );
}

/// A QEMU that can't be written to is about to be found dead.
fn send(mut qmp: &UnixStream, message: &Value) {
    qmp.write_all(format!("{message}\n").as_bytes()).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        Question { cpu: 1, command: "info registers".to_owned() }
    }

    #[test]
    fn messages_are_told_apart() {
        let cases = [
            (r#"{"QMP": {"version": {}, "capabilities": []}}"#, Message::Greeting),
            (r#"{"return": {}}"#, Message::Other),
            (r#"{"timestamp": {}, "event": "RESUME"}"#, Message::Other),
            (
                r#"{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}"#,
                Message::Shutdown { reason: "guest-reset".to_owned() },
            ),
            (r#"{"event": "GUEST_PANICKED", "data": {"action": "run"}}"#, Message::Panicked),
            (
                r#"{"return": "RIP=0\r\n", "id": {"cpu": 1, "command": "info registers"}}"#,
                Message::Answer { question: question(), text: "RIP=0\r\n".to_owned() },
            ),
            (
                r#"{"id": {"cpu": 1, "command": "info registers"}, "error": {"desc": "no"}}"#,
                Message::Answer { question: question(), text: String::new() },
            ),
            ("not JSON", Message::Other),
        ];
        for (line, message) in cases {
            assert_eq!(Message::parse(line.as_bytes()), message, "{line}");
        }
    }

    #[test]
    fn a_message_may_come_in_pieces() {
        let mut lines = Lines::default();
        assert_eq!(lines.feed(br#"{"QMP": "#), []);
        let messages = lines.feed(b"{}}\r\n{\"event\": \"GUEST_PANICKED\"}\r\n{\"eve");
        assert!(messages.contains(&Message::Greeting));
        assert!(messages.contains(&Message::Panicked));
        assert!(lines.feed(b"nt\": \"GUEST_PANICKED\"}\n").contains(&Message::Panicked));
    }
}
