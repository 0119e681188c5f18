//! The coarse port of the reply path: one call before a message is answered, one after.
//!
//! [`Conversations::begin`] claims the message, notes its signature and reads the follower's session in one round
//! trip; [`Conversations::finish`] keeps the reply and the session in one write. Values are opaque bytes: what they
//! mean, and whether to trust them, is `bot`'s business.

use super::StoreError;
use async_trait::async_trait;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// The longest record or session a back-end keeps, in bytes. A longer one is refused, and nothing changes.
pub const MAX_VALUE_BYTES: usize = 64 * 1024;

/// A record's first bytes that are its message's own; a back-end may keep the rest once for all records that share it.
pub const OWN_BYTES: usize = 8;

/// One follower of one account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Follower {
    /// The account's id in the configuration.
    pub account: String,
    /// The openid's pseudonym; an openid itself never reaches a store.
    pub pseudonym: String,
}

impl Follower {
    /// What everything of theirs is filed under in the shared store, so that it stays in one place.
    pub(super) fn tag(&self) -> String {
        format!("{}:{}", self.account, self.pseudonym)
    }
}

/// What a signature is filed under: not what its message says, which nobody vouches for.
pub(super) fn signature_tag(account: &str, signature: &str) -> String {
    format!("{account}:{signature}")
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
    /// Somebody is handling it; ask again shortly for the record.
    Busy,
    /// Somebody is handling an earlier message of the same follower; ask again shortly.
    Occupied,
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
    /// Unguessable, one per claim; 33 ASCII characters, the first tells which back-end gave it.
    pub token: String,
    /// Version of the session that was read; 0: there was none. Rises by one with every write, and starts again when
    /// the session is gone.
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
    /// The lease had ended, and somebody else may have taken the message over: their record stands, ours and the
    /// session are dropped. Holds theirs when it is there already.
    Superseded(Option<Vec<u8>>),
}

/// Conversation state and repeat protection, shared by every instance on one back-end.
///
/// **Claims.** Of concurrent `begin`s for one message exactly one gets `Claimed`; while it holds the lease the others
/// get `Busy`, afterwards `Done`. A holder that neither finishes, renews nor releases loses the claim when the lease
/// ends. **Turns.** One follower's messages are handled one at a time: `begin` for a second message is `Occupied` (and
/// claims nothing) while the first is held. **Signatures.** The first message seen under a signature owns it for
/// [`Lifetimes::signature`]; the same fingerprint again passes, another is `Refused` and claims nothing. Signatures
/// are remembered per account, not per follower: nothing in a replayed request but the signature can be believed.
/// **Sessions.** Written only by the holder of the turn, and only if the version is still the one it read; otherwise the
/// record alone is kept: a session that was forgotten meanwhile stays forgotten. An expired session is absent.
/// **Repeated calls.** A second `finish` of one turn answers `Stored` and changes nothing. **Garbage.** What a back-end
/// finds under its keys that it did not write counts as absent and is replaced. **Bounds.** Every back-end holds a
/// bounded number of items and counts what it drops.
#[async_trait]
pub trait Conversations: Send + Sync {
    /// Claims `arrival` for the caller, or says why not.
    async fn begin(&self, arrival: &Arrival) -> Result<Begun, StoreError>;

    /// As [`Conversations::begin`], but an error where no other instance could know of the claim: for what must not be
    /// done by two that cannot see each other.
    async fn begin_for_all(&self, arrival: &Arrival) -> Result<Begun, StoreError> {
        self.begin(arrival).await
    }

    /// Keeps the reply record and the session, and gives the turn back.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] also when the record or the session is longer than [`MAX_VALUE_BYTES`].
    async fn finish(&self, turn: &Turn, record: &[u8], session: SessionChange) -> Result<Finished, StoreError>;

    /// As [`Conversations::finish`], but an error where no other instance could know of the end. Then nobody can say
    /// whether the turn has ended: whoever begins again is told.
    async fn finish_for_all(&self, turn: &Turn, record: &[u8], session: SessionChange) -> Result<Finished, StoreError> {
        self.finish(turn, record, session).await
    }

    /// Holds the turn for one more lease from now; `false`, and nothing changes: it is finished or lost.
    async fn renew(&self, turn: &Turn) -> Result<bool, StoreError>;

    /// Gives the turn back without a record: the next delivery starts afresh. Not holding it is not an error.
    async fn release(&self, turn: &Turn) -> Result<(), StoreError>;

    /// Notes a signature without a message (URL verification); `false`: seen with another fingerprint.
    async fn note_signature(&self, account: &str, signature: &str, fingerprint: &str) -> Result<bool, StoreError>;

    /// Removes the follower's session, and empties the records of their messages (in Redis the last 64). Absent: not an
    /// error.
    async fn forget(&self, follower: &Follower) -> Result<(), StoreError>;
}

/// A token nobody can guess, marked with the back-end that gives it.
pub(super) fn fresh_token(back_end: char) -> String {
    let mut random = [0; 16];
    getrandom::fill(&mut random).expect("the operating system hands out randomness");
    format!("{back_end}{:032x}", u128::from_be_bytes(random))
}

/// The first half of the SHA-256 of `parts`, which differ from every other list of parts.
///
/// Stands for texts of any length and alphabet in keys: even forged ones cannot be made to collide.
pub(super) fn digest(parts: &[&str]) -> u128 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let hash: [u8; 32] = hash.finalize().into();
    u128::from_be_bytes(*hash.first_chunk().expect("16 of 32 bytes"))
}

/// Refuses what is longer than [`MAX_VALUE_BYTES`].
pub(super) fn check_lengths(backend: &'static str, record: &[u8], session: &SessionChange) -> Result<(), StoreError> {
    let session = if let SessionChange::Put(session) = session {
        session.len()
    } else {
        0
    };
    let longest = record.len().max(session);
    if longest <= MAX_VALUE_BYTES {
        return Ok(());
    }
    Err(StoreError::Unavailable {
        backend,
        reason: format!("{longest} bytes are over the limit of {MAX_VALUE_BYTES}"),
    })
}
