//! The access token (接口调用凭据): one for all instances, fetched by one of them.
//!
//! [`AccessTokenSource::current`] is the entry point. Whoever finds no token takes the lock in the shared store, looks
//! again and fetches; the others wait for its result. Shortly before the end one task fetches the next, while everybody
//! goes on with the old one. A token WeChat refuses is expired only if it is still the one kept. Tokens are WeChat's
//! stable ones: asking twice gives the same, so instances without a shared store do not invalidate each other's.
//! Follows 公众号开发文档 › 获取稳定版接口调用凭据.

use super::client::{WallClock, next_midnight};
use super::error::{ApiError, Refusal, Remedy};
use super::http::{Http, Limits, Request};
use super::secret::Secret;
use crate::store::StoreError;
use crate::store::access_tokens::{AccessTokens, Awaited, KeptToken, Pace, RefreshLock, unlock, wait_for};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

const PATH: &str = "/cgi-bin/stable_token";

/// WeChat makes the next token five minutes before the end of the last; sooner it gives the last one again.
const AHEAD: Duration = Duration::from_secs(280);
/// Taken off what WeChat says is left, for the way to us.
const TRAVEL: Duration = Duration::from_secs(10);
/// Between two attempts to fetch the next token while the last one is still good.
const AHEAD_PAUSE: Duration = Duration::from_secs(30);
/// WeChat's tokens last two hours; what claims to last longer is looked at again after that.
const LONGEST: Duration = Duration::from_secs(7_200);
/// After a failure that may pass by itself WeChat is asked again so soon.
const SHORT_PAUSE: Duration = Duration::from_secs(1);

/// A token with the name it is kept under.
#[derive(Clone)]
pub(super) struct AccessToken {
    version: String,
    value: Secret,
    left: Duration,
}

impl AccessToken {
    /// What WeChat wants in `access_token`.
    pub fn expose(&self) -> &str {
        self.value.expose()
    }
}

/// Where one account's access token comes from. Cheap to clone.
#[derive(Clone)]
pub(super) struct AccessTokenSource {
    inner: Arc<Inner>,
}

/// What an [`AccessTokenSource`] is made of.
pub(super) struct AccessTokenParts {
    pub appid: String,
    pub app_secret: Secret,
    pub kept: Arc<dyn AccessTokens>,
    pub http: Arc<Http>,
    pub limits: Limits,
    pub clock: WallClock,
    pub tasks: TaskTracker,
}

struct Inner {
    parts: AccessTokenParts,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Everybody in this process waits for the same refresh.
    under_way: Option<Refresh>,
    /// The last failure, and until when it is the answer.
    failed: Option<(ApiError, Instant)>,
    /// The next token is not fetched ahead before.
    ahead_not_before: Option<Instant>,
    /// Of a token that WeChat gave again after having refused it, and until when refetching is of no use.
    hopeless: Option<(String, Instant)>,
}

type Refresh = Shared<BoxFuture<'static, Result<AccessToken, ApiError>>>;

#[derive(Serialize)]
struct StableTokenRequest<'a> {
    grant_type: &'static str,
    appid: &'a str,
    secret: &'a str,
    force_refresh: bool,
}

#[derive(Deserialize)]
struct StableToken {
    access_token: Option<String>,
    expires_in: Option<u64>,
    #[serde(default)]
    errcode: i64,
    #[serde(default)]
    errmsg: String,
}

impl AccessTokenSource {
    pub fn new(parts: AccessTokenParts) -> Self {
        let inner = Inner {
            parts,
            state: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The token to use now, from the shared store or from WeChat.
    ///
    /// # Errors
    /// Whatever the refresh met; for a while the same again, without asking WeChat.
    pub async fn current(&self) -> Result<AccessToken, ApiError> {
        match self.inner.kept().await? {
            Some(token) => {
                if token.left < AHEAD {
                    self.refresh_ahead(&token);
                }
                Ok(token)
            }
            None => self.refresh(None).await,
        }
    }

    /// Another token than `refused`, which WeChat said `refusal` about; the same once more when WeChat gives it out
    /// again, since not all of its machines hear of a token at the same moment.
    ///
    /// # Errors
    /// `refusal` itself when that has been tried a moment ago.
    pub async fn instead_of(&self, refused: &AccessToken, refusal: &Refusal) -> Result<AccessToken, ApiError> {
        if self.inner.is_hopeless(&refused.version) {
            return Err(ApiError::Refused(refusal.clone()));
        }
        let expired = self
            .inner
            .parts
            .kept
            .expire(&self.inner.parts.appid, &refused.version)
            .await;
        expired.map_err(|error| unkept(&error))?;
        let token = self.current().await?;
        if token.expose() == refused.expose() {
            let until = Instant::now() + self.inner.parts.limits.refresh_pause;
            self.inner.state().hopeless = Some((token.version.clone(), until));
        }
        Ok(token)
    }

    /// Joins the refresh that is under way in this process, or begins one. `old` is a version that will not do.
    async fn refresh(&self, old: Option<String>) -> Result<AccessToken, ApiError> {
        let refresh = {
            let mut state = self.inner.state();
            if let Some((failure, until)) = &state.failed {
                if Instant::now() < *until {
                    return Err(failure.clone());
                }
                state.failed = None;
            }
            match &state.under_way {
                Some(refresh) => refresh.clone(),
                None => {
                    let refresh = self.begin_refresh(old);
                    state.under_way = Some(refresh.clone());
                    refresh
                }
            }
        };
        refresh.await
    }

    /// A task of its own, so that it ends even if nobody waits any more.
    fn begin_refresh(&self, old: Option<String>) -> Refresh {
        let inner = self.inner.clone();
        let span = tracing::info_span!("access_token", account.appid = %inner.parts.appid);
        let work = async move {
            let result = inner.refresh(old).await;
            let mut state = inner.state();
            state.under_way = None;
            if let Err(failure) = &result {
                let pause = match failure.remedy() {
                    Some(Remedy::StopForToday) => inner.until_midnight(),
                    Some(remedy) if remedy != Remedy::BackOff => inner.parts.limits.refresh_pause,
                    _ => SHORT_PAUSE.min(inner.parts.limits.refresh_pause),
                };
                state.failed = Some((failure.clone(), Instant::now() + pause));
                drop(state);
                tracing::warn!(error = failure as &dyn std::error::Error, "no access token to be had");
            }
            result
        };
        let task = self.inner.parts.tasks.spawn(work.instrument(span));
        let inner = self.inner.clone();
        let ended = async move {
            task.await.unwrap_or_else(|_| {
                inner.state().under_way = None;
                Err(ApiError::NoAccessToken {
                    reason: "its refresh was cut short".to_owned(),
                })
            })
        };
        ended.boxed().shared()
    }

    fn refresh_ahead(&self, token: &AccessToken) {
        let mut state = self.inner.state();
        let now = Instant::now();
        let may = state.under_way.is_none() && state.ahead_not_before.is_none_or(|not_before| now >= not_before);
        if may {
            state.ahead_not_before = Some(now + AHEAD_PAUSE);
            // Runs by itself; `under_way` lets whoever needs it meanwhile join.
            state.under_way = Some(self.begin_refresh(Some(token.version.clone())));
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_hopeless(&self, version: &str) -> bool {
        let state = self.state();
        let same = |(hopeless, until): &(String, Instant)| hopeless == version && Instant::now() < *until;
        state.hopeless.as_ref().is_some_and(same)
    }

    fn until_midnight(&self) -> Duration {
        let now = (self.parts.clock)();
        Duration::from_secs(u64::try_from(next_midnight(now) - now).unwrap_or_default())
    }

    /// What the store keeps, if it can be a token.
    async fn kept(&self) -> Result<Option<AccessToken>, ApiError> {
        let kept = self
            .parts
            .kept
            .get(&self.parts.appid)
            .await
            .map_err(|error| unkept(&error))?;
        Ok(kept.and_then(read))
    }

    /// Waits for the lock, or for somebody else's token of another version than `old`.
    async fn refresh(&self, old: Option<String>) -> Result<AccessToken, ApiError> {
        let lease = self.parts.limits.refresh_lease;
        let pace = Pace {
            lease,
            pause: self.parts.limits.refresh_poll,
            patience: 2 * lease,
        };
        let is_other = |kept: &KeptToken| Some(&kept.version) != old.as_ref() && read(kept.clone()).is_some();
        let awaited = wait_for(&*self.parts.kept, &self.parts.appid, pace, is_other).await;
        let too_long = || ApiError::NoAccessToken {
            reason: "other instances have been fetching it for too long".to_owned(),
        };
        match awaited.map_err(|error| unkept(&error))? {
            Awaited::Kept(kept) => read(kept).ok_or_else(too_long),
            Awaited::Ours(lock) => self.fetch_under(&lock).await,
            Awaited::TooLong => Err(too_long()),
        }
    }

    async fn fetch_under(&self, lock: &RefreshLock) -> Result<AccessToken, ApiError> {
        // A lease that ends while we still fetch would let a second refresher in.
        let fetched = tokio::time::timeout(self.parts.limits.refresh_lease * 4 / 5, self.fetch_patiently()).await;
        let fetched = fetched.unwrap_or_else(|_| {
            Err(ApiError::NoAnswer {
                path: PATH,
                reason: "it took too long".to_owned(),
            })
        });
        let (value, left) = match fetched {
            Ok(fetched) => fetched,
            Err(error) => {
                unlock(&*self.parts.kept, lock).await;
                return Err(error);
            }
        };
        metrics::counter!("wxfaq_access_token_refreshes_total").increment(1);
        let stored = self.parts.kept.put(lock, value.expose().as_bytes(), left).await;
        match stored {
            Ok(true) => tracing::info!(left_s = left.as_secs(), "access token fetched"),
            // Its value is WeChat's newest all the same: a stable token is the same for all.
            Ok(false) => tracing::debug!("another instance was faster"),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "access token not shared"),
        }
        Ok(AccessToken {
            version: lock.version.clone(),
            value,
            left,
        })
    }

    /// As [`Inner::fetch`], again as often as any call while WeChat is too busy.
    async fn fetch_patiently(&self) -> Result<(Secret, Duration), ApiError> {
        let mut pauses = self.parts.limits.pauses();
        loop {
            match self.fetch().await {
                Err(ApiError::Refused(refusal)) if refusal.remedy == Remedy::BackOff => match pauses.next() {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(ApiError::Refused(refusal)),
                },
                fetched => return fetched,
            }
        }
    }

    /// Asks WeChat: the token, and how long it may be used.
    async fn fetch(&self) -> Result<(Secret, Duration), ApiError> {
        let body = StableTokenRequest {
            grant_type: "client_credential",
            appid: &self.parts.appid,
            secret: self.parts.app_secret.expose(),
            force_refresh: false,
        };
        let answer = self.parts.http.exchange(&Request::post(PATH, &body), None).await?;
        let stranger = |reason: &str| ApiError::Stranger {
            path: PATH,
            reason: reason.to_owned(),
        };
        let answer: StableToken = serde_json::from_slice(&answer).map_err(|_| stranger("it answers no JSON"))?;
        if answer.errcode != 0 {
            return Err(ApiError::Refused(Refusal::new(PATH, answer.errcode, &answer.errmsg)));
        }
        let value = answer.access_token.filter(|value| is_token(value));
        let seconds = answer.expires_in.filter(|seconds| *seconds > 0);
        let (Some(value), Some(seconds)) = (value, seconds) else {
            return Err(stranger("it gives no access token"));
        };
        let left = Duration::from_secs(seconds).min(LONGEST);
        Ok((
            Secret::new(value),
            left.saturating_sub(TRAVEL).max(Duration::from_secs(1)),
        ))
    }
}

/// What is kept, if it can be a token.
fn read(KeptToken { version, value, left }: KeptToken) -> Option<AccessToken> {
    let value = String::from_utf8(value).ok().filter(|value| is_token(value))?;
    Some(AccessToken {
        version,
        value: Secret::new(value),
        left,
    })
}

/// Whether `value` has the form of an access token. WeChat wants room for 512 characters.
fn is_token(value: &str) -> bool {
    (1..=2_048).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic())
}

fn unkept(error: &StoreError) -> ApiError {
    ApiError::NoAccessToken {
        reason: error.to_string(),
    }
}
