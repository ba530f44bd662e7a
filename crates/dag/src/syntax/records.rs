//! `records` of a stage, and its sinks, as they are written.

use std::borrow::Cow;
use std::collections::BTreeMap;

use cairn_model::{CommitMode, FieldPath, Format, OnChange, RecordRetries, SinkMode};
use toml::de::{DeTable, DeValue};

use super::inputs::{InputSyntax, OutputSyntax, Subject};
use super::names::{list, nearest, show};
use super::reader::{Listed, Reader, Value, Wanted};
use super::stage::Run;
use super::text::{Span, Text};
use super::words;
use crate::Backoff;
use crate::code;
use crate::diagnostic::Diagnostic;

/// The table `records`.
#[derive(Debug)]
pub(crate) struct RecordsSyntax<'a> {
    /// Where its header or value stands.
    pub span: Span,
    pub source: Option<Text<'a>>,
    /// Where the source is among the stage's inputs, once it was put there.
    pub source_input: usize,
    pub format: Option<Format>,
    pub key: Vec<FieldPath>,
    pub version: Option<FieldPath>,
    pub tombstone: Option<FieldPath>,
    pub worker: Option<Run<'a>>,
    pub workers: u32,
    pub worker_timeout_ms: u64,
    pub batch: Option<u32>,
    pub on_change: OnChange,
    pub retries: RecordRetries,
    pub commit: CommitMode,
    pub sinks: Vec<SinkSyntax<'a>>,
}

/// The table `sink`, or one of several.
#[derive(Debug)]
pub(crate) struct SinkSyntax<'a> {
    pub span: Span,
    pub kind: SinkKind,
    /// `path` of a file sink or a SQLite file.
    pub path: Option<Text<'a>>,
    pub url: Option<Text<'a>>,
    pub table: Option<Text<'a>>,
    /// Where a file sink's path is among the stage's outputs, once it was put there.
    pub output: usize,
    pub mode: SinkMode,
    pub key: Vec<FieldPath>,
    pub columns: BTreeMap<String, String>,
    pub method: String,
    pub batched: bool,
    pub headers: Vec<(String, Text<'a>)>,
}

/// What `type` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SinkKind {
    File(Format),
    Sqlite,
    Postgres,
    Http,
}

/// How long a worker may take for a record where the file does not say.
const WORKER_TIMEOUT_MS: u64 = 5 * 60_000;

const KINDS: [(&str, SinkKind); 6] = [
    ("postgres", SinkKind::Postgres),
    ("sqlite", SinkKind::Sqlite),
    ("jsonl", SinkKind::File(Format::Jsonl)),
    ("csv", SinkKind::File(Format::Csv)),
    ("parquet", SinkKind::File(Format::Parquet)),
    ("http", SinkKind::Http),
];

const FORMATS: [(&str, Format); 3] =
    [("jsonl", Format::Jsonl), ("csv", Format::Csv), ("parquet", Format::Parquet)];

const MODES: [(&str, SinkMode); 3] =
    [("upsert", SinkMode::Upsert), ("insert", SinkMode::Insert), ("append", SinkMode::Append)];

impl<'a> RecordsSyntax<'a> {
    /// Puts the source among the inputs and file sinks among the outputs, where they are not there already.
    pub(super) fn join(
        &mut self,
        inputs: &mut Listed<InputSyntax<'a>>,
        inputs_named: bool,
        outputs: &mut Listed<OutputSyntax<'a>>,
        outputs_named: bool,
    ) {
        if let Some(source) = &self.source {
            let is_source = |input: &InputSyntax<'a>| matches!(&input.subject, Subject::Path(text) if text.text == source.text);
            self.source_input = inputs.good.iter().position(is_source).unwrap_or_else(|| {
                let taken = inputs.good.iter().any(|input| input.name == "source");
                let name = if inputs_named && !taken { "source" } else { "" };
                let subject = Subject::Path(source.clone());
                let span = source.span.clone();
                inputs.good.push(InputSyntax { name: Cow::Borrowed(name), optional: false, subject, span });
                inputs.good.len() - 1
            });
        } else {
            inputs.whole = false;
        }
        for (number, sink) in self.sinks.iter_mut().enumerate() {
            let (SinkKind::File(_), Some(path)) = (sink.kind, &sink.path) else { continue };
            let declared = outputs.good.iter().position(|output| output.path.text == path.text);
            sink.output = declared.unwrap_or_else(|| {
                let name = match (outputs_named, number) {
                    (false, _) => Cow::Borrowed(""),
                    (true, 0) => Cow::Borrowed("sink"),
                    (true, number) => Cow::Owned(format!("sink{}", number + 1)),
                };
                outputs.good.push(OutputSyntax { name, path: path.clone() });
                outputs.good.len() - 1
            });
        }
    }
}

impl<'a> Reader<'a> {
    /// Reads the table `records`, `None` where it is none.
    pub(super) fn records(&mut self, value: &Value<'a>) -> Option<RecordsSyntax<'a>> {
        let example = "{ source = \"orders/*.jsonl\", key = [\"id\"] }";
        let table = self.table("`records`", example, value)?;
        let mut records = RecordsSyntax {
            span: value.span(),
            source: None,
            source_input: 0,
            format: None,
            key: Vec::new(),
            version: None,
            tombstone: None,
            worker: None,
            workers: 1,
            worker_timeout_ms: WORKER_TIMEOUT_MS,
            batch: None,
            on_change: OnChange::Reprocess,
            retries: RecordRetries::default(),
            commit: CommitMode::Each,
            sinks: Vec::new(),
        };
        let before = self.found.len();
        let (mut has_source, mut has_sink) = (false, false);
        for (key, value) in Self::entries(table) {
            match key.get_ref().as_ref() {
                "source" => {
                    has_source = true;
                    records.source = self.filled_text("`source`", value);
                }
                "format" => records.format = self.word("`format`", &FORMATS, value),
                "key" => records.key = self.fields("`key`", value),
                "version" => records.version = self.field("`version`", value),
                "tombstone" => records.tombstone = self.field("`tombstone`", value),
                "worker" => records.worker = self.run("`worker`", value),
                "workers" => records.workers = self.count("`workers`", 1, value).unwrap_or(1),
                "timeout" => {
                    let own = self.duration("`timeout`", 1, value);
                    records.worker_timeout_ms = own.unwrap_or(WORKER_TIMEOUT_MS);
                }
                "batch" => records.batch = self.count("`batch`", 1, value),
                "on_change" => {
                    let words = [("reprocess", OnChange::Reprocess), ("keep", OnChange::Keep)];
                    records.on_change =
                        self.word("`on_change`", &words, value).unwrap_or(OnChange::Reprocess);
                }
                "retries" => records.retries = self.record_retries(value),
                "commit" => {
                    let words = [("each", CommitMode::Each), ("two-phase", CommitMode::TwoPhase)];
                    records.commit = self.word("`commit`", &words, value).unwrap_or(CommitMode::Each);
                }
                "sink" => {
                    has_sink = true;
                    records.sinks = self.sinks(value);
                }
                _ => {
                    has_sink |= self.unknown_key(&words::RECORDS, key) == Some("sink");
                }
            }
        }
        if !has_source {
            let diagnostic = Diagnostic::error(code::MISSING_KEY, "`records` has no `source`")
                .at(value.span(), "reads nothing")
                .help("write `source = \"orders/*.jsonl\"`: JSON Lines, CSV or Parquet, a path or a pattern");
            self.report(diagnostic);
        }
        if !has_sink {
            let diagnostic = Diagnostic::error(code::MISSING_KEY, "`records` has no `sink`")
                .at(value.span(), "leads nowhere")
                .help("write `sink = { type = \"jsonl\", path = \"build/records.jsonl\" }`, or a table `[stages.NAME.records.sink]`");
            self.report(diagnostic);
        }
        if self.found.len() == before {
            self.check_records(&records);
        }
        Some(records)
    }

    /// Checks what only shows when all keys are known.
    fn check_records(&mut self, records: &RecordsSyntax<'a>) {
        for sink in &records.sinks {
            let keyed = !records.key.is_empty() || !sink.key.is_empty();
            if matches!(sink.kind, SinkKind::Sqlite | SinkKind::Postgres)
                && sink.mode != SinkMode::Append
                && !keyed
            {
                let message = format!("`mode = \"{}\"` needs a `key`", sink.mode.as_str());
                let diagnostic = Diagnostic::error(code::MISSING_KEY, message)
                    .at(records.span.clone(), "no `key` here")
                    .with(sink.span.clone(), "for this table")
                    .help("write `key = [\"id\"]`: the fields by which a row is found again");
                self.report(diagnostic);
            }
            if matches!(sink.kind, SinkKind::File(_)) && sink.mode == SinkMode::Insert {
                let help = "write `mode = \"upsert\"`: the file is made anew of what the source holds";
                self.bad_value("a file has no mode `insert`", "not for a file", sink.span.clone(), help);
            }
        }
        let mut paths: Vec<(&str, &SinkSyntax<'a>)> = Vec::new();
        for sink in &records.sinks {
            let (SinkKind::File(_), Some(path)) = (sink.kind, &sink.path) else { continue };
            if let Some((_, first)) = paths.iter().find(|(known, _)| *known == path.text) {
                let message = format!("two sinks write the file `{}`", show(&path.text));
                let diagnostic = Diagnostic::error(code::BAD_VALUE, message)
                    .at(sink.span.clone(), "and this")
                    .with(first.span.clone(), "this")
                    .help("give each a path of its own");
                self.report(diagnostic);
            }
            paths.push((&path.text, sink));
        }
        if records.tombstone.is_some()
            && let Some(sink) = records.sinks.iter().find(|sink| sink.mode != SinkMode::Upsert)
        {
            let (message, keeps, help) = if sink.mode == SinkMode::Append {
                let help = "remove `tombstone`: each version is a row of its own, that of a deletion too";
                ("`mode = \"append\"` deletes nothing", "keeps each version", help)
            } else {
                let help = "remove `tombstone`, or write `mode = \"upsert\"`: what came later would have to count, to delete it";
                ("`mode = \"insert\"` deletes nothing", "keeps the first version", help)
            };
            self.bad_value(message, keeps, sink.span.clone(), help);
        }
        let appends = |sink: &SinkSyntax<'a>| sink.mode == SinkMode::Append;
        if let [first, others @ ..] = records.sinks.as_slice()
            && let Some(other) = others.iter().find(|sink| appends(sink) != appends(first))
        {
            let diagnostic =
                Diagnostic::error(code::BAD_VALUE, "one sink takes each version, another the newest alone")
                    .at(other.span.clone(), format!("`{}`", other.mode.as_str()))
                    .with(first.span.clone(), format!("`{}`", first.mode.as_str()))
                    .help("make two stages of them");
            self.report(diagnostic);
        }
        let outside = || records.sinks.iter().filter(|sink| !matches!(sink.kind, SinkKind::File(_)));
        // What a later sink refuses comes again for all: a table without keys would have it twice, and an endpoint that knows
        // requests of several records.
        if records.commit != CommitMode::TwoPhase
            && let Some((last, others)) = outside().collect::<Vec<_>>().split_last()
            && let Some(table) =
                others.iter().find(|sink| appends(sink) && (sink.kind != SinkKind::Http || sink.batched))
        {
            let what = if table.kind == SinkKind::Http { "a batched endpoint" } else { "a table" };
            let message = format!("{what} of `mode = \"append\"` stands before another sink");
            let diagnostic = Diagnostic::error(code::BAD_VALUE, message)
                .at(table.span.clone(), "what the later one does not take would be put here again")
                .with(last.span.clone(), "it may not take a record")
                .help("make two stages of them, or put it last; several tables in PostgreSQL may have `commit = \"two-phase\"`");
            self.report(diagnostic);
        }
        let postgres =
            records.sinks.iter().all(|sink| sink.kind == SinkKind::Postgres) && records.sinks.len() > 1;
        if records.commit == CommitMode::TwoPhase && !postgres {
            let help = "remove it: only several PostgreSQL sinks commit in two phases";
            let message = "`commit = \"two-phase\"` needs two PostgreSQL sinks or more, and no other";
            self.bad_value(message, "not with these sinks", records.span.clone(), help);
        }
    }

    fn sinks(&mut self, value: &Value<'a>) -> Vec<SinkSyntax<'a>> {
        match value.get_ref() {
            DeValue::Table(table) => self.sink(table, value.span()).into_iter().collect(),
            DeValue::Array(items) if items.is_empty() => {
                self.bad_value("`sink` is empty", "leads nowhere", value.span(), "write at least one");
                Vec::new()
            }
            DeValue::Array(items) => {
                let example = "{ type = \"jsonl\", path = \"build/records.jsonl\" }";
                let mut sinks = Vec::new();
                for item in items {
                    if let Some(table) = self.table("a sink", example, item) {
                        sinks.extend(self.sink(table, item.span()));
                    }
                }
                sinks
            }
            _ => {
                self.wrong_type("`sink`", "a table, or an array of tables", Wanted::Other, value);
                Vec::new()
            }
        }
    }

    fn sink(&mut self, table: &DeTable<'a>, span: Span) -> Option<SinkSyntax<'a>> {
        let kind = table.iter().find(|(key, _)| key.get_ref() == "type");
        let Some((_, kind)) = kind else {
            let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
            let diagnostic = Diagnostic::error(code::MISSING_KEY, "a sink has no `type`")
                .at(span, "of which kind?")
                .help(format!("write `type = \"…\"`, one of {}", list(&names)));
            self.report(diagnostic);
            return None;
        };
        let kind = self.word("`type`", &KINDS, kind)?;
        let mut sink = SinkSyntax {
            span,
            kind,
            path: None,
            url: None,
            table: None,
            output: 0,
            mode: SinkMode::Upsert,
            key: Vec::new(),
            columns: BTreeMap::new(),
            method: "POST".to_owned(),
            batched: false,
            headers: Vec::new(),
        };
        for (key, value) in Self::entries(table) {
            match key.get_ref().as_ref() {
                "type" => {}
                "path" => sink.path = self.filled_text("`path`", value),
                "url" => sink.url = self.filled_text("`url`", value),
                "table" => sink.table = self.filled_text("`table`", value),
                "mode" => sink.mode = self.word("`mode`", &MODES, value).unwrap_or(SinkMode::Upsert),
                "key" => sink.key = self.fields("`key`", value),
                "columns" => sink.columns = self.columns(value),
                "method" => {
                    let words = [("POST", "POST"), ("PUT", "PUT"), ("PATCH", "PATCH")];
                    sink.method = self.word("`method`", &words, value).unwrap_or("POST").to_owned();
                }
                "batched" => sink.batched = self.boolean("`batched`", value).unwrap_or(false),
                "headers" => sink.headers = self.headers(value),
                _ => {
                    self.unknown_key(&words::SINK, key);
                }
            }
        }
        self.check_sink(&sink);
        Some(sink)
    }

    /// Holds that a sink has the keys of its type and no others.
    fn check_sink(&mut self, sink: &SinkSyntax<'a>) {
        let (file, sql, http) = match sink.kind {
            SinkKind::File(_) => (true, false, false),
            SinkKind::Sqlite | SinkKind::Postgres => (false, true, false),
            SinkKind::Http => (false, false, true),
        };
        let missing = match sink.kind {
            SinkKind::File(_) if sink.path.is_none() => Some("path = \"build/records.jsonl\""),
            SinkKind::Sqlite if sink.path.is_none() && sink.url.is_none() => Some("path = \"build/data.db\""),
            SinkKind::Postgres if sink.url.is_none() => Some("url = \"{{ env.DATABASE_URL }}\""),
            SinkKind::Http if sink.url.is_none() => Some("url = \"https://…\""),
            SinkKind::Sqlite | SinkKind::Postgres if sink.table.is_none() => Some("table = \"orders\""),
            _ => None,
        };
        if let Some(missing) = missing {
            let name = missing.split(' ').next().unwrap_or_default();
            let diagnostic = Diagnostic::error(code::MISSING_KEY, format!("the sink has no `{name}`"))
                .at(sink.span.clone(), "where to?")
                .help(format!("write `{missing}`"));
            self.report(diagnostic);
        }
        let foreign = [
            ("url", sink.url.as_ref().map(|text| &text.span), file),
            ("table", sink.table.as_ref().map(|text| &text.span), !sql),
            ("path", sink.path.as_ref().map(|text| &text.span), http || sink.kind == SinkKind::Postgres),
        ];
        for (name, span, wrong) in foreign {
            if let (Some(span), true) = (span, wrong) {
                let help = "remove it";
                self.bad_value(
                    format!("`{name}` means nothing for this type of sink"),
                    "not here",
                    span.clone(),
                    help,
                );
            }
        }
        if sink.kind == SinkKind::Sqlite && sink.path.is_some() && sink.url.is_some() {
            let help = "write one of the two";
            self.bad_value(
                "a sink of type `sqlite` has a `path` or a `url`",
                "both",
                sink.span.clone(),
                help,
            );
        }
    }

    /// Reads one of some words.
    fn word<T: Copy>(&mut self, what: &str, words: &[(&'static str, T)], value: &Value<'a>) -> Option<T> {
        let text = self.filled_text(what, value)?;
        if let Some((_, meant)) = words.iter().find(|(word, _)| *word == text.text) {
            return Some(*meant);
        }
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let diagnostic =
            Diagnostic::error(code::BAD_VALUE, format!("{what} cannot be `{}`", show(&text.text)))
                .at(text.span.clone(), "not one of them");
        let lower = text.text.to_ascii_lowercase();
        self.report(match nearest(&lower, names.iter().copied()) {
            Some(near) => {
                diagnostic.help(format!("did you mean `{near}`?")).patch(text.span, format!("\"{near}\""))
            }
            None => diagnostic.help(format!("write one of {}", list(&names))),
        });
        None
    }

    fn field(&mut self, what: &str, value: &Value<'a>) -> Option<FieldPath> {
        let text = self.filled_text(what, value)?;
        let field = FieldPath::parse(&text.text);
        if field.is_none() {
            let help = "write the names from the outermost in, with dots between them: `customer.id`";
            self.bad_value(
                format!("{what} names no field: `{}`", show(&text.text)),
                "an empty name",
                text.span,
                help,
            );
        }
        field
    }

    /// Reads an array of fields, or a single one.
    fn fields(&mut self, what: &str, value: &Value<'a>) -> Vec<FieldPath> {
        let DeValue::Array(items) = value.get_ref() else {
            if value.get_ref().is_str() {
                return self.field(what, value).into_iter().collect();
            }
            self.wrong_type(what, "an array of fields such as `[\"id\"]`", Wanted::Texts, value);
            return Vec::new();
        };
        let fields: Vec<FieldPath> = items.iter().filter_map(|item| self.field(what, item)).collect();
        if items.is_empty() {
            let help = "name a field, or remove `key`: then a digest of the record is its key";
            self.bad_value(format!("{what} names no field"), "empty", value.span(), help);
        }
        for (index, field) in fields.iter().enumerate() {
            if fields[..index].contains(field) {
                let message = format!("{what} names `{field}` twice");
                self.bad_value(message, "twice", value.span(), "remove one of them");
                break;
            }
        }
        fields
    }

    fn columns(&mut self, value: &Value<'a>) -> BTreeMap<String, String> {
        let Some(table) = self.table("`columns`", "{ id = \"bigint\" }", value) else {
            return BTreeMap::new();
        };
        let mut columns = BTreeMap::new();
        for (key, value) in Self::entries(table) {
            if let Some(text) = self.filled_text(&format!("the type of `{}`", show(key.get_ref())), value) {
                columns.insert(key.get_ref().clone().into_owned(), text.text.into_owned());
            }
        }
        columns
    }

    fn headers(&mut self, value: &Value<'a>) -> Vec<(String, Text<'a>)> {
        let example = "{ Authorization = \"Bearer {{ env.TOKEN }}\" }";
        let Some(table) = self.table("`headers`", example, value) else { return Vec::new() };
        let mut headers = Vec::new();
        for (key, value) in Self::entries(table) {
            let name = key.get_ref();
            let good = !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(&byte));
            if !good {
                let help = "a header's name holds letters, digits and `-`";
                self.bad_value(
                    format!("`{}` is no header's name", show(name)),
                    "not a name",
                    key.span(),
                    help,
                );
            } else if let Some(text) = self.text(&format!("the header `{name}`"), value) {
                headers.push((name.clone().into_owned(), text));
            }
        }
        headers
    }

    fn record_retries(&mut self, value: &Value<'a>) -> RecordRetries {
        let read = self.retries(value);
        let named = |name: &str| match value.get_ref() {
            DeValue::Table(table) => table.iter().any(|(key, _)| key.get_ref() == name),
            _ => false,
        };
        let unsaid = RecordRetries::default();
        RecordRetries {
            attempts: read.attempts,
            delay_ms: read.delay_ms,
            exponential: read.backoff == Backoff::Exponential,
            max_delay_ms: if named("max_delay") { read.max_delay_ms } else { unsaid.max_delay_ms },
            jitter: read.jitter,
        }
    }
}
