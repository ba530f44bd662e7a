//! Errors as RFC 9457 has them: `application/problem+json`.

use axum::Json;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use cairn_scheduler::backfill::BackfillError;
use serde::Serialize;

use crate::backfill::FillError;
use crate::daemon::StoreError;
use crate::submit::SubmitError;

/// What went wrong with a request.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub(crate) struct Problem {
    /// Which problem it is, for a program that has to tell it from others of its status; left out where `title` says all.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    /// The HTTP status.
    #[serde(serialize_with = "number")]
    #[schema(value_type = u16)]
    status: StatusCode,
    /// The status in words.
    title: &'static str,
    /// What is wrong with this request.
    detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
    /// What is wrong with a definition, drawn as the command line draws it.
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self { kind: None, status, title, detail: detail.into(), help: None, report: None }
    }

    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    #[must_use]
    pub(crate) fn maybe_help(self, help: Option<String>) -> Self {
        Self { help: help.or(self.help), ..self }
    }

    /// Adds what is wrong with a definition, as the command line draws it.
    #[must_use]
    pub(crate) fn report(self, report: String) -> Self {
        Self { report: Some(report), ..self }
    }

    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Returns status, its words, what is wrong, what to do about it, and the report on a definition.
    pub(crate) fn into_parts(self) -> (StatusCode, &'static str, String, Option<String>, Option<String>) {
        (self.status, self.title, self.detail, self.help, self.report)
    }

    pub(crate) fn unknown(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        let status = match &error {
            SubmitError::UnknownPipeline { .. }
            | SubmitError::UnknownRun { .. }
            | SubmitError::UnknownHook { .. } => StatusCode::NOT_FOUND,
            SubmitError::Wrong { .. }
            | SubmitError::Launch(_)
            | SubmitError::NoInterval { .. }
            | SubmitError::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            SubmitError::InProgress | SubmitError::NotNow { .. } | SubmitError::OtherText { .. } => {
                StatusCode::CONFLICT
            }
            SubmitError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let help = match &error {
            SubmitError::Launch(error) => error.help(),
            SubmitError::Store(error) => error.help(),
            SubmitError::NoInterval { .. } => Some("give `interval`, or write a `[schedule]`".to_owned()),
            SubmitError::KeyReused => Some("give each request a key of its own".to_owned()),
            SubmitError::OtherText { .. } => {
                Some("it may have been changed just now: look at the file, and ask again".to_owned())
            }
            SubmitError::InProgress => Some("ask again in a moment".to_owned()),
            _ => None,
        };
        let kind = match &error {
            SubmitError::NotNow { standing, .. } => Some(standing.problem_type()),
            SubmitError::InProgress => Some("urn:cairn:request-in-progress"),
            SubmitError::OtherText { .. } => Some("urn:cairn:other-text"),
            _ => None,
        };
        let report = match &error {
            SubmitError::Wrong { report } => Some(report.clone()),
            SubmitError::OtherText { report, .. } => report.clone(),
            _ => None,
        };
        Self { kind, help, report, ..Self::new(status, error.to_string()) }
    }
}

impl From<FillError> for Problem {
    fn from(error: FillError) -> Self {
        let help = error.help();
        let status = match &error {
            FillError::NoTime { .. } | FillError::Backfill(BackfillError::NoWord { .. }) => {
                StatusCode::BAD_REQUEST
            }
            FillError::Nothing | FillError::Planning => StatusCode::CONFLICT,
            FillError::LookUp(_) | FillError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        match error {
            FillError::Store(error) => error.into(),
            FillError::Key(error) => error.into(),
            FillError::Launch(error) => SubmitError::from(error).into(),
            FillError::Wrong { report } => SubmitError::Wrong { report }.into(),
            other => Self::new(status, other.to_string()).maybe_help(help),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self { help: error.help(), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()) }
    }
}

impl From<cairn_store::ReadError> for Problem {
    fn from(error: cairn_store::ReadError) -> Self {
        StoreError::from(error).into()
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

/// Says that there is nothing: to a person on a page, to a program as a problem.
pub(super) async fn not_found(uri: Uri, headers: HeaderMap) -> Response {
    let problem = Problem::unknown(format!("there is nothing at `{}`", uri.path()));
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let wants_page = accepts.contains("text/html") && !uri.path().starts_with("/api/");
    if wants_page { crate::web::fault_page(problem) } else { problem.into_response() }
}

pub(super) async fn not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("`{}` does not answer to {method}", uri.path()))
}
