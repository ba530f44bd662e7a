//! Delivers what somebody outside is to be told: at least once, each under a key of its own, in the order in which it was
//! written, tried again with growing pauses, over restarts of the daemon.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_model::Timestamp;
use cairn_scheduler::definition::kept_back;
use cairn_store::{Batch, Message, ReadError, Recipient};

use crate::carry_out::blocking;
use crate::daemon::{Daemon, StoreError};
use crate::lineage::LineageTo;

/// The pause after the first try in vain; it doubles, up to the longest.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_hours(1);
/// How long it is tried.
const GIVEN_UP_AFTER: Duration = Duration::from_hours(7 * 24);
/// How long one delivery may take.
const WITHIN: Duration = Duration::from_secs(30);
/// How long it is waited at most before it is looked again for what is due: the clock may be set meanwhile.
const LOOK: Duration = Duration::from_mins(1);
/// How long where it could not be looked.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Messages that are read at once.
const TOGETHER_MAX: usize = 1000;

/// Why a message was not delivered.
#[derive(Debug)]
pub(crate) enum Undelivered {
    /// It may be later.
    Later(String),
    /// It may be later, and nothing else for the same recipient is before.
    Unreachable(String),
    /// It never will be.
    Never(String),
}

impl Daemon {
    /// Delivers messages, for ever: to each recipient by itself, so that what one does not take holds up nothing of another.
    pub async fn deliver(self: &Arc<Self>) {
        let [webhook, command, lineage, mail] = Recipient::ALL.map(|to| self.keep_telling(to));
        tokio::join!(webhook, command, lineage, mail);
    }

    async fn keep_telling(self: &Arc<Self>, to: Recipient) {
        let mut written = self.outbox.subscribe();
        // For one that is not, there may be messages from when it was.
        let is_set_up = self.is_set_up(to);
        loop {
            let daemon = Arc::clone(self);
            let pause = match blocking(move || daemon.deliver_due(to)).await {
                Ok(Some(next)) => Duration::from_millis(next.millis_since(self.clock.now())).min(LOOK),
                Ok(None) => LOOK,
                Err(error) => {
                    tracing::error!(to = to.as_str(), %error, "messages cannot be delivered; it is tried again");
                    LOOK_AGAIN
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // Who writes is this daemon: there will be another as long as this waits.
                _ = written.changed(), if is_set_up => {}
            }
        }
    }

    fn is_set_up(&self, to: Recipient) -> bool {
        match to {
            Recipient::Webhook => self.notify.webhook.is_some(),
            Recipient::Command => !self.notify.command.is_empty(),
            Recipient::Mail => self.notify.mail.is_some(),
            Recipient::Lineage => self.lineage.is_some(),
        }
    }

    /// Delivers what is due to a recipient now; returns when to look again, `None` where nothing is left for it. One of them is at
    /// work for each recipient; lineage stays in order.
    pub fn deliver_due(&self, to: Recipient) -> Result<Option<Timestamp>, StoreError> {
        let (due, next) = self.due(to)?;
        if due.is_empty() {
            return Ok(next);
        }
        // Nobody is told of what a power cut could take back.
        self.store.sync(self.store.head().sequence)?;
        for message in due {
            let mut batch = Batch::new();
            let (is_put_off, is_last) = match self.send(&message) {
                Ok(()) => {
                    batch.remove_message(&message);
                    (false, false)
                }
                Err(Undelivered::Never(error)) => {
                    give_up(&mut batch, &message, &error);
                    (false, false)
                }
                Err(Undelivered::Later(error)) => {
                    let is_put_off = self.put_off(&mut batch, vec![message], &error);
                    (is_put_off, is_put_off && to == Recipient::Lineage)
                }
                Err(Undelivered::Unreachable(error)) => {
                    let waiting =
                        self.store.outbox().filter(|row| row.as_ref().map_or(true, |it| it.to == to));
                    let waiting = waiting.collect::<Result<_, _>>()?;
                    (self.put_off(&mut batch, waiting, &error), true)
                }
            };
            self.metrics.told(to, !is_put_off);
            self.commit(batch)?;
            if is_last {
                break;
            }
        }
        Ok(Some(self.clock.now()))
    }

    /// Returns what is due to a recipient, the oldest first, and when the first of what waits is. What waits, or is another's,
    /// does not count against the limit.
    fn due(&self, to: Recipient) -> Result<(Vec<Message>, Option<Timestamp>), ReadError> {
        let now = self.clock.now();
        let (mut due, mut next) = (Vec::new(), None::<Timestamp>);
        for message in self.store.outbox() {
            let message = message?;
            if message.to != to {
                continue;
            }
            if message.not_before <= now {
                due.push(message);
            } else {
                next = Some(next.map_or(message.not_before, |next| next.min(message.not_before)));
                if to == Recipient::Lineage {
                    break;
                }
            }
            if due.len() == TOGETHER_MAX {
                break;
            }
        }
        Ok((due, next))
    }

    /// Puts messages to one recipient off, all to the same time, and gives up those that have been tried for long enough.
    /// Returns whether any is left.
    fn put_off(&self, batch: &mut Batch, messages: Vec<Message>, error: &str) -> bool {
        let now = self.clock.now();
        let tries = messages.iter().map(|message| message.tries).max().unwrap_or_default().saturating_add(1);
        let not_before = Timestamp(now.0.saturating_add_unsigned(pause_ms(tries)));
        let mut any = false;
        for message in messages {
            if Duration::from_millis(now.millis_since(message.made)) >= GIVEN_UP_AFTER {
                give_up(batch, &message, error);
                continue;
            }
            let to = message.to.as_str();
            tracing::debug!(to, key = message.key, %error, tries, "not delivered yet");
            if tries == 1 && !any {
                tracing::warn!(to, %error, "cannot tell; it is tried again");
            }
            batch.put_message(&Message { tries, not_before, error: Some(error.to_owned()), ..message });
            any = true;
        }
        any
    }

    fn send(&self, message: &Message) -> Result<(), Undelivered> {
        // What is no longer set up is given up.
        let gone = || Undelivered::Never("nobody is to be told any more".to_owned());
        match message.to {
            Recipient::Webhook => post(self.notify.webhook.as_deref().ok_or_else(gone)?, message),
            Recipient::Command => {
                let (program, arguments) = self.notify.command.split_first().ok_or_else(gone)?;
                run(program, arguments, &self.root, message)
            }
            Recipient::Mail => self.notify.mail.as_ref().ok_or_else(gone)?.send(&self.root, message),
            Recipient::Lineage => match &self.lineage.as_ref().ok_or_else(gone)?.to {
                LineageTo::Url(url) => post(url, message),
                LineageTo::File(path) => append(&self.root.join(path), message),
            },
        }
    }
}

fn give_up(batch: &mut Batch, message: &Message, error: &str) {
    tracing::error!(to = message.to.as_str(), key = message.key, %error, "given up: it is not told");
    batch.remove_message(message);
}

/// Milliseconds to wait after so many tries in vain.
fn pause_ms(tries: u32) -> u64 {
    let pause = PAUSE.saturating_mul(1 << tries.saturating_sub(1).min(20)).min(PAUSE_MAX);
    u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)
}

fn post(url: &str, message: &Message) -> Result<(), Undelivered> {
    let agent = ureq::Agent::config_builder()
        .timeout_global(Some(WITHIN))
        .http_status_as_error(false)
        .max_redirects(0)
        .user_agent(concat!("cairn/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent();
    let sent = agent
        .post(url)
        .header("content-type", "application/json")
        .header("idempotency-key", format!("\"{}\"", message.key))
        .send(&message.body[..]);
    match sent {
        Ok(response) => match response.status().as_u16() {
            200..=299 => Ok(()),
            status @ (408 | 425 | 429 | 500..) => Err(Undelivered::Later(format!("it answered {status}"))),
            status => Err(Undelivered::Never(format!("it answered {status}"))),
        },
        Err(error @ (ureq::Error::BadUri(_) | ureq::Error::Http(_))) => {
            Err(Undelivered::Never(error.to_string()))
        }
        Err(error) => Err(Undelivered::Later(error.to_string())),
    }
}

/// Appends a line, which is durable when this returns. One that was cut off in the middle is ended first.
fn append(path: &Path, message: &Message) -> Result<(), Undelivered> {
    use std::io::{Read as _, Seek as _};
    let written = (|| {
        let mut file = std::fs::OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut line = Vec::with_capacity(message.body.len() + 2);
        if file.metadata()?.len() > 0 {
            let mut last = [0];
            file.seek(std::io::SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                line.push(b'\n');
            }
        }
        line.extend_from_slice(&message.body);
        line.push(b'\n');
        file.write_all(&line)?;
        file.sync_data()
    })();
    written.map_err(|error: std::io::Error| {
        Undelivered::Later(format!("cannot write `{}`: {error}", path.display()))
    })
}

/// Runs a command in the project's folder: the text on its standard input, all of it in its environment.
fn run(program: &str, arguments: &[String], root: &Path, message: &Message) -> Result<(), Undelivered> {
    let told: serde_json::Value = serde_json::from_slice(&message.body).unwrap_or_default();
    let text = |name: &str| told.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(root)
        .env("CAIRN_NOTIFICATION", String::from_utf8_lossy(&message.body).as_ref())
        .env("CAIRN_IDEMPOTENCY_KEY", &message.key)
        .env("CAIRN_OCCASION", text("occasion"))
        .env("CAIRN_PIPELINE", text("pipeline"))
        .env("CAIRN_RUN", text("run"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if let Some(variable) = kept_back() {
        command.env_remove(variable);
    }
    let later = |error: &std::io::Error| Undelivered::Later(format!("cannot run `{program}`: {error}"));
    let mut child = command.spawn().map_err(|error| later(&error))?;
    if let Some(mut input) = child.stdin.take() {
        // A few hundred bytes, which a pipe takes at once. It may not want them.
        let _ = input.write_all(format!("{}\n", text("text")).as_bytes());
    }
    let began = Instant::now();
    loop {
        match child.try_wait().map_err(|error| later(&error))? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(Undelivered::Later(format!("`{program}` ended with {status}"))),
            None if began.elapsed() > WITHIN => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Undelivered::Later(format!(
                    "`{program}` took longer than {} s",
                    WITHIN.as_secs()
                )));
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_an_hour() {
        let pauses: Vec<u64> = [1, 2, 3, 12, 13, 40, u32::MAX].map(pause_ms).to_vec();
        assert_eq!(pauses, [1_000, 2_000, 4_000, 2_048_000, 3_600_000, 3_600_000, 3_600_000]);
    }

    #[test]
    fn a_line_that_was_cut_off_is_ended_before_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lineage.ndjson");
        let message = Message {
            to: Recipient::Lineage,
            key: "k".to_owned(),
            body: b"{\"a\":1}".to_vec(),
            made: Timestamp(0),
            tries: 0,
            not_before: Timestamp(0),
            error: None,
        };
        append(&path, &message).unwrap();
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"cut").unwrap();
        append(&path, &message).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"a\":1}\n{\"cut\n{\"a\":1}\n");
        assert!(matches!(append(&folder.path().join("none/x"), &message), Err(Undelivered::Later(_))));
    }
}
