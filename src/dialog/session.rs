//! What is remembered of one follower between two messages.

use crate::bank::EntryId;
use serde::{Deserialize, Serialize};

/// The state of one conversation. A fresh one is the default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// The entries of the list that numbers refer to, best first; empty: no list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offer: Vec<EntryId>,
    /// So many of them have been shown; at most the list's length.
    #[serde(default)]
    pub shown: usize,
    /// What is left of a long answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<String>,
    /// What was answered last: the topic of a short follow-up, and what a verdict is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<Answered>,
    /// Whether something else has been said since: then a typed verdict is not about the answer.
    #[serde(default, skip_serializing_if = "is_false")]
    pub moved_on: bool,
    /// Questions in a row that the bank did not know.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub misses: u8,
    /// Whether the next text says why the answer was of no use, unless it is a question.
    #[serde(default, skip_serializing_if = "is_false")]
    pub awaits_comment: bool,
}

/// An answer that was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answered {
    #[expect(missing_docs, reason = "the type says it")]
    pub entry: EntryId,
    /// In steps of 1/10,000; `None`: the follower chose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<u16>,
    /// The key of the message it answered; empty: unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(count: &u8) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Session {
    /// Whether nothing is remembered.
    pub fn is_fresh(&self) -> bool {
        *self == Self::default()
    }

    /// After one more question that the bank does not know.
    #[must_use]
    pub fn missed(self) -> Self {
        Self {
            misses: self.misses.saturating_add(1),
            moved_on: true,
            awaits_comment: false,
            ..self
        }
    }

    /// What a typed verdict is about.
    pub fn judgeable(&self) -> Option<&Answered> {
        self.answered.as_ref().filter(|_| !self.moved_on)
    }

    /// Whether 更多 has something to show.
    pub fn has_more(&self) -> bool {
        self.rest.is_some() || self.shown < self.offer.len()
    }

    /// Reads a stored session; `None` when it is not one.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let session: Self = serde_json::from_slice(bytes).ok()?;
        (session.shown <= session.offer.len()).then_some(session)
    }

    /// For the store.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_survives_the_store() {
        let id = EntryId::parse("a").unwrap();
        let session = Session {
            offer: vec![id],
            shown: 1,
            rest: Some("…".into()),
            answered: Some(Answered {
                entry: EntryId::parse("b").unwrap(),
                score: Some(9_000),
                message: "message:1".into(),
            }),
            moved_on: true,
            misses: 1,
            awaits_comment: true,
        };
        assert_eq!(Session::from_bytes(&session.to_bytes()), Some(session));
    }

    #[test]
    fn nonsense_is_no_session() {
        for bytes in [
            &b""[..],
            b"{",
            b"7",
            b"{\"shown\":3}",
            b"{\"offer\":[\"../x\"]}",
            b"\xff",
        ] {
            assert_eq!(Session::from_bytes(bytes), None);
        }
    }
}
