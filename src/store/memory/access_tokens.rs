//! Access tokens of one process: [`MemoryAccessTokens`].

use super::expiring::{Expiring, Key};
use super::{Clock, TOKEN_MARK};
use crate::store::StoreError;
use crate::store::access_tokens::{AccessTokens, KeptToken, RefreshLock, check_length};
use crate::store::conversations::{digest, fresh_token};
use async_trait::async_trait;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Official accounts whose tokens are kept. An installation has a handful.
const MAX_ACCOUNTS: usize = 1_000;

/// [`AccessTokens`] of one process.
pub struct MemoryAccessTokens {
    clock: Clock,
    state: Mutex<State>,
}

struct State {
    tokens: Expiring<Token>,
    /// The version of whoever refreshes.
    locks: Expiring<String>,
}

struct Token {
    version: String,
    value: Vec<u8>,
    ends: Duration,
}

impl MemoryAccessTokens {
    /// Holds nothing yet.
    pub fn new(clock: Clock) -> Self {
        let state = State {
            tokens: Expiring::new("access token", MAX_ACCOUNTS, usize::MAX),
            locks: Expiring::new("refresh lock", MAX_ACCOUNTS, usize::MAX),
        };
        Self {
            clock,
            state: Mutex::new(state),
        }
    }

    fn lock_state(&self) -> (MutexGuard<'_, State>, Duration) {
        // Both maps are whole between two operations.
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (self.clock)();
        (state, now)
    }

    /// Whether `lock` was given here, not by the back-end this store stands in for.
    pub(in crate::store) fn gave(lock: &RefreshLock) -> bool {
        lock.version.starts_with(TOKEN_MARK)
    }

    /// Copies what another back-end keeps.
    pub(in crate::store) fn keep(&self, appid: &str, kept: &KeptToken) {
        let (mut state, now) = self.lock_state();
        state.put(key(appid), &kept.version, &kept.value, now, kept.left);
    }
}

impl State {
    fn put(&mut self, key: Key, version: &str, value: &[u8], now: Duration, lifetime: Duration) {
        let token = Token {
            version: version.to_owned(),
            value: value.to_vec(),
            ends: now + lifetime,
        };
        self.tokens.put(key, token, 0, now, lifetime);
    }
}

#[async_trait]
impl AccessTokens for MemoryAccessTokens {
    async fn get(&self, appid: &str) -> Result<Option<KeptToken>, StoreError> {
        let (state, now) = self.lock_state();
        Ok(state.tokens.get(key(appid), now).map(|token| KeptToken {
            version: token.version.clone(),
            value: token.value.clone(),
            left: token.ends.saturating_sub(now),
        }))
    }

    async fn lock(&self, appid: &str, lease: Duration) -> Result<Option<RefreshLock>, StoreError> {
        let version = fresh_token(TOKEN_MARK);
        let (mut state, now) = self.lock_state();
        if state.locks.get(key(appid), now).is_some() {
            return Ok(None);
        }
        state.locks.put(key(appid), version.clone(), 0, now, lease);
        Ok(Some(RefreshLock {
            appid: appid.to_owned(),
            version,
        }))
    }

    async fn put(&self, lock: &RefreshLock, value: &[u8], lifetime: Duration) -> Result<bool, StoreError> {
        check_length("memory", value)?;
        let key = key(&lock.appid);
        let (mut state, now) = self.lock_state();
        let is_kept = |token: &Token| token.version == lock.version;
        if state.tokens.get(key, now).is_some_and(is_kept) {
            return Ok(true);
        }
        if state.locks.get(key, now) != Some(&lock.version) {
            return Ok(false);
        }
        state.put(key, &lock.version, value, now, lifetime);
        state.locks.remove(key);
        Ok(true)
    }

    async fn renew(&self, lock: &RefreshLock, lease: Duration) -> Result<bool, StoreError> {
        let (mut state, now) = self.lock_state();
        let holder = state.locks.get(key(&lock.appid), now);
        let is_free = holder.is_none_or(|version| *version == lock.version);
        if is_free {
            state.locks.put(key(&lock.appid), lock.version.clone(), 0, now, lease);
        }
        Ok(is_free)
    }

    async fn unlock(&self, lock: &RefreshLock) -> Result<(), StoreError> {
        let (mut state, now) = self.lock_state();
        if state.locks.get(key(&lock.appid), now) == Some(&lock.version) {
            state.locks.remove(key(&lock.appid));
        }
        Ok(())
    }

    async fn expire(&self, appid: &str, version: &str) -> Result<bool, StoreError> {
        let (mut state, now) = self.lock_state();
        let is_it = |token: &Token| token.version == version;
        let expires = state.tokens.get(key(appid), now).is_some_and(is_it);
        if expires {
            state.tokens.remove(key(appid));
        }
        Ok(expires)
    }
}

fn key(appid: &str) -> Key {
    digest(&[appid]).into()
}
