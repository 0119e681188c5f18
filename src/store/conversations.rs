//! The coarse port of the reply path: one call before a message is answered, one after.
//!
//! [`Conversations::begin`] claims the message, notes its signature and reads the follower's session in one round
//! trip; [`Conversations::finish`] keeps the reply and the session in one write. Values are opaque bytes: what they
//! mean, and whether to trust them, is `bot`'s business.

use super::StoreError;
use async_trait::async_trait;
use std::time::Duration;

/// One follower of one account.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Follower {
    /// The account's id in the configuration.
    pub account: String,
    /// The openid's pseudonym; an openid itself never reaches a store.
    pub pseudonym: String,
}

/// A message asking to be handled.
#[derive(Debug, Clone)]
pub struct Arrival {
    #[expect(missing_docs, reason = "the type says it")]
    pub follower: Follower,
    /// Recognises repeats of this message among the follower's; ASCII, at most 128 bytes.
    pub message: String,
    /// The signature that vouched for it; lowercase hex.
    pub signature: String,
    /// What was signed for: hex of the fingerprint of the parsed message.
    pub fingerprint: String,
}

/// How long things are kept. All are whole milliseconds, at least 1.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// A claim without news; then its holder counts as dead.
    pub lease: Duration,
    /// Seen signatures.
    pub signature: Duration,
    /// Replies, for repeats.
    pub record: Duration,
    /// Sessions, from the last message.
    pub session: Duration,
}

/// What [`Conversations::begin`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// The caller handles the message, alone, and ends with [`Conversations::finish`] or [`Conversations::release`].
    Claimed {
        /// Proof of the claim.
        turn: Turn,
        /// `None`: no session, or it has expired.
        session: Option<Vec<u8>>,
    },
    /// It was handled: the record kept for it.
    Done(Vec<u8>),
    /// Somebody is handling it, or an earlier message of the same follower; ask again shortly.
    Busy,
    /// The signature has been seen with another message: a forgery or a replay.
    Refused,
}

/// The right to handle one message of one follower, until the lease ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    #[expect(missing_docs, reason = "the type says it")]
    pub follower: Follower,
    /// As in [`Arrival::message`].
    pub message: String,
    /// Unguessable, one per claim.
    pub token: String,
    /// Version of the session that was read; 0: there was none. Rises by one with every write.
    pub session_version: u64,
}

/// What becomes of the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionChange {
    /// Left as it is (its expiry too).
    Keep,
    /// Replaced; it expires one session lifetime from now.
    Put(Vec<u8>),
    /// Removed.
    Delete,
}

/// What [`Conversations::finish`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finished {
    /// Record and session are kept, the claim is given back.
    Stored,
    /// The lease had ended and somebody else took the message over: their record stands, ours is dropped. Holds
    /// theirs when it is there already.
    Superseded(Option<Vec<u8>>),
}

/// Conversation state and repeat protection, shared by every instance on one back-end.
///
/// **Claims.** Of concurrent `begin`s for one message exactly one gets `Claimed`; while it holds the lease the others
/// get `Busy`, afterwards `Done`. A holder that neither finishes nor releases loses the claim when the lease ends.
/// **Turns.** One follower's messages are handled one at a time: `begin` for a second message is `Busy` (and claims
/// nothing) while the first is held. **Signatures.** The first message seen under a signature owns it for
/// [`Lifetimes::signature`]; the same fingerprint again passes, another is `Refused` and claims nothing. Signatures
/// are remembered per account, not per follower: nothing in a replayed request but the signature can be believed.
/// **Sessions.** Written only by the holder of the turn, and only if the version is still the one it read. An expired
/// session is absent. **Bounds.** Every back-end holds a bounded number of items and counts what it drops.
#[async_trait]
pub trait Conversations: Send + Sync {
    /// Claims `arrival` for the caller, or says why not.
    async fn begin(&self, arrival: &Arrival) -> Result<Begun, StoreError>;

    /// Keeps the reply record and the session, and gives the turn back.
    async fn finish(&self, turn: &Turn, record: &[u8], session: SessionChange) -> Result<Finished, StoreError>;

    /// Gives the turn back without a record: the next delivery starts afresh. Not holding it is not an error.
    async fn release(&self, turn: &Turn) -> Result<(), StoreError>;

    /// Notes a signature without a message (URL verification); `false`: seen with another fingerprint.
    async fn note_signature(&self, account: &str, signature: &str, fingerprint: &str) -> Result<bool, StoreError>;

    /// Removes the follower's session. Absent: not an error.
    async fn forget(&self, follower: &Follower) -> Result<(), StoreError>;
}
