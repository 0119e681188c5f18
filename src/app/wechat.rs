//! Calls to WeChat, put together: an account's client, and where access tokens are kept.

use super::{AppError, redis_link};
use crate::bot::{Clock, SealedAccessTokens, Seals, SystemClock};
use crate::config::{Account, Config};
use crate::store::access_tokens::AccessTokens;
use crate::store::fallback::{Breaker, FallbackAccessTokens, Patience};
use crate::store::memory::{MemoryAccessTokens, monotonic};
use crate::store::redis::{Link, RedisAccessTokens};
use crate::wechat_api::{ApiError, Client, ClientParts, Limits, Secret};
use std::sync::Arc;
use tokio_util::task::TaskTracker;

/// The access tokens of every instance on the configured Redis, or of this process alone.
pub async fn access_tokens(config: &Config) -> Result<Arc<dyn AccessTokens>, AppError> {
    let Some(link) = redis_link(&config.redis)?.filter(|_| !config.install_key.is_empty()) else {
        return Ok(Arc::new(MemoryAccessTokens::new(monotonic())));
    };
    let patience = Patience {
        deadline: config.redis.deadline,
        ..Patience::default()
    };
    let breaker = Breaker::new("redis", link.clone(), patience);
    breaker.check().await;
    Ok(access_tokens_on(
        link,
        breaker,
        &Seals::new(config.install_key.expose()),
    ))
}

/// The access tokens on `link`, which only `seals` can read; of this process alone while `breaker` says that it is away.
pub fn access_tokens_on(link: Arc<Link>, breaker: Arc<Breaker>, seals: &Seals) -> Arc<dyn AccessTokens> {
    let shared = Arc::new(RedisAccessTokens::new(link));
    let sealed = Arc::new(SealedAccessTokens::new(shared, seals.clone()));
    let memory = MemoryAccessTokens::new(monotonic());
    Arc::new(FallbackAccessTokens::new(sealed, memory, breaker))
}

/// WeChat's API as `account` calls it; `None` without an `app_secret`. What goes on when nobody waits runs in `tasks`.
pub fn wechat_client(
    account: &Account,
    access_tokens: Arc<dyn AccessTokens>,
    tasks: TaskTracker,
) -> Result<Option<Client>, ApiError> {
    if account.app_secret.is_empty() {
        return Ok(None);
    }
    let parts = ClientParts {
        appid: account.credentials.appid().to_owned(),
        app_secret: Secret::new(account.app_secret.expose()),
        api_base: account.api_base.clone(),
        substitutes: Vec::new(),
        access_tokens,
        clock: Arc::new(|| SystemClock.now()),
        limits: Limits::default(),
        tasks,
    };
    Client::new(parts).map(Some)
}
