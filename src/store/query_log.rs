//! What was asked, on its way into the database.
//!
//! [`QueryRow`] is one question and what became of it; `sql` keeps them, and counts by day that outlive them. Writing is
//! never on the way of a reply: `bot` queues and batches.

use super::conversations::Follower;
use crate::bank::Channel;

/// Longest text that is kept, in characters; WeChat's are shorter.
pub const MAX_TEXT_CHARS: usize = 2_000;

/// One question and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryRow {
    /// Tells rows apart, over all instances; 32 hexadecimal digits.
    pub id: String,
    /// Who asked; the pseudonym is empty where nobody is known, as behind the search API.
    pub follower: Follower,
    #[expect(missing_docs, reason = "the type says it")]
    pub channel: Channel,
    /// As asked.
    pub text: String,
    /// What happened, as in logs: `answer`, `suggest`, `choice`, `none`, `rule`, …
    pub decision: &'static str,
    /// The entry that was answered with.
    pub entry: Option<String>,
    /// How sure the answer was, in steps of 1/10,000; `None`: nothing was ranked, or the follower chose.
    pub score: Option<u16>,
    /// From the message's arrival to its reply, µs.
    pub took_us: u64,
    /// Unix seconds.
    pub asked_at: i64,
}

impl QueryRow {
    /// The day in China (UTC+8) on which it was asked, since 1970-01-01.
    pub fn day(&self) -> i64 {
        day_of(self.asked_at)
    }
}

/// The day in China (UTC+8) of a moment (Unix seconds), since 1970-01-01.
pub fn day_of(moment: i64) -> i64 {
    const EAST: i64 = 8 * 3_600;
    (moment + EAST).div_euclid(86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight_in_china() {
        // 2026-11-26 00:00:00 +08:00.
        let midnight = 1_795_622_400;
        assert_eq!(day_of(midnight), day_of(midnight - 1) + 1);
        assert_eq!(day_of(midnight), day_of(midnight + 86_399));
        assert!(crate::bank::format::beijing::format(midnight).starts_with("2026-11-26"));
    }
}
