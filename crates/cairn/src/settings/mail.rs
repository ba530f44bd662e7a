//! `[notify.mail]` of `cairn.toml`: who is told of runs by mail.
//!
//! | key | value | default |
//! | --- | --- | --- |
//! | `server` | `smtp://[USER@]HOST[:PORT]`, or `smtps://…` for TLS from the first byte | to be written |
//! | `from` | address that it comes from | to be written |
//! | `to` | address, or list of addresses | to be written |
//! | `on` | as `notify.on` | `notify.on` |
//! | `password_env` | variable of the daemon's environment that holds the user's password | none |
//! | `password_file` | file that holds it, relative to the project | none |
//! | `starttls` | `required`, `offered`, `never`: whether `smtp://` is encrypted before it goes on | `required` with a user, else `offered` |
//! | `ca_file` | certificates (PEM) that are believed beside the public ones, relative to the project | none |
//!
//! No password is in the file, and none in what is said of it: what is wrong is said by its key, and no line is shown.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;

use cairn_dag::{Diagnostic, code};
use cairn_server::mail::{Address, Mail, MailServer, MailServerError, PasswordIn, StartTls};
use cairn_server::notify::Occasion;
use toml::de::{DeTable, DeValue};

use super::telling::{occasions, texts, wrong};
use super::{finding, unknown_key_of};

const KEYS: [&str; 8] =
    ["ca_file", "from", "on", "password_env", "password_file", "server", "starttls", "to"];

/// Words that are taken for keys of a password.
const PASSWORDS: [&str; 7] = ["pass", "passphrase", "passwd", "password", "pwd", "secret", "token"];

/// Says that a password is in the file.
fn secret(found: &mut Vec<Diagnostic>, span: &Range<usize>, message: &str) {
    let mut finding = finding(code::BAD_VALUE, message, span.clone(), "");
    finding.help = Some(
        "take it out, and say where it is: `password_env = \"SMTP_PASSWORD\"` or `password_file = \"/run/secrets/smtp\"`"
            .to_owned(),
    );
    found.push(finding);
}

/// What is written, each value for itself as it should be.
#[derive(Default)]
struct Written {
    server: Option<(MailServer, Range<usize>)>,
    from: Option<Address>,
    to: Option<Vec<Address>>,
    on: Option<BTreeSet<Occasion>>,
    variable: Option<String>,
    file: Option<PathBuf>,
    starttls: Option<(StartTls, Range<usize>)>,
    ca_file: Option<PathBuf>,
}

/// Reads the table, which is at `span`; what is wrong with it is added to `found`, without a picture of any line: whatever
/// is wrong, it could be that a password is where none belongs.
pub(super) fn read(table: &DeTable<'_>, span: &Range<usize>, found: &mut Vec<Diagnostic>) -> Option<Mail> {
    let before = found.len();
    let read = read_table(table, span, found);
    for finding in &mut found[before..] {
        finding.labels.clear();
        if !finding.message.contains("`[notify.mail]`") {
            finding.message.push_str(", in `[notify.mail]`");
        }
    }
    read
}

fn read_table(table: &DeTable<'_>, span: &Range<usize>, found: &mut Vec<Diagnostic>) -> Option<Mail> {
    let before = found.len();
    let mut written = Written::default();
    for (key, value) in table {
        let span = value.span();
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("server", DeValue::String(text)) => match text.parse::<MailServer>() {
                Ok(read) => written.server = Some((read, span)),
                Err(error) => {
                    let holds_one = text.contains('@') || error == MailServerError::Password;
                    if holds_one && text.matches(':').count() > 1 {
                        // Nothing else counts beside it.
                        found.truncate(before);
                        secret(found, &span, "`server` in `[notify.mail]` holds a password");
                        return None;
                    }
                    wrong_server(found, span);
                }
            },
            ("server", _) => wrong_server(found, span),
            ("from", DeValue::String(text)) if text.parse::<Address>().is_ok() => {
                written.from = text.parse().ok();
            }
            ("from", _) => wrong(
                found,
                span,
                "`from` is an address (in ASCII), with or without a name",
                "for example `from = \"cairn <cairn@example.org>\"`",
            ),
            ("to", value) => match addresses(value) {
                Some(read) => written.to = Some(read),
                None => wrong(
                    found,
                    span,
                    "`to` is an address (in ASCII), or a list of them, each once",
                    "for example `to = [\"me@example.org\", \"you@example.org\"]`",
                ),
            },
            ("on", value) => match occasions(value) {
                Some(read) => written.on = Some(read),
                None => super::telling::wrong_occasions(found, span),
            },
            ("password_env", DeValue::String(text)) if !text.is_empty() && !text.contains(['=', '\0']) => {
                written.variable = Some(text.to_string());
            }
            ("password_env", _) => wrong(
                found,
                span,
                "`password_env` is the name of a variable",
                "for example `password_env = \"SMTP_PASSWORD\"`",
            ),
            ("password_file", DeValue::String(text)) if !text.is_empty() => {
                written.file = Some(PathBuf::from(text.as_ref()));
            }
            ("password_file", _) => wrong(
                found,
                span,
                "`password_file` is a path",
                "for example `password_file = \"/run/secrets/smtp\"`",
            ),
            ("ca_file", DeValue::String(text)) if !text.is_empty() => {
                written.ca_file = Some(PathBuf::from(text.as_ref()));
            }
            ("ca_file", _) => wrong(found, span, "`ca_file` is a path", "for example `ca_file = \"ca.pem\"`"),
            ("starttls", DeValue::String(text)) if word(text).is_some() => {
                written.starttls = word(text).map(|read| (read, span));
            }
            ("starttls", _) => wrong(
                found,
                span,
                "`starttls` is `required`, `offered` or `never`",
                "for example `starttls = \"required\"`",
            ),
            (key, _) if PASSWORDS.contains(&key) => {
                found.truncate(before);
                secret(
                    found,
                    &span,
                    &format!("`{key}` in `[notify.mail]`: no password is read from `cairn.toml`"),
                );
                return None;
            }
            (unknown, _) => found.push(unknown_key_of(unknown, key.span(), &KEYS)),
        }
    }
    if found.len() > before { None } else { written.whole(span, found) }
}

impl Written {
    /// Returns what it comes to; what does not go together is added to `found`.
    fn whole(self, span: &Range<usize>, found: &mut Vec<Diagnostic>) -> Option<Mail> {
        let Self { server, from, to, on, variable, file, starttls, ca_file } = self;
        let Some((((server, server_span), from), to)) = server.zip(from).zip(to) else {
            let mut missing =
                finding(code::MISSING_KEY, "`[notify.mail]` has `server`, `from` and `to`", span.clone(), "");
            missing.help = Some(
            "for example `mail = { server = \"smtp://localhost\", from = \"cairn@example.org\", to = \"me@example.org\" }`"
                .to_owned(),
        );
            found.push(missing);
            return None;
        };
        let password = match (variable, file) {
            (Some(_), Some(_)) => {
                wrong(
                    found,
                    span.clone(),
                    "`password_env` and `password_file` exclude each other",
                    "keep one of them",
                );
                return None;
            }
            (Some(variable), None) => Some(PasswordIn::Variable(variable)),
            (None, Some(file)) => Some(PasswordIn::File(file)),
            (None, None) => None,
        };
        match (&server.user, &password) {
            (Some(_), None) => {
                let help = "write `password_env = \"SMTP_PASSWORD\"`, or `password_file`";
                wrong(
                    found,
                    server_span,
                    "`server` names a user, and nothing says where the password is",
                    help,
                );
                return None;
            }
            (None, Some(_)) => {
                let help = "for example `server = \"smtp://cairn@mail.example.org\"`; an `@` in its name is written `%40`";
                wrong(found, server_span, "there is a password, and `server` names no user", help);
                return None;
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        let default = if password.is_some() { StartTls::Required } else { StartTls::Offered };
        let starttls = match starttls {
            Some((read, span)) if read != StartTls::Required && password.is_some() => {
                if !server.is_tls && !server.is_here() {
                    let help = "leave `starttls` out, or write `smtps://` where the server speaks TLS from the first byte";
                    wrong(found, span, "a password is sent to another machine in the clear", help);
                    return None;
                }
                read
            }
            read => read.map_or(default, |(read, _)| read),
        };
        Some(Mail { server, from, to, on, password, starttls, ca_file })
    }
}

fn wrong_server(found: &mut Vec<Diagnostic>, span: Range<usize>) {
    wrong(
        found,
        span,
        "`server` is `smtp://HOST` or `smtps://HOST`, with a user and a port where it has them",
        "for example `server = \"smtp://cairn@mail.example.org:587\"`",
    );
}

fn word(text: &str) -> Option<StartTls> {
    match text {
        "required" => Some(StartTls::Required),
        "offered" => Some(StartTls::Offered),
        "never" => Some(StartTls::Never),
        _ => None,
    }
}

/// Reads one address or several, each of them once.
fn addresses(value: &DeValue<'_>) -> Option<Vec<Address>> {
    let texts = match value {
        DeValue::String(text) => vec![text.to_string()],
        value => texts(value)?,
    };
    let addresses: Vec<Address> = texts.iter().map(|text| text.parse().ok()).collect::<Option<_>>()?;
    let once: std::collections::BTreeSet<String> = addresses.iter().map(Address::as_text).collect();
    (!addresses.is_empty() && once.len() == addresses.len()).then_some(addresses)
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    fn mail(text: &str) -> Mail {
        let text = format!("[notify.mail]\nfrom = 'Cäirn <cairn@a.example>'\n{text}");
        Settings::parse(text.as_bytes()).unwrap().telling.notify.mail.unwrap()
    }

    #[test]
    fn servers_have_the_port_and_the_care_that_fit_them() {
        let check = |server: &str, more: &str, host: &str, port: u16, user: Option<&str>, starttls| {
            let read = mail(&format!("to = 'me@a.example'\nserver = '{server}'\n{more}"));
            assert_eq!(
                (read.server.host.as_str(), read.server.port, read.server.user.as_deref(), read.starttls),
                (host, port, user, starttls),
                "{server}"
            );
        };
        let password = "password_env = 'P'";
        check("smtp://a.example", "", "a.example", 25, None, StartTls::Offered);
        check("smtp://a.example/", "starttls = 'required'", "a.example", 25, None, StartTls::Required);
        check("smtp://me@a.example", password, "a.example", 587, Some("me"), StartTls::Required);
        check("smtps://me%40b@a.example", password, "a.example", 465, Some("me@b"), StartTls::Required);
        check("smtp://me@b@a.example:26", password, "a.example", 26, Some("me@b"), StartTls::Required);
        check("smtp://[::1]:2525", "starttls = 'never'", "::1", 2525, None, StartTls::Never);
        let here = format!("{password}\nstarttls = 'never'");
        check("smtp://me@localhost", &here, "localhost", 587, Some("me"), StartTls::Never);
    }

    #[test]
    fn what_is_told_by_mail_may_be_less_than_elsewhere() {
        use cairn_server::notify::Occasion;
        let read = mail("to = ['a@x.example', 'B <b@x.example>']\nserver = 'smtp://h'\non = ['failed']\n");
        assert_eq!((read.to.len(), read.on), (2, Some([Occasion::Failed].into())));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_no_password() {
        let errors = |text: &str| {
            let text = format!("[notify.mail]\n{text}");
            let report = Settings::parse(text.as_bytes()).unwrap_err();
            let source = cairn_dag::Source { path: "cairn.toml", bytes: text.as_bytes() };
            let drawn = report.render(&source, cairn_dag::Style::PLAIN);
            assert!(!drawn.contains("hunter2"), "{drawn}");
            let helped = report.diagnostics.iter().all(|finding| finding.help.is_some());
            assert!(helped, "{drawn}");
            (report.diagnostics.len(), drawn)
        };
        let whole = "from = 'a@x.example'\nto = 'b@x.example'\n";
        for (text, count, says) in [
            ("", 1, "has `server`, `from` and `to`"),
            (
                "from = 'a'\nto = []\nserver = 'mail.example'\non = ['x']\nstarttls = 'yes'\nca_file = 1\n",
                6,
                "`from` is",
            ),
            ("to = ['b@x.example', 'b@x.example']\n", 1, "each once"),
            ("to = \"b@x.example\\r\\nBcc: c@x.example\"\n", 1, "`to` is an address"),
            ("from = \"a\\nb <a@x.example>\"\n", 1, "`from` is an address"),
            ("to = 'jürgen@x.example'\n", 1, "`to` is an address"),
            ("password = 'hunter2'\nform = 1\n", 1, "no password is read"),
            ("server = 'smtp://me:hunter2@h'\n", 1, "holds a password"),
            ("server = 'ftp://me:hunter2@h'\n", 1, "holds a password"),
            ("form = 'x'\n", 1, "did you mean `from`"),
            ("password_env = 'A'\npassword_file = 'b'\nserver = 'smtp://h'\n", 1, "exclude each other"),
            ("server = 'smtp://me@h'\n", 1, "nothing says where the password is"),
            ("server = 'smtp://h'\npassword_env = 'A'\n", 1, "names no user"),
            ("server = 'smtp://me@h'\npassword_env = 'A'\nstarttls = 'offered'\n", 1, "in the clear"),
            ("password_env = ''\npassword_file = ''\n", 2, "is the name of a variable"),
        ] {
            let own = |key: &str| text.starts_with(key) || text.contains(&format!("\n{key}"));
            let rest: Vec<&str> = whole.lines().filter(|line| !own(&line[..4])).collect();
            let rest = if text.is_empty() { String::new() } else { rest.join("\n") };
            let (found, drawn) = errors(&format!("{text}{rest}"));
            assert_eq!(found, count, "{text}\n{drawn}");
            assert!(drawn.contains(says), "{text}\n{drawn}");
        }
    }

    #[test]
    fn no_line_is_shown_whatever_is_wrong_in_it() {
        for text in [
            "mail = { form = 1, server = 'smtps://me:hunter2@h' }",
            "mail = { server = 'me:hunter2@h' }",
            "mail = { smtp_password = 'hunter2' }",
            "mail = { pwd = 'hunter2' }",
            "mail = { form = 1, passphrase = 'hunter2' }",
            "mail = { on = ['x'], note = 'hunter2' }",
            "mail = { on = ['hunter2'], from = 'hunter2', to = 'hunter2', server = ['hunter2'], ca_file = { a = 'hunter2' } }",
            "mail = { password_env = 'A=hunter2', starttls = 'hunter2' }",
            "mail = { server = 'smtp://hunter2@h', from = 'a@x.example', to = 'b@x.example' }",
            "mail = [{ password = 'hunter2' }]",
            "mail = 'smtp://me:hunter2@h'",
            "mial = { password = 'hunter2' }",
            "mail.password.is = 'hunter2'",
        ] {
            let text = format!("[notify]\n{text}\n");
            let report = Settings::parse(text.as_bytes()).unwrap_err();
            let source = cairn_dag::Source { path: "cairn.toml", bytes: text.as_bytes() };
            let drawn = report.render(&source, cairn_dag::Style::PLAIN);
            assert!(!drawn.contains("hunter2") && drawn.contains("mail"), "{text}{drawn}");
        }
    }
}
