//! Conversations and cached matches inside the process: the store of a single instance, and what replies go on from
//! when Redis is away.
//!
//! [`MemoryConversations`] expires, replaces and refuses as Redis does; `tests/it/conversations.rs` holds both to one
//! contract. Time is a [`Clock`] passed in. One mutex guards everything and is held for map operations only: a claim
//! touches the message, the follower's turn and the session at once. Keys are digests, so that a flood of long ones
//! costs no more than short ones. Records share what is equal in them, so that a busy minute fits.

mod access_tokens;
mod open_work;
mod expiring;
mod texts;

pub use access_tokens::MemoryAccessTokens;
pub use open_work::MemoryOpenWork;

use super::StoreError;
use super::conversations::{
    Arrival, Begun, Conversations, Finished, Follower, Lifetimes, OWN_BYTES, SessionChange, Turn, check_lengths,
    digest, fresh_token,
};
use super::match_cache::{MAX_MATCH_BYTES, MatchCache, MatchKey};
use async_trait::async_trait;
use expiring::{Expiring, Key};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use texts::{Text, Texts};

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
    /// Claims and reply records, together, at about 100 bytes each besides the reply.
    pub records: usize,
    #[expect(missing_docs, reason = "the name says it")]
    pub sessions: usize,
    /// All records together, equal replies counted once, and again all sessions together.
    pub value_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            signatures: 200_000,
            // 3,000 messages a second for the 15 s in which a repeat may come.
            records: 50_000,
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
    signatures: Expiring<Key>,
    claims: Expiring<Claim>,
    /// Who handles a message of this follower.
    turns: Expiring<Token>,
    sessions: Expiring<Session>,
    /// What records share.
    texts: Texts,
    max_text_bytes: usize,
}

struct Claim {
    follower: Key,
    token: Token,
    /// `None`: still being handled.
    record: Option<Record>,
}

/// A record, taken apart.
struct Record {
    own: [u8; OWN_BYTES],
    own_length: u8,
    rest: Text,
}

/// A turn's token, read.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Token {
    random: Key,
    mark: u8,
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
            claims: Expiring::new("record", bounds.records, usize::MAX),
            turns: Expiring::new("turn", bounds.records, usize::MAX),
            sessions: Expiring::new("session", bounds.sessions, bounds.value_bytes),
            texts: Texts::default(),
            max_text_bytes: bounds.value_bytes,
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
            .is_some_and(|known| *known != fingerprint_key(&arrival.fingerprint))
    }

    /// The record kept for a message.
    pub(super) fn record(&self, arrival: &Arrival) -> Option<Vec<u8>> {
        let (state, now) = self.lock();
        let claim = state
            .claims
            .get(message_key(&arrival.follower, &arrival.message), now)?;
        claim.record.as_ref().map(Record::whole)
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
    ///
    /// `Some`, and nothing is copied: the message, or another of the follower, is being handled under a claim given
    /// here.
    pub(super) fn adopt(&self, turn: &Turn, session: Option<&[u8]>) -> Option<Begun> {
        let (mut state, now) = self.lock();
        let (message, follower) = (message_key(&turn.follower, &turn.message), follower_key(&turn.follower));
        if let Some(holder) = state.turns.get(follower, now).filter(|token| token.is_ours()) {
            let same = state
                .claims
                .get(message, now)
                .is_some_and(|claim| claim.token == *holder);
            return Some(if same { Begun::Busy } else { Begun::Occupied });
        }
        state.take(message, follower, Token::read(&turn.token), now, &self.lifetimes);
        match session {
            Some(value) => state.put_session(follower, turn.session_version, value.to_vec(), now, &self.lifetimes),
            None => state.sessions.remove(follower),
        }
        None
    }

    /// As [`Conversations::forget`], of the follower with this digest.
    pub(super) fn forget_digest(&self, follower: u128) {
        let (mut state, now) = self.lock();
        let follower = follower.into();
        state.sessions.remove(follower);
        state.empty_records(follower, None, now, &self.lifetimes);
    }

    /// Removes the sessions of followers whose digest is `wanted`, among those that were written before this began. Looks
    /// at every one, but lets others have the store meanwhile.
    pub(super) async fn forget_sessions(&self, wanted: impl Fn(u128) -> bool) {
        /// Removed at a time: some microseconds.
        const SLICE: usize = 64;
        let places = self.lock().0.sessions.places();
        for slice in places.chunks(SLICE) {
            // Asked without the lock: what is written from here on is not removed.
            let doubtful: Vec<_> = slice
                .iter()
                .filter(|(follower, _)| wanted((*follower).into()))
                .collect();
            self.forget_written(&doubtful);
            tokio::task::yield_now().await;
        }
    }

    fn forget_written(&self, places: &[&(Key, u32)]) {
        let (mut state, _) = self.lock();
        for (follower, serial) in places {
            state.sessions.remove_unchanged(*follower, *serial);
        }
    }

    /// Copies a record another back-end holds, whoever made it.
    pub(super) fn keep_record(&self, follower: &Follower, message: &str, record: &[u8]) {
        let (mut state, now) = self.lock();
        let token = Token::read(&fresh_token(TOKEN_MARK));
        let place = [message_key(follower, message), follower_key(follower)];
        state.put_record(place, token, record, now, &self.lifetimes);
    }
}

#[async_trait]
impl Conversations for MemoryConversations {
    async fn begin(&self, arrival: &Arrival) -> Result<Begun, StoreError> {
        let token = fresh_token(TOKEN_MARK);
        let (mut state, now) = self.lock();
        let signature = signature_key(&arrival.follower.account, &arrival.signature);
        if !state.note(signature, fingerprint_key(&arrival.fingerprint), now, &self.lifetimes) {
            return Ok(Begun::Refused);
        }
        let (message, follower) = (
            message_key(&arrival.follower, &arrival.message),
            follower_key(&arrival.follower),
        );
        match state.claims.get(message, now) {
            Some(claim) => {
                return Ok(claim
                    .record
                    .as_ref()
                    .map_or(Begun::Busy, |record| Begun::Done(record.whole())));
            }
            None if state.turns.get(follower, now).is_some() => return Ok(Begun::Occupied),
            None => {}
        }
        state.take(message, follower, Token::read(&token), now, &self.lifetimes);
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
        let token = Token::read(&turn.token);
        match state.claims.get(message, now) {
            Some(claim) if claim.token == token && claim.record.is_none() => {}
            Some(claim) if claim.token == token => return Ok(Finished::Stored),
            Some(claim) => return Ok(Finished::Superseded(claim.record.as_ref().map(Record::whole))),
            None => return Ok(Finished::Superseded(None)),
        }
        state.put_record([message, follower], token, record, now, &self.lifetimes);
        if session == SessionChange::Delete {
            state.empty_records(follower, Some(message), now, &self.lifetimes);
        }
        let holds_turn = state.turns.get(follower, now).is_some_and(|holder| *holder == token);
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

    async fn renew(&self, turn: &Turn) -> Result<bool, StoreError> {
        let (mut state, now) = self.lock();
        let (message, follower) = (message_key(&turn.follower, &turn.message), follower_key(&turn.follower));
        let is_held = state.holds(message, follower, Token::read(&turn.token), now) == [true, true];
        if is_held {
            state.claims.prolong(message, now, self.lifetimes.lease);
            state.turns.prolong(follower, now, self.lifetimes.lease);
        }
        Ok(is_held)
    }

    async fn release(&self, turn: &Turn) -> Result<(), StoreError> {
        let (mut state, now) = self.lock();
        let (message, follower) = (message_key(&turn.follower, &turn.message), follower_key(&turn.follower));
        let [holds_message, holds_turn] = state.holds(message, follower, Token::read(&turn.token), now);
        if holds_message {
            state.claims.remove(message);
        }
        if holds_turn {
            state.turns.remove(follower);
        }
        Ok(())
    }

    async fn note_signature(&self, account: &str, signature: &str, fingerprint: &str) -> Result<bool, StoreError> {
        let (mut state, now) = self.lock();
        Ok(state.note(
            signature_key(account, signature),
            fingerprint_key(fingerprint),
            now,
            &self.lifetimes,
        ))
    }

    async fn forget(&self, follower: &Follower) -> Result<(), StoreError> {
        self.forget_digest(follower_digest(follower));
        Ok(())
    }
}

impl State {
    /// `false`: the signature belongs to another fingerprint.
    fn note(&mut self, key: Key, fingerprint: Key, now: Duration, lifetimes: &Lifetimes) -> bool {
        if let Some(owner) = self.signatures.get(key, now) {
            return *owner == fingerprint;
        }
        self.signatures.put(key, fingerprint, 0, now, lifetimes.signature);
        true
    }

    fn take(&mut self, message: Key, follower: Key, token: Token, now: Duration, lifetimes: &Lifetimes) {
        let claim = Claim {
            follower,
            token,
            record: None,
        };
        self.claims.put(message, claim, 0, now, lifetimes.lease);
        self.turns.put(follower, token, 0, now, lifetimes.lease);
    }

    /// Whether `token` holds the unfinished message, and the follower's turn.
    fn holds(&self, message: Key, follower: Key, token: Token, now: Duration) -> [bool; 2] {
        let claim = self.claims.get(message, now);
        [
            claim.is_some_and(|claim| claim.token == token && claim.record.is_none()),
            self.turns.get(follower, now).is_some_and(|holder| *holder == token),
        ]
    }

    /// Empties the records of the follower's messages but for `but`: their repeats still have one.
    fn empty_records(&mut self, follower: Key, but: Option<Key>, now: Duration, lifetimes: &Lifetimes) {
        let theirs = |claim: &Claim| claim.follower == follower && claim.record.is_some();
        for message in self.claims.keys_of(theirs) {
            if but != Some(message)
                && let Some(token) = self.claims.get(message, now).map(|claim| claim.token)
            {
                self.put_record([message, follower], token, &[], now, lifetimes);
            }
        }
    }

    /// `place`: the message and its follower.
    fn put_record(&mut self, place: [Key; 2], token: Token, record: &[u8], now: Duration, lifetimes: &Lifetimes) {
        let [message, follower] = place;
        let (own, rest) = record.split_at(record.len().min(OWN_BYTES));
        let mut padded = [0; OWN_BYTES];
        padded[..own.len()].copy_from_slice(own);
        let record = Record {
            own: padded,
            own_length: own.len() as u8,
            rest: self.texts.keep(rest),
        };
        let claim = Claim {
            follower,
            token,
            record: Some(record),
        };
        self.claims.put(message, claim, 0, now, lifetimes.record);
        while self.texts.bytes() > self.max_text_bytes && self.claims.drop_oldest(now) {}
    }

    fn put_session(&mut self, follower: Key, version: u64, value: Vec<u8>, now: Duration, lifetimes: &Lifetimes) {
        let bytes = value.len();
        self.sessions
            .put(follower, Session { version, value }, bytes, now, lifetimes.session);
    }
}

impl Record {
    fn whole(&self) -> Vec<u8> {
        [&self.own[..self.own_length.into()], &self.rest].concat()
    }
}

impl Token {
    fn read(token: &str) -> Self {
        let random = token.get(1..).and_then(|digits| u128::from_str_radix(digits, 16).ok());
        Self {
            mark: token.bytes().next().unwrap_or_default(),
            random: random.unwrap_or_default().into(),
        }
    }

    fn is_ours(self) -> bool {
        char::from(self.mark) == TOKEN_MARK
    }
}

fn signature_key(account: &str, signature: &str) -> Key {
    digest(&[account, signature]).into()
}

fn fingerprint_key(fingerprint: &str) -> Key {
    digest(&[fingerprint]).into()
}

fn message_key(follower: &Follower, message: &str) -> Key {
    digest(&[&follower.account, &follower.pseudonym, message]).into()
}

fn follower_key(follower: &Follower) -> Key {
    follower_digest(follower).into()
}

pub(super) fn follower_digest(follower: &Follower) -> u128 {
    digest(&[&follower.account, &follower.pseudonym])
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

    const LIFETIMES: Lifetimes = Lifetimes {
        lease: Duration::from_secs(1),
        signature: Duration::from_secs(600),
        record: Duration::from_secs(30),
        session: Duration::from_secs(600),
    };

    async fn handle(store: &MemoryConversations, number: usize, record: &[u8]) -> Arrival {
        let arrival = Arrival {
            follower: Follower {
                account: "demo".to_owned(),
                pseudonym: number.to_string(),
            },
            message: "1".to_owned(),
            signature: number.to_string(),
            fingerprint: number.to_string(),
        };
        let Begun::Claimed { turn, .. } = store.begin(&arrival).await.unwrap() else {
            panic!("{number} is not to be had");
        };
        store.finish(&turn, record, SessionChange::Keep).await.unwrap();
        arrival
    }

    /// WeChat's last delivery may come 15 s after the first; 3,000 messages a second are twice the busiest we know.
    #[tokio::test]
    async fn records_outlive_the_deliveries_of_a_busy_service() {
        let store = MemoryConversations::new(LIFETIMES, Bounds::default(), Arc::new(|| Duration::ZERO));
        let record = |number: usize| {
            let answer = format!("answer {}", number % 250).repeat(200);
            [&number.to_be_bytes()[..], answer.as_bytes()].concat()
        };
        let first = handle(&store, 0, &record(0)).await;
        for number in 1..3_000 * 15 {
            handle(&store, number, &record(number)).await;
        }
        assert_eq!(store.begin(&first).await.unwrap(), Begun::Done(record(0)));
    }

    #[tokio::test]
    async fn sessions_are_given_up_while_others_have_the_store() {
        let store = MemoryConversations::new(LIFETIMES, Bounds::default(), Arc::new(|| Duration::ZERO));
        let (followers, written) = (1..=200_u128, std::cell::Cell::new(0));
        let write = |state: &mut State, follower: u128, value: &[u8]| {
            state.put_session(follower.into(), 1, value.to_vec(), Duration::ZERO, &LIFETIMES);
        };
        for follower in followers.clone() {
            write(&mut store.lock().0, follower, b"old");
        }
        let judge = |follower: u128| {
            let mut state = store.state.try_lock().expect("nobody waits for a judgement");
            if follower.is_multiple_of(10) {
                written.set(written.get() + 1);
                write(&mut state, follower, b"new");
            }
            !follower.is_multiple_of(7)
        };
        store.forget_sessions(judge).await;
        assert_eq!(written.get(), 20);
        let (state, now) = store.lock();
        for follower in followers {
            let expected: Option<&[u8]> = match (follower % 10, follower % 7) {
                (0, _) => Some(b"new"),
                (_, 0) => Some(b"old"),
                _ => None,
            };
            let left = state.sessions.get(follower.into(), now);
            assert_eq!(left.map(|session| &*session.value), expected, "{follower}");
        }
    }

    #[tokio::test]
    async fn records_that_share_nothing_make_room() {
        let bounds = Bounds {
            value_bytes: 100_000,
            ..Bounds::default()
        };
        let store = MemoryConversations::new(LIFETIMES, bounds, Arc::new(|| Duration::ZERO));
        let record = |number: usize| [&number.to_be_bytes()[..], number.to_string().repeat(1_000).as_bytes()].concat();
        let first = handle(&store, 0, &record(0)).await;
        let mut last = None;
        for number in 1..1_000 {
            last = Some(handle(&store, number, &record(number)).await);
        }
        assert!(store.lock().0.texts.bytes() <= bounds.value_bytes);
        assert!(matches!(store.begin(&first).await.unwrap(), Begun::Claimed { .. }));
        assert_eq!(store.begin(&last.unwrap()).await.unwrap(), Begun::Done(record(999)));
    }
}
