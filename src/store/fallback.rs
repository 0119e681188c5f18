//! Memory behind Redis: replies go on when Redis refuses, hangs, is full or talks nonsense.
//!
//! [`FallbackConversations`] and [`TieredMatchCache`] ask the shared store through one [`Breaker`]. Memory copies every
//! claim, signature, record and session that passes here, so it can take over in the middle of a conversation; while the
//! shared store is away it works alone, with the same rules, for this instance. A turn ends where it began.
//!
//! On return, a session written here during the absence wins over the shared one, once: the follower's next turn reads
//! it and writes it back. A session removed here is removed there along with the next messages, whoever sends them. A
//! record made here is handed on when its message comes again.

mod access_tokens;
mod breaker;
mod open_work;

pub use access_tokens::FallbackAccessTokens;
pub use breaker::{Breaker, Patience, Status, Upstream, User};
pub use open_work::FallbackOpenWork;

use super::StoreError;
use super::conversations::{
    Arrival, Begun, Conversations, Finished, Follower, Lifetimes, SessionChange, Turn, check_lengths, signature_tag,
};
use super::match_cache::{MatchCache, MatchKey};
use super::memory::{MemoryConversations, MemoryMatchCache, follower_digest};
use async_trait::async_trait;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// [`Conversations`] that never fail for want of the shared store.
pub struct FallbackConversations {
    shared: Arc<dyn Conversations>,
    memory: MemoryConversations,
    breaker: Arc<Breaker>,
    /// Followers whose session here is newer than the shared one. Bounded; forgets as sessions expire.
    newer_here: moka::sync::Cache<u128, ()>,
    /// Followers the shared store has yet to forget, since it was away when they left. Bounded by [`MAX_OWED`].
    owed_forgets: Mutex<VecDeque<Follower>>,
    farewells: Option<Arc<dyn Farewells>>,
}

/// Tells every instance that a follower is to be forgotten, so that their copies of the session go at once.
#[async_trait]
pub trait Farewells: Send + Sync {
    /// `follower`: as [`FallbackConversations::forget_copy`] takes it. That nobody hears it is no error.
    async fn announce(&self, follower: u128) -> Result<(), StoreError>;
}

const USER: User = User::Conversations;

/// Beyond, a session left in the shared store ends with its own lifetime, or with the follower's next message.
const MAX_OWED: usize = 10_000;

impl FallbackConversations {
    /// `memory` takes over from `shared` whenever `breaker` says so. `lifetimes` are those of both.
    pub fn new(
        shared: Arc<dyn Conversations>,
        memory: MemoryConversations,
        breaker: Arc<Breaker>,
        lifetimes: Lifetimes,
    ) -> Self {
        /// As many as memory keeps sessions by default.
        const FOLLOWERS: u64 = 100_000;
        let newer_here = moka::sync::Cache::builder()
            .max_capacity(FOLLOWERS)
            .time_to_live(lifetimes.session)
            .build();
        Self {
            shared,
            memory,
            breaker,
            newer_here,
            owed_forgets: Mutex::default(),
            farewells: None,
        }
    }

    /// Whoever is forgotten in the shared store is announced through `farewells`.
    #[must_use]
    pub fn announcing(self, farewells: Arc<dyn Farewells>) -> Self {
        Self {
            farewells: Some(farewells),
            ..self
        }
    }

    /// Another instance has forgotten this follower.
    pub fn forget_copy(&self, follower: u128) {
        self.newer_here.invalidate(&follower);
        self.memory.forget_digest(follower);
    }

    /// Somebody may have been forgotten unheard: copies of sessions go, but for those that are newer than the shared.
    pub async fn distrust_copies(&self) {
        self.memory
            .forget_sessions(|follower| !self.newer_here.contains_key(&follower))
            .await;
    }

    async fn announce(&self, follower: &Follower) {
        if let Some(farewells) = &self.farewells {
            // Unheard, a copy goes with its lifetime.
            let announcing = farewells.announce(follower_digest(follower));
            let _ = self.breaker.call(USER, &follower.tag(), announcing).await;
        }
    }

    fn owe_forget(&self, follower: Follower) {
        let mut owed = self.owed_forgets.lock().unwrap_or_else(PoisonError::into_inner);
        if owed.len() < MAX_OWED {
            owed.push_back(follower);
        } else {
            metrics::counter!("wxfaq_store_dropped_total", "store" => "memory", "item" => "forget").increment(1);
        }
    }

    /// Makes good for one absence of the shared store, if there is one and the store is back.
    async fn forget_one_owed(&self, arriving: &Follower) {
        if self.breaker.status() != Status::Up {
            return;
        }
        let follower = self
            .owed_forgets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        // A follower who comes back, or has come back since, needs no help: their own turn settles it, and forgetting
        // in the middle of it would lose the session it writes.
        if let Some(follower) = follower
            && follower != *arriving
            && self.is_newer_here(&follower)
            && self.memory.session(&follower).is_none()
        {
            match self
                .breaker
                .call(USER, &follower.tag(), self.shared.forget(&follower))
                .await
            {
                Ok(()) => self.announce(&follower).await,
                Err(_) => self.owe_forget(follower),
            }
        }
    }

    fn is_newer_here(&self, follower: &Follower) -> bool {
        self.newer_here.contains_key(&follower_digest(follower))
    }

    /// Joins what the shared store granted with what memory knows.
    async fn reconcile(&self, arrival: &Arrival, turn: Turn, mut session: Option<Vec<u8>>) -> Begun {
        if let Some(record) = self.memory.record(arrival) {
            // Answered while the shared store was away: whoever gets the next repeat must say the same.
            // A failure leaves the claim to its lease; this instance has its answer all the same.
            let _ = self
                .breaker
                .call(
                    USER,
                    &turn.follower.tag(),
                    self.shared.finish(&turn, &record, SessionChange::Keep),
                )
                .await;
            return Begun::Done(record);
        }
        if self.is_newer_here(&arrival.follower) {
            session = self.memory.session(&arrival.follower);
        }
        if let Some(held) = self.memory.adopt(&turn, session.as_deref()) {
            // Begun here while the shared store was away, and not finished yet.
            let _ = self
                .breaker
                .call(USER, &turn.follower.tag(), self.shared.release(&turn))
                .await;
            return held;
        }
        Begun::Claimed { turn, session }
    }

    /// Finishes in memory; what becomes of the session there is news to the shared store.
    async fn finish_here(&self, turn: &Turn, record: &[u8], session: SessionChange) -> Result<Finished, StoreError> {
        let (is_news, is_gone) = (session != SessionChange::Keep, session == SessionChange::Delete);
        // Before it is written: whoever gives up copies may look in between.
        let follower = follower_digest(&turn.follower);
        let is_marked = is_news && self.newer_here.entry(follower).or_insert(()).is_fresh();
        let finished = self.memory.finish(turn, record, session).await;
        match &finished {
            Ok(Finished::Stored) if is_news => {
                // Its lifetime begins with the session's.
                self.newer_here.insert(follower, ());
                if is_gone {
                    self.owe_forget(turn.follower.clone());
                }
            }
            Ok(Finished::Stored) => {}
            _ if is_marked => self.newer_here.invalidate(&follower),
            _ => {}
        }
        finished
    }
}

#[async_trait]
impl Conversations for FallbackConversations {
    async fn begin(&self, arrival: &Arrival) -> Result<Begun, StoreError> {
        match self.begin_for_all(arrival).await {
            Err(_) => self.memory.begin(arrival).await,
            begun => begun,
        }
    }

    async fn begin_for_all(&self, arrival: &Arrival) -> Result<Begun, StoreError> {
        if self.memory.contradicts(arrival) {
            return Ok(Begun::Refused);
        }
        // Side by side on one connection, what is owed costs the message nothing.
        let tag = arrival.follower.tag();
        let (begun, ()) = tokio::join!(
            self.breaker.call(USER, &tag, self.shared.begin(arrival)),
            self.forget_one_owed(&arrival.follower)
        );
        let begun = begun?;
        if begun != Begun::Refused {
            let Arrival {
                follower,
                signature,
                fingerprint,
                ..
            } = arrival;
            self.memory
                .note_signature(&follower.account, signature, fingerprint)
                .await?;
        }
        match begun {
            Begun::Claimed { turn, session } => Ok(self.reconcile(arrival, turn, session).await),
            Begun::Done(record) => {
                self.memory.keep_record(&arrival.follower, &arrival.message, &record);
                Ok(Begun::Done(record))
            }
            held @ (Begun::Busy | Begun::Occupied) => Ok(self.memory.record(arrival).map_or(held, Begun::Done)),
            Begun::Refused => Ok(Begun::Refused),
        }
    }

    async fn finish(&self, turn: &Turn, record: &[u8], session: SessionChange) -> Result<Finished, StoreError> {
        check_lengths("the conversation store", record, &session)?;
        if MemoryConversations::gave(turn) {
            return self.finish_here(turn, record, session).await;
        }
        match self.finish_for_all(turn, record, session.clone()).await {
            Err(_) => self.finish_here(turn, record, session).await,
            finished => finished,
        }
    }

    async fn finish_for_all(&self, turn: &Turn, record: &[u8], session: SessionChange) -> Result<Finished, StoreError> {
        let was_newer_here = self.is_newer_here(&turn.follower);
        let session = match session {
            SessionChange::Keep if was_newer_here => self
                .memory
                .session(&turn.follower)
                .map_or(SessionChange::Delete, SessionChange::Put),
            change => change,
        };
        match self
            .breaker
            .call(
                USER,
                &turn.follower.tag(),
                self.shared.finish(turn, record, session.clone()),
            )
            .await?
        {
            Finished::Stored => {
                let is_gone = session == SessionChange::Delete;
                self.memory.finish(turn, record, session).await?;
                if was_newer_here {
                    self.newer_here.invalidate(&follower_digest(&turn.follower));
                }
                if is_gone {
                    self.announce(&turn.follower).await;
                }
                Ok(Finished::Stored)
            }
            Finished::Superseded(theirs) => {
                self.memory.release(turn).await?;
                if let Some(record) = &theirs {
                    self.memory.keep_record(&turn.follower, &turn.message, record);
                }
                Ok(Finished::Superseded(theirs))
            }
        }
    }

    async fn renew(&self, turn: &Turn) -> Result<bool, StoreError> {
        if !MemoryConversations::gave(turn)
            && let Ok(false) = self
                .breaker
                .call(USER, &turn.follower.tag(), self.shared.renew(turn))
                .await
        {
            return Ok(false);
        }
        self.memory.renew(turn).await
    }

    async fn release(&self, turn: &Turn) -> Result<(), StoreError> {
        if !MemoryConversations::gave(turn) {
            // Without an answer the lease ends it.
            let _ = self
                .breaker
                .call(USER, &turn.follower.tag(), self.shared.release(turn))
                .await;
        }
        self.memory.release(turn).await
    }

    async fn note_signature(&self, account: &str, signature: &str, fingerprint: &str) -> Result<bool, StoreError> {
        let shared = self
            .breaker
            .call(
                USER,
                &signature_tag(account, signature),
                self.shared.note_signature(account, signature, fingerprint),
            )
            .await;
        // What the shared store refuses must not become the owner here.
        Ok(shared.unwrap_or(true) && self.memory.note_signature(account, signature, fingerprint).await?)
    }

    async fn forget(&self, follower: &Follower) -> Result<(), StoreError> {
        self.memory.forget(follower).await?;
        if self
            .breaker
            .call(USER, &follower.tag(), self.shared.forget(follower))
            .await
            .is_err()
        {
            self.newer_here.insert(follower_digest(follower), ());
            self.owe_forget(follower.clone());
        } else {
            self.newer_here.invalidate(&follower_digest(follower));
            self.announce(follower).await;
        }
        Ok(())
    }
}

/// [`MatchCache`] of this process in front of the shared one, which may be away.
pub struct TieredMatchCache {
    memory: MemoryMatchCache,
    shared: Arc<dyn MatchCache>,
    breaker: Arc<Breaker>,
}

impl TieredMatchCache {
    /// `breaker` is the one of the conversations when both use one connection.
    pub fn new(memory: MemoryMatchCache, shared: Arc<dyn MatchCache>, breaker: Arc<Breaker>) -> Self {
        Self {
            memory,
            shared,
            breaker,
        }
    }
}

#[async_trait]
impl MatchCache for TieredMatchCache {
    async fn get(&self, key: &MatchKey) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(value) = self.memory.get(key).await? {
            return Ok(Some(value));
        }
        let Ok(Some(value)) = self.breaker.call(User::Matches, &key.tag(), self.shared.get(key)).await else {
            return Ok(None);
        };
        self.memory.put(key, &value).await?;
        Ok(Some(value))
    }

    async fn put(&self, key: &MatchKey, value: &[u8]) -> Result<(), StoreError> {
        self.memory.put(key, value).await?;
        // A loss costs another instance one search.
        let _ = self
            .breaker
            .call(User::Matches, &key.tag(), self.shared.put(key, value))
            .await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::Bounds;
    use super::*;
    use std::sync::OnceLock;
    use std::time::Duration;

    const LIFETIMES: Lifetimes = Lifetimes {
        lease: Duration::from_secs(10),
        signature: Duration::from_secs(10),
        record: Duration::from_secs(10),
        session: Duration::from_secs(10),
    };

    struct Healthy;

    #[async_trait]
    impl Upstream for Healthy {
        async fn probe(&self) -> Result<(), StoreError> {
            Ok(())
        }
        fn is_connected(&self) -> bool {
            true
        }
        fn part_of(&self, _: &str) -> usize {
            0
        }
        fn disconnect(&self) {}
    }

    /// The store, and for each look at the clock, which comes before anything is written, whether anna's session was
    /// marked as newer.
    fn observed() -> (Arc<FallbackConversations>, Arc<Mutex<Vec<bool>>>) {
        let (place, seen) = (Arc::new(OnceLock::new()), Arc::new(Mutex::new(Vec::new())));
        let (store, looks): (Arc<OnceLock<Arc<FallbackConversations>>>, _) = (place.clone(), seen.clone());
        let memory = |clock| MemoryConversations::new(LIFETIMES, Bounds::default(), clock);
        let clock = move || {
            if let Some(store) = store.get() {
                let is_marked = store.is_newer_here(&arrival().follower);
                looks.lock().unwrap().push(is_marked);
            }
            Duration::ZERO
        };
        let shared = Arc::new(memory(Arc::new(|| Duration::ZERO)));
        let breaker = Breaker::new("tests", Arc::new(Healthy), Patience::default());
        let store = FallbackConversations::new(shared, memory(Arc::new(clock)), breaker, LIFETIMES);
        let store = place.get_or_init(|| Arc::new(store)).clone();
        (store, seen)
    }

    fn arrival() -> Arrival {
        Arrival {
            follower: Follower {
                account: "demo".into(),
                pseudonym: "anna".into(),
            },
            message: "1".into(),
            signature: "s".into(),
            fingerprint: "f".into(),
        }
    }

    #[tokio::test]
    async fn a_session_is_marked_as_newer_before_it_is_written() {
        let (store, seen) = observed();
        let Begun::Claimed { turn, .. } = store.memory.begin(&arrival()).await.unwrap() else {
            panic!("it is not to be had");
        };
        let session = SessionChange::Put(b"new".to_vec());
        let finished = store.finish(&turn, b"reply", session.clone()).await.unwrap();
        assert_eq!(finished, Finished::Stored);
        assert_eq!(
            *seen.lock().unwrap(),
            [false, true],
            "when it is begun, and when it is finished"
        );
        assert!(store.is_newer_here(&turn.follower));

        // What is not written is not news.
        store.forget_copy(follower_digest(&turn.follower));
        let other = Turn {
            token: "mother".into(),
            ..turn
        };
        let finished = store.finish(&other, b"other", session).await.unwrap();
        assert!(matches!(finished, Finished::Superseded(_)), "{finished:?}");
        assert!(!store.is_newer_here(&other.follower));
    }
}
