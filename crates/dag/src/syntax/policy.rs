//! `retries`, `timeout`, `cache`, `resources`: how a stage is run.

use toml::de::DeValue;

use super::names::{nearest, show};
use super::reader::{Reader, Value, Wanted};
use super::text::{Span, Text};
use super::words;
use crate::code;
use crate::diagnostic::Diagnostic;
use crate::{Backoff, Cache, Retries};

/// What `resources` says.
#[derive(Debug, Default)]
pub(super) struct Resources<'a> {
    pub cpus: Option<(u32, Span)>,
    pub memory_bytes: Option<u64>,
    pub pool: Option<Text<'a>>,
}

impl<'a> Reader<'a> {
    /// Reads `retries`: a table, or how often to try again after a failure.
    pub(super) fn retries(&mut self, value: &Value<'a>) -> Retries {
        let mut retries = Retries::default();
        let table = match value.get_ref() {
            DeValue::Table(table) => table,
            DeValue::Integer(_) => {
                let again = self.integer("`retries`", 0, i64::from(u32::MAX - 1), value).unwrap_or(0);
                retries.attempts = u32::try_from(again).map_or(1, |again| again + 1);
                return retries;
            }
            _ => {
                let wanted = "a number, or a table such as `{ attempts = 3, delay = \"2s\" }`";
                self.wrong_type("`retries`", wanted, Wanted::Integer, value);
                return retries;
            }
        };
        for (key, value) in Self::entries(table) {
            match key.get_ref().as_ref() {
                "attempts" => retries.attempts = self.count("`attempts`", 1, value).unwrap_or(1),
                "delay" => retries.delay_ms = self.duration("`delay`", 0, value).unwrap_or(0),
                "max_delay" => {
                    retries.max_delay_ms = self.duration("`max_delay`", 0, value).unwrap_or(u64::MAX);
                }
                "jitter" => retries.jitter = self.boolean("`jitter`", value).unwrap_or(true),
                "backoff" => retries.backoff = self.backoff(value).unwrap_or(retries.backoff),
                _ => {
                    self.unknown_key(&words::RETRIES, key);
                }
            }
        }
        // A longer delay than the default of `max_delay` is meant; only one that contradicts a written one is not.
        if !table.contains_key("max_delay") {
            retries.max_delay_ms = retries.max_delay_ms.max(retries.delay_ms);
        } else if retries.delay_ms > retries.max_delay_ms {
            let span = table.get("max_delay").map_or(value.span(), toml::Spanned::span);
            let help = "make `max_delay` at least as long as `delay`";
            self.bad_value("`max_delay` is shorter than `delay`", "shorter than `delay`", span, help);
        }
        retries
    }

    fn backoff(&mut self, value: &Value<'a>) -> Option<Backoff> {
        let text = self.text_or("`backoff`", "`\"exponential\"` or `\"constant\"`", value)?;
        match text.text.as_ref() {
            "exponential" => Some(Backoff::Exponential),
            "constant" => Some(Backoff::Constant),
            other => {
                let meant = match other {
                    "fixed" | "linear" | "none" | "static" => Some("constant"),
                    "exp" | "expo" | "double" => Some("exponential"),
                    _ => nearest(other, ["exponential", "constant"]),
                };
                let diagnostic =
                    Diagnostic::error(code::BAD_VALUE, format!("`{}` is no backoff", show(other)))
                        .at(text.span.clone(), "unknown word")
                        .help("write `\"exponential\"` or `\"constant\"`");
                self.report(match meant {
                    Some(meant) => diagnostic.patch(text.span, format!("\"{meant}\"")),
                    None => diagnostic,
                });
                None
            }
        }
    }

    pub(super) fn cache(&mut self, value: &Value<'a>) -> Cache {
        let table = match value.get_ref() {
            DeValue::Boolean(true) => return Cache::Always,
            DeValue::Boolean(false) => return Cache::Never,
            DeValue::Table(table) => table,
            _ => {
                let wanted = "`true`, `false` or a table such as `{ ttl = \"1h\" }`";
                self.wrong_type("`cache`", wanted, Wanted::Boolean, value);
                return Cache::Always;
            }
        };
        let (mut cache, mut named) = (Cache::Always, false);
        for (key, value) in Self::entries(table) {
            if key.get_ref() == "ttl" {
                named = true;
                cache = self.duration("`ttl`", 1, value).map_or(cache, |ms| Cache::Ttl { ms });
            } else {
                named |= self.unknown_key(&words::CACHE, key).is_some();
            }
        }
        if !named {
            let diagnostic = Diagnostic::error(code::MISSING_KEY, "`cache` says nothing")
                .at(value.span(), "no `ttl` in this table")
                .help("write `true`, `false` or `{ ttl = \"1h\" }`");
            self.report(diagnostic);
        }
        cache
    }

    pub(super) fn resources(&mut self, value: &Value<'a>) -> Resources<'a> {
        let mut resources = Resources::default();
        let Some(table) = self.table("`resources`", "{ cpus = 2 }", value) else { return resources };
        for (key, value) in Self::entries(table) {
            match key.get_ref().as_ref() {
                "cpus" => resources.cpus = self.count("`cpus`", 1, value).map(|cpus| (cpus, value.span())),
                "memory" => resources.memory_bytes = self.size("`memory`", value),
                "pool" => resources.pool = self.filled_text("`pool`", value),
                _ => {
                    self.unknown_key(&words::RESOURCES, key);
                }
            }
        }
        resources
    }
}
