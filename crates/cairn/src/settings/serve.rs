//! `[serve]` of `cairn.toml`: the daemon.
//!
//! | key | value | default |
//! | --- | --- | --- |
//! | `bind` | address and port of the API and the pages; `""` for none | `127.0.0.1:8787` |
//! | `expose` | whether `bind` may be an address that other machines reach | no |
//! | `hosts` | names by which it may be called, beside `localhost` | none |
//! | `runs` | runs that go on at once | the processors, at least 2 |
//! | `url` | where people reach the pages, for links in what is told outside | none |
//! | `stop_after` | how long runs may go on after SIGTERM | `30s` |

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use cairn_dag::{Diagnostic, code};
use toml::de::{DeTable, DeValue};

use super::{finding, unknown_key_of};

/// What `[serve]` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Serve {
    /// Where it listens by TCP; `None` for the socket alone.
    pub(crate) bind: Option<SocketAddr>,
    /// Whether that may be an address beyond the loopback's.
    pub(crate) expose: bool,
    /// Names by which it may be called.
    pub(crate) hosts: Vec<String>,
    /// Runs that go on at once; `None` where it is not said.
    pub(crate) runs: Option<u32>,
    /// Where people reach the pages.
    pub(crate) url: Option<String>,
    /// How long runs may go on after SIGTERM.
    pub(crate) stop_after: Duration,
}

/// The port where nobody says.
const PORT: u16 = 8787;
const KEYS: [&str; 6] = ["bind", "expose", "hosts", "runs", "stop_after", "url"];

impl Default for Serve {
    fn default() -> Self {
        Self {
            bind: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT)),
            expose: false,
            hosts: Vec::new(),
            runs: None,
            url: None,
            stop_after: Duration::from_secs(30),
        }
    }
}

impl Serve {
    /// Reads the table; what is wrong with it is added to `found`.
    pub(super) fn read(table: &DeTable<'_>, found: &mut Vec<Diagnostic>) -> Self {
        let mut serve = Self::default();
        for (key, value) in table {
            let span = value.span();
            let mut wrong = |code, message: &str, help: &str| {
                let mut finding = finding(code, message, span.clone(), "");
                finding.help = Some(help.to_owned());
                found.push(finding);
            };
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("bind", DeValue::String(text)) if text.is_empty() => serve.bind = None,
                ("bind", DeValue::String(text)) => match parse_bind(text) {
                    Some(bind) => serve.bind = Some(bind),
                    None => wrong(
                        code::BAD_VALUE,
                        "`bind` is an address of this machine and a port",
                        "for example `bind = \"127.0.0.1:8787\"`, or `\"\"` for no port at all",
                    ),
                },
                ("bind", _) => {
                    wrong(code::WRONG_TYPE, "`bind` is a text", "for example `bind = \"127.0.0.1:8787\"`");
                }
                ("expose", DeValue::Boolean(expose)) => serve.expose = *expose,
                ("expose", _) => {
                    wrong(code::WRONG_TYPE, "`expose` is `true` or `false`", "for example `expose = true`");
                }
                ("hosts", DeValue::Array(items)) => {
                    for item in items {
                        match item.get_ref() {
                            DeValue::String(host) => serve.hosts.push(host.to_string()),
                            _ => wrong(
                                code::WRONG_TYPE,
                                "`hosts` is a list of names",
                                "for example `hosts = [\"etl.lab.example\"]`",
                            ),
                        }
                    }
                }
                ("hosts", _) => wrong(
                    code::WRONG_TYPE,
                    "`hosts` is a list of names",
                    "for example `hosts = [\"etl.lab.example\"]`",
                ),
                ("runs", DeValue::Integer(number)) => {
                    let runs =
                        u32::from_str_radix(number.as_str(), number.radix()).ok().filter(|runs| *runs > 0);
                    match runs {
                        Some(runs) => serve.runs = Some(runs),
                        None => wrong(code::BAD_VALUE, "`runs` is at least 1", "for example `runs = 4`"),
                    }
                }
                ("runs", _) => wrong(code::WRONG_TYPE, "`runs` is a whole number", "for example `runs = 4`"),
                ("stop_after", DeValue::String(text)) => match parse_duration(text) {
                    Some(duration) => serve.stop_after = duration,
                    None => wrong(
                        code::BAD_VALUE,
                        "`stop_after` is a duration",
                        "for example `stop_after = \"30s\"`",
                    ),
                },
                ("stop_after", _) => {
                    wrong(
                        code::WRONG_TYPE,
                        "`stop_after` is a duration",
                        "for example `stop_after = \"30s\"`",
                    );
                }
                ("url", DeValue::String(text)) if is_url(text) => serve.url = Some(text.to_string()),
                ("url", _) => wrong(
                    code::BAD_VALUE,
                    "`url` is where people reach the pages: an address that begins with `https://` or `http://`",
                    "for example `url = \"https://etl.lab.example\"`",
                ),
                (unknown, _) => found.push(unknown_key_of(unknown, key.span(), &KEYS)),
            }
        }
        serve
    }
}

/// Reads `ADDRESS:PORT`, or a port alone, which is the loopback's.
pub(crate) fn parse_bind(text: &str) -> Option<SocketAddr> {
    let text = text.replace("localhost:", "127.0.0.1:");
    let port = || text.trim_start_matches(':').parse().ok();
    text.parse().ok().or_else(|| Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port()?)))
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(|c: char| c.is_whitespace() || c.is_control()))
}

fn parse_duration(text: &str) -> Option<Duration> {
    let span: jiff::SignedDuration = text.parse().ok()?;
    Duration::try_from(span).ok()
}
