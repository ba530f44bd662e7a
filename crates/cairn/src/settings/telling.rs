//! `[notify]` and `[lineage]` of `cairn.toml`: who outside the daemon tells of runs.
//!
//! | key | value | default |
//! | --- | --- | --- |
//! | `notify.on` | list of `failed`, `recovered`, `in-doubt`, `dead`, `drifted` | all of them |
//! | `notify.webhook` | address that a JSON object is posted to | none |
//! | `notify.command` | program and arguments, given the text on standard input | none |
//! | `notify.mail` | table, see `mail` | none |
//! | `lineage.file` | file that OpenLineage events are appended to, relative to the project | none |
//! | `lineage.url` | address that OpenLineage events are posted to | none |
//! | `lineage.namespace` | namespace of the jobs | `cairn` |
#![allow(clippy::doc_markdown, reason = "OpenLineage is a name, not an item")]

use std::collections::BTreeSet;
use std::ops::Range;

use cairn_dag::{Diagnostic, code};
use cairn_server::lineage::{Lineage, LineageTo};
use cairn_server::notify::{Notify, Occasion};
use toml::de::{DeTable, DeValue};

use super::{finding, unknown_key_of};

const NOTIFY_KEYS: [&str; 4] = ["command", "mail", "on", "webhook"];
const LINEAGE_KEYS: [&str; 3] = ["file", "namespace", "url"];

/// Adds that the value at `span` is wrong.
pub(super) fn wrong(found: &mut Vec<Diagnostic>, span: Range<usize>, message: &str, help: &str) {
    let mut finding = finding(code::BAD_VALUE, message, span, "");
    finding.help = Some(help.to_owned());
    found.push(finding);
}

/// Reads a list of texts, none of them empty.
pub(super) fn texts(value: &DeValue<'_>) -> Option<Vec<String>> {
    let DeValue::Array(items) = value else { return None };
    let text = |item: &toml::Spanned<DeValue<'_>>| match item.get_ref() {
        DeValue::String(text) if !text.is_empty() => Some(text.to_string()),
        _ => None,
    };
    items.iter().map(text).collect()
}

/// Reads an address that can be posted to.
fn url(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) if text.starts_with("http://") || text.starts_with("https://") => {
            Some(text.to_string())
        }
        _ => None,
    }
}

/// Reads a list of occasions.
pub(super) fn occasions(value: &DeValue<'_>) -> Option<BTreeSet<Occasion>> {
    let known = |word: &String| Occasion::ALL.into_iter().find(|known| known.as_str() == word);
    texts(value)?.iter().map(known).collect()
}

pub(super) fn wrong_occasions(found: &mut Vec<Diagnostic>, span: Range<usize>) {
    wrong(
        found,
        span,
        "`on` is a list of `failed`, `recovered`, `in-doubt`, `dead` and `drifted`",
        "for example `on = [\"failed\", \"recovered\"]`",
    );
}

/// Takes the picture of its line from what was found last: a password could be in it.
fn unseen(found: &mut [Diagnostic]) {
    if let Some(finding) = found.last_mut() {
        finding.labels.clear();
    }
}

/// Reads `[notify]`; what is wrong with it is added to `found`.
pub(super) fn notify(table: &DeTable<'_>, found: &mut Vec<Diagnostic>) -> Notify {
    let mut notify = Notify { on: BTreeSet::from(Occasion::ALL), ..Notify::default() };
    for (key, value) in table {
        let span = value.span();
        match key.get_ref().as_ref() {
            "on" => match occasions(value.get_ref()) {
                Some(on) => notify.on = on,
                None => wrong_occasions(found, span),
            },
            "mail" => {
                if let DeValue::Table(table) = value.get_ref() {
                    notify.mail = super::mail::read(table, &key.span(), found);
                } else {
                    wrong(
                        found,
                        span,
                        "`mail` in `[notify]` is a table",
                        "for example `mail = { server = \"smtp://localhost\", from = \"cairn@example.org\", to = \"me@example.org\" }`",
                    );
                    unseen(found);
                }
            }
            "webhook" => match url(value.get_ref()) {
                Some(webhook) => notify.webhook = Some(webhook),
                None => wrong(
                    found,
                    span,
                    "`webhook` is an address that begins with `https://` or `http://`",
                    "for example `webhook = \"https://chat.example/hooks/1\"`",
                ),
            },
            "command" => match texts(value.get_ref()).filter(|words| !words.is_empty()) {
                Some(command) => notify.command = command,
                None => wrong(
                    found,
                    span,
                    "`command` is a program and its arguments",
                    "for example `command = [\"mail\", \"-s\", \"cairn\", \"me@example.org\"]`",
                ),
            },
            unknown => {
                found.push(unknown_key_of(unknown, key.span(), &NOTIFY_KEYS));
                // It may have been meant for `mail`.
                if matches!(value.get_ref(), DeValue::Table(_)) {
                    unseen(found);
                }
            }
        }
    }
    notify
}

/// Reads `[lineage]`, which is at `span`; what is wrong with it is added to `found`.
pub(super) fn lineage(
    table: &DeTable<'_>,
    span: Range<usize>,
    found: &mut Vec<Diagnostic>,
) -> Option<Lineage> {
    let before = found.len();
    let (mut file, mut to_url, mut namespace) = (None, None, "cairn".to_owned());
    for (key, value) in table {
        let span = value.span();
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("file", DeValue::String(path)) if !path.is_empty() => file = Some(path.to_string()),
            ("namespace", DeValue::String(text)) if !text.is_empty() => namespace = text.to_string(),
            ("url", value) if url(value).is_some() => to_url = url(value),
            ("file", _) => {
                wrong(found, span, "`file` is a path", "for example `file = \"lineage.ndjson\"`");
            }
            ("namespace", _) => {
                wrong(found, span, "`namespace` is a text", "for example `namespace = \"warehouse\"`");
            }
            ("url", _) => wrong(
                found,
                span,
                "`url` is an address that begins with `https://` or `http://`",
                "for example `url = \"http://localhost:5000/api/v1/lineage\"`",
            ),
            (unknown, _) => found.push(unknown_key_of(unknown, key.span(), &LINEAGE_KEYS)),
        }
    }
    match (file, to_url) {
        (Some(path), None) => Some(Lineage { to: LineageTo::File(path.into()), namespace }),
        (None, Some(url)) => Some(Lineage { to: LineageTo::Url(url), namespace }),
        _ if found.len() > before => None,
        (Some(_), Some(_)) => {
            wrong(found, span, "`file` and `url` exclude each other", "events go to one of them");
            None
        }
        (None, None) => {
            wrong(found, span, "it is not said where events go", "write `file` or `url`");
            None
        }
    }
}
