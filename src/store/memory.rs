//! Conversations and cached matches inside the process: the store of a single instance, and what replies go on from
//! when Redis is away.
//!
//! [`MemoryConversations`] expires, replaces and refuses as Redis does; `tests/it/conversations.rs` holds both to one
//! contract. Time is a [`Clock`] passed in. One mutex guards everything and is held for map operations only: a claim
//! touches the message, the follower's turn and the session at once. Keys are digests, so that a flood of long ones
//! costs no more than short ones.

use super::StoreError;
use super::conversations::{
    Arrival, Begun, Conversations, Finished, Follower, Lifetimes, SessionChange, Turn, check_lengths, digest,
    fresh_token,
};
use super::match_cache::{MAX_MATCH_BYTES, MatchCache, MatchKey};
use async_trait::async_trait;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Time since some fixed moment; never goes back.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// The clock of the operating system.
pub fn monotonic() -> Clock {
    let start = Instant::now();
    Arc::new(move || start.elapsed())
}

/// How much is kept. What was written longest ago goes first.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Seen signatures, at about 100 bytes each.
    pub signatures: usize,
    /// Claims and reply records, together.
    pub records: usize,
    #[expect(missing_docs, reason = "the name says it")]
    pub sessions: usize,
    /// All records together, and again all sessions together.
    pub value_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            signatures: 200_000,
            records: 200_000,
            sessions: 100_000,
            value_bytes: 16 * 1024 * 1024,
        }
    }
}

/// [`Conversations`] of one process.
pub struct MemoryConversations {
    lifetimes: Lifetimes,
    clock: Clock,
    state: Mutex<State>,
}

/// First character of the tokens given here.
const TOKEN_MARK: char = 'm';

struct State {
    /// The fingerprint's digest.
    signatures: Expiring<u128>,
    claims: Expiring<Claim>,
    /// The token of whoever handles a message of this follower.
    turns: Expiring<String>,
    sessions: Expiring<Session>,
}

enum Claim {
    Held { token: String },
    Done { token: String, record: Vec<u8> },
}

struct Session {
    version: u64,
    value: Vec<u8>,
}

impl MemoryConversations {
    /// An empty store.
    pub fn new(lifetimes: Lifetimes, bounds: Bounds, clock: Clock) -> Self {
        let state = State {
            signatures: Expiring::new("signature", bounds.signatures, usize::MAX),
            claims: Expiring::new("record", bounds.records, bounds.value_bytes),
            turns: Expiring::new("turn", bounds.records, usize::MAX),
            sessions: Expiring::new("session", bounds.sessions, bounds.value_bytes),
        };
        Self {
            lifetimes,
            clock,
            state: Mutex::new(state),
        }
    }

    fn lock(&self) -> (MutexGuard<'_, State>, Duration) {
        // Every map is whole between two operations, so a panic elsewhere under the lock leaves nothing half done.
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (self.clock)();
        (state, now)
    }

    /// Whether `turn` was begun here, not on the back-end this store stands in for.
    pub(super) fn gave(turn: &Turn) -> bool {
        turn.token.starts_with(TOKEN_MARK)
    }

    /// Whether the signature is known with another fingerprint. Notes nothing.
    pub(super) fn contradicts(&self, arrival: &Arrival) -> bool {
        let (state, now) = self.lock();
        let key = signature_key(&arrival.follower.account, &arrival.signature);
        state
            .signatures
            .get(key, now)
            .is_some_and(|known| *known != digest(&[&arrival.fingerprint]))
    }

    /// The record kept for a message.
    pub(super) fn record(&self, arrival: &Arrival) -> Option<Vec<u8>> {
        let (state, now) = self.lock();
        match state
            .claims
            .get(message_key(&arrival.follower, &arrival.message), now)?
        {
            Claim::Done { record, .. } => Some(record.clone()),
            Claim::Held { .. } => None,
        }
    }

    /// The follower's session.
    pub(super) fn session(&self, follower: &Follower) -> Option<Vec<u8>> {
        let (state, now) = self.lock();
        state
            .sessions
            .get(follower_key(follower), now)
            .map(|session| session.value.clone())
    }

    /// Copies what another back-end granted, the claim and the session, so that the turn can be finished here too.
    /// `false`, and nothing is copied: the message, or another of the follower, is being handled under a claim given
    /// here.
    pub(super) fn adopt(&self, turn: &Turn, session: Option<&[u8]>) -> bool {
        let (mut state, now) = self.lock();
        let (message, follower) = (message_key(&turn.follower, &turn.message), follower_key(&turn.follower));
        if state
            .turns
            .get(follower, now)
            .is_some_and(|token| token.starts_with(TOKEN_MARK))
        {
            return false;
        }
        state.take(message, follower, &turn.token, now, &self.lifetimes);
        match session {
            Some(value) => state.put_session(follower, turn.session_version, value.to_vec(), now, &self.lifetimes),
            None => state.sessions.remove(follower),
        }
        true
    }

    /// Copies a record another back-end holds, whoever made it.
    pub(super) fn keep_record(&self, follower: &Follower, message: &str, record: &[u8]) {
        let (mut state, now) = self.lock();
        let token = fresh_token(TOKEN_MARK);
        state.put_record(message_key(follower, message), token, record, now, &self.lifetimes);
    }
}

#[async_trait]
impl Conversations for MemoryConversations {
    async fn begin(&self, arrival: &Arrival) -> Result<Begun, StoreError> {
        let token = fresh_token(TOKEN_MARK);
        let (mut state, now) = self.lock();
        let signature = signature_key(&arrival.follower.account, &arrival.signature);
        if !state.note(signature, digest(&[&arrival.fingerprint]), now, &self.lifetimes) {
            return Ok(Begun::Refused);
        }
        let (message, follower) = (
            message_key(&arrival.follower, &arrival.message),
            follower_key(&arrival.follower),
        );
        match state.claims.get(message, now) {
            Some(Claim::Done { record, .. }) => return Ok(Begun::Done(record.clone())),
            Some(Claim::Held { .. }) => return Ok(Begun::Busy),
            None if state.turns.get(follower, now).is_some() => return Ok(Begun::Busy),
            None => {}
        }
        state.take(message, follower, &token, now, &self.lifetimes);
        let session = state.sessions.get(follower, now);
        Ok(Begun::Claimed {
            turn: Turn {
                follower: arrival.follower.clone(),
                message: arrival.message.clone(),
                token,
                session_version: session.map_or(0, |session| session.version),
            },
            session: session.map(|session| session.value.clone()),
        })
    }

    async fn finish(&self, turn: &Turn, record: &[u8], session: SessionChange) -> Result<Finished, StoreError> {
        check_lengths("memory", record, &session)?;
        let (mut state, now) = self.lock();
        let (message, follower) = (message_key(&turn.follower, &turn.message), follower_key(&turn.follower));
        match state.claims.get(message, now) {
            Some(Claim::Held { token }) if *token == turn.token => {}
            Some(Claim::Done { token, .. }) if *token == turn.token => return Ok(Finished::Stored),
            Some(Claim::Done { record, .. }) => return Ok(Finished::Superseded(Some(record.clone()))),
            Some(Claim::Held { .. }) | None => return Ok(Finished::Superseded(None)),
        }
        state.put_record(message, turn.token.clone(), record, now, &self.lifetimes);
        let holds_turn = state.turns.get(follower, now).is_some_and(|token| *token == turn.token);
        if holds_turn {
            state.turns.remove(follower);
        }
        let version = state.sessions.get(follower, now).map_or(0, |session| session.version);
        if holds_turn && version == turn.session_version {
            match session {
                SessionChange::Keep => {}
                SessionChange::Put(value) => state.put_session(follower, version + 1, value, now, &self.lifetimes),
                SessionChange::Delete => state.sessions.remove(follower),
            }
        }
        Ok(Finished::Stored)
    }

    async fn release(&self, turn: &Turn) -> Result<(), StoreError> {
        let (mut state, now) = self.lock();
        let (message, follower) = (message_key(&turn.follower, &turn.message), follower_key(&turn.follower));
        if matches!(state.claims.get(message, now), Some(Claim::Held { token }) if *token == turn.token) {
            state.claims.remove(message);
        }
        if state.turns.get(follower, now).is_some_and(|token| *token == turn.token) {
            state.turns.remove(follower);
        }
        Ok(())
    }

    async fn note_signature(&self, account: &str, signature: &str, fingerprint: &str) -> Result<bool, StoreError> {
        let (mut state, now) = self.lock();
        Ok(state.note(
            signature_key(account, signature),
            digest(&[fingerprint]),
            now,
            &self.lifetimes,
        ))
    }

    async fn forget(&self, follower: &Follower) -> Result<(), StoreError> {
        self.lock().0.sessions.remove(follower_key(follower));
        Ok(())
    }
}

impl State {
    /// `false`: the signature belongs to another fingerprint.
    fn note(&mut self, key: u128, fingerprint: u128, now: Duration, lifetimes: &Lifetimes) -> bool {
        if let Some(owner) = self.signatures.get(key, now) {
            return *owner == fingerprint;
        }
        self.signatures.put(key, fingerprint, 0, now, lifetimes.signature);
        true
    }

    fn take(&mut self, message: u128, follower: u128, token: &str, now: Duration, lifetimes: &Lifetimes) {
        self.claims.put(
            message,
            Claim::Held {
                token: token.to_owned(),
            },
            0,
            now,
            lifetimes.lease,
        );
        self.turns.put(follower, token.to_owned(), 0, now, lifetimes.lease);
    }

    fn put_record(&mut self, message: u128, token: String, record: &[u8], now: Duration, lifetimes: &Lifetimes) {
        let done = Claim::Done {
            token,
            record: record.to_vec(),
        };
        self.claims.put(message, done, record.len(), now, lifetimes.record);
    }

    fn put_session(&mut self, follower: u128, version: u64, value: Vec<u8>, now: Duration, lifetimes: &Lifetimes) {
        let bytes = value.len();
        self.sessions
            .put(follower, Session { version, value }, bytes, now, lifetimes.session);
    }
}

fn signature_key(account: &str, signature: &str) -> u128 {
    digest(&[account, signature])
}

fn message_key(follower: &Follower, message: &str) -> u128 {
    digest(&[&follower.account, &follower.pseudonym, message])
}

pub(super) fn follower_key(follower: &Follower) -> u128 {
    digest(&[&follower.account, &follower.pseudonym])
}

/// A map whose entries expire, and whose oldest entries make room.
///
/// Not `moka`: its clock cannot be passed in, and three of these change together under one lock.
struct Expiring<V> {
    /// Names the items in the metric that counts what was dropped.
    item: &'static str,
    max_items: usize,
    max_bytes: usize,
    slots: HashMap<u128, Slot<V>>,
    /// Keys as they were written, oldest first, with the serial they were written under; a slot written again or
    /// removed leaves its earlier places behind, until [`Expiring::trim`] meets them.
    order: VecDeque<(u128, u64)>,
    serial: u64,
    bytes: usize,
}

struct Slot<V> {
    value: V,
    bytes: usize,
    expires_at: Duration,
    serial: u64,
}

impl<V> Expiring<V> {
    fn new(item: &'static str, max_items: usize, max_bytes: usize) -> Self {
        Self {
            item,
            max_items,
            max_bytes,
            slots: HashMap::new(),
            order: VecDeque::new(),
            serial: 0,
            bytes: 0,
        }
    }

    /// `None` from the moment of expiry on.
    fn get(&self, key: u128, now: Duration) -> Option<&V> {
        self.slots
            .get(&key)
            .filter(|slot| now < slot.expires_at)
            .map(|slot| &slot.value)
    }

    fn put(&mut self, key: u128, value: V, bytes: usize, now: Duration, lifetime: Duration) {
        self.remove(key);
        self.serial += 1;
        self.bytes += bytes;
        self.order.push_back((key, self.serial));
        self.slots.insert(
            key,
            Slot {
                value,
                bytes,
                expires_at: now + lifetime,
                serial: self.serial,
            },
        );
        self.trim(now);
    }

    fn remove(&mut self, key: u128) {
        if let Some(slot) = self.slots.remove(&key) {
            self.bytes -= slot.bytes;
        }
    }

    fn trim(&mut self, now: Duration) {
        while let Some(&(key, serial)) = self.order.front() {
            if let Some(slot) = self.slots.get(&key).filter(|slot| slot.serial == serial) {
                let is_full = self.slots.len() > self.max_items || self.bytes > self.max_bytes;
                if now < slot.expires_at {
                    if !is_full {
                        break;
                    }
                    metrics::counter!("wxfaq_store_dropped_total", "store" => "memory", "item" => self.item)
                        .increment(1);
                }
                self.remove(key);
            }
            self.order.pop_front();
        }
        // One live entry at the front must not make the places behind it pile up.
        if self.order.len() > 2 * self.slots.len() + 64 {
            self.order
                .retain(|(key, serial)| self.slots.get(key).is_some_and(|slot| slot.serial == *serial));
        }
    }
}

/// [`MatchCache`] of one process.
pub struct MemoryMatchCache {
    cache: moka::sync::Cache<u128, Arc<[u8]>>,
}

impl MemoryMatchCache {
    /// Keeps at most `max_bytes` of values, each for `lifetime`.
    pub fn new(lifetime: Duration, max_bytes: u64) -> Self {
        /// About what an entry costs besides its value.
        const OVERHEAD: u32 = 128;
        let cache = moka::sync::Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|_, value: &Arc<[u8]>| OVERHEAD + value.len() as u32)
            .time_to_live(lifetime)
            .build();
        Self { cache }
    }
}

#[async_trait]
impl MatchCache for MemoryMatchCache {
    async fn get(&self, key: &MatchKey) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.cache.get(&key.digest()).map(|value| value.to_vec()))
    }

    async fn put(&self, key: &MatchKey, value: &[u8]) -> Result<(), StoreError> {
        if value.len() <= MAX_MATCH_BYTES {
            self.cache.insert(key.digest(), value.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn keys(map: &Expiring<u32>, now: Duration) -> Vec<u128> {
        (0..10).filter(|key| map.get(*key, now).is_some()).collect()
    }

    #[test]
    fn an_entry_is_there_until_it_expires_and_then_gone() {
        let mut map = Expiring::new("test", 10, 100);
        map.put(1, 0, 1, Duration::ZERO, SECOND);
        assert!(map.get(1, Duration::from_millis(999)).is_some());
        assert!(map.get(1, SECOND).is_none());
    }

    #[test]
    fn what_was_written_longest_ago_makes_room() {
        let mut map = Expiring::new("test", 3, 100);
        for key in [1, 2, 3, 1, 4] {
            map.put(key, 0, 1, Duration::ZERO, SECOND);
        }
        assert_eq!(keys(&map, Duration::ZERO), [1, 3, 4]);
    }

    #[test]
    fn values_are_bounded_by_their_bytes_too() {
        let mut map = Expiring::new("test", 10, 100);
        for key in [1, 2, 3] {
            map.put(key, 0, 40, Duration::ZERO, SECOND);
        }
        assert_eq!(keys(&map, Duration::ZERO), [2, 3]);
        map.put(2, 0, 10, Duration::ZERO, SECOND);
        assert_eq!(map.bytes, 50);
    }

    #[test]
    fn expired_entries_and_rewritten_places_do_not_pile_up() {
        let mut map = Expiring::new("test", 1_000, usize::MAX);
        map.put(0, 0, 0, Duration::ZERO, SECOND * 1_000);
        for _ in 0..10_000 {
            map.put(1, 0, 0, Duration::ZERO, SECOND);
        }
        assert!(map.order.len() < 100, "{} places for 2 entries", map.order.len());
        for key in 2..500 {
            map.put(key, 0, 0, Duration::ZERO, SECOND * 1_000);
        }
        map.put(500, 0, 0, SECOND * 2_000, SECOND);
        assert_eq!(map.slots.len(), 1);
    }
}
