//! What followers think of answers, on its way into the database.
//!
//! [`FeedbackRow`] is one word; `sql` keeps them. Writing is never on the way of a reply: `bot` queues and batches.

use super::conversations::{Follower, digest};

/// Longest comment that is kept, in characters; WeChat's texts are shorter.
pub const MAX_COMMENT_CHARS: usize = 2_000;

/// One follower's word on one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedbackRow {
    #[expect(missing_docs, reason = "the type says it")]
    pub follower: Follower,
    /// The entry that was answered with.
    pub entry: String,
    /// The key of the message it answered; empty: unknown, so that it is about the last answer judged before.
    pub message: String,
    /// How sure the answer was, in steps of 1/10,000; `None`: the follower chose the entry.
    pub score: Option<u16>,
    #[expect(missing_docs, reason = "the type says it")]
    pub word: Word,
    /// Unix seconds.
    pub given_at: i64,
}

/// What was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// 有用.
    Useful,
    /// 没用.
    Useless,
    /// What was wrong, in the follower's words.
    Comment(String),
}

impl FeedbackRow {
    /// The same for everything one follower says about one answer; 32 hexadecimal digits.
    pub fn id(&self) -> String {
        let Follower { account, pseudonym } = &self.follower;
        format!("{:032x}", digest(&[account, pseudonym, &self.entry, &self.message]))
    }
}
