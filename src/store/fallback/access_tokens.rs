//! Access tokens shared by all instances, and of this one alone while the shared store is away.
//!
//! Each instance then fetches for itself. WeChat's stable tokens allow that: everybody who asks gets the same one.

use super::{Breaker, User};
use crate::store::StoreError;
use crate::store::access_tokens::{AccessTokens, KeptToken, RefreshLock, check_length};
use crate::store::memory::MemoryAccessTokens;
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;

const USER: User = User::AccessTokens;

/// [`AccessTokens`] that never fail for want of the shared store.
pub struct FallbackAccessTokens {
    shared: Arc<dyn AccessTokens>,
    memory: MemoryAccessTokens,
    breaker: Arc<Breaker>,
}

impl FallbackAccessTokens {
    /// `breaker` is that of everything else on the connection of `shared`.
    pub fn new(shared: Arc<dyn AccessTokens>, memory: MemoryAccessTokens, breaker: Arc<Breaker>) -> Self {
        Self {
            shared,
            memory,
            breaker,
        }
    }
}

#[async_trait]
impl AccessTokens for FallbackAccessTokens {
    async fn get(&self, appid: &str) -> Result<Option<KeptToken>, StoreError> {
        match self.breaker.call(USER, appid, self.shared.get(appid)).await {
            Ok(Some(kept)) => {
                self.memory.keep(appid, &kept);
                Ok(Some(kept))
            }
            Ok(None) => Ok(None),
            Err(_) => self.memory.get(appid).await,
        }
    }

    async fn lock(&self, appid: &str, lease: Duration) -> Result<Option<RefreshLock>, StoreError> {
        match self.breaker.call(USER, appid, self.shared.lock(appid, lease)).await {
            Ok(lock) => Ok(lock),
            Err(_) => self.memory.lock(appid, lease).await,
        }
    }

    async fn put(&self, lock: &RefreshLock, value: &[u8], lifetime: Duration) -> Result<bool, StoreError> {
        check_length("the access token store", value)?;
        if MemoryAccessTokens::gave(lock) {
            return self.memory.put(lock, value, lifetime).await;
        }
        let stored = self
            .breaker
            .call(USER, &lock.appid, self.shared.put(lock, value, lifetime))
            .await;
        // Without an answer this instance at least has it; the others find the lock free when its lease ends.
        let stored = stored.unwrap_or(true);
        if stored {
            let kept = KeptToken {
                version: lock.version.clone(),
                value: value.to_vec(),
                left: lifetime,
            };
            self.memory.keep(&lock.appid, &kept);
        }
        Ok(stored)
    }

    async fn renew(&self, lock: &RefreshLock, lease: Duration) -> Result<bool, StoreError> {
        if MemoryAccessTokens::gave(lock) {
            return self.memory.renew(lock, lease).await;
        }
        self.breaker
            .call(USER, &lock.appid, self.shared.renew(lock, lease))
            .await
    }

    async fn unlock(&self, lock: &RefreshLock) -> Result<(), StoreError> {
        if MemoryAccessTokens::gave(lock) {
            return self.memory.unlock(lock).await;
        }
        // Without an answer the lease ends it.
        let _ = self.breaker.call(USER, &lock.appid, self.shared.unlock(lock)).await;
        Ok(())
    }

    async fn expire(&self, appid: &str, version: &str) -> Result<bool, StoreError> {
        let here = self.memory.expire(appid, version).await?;
        let shared = self.breaker.call(USER, appid, self.shared.expire(appid, version)).await;
        Ok(shared.unwrap_or(here))
    }
}
