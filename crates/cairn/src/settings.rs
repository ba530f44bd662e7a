//! `cairn.toml`: the settings of a project.
//!
//! | key | value | default |
//! | --- | --- | --- |
//! | `pipelines` | list of pipeline files, folders with a `pipeline.toml`, and patterns of files | see [`crate::project`] |
//! | `jobs` | instances that run at once | the processors |
//! | `[serve]` | the daemon, see [`serve`] | |
//! | `[notify]`, `[lineage]` | who outside the daemon tells of runs, see `telling` | nobody |

mod mail;
pub(crate) mod serve;
mod telling;

use std::ops::Range;

use cairn_dag::{Diagnostic, Label, Patch, Report, Severity, code};
use cairn_server::Telling;
use toml::de::{DeTable, DeValue};

use crate::terminal::text;

pub(crate) use serve::Serve;

/// What `cairn.toml` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Settings {
    /// Where pipelines are, relative to the project; `None` to look in the usual places.
    pub(crate) pipelines: Option<Vec<String>>,
    /// Instances that run at once.
    pub(crate) jobs: Option<u32>,
    /// The daemon.
    pub(crate) serve: Serve,
    /// Who outside the daemon tells of runs.
    pub(crate) telling: Telling,
}

/// Keys of this version.
const KEYS: [&str; 5] = ["jobs", "lineage", "notify", "pipelines", "serve"];
/// Keys of later versions, so that a file for one says so instead of looking misspelt.
const LATER: [&str; 2] = ["cache", "executors"];

impl Settings {
    /// Reads the bytes of a `cairn.toml`, and finds all that is wrong with them.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Report> {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let at = error.valid_up_to();
                let finding = finding(code::NOT_UTF8, "the file is not UTF-8", at..at + 1, "this byte");
                return Err(Report { diagnostics: vec![finding] });
            }
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            let syntax = |error: &toml::de::Error| {
                finding(code::TOML_SYNTAX, error.message(), error.span().unwrap_or(0..0), "")
            };
            return Err(Report { diagnostics: errors.iter().map(syntax).collect() });
        }
        let mut settings = Self::default();
        let mut diagnostics = Vec::new();
        for (key, value) in table.get_ref() {
            let (name, span) = (key.get_ref().as_ref(), value.span());
            match name {
                "jobs" => match jobs(value.get_ref()) {
                    Ok(jobs) => settings.jobs = Some(jobs),
                    Err((code, message)) => diagnostics.push(finding(code, message, span, "")),
                },
                "pipelines" => match pipelines(value.get_ref(), &span) {
                    Ok(pipelines) => settings.pipelines = Some(pipelines),
                    Err(finding) => diagnostics.push(*finding),
                },
                "serve" => match value.get_ref() {
                    DeValue::Table(table) => settings.serve = Serve::read(table, &mut diagnostics),
                    _ => diagnostics.push(finding(code::WRONG_TYPE, "`serve` is a table", span, "")),
                },
                "notify" => match value.get_ref() {
                    DeValue::Table(table) => {
                        settings.telling.notify = telling::notify(table, &mut diagnostics);
                    }
                    _ => diagnostics.push(finding(code::WRONG_TYPE, "`notify` is a table", span, "")),
                },
                "lineage" => match value.get_ref() {
                    DeValue::Table(table) => {
                        settings.telling.lineage = telling::lineage(table, key.span(), &mut diagnostics);
                    }
                    _ => diagnostics.push(finding(code::WRONG_TYPE, "`lineage` is a table", span, "")),
                },
                later if LATER.contains(&later) => {
                    let message = format!("`{later}` is not known to this version of cairn yet");
                    let mut finding = finding(code::NOT_YET, message, key.span(), "");
                    finding.help = Some("remove it, or use a newer cairn".to_owned());
                    diagnostics.push(finding);
                }
                unknown => diagnostics.push(unknown_key(unknown, key.span())),
            }
        }
        settings.telling.notify.pages.clone_from(&settings.serve.url);
        if diagnostics.is_empty() {
            return Ok(settings);
        }
        diagnostics.sort_by_key(Diagnostic::offset);
        Err(Report { diagnostics })
    }
}

fn jobs(value: &DeValue<'_>) -> Result<u32, (&'static str, &'static str)> {
    let DeValue::Integer(number) = value else {
        return Err((code::WRONG_TYPE, "`jobs` is a whole number"));
    };
    let jobs = u32::from_str_radix(number.as_str(), number.radix()).ok().filter(|jobs| *jobs > 0);
    jobs.ok_or((code::BAD_VALUE, "`jobs` is at least 1"))
}

fn pipelines(value: &DeValue<'_>, span: &Range<usize>) -> Result<Vec<String>, Box<Diagnostic>> {
    let wrong = |span: Range<usize>| {
        let mut finding = finding(code::WRONG_TYPE, "`pipelines` is a list of paths", span, "");
        finding.help =
            Some("for example `pipelines = [\"etl/pipeline.toml\", \"reports/*.toml\"]`".to_owned());
        Box::new(finding)
    };
    let DeValue::Array(items) = value else { return Err(wrong(span.clone())) };
    let text = |item: &toml::Spanned<DeValue<'_>>| match item.get_ref() {
        DeValue::String(path) => Ok(path.to_string()),
        _ => Err(wrong(item.span())),
    };
    items.iter().map(text).collect()
}

fn unknown_key(key: &str, span: Range<usize>) -> Diagnostic {
    let mut finding = finding(code::UNKNOWN_KEY, format!("unknown key `{key}`"), span.clone(), "");
    if let Some(nearest) = text::nearest(key, KEYS).first() {
        finding.help = Some(format!("did you mean `{nearest}`?"));
        finding.patch = Some(Patch { span, replacement: (*nearest).to_owned() });
    } else if matches!(key, "pipeline" | "stages" | "params" | "env" | "pools") {
        finding.help = Some(
            "`cairn.toml` holds settings; pipelines stand in files of their own, such as `pipeline.toml`"
                .to_owned(),
        );
    } else {
        finding.help = Some(format!("the keys are {}", text::list(&KEYS)));
    }
    finding
}

/// Says that a table has no such key.
fn unknown_key_of(key: &str, span: Range<usize>, keys: &[&str]) -> Diagnostic {
    let mut finding = finding(code::UNKNOWN_KEY, format!("unknown key `{key}`"), span.clone(), "");
    if let Some(nearest) = text::nearest(key, keys.iter().copied()).first() {
        finding.help = Some(format!("did you mean `{nearest}`?"));
        finding.patch = Some(Patch { span, replacement: (*nearest).to_owned() });
    } else {
        finding.help = Some(format!("the keys are {}", text::list(keys)));
    }
    finding
}

fn finding(code: &'static str, message: impl Into<String>, span: Range<usize>, label: &str) -> Diagnostic {
    Diagnostic {
        code,
        severity: Severity::Error,
        message: message.into(),
        labels: vec![Label { span, text: label.to_owned(), primary: true }],
        notes: Vec::new(),
        help: None,
        patch: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> Vec<(String, String)> {
        let report = Settings::parse(text.as_bytes()).unwrap_err();
        let shown = |finding: Diagnostic| {
            // What is said of mail shows no line.
            let at = finding.labels.first().and_then(|label| text.get(label.span.clone()));
            (finding.message, at.unwrap_or_default().to_owned())
        };
        report.diagnostics.into_iter().map(shown).collect()
    }

    #[test]
    fn settings_are_read() {
        assert_eq!(Settings::parse(b""), Ok(Settings::default()));
        let settings = Settings::parse(b"jobs = 3\npipelines = ['a.toml', 'b/*.toml']").unwrap();
        assert_eq!(settings.jobs, Some(3));
        assert_eq!(settings.pipelines, Some(vec!["a.toml".into(), "b/*.toml".into()]));
    }

    #[test]
    fn the_daemon_is_set_up() {
        let settings =
            Settings::parse(b"[serve]\nbind = '0.0.0.0:80'\nexpose = true\nruns = 3\nstop_after = '1m'")
                .unwrap();
        assert_eq!(settings.serve.bind, Some(([0, 0, 0, 0], 80).into()));
        assert!(settings.serve.expose && !serve::Serve::default().expose);
        assert_eq!((settings.serve.runs, settings.serve.stop_after.as_secs()), (Some(3), 60));
        let settings = Settings::parse(b"serve = { bind = '', hosts = ['a.example'] }").unwrap();
        assert_eq!((settings.serve.bind, settings.serve.hosts.len()), (None, 1));
        assert_eq!(serve::parse_bind("9000"), Some(([127, 0, 0, 1], 9000).into()));
        let found =
            errors("[serve]\nport = 1\nbind = 'x'\nruns = 0\nstop_after = 'x'\nhosts = 1\nexpose = 1\n");
        assert_eq!(found.len(), 6, "{found:?}");
    }

    #[test]
    fn who_is_told_is_set_up() {
        use cairn_server::lineage::LineageTo;
        use cairn_server::notify::Occasion;
        let settings = Settings::parse(b"[notify]\nwebhook = 'https://a.example/x'\n").unwrap();
        assert_eq!(settings.telling.notify.on, Occasion::ALL.into(), "of all that may happen");
        let text = b"notify = { on = ['dead'], command = ['mail', 'me'] }\nlineage = { file = 'l', namespace = 'n' }";
        let telling = Settings::parse(text).unwrap().telling;
        assert_eq!((telling.notify.on, telling.notify.command.len()), ([Occasion::Dead].into(), 2));
        let lineage = telling.lineage.unwrap();
        assert_eq!((lineage.to, lineage.namespace.as_str()), (LineageTo::File("l".into()), "n"));
        for (text, count) in [
            ("[notify]\non = ['failed', 'x']\nwebhook = 'ftp://x'\ncommand = []\nmial = 1\n", 4),
            ("[notify]\non = 'failed'\ncommand = 'mail'\n", 2),
            ("[notify]\nmail = 1\n", 1),
            ("[lineage]\n", 1),
            ("[lineage]\nfile = 'a'\nurl = 'http://x'\n", 1),
            ("[lineage]\nfile = 1\nurl = 'x'\nnamespace = ''\nto = 1\n", 4),
            ("notify = 1\nlineage = 2\n", 2),
        ] {
            assert_eq!(errors(text).len(), count, "{text}");
        }
    }

    #[test]
    fn all_errors_are_found_with_their_places() {
        assert_eq!(
            errors("pipelnes = []\njobs = 0\n[cache]\nport = 1\n"),
            [
                ("unknown key `pipelnes`".into(), "pipelnes".into()),
                ("`jobs` is at least 1".into(), "0".into()),
                ("`cache` is not known to this version of cairn yet".into(), "cache".into()),
            ]
        );
        assert_eq!(errors("pipelines = ['a', 7]"), [("`pipelines` is a list of paths".into(), "7".into())]);
        assert_eq!(errors("jobs = 'two'"), [("`jobs` is a whole number".into(), "'two'".into())]);
        assert_eq!(errors("jobs = \njobs = 1").len(), 2, "each syntax error");
        assert_eq!(Settings::parse(b"\xff").unwrap_err().diagnostics[0].code, code::NOT_UTF8);
    }
}
