//! The stores of conversations, cached matches, access tokens and open work: in memory, or in Redis with memory behind it.
//!
//! [`Stores::open`] is the entry point; [`lifetimes`] says how long they keep what they keep.

use super::{AppError, Spread, access_tokens_on, redis_link, sweeping};
use crate::bot::{SealedConversations, SealedMatches, Seals};
use crate::config::Config;
use crate::store::StoreError;
use crate::store::access_tokens::AccessTokens;
use crate::store::conversations::{Conversations, Follower, Lifetimes};
use crate::store::fallback::{Breaker, FallbackConversations, FallbackOpenWork, Patience, Status, TieredMatchCache};
use crate::store::match_cache::MatchCache;
use crate::store::memory::{
    Bounds, MemoryAccessTokens, MemoryConversations, MemoryMatchCache, MemoryOpenWork, monotonic,
};
use crate::store::open_work::OpenWork;
use crate::store::redis::{RedisConversations, RedisMatchCache, RedisOpenWork};
use std::sync::Arc;
use std::time::Duration;

/// A follower whose message is held by a dead instance waits so long for the next. Work takes a few milliseconds.
const LEASE: Duration = Duration::from_secs(1);
/// The lease outlives so many calls of the shared store that all end at their deadline.
const CALLS_PER_LEASE: u32 = 4;
/// WeChat's last delivery comes ten seconds after the first and may take five more; as much again for delays.
const RECORD_LIFETIME: Duration = Duration::from_secs(30);
/// Seen signatures are kept for twice the window and this much more.
const SIGNATURE_MARGIN: Duration = Duration::from_secs(15);
/// How long seen signatures are kept when the window is switched off.
const SIGNATURE_LIFETIME_WITHOUT_WINDOW: Duration = Duration::from_secs(3_600);
/// How long cached matches are kept; a change of the bank makes them unreachable at once.
const MATCH_LIFETIME: Duration = Duration::from_secs(3_600);
/// Work that a dead instance has left is taken over for so long: twice the longest `reply.work_seconds`.
const OPEN_WORK_LIFETIME: Duration = Duration::from_secs(600);
/// Cached matches in this process.
const MATCH_BYTES: u64 = 16 * 1024 * 1024;

/// How long seen signatures are kept for a window of so many seconds.
pub fn signature_lifetime(window: u64) -> Duration {
    match window {
        0 => SIGNATURE_LIFETIME_WITHOUT_WINDOW,
        window => Duration::from_secs(2 * window) + SIGNATURE_MARGIN,
    }
}

/// How long stores keep what they keep.
pub fn lifetimes(config: &Config) -> Lifetimes {
    Lifetimes {
        lease: LEASE.max(config.redis.deadline * CALLS_PER_LEASE),
        signature: signature_lifetime(config.timestamp_window),
        record: RECORD_LIFETIME,
        session: config.session_ttl,
    }
}

/// Conversations, cached matches and access tokens, and how the shared store is.
pub struct Stores {
    pub conversations: Arc<dyn Conversations>,
    pub matches: Arc<dyn MatchCache>,
    pub access_tokens: Arc<dyn AccessTokens>,
    pub open_work: Arc<dyn OpenWork>,
    pub redis: Option<Arc<Breaker>>,
    /// With the conversations whose copies it looks after.
    pub spread: Option<(Spread, Arc<FallbackConversations>)>,
}

impl Stores {
    /// By the configuration. A Redis that cannot be reached is no error.
    ///
    /// # Errors
    /// `redis.urls` cannot be read.
    pub async fn open(config: &Config, seals: &Seals) -> Result<Self, StoreError> {
        let lifetimes = lifetimes(config);
        let memory = MemoryConversations::new(lifetimes, Bounds::default(), monotonic());
        let near = MemoryMatchCache::new(MATCH_LIFETIME, MATCH_BYTES);
        let Some(link) = redis_link(&config.redis)? else {
            return Ok(Self {
                conversations: Arc::new(memory),
                matches: Arc::new(near),
                access_tokens: Arc::new(MemoryAccessTokens::new(monotonic())),
                open_work: Arc::new(MemoryOpenWork::new(OPEN_WORK_LIFETIME, monotonic())),
                redis: None,
                spread: None,
            });
        };
        let deadline = config.redis.deadline;
        let breaker = Breaker::new(
            "redis",
            link.clone(),
            Patience {
                deadline,
                ..Patience::default()
            },
        );
        if let Status::Away { .. } = breaker.check().await {
            tracing::warn!("Redis cannot be reached; conversations stay in this process until it can");
        }
        let shared = Arc::new(RedisConversations::new(link.clone(), lifetimes));
        let shared = Arc::new(SealedConversations::new(shared, seals.clone()));
        let access_tokens = access_tokens_on(link.clone(), breaker.clone(), seals);
        let spread = Spread::new(link.clone(), seals.clone());
        let open_work = RedisOpenWork::new(link.clone(), OPEN_WORK_LIFETIME, Arc::new(sweeping::wall_clock));
        let far = Arc::new(RedisMatchCache::new(link, MATCH_LIFETIME));
        let far = Arc::new(SealedMatches::new(far, seals.clone()));
        let conversations = FallbackConversations::new(shared, memory, breaker.clone(), lifetimes);
        let conversations = Arc::new(conversations.announcing(Arc::new(spread.clone())));
        Ok(Self {
            conversations: conversations.clone(),
            matches: Arc::new(TieredMatchCache::new(near, far, breaker.clone())),
            access_tokens,
            open_work: Arc::new(FallbackOpenWork::new(Arc::new(open_work), breaker.clone())),
            redis: Some(breaker),
            spread: Some((spread, conversations)),
        })
    }
}

/// Forgets the conversations of `followers` in the configured Redis, if there is one.
pub async fn forget_in_redis(config: &Config, followers: &[Follower]) -> Result<(), AppError> {
    let Some(link) = redis_link(&config.redis)? else {
        return Ok(());
    };
    let conversations = RedisConversations::new(link, lifetimes(config));
    for follower in followers {
        conversations.forget(follower).await?;
    }
    Ok(())
}
