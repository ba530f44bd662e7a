//! What PostgreSQL's errors mean: the record, the server, or a person.

use std::error::Error as _;

use tokio_postgres::error::{DbError, SqlState};

use crate::sink::SinkError;

/// What ended an operation.
pub(super) enum Failure {
    /// The server or the connection.
    Sql(tokio_postgres::Error),
    /// Something that was found here.
    Sink(SinkError),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<SinkError> for Failure {
    fn from(error: SinkError) -> Self {
        Self::Sink(error)
    }
}

impl Failure {
    /// Returns the error for those who use the sink called `name`.
    pub(super) fn into_sink_error(self, name: &str) -> SinkError {
        match self {
            Self::Sink(error) => error,
            Self::Sql(error) => classify(name, &error),
        }
    }
}

/// Returns the SQL error when what was sent is wrong, not how the server is.
pub(super) fn of_records(error: &tokio_postgres::Error) -> Option<&DbError> {
    let error = error.as_db_error()?;
    // Data, integrity, the same row twice, raised by a trigger, a limit such as the size of an index entry.
    ["22", "23", "21", "P0", "54"].contains(&class(error)).then_some(error)
}

/// Returns whether a table is not what it was.
pub(super) fn of_schema(error: &tokio_postgres::Error) -> bool {
    error
        .as_db_error()
        .is_some_and(|error| class(error) == "42" && *error.code() != SqlState::INSUFFICIENT_PRIVILEGE)
}

fn class(error: &DbError) -> &str {
    error.code().code().get(..2).unwrap_or_default()
}

/// Returns the server's message with its detail.
pub(super) fn sentence(error: &DbError) -> String {
    match error.detail() {
        Some(detail) => format!("{} ({})", error.message(), detail.trim_end_matches('.')),
        None => error.message().to_owned(),
    }
}

fn classify(name: &str, error: &tokio_postgres::Error) -> SinkError {
    let unavailable =
        |error: String| SinkError::Unavailable { sink: name.to_owned(), error, retry_after_ms: None };
    let refused =
        |error: String, help: Option<String>| SinkError::Refused { sink: name.to_owned(), error, help };
    if let Some(error) = error.as_db_error() {
        let text = sentence(error);
        let hint = error.hint().map(str::to_owned);
        let help = |text: &str| Some(text.to_owned());
        return match (class(error), error.code()) {
            ("28", _) => {
                refused(text, help("check user and password in `url`, and the server's `pg_hba.conf`"))
            }
            ("3D", _) => {
                refused(text, help("make the database (`createdb NAME`), or correct its name in `url`"))
            }
            (_, code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                refused(text, help("grant this user what is missing, or have its owner make the table"))
            }
            (_, code) if *code == SqlState::READ_ONLY_SQL_TRANSACTION => {
                refused(text, help("connect to the primary server: this one is a standby, or made read-only"))
            }
            (_, code) if *code == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE && text.contains("prepared") => {
                refused(
                    text,
                    help(
                        "set `max_prepared_transactions` above 0 in the server's `postgresql.conf` and restart it, or use `commit = \"each\"`",
                    ),
                )
            }
            (_, code) if *code == SqlState::DISK_FULL => {
                unavailable(format!("the disk of the server is full ({text})"))
            }
            // Connections, resources, operators' interventions, locks, deadlocks.
            ("08" | "53" | "57" | "55" | "40", _) => unavailable(text),
            _ => refused(text, hint),
        };
    }
    let mut text = error.to_string();
    let mut is_io = error.is_closed();
    let mut source = error.source();
    while let Some(error) = source {
        is_io |= error.is::<std::io::Error>();
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    if text.contains("TLS") || text.contains("certificate") {
        let help = "set `sslmode` (disable, prefer, require, verify-full) and `sslrootcert` in `url` as the server needs them";
        return refused(text, Some(help.to_owned()));
    }
    // A time-out has no source.
    if is_io || text.contains("timeout") || text.contains("timed out") {
        return unavailable(text);
    }
    refused(text, None)
}
