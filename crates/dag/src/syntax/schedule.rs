//! `[schedule]`: when a pipeline is run by itself.

use std::ops::Range;

use cairn_model::{Catchup, Cron, Name, Overlap, RunRetries, Schedule, Timestamp, Trigger};
use jiff::tz::TimeZone;
use toml::de::{DeTable, DeValue};

use super::names::{list, nearest, show};
use super::reader::{Reader, Value, Wanted};
use super::text::{At, Span};
use super::words;
use crate::code;
use crate::diagnostic::Diagnostic;
use crate::pipeline::Backoff;

/// The shortest distance of `every`.
const EVERY_MS_MIN: u64 = 1_000;

/// The keys of a trigger, of which a schedule has one.
const TRIGGERS: [&str; 3] = ["cron", "every", "at"];

/// What else starts runs.
const OTHERS: [&str; 4] = ["after", "sensors", "retry_dead", "check_drift"];

impl<'a> Reader<'a> {
    /// Reads `[schedule]`, `None` after an error in it.
    pub(super) fn schedule(&mut self, header: Span, value: &Value<'a>) -> Option<At<Schedule>> {
        let table =
            self.table("`schedule`", "{ cron = \"0 6 * * *\", timezone = \"Europe/Berlin\" }", value)?;
        let before = self.found.len();
        let mut schedule = Schedule::default();
        // Dates are read in it, wherever it stands.
        let zone = match table.get("timezone") {
            Some(value) => self.timezone(value).unwrap_or(TimeZone::UTC),
            None => TimeZone::UTC,
        };
        if let Some(name) = zone.iana_name() {
            name.clone_into(&mut schedule.timezone);
        }
        let mut starts = false;
        for (key, value) in Self::entries(table) {
            match key.get_ref().as_ref() {
                "timezone" => {}
                "cron" => schedule.trigger = self.cron(value).map(Trigger::Cron),
                "every" => {
                    schedule.trigger =
                        self.duration("`every`", EVERY_MS_MIN, value).map(|ms| Trigger::Every { ms });
                }
                "at" => schedule.trigger = self.times(&zone, value).map(Trigger::At),
                "catchup" => {
                    schedule.catchup = self
                        .one_of("`catchup`", Catchup::ALL, Catchup::as_str, value)
                        .unwrap_or(Catchup::Latest);
                }
                "catchup_window" => schedule.catchup_window_ms = self.duration("`catchup_window`", 1, value),
                "overlap" => {
                    schedule.overlap = self
                        .one_of("`overlap`", Overlap::ALL, Overlap::as_str, value)
                        .unwrap_or(Overlap::Skip);
                }
                "jitter" => schedule.jitter_ms = self.duration("`jitter`", 0, value).unwrap_or(0),
                "start" => schedule.start = self.time("`start`", &zone, value),
                "end" => schedule.end = self.time("`end`", &zone, value),
                "stop_after_failures" => {
                    schedule.stop_after_failures = self.count("`stop_after_failures`", 1, value);
                }
                "retries" => {
                    let retries = self.retries(value);
                    schedule.retries = Some(RunRetries {
                        attempts: retries.attempts,
                        delay_ms: retries.delay_ms,
                        doubles: retries.backoff == Backoff::Exponential,
                        max_delay_ms: retries.max_delay_ms,
                        jitter: retries.jitter,
                    });
                }
                "after" => schedule.after = self.pipelines(value),
                "sensors" => schedule.sensors = self.sensors(value),
                "retry_dead" => {
                    schedule.retry_dead_ms = self.duration("`retry_dead`", EVERY_MS_MIN, value);
                }
                "retry_dead_max" => {
                    let most = self.count("`retry_dead_max`", 1, value);
                    schedule.retry_dead_max = most.unwrap_or(Schedule::RETRY_DEAD_MAX);
                }
                "check_drift" => {
                    schedule.check_drift_ms = self.duration("`check_drift`", EVERY_MS_MIN, value);
                }
                "priority" => {
                    schedule.priority = self.integer("`priority`", i64::MIN, i64::MAX, value).unwrap_or(0);
                }
                _ => {
                    let meant = self.unknown_key(&words::SCHEDULE, key);
                    starts |= meant.is_some_and(|key| TRIGGERS.contains(&key) || OTHERS.contains(&key));
                }
            }
        }
        starts |= TRIGGERS.iter().chain(&OTHERS).any(|key| table.contains_key(*key));
        if !starts {
            let diagnostic = Diagnostic::error(code::MISSING_KEY, "the schedule starts nothing")
                .at(header.clone(), "when?")
                .help("write for example `cron = \"0 6 * * *\"` or `every = \"1h\"`");
            self.report(diagnostic);
        }
        self.one_trigger(table);
        self.in_order(&schedule, table);
        (self.found.len() == before).then_some(At { value: schedule, span: header })
    }

    /// Holds that a schedule has one trigger.
    fn one_trigger(&mut self, table: &DeTable<'a>) {
        let mut named: Vec<_> = Self::entries(table)
            .into_iter()
            .filter(|(key, _)| TRIGGERS.contains(&key.get_ref().as_ref()))
            .collect();
        let Some(((first, _), others)) = named.split_first_mut() else { return };
        for (other, _) in others {
            let message = format!("a schedule with `{}` and `{}`", first.get_ref(), other.get_ref());
            let diagnostic = Diagnostic::error(code::TWO_TRIGGERS, message)
                .at(other.span(), "a second trigger")
                .with(first.span(), "the first")
                .help("keep one; for times that one expression cannot say, write two pipelines");
            self.report(diagnostic);
        }
    }

    /// Holds that there is time between start and end, and that jitter keeps runs apart.
    fn in_order(&mut self, schedule: &Schedule, table: &DeTable<'a>) {
        let span = |key: &str| table.get(key).map_or(0..0, toml::Spanned::span);
        if let (Some(start), Some(end)) = (schedule.start, schedule.end)
            && start >= end
        {
            let diagnostic = Diagnostic::error(code::BAD_VALUE, "the schedule ends before it starts")
                .at(span("end"), "no later than `start`")
                .with(span("start"), "starts here")
                .help("make `end` later than `start`: it is the first time that no longer counts");
            self.report(diagnostic);
        }
        if table.contains_key("retry_dead_max") && !table.contains_key("retry_dead") {
            let help = "write for example `retry_dead = \"6h\"` as well";
            let message = "`retry_dead_max` without `retry_dead`";
            self.bad_value(message, "nothing is tried again", span("retry_dead_max"), help);
        }
        if let Some(Trigger::Every { ms }) = schedule.trigger
            && schedule.jitter_ms >= ms
        {
            let help = "make `jitter` shorter than `every`";
            self.bad_value("`jitter` is as long as `every`", "would mix up runs", span("jitter"), help);
        }
    }

    fn timezone(&mut self, value: &Value<'a>) -> Option<TimeZone> {
        let text = self.filled_text("`timezone`", value)?;
        if let Ok(zone) = TimeZone::get(&text.text) {
            return Some(zone);
        }
        let name = &text.text;
        let diagnostic =
            Diagnostic::error(code::UNKNOWN_ZONE, format!("there is no time zone `{}`", show(name)))
                .at(text.span.clone(), "not in the time zone database");
        let near = crate::time::nearest_zone(name);
        self.report(match near {
            Some(near) => {
                diagnostic.help(format!("did you mean `{near}`?")).patch(text.span, format!("\"{near}\""))
            }
            None if crate::time::knows_no_zone() => diagnostic
                .help("this machine has no time zone database: install `tzdata`, or write `\"UTC\"`"),
            None => diagnostic
                .help("write a name such as `\"Europe/Berlin\"`, `\"America/New_York\"` or `\"UTC\"`"),
        });
        None
    }

    fn cron(&mut self, value: &Value<'a>) -> Option<Cron> {
        let text = self.text("`cron`", value)?;
        let error = match text.text.parse::<Cron>() {
            Ok(cron) => return Some(cron),
            Err(error) => error,
        };
        for fault in error.faults {
            let Range { start, end } = fault.span;
            // Nothing cannot be marked: then the whole is.
            let span = if start == end { text.span.clone() } else { text.span_of(start..end, self.source) };
            let message = format!("`{}` is no cron expression", show(&text.text));
            let diagnostic =
                Diagnostic::error(code::BAD_CRON, message).at(span.clone(), fault.message).help(fault.help);
            self.report(match fault.replacement {
                // A part of a string whose source reads otherwise cannot be replaced.
                Some(new) if self.source.get(span.clone()) == text.text.get(start..end) => {
                    diagnostic.patch(span, new)
                }
                _ => diagnostic,
            });
        }
        None
    }

    fn times(&mut self, zone: &TimeZone, value: &Value<'a>) -> Option<Vec<Timestamp>> {
        let DeValue::Array(items) = value.get_ref() else {
            return self.time("`at`", zone, value).map(|time| vec![time]);
        };
        if items.is_empty() {
            self.bad_value(
                "`at` holds no time",
                "no time",
                value.span(),
                "write at least one, or remove the key",
            );
            return None;
        }
        let mut times: Vec<_> =
            items.iter().filter_map(|value| self.time("an element of `at`", zone, value)).collect();
        let whole = times.len() == items.len();
        times.sort_unstable();
        times.dedup();
        whole.then_some(times)
    }

    /// Reads a date or a date and time; without an offset it is one of the zone's clock.
    fn time(&mut self, what: &str, zone: &TimeZone, value: &Value<'a>) -> Option<Timestamp> {
        let text = match value.get_ref() {
            DeValue::String(text) => text.trim().to_owned(),
            DeValue::Datetime(time) if time.date.is_some() => time.to_string(),
            _ => {
                self.wrong_type(
                    what,
                    "a date or a date and time such as `2026-01-31` or `2026-01-31T06:00:00Z`",
                    Wanted::Other,
                    value,
                );
                return None;
            }
        };
        let read = crate::instant(&text, zone);
        if read.is_none() {
            let diagnostic =
                Diagnostic::error(code::BAD_TIME, format!("{what} is no date or time: `{}`", show(&text)))
                    .at(value.span(), "cannot be read")
                    .help("write for example `2026-01-31`, `2026-01-31T06:00:00` in the schedule's zone or `2026-01-31T06:00:00Z`");
            self.report(diagnostic);
        }
        read
    }

    /// Reads one word of several.
    fn one_of<T: Copy>(
        &mut self,
        what: &str,
        all: &[T],
        text_of: fn(T) -> &'static str,
        value: &Value<'a>,
    ) -> Option<T> {
        let words: Vec<&str> = all.iter().map(|word| text_of(*word)).collect();
        let text = self.text(what, value)?;
        let found = all.iter().copied().find(|word| text_of(*word) == text.text);
        if found.is_none() {
            let meant = match text.text.as_ref() {
                "true" | "yes" | "backfill" => words.iter().copied().find(|word| *word == "all"),
                "false" | "no" | "off" | "never" => words.iter().copied().find(|word| *word == "none"),
                "last" | "once" => words.iter().copied().find(|word| *word == "latest"),
                "forbid" | "drop" => words.iter().copied().find(|word| *word == "skip"),
                "wait" | "allow" | "enqueue" => words.iter().copied().find(|word| *word == "queue"),
                "replace" | "kill" | "stop" => words.iter().copied().find(|word| *word == "cancel"),
                other => nearest(other, words.iter().copied()),
            };
            let diagnostic =
                Diagnostic::error(code::BAD_VALUE, format!("{what} cannot be `{}`", show(&text.text)))
                    .at(text.span.clone(), "unknown word")
                    .help(format!("write one of {}", list(&words)));
            self.report(match meant {
                Some(meant) => diagnostic.patch(text.span, format!("\"{meant}\"")),
                None => diagnostic,
            });
        }
        found
    }

    fn pipelines(&mut self, value: &Value<'a>) -> Vec<Name> {
        let mut names: Vec<Name> = Vec::new();
        for text in self.texts("`after`", value).good {
            let Some(name) = self.name(&text) else { continue };
            if names.contains(&name) {
                let message = format!("`{name}` stands twice in `after`");
                self.bad_value(message, "again", text.span, "remove it");
            } else {
                names.push(name);
            }
        }
        names
    }
}
