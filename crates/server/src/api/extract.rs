//! What a request brings: parts of its path, its query, its body; or the problem with it.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;

use super::Problem;

/// Parts of the path.
pub(super) struct Path<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let axum::extract::Path(value) = axum::extract::Path::from_request_parts(parts, state).await?;
        Ok(Self(value))
    }
}

/// The query.
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let axum::extract::Query(value) = axum::extract::Query::from_request_parts(parts, state).await?;
        Ok(Self(value))
    }
}

/// The body, JSON; without one it is what `T` is by default.
///
/// The gate has seen to its kind where it came by TCP. By the socket it is JSON whatever it is said to be: a body that was
/// overlooked would be a run with other params.
pub(super) struct Body<T>(pub(super) T);

/// The body as it is.
pub(super) struct Raw(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        Ok(Self(body(request, state).await?))
    }
}

/// Reads a body, however slowly it comes, as long as it is here in time.
pub(crate) async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    let late = |_| {
        let within = BODY_WITHIN.as_secs();
        Problem::new(StatusCode::REQUEST_TIMEOUT, format!("the body did not come within {within} s"))
    };
    Ok(tokio::time::timeout(BODY_WITHIN, Bytes::from_request(request, state)).await.map_err(late)??)
}

/// How long a client may take for a body.
const BODY_WITHIN: Duration = Duration::from_secs(30);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = body(request, state).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        // A list would do for an object whose fields can all be left out.
        let is_object = bytes.trim_ascii_start().first() == Some(&b'{');
        if !is_object && serde_json::from_slice::<IgnoredAny>(&bytes).is_ok() {
            let detail = "the body is not a JSON object";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
        }
        let value = serde_json::from_slice(&bytes).map_err(|error| match error.classify() {
            Category::Data => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                format!("the body is not as it is to be: {error}"),
            ),
            Category::Io | Category::Syntax | Category::Eof => {
                Problem::bad(format!("the body is not JSON: {error}"))
            }
        })?;
        Ok(Self(value))
    }
}
