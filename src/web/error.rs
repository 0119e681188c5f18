//! What a failure looks like on each surface.
//!
//! The webhook answers 403 for every refusal and `success` for everything that goes wrong behind a good signature: see
//! `webhook`. The JSON API answers [`ApiError`].

use super::description::{ErrorBody, ErrorText};
use crate::store::api_key::KeyScope;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::time::Duration;

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
    /// 401: the key is none, or none any more.
    #[error("the API key is not known; it may have been revoked")]
    UnknownKey,
    /// 403: the caller's key does not open this.
    #[error("this needs an API key with the scope {scope}")]
    Forbidden {
        /// The scope's name.
        scope: &'static str,
    },
    /// 429: the caller's rate is used up.
    #[error("too many requests; try again in {} s", seconds(*wait))]
    TooOften {
        /// Until the next may come.
        wait: Duration,
    },
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
    /// The word for programs.
    pub(super) fn code(&self) -> &'static str {
        self.status_and_code().1
    }

    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::BadParameter { .. } => (StatusCode::BAD_REQUEST, "bad_parameter"),
            Self::Unauthorized | Self::UnknownKey => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::Forbidden { .. } => (StatusCode::FORBIDDEN, "forbidden"),
            Self::TooOften { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many_requests"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
        }
    }
}

impl ApiError {
    /// One of each kind that every path may answer: each has an account, and each a scope, here that of the searches.
    pub(super) fn everywhere() -> [Self; 5] {
        let reason = "is not known".to_owned();
        let name = "account";
        [
            Self::BadParameter { name, reason },
            Self::Unauthorized,
            Self::Forbidden {
                scope: KeyScope::Search.as_str(),
            },
            Self::TooOften {
                wait: Duration::from_secs(2),
            },
            Self::Overloaded,
        ]
    }

    /// What all failures of this kind have in common.
    pub(super) fn kind(&self) -> String {
        match self {
            Self::BadParameter { .. } => {
                "a parameter or a field is missing or not as it is described; the message names it".to_owned()
            }
            Self::TooOften { .. } => {
                "too many requests; `Retry-After` says in how many seconds the next may come".to_owned()
            }
            other => other.to_string(),
        }
    }

    /// What every refusal is called.
    pub(super) fn status(&self) -> StatusCode {
        self.status_and_code().0
    }

    /// `{"error":{"code","message"}}`
    pub(super) fn body(&self) -> ErrorBody {
        ErrorBody {
            error: ErrorText {
                code: self.code(),
                message: self.to_string(),
            },
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(self.body())).into_response();
        let own = match self {
            Self::Unauthorized => Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            Self::UnknownKey => {
                let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
                Some((header::WWW_AUTHENTICATE, challenge))
            }
            Self::TooOften { wait } => Some((header::RETRY_AFTER, HeaderValue::from(seconds(wait)))),
            Self::Overloaded => Some((header::RETRY_AFTER, HeaderValue::from(1))),
            _ => None,
        };
        response.headers_mut().extend(own);
        response
    }
}

/// Whole seconds after which it is worth trying again, at least one.
fn seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
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
        assert_eq!(status(ApiError::UnknownKey), 401);
        assert_eq!(status(ApiError::Forbidden { scope: "trace" }), 403);
        let wait = Duration::from_millis(1_001);
        let refused = ApiError::TooOften { wait }.into_response();
        assert_eq!(refused.status().as_u16(), 429);
        assert_eq!(refused.headers()["retry-after"], "2");
        assert_eq!(status(ApiError::NotFound), 404);
        assert_eq!(status(ApiError::MethodNotAllowed), 405);
        assert_eq!(status(ApiError::Overloaded), 503);
    }
}
