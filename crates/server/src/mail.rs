//! Mail about runs: who it goes to and by which server, and one conversation with the server (SMTP, RFC 5321).
//!
//! Each address is a message of its own in the outbox, so that one that is refused or put off holds up no other, and none is
//! told twice for it. A mail that is sent again is the same, `Message-ID` and `Date` with it: who keeps mails knows it again.
//!
//! | what the server says | |
//! | --- | --- |
//! | 5xx to the mail: its sender, the address it goes to, its text | final |
//! | 4xx, or nothing | it is tried again |
//! | nothing, 4xx or 5xx when it is greeted or logged in to; to the sender 530, 535, 538 or 5.7.x: that is no word about this mail | all mails are put off together, so that a wrong password is tried once |

mod letter;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cairn_store::Message as Stored;
use lettre::address::Envelope;
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, SmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{Error as SmtpError, commands};

pub(crate) use self::letter::Letter;
use self::letter::{Said, one_line};
use crate::notify::Occasion;
use crate::outbox::Undelivered;

/// How long the server may take for one answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(15);
/// Characters of what the server said that are kept.
const SAID_MAX: usize = 200;

/// Who is told by mail, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Who takes it.
    pub server: MailServer,
    /// Who it comes from.
    pub from: Address,
    /// Who it goes to.
    pub to: Vec<Address>,
    /// The occasions; `None` for those of all of [`crate::notify::Notify`].
    pub on: Option<BTreeSet<Occasion>>,
    /// Where the password of the server's user is.
    pub password: Option<PasswordIn>,
    /// Whether the conversation is to be encrypted before it goes on.
    pub starttls: StartTls,
    /// A file of certificates (PEM) that are believed beside the public ones, relative to the project.
    pub ca_file: Option<PathBuf>,
}

/// A server that takes mail: `smtp://[USER@]HOST[:PORT]`, or `smtps://` where it speaks TLS from the first byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailServer {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who logs in.
    pub user: Option<String>,
    /// Whether it speaks TLS from the first byte.
    pub is_tls: bool,
}

/// A text that names no [`MailServer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailServerError {
    /// It is none.
    NoServer,
    /// It holds a password.
    Password,
}

/// An address that mail goes to or comes from: `me@example.org`, or `Me <me@example.org>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(Mailbox);

/// Whether a conversation that begins in the clear is encrypted before it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartTls {
    /// Else it does not go on.
    Required,
    /// Where the server offers it.
    Offered,
    /// It stays in the clear.
    Never,
}

/// Where a password is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordIn {
    /// In a variable of the daemon's environment.
    Variable(String),
    /// In a file, relative to the project. It is read for each mail.
    File(PathBuf),
}

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The variable is not set, or empty.
    #[error("the password for mail is not there: the variable `{variable}` is not set")]
    NotSet {
        /// The variable.
        variable: String,
    },
    /// The file cannot be read.
    #[error("the password for mail cannot be read from `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is empty.
    #[error("the password for mail is not there: `{}` is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

impl PasswordError {
    /// Says what to do.
    pub fn help(&self) -> String {
        match self {
            Self::NotSet { variable } => format!(
                "set `{variable}` where the daemon is started, in a unit by `EnvironmentFile=`; or have it read from a \
                 file: `password_file` in `[notify.mail]` of `cairn.toml`"
            ),
            Self::Unreadable { .. } | Self::Empty { .. } => {
                "write the password alone into the file that `password_file` in `[notify.mail]` of `cairn.toml` \
                 names, readable by the daemon's user"
                    .to_owned()
            }
        }
    }
}

/// Why there are no certificates in `ca_file`.
#[derive(Debug, thiserror::Error)]
pub enum CaFileError {
    /// The file cannot be read.
    #[error("the certificates for mail cannot be read from `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// One of them is none.
    #[error("the certificates for mail cannot be used: `{}` is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SmtpError,
    },
    /// The file holds none.
    #[error("the certificates for mail are not there: `{}` holds none", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

impl CaFileError {
    /// Says what to do.
    pub fn help(&self) -> String {
        "`ca_file` in `[notify.mail]` of `cairn.toml` names a file of certificates (PEM), readable by the daemon's user; \
         leave it out where the server's certificate is by a public authority"
            .to_owned()
    }
}

impl std::str::FromStr for MailServer {
    type Err = MailServerError;

    fn from_str(text: &str) -> Result<Self, MailServerError> {
        let (scheme, rest) = text.split_once("://").ok_or(MailServerError::NoServer)?;
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, _)) if user.contains(':') => return Err(MailServerError::Password),
            Some((user, place)) => (Some(user), place),
            None => (None, rest),
        };
        let is_tls = match scheme {
            "smtp" => false,
            "smtps" => true,
            _ => return Err(MailServerError::NoServer),
        };
        let place = place.strip_suffix('/').unwrap_or(place);
        let (host, port) = match place.strip_prefix('[') {
            // An IPv6 address.
            Some(place) => {
                let (host, port) = place.split_once(']').ok_or(MailServerError::NoServer)?;
                (host, port.strip_prefix(':'))
            }
            None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
        };
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or(MailServerError::NoServer)?,
            None if is_tls => 465,
            None if user.is_some() => 587,
            None => 25,
        };
        let is_host = !host.is_empty()
            && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':'));
        let is_user = |user: &str| !user.is_empty() && !user.chars().any(char::is_control);
        if !is_host || !user.is_none_or(is_user) {
            return Err(MailServerError::NoServer);
        }
        // An address as a user's name, whose `@` is written as in every URL.
        let user = user.map(|user| user.replace("%40", "@"));
        Ok(Self { host: host.to_owned(), port, user, is_tls })
    }
}

impl MailServer {
    /// Returns whether what is said to it stays on this machine.
    pub fn is_here(&self) -> bool {
        let is_loopback = |address: std::net::IpAddr| address.is_loopback();
        self.host == "localhost" || self.host.parse().is_ok_and(is_loopback)
    }
}

impl std::str::FromStr for Address {
    type Err = ();

    /// Reads one whose address is ASCII: not all servers take others.
    fn from_str(text: &str) -> Result<Self, ()> {
        let mailbox: Mailbox = text.parse().map_err(|_| ())?;
        let is_plain = !text.chars().any(char::is_control) && mailbox.email.to_string().is_ascii();
        is_plain.then_some(Self(mailbox)).ok_or(())
    }
}

impl Address {
    /// Returns the address without the name.
    pub fn as_text(&self) -> String {
        self.0.email.to_string()
    }
}

impl PasswordIn {
    /// Reads the password.
    pub fn read(&self, root: &Path) -> Result<String, PasswordError> {
        match self {
            Self::Variable(variable) => {
                let password = std::env::var(variable).ok().filter(|password| !password.is_empty());
                password.ok_or_else(|| PasswordError::NotSet { variable: variable.clone() })
            }
            Self::File(path) => {
                let path = root.join(path);
                match std::fs::read_to_string(&path) {
                    Ok(text) => match text.trim_end_matches(['\r', '\n']) {
                        "" => Err(PasswordError::Empty { path }),
                        password => Ok(password.to_owned()),
                    },
                    Err(source) => Err(PasswordError::Unreadable { path, source }),
                }
            }
        }
    }
}

impl Mail {
    /// Sends a message of the outbox.
    pub(crate) fn send(&self, root: &Path, message: &Stored) -> Result<(), Undelivered> {
        let letter: Letter<Said> = serde_json::from_slice(&message.body)
            .map_err(|error| Undelivered::Never(format!("it cannot be read: {error}")))?;
        let to = self.to.iter().find(|to| to.as_text() == letter.to).ok_or_else(|| {
            Undelivered::Never(format!("`{}` is not to be told by mail any more", letter.to))
        })?;
        let mail = self.write(to, &letter.told, message)?;
        let mut server = self.log_in(root)?;
        self.hand_over(&mut server, mail.envelope(), &mail.formatted())?;
        // It has taken it; whether it says goodbye is nothing to wait for.
        let _ = server.set_timeout(Some(Duration::from_secs(1)));
        let _ = server.quit();
        Ok(())
    }

    /// Hands a mail over. It is ASCII, as are the addresses: nothing of it has to be asked of the server.
    fn hand_over(
        &self,
        server: &mut SmtpConnection,
        envelope: &Envelope,
        mail: &[u8],
    ) -> Result<(), Undelivered> {
        let wrong = |error: SmtpError| {
            let said = format!("{} {}", self.place(), said(&error));
            // What it itself finds wrong with a mail stays so.
            if error.is_permanent() || error.is_client() {
                Undelivered::Never(said)
            } else {
                Undelivered::Later(said)
            }
        };
        let sender = commands::Mail::new(envelope.from().cloned(), Vec::new());
        server.command(sender).map_err(|error| {
            if is_about_us(&error) {
                Undelivered::Unreachable(format!("{} {}", self.place(), said(&error)))
            } else {
                wrong(error)
            }
        })?;
        for to in envelope.to() {
            server.command(commands::Rcpt::new(to.clone(), Vec::new())).map_err(wrong)?;
        }
        server.command(commands::Data).map_err(wrong)?;
        server.message(mail).map_err(wrong)?;
        Ok(())
    }

    fn place(&self) -> String {
        format!("`{}:{}`", self.server.host, self.server.port)
    }

    /// Connects, encrypts and logs in. Whatever goes wrong is a matter of settings or of the moment, not of this mail.
    fn log_in(&self, root: &Path) -> Result<SmtpConnection, Undelivered> {
        let MailServer { host, port, user, is_tls } = &self.server;
        let later = |what: String| Undelivered::Unreachable(format!("{} {what}", self.place()));
        let wrong = |error: SmtpError| later(said(&error));
        let tls = self.tls(root)?;
        let hello = hello();
        let mut server = SmtpConnection::connect(
            (host.as_str(), *port),
            Some(ANSWERS_WITHIN),
            &hello,
            is_tls.then_some(&tls),
            None,
        )
        .map_err(wrong)?;
        let starttls = match self.starttls {
            _ if *is_tls => false,
            StartTls::Required if !server.can_starttls() => {
                return Err(later("offers no STARTTLS, without which nothing is sent there".to_owned()));
            }
            StartTls::Required => true,
            StartTls::Offered => server.can_starttls(),
            StartTls::Never => false,
        };
        if starttls {
            server.starttls(&tls, &hello).map_err(wrong)?;
        }
        if let (Some(user), Some(password)) = (user, &self.password) {
            let password = password.read(root).map_err(|error| later(error.to_string()))?;
            let credentials = Credentials::new(user.clone(), password);
            // What it says to it could repeat what it was told.
            server.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).map_err(|error| {
                later(match error.status() {
                    Some(code) => format!("does not let `{user}` log in: it answered {code}"),
                    None => format!(
                        "cannot be logged in to as `{user}`: it broke off, or knows neither PLAIN nor LOGIN"
                    ),
                })
            })?;
        }
        Ok(server)
    }

    /// Reads the certificates that are believed beside the public ones.
    pub fn authorities(&self, root: &Path) -> Result<Vec<Certificate>, CaFileError> {
        let Some(path) = &self.ca_file else { return Ok(Vec::new()) };
        let path = root.join(path);
        let pem = match std::fs::read(&path) {
            Ok(pem) => pem,
            Err(source) => return Err(CaFileError::Unreadable { path, source }),
        };
        // One certificate at a time: of several in one text only the first is taken.
        let text = String::from_utf8_lossy(&pem);
        let parts = text.split_inclusive("-----END CERTIFICATE-----");
        let parts = parts.filter(|part| part.contains("-----BEGIN CERTIFICATE-----"));
        match parts.map(|part| Certificate::from_pem(part.as_bytes())).collect::<Result<Vec<_>, _>>() {
            Ok(found) if found.is_empty() => Err(CaFileError::Empty { path }),
            Ok(found) => Ok(found),
            Err(source) => Err(CaFileError::Damaged { path, source }),
        }
    }

    fn tls(&self, root: &Path) -> Result<TlsParameters, Undelivered> {
        let mut tls = TlsParameters::builder(self.server.host.clone());
        let believed = self.authorities(root).map_err(|error| {
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            Undelivered::Unreachable(format!("{error}{cause}"))
        })?;
        for certificate in believed {
            tls = tls.add_root_certificate(certificate);
        }
        tls.build_rustls()
            .map_err(|error| Undelivered::Unreachable(format!("{} {}", self.place(), said(&error))))
    }
}

/// Returns whether a server that refuses a sender says by it who it talks to, or what it lets them do: that one has to log in
/// (530, 535, 538; RFC 4954), or what its policy is (`5.7.`; RFC 3463).
fn is_about_us(error: &SmtpError) -> bool {
    let Some(code) = error.status().filter(|_| error.is_permanent()) else { return false };
    let text = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    matches!(u16::from(code), 530 | 535 | 538) || text.starts_with("5.7.")
}

/// Returns what went wrong, as a server said it or as it was seen.
fn said(error: &SmtpError) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    let cause: String = one_line(&cause).chars().take(SAID_MAX).collect();
    match error.status() {
        Some(code) if cause.is_empty() => format!("answered {code}"),
        Some(code) => format!("answered {code}: {cause}"),
        None if error.is_timeout() => "does not answer".to_owned(),
        None if cause.is_empty() => format!("cannot be told: {error}"),
        None => format!("cannot be told: {cause}"),
    }
}

/// Returns who we say that we are: this machine's name.
fn hello() -> ClientId {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    if !name.is_empty() && name.chars().all(is_name) {
        ClientId::Domain(name.into_owned())
    } else {
        ClientId::default()
    }
}

#[cfg(test)]
mod tests {
    use cairn_model::Timestamp;
    use cairn_store::Recipient;

    use super::*;

    pub(super) fn stored(key: &str) -> Stored {
        Stored {
            to: Recipient::Mail,
            key: key.to_owned(),
            body: Vec::new(),
            made: Timestamp(1_700_000_000_000),
            tries: 0,
            not_before: Timestamp(0),
            error: None,
        }
    }

    pub(super) fn mail() -> Mail {
        Mail {
            server: "smtp://localhost".parse().unwrap(),
            from: "Cairn <cairn@a.example>".parse().unwrap(),
            to: vec!["me@a.example".parse().unwrap()],
            on: None,
            password: None,
            starttls: StartTls::Offered,
            ca_file: None,
        }
    }

    #[test]
    fn who_is_no_longer_told_is_given_up() {
        let letter = |to: &str| {
            let told = serde_json::json!({
                "text": "", "pipeline": "", "run": "", "status": "", "logical_time": "", "started": "", "project": "",
            });
            let body = serde_json::to_vec(&Letter { to: to.to_owned(), told }).unwrap();
            mail().send(Path::new("/"), &Stored { body, ..stored("k") })
        };
        assert!(matches!(letter("you@a.example"), Err(Undelivered::Never(_))));
        let unreadable = mail().send(Path::new("/"), &stored("k"));
        assert!(matches!(unreadable, Err(Undelivered::Never(_))));
    }
}
