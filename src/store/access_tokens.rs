//! The port that shares one access token per official account among all instances.
//!
//! WeChat wants a single refresher: whoever finds no token takes the [`RefreshLock`], looks again, fetches and
//! [`AccessTokens::put`]s: [`wait_for`] does the first half. Values are opaque bytes; what they mean and whether to trust
//! them is the caller's business. Ids of uploaded files are kept alike, under names that are no AppID.
//! [`super::memory::MemoryAccessTokens`] and [`super::redis::RedisAccessTokens`] stand behind it, and
//! [`super::fallback::FallbackAccessTokens`] puts one behind the other.

use super::StoreError;
use async_trait::async_trait;
use std::time::{Duration, Instant};

/// The longest value kept, in bytes. A longer one is refused, and nothing changes.
pub const MAX_ACCESS_TOKEN_BYTES: usize = 4 * 1024;

/// Length of [`KeptToken::version`] and [`RefreshLock::version`].
pub(super) const VERSION_BYTES: usize = 33;

/// An account's access token as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptToken {
    /// Names this token and no other, whatever its value; 33 ASCII characters.
    pub version: String,
    /// As it was put.
    pub value: Vec<u8>,
    /// Until it expires; more than zero.
    pub left: Duration,
}

/// The right to replace one account's token, until the lease ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshLock {
    #[expect(missing_docs, reason = "the name says it")]
    pub appid: String,
    /// Unguessable, one per lock; becomes the version of the token put under it. The first character tells which
    /// back-end gave it.
    pub version: String,
}

/// One access token per AppID.
///
/// **Locks.** Of concurrent [`AccessTokens::lock`]s of one AppID exactly one succeeds, until it is given back or its
/// lease ends. **Tokens.** Written only by the holder of the lock: one that lost it to a newer holder changes nothing, so
/// a newer token is never overwritten by an older. An expired token is absent. **Expiring** is compare-and-remove: only
/// the version named goes. **Garbage.** What a back-end finds under its keys that it did not write counts as absent and
/// is replaced. **Bounds.** Every back-end keeps a bounded number of tokens.
#[async_trait]
pub trait AccessTokens: Send + Sync {
    /// `None`: absent or expired.
    async fn get(&self, appid: &str) -> Result<Option<KeptToken>, StoreError>;

    /// `None`: somebody else holds it.
    async fn lock(&self, appid: &str, lease: Duration) -> Result<Option<RefreshLock>, StoreError>;

    /// Keeps `value` for `lifetime` and gives the lock back; `false`, and nothing changes: the lock was lost. Again with
    /// the same lock: `true`, and nothing changes.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] also when the value is longer than [`MAX_ACCESS_TOKEN_BYTES`].
    async fn put(&self, lock: &RefreshLock, value: &[u8], lifetime: Duration) -> Result<bool, StoreError>;

    /// Holds the lock for `lease` from now, also when its own has ended and nobody has taken it; `false`: somebody has.
    async fn renew(&self, lock: &RefreshLock, lease: Duration) -> Result<bool, StoreError>;

    /// Gives the lock back without a token. Not holding it is not an error.
    async fn unlock(&self, lock: &RefreshLock) -> Result<(), StoreError>;

    /// Removes the token if it is still of this version; `false`: it is not, and nothing changes.
    async fn expire(&self, appid: &str, version: &str) -> Result<bool, StoreError>;
}

/// What came of waiting for a value that one instance makes for all.
pub enum Awaited {
    /// It is there.
    Kept(KeptToken),
    /// The caller is to make it, and to put it or to unlock.
    Ours(RefreshLock),
    /// Others have held the lock for too long.
    TooLong,
}

/// How a value is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Of the lock under which it is made.
    pub lease: Duration,
    /// Between two looks.
    pub pause: Duration,
    /// Others may hold the lock for so long, one after another.
    pub patience: Duration,
}

/// Waits for a value under `name` that `is_wanted`, or for the lock under which to make it.
pub async fn wait_for(
    kept: &dyn AccessTokens,
    name: &str,
    pace: Pace,
    is_wanted: impl Fn(&KeptToken) -> bool + Send,
) -> Result<Awaited, StoreError> {
    let begin = Instant::now();
    loop {
        let lock = kept.lock(name, pace.lease).await?;
        // Somebody else may have been faster.
        match (lock, kept.get(name).await?.filter(&is_wanted)) {
            (lock, Some(value)) => {
                if let Some(lock) = lock {
                    unlock(kept, &lock).await;
                }
                return Ok(Awaited::Kept(value));
            }
            (Some(lock), None) => return Ok(Awaited::Ours(lock)),
            (None, None) if begin.elapsed() > pace.patience => return Ok(Awaited::TooLong),
            (None, None) => tokio::time::sleep(pace.pause).await,
        }
    }
}

/// Does `work` under `lock`, which is renewed whenever a third of its `lease` has passed.
pub async fn hold<T>(kept: &dyn AccessTokens, lock: &RefreshLock, lease: Duration, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        if let Ok(done) = tokio::time::timeout(lease / 3, work.as_mut()).await {
            return done;
        }
        if let Err(error) = kept.renew(lock, lease).await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "a refresh lock is not renewed"
            );
        }
    }
}

/// Gives the lock back; failing that its lease ends it.
pub async fn unlock(kept: &dyn AccessTokens, lock: &RefreshLock) {
    if let Err(error) = kept.unlock(lock).await {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "the lease ends the refresh lock"
        );
    }
}

/// Refuses what is longer than [`MAX_ACCESS_TOKEN_BYTES`].
pub(super) fn check_length(backend: &'static str, value: &[u8]) -> Result<(), StoreError> {
    if value.len() <= MAX_ACCESS_TOKEN_BYTES {
        return Ok(());
    }
    Err(StoreError::Unavailable {
        backend,
        reason: format!(
            "an access token of {} bytes is over the limit of {MAX_ACCESS_TOKEN_BYTES}",
            value.len()
        ),
    })
}

impl std::fmt::Debug for KeptToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("KeptToken");
        shown.field("version", &self.version).field("left", &self.left);
        shown.finish_non_exhaustive()
    }
}
