//! What is remembered of a follower beside the conversation: answers looked for and answers waiting (pure).
//!
//! [`Remembered`] is what the store keeps under a session. While nothing is late it is the session alone, byte for byte.

use super::windows::Windows;
use crate::dialog::Session;
use crate::dialog::late::{FileAnswer, Finding};
use serde::{Deserialize, Serialize};

/// Answers of one follower that are looked for or waiting.
pub const MOST: usize = 3;
/// Longest question that is kept, in bytes.
pub const MOST_QUESTION_BYTES: usize = 2 * 1024;

/// A session with what is late.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remembered {
    pub session: Session,
    pub late: LateState,
}

/// What is late. In the order of the questions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LateState {
    entries: Vec<Entry>,
    /// Leave to send customer-service messages; kept for accounts that may.
    #[serde(default)]
    pub windows: Windows,
}

/// One late answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Of the message that asked.
    pub key: String,
    /// For whoever takes the work over.
    pub question: String,
    /// `None`: still looked for.
    pub finding: Option<Finding>,
    /// The answer that is known and whose file WeChat is given; `None`: a source is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileAnswer>,
}

impl Remembered {
    /// Reads what a store has kept; nonsense is nothing.
    pub fn from_bytes(bytes: Option<&[u8]>) -> Self {
        let Some(bytes) = bytes else {
            return Self::default();
        };
        if let Some(session) = Session::from_bytes(bytes) {
            let late = LateState::default();
            return Self { session, late };
        }
        let read: Option<Self> = serde_json::from_slice(bytes).ok();
        // The session on its own knows what a session may be.
        read.filter(|read| Session::from_bytes(&read.session.to_bytes()).is_some())
            .unwrap_or_default()
    }

    /// For the store.
    pub fn to_bytes(&self) -> Vec<u8> {
        if self.late.is_empty() {
            return self.session.to_bytes();
        }
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Whether nothing is remembered.
    pub fn is_fresh(&self) -> bool {
        *self == Self::default()
    }
}

impl LateState {
    /// The first that is ready, taken out.
    pub fn take_ready(&mut self) -> Option<(Entry, Finding)> {
        let at = self.entries.iter().position(|entry| entry.finding.is_some())?;
        let mut entry = self.entries.remove(at);
        let finding = entry.finding.take()?;
        Some((entry, finding))
    }

    /// Those still looked for.
    pub fn pending(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.finding.is_none())
    }

    /// The messages that asked.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.key.as_str())
    }

    /// Whether nothing is late, and no leave to send is remembered.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether there is room for one more.
    pub fn has_room(&self) -> bool {
        self.entries.len() < MOST
    }

    /// Notes that the answer to `question` is looked for, or that `file` is on its way to WeChat.
    pub fn add(&mut self, key: &str, question: &str, file: Option<FileAnswer>) {
        if !self.entries.iter().any(|entry| entry.key == key) {
            self.entries.push(Entry {
                key: key.to_owned(),
                question: question.to_owned(),
                finding: None,
                file,
            });
        }
    }

    /// Takes out what is looked for under `key`; `None`: somebody has told it, or the follower is forgotten.
    pub fn take_pending(&mut self, key: &str) -> Option<Entry> {
        let at = self
            .entries
            .iter()
            .position(|entry| entry.key == key && entry.finding.is_none())?;
        Some(self.entries.remove(at))
    }

    /// Lets what was found under `key` wait for the follower's next message; `false`, and nothing changes: it is not
    /// looked for any more.
    pub fn ready(&mut self, key: &str, finding: Finding) -> bool {
        let mut pending = self.entries.iter_mut().filter(|entry| entry.finding.is_none());
        let entry = pending.find(|entry| entry.key == key);
        entry.map(|entry| entry.finding = Some(finding)).is_some()
    }

    /// Lets `finding`, or what is left of it, wait before all others. Should there be too many, the last goes.
    pub fn put_back(&mut self, key: &str, question: &str, finding: Finding) {
        let rest = Entry {
            key: key.to_owned(),
            question: question.to_owned(),
            finding: Some(finding),
            file: None,
        };
        self.entries.insert(0, rest);
        self.entries.truncate(MOST + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_without_late_answers_is_stored_as_ever() {
        let session = Session {
            rest: Some("…".into()),
            ..Session::default()
        };
        let remembered = Remembered::from_bytes(Some(&session.to_bytes()));
        assert_eq!(remembered.session, session);
        assert_eq!(remembered.to_bytes(), session.to_bytes());
        assert!(Remembered::from_bytes(None).is_fresh() && Remembered::from_bytes(Some(b"{")).is_fresh());
        assert!(Remembered::from_bytes(Some(br#"{"session":{"shown":3},"late":{"entries":[]}}"#)).is_fresh());
    }

    #[test]
    fn an_answer_is_looked_for_then_waits_and_is_told_once() {
        let mut remembered = Remembered::default();
        remembered.late.add("1", "问", None);
        remembered.late.add("1", "问", None);
        let mut remembered = Remembered::from_bytes(Some(&remembered.to_bytes()));
        assert_eq!(remembered.late.pending().count(), 1);
        assert_eq!(remembered.late.take_ready(), None);
        assert!(!remembered.late.ready("2", Finding::Cut));
        assert!(remembered.late.ready("1", Finding::Cut));
        let mut remembered = Remembered::from_bytes(Some(&remembered.to_bytes()));
        assert_eq!(remembered.late.take_pending("1"), None, "it is no longer looked for");
        let (entry, finding) = remembered.late.take_ready().unwrap();
        assert_eq!((entry.key.as_str(), finding), ("1", Finding::Cut));
        assert_eq!(remembered.late.take_ready(), None);
        assert!(remembered.is_fresh());
    }
}
