//! Access tokens shared by every instance on one Redis: [`RedisAccessTokens`].
//!
//! Token and lock of an AppID share a hash tag. A token is its version and its value, a lock `L` and the version that
//! will be; anything else under these names counts as absent. The value is what the caller made unreadable.

use super::{Link, TOKEN_MARK, evalsha, only};
use crate::store::StoreError;
use crate::store::access_tokens::{
    AccessTokens, KeptToken, MAX_ACCESS_TOKEN_BYTES, RefreshLock, VERSION_BYTES, check_length,
};
use crate::store::conversations::fresh_token;
use async_trait::async_trait;
use redis::{Cmd, Script, Value};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

pub(super) const GET: &str = concat!(include_str!("prelude.lua"), include_str!("token_get.lua"));
pub(super) const LOCK: &str = concat!(include_str!("prelude.lua"), include_str!("token_lock.lua"));
pub(super) const PUT: &str = concat!(include_str!("prelude.lua"), include_str!("token_put.lua"));
pub(super) const EXPIRE: &str = concat!(include_str!("prelude.lua"), include_str!("token_expire.lua"));

static GET_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(GET));
static LOCK_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(LOCK));
static PUT_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(PUT));
static EXPIRE_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(EXPIRE));

/// [`AccessTokens`] of every instance on one Redis.
pub struct RedisAccessTokens {
    link: Arc<Link>,
}

impl RedisAccessTokens {
    /// Tokens over `link`, which need not be reachable yet.
    pub fn new(link: Arc<Link>) -> Self {
        Self { link }
    }

    fn token_key(&self, appid: &str) -> String {
        self.link.key(&format!("access_token:{{{appid}}}"))
    }

    fn lock_key(&self, appid: &str) -> String {
        self.link.key(&format!("access_token_lock:{{{appid}}}"))
    }

    /// Runs one script; its reply without the echo of `mark`, which must be the script's first argument.
    async fn run(&self, script: Cmd, mark: &str) -> Result<Vec<Vec<u8>>, StoreError> {
        let replies = self.link.run(&only(script)).await?;
        let reply = replies.first().unwrap_or(&Value::Nil);
        let parts = self.link.parts(reply, mark)?;
        Ok(parts.into_iter().map(<[u8]>::to_vec).collect())
    }

    /// Runs a script that answers with one of two words; whether it is the first.
    async fn ask(&self, script: Cmd, mark: &str, words: [&[u8]; 2]) -> Result<bool, StoreError> {
        match self.run(script, mark).await?.as_slice() {
            [word] if word == words[0] => Ok(true),
            [word] if word == words[1] => Ok(false),
            _ => Err(self
                .link
                .distrust("a question about an access token was answered with something else")),
        }
    }
}

#[async_trait]
impl AccessTokens for RedisAccessTokens {
    async fn get(&self, appid: &str) -> Result<Option<KeptToken>, StoreError> {
        let mark = fresh_token(TOKEN_MARK);
        let mut get = evalsha(&GET_SCRIPT, 1);
        get.arg(self.token_key(appid))
            .arg(&mark)
            .arg(VERSION_BYTES + MAX_ACCESS_TOKEN_BYTES);
        let reply = self.run(get, &mark).await?;
        let [kept, left] = reply.as_slice() else {
            return match reply.as_slice() {
                [] => Ok(None),
                _ => Err(self.link.distrust("an access token has the wrong shape")),
            };
        };
        let left_ms = std::str::from_utf8(left).ok().and_then(|left| left.parse().ok());
        let token = kept.split_at_checked(VERSION_BYTES).and_then(|(version, value)| {
            let version = std::str::from_utf8(version).ok().filter(|version| version.is_ascii())?;
            Some(KeptToken {
                version: version.to_owned(),
                value: value.to_vec(),
                left: Duration::from_millis(left_ms?),
            })
        });
        Ok(token)
    }

    async fn lock(&self, appid: &str, lease: Duration) -> Result<Option<RefreshLock>, StoreError> {
        let lock = RefreshLock {
            appid: appid.to_owned(),
            version: fresh_token(TOKEN_MARK),
        };
        Ok(self.renew(&lock, lease).await?.then_some(lock))
    }

    async fn put(&self, lock: &RefreshLock, value: &[u8], lifetime: Duration) -> Result<bool, StoreError> {
        check_length("redis", value)?;
        let mut put = evalsha(&PUT_SCRIPT, 2);
        put.arg(self.lock_key(&lock.appid))
            .arg(self.token_key(&lock.appid))
            .arg(&lock.version)
            .arg(value)
            .arg(millis(lifetime));
        self.ask(put, &lock.version, [b"stored", b"lost"]).await
    }

    async fn renew(&self, lock: &RefreshLock, lease: Duration) -> Result<bool, StoreError> {
        let mut take = evalsha(&LOCK_SCRIPT, 1);
        take.arg(self.lock_key(&lock.appid))
            .arg(&lock.version)
            .arg(millis(lease));
        self.ask(take, &lock.version, [b"locked", b"held"]).await
    }

    async fn unlock(&self, lock: &RefreshLock) -> Result<(), StoreError> {
        let mut release = evalsha(&super::RELEASE_SCRIPT, 1);
        release.arg(self.lock_key(&lock.appid)).arg(&lock.version);
        self.run(release, &lock.version).await.map(drop)
    }

    async fn expire(&self, appid: &str, version: &str) -> Result<bool, StoreError> {
        let mark = fresh_token(TOKEN_MARK);
        let mut expire = evalsha(&EXPIRE_SCRIPT, 1);
        expire.arg(self.token_key(appid)).arg(&mark).arg(version);
        self.ask(expire, &mark, [b"expired", b"kept"]).await
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}
