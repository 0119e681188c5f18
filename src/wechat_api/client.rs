//! A call to WeChat: access token, exchange, error code; what is tried again, and what is not tried at all.
//!
//! [`Client`] is what the other files of this room hang their calls on. A refused token is replaced and the call repeated
//! once; -1 and 45011 are repeated with growing pauses; after 45009 an API rests until midnight in Beijing.

use super::access_token::{AccessToken, AccessTokenParts, AccessTokenSource};
use super::error::{ApiError, Refusal, Remedy, is_known};
use super::http::{Http, Limits, Request};
use super::secret::Secret;
use crate::store::access_tokens::AccessTokens;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// Unix seconds now, for what ends at midnight.
pub type WallClock = Arc<dyn Fn() -> i64 + Send + Sync>;

const DAY: i64 = 86_400;
/// Beijing's clock is so many seconds ahead of UTC, all year.
const BEIJING: i64 = 8 * 3_600;

/// What a [`Client`] is made of.
pub struct ClientParts {
    #[expect(missing_docs, reason = "the name says it")]
    pub appid: String,
    #[expect(missing_docs, reason = "the name says it")]
    pub app_secret: Secret,
    /// As in the configuration: `https://api.weixin.qq.com`, which has substitutes, or a host that has none.
    pub api_base: String,
    /// Further hosts, asked when there is no connection to those before.
    pub substitutes: Vec<String>,
    /// Where the access token is kept.
    pub access_tokens: Arc<dyn AccessTokens>,
    #[expect(missing_docs, reason = "the type says it")]
    pub clock: WallClock,
    #[expect(missing_docs, reason = "the type says it")]
    pub limits: Limits,
    /// What goes on when nobody waits: the refresh of an access token.
    pub tasks: TaskTracker,
}

/// WeChat's API as one official account calls it.
pub struct Client {
    pub(super) appid: String,
    http: Arc<Http>,
    access_token: AccessTokenSource,
    limits: Limits,
    clock: WallClock,
    /// Path → Unix time until which its quota is used up. As many as there are paths in this room.
    resting: Mutex<BTreeMap<&'static str, i64>>,
}

/// What every answer may hold.
#[derive(Deserialize)]
struct Verdict {
    #[serde(default)]
    errcode: i64,
    #[serde(default)]
    errmsg: String,
}

impl Client {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// [`ApiError::Unacceptable`]: `api_base` is no address. [`ApiError::Unreachable`]: TLS cannot be set up.
    pub fn new(parts: ClientParts) -> Result<Self, ApiError> {
        let http = Arc::new(Http::new(&parts.api_base, &parts.substitutes, parts.limits)?);
        let access_token = AccessTokenSource::new(AccessTokenParts {
            appid: parts.appid.clone(),
            app_secret: parts.app_secret,
            kept: parts.access_tokens,
            http: http.clone(),
            limits: parts.limits,
            clock: parts.clock.clone(),
            tasks: parts.tasks,
        });
        Ok(Self {
            appid: parts.appid,
            http,
            access_token,
            limits: parts.limits,
            clock: parts.clock,
            resting: Mutex::default(),
        })
    }

    /// Makes sure that there is an access token.
    pub async fn sign_in(&self) -> Result<(), ApiError> {
        tokio::time::timeout(self.limits.call, self.access_token.current())
            .await
            .unwrap_or_else(|_| Err(late_access_token()))
            .map(drop)
    }

    /// Calls and reads the answer's fields.
    pub(super) async fn call<T: DeserializeOwned>(&self, request: &Request) -> Result<T, ApiError> {
        let answer = self.answer(request).await;
        let outcome = match &answer {
            Ok(_) => "ok".to_owned(),
            Err(ApiError::Refused(refusal)) if is_known(refusal.code) => refusal.code.to_string(),
            Err(ApiError::Refused(_)) => "refused".to_owned(),
            Err(ApiError::QuotaUsedUp { .. } | ApiError::Busy) => "not sent".to_owned(),
            Err(_) => "failed".to_owned(),
        };
        metrics::counter!("wxfaq_wechat_api_calls_total", "path" => request.path, "outcome" => outcome).increment(1);
        serde_json::from_slice(&answer?).map_err(|_| ApiError::Stranger {
            path: request.path,
            reason: "its answer has not the fields it should have".to_owned(),
        })
    }

    /// Calls where success says nothing.
    pub(super) async fn order(&self, request: &Request) -> Result<(), ApiError> {
        self.call::<serde::de::IgnoredAny>(request).await.map(drop)
    }

    async fn answer(&self, request: &Request) -> Result<Vec<u8>, ApiError> {
        if self.rests(request.path) {
            return Err(ApiError::QuotaUsedUp { path: request.path });
        }
        let deadline = Instant::now() + self.limits.call_of(request);
        let access_token = tokio::time::timeout_at(deadline, self.access_token.current()).await;
        let access_token = access_token.unwrap_or_else(|_| Err(late_access_token()))?;
        let answer = tokio::time::timeout_at(deadline, self.persist(request, access_token)).await;
        // Where it was when the time was over nobody knows.
        answer.unwrap_or_else(|_| {
            Err(ApiError::NoAnswer {
                path: request.path,
                reason: "it took too long".to_owned(),
            })
        })
    }

    /// Repeats what is worth it.
    async fn persist(&self, request: &Request, mut access_token: AccessToken) -> Result<Vec<u8>, ApiError> {
        let mut pauses = self.limits.pauses();
        let mut was_replaced = false;
        loop {
            let refusal = match self.exchange(request, access_token.expose()).await {
                Err(ApiError::Refused(refusal)) => refusal,
                other => return other,
            };
            match refusal.remedy {
                Remedy::RefreshToken if !was_replaced => {
                    access_token = self.access_token.instead_of(&access_token, &refusal).await?;
                    was_replaced = true;
                }
                Remedy::BackOff => match pauses.next() {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(ApiError::Refused(refusal)),
                },
                Remedy::StopForToday => {
                    self.rest(request.path);
                    return Err(ApiError::Refused(refusal));
                }
                _ => return Err(ApiError::Refused(refusal)),
            }
        }
    }

    async fn exchange(&self, request: &Request, access_token: &str) -> Result<Vec<u8>, ApiError> {
        let answer = self.http.exchange(request, Some(access_token)).await?;
        let stranger = || ApiError::Stranger {
            path: request.path,
            reason: "it answers no JSON object".to_owned(),
        };
        // serde would read the fields off a list, too.
        if !answer.trim_ascii_start().starts_with(b"{") {
            return Err(stranger());
        }
        let verdict: Verdict = serde_json::from_slice(&answer).map_err(|_| stranger())?;
        match verdict.errcode {
            0 => Ok(answer),
            code => Err(ApiError::Refused(Refusal::new(request.path, code, &verdict.errmsg))),
        }
    }

    fn rests(&self, path: &'static str) -> bool {
        let now = (self.clock)();
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        let rests = resting.get(path).is_some_and(|until| now < *until);
        if !rests {
            resting.remove(path);
        }
        rests
    }

    fn rest(&self, path: &'static str) {
        let until = next_midnight((self.clock)());
        self.resting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(path, until);
        tracing::warn!(
            api.path = path,
            "its quota is used up; it rests until midnight in Beijing"
        );
    }

    /// Every API may be called again.
    pub(super) fn wake(&self) {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn late_access_token() -> ApiError {
    ApiError::NoAccessToken {
        reason: "fetching it took too long".to_owned(),
    }
}

/// The next midnight in Beijing after `now`, both in Unix seconds.
pub(super) fn next_midnight(now: i64) -> i64 {
    (now + BEIJING).div_euclid(DAY) * DAY + DAY - BEIJING
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_ends_at_midnight_in_beijing() {
        // 2026-11-24 00:00:00 in Beijing.
        let midnight = 1_795_449_600;
        assert_eq!(next_midnight(midnight - 1), midnight);
        assert_eq!(next_midnight(midnight), midnight + DAY);
        assert_eq!(next_midnight(midnight + DAY - 1), midnight + DAY);
    }
}
