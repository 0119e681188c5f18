//! The shared stores behind seals: what leaves this process is sealed, what comes back is believed only with our seal.
//!
//! [`SealedConversations`], [`SealedMatches`] and [`SealedAccessTokens`] go around a back-end on another machine; memory
//! needs none.

use super::seals::Seals;
use crate::store::StoreError;
use crate::store::access_tokens::{AccessTokens, KeptToken, RefreshLock};
use crate::store::conversations::{Arrival, Begun, Conversations, Finished, Follower, SessionChange, Turn};
use crate::store::match_cache::{MatchCache, MatchKey};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;

/// [`Conversations`] in a store that is not to be trusted.
///
/// A session without our seal counts as absent, a record without it as empty: the message was handled, and nobody can
/// say with what.
pub struct SealedConversations {
    store: Arc<dyn Conversations>,
    seals: Seals,
}

impl SealedConversations {
    /// Puts seals around `store`.
    pub fn new(store: Arc<dyn Conversations>, seals: Seals) -> Self {
        Self { store, seals }
    }

    fn open_record(&self, follower: &Follower, message: &str, sealed: &[u8]) -> Vec<u8> {
        let record = self.seals.open(&record_context(follower, message), sealed);
        record.unwrap_or_default().to_vec()
    }
}

fn record_context<'a>(follower: &'a Follower, message: &'a str) -> [&'a str; 4] {
    ["record", &follower.account, &follower.pseudonym, message]
}

fn session_context(follower: &Follower) -> [&str; 3] {
    ["session", &follower.account, &follower.pseudonym]
}

#[async_trait]
impl Conversations for SealedConversations {
    async fn begin(&self, arrival: &Arrival) -> Result<Begun, StoreError> {
        Ok(match self.store.begin(arrival).await? {
            Begun::Claimed { turn, session } => {
                let context = session_context(&turn.follower);
                let session = session.and_then(|sealed| self.seals.open(&context, &sealed).map(<[u8]>::to_vec));
                Begun::Claimed { turn, session }
            }
            Begun::Done(sealed) => Begun::Done(self.open_record(&arrival.follower, &arrival.message, &sealed)),
            other => other,
        })
    }

    async fn finish(&self, turn: &Turn, record: &[u8], session: SessionChange) -> Result<Finished, StoreError> {
        let record = self.seals.seal(&record_context(&turn.follower, &turn.message), record);
        let session = match session {
            SessionChange::Put(session) => {
                SessionChange::Put(self.seals.seal(&session_context(&turn.follower), &session))
            }
            change => change,
        };
        Ok(match self.store.finish(turn, &record, session).await? {
            Finished::Superseded(Some(sealed)) => {
                Finished::Superseded(Some(self.open_record(&turn.follower, &turn.message, &sealed)))
            }
            finished => finished,
        })
    }

    async fn renew(&self, turn: &Turn) -> Result<bool, StoreError> {
        self.store.renew(turn).await
    }

    async fn release(&self, turn: &Turn) -> Result<(), StoreError> {
        self.store.release(turn).await
    }

    async fn note_signature(&self, account: &str, signature: &str, fingerprint: &str) -> Result<bool, StoreError> {
        self.store.note_signature(account, signature, fingerprint).await
    }

    async fn forget(&self, follower: &Follower) -> Result<(), StoreError> {
        self.store.forget(follower).await
    }
}

/// [`MatchCache`] in a store that is not to be trusted; what has no seal of ours is a miss.
pub struct SealedMatches {
    cache: Arc<dyn MatchCache>,
    seals: Seals,
}

impl SealedMatches {
    /// Puts seals around `cache`.
    pub fn new(cache: Arc<dyn MatchCache>, seals: Seals) -> Self {
        Self { cache, seals }
    }
}

fn match_context(key: &MatchKey) -> [&str; 4] {
    ["matches", &key.account, &key.snapshot, &key.text]
}

#[async_trait]
impl MatchCache for SealedMatches {
    async fn get(&self, key: &MatchKey) -> Result<Option<Vec<u8>>, StoreError> {
        let sealed = self.cache.get(key).await?;
        Ok(sealed.and_then(|sealed| self.seals.open(&match_context(key), &sealed).map(<[u8]>::to_vec)))
    }

    async fn put(&self, key: &MatchKey, value: &[u8]) -> Result<(), StoreError> {
        self.cache.put(key, &self.seals.seal(&match_context(key), value)).await
    }
}

/// [`AccessTokens`] in a store that is not to be trusted, and must not read them: whoever has a token acts for the
/// account. What was not encrypted here is absent.
pub struct SealedAccessTokens {
    store: Arc<dyn AccessTokens>,
    seals: Seals,
}

impl SealedAccessTokens {
    /// Puts the cipher around `store`.
    pub fn new(store: Arc<dyn AccessTokens>, seals: Seals) -> Self {
        Self { store, seals }
    }
}

fn token_context<'a>(appid: &'a str, version: &'a str) -> [&'a str; 3] {
    ["access token", appid, version]
}

#[async_trait]
impl AccessTokens for SealedAccessTokens {
    async fn get(&self, appid: &str) -> Result<Option<KeptToken>, StoreError> {
        let kept = self.store.get(appid).await?;
        Ok(kept.and_then(|kept| {
            let value = self.seals.decrypt(&token_context(appid, &kept.version), &kept.value)?;
            Some(KeptToken { value, ..kept })
        }))
    }

    async fn lock(&self, appid: &str, lease: Duration) -> Result<Option<RefreshLock>, StoreError> {
        self.store.lock(appid, lease).await
    }

    async fn put(&self, lock: &RefreshLock, value: &[u8], lifetime: Duration) -> Result<bool, StoreError> {
        let value = self.seals.encrypt(&token_context(&lock.appid, &lock.version), value);
        self.store.put(lock, &value, lifetime).await
    }

    async fn renew(&self, lock: &RefreshLock, lease: Duration) -> Result<bool, StoreError> {
        self.store.renew(lock, lease).await
    }

    async fn unlock(&self, lock: &RefreshLock) -> Result<(), StoreError> {
        self.store.unlock(lock).await
    }

    async fn expire(&self, appid: &str, version: &str) -> Result<bool, StoreError> {
        self.store.expire(appid, version).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conversations::Lifetimes;
    use crate::store::memory::{Bounds, MemoryAccessTokens, MemoryConversations, MemoryMatchCache};

    #[tokio::test]
    async fn access_tokens_cannot_be_read_or_planted_in_the_store() {
        let inner: Arc<dyn AccessTokens> = Arc::new(MemoryAccessTokens::new(Arc::new(|| Duration::ZERO)));
        let sealed = SealedAccessTokens::new(inner.clone(), Seals::new("key"));
        let lock = sealed.lock("wx1", LASTING).await.unwrap().unwrap();
        assert!(sealed.put(&lock, b"a token", LASTING).await.unwrap());
        assert_eq!(sealed.get("wx1").await.unwrap().unwrap().value, b"a token");
        let stored = inner.get("wx1").await.unwrap().unwrap();
        assert!(!stored.value.windows(7).any(|part| part == b"a token"));
        let planted = inner.lock("wx2", LASTING).await.unwrap().unwrap();
        inner.put(&planted, &stored.value, LASTING).await.unwrap();
        assert_eq!(sealed.get("wx2").await.unwrap(), None, "another account's token");
    }

    const LASTING: Duration = Duration::from_secs(600);

    fn store() -> Arc<dyn Conversations> {
        let lifetimes = Lifetimes {
            lease: LASTING,
            signature: LASTING,
            record: LASTING,
            session: LASTING,
        };
        Arc::new(MemoryConversations::new(
            lifetimes,
            Bounds::default(),
            Arc::new(|| Duration::ZERO),
        ))
    }

    fn arrival(message: &str) -> Arrival {
        Arrival {
            follower: Follower {
                account: "a".into(),
                pseudonym: "p".into(),
            },
            message: message.into(),
            signature: message.into(),
            fingerprint: message.into(),
        }
    }

    async fn claim(store: &dyn Conversations, message: &str) -> (Turn, Option<Vec<u8>>) {
        match store.begin(&arrival(message)).await.unwrap() {
            Begun::Claimed { turn, session } => (turn, session),
            other => panic!("{message} is not to be had: {other:?}"),
        }
    }

    #[tokio::test]
    async fn what_is_stored_is_sealed_and_comes_back_open() {
        let (inner, seals) = (store(), Seals::new("key"));
        let sealed = SealedConversations::new(inner.clone(), seals.clone());
        let (turn, _) = claim(&sealed, "1").await;
        let put = SessionChange::Put(b"session".to_vec());
        sealed.finish(&turn, b"record", put).await.unwrap();
        assert_eq!(
            sealed.begin(&arrival("1")).await.unwrap(),
            Begun::Done(b"record".to_vec())
        );
        let Begun::Done(stored) = inner.begin(&arrival("1")).await.unwrap() else {
            panic!("no record");
        };
        assert_eq!(seals.open(&["record", "a", "p", "1"], &stored), Some(&b"record"[..]));
        let (turn, session) = claim(&sealed, "2").await;
        assert_eq!(session.as_deref(), Some(&b"session"[..]));
        sealed.release(&turn).await.unwrap();
        assert_ne!(claim(&*inner, "2").await.1.as_deref(), Some(&b"session"[..]));
    }

    #[tokio::test]
    async fn what_others_planted_is_not_believed() {
        let inner = store();
        let sealed = SealedConversations::new(inner.clone(), Seals::new("key"));
        let (turn, _) = claim(&*inner, "1").await;
        let put = SessionChange::Put(b"forged session".to_vec());
        inner.finish(&turn, b"forged record, long", put).await.unwrap();
        assert_eq!(sealed.begin(&arrival("1")).await.unwrap(), Begun::Done(Vec::new()));
        let (turn, session) = claim(&sealed, "2").await;
        assert_eq!((turn.session_version, session), (1, None));
    }

    #[tokio::test]
    async fn cached_matches_are_sealed_too() {
        let inner: Arc<dyn MatchCache> = Arc::new(MemoryMatchCache::new(LASTING, 1 << 20));
        let sealed = SealedMatches::new(inner.clone(), Seals::new("key"));
        let key = MatchKey {
            account: "a".into(),
            snapshot: "s".into(),
            text: "t".into(),
        };
        sealed.put(&key, b"value").await.unwrap();
        assert_eq!(sealed.get(&key).await.unwrap().as_deref(), Some(&b"value"[..]));
        assert_ne!(inner.get(&key).await.unwrap().as_deref(), Some(&b"value"[..]));
        inner.put(&key, b"value without a seal").await.unwrap();
        assert_eq!(sealed.get(&key).await.unwrap(), None);
    }
}
