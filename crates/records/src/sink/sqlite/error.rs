//! What SQLite's errors mean: the record, another process, or a person.

use rusqlite::ErrorCode;

use super::BUSY_TIMEOUT;
use crate::sink::SinkError;

/// Returns whether a statement failed for what it was given, not for where it ran.
pub(super) fn is_of_the_record(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig)
    )
}

/// Returns what SQLite says.
pub(super) fn error_text(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
        other => other.to_string(),
    }
}

/// Tells what another try may mend from what a person must.
pub(super) fn failed(name: &str, error: &rusqlite::Error) -> SinkError {
    let text = error_text(error);
    let refused = |error: String, help: &str| SinkError::Refused {
        sink: name.to_owned(),
        error,
        help: Some(help.to_owned()),
    };
    let unavailable =
        |error: String| SinkError::Unavailable { sink: name.to_owned(), error, retry_after_ms: None };
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => unavailable(format!(
            "another process has held its lock for {} s ({text})",
            BUSY_TIMEOUT.as_secs()
        )),
        Some(ErrorCode::DiskFull) => unavailable(format!("the disk is full ({text})")),
        Some(ErrorCode::SystemIoFailure | ErrorCode::OperationInterrupted | ErrorCode::OutOfMemory) => {
            unavailable(text)
        }
        Some(ErrorCode::CannotOpen) => refused(text, "make the folder, or let this user write there"),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            refused(text, "let this user write the file and its folder")
        }
        Some(ErrorCode::NotADatabase) => refused(text, "name another file, or move this one away"),
        Some(ErrorCode::DatabaseCorrupt) => {
            refused(text, "restore the file from a backup, or save what is left by `sqlite3 FILE .recover`")
        }
        _ => SinkError::Refused { sink: name.to_owned(), error: text, help: None },
    }
}
