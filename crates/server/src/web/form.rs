//! What browsers send when a button is pressed.

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, Uri, header};
use axum::response::Redirect;
use cairn_dag::ParamValue;

use super::markup::Markup;
use super::shell::Fault;
use crate::api::{self, Problem};

/// The fields of a form, in their order.
pub(super) type Fields = Vec<(String, String)>;

/// The fields that came with a request: all of them, within the time that any body has.
pub(super) struct Form(pub(super) Fields);

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &S) -> Result<Self, Fault> {
        let (parts, body) = request.into_parts();
        let bytes = api::body(Request::from_parts(parts.clone(), body), state).await?;
        let form = axum::Form::from_request(Request::from_parts(parts, bytes.into()), state).await;
        let axum::Form(fields) =
            form.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
        Ok(Self(fields))
    }
}

/// Returns a field's text; empty where there is none.
pub(super) fn field<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
}

/// Leads back to the page with the button, which the gate knows to be one of ours; else to `otherwise`.
pub(super) fn back(headers: &HeaderMap, otherwise: &str) -> Redirect {
    let from = headers.get(header::REFERER).and_then(|value| value.to_str().ok());
    let path = from.and_then(|from| from.parse::<Uri>().ok()).and_then(|uri| {
        // Of the address only the path is taken: wherever it came from, it leads to a page of ours.
        let path = uri.path_and_query()?.as_str().to_owned();
        (path.starts_with('/') && !path.starts_with("//")).then_some(path)
    });
    Redirect::to(path.as_deref().unwrap_or(otherwise))
}

/// Draws the field of a param, made from the type of its default.
pub(super) fn param(name: &str, default: &ParamValue, value: &str) -> Markup {
    let mut markup = Markup::default();
    let id = |markup: &mut Markup| {
        markup.html(" id=\"param-").text(name).html("\" name=\"param-").text(name).html("\"");
    };
    if let ParamValue::Boolean(_) = default {
        markup.html("<select");
        id(&mut markup);
        markup.html(">");
        for word in ["true", "false"] {
            markup
                .html("<option")
                .html(if word == value { " selected" } else { "" })
                .html(">")
                .html(word)
                .html("</option>");
        }
        markup.html("</select>");
        return markup;
    }
    let kind = match default {
        ParamValue::Integer(_) => "type=\"number\" step=\"1\"",
        ParamValue::Float(_) => "type=\"number\" step=\"any\"",
        ParamValue::LocalDate(_) => "type=\"date\"",
        ParamValue::LocalTime(_) => "type=\"time\" step=\"1\"",
        _ => "type=\"text\" autocomplete=\"off\" spellcheck=\"false\"",
    };
    markup.html("<input ").html(kind);
    id(&mut markup);
    markup.attribute("value", value).html(">");
    markup
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use axum::response::IntoResponse as _;

    #[test]
    fn the_way_back_stays_on_these_pages() {
        for (from, to) in [
            ("http://localhost:1/runs?status=failed", "/runs?status=failed"),
            ("http://evil.example//evil.example/x", "/other"),
            ("nonsense", "/other"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::REFERER, HeaderValue::from_static(from));
            let response = back(&headers, "/other").into_response();
            assert_eq!(response.headers()[header::LOCATION], to, "{from}");
        }
    }

    #[test]
    fn a_param_is_asked_for_by_its_type() {
        let html = param("x", &ParamValue::Integer(1), "\"><script>").to_string();
        assert!(html.contains("type=\"number\"") && !html.contains("<script"), "{html}");
        let html = param("x", &ParamValue::Boolean(true), "false").to_string();
        assert!(html.contains("<option selected>false"), "{html}");
    }
}
