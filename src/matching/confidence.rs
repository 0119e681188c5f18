//! From scores to a decision.

use super::index::Candidate;
use super::tokenizer::Analysis;
use super::{Analyzer, Guard, Matches, Score};

/// Where answering and showing begin. Both in 0–1; `suggest` ≤ `answer`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// From here on the best hit is answered directly.
    pub answer: f64,
    /// From here on hits are shown as a list.
    pub suggest: f64,
}

/// What a search amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// The best hit answers.
    Answer,
    /// Hits at or above the lower threshold are offered as a list.
    Suggest,
    /// The bank does not know.
    None,
}

impl Matches {
    /// What these matches amount to.
    pub fn decide(&self, thresholds: Thresholds) -> Decision {
        let best = self.hits.first().map_or(0.0, |hit| hit.score.get());
        match best {
            _ if self.hits.is_empty() => Decision::None,
            _ if best >= thresholds.answer && self.guard.is_none() => Decision::Answer,
            _ if best >= thresholds.suggest => Decision::Suggest,
            _ => Decision::None,
        }
    }
}

pub(super) fn calibrate(raw: f64) -> Score {
    Score::new(1.0 / (1.0 + (-raw + 8.0).exp()))
}

pub(super) fn guard(query: &Analysis, candidates: &[Candidate], analyzer: &Analyzer) -> Option<Guard> {
    let _ = (query, candidates, analyzer);
    None
}
