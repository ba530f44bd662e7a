//! What a mail about a run looks like: from what the outbox keeps of it to the mail that is sent.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use cairn_store::Message as Stored;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Message, SinglePart};
use serde::{Deserialize, Serialize};

use super::{Address, Mail};
use crate::outbox::Undelivered;

/// What the outbox keeps of a mail: it is written when it is sent, so that a sender that was mended holds for it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Letter<T> {
    /// The address that it goes to.
    pub(crate) to: String,
    /// What is told: `cairn.notification/1`.
    pub(crate) told: T,
}

/// What a mail says of what is told.
#[derive(Debug, Deserialize)]
pub(super) struct Said {
    text: String,
    pipeline: String,
    run: String,
    status: String,
    logical_time: String,
    started: String,
    ended: Option<String>,
    project: String,
    url: Option<String>,
}

impl Mail {
    /// Writes what is told to an address, the same each time that it is sent.
    pub(super) fn write(&self, to: &Address, said: &Said, message: &Stored) -> Result<Message, Undelivered> {
        let first = said.text.lines().next().unwrap_or_default();
        let subject = format!("cairn: {}", one_line(&first.replace('`', "")));
        let id = message.id().map(|byte| format!("{byte:02x}")).concat();
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        let made = u64::try_from(message.made.0).unwrap_or_default();
        Message::builder()
            .from(self.from.0.clone())
            .to(to.0.clone())
            .subject(subject)
            .date(SystemTime::UNIX_EPOCH + Duration::from_millis(made))
            .message_id(Some(format!("<cairn.{id}@{}>", self.from.0.email.domain())))
            // Nobody's absence is to answer it (RFC 3834).
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
            .singlepart(SinglePart::plain(said.body()))
            .map_err(|error| Undelivered::Never(format!("it cannot be written as a mail: {error}")))
    }
}

impl Said {
    fn body(&self) -> String {
        let mut body = plain(&self.text);
        body.push_str("\n\n");
        let rows = [
            ("pipeline", Some(&self.pipeline)),
            ("run", Some(&self.run)),
            ("status", Some(&self.status)),
            ("logical time", Some(&self.logical_time)),
            ("started", Some(&self.started)),
            ("ended", self.ended.as_ref()),
            ("project", Some(&self.project)),
        ];
        for (name, value) in rows {
            if let Some(value) = value {
                let _ = writeln!(body, "{name:<13} {}", one_line(value));
            }
        }
        let more = match &self.url {
            Some(url) => one_line(url),
            None => format!("cairn --project '{}' show {}", one_line(&self.project), self.run),
        };
        body.extend(["\n", &more, "\n"]);
        body
    }
}

/// What was printed somewhere may hold anything; a mail holds text.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{mail, stored};
    use super::*;

    fn written(text: &str, message: &Stored) -> String {
        let said = Said {
            text: text.to_owned(),
            pipeline: "p".to_owned(),
            run: "r".to_owned(),
            status: "failed".to_owned(),
            logical_time: "t".to_owned(),
            started: "t".to_owned(),
            ended: None,
            project: "/a\r\nBcc: you@b.example".to_owned(),
            url: None,
        };
        let mail = mail();
        let written = mail.write(&mail.to[0], &said, message).unwrap();
        assert_eq!(written.envelope().to().len(), 1);
        String::from_utf8(written.formatted()).unwrap()
    }

    #[test]
    fn nothing_that_is_told_gets_into_the_head_or_ends_the_mail() {
        let long = "ä".repeat(500);
        for text in [
            "`p` failed\r\nBcc: you@b.example\r\n\r\n.\r\nMAIL FROM:<x@b.example>",
            "`p` failed\rBcc: you@b.example\u{0}\u{1b}[31m",
            "\u{2028}Bcc: you@b.example\u{85}Bcc: you@b.example",
            long.as_str(),
            "",
        ] {
            let written = written(text, &stored("k"));
            let (head, body) = written.split_once("\r\n\r\n").unwrap();
            let names: Vec<&str> = head
                .split("\r\n")
                .filter(|line| !line.starts_with(' '))
                .map(|line| line.split(':').next().unwrap())
                .collect();
            let all = [
                "From",
                "To",
                "Subject",
                "Date",
                "Message-ID",
                "Auto-Submitted",
                "MIME-Version",
                "Content-Type",
                "Content-Transfer-Encoding",
            ];
            assert_eq!(names, all, "{head}");
            assert!(written.is_ascii() && written.lines().all(|line| line.len() < 998), "{written}");
            assert!(!written.replace("\r\n", "").contains(['\r', '\n', '\0', '\u{1b}']), "{written}");
            // As it is, or in base64.
            assert!(body.contains("status") || body.contains("c3RhdHVz"), "{body}");
        }
    }

    #[test]
    fn a_mail_that_is_written_again_is_the_same_and_another_is_another() {
        let once = written("x", &stored("k"));
        assert_eq!(once, written("x", &Stored { tries: 3, error: Some("e".to_owned()), ..stored("k") }));
        assert!(once.contains("Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n"), "{once}");
        let id = |text: &str| text.lines().find(|line| line.starts_with("Message-ID: ")).unwrap().to_owned();
        assert_ne!(id(&once), id(&written("x", &stored("another"))));
    }
}
