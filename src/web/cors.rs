//! Which web pages of other origins may read the API's answers (Fetch standard, CORS protocol).
//!
//! Exact origins from the configuration, never a wildcard. Callers identify themselves by header, not by cookie, so
//! credentials in the standard's sense are not allowed.

use super::Web;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// How long a browser may remember a preflight's answer, in seconds.
const MAX_AGE: &str = "600";

/// Answers preflights, and tells the browser of an allowed origin that its page may read the response.
pub async fn allow(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    let policy = web.policy.load_full();
    let headers = request.headers();
    let origin = headers.get(header::ORIGIN).cloned();
    let allowed = origin.filter(|origin| {
        policy
            .api
            .cors_origins
            .iter()
            .any(|known| known.as_bytes() == origin.as_bytes())
    });
    let is_preflight =
        request.method() == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match (&allowed, is_preflight) {
        (Some(_), true) => preflight().into_response(),
        _ => next.run(request).await,
    };
    let headers = response.headers_mut();
    if !policy.api.cors_origins.is_empty() {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(origin) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let exposed = HeaderValue::from_static("Retry-After");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
    response
}

fn preflight() -> (StatusCode, HeaderMap) {
    let allowed = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type"),
        (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE),
    ];
    let headers = allowed.map(|(name, value)| (name, HeaderValue::from_static(value)));
    (StatusCode::NO_CONTENT, headers.into_iter().collect())
}
