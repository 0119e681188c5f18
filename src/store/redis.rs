//! Conversations, cached matches and access tokens in Redis, shared by every instance.
//!
//! [`RedisConversations::begin`] is one round trip: the signature (`SET NX`, read back) and the claim (a script) travel
//! in one write, in a cluster side by side; [`RedisConversations::finish`] is one script. Claim, turn and session of a
//! follower share a hash tag; signatures have one per account and signature, because nothing else in a replayed request
//! can be believed. Works with Redis 5 and later. What is read back is checked and never trusted; every script echoes its token, so that a
//! reply meant for another request is noticed. Deadlines and what to do without Redis are `fallback`'s.

mod access_tokens;
mod announcements;
mod open_work;
mod link;
mod servers;
mod shards;
mod connection;

pub use access_tokens::RedisAccessTokens;
pub use announcements::Subscription;
pub use link::Link;
pub use open_work::{RedisOpenWork, WallClock};
pub use servers::Servers;

use super::StoreError;
use super::conversations::{
    Arrival, Begun, Conversations, Finished, Follower, Lifetimes, SessionChange, Turn, check_lengths, digest,
    fresh_token, signature_tag,
};
use super::fallback::Upstream;
use super::match_cache::{MAX_MATCH_BYTES, MatchCache, MatchKey};
use async_trait::async_trait;
use link::refusal;
use redis::{Cmd, Pipeline, Script, Value};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

/// First character of the tokens given here.
const TOKEN_MARK: char = 'r';

/// Claims that may have been made without our knowing; beyond, the lease alone ends them.
const MAX_OWED_RELEASES: usize = 64;

/// The longest value of a signature's key that can be ours: a mark and a fingerprint.
const MAX_FINGERPRINT_BYTES: usize = 256;

const BEGIN: &str = concat!(include_str!("redis/prelude.lua"), include_str!("redis/begin.lua"));
const FINISH: &str = concat!(include_str!("redis/prelude.lua"), include_str!("redis/finish.lua"));
const RENEW: &str = concat!(include_str!("redis/prelude.lua"), include_str!("redis/renew.lua"));
const RELEASE: &str = concat!(include_str!("redis/prelude.lua"), include_str!("redis/release.lua"));

const FORGET: &str = concat!(include_str!("redis/prelude.lua"), include_str!("redis/forget.lua"));

static BEGIN_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(BEGIN));
static FINISH_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(FINISH));
static RENEW_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(RENEW));
static RELEASE_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(RELEASE));
static FORGET_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(FORGET));

/// Every script that is asked for by its hash.
const SCRIPTS: &[&str] = &[
    BEGIN,
    FINISH,
    RENEW,
    RELEASE,
    FORGET,
    access_tokens::GET,
    access_tokens::LOCK,
    access_tokens::PUT,
    access_tokens::EXPIRE,
];

/// Reads the `url` of one server and prepares a connection that everything kept here shares; connects to nothing yet.
/// See [`Link::open`].
pub fn open(url: &str, prefix: &str, deadline: Duration) -> Result<Arc<Link>, StoreError> {
    Link::open(&Servers::Standalone(url.to_owned()), prefix, deadline).map(Arc::new)
}

/// [`Conversations`] of every instance on one Redis.
pub struct RedisConversations {
    link: Arc<Link>,
    lifetimes: Lifetimes,
    owed_releases: Mutex<Vec<Turn>>,
}

impl RedisConversations {
    /// Conversations over `link`, which need not be reachable yet.
    pub fn new(link: Arc<Link>, lifetimes: Lifetimes) -> Self {
        Self {
            link,
            lifetimes,
            owed_releases: Mutex::default(),
        }
    }

    /// Opens a connection of its own and tries it.
    ///
    /// # Errors
    /// The URL cannot be read, or the server does not take a write.
    pub async fn connect(url: &str, prefix: &str, lifetimes: Lifetimes) -> Result<Self, StoreError> {
        let link = open(url, prefix, super::fallback::Patience::default().deadline)?;
        link.probe().await?;
        Ok(Self::new(link, lifetimes))
    }

    fn signature_key(&self, account: &str, signature: &str) -> String {
        self.link.key(&format!("sig:{{{}}}", signature_tag(account, signature)))
    }

    fn turn_key(&self, follower: &Follower) -> String {
        self.link.key(&format!("turn:{{{}}}", follower.tag()))
    }

    fn session_key(&self, follower: &Follower) -> String {
        self.link.key(&format!("session:{{{}}}", follower.tag()))
    }

    fn recent_key(&self, follower: &Follower) -> String {
        self.link.key(&format!("recent:{{{}}}", follower.tag()))
    }

    /// What the claims of a follower's messages begin with.
    fn claim_prefix(&self, follower: &Follower) -> String {
        self.link.key(&format!("claim:{{{}}}:", follower.tag()))
    }

    /// An event's id may hold what a follower scanned, so the key holds its digest.
    fn claim_key(&self, follower: &Follower, message: &str) -> String {
        format!("{}{:032x}", self.claim_prefix(follower), digest(&[message]))
    }

    fn note_command(&self, key: &str, fingerprint: &str) -> Cmd {
        let mut set = redis::cmd("SET");
        set.arg(key)
            .arg(format!("S{fingerprint}"))
            .arg("PX")
            .arg(self.lifetimes.signature.as_millis() as u64);
        set
    }

    /// Adds what notes a signature unless it is known, and what reads whose it is.
    fn add_signature(&self, commands: &mut Pipeline, key: &str, fingerprint: &str) {
        let mut set = self.note_command(key, fingerprint);
        set.arg("NX");
        commands.add_command(set);
        commands.cmd("GETRANGE").arg(key).arg(0).arg(MAX_FINGERPRINT_BYTES);
    }

    /// Whether the signature is `fingerprint`'s, from what `GETRANGE` answered. A value of another making is replaced.
    async fn judge_signature(&self, owner: &Value, key: &str, fingerprint: &str) -> Result<bool, StoreError> {
        match owner {
            Value::BulkString(owner) => match owner.strip_prefix(b"S") {
                Some(owner) if owner == fingerprint.as_bytes() => return Ok(true),
                Some(owner) if !owner.is_empty() && owner.len() < MAX_FINGERPRINT_BYTES => return Ok(false),
                _ => {}
            },
            Value::ServerError(error) if error.code() == "WRONGTYPE" => {}
            other => return Err(self.link.nonsense(other)),
        }
        self.link.run(&only(self.note_command(key, fingerprint))).await?;
        Ok(true)
    }

    fn release_command(&self, turn: &Turn) -> Cmd {
        let mut release = evalsha(&RELEASE_SCRIPT, 2);
        release
            .arg(self.claim_key(&turn.follower, &turn.message))
            .arg(self.turn_key(&turn.follower))
            .arg(&turn.token);
        release
    }

    fn add_turn_keys(&self, script: &mut Cmd, turn: &Turn) {
        script
            .arg(self.claim_key(&turn.follower, &turn.message))
            .arg(self.turn_key(&turn.follower))
            .arg(self.session_key(&turn.follower));
    }
}

#[async_trait]
impl Conversations for RedisConversations {
    async fn begin(&self, arrival: &Arrival) -> Result<Begun, StoreError> {
        let mut turn = Turn {
            follower: arrival.follower.clone(),
            message: arrival.message.clone(),
            token: fresh_token(TOKEN_MARK),
            session_version: 0,
        };
        let signature_key = self.signature_key(&arrival.follower.account, &arrival.signature);
        let mut owed = Owed::take(&self.owed_releases);
        let is_of_another = |turn: &Turn| turn.follower != arrival.follower;
        let (mut parts, mut own) = (Vec::new(), Pipeline::new());
        owed.turns.sort_by_key(|turn| !is_of_another(turn));
        for earlier in &owed.turns {
            if is_of_another(earlier) {
                parts.push(only(self.release_command(earlier)));
            } else {
                own.add_command(self.release_command(earlier));
            }
        }
        let mut signature = Pipeline::new();
        self.add_signature(&mut signature, &signature_key, &arrival.fingerprint);
        let mut begin = evalsha(&BEGIN_SCRIPT, 3);
        self.add_turn_keys(&mut begin, &turn);
        begin.arg(&turn.token).arg(self.lifetimes.lease.as_millis() as u64);
        own.add_command(begin);
        parts.extend([signature, own]);

        owed.turns.push(turn.clone());
        let mut answers = self.link.run_side_by_side(&parts).await?;
        let [own, signature] = [answers.pop(), answers.pop()];
        let mut released = answers.iter().map(Result::is_ok);
        owed.turns.retain(|_| !released.next().unwrap_or(false));
        let still_owed = owed.turns.iter().filter(|turn| is_of_another(turn)).count();
        let (Some(own), Some(signature)) = (own.transpose()?, signature.transpose()?) else {
            return Err(self.link.distrust("answers are missing"));
        };
        let ([.., begun], [.., owner]) = (own.as_slice(), signature.as_slice()) else {
            return Err(self.link.distrust("answers are missing"));
        };
        let begun = match self.link.parts(begun, &turn.token)?.as_slice() {
            [b"claimed", version, session] => {
                turn.session_version = std::str::from_utf8(version)
                    .ok()
                    .and_then(|version| version.parse().ok())
                    .ok_or_else(|| self.link.distrust("a session's version is no number"))?;
                let session = (turn.session_version > 0).then(|| session.to_vec());
                Begun::Claimed {
                    turn: turn.clone(),
                    session,
                }
            }
            [b"done", record] => Begun::Done(record.to_vec()),
            [b"busy"] => Begun::Busy,
            [b"occupied"] => Begun::Occupied,
            _ => return Err(self.link.distrust("a claim was answered with something else")),
        };
        let is_ours = self
            .judge_signature(owner, &signature_key, &arrival.fingerprint)
            .await?;
        owed.turns.truncate(still_owed);
        if is_ours {
            return Ok(begun);
        }
        if matches!(begun, Begun::Claimed { .. }) {
            self.release(&turn).await?;
        }
        Ok(Begun::Refused)
    }

    async fn finish(&self, turn: &Turn, record: &[u8], session: SessionChange) -> Result<Finished, StoreError> {
        check_lengths("redis", record, &session)?;
        let (change, value) = match &session {
            SessionChange::Keep => ("keep", [].as_slice()),
            SessionChange::Put(value) => ("put", value.as_slice()),
            SessionChange::Delete => ("delete", [].as_slice()),
        };
        let mut finish = evalsha(&FINISH_SCRIPT, 4);
        self.add_turn_keys(&mut finish, turn);
        finish
            .arg(self.recent_key(&turn.follower))
            .arg(&turn.token)
            .arg(turn.session_version)
            .arg(record)
            .arg(self.lifetimes.record.as_millis() as u64)
            .arg(change)
            .arg(value)
            .arg(self.lifetimes.session.as_millis() as u64)
            .arg(self.claim_prefix(&turn.follower));
        let replies = self.link.run(&only(finish)).await?;
        match self
            .link
            .parts(replies.first().unwrap_or(&Value::Nil), &turn.token)?
            .as_slice()
        {
            [b"stored"] => Ok(Finished::Stored),
            [b"superseded"] => Ok(Finished::Superseded(None)),
            [b"superseded", record] => Ok(Finished::Superseded(Some(record.to_vec()))),
            _ => Err(self.link.distrust("a finished turn was answered with something else")),
        }
    }

    async fn renew(&self, turn: &Turn) -> Result<bool, StoreError> {
        let mut renew = evalsha(&RENEW_SCRIPT, 2);
        renew
            .arg(self.claim_key(&turn.follower, &turn.message))
            .arg(self.turn_key(&turn.follower))
            .arg(&turn.token)
            .arg(self.lifetimes.lease.as_millis() as u64);
        let replies = self.link.run(&only(renew)).await?;
        match self
            .link
            .parts(replies.first().unwrap_or(&Value::Nil), &turn.token)?
            .as_slice()
        {
            [b"held"] => Ok(true),
            [b"lost"] => Ok(false),
            _ => Err(self.link.distrust("a renewal was answered with something else")),
        }
    }

    async fn release(&self, turn: &Turn) -> Result<(), StoreError> {
        let mut owed = Owed {
            list: &self.owed_releases,
            turns: vec![turn.clone()],
        };
        let replies = self.link.run(&only(self.release_command(turn))).await?;
        self.link.parts(replies.first().unwrap_or(&Value::Nil), &turn.token)?;
        owed.turns.clear();
        Ok(())
    }

    async fn note_signature(&self, account: &str, signature: &str, fingerprint: &str) -> Result<bool, StoreError> {
        let key = self.signature_key(account, signature);
        let mut commands = Pipeline::new();
        self.add_signature(&mut commands, &key, fingerprint);
        match self.link.run(&commands).await?.as_slice() {
            [_, owner] => self.judge_signature(owner, &key, fingerprint).await,
            _ => Err(self.link.distrust("answers are missing")),
        }
    }

    async fn forget(&self, follower: &Follower) -> Result<(), StoreError> {
        let mark = fresh_token(TOKEN_MARK);
        let mut forget = evalsha(&FORGET_SCRIPT, 2);
        forget
            .arg(self.session_key(follower))
            .arg(self.recent_key(follower))
            .arg(&mark)
            .arg(self.claim_prefix(follower));
        let replies = self.link.run(&only(forget)).await?;
        let reply = replies.first().unwrap_or(&Value::Nil);
        self.link.parts(reply, &mark).map(drop)
    }
}

/// Turns that a request may leave claimed in Redis though nobody holds them: it was cut short, and a server that hung
/// runs it once it wakes. Unless settled, they go (back) to the list on drop, and the next `begin` releases them.
struct Owed<'l> {
    list: &'l Mutex<Vec<Turn>>,
    turns: Vec<Turn>,
}

impl<'l> Owed<'l> {
    fn take(list: &'l Mutex<Vec<Turn>>) -> Self {
        let turns = std::mem::take(&mut *list.lock().unwrap_or_else(PoisonError::into_inner));
        Self { list, turns }
    }
}

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MAX_OWED_RELEASES.saturating_sub(list.len());
        let dropped = self.turns.len().saturating_sub(room);
        if dropped > 0 {
            metrics::counter!("wxfaq_store_dropped_total", "store" => "redis", "item" => "release")
                .increment(dropped as u64);
        }
        list.extend(self.turns.drain(..).take(room));
    }
}

/// [`MatchCache`] of every instance on one Redis.
pub struct RedisMatchCache {
    link: Arc<Link>,
    lifetime: Duration,
}

impl RedisMatchCache {
    /// A cache over `link`; an entry is kept for `lifetime`.
    pub fn new(link: Arc<Link>, lifetime: Duration) -> Self {
        Self { link, lifetime }
    }

    fn key(&self, key: &MatchKey) -> String {
        self.link.key(&format!("match:{{{}}}", key.tag()))
    }
}

#[async_trait]
impl MatchCache for RedisMatchCache {
    async fn get(&self, key: &MatchKey) -> Result<Option<Vec<u8>>, StoreError> {
        let mark = key.digest().to_be_bytes();
        let mut commands = Pipeline::new();
        commands
            .cmd("GETRANGE")
            .arg(self.key(key))
            .arg(0)
            .arg(mark.len() + MAX_MATCH_BYTES);
        let replies = self.link.run(&commands).await?;
        match replies.as_slice() {
            [Value::BulkString(stored)] if stored.len() <= mark.len() + MAX_MATCH_BYTES => {
                // The mark tells this entry from one that another request asked for, and from what others planted.
                Ok(stored.strip_prefix(&mark).map(<[u8]>::to_vec))
            }
            [Value::BulkString(_) | Value::ServerError(_)] => Ok(None),
            _ => Err(self.link.distrust("a cached match has the wrong shape")),
        }
    }

    async fn put(&self, key: &MatchKey, value: &[u8]) -> Result<(), StoreError> {
        if value.len() > MAX_MATCH_BYTES {
            return Ok(());
        }
        let stored = [&key.digest().to_be_bytes(), value].concat();
        let mut commands = Pipeline::new();
        commands
            .cmd("SET")
            .arg(self.key(key))
            .arg(stored)
            .arg("PX")
            .arg(self.lifetime.as_millis() as u64);
        match self.link.run(&commands).await?.as_slice() {
            [Value::Okay] => Ok(()),
            [Value::ServerError(error)] => Err(refusal(error)),
            _ => Err(self.link.distrust("a write was answered with something else")),
        }
    }
}

fn evalsha(script: &Script, keys: usize) -> Cmd {
    let mut command = redis::cmd("EVALSHA");
    command.arg(script.get_hash()).arg(keys);
    command
}

fn only(command: Cmd) -> Pipeline {
    let mut commands = Pipeline::new();
    commands.add_command(command);
    commands
}
