//! Retrieval: from a follower's question to ranked, calibrated hits in the bank.
//!
//! [`Index::search`] is the entry point; [`Matches::decide`] turns its result into answer, list or silence. Pure and
//! infallible: nothing here reads a clock, a file or a network. Same bank and query, same hits, on every machine.

mod effort;
pub mod text;
pub mod numerals;
pub mod pinyin;
pub mod tokenizer;
pub mod vocabulary;
pub mod sounding;
pub mod spelling;
pub mod postings;
pub mod drafts;
pub mod segment;
pub mod candidates;
pub mod features;
pub mod ranking;
pub mod confidence;
pub mod index;
pub mod following;
mod categories;
pub mod popularity;
pub mod suggest;
pub mod grouping;
pub mod trace;
pub mod metrics;
pub mod reliability;
pub mod replay;

pub use confidence::{Decision, Thresholds};
pub use following::FollowUp;
pub use index::{Change, Index, Scope, Stage};
pub use popularity::Popularity;
pub use suggest::Suggestion;
pub use tokenizer::{Analyzer, Cut};
pub use trace::Trace;

use crate::bank::Entry;
use std::sync::Arc;

/// A matched entry.
#[derive(Debug, Clone)]
pub struct Hit {
    /// The entry as it stands in the snapshot that was searched.
    pub entry: Arc<Entry>,
    /// Calibrated confidence that this entry answers the query.
    pub score: Score,
    /// The phrasing that matched: 0 is the question, n the n-th similar question.
    pub phrasing: u16,
}

/// Confidence in 0–1, kept in steps of 1/10,000 so that order and equality are the same on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Score(u16);

impl Score {
    /// Certainty: the query is one of the entry's phrasings.
    pub const EXACT: Self = Self(10_000);

    /// Rounds to the nearest step; what lies outside 0–1, or is not a number, is moved inside.
    pub fn new(confidence: f64) -> Self {
        Self((confidence.clamp(0.0, 1.0) * 10_000.0 + 0.5) as u16)
    }

    /// From steps of 1/10,000; more than 10,000 are 10,000.
    pub fn from_steps(steps: u16) -> Self {
        Self(steps.min(10_000))
    }

    /// Steps of 1/10,000.
    pub fn steps(self) -> u16 {
        self.0
    }

    /// As a number in 0–1.
    pub fn get(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }
}

/// The result of one search: at most `k` hits, best first, each entry once; by score, then priority, then id.
#[derive(Debug, Clone, Default)]
pub struct Matches {
    #[expect(missing_docs, reason = "said above")]
    pub hits: Vec<Hit>,
    /// How sure it is that the best hit answers the query, among what else is like it; what answering is decided by. 0: there
    /// is none.
    pub sure: Score,
    /// Why the best hit must not be answered directly however sure it is; `None`: nothing.
    pub guard: Option<Guard>,
}

/// Reasons to show a list instead of answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// Query and entry hold different members of a contrast group, or different digits.
    Contrast,
    /// The runner-up is as good and has another answer.
    CloseSecond,
    /// Bare key words.
    KeywordOnly,
    /// Bare key words that the entry has, all of them: they name a subject.
    Subject,
    /// Fewer than two informative characters.
    TooShort,
}
