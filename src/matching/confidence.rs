//! Confidence: from scores to a decision, and the reasons not to answer directly.
//!
//! [`calibrate`] turns a score into confidence by [`POINTS`], [`Sureness`] says how much that of the first hit is worth
//! among its rivals, `guard` looks for a reason to show a list, and [`Matches::decide`] puts all of it together. These are
//! no probabilities of one hit but promises about all of them: of what is answered, surer than 0.8, nearly 95 % is right; of what
//! is shown at or above 0.6, a right entry is among the shown in 80 %.

use super::index::Candidate;
use super::tokenizer::{Analysis, Analyzer};
use super::{Guard, Matches, Score};

/// Where answering and showing begin. Both in 0–1; `suggest` ≤ `answer`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// From here on the best hit is answered directly, as sure as it is among its rivals.
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
    /// The best hits are offered as a list; the first is at or above the lower threshold.
    Suggest,
    /// The bank does not know.
    None,
}

impl Matches {
    /// What these matches amount to.
    pub fn decide(&self, thresholds: Thresholds) -> Decision {
        Decision::of(
            self.hits.first().map(|hit| hit.score),
            self.sure,
            self.guard,
            thresholds,
        )
    }
}

impl Decision {
    /// By the score of the first hit, if there is one, how sure it is among its rivals, and what is held against answering
    /// with it.
    pub fn of(best: Option<Score>, sure: Score, guard: Option<Guard>, thresholds: Thresholds) -> Self {
        let Some(best) = best.map(Score::get) else {
            return Self::None;
        };
        match guard {
            None if sure.get() >= thresholds.answer => Self::Answer,
            _ if best >= thresholds.suggest => Self::Suggest,
            Some(Guard::KeywordOnly) if best >= thresholds.suggest * KEY_WORDS => Self::Suggest,
            Some(Guard::Subject) if best >= thresholds.suggest * SUBJECT => Self::Suggest,
            _ => Self::None,
        }
    }
}

/// Scores and the confidence they stand for; between two points it grows linearly.
///
/// From the last lines of `tests/bench/fit_ranking.py` on the development tasks: 0.8 where 95 % of the first hits at
/// or above are right and 92 % on each noisy task, 0.6 where a right entry is among the first five in 80 %, pooled.
pub const POINTS: [(f64, f64); 7] = [
    (-12.0, 0.0),
    (-4.5, 0.4),
    (-1.9, 0.6),
    (0.9, 0.8),
    (2.2, 0.95),
    (8.0, 0.99),
    (20.0, 0.999),
];

/// The same for what the score of a first hit is worth among its rivals ([`Sureness`]): 0.8 where 85 % of the open-domain
/// questions are answered right, 97 % of these answers being right, and 92 % on the union of three banks. Pooled over the
/// tasks as asked that is 94.6 %.
const SURE: [(f64, f64); 7] = [
    (-14.0, 0.0),
    (-6.4, 0.4),
    (-3.8, 0.6),
    (-1.024, 0.8),
    (1.5, 0.95),
    (8.0, 0.99),
    (20.0, 0.999),
];

/// The confidence of a score; never [`Score::EXACT`], which only equality earns.
pub fn calibrate(score: f64) -> Score {
    Score::new(interpolate(&POINTS, score))
}

/// What stands at `x` between two of `points`, which ascend; before the first and behind the last as there. 0: no points.
pub(super) fn interpolate(points: &[(f64, f64)], x: f64) -> f64 {
    let upper = points.partition_point(|point| point.0 <= x);
    match (upper.checked_sub(1).map(|at| points[at]), points.get(upper)) {
        (Some((x0, y0)), Some((x1, y1))) => y0 + (x - x0) / (x1 - x0) * (y1 - y0),
        (Some((_, y)), None) | (None, Some(&(_, y))) => y,
        (None, None) => 0.0,
    }
}

/// What of the rivals makes a crowd: the third to the sixth that are most like the query.
const CROWD: std::ops::Range<usize> = 2..6;
/// The least likeness that a crowd is taken to have, that of the quarter of questions with the fewest rivals: in a small bank
/// nobody knows yet what else will be asked.
const LEAST_CROWD: f64 = 1.5;
/// What one unit of the crowd's likeness takes from a first hit, and what its sounding like the query adds, in log-odds.
/// Fitted by `tests/bench/fit_ranking.py`: whether a first hit is right, given its score.
const CROWDED: f64 = 0.66;
const SOUNDING: f64 = 1.0;

/// How much better the first must score than the second, unless both have the same answer.
const CLOSE: f64 = 0.25;
/// Bare key words say too little for confidence, and whoever types them expects a list: it is shown from this share of the
/// threshold on.
const KEY_WORDS: f64 = 0.75;
/// The same for key words that the entry has, all of them: who types 开户 has said what it is about.
const SUBJECT: f64 = 0.5;
/// Most words of a query that can be bare key words.
const FEW_WORDS: usize = 3;
/// Characters that make a sentence of key words.
const SENTENCE: &str = "吗么什怎哪谁几多能会要可不没是有在了我你啊呢被把给让到想用去应该";
/// From this share of the query on, an entry has all of it.
const HELD: f64 = 0.999;
/// From this share of the phrasing on, key words say all that it says.
const WHOLE: f64 = 0.8;

/// Why the best of `candidates`, which are in order, must not be answered directly.
pub(super) fn guard(query: &Analysis, candidates: &[Candidate], analyzer: &Analyzer) -> Option<Guard> {
    let (best, second) = (candidates.first()?, candidates.get(1));
    if best.score == Score::EXACT {
        return second
            .filter(|second| second.score == Score::EXACT)
            .map(|_| Guard::CloseSecond);
    }
    let rivals = |second: &Candidate| best.raw - second.raw < CLOSE && second.entry.answer != best.entry.answer;
    let names_all = best.features.phrasing_units >= WHOLE && best.features.query_units >= WHOLE;
    if best.features.contrast > 0.0 || best.features.numbers_differ >= 1.0 {
        Some(Guard::Contrast)
    } else if !is_informative(query, analyzer) {
        Some(Guard::TooShort)
    } else if query.words.len() <= FEW_WORDS && !names_all && !query.text.contains(|c| SENTENCE.contains(c)) {
        match best.features.query_units >= HELD {
            true => Some(Guard::Subject),
            false => Some(Guard::KeywordOnly),
        }
    } else if second.is_some_and(rivals) {
        Some(Guard::CloseSecond)
    } else {
        None
    }
}

/// What the score of a first hit is worth among its rivals, part by part. Where many others are like the query too, it is worth
/// less: the question is one of a kind that the bank has much of.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct Sureness {
    /// What the ranking says, in log-odds.
    pub score: f64,
    /// What sounding like the query adds.
    pub sounds: f64,
    /// What the likeness of the rivals that make a crowd takes; at most 0.
    pub crowd: f64,
    /// The sum as confidence; 1 for one of the entry's phrasings.
    pub confidence: f64,
}

impl Sureness {
    /// Of the first of `candidates`, which are in order; nothing of none.
    pub(super) fn of(candidates: &[Candidate]) -> Self {
        let Some((best, rivals)) = candidates.split_first() else {
            return Self::default();
        };
        // The likenesses that are most, in order.
        let mut most = [0.0_f64; CROWD.end];
        for rival in rivals.iter().filter(|rival| rival.features.contrast == 0.0) {
            let mut likeness = rival.standing.likeness;
            for most in &mut most {
                (*most, likeness) = (most.max(likeness), most.min(likeness));
            }
        }
        let crowd: f64 = most[CROWD].iter().sum();
        let (score, sounds) = (best.raw, SOUNDING * best.features.sounds);
        let crowd = -CROWDED * (crowd / CROWD.len() as f64).max(LEAST_CROWD);
        let confidence = match best.score {
            Score::EXACT => Score::EXACT,
            _ => Score::new(interpolate(&SURE, score + sounds + crowd)),
        };
        Self {
            score,
            sounds,
            crowd,
            confidence: confidence.get(),
        }
    }
}

/// Whether at least two characters of the query are neither stop words nor mere question.
fn is_informative(query: &Analysis, analyzer: &Analyzer) -> bool {
    let texts = (0..query.units.len()).map(|at| query.unit_text(at));
    let informs = |text: &&str| !analyzer.is_stopword(text) && !text.contains(|c| SENTENCE.contains(c));
    texts.filter(informs).flat_map(str::chars).nth(1).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confidence_grows_with_the_score() {
        let steps: Vec<Score> = (-120..=220).map(|tenths| calibrate(f64::from(tenths) / 10.0)).collect();
        assert!(steps.is_sorted());
        for (score, confidence) in POINTS {
            assert_eq!(calibrate(score), Score::new(confidence), "{score}");
        }
        assert!(calibrate(f64::INFINITY) < Score::EXACT);
        assert_eq!(calibrate(f64::NEG_INFINITY).steps(), 0);
    }
}
