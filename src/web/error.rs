//! What a failure looks like on each surface.
//!
//! The webhook answers 403 for every refusal and `success` for everything that goes wrong behind a good signature: see
//! `webhook`. The JSON API answers [`ApiError`].

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// A failure of the JSON API: status and `{"error":{"code","message"}}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// 400: a parameter is missing or out of range.
    #[error("{name}: {reason}")]
    BadParameter {
        /// The parameter's name.
        name: &'static str,
        /// What is accepted.
        reason: String,
    },
    /// 401: the API is not open to the public.
    #[error("an API key is needed")]
    Unauthorized,
    /// 404: no such path.
    #[error("there is nothing at this address")]
    NotFound,
    /// 405: the path knows other methods.
    #[error("this method is not offered here")]
    MethodNotAllowed,
    /// 503: too much is under way.
    #[error("too many requests are under way")]
    Overloaded,
}

impl ApiError {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::BadParameter { .. } => (StatusCode::BAD_REQUEST, "bad_parameter"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = self.status_and_code();
        let body = Json(json!({ "error": { "code": code, "message": self.to_string() } }));
        let mut response = (status, body).into_response();
        match self {
            Self::Unauthorized => {
                response
                    .headers_mut()
                    .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::Overloaded => {
                response
                    .headers_mut()
                    .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_its_status() {
        let status = |error: ApiError| error.into_response().status().as_u16();
        assert_eq!(
            status(ApiError::BadParameter {
                name: "q",
                reason: "1–500 characters".into()
            }),
            400
        );
        assert_eq!(status(ApiError::Unauthorized), 401);
        assert_eq!(status(ApiError::NotFound), 404);
        assert_eq!(status(ApiError::MethodNotAllowed), 405);
        assert_eq!(status(ApiError::Overloaded), 503);
    }
}
