//! What a server answered, and what that means.

use std::io::Read;

use cairn_model::Clock;
use jiff::fmt::rfc2822::DateTimeParser;
use ureq::Body;
use ureq::http::{HeaderMap, Method, Response, StatusCode};

use crate::sink::SinkError;

/// Bytes of an answer that are kept as a receipt.
const RECEIPT: usize = 512;

/// Bytes of an answer that are read at most, so that the connection can be used again.
const READ: u64 = 64 * 1024;

/// The longest pause that a server gets by `Retry-After`: one that asks for more is asked again after it.
const RETRY_AFTER_MAX_MS: u64 = 60 * 60 * 1000;

/// Characters of an answer that a message shows.
const SHOWN: usize = 200;

/// The answer to one request, or why there is none.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// The server answered.
    Status {
        status: StatusCode,
        /// What was asked: `POST`.
        method: Method,
        /// The beginning of the body.
        body: String,
        retry_after_ms: Option<u64>,
        /// Where it says that it has moved.
        location: Option<String>,
    },
    /// Nobody answered. Whether the request had an effect is not known.
    Nobody(String),
    /// No request can be made: a certificate that is not valid, for example.
    Impossible(String),
}

impl Answer {
    /// Reads what came of a request.
    pub(super) fn read(
        sent: Result<Response<Body>, ureq::Error>,
        method: &Method,
        clock: &dyn Clock,
    ) -> Self {
        match sent {
            Ok(mut response) => {
                let mut body = Vec::new();
                // Its status has come: that the rest breaks off changes nothing.
                let _ = response.body_mut().as_reader().take(READ).read_to_end(&mut body);
                body.truncate(RECEIPT);
                let headers = response.headers();
                let location =
                    headers.get("location").and_then(|place| place.to_str().ok()).map(str::to_owned);
                Self::Status {
                    status: response.status(),
                    method: method.clone(),
                    body: String::from_utf8_lossy(&body).trim().to_owned(),
                    retry_after_ms: retry_after_ms(headers, clock),
                    location,
                }
            }
            Err(
                error @ (ureq::Error::Io(_)
                | ureq::Error::Timeout(_)
                | ureq::Error::HostNotFound
                | ureq::Error::ConnectionFailed
                | ureq::Error::Protocol(_)),
            ) => Self::Nobody(error.to_string()),
            Err(error) => Self::Impossible(error.to_string()),
        }
    }

    pub(super) fn is_delivered(&self) -> bool {
        match self {
            Self::Status { status, method, .. } => is_delivered(*status, method),
            Self::Nobody(_) | Self::Impossible(_) => false,
        }
    }

    /// Returns whether it speaks of the server, so that other records would fare no better.
    pub(super) fn is_of_server(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status.as_u16(), 429 | 503) || self.is_of_endpoint(),
            Self::Nobody(_) | Self::Impossible(_) => true,
        }
    }

    /// Returns whether address, method or credentials are wrong.
    fn is_of_endpoint(&self) -> bool {
        matches!(self, Self::Status { status, method, .. }
            if matches!(status.as_u16(), 300..=399 | 401 | 403 | 404 | 405 | 407 | 415) && !is_delivered(*status, method))
    }

    /// Returns whether some records of a batch may be to blame, not all of them.
    pub(super) fn is_of_some_record(&self) -> bool {
        matches!(self, Self::Status { status, .. } if matches!(status.as_u16(), 400 | 413 | 422))
    }

    /// Returns whether another try may succeed.
    pub(super) fn retry(&self) -> bool {
        match self {
            Self::Status { status, .. } => {
                // Of what speaks of the endpoint, a person sees to that: the record is not to blame.
                matches!(status.as_u16(), 408 | 409 | 425 | 429 | 500..=599) || self.is_of_endpoint()
            }
            Self::Nobody(_) | Self::Impossible(_) => true,
        }
    }

    pub(super) fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Status { retry_after_ms, .. } => *retry_after_ms,
            Self::Nobody(_) | Self::Impossible(_) => None,
        }
    }

    /// Returns what is kept of an answer that says the record is delivered.
    pub(super) fn receipt(&self) -> Option<String> {
        match self {
            Self::Status { status, body, method, .. } if is_delivered(*status, method) => {
                Some(format!("{} {body}", status.as_u16()).trim_end().to_owned())
            }
            _ => None,
        }
    }

    /// Returns the sentence for one that does not.
    pub(super) fn error(&self) -> String {
        match self {
            Self::Status { status, method, body, location, .. } => {
                let moved = location.as_ref().map(|place| format!(", to `{place}`")).unwrap_or_default();
                let shown: String = body.chars().take(SHOWN).collect();
                let shown = if shown.is_empty() { shown } else { format!(": {shown}") };
                format!("{method} was answered by {status}{moved}{shown}")
            }
            Self::Nobody(error) | Self::Impossible(error) => error.clone(),
        }
    }

    /// Returns the error for the whole batch, when the answer speaks of the server.
    pub(super) fn of_sink(&self, sink: &str) -> Option<SinkError> {
        let (sink, error) = (sink.to_owned(), self.error());
        let help = match self {
            Self::Status { .. } if self.is_of_endpoint() => {
                "correct `url`, `method` and `headers` of the sink"
            }
            Self::Status { retry_after_ms, .. } if self.is_of_server() => {
                return Some(SinkError::Unavailable { sink, error, retry_after_ms: *retry_after_ms });
            }
            Self::Nobody(_) => return Some(SinkError::Unavailable { sink, error, retry_after_ms: None }),
            Self::Impossible(_) => "see to the address, or to the server's certificate",
            Self::Status { .. } => return None,
        };
        Some(SinkError::Refused { sink, error, help: Some(help.to_owned()) })
    }
}

/// Returns whether the record is there, or of a tombstone: is not there.
fn is_delivered(status: StatusCode, method: &Method) -> bool {
    status.is_success() || (*method == Method::DELETE && matches!(status.as_u16(), 404 | 410))
}

/// Reads `Retry-After` (RFC 9110, 10.2.3): seconds, or a date, which is compared with the server's own `Date` when there
/// is one, since its clock may be wrong.
fn retry_after_ms(headers: &HeaderMap, clock: &dyn Clock) -> Option<u64> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let millis =
        |text: &str| DateTimeParser::new().parse_timestamp(text).ok().map(jiff::Timestamp::as_millisecond);
    let after = text("retry-after")?.trim();
    if !after.is_empty() && after.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = after.parse::<u64>().unwrap_or(u64::MAX);
        return Some(seconds.saturating_mul(1000).min(RETRY_AFTER_MAX_MS));
    }
    let now = text("date").and_then(millis).unwrap_or_else(|| clock.now().0);
    let pause = u64::try_from(millis(after)?.saturating_sub(now)).unwrap_or(0);
    Some(pause.min(RETRY_AFTER_MAX_MS))
}

#[cfg(test)]
mod tests {
    use cairn_model::{FixedClock, Timestamp};

    use super::*;

    #[test]
    fn a_pause_is_read_in_seconds_and_as_a_date() {
        let clock = FixedClock::new(Timestamp(784_111_770_000));
        for (after, date, expected) in [
            ("120", None, Some(120_000)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", None, Some(7_000)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some("Sun, 06 Nov 1994 08:49:07 GMT"), Some(30_000)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some("Sun, 06 Nov 1994 09:00:00 GMT"), Some(0)),
            ("99999999999", None, Some(3_600_000)),
            ("99999999999999999999", None, Some(3_600_000)),
            ("Sat, 06 Nov 2094 08:49:37 GMT", None, Some(3_600_000)),
            ("soon", None, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", after.parse().unwrap());
            if let Some(date) = date {
                headers.insert("date", date.parse().unwrap());
            }
            assert_eq!(retry_after_ms(&headers, &clock), expected, "{after} {date:?}");
        }
        assert_eq!(retry_after_ms(&HeaderMap::new(), &clock), None);
    }
}
