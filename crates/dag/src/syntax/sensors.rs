//! `sensors` of a schedule: what else starts a run.

use cairn_model::{Sensor, SensorKind};
use toml::de::{DeTable, DeValue};

use super::reader::{Reader, Value, Wanted};
use super::words;
use crate::code;
use crate::diagnostic::Diagnostic;

/// Time between two looks at files where a sensor does not say: cheap, and soon enough for people.
const FILES_POLL_MS: u64 = 5_000;

/// The same for commands and addresses, which cost more and somebody else's.
const POLL_MS: u64 = 60_000;

/// The shortest time between two looks.
const POLL_MS_MIN: u64 = 100;

/// How long a file must have been still where a sensor does not say.
const SETTLE_MS: u64 = 2_000;

/// What a sensor looks at: one of these.
const KINDS: [&str; 4] = ["files", "command", "url", "webhook"];

impl<'a> Reader<'a> {
    /// Reads `sensors`: an array of tables, or one table.
    pub(super) fn sensors(&mut self, value: &Value<'a>) -> Vec<Sensor> {
        match value.get_ref() {
            DeValue::Array(items) => items.iter().filter_map(|item| self.sensor(item)).collect(),
            DeValue::Table(_) => self.sensor(value).into_iter().collect(),
            _ => {
                self.wrong_type(
                    "`sensors`",
                    "an array of tables such as `[{ files = \"incoming/*.csv\" }]`",
                    Wanted::Other,
                    value,
                );
                Vec::new()
            }
        }
    }

    fn sensor(&mut self, value: &Value<'a>) -> Option<Sensor> {
        let table = self.table("a sensor", "{ files = \"incoming/*.csv\" }", value)?;
        let before = self.found.len();
        self.one_kind(table, value);
        let (mut kind, mut poll_ms, mut settle_ms) = (None, None, SETTLE_MS);
        for (key, value) in Self::entries(table) {
            match key.get_ref().as_ref() {
                "files" => kind = self.pattern(value),
                "command" => {
                    kind = self
                        .filled_text("`command`", value)
                        .map(|text| SensorKind::Command { text: text.text.into_owned() });
                }
                "url" => kind = self.address(value),
                "webhook" => {
                    let text = self.text("`webhook`", value);
                    kind = text.and_then(|text| self.name(&text)).map(|name| SensorKind::Webhook { name });
                }
                "poll" => {
                    poll_ms = self.duration("`poll`", POLL_MS_MIN, value);
                    self.only_with(table, "webhook", false, "poll", key.span());
                }
                "settle" => {
                    settle_ms = self.duration("`settle`", 0, value).unwrap_or(settle_ms);
                    self.only_with(table, "files", true, "settle", key.span());
                }
                _ => {
                    self.unknown_key(&words::SENSOR, key);
                }
            }
        }
        if self.found.len() > before {
            return None;
        }
        let mut kind = kind?;
        if let SensorKind::Files { settle_ms: settle, .. } = &mut kind {
            *settle = settle_ms;
        }
        let default = if matches!(kind, SensorKind::Files { .. }) { FILES_POLL_MS } else { POLL_MS };
        Some(Sensor { kind, poll_ms: poll_ms.unwrap_or(default) })
    }

    /// Holds that a sensor looks at one thing.
    fn one_kind(&mut self, table: &DeTable<'a>, value: &Value<'a>) {
        let mut kinds =
            Self::entries(table).into_iter().filter(|(key, _)| KINDS.contains(&key.get_ref().as_ref()));
        let Some((first, _)) = kinds.next() else {
            // A peer's word for one of them is reported by itself.
            let named =
                Self::entries(table).iter().any(|(key, _)| words::SENSOR.means(key.get_ref(), &KINDS));
            if !named {
                let diagnostic = Diagnostic::error(code::MISSING_KEY, "a sensor looks at nothing")
                    .at(value.span(), "at what?")
                    .help("write `files = \"incoming/*.csv\"`, `command = \"…\"`, `url = \"https://…\"` or `webhook = \"name\"`");
                self.report(diagnostic);
            }
            return;
        };
        for (other, _) in kinds {
            let message = format!("a sensor with `{}` and `{}`", first.get_ref(), other.get_ref());
            let diagnostic = Diagnostic::error(code::TWO_TRIGGERS, message)
                .at(other.span(), "a second one")
                .with(first.span(), "the first")
                .help("write a sensor for each: any of them starts a run");
            self.report(diagnostic);
        }
    }

    /// Says that a key means nothing beside another (`wanted` false) or without it (`wanted` true).
    fn only_with(
        &mut self,
        table: &DeTable<'a>,
        other: &str,
        wanted: bool,
        key: &str,
        span: super::text::Span,
    ) {
        if table.contains_key(other) != wanted {
            let beside = if wanted { "without" } else { "beside" };
            self.bad_value(
                format!("`{key}` means nothing {beside} `{other}`"),
                "no meaning here",
                span,
                "remove it",
            );
        }
    }

    fn pattern(&mut self, value: &Value<'a>) -> Option<SensorKind> {
        let text = self.filled_text("`files`", value)?;
        if let Err(error) = crate::Glob::parse(&text.text) {
            let diagnostic = Diagnostic::error(code::BAD_GLOB, format!("`files`: {error}"))
                .at(text.span, "no pattern")
                .help(error.help());
            self.report(diagnostic);
            return None;
        }
        Some(SensorKind::Files { pattern: text.text.into_owned(), settle_ms: SETTLE_MS })
    }

    fn address(&mut self, value: &Value<'a>) -> Option<SensorKind> {
        let text = self.filled_text("`url`", value)?;
        let host = text.text.strip_prefix("https://").or_else(|| text.text.strip_prefix("http://"));
        let is_plain = |c: char| !c.is_whitespace() && !c.is_control();
        if host.is_none_or(|host| host.is_empty() || host.starts_with('/') || !host.chars().all(is_plain)) {
            let help = "write an address such as `\"https://example.org/data.csv\"`";
            self.bad_value("`url` is no address of the web", "no address", text.span, help);
            return None;
        }
        Some(SensorKind::Http { url: text.text.into_owned() })
    }
}
