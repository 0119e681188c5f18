//! Measures: how well an index answers labelled queries.
//!
//! [`evaluate`] asks the queries and gives rows and a [`Summary`]; `replay` makes queries of a bank's own questions.
//! The measures are those of information retrieval plus two for knowing when to stay silent, AUC and coverage at a
//! precision, defined as in `eval/score.py`. [`feature_rows`] dumps what the ranking was computed from, for fitting
//! by `tests/bench/fit_ranking.py`. Pure: reading files and printing tables is the caller's work.

use super::following::Found;
use super::index::{Breadth, Candidate};
use super::reliability::Judged;
use super::{Decision, FollowUp, Index, Matches, Scope, Thresholds, following, ranking};
use crate::bank::{Channel, Entry};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Hits looked at, and kept in a row.
pub(super) const DEPTH: usize = 10;

/// How often comparing the candidates only finds the same as comparing everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Agreement {
    pub queries: usize,
    pub same_first_hit: usize,
    pub same_decision: usize,
}

/// Replays queries against every phrasing of the bank, and compares. Slow: each query takes time proportional to the bank.
pub fn agreement(index: &Index, queries: &[LabelledQuery], thresholds: Thresholds) -> Agreement {
    let mut agreement = Agreement::default();
    for LabelledQuery { query, .. } in queries {
        let [candidates, everything] = [Breadth::Candidates, Breadth::Everything]
            .map(|breadth| index.rank(query, EVERYTHING, breadth).into_matches(1));
        let first = |matches: &Matches| matches.hits.first().map(|hit| hit.entry.id.clone());
        agreement.queries += 1;
        agreement.same_first_hit += usize::from(first(&candidates) == first(&everything));
        agreement.same_decision += usize::from(candidates.decide(thresholds) == everything.decide(thresholds));
    }
    agreement
}

/// A query with the entries that answer it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LabelledQuery {
    #[expect(missing_docs, reason = "the name says it")]
    pub id: String,
    #[expect(missing_docs, reason = "the name says it")]
    pub query: String,
    /// Ids of entries; empty: the bank has no answer.
    pub relevant: Vec<String>,
    /// The kind of query, to report apart.
    #[serde(default)]
    pub note: Option<String>,
    /// The entry that was answered before: then the query is asked as one message of a conversation.
    #[serde(default)]
    pub after: Option<String>,
}

/// What became of one query; as JSON a line of a run file for `eval/score.py`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The query's id.
    pub id: String,
    /// At most ten, best first.
    pub hits: Vec<RankedId>,
    #[expect(missing_docs, reason = "the name says it")]
    pub decision: Decision,
}

/// A hit, reduced to what is measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct RankedId {
    pub id: String,
    pub score: f64,
}

/// Rows in the order of the queries, and what they come to.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "said above")]
pub struct Evaluation {
    pub rows: Vec<Row>,
    pub summary: Summary,
    #[serde(skip)]
    pub judged: Vec<Judged>,
}

/// The measures; `None` where there was nothing to measure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// All queries.
    pub queries: usize,
    /// Those the bank has an answer to.
    pub in_scope: usize,
    /// Over the queries in scope.
    pub ranks: Option<Ranks>,
    /// Probability that the first score of a query in scope exceeds that of one out of scope.
    pub auc_in_out: Option<f64>,
    /// Probability that the score of a right first hit exceeds that of anything else.
    pub auc_right_rest: Option<f64>,
    /// Largest share of the queries in scope answered right while 95 % of all answers are right.
    pub coverage_p95: Coverage,
    /// The same at 90 %.
    pub coverage_p90: Coverage,
    /// The same at 80 %.
    pub coverage_p80: Coverage,
    /// What the thresholds in use come to.
    pub operating_point: OperatingPoint,
    /// The same by kind of query.
    pub by_note: BTreeMap<String, NoteSummary>,
}

/// Where the right entry stood.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the measures' usual names")]
pub struct Ranks {
    pub hit_at_1: f64,
    pub hit_at_3: f64,
    pub hit_at_10: f64,
    pub mrr_at_10: f64,
}

/// A threshold on the first score and what it gives.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Coverage {
    /// Queries answered right, by queries in scope.
    pub coverage: f64,
    /// The lowest score that is answered; `None` when no threshold is precise enough.
    pub threshold: Option<f64>,
}

/// What the decisions came to; `None` where a share would be of nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct OperatingPoint {
    /// Queries answered directly.
    pub answered: usize,
    /// Right ones among them.
    pub answer_precision: Option<f64>,
    /// Right direct answers, by queries in scope.
    pub coverage_in_scope: Option<f64>,
    /// Wrong direct answers, by queries in scope.
    pub wrong_answer_rate_in_scope: Option<f64>,
    /// Direct answers, by queries out of scope.
    pub false_answer_rate_out_of_scope: Option<f64>,
    /// Queries answered directly or with a list.
    pub shown: usize,
    /// Of those in scope or not, the share with a right entry in what is shown: the answer, or a list of five.
    pub shown_precision: Option<f64>,
    /// Answered or listed with a right entry among the first three, by queries in scope.
    pub right_in_top3: Option<f64>,
    /// Neither, by queries in scope.
    pub silent_in_scope: Option<f64>,
    /// Neither, by queries out of scope.
    pub silent_out_of_scope: Option<f64>,
}

/// The measures of one kind of query.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct NoteSummary {
    /// All of the kind.
    pub queries: usize,
    /// Of those in scope.
    pub ranks: Option<Ranks>,
    /// Share answered directly.
    pub answered: f64,
    /// Share answered directly or with a list.
    pub shown: f64,
    /// Of those in scope, the share with a right entry in what is shown.
    pub right_shown: Option<f64>,
}

/// What the ranking saw of one candidate; a line of a dump.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeatureRow {
    /// The query's id.
    pub query: String,
    /// The entry's id.
    pub entry: String,
    /// The kind of query.
    pub note: Option<String>,
    /// Whether any entry answers the query.
    pub in_scope: bool,
    /// Whether this one does.
    pub relevant: bool,
    /// In the order of [`ranking::TABLE`], or of [`following::TABLE`] for a query that follows on something; rounded to six
    /// places.
    pub features: Vec<f64>,
}

/// Asks every query of everything published and measures the answers.
pub fn evaluate(index: &Index, queries: &[LabelledQuery], thresholds: Thresholds) -> Evaluation {
    let outcome = |labelled: &LabelledQuery| {
        let own = index.search(&labelled.query, EVERYTHING, DEPTH);
        let followed = follow_up(index, labelled)
            .and_then(|(follow_up, before)| index.follow(&own, &follow_up, before, EVERYTHING, thresholds, DEPTH));
        Outcome::new(labelled, &followed.unwrap_or(own), thresholds)
    };
    Evaluation::of(queries.iter().map(outcome).collect())
}

/// The query as a follow-up, and what it follows on.
fn follow_up<'a>(index: &'a Index, labelled: &LabelledQuery) -> Option<(FollowUp, &'a Arc<Entry>)> {
    let before = index.entry(labelled.after.as_ref()?)?;
    Some((FollowUp::read(&labelled.query, before, index.analyzer())?, before))
}

impl Evaluation {
    pub(super) fn of(outcomes: Vec<Outcome>) -> Self {
        Self {
            summary: summarise(&outcomes),
            judged: outcomes.iter().map(|outcome| outcome.judged).collect(),
            rows: outcomes.into_iter().map(|outcome| outcome.row).collect(),
        }
    }
}

/// The features of the best `k` candidates of a query, and of right ones behind them; of a follow-up, those of all it finds.
pub fn feature_rows(index: &Index, labelled: &LabelledQuery, k: usize) -> Vec<FeatureRow> {
    let is_relevant = |entry: &Entry| labelled.relevant.iter().any(|id| id == entry.id.as_str());
    let row = |entry: &Entry, features: Vec<f64>| FeatureRow {
        query: labelled.id.clone(),
        entry: entry.id.to_string(),
        note: labelled.note.clone(),
        in_scope: !labelled.relevant.is_empty(),
        relevant: is_relevant(entry),
        features: features.iter().map(|value| (value * 1e6).round() / 1e6).collect(),
    };
    if let Some((follow_up, before)) = follow_up(index, labelled) {
        let (found, _) = index.found_after(&follow_up, before, EVERYTHING);
        let values = |found: &Found| following::TABLE.iter().map(|line| (line.value)(found)).collect();
        return found.iter().map(|found| row(found.entry(), values(found))).collect();
    }
    let candidates = index
        .rank(&labelled.query, EVERYTHING, Breadth::Candidates)
        .candidates
        .into_iter()
        .enumerate();
    let kept = candidates.filter(|(rank, candidate)| *rank < k || is_relevant(candidate.entry));
    let values = |candidate: &Candidate| {
        ranking::TABLE
            .iter()
            .map(|line| (line.value)(&candidate.features))
            .collect()
    };
    kept.map(|(_, candidate)| row(candidate.entry, values(&candidate)))
        .collect()
}

/// What an evaluation asks: all that is published for everyone, outside any validity window but the open ones.
pub(super) const EVERYTHING: Scope<'static> = Scope {
    account: "",
    channel: Channel::Api,
    now: 0,
    category: None,
};

/// A row with what is known about it.
pub(super) struct Outcome {
    row: Row,
    note: String,
    judged: Judged,
}

impl Outcome {
    pub(super) fn new(labelled: &LabelledQuery, matches: &Matches, thresholds: Thresholds) -> Self {
        let hits = matches.hits.iter().take(DEPTH);
        let hits: Vec<RankedId> = hits
            .map(|hit| RankedId {
                id: hit.entry.id.to_string(),
                score: hit.score.get(),
            })
            .collect();
        let is_right = |hit: &RankedId| labelled.relevant.contains(&hit.id);
        let judged = Judged {
            best: matches.hits.first().map(|hit| hit.score),
            sure: matches.sure,
            guard: matches.guard,
            rank: hits.iter().position(is_right).map(|at| at + 1),
            in_scope: !labelled.relevant.is_empty(),
        };
        Self {
            row: Row {
                id: labelled.id.clone(),
                hits,
                decision: judged.decide(thresholds),
            },
            note: labelled.note.clone().unwrap_or_default(),
            judged,
        }
    }

    fn is_right(&self) -> bool {
        self.judged.is_right()
    }

    fn answers(&self) -> bool {
        self.row.decision == Decision::Answer
    }

    fn shows(&self) -> bool {
        self.row.decision != Decision::None
    }

    fn shows_right(&self) -> bool {
        self.judged.shows_right(self.row.decision)
    }

    /// `None` when nothing was found.
    fn top(&self) -> Option<f64> {
        self.row.hits.first().map(|hit| hit.score)
    }
}

fn summarise(outcomes: &[Outcome]) -> Summary {
    let (inside, outside): (Vec<&Outcome>, Vec<&Outcome>) =
        outcomes.iter().partition(|outcome| outcome.judged.in_scope);
    let tops = |outcomes: &mut dyn Iterator<Item = &Outcome>| -> Vec<f64> {
        outcomes
            .map(|outcome| outcome.top().unwrap_or(f64::NEG_INFINITY))
            .collect()
    };
    let mut notes: BTreeMap<String, Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        notes.entry(outcome.note.clone()).or_default().push(outcome);
    }
    let at = |precision| coverage(outcomes, inside.len(), precision);
    Summary {
        queries: outcomes.len(),
        in_scope: inside.len(),
        ranks: ranks(&inside),
        auc_in_out: auc(&tops(&mut inside.iter().copied()), &tops(&mut outside.iter().copied())),
        auc_right_rest: auc(
            &tops(&mut outcomes.iter().filter(|outcome| outcome.is_right())),
            &tops(&mut outcomes.iter().filter(|outcome| !outcome.is_right())),
        ),
        coverage_p95: at(0.95),
        coverage_p90: at(0.9),
        coverage_p80: at(0.8),
        operating_point: operating_point(&inside, &outside),
        by_note: notes
            .into_iter()
            .map(|(note, outcomes)| (note, note_summary(&outcomes)))
            .collect(),
    }
}

/// `None` without outcomes in scope.
fn ranks(outcomes: &[&Outcome]) -> Option<Ranks> {
    let ranks: Vec<Option<usize>> = outcomes
        .iter()
        .filter(|outcome| outcome.judged.in_scope)
        .map(|o| o.judged.rank)
        .collect();
    let within = |k: usize| share(&ranks, |rank| rank.is_some_and(|rank| rank <= k));
    let reciprocal: f64 = ranks
        .iter()
        .flatten()
        .filter(|rank| **rank <= 10)
        .map(|rank| 1.0 / *rank as f64)
        .sum();
    Some(Ranks {
        hit_at_1: within(1)?,
        hit_at_3: within(3)?,
        hit_at_10: within(10)?,
        mrr_at_10: reciprocal / ranks.len() as f64,
    })
}

/// The share of `items` for which `test` holds; `None` of no items.
fn share<T>(items: &[T], test: impl Fn(&T) -> bool) -> Option<f64> {
    let count = items.iter().filter(|item| test(item)).count();
    (!items.is_empty()).then(|| count as f64 / items.len() as f64)
}

fn operating_point(inside: &[&Outcome], outside: &[&Outcome]) -> OperatingPoint {
    let all: Vec<&Outcome> = inside.iter().chain(outside).copied().collect();
    let answered: Vec<&Outcome> = all.iter().copied().filter(|outcome| outcome.answers()).collect();
    let shown: Vec<&Outcome> = all.iter().copied().filter(|outcome| outcome.shows()).collect();
    OperatingPoint {
        answered: answered.len(),
        answer_precision: share(&answered, |outcome| outcome.is_right()),
        coverage_in_scope: share(inside, |outcome| outcome.answers() && outcome.is_right()),
        wrong_answer_rate_in_scope: share(inside, |outcome| outcome.answers() && !outcome.is_right()),
        false_answer_rate_out_of_scope: share(outside, |outcome| outcome.answers()),
        shown: shown.len(),
        shown_precision: share(&shown, |outcome| outcome.shows_right()),
        right_in_top3: share(inside, |outcome| {
            outcome.shows() && outcome.judged.rank.is_some_and(|rank| rank <= 3)
        }),
        silent_in_scope: share(inside, |outcome| !outcome.shows()),
        silent_out_of_scope: share(outside, |outcome| !outcome.shows()),
    }
}

fn note_summary(outcomes: &[&Outcome]) -> NoteSummary {
    let inside: Vec<&Outcome> = outcomes
        .iter()
        .copied()
        .filter(|outcome| outcome.judged.in_scope)
        .collect();
    NoteSummary {
        queries: outcomes.len(),
        ranks: ranks(outcomes),
        answered: share(outcomes, |outcome| outcome.answers()).unwrap_or(0.0),
        shown: share(outcomes, |outcome| outcome.shows()).unwrap_or(0.0),
        right_shown: share(&inside, |outcome| outcome.shows_right()),
    }
}

/// Probability that one of `positive` exceeds one of `negative`, ties half; `None` when a side is empty.
fn auc(positive: &[f64], negative: &[f64]) -> Option<f64> {
    let mut below: Vec<f64> = negative.to_vec();
    below.sort_by(f64::total_cmp);
    let wins = |score: &f64| {
        let less = below.partition_point(|other| other < score);
        let ties = below[less..].partition_point(|other| other <= score);
        less as f64 + ties as f64 / 2.0
    };
    let pairs = positive.len() as f64 * negative.len() as f64;
    (pairs > 0.0).then(|| positive.iter().map(wins).sum::<f64>() / pairs)
}

/// Walks a threshold down over every first score; whole groups of equal scores are answered or not.
fn coverage(outcomes: &[Outcome], in_scope: usize, precision: f64) -> Coverage {
    let mut tops: Vec<(f64, bool)> = outcomes.iter().filter_map(|o| Some((o.top()?, o.is_right()))).collect();
    tops.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut best = Coverage {
        coverage: 0.0,
        threshold: None,
    };
    let mut right = 0_usize;
    for (at, &(score, is_right)) in tops.iter().enumerate() {
        right += usize::from(is_right);
        let is_last_of_equals = tops.get(at + 1).is_none_or(|next| next.0 < score);
        if is_last_of_equals && in_scope > 0 && right as f64 / (at + 1) as f64 >= precision {
            best = Coverage {
                coverage: right as f64 / in_scope as f64,
                threshold: Some(score),
            };
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::super::Score;
    use super::*;

    fn outcome(in_scope: bool, rank: Option<usize>, top: f64, decision: Decision) -> Outcome {
        let hits = vec![RankedId {
            id: "a".into(),
            score: top,
        }];
        let row = Row {
            id: String::new(),
            hits,
            decision,
        };
        Outcome {
            row,
            note: if in_scope { "in" } else { "out" }.into(),
            judged: Judged {
                best: Some(Score::new(top)),
                sure: Score::new(top),
                guard: None,
                rank,
                in_scope,
            },
        }
    }

    /// Four in scope (right, second, absent, right), two out of scope.
    fn six() -> Vec<Outcome> {
        use Decision::{Answer, None as Silent, Suggest};
        vec![
            outcome(true, Some(1), 0.9, Answer),
            outcome(true, Some(2), 0.8, Answer),
            outcome(true, None, 0.3, Silent),
            outcome(true, Some(1), 0.7, Suggest),
            outcome(false, None, 0.7, Suggest),
            outcome(false, None, 0.1, Silent),
        ]
    }

    #[test]
    fn measures_agree_with_hand_counted_ones() {
        let summary = summarise(&six());
        let expected = Ranks {
            hit_at_1: 0.5,
            hit_at_3: 0.75,
            hit_at_10: 0.75,
            mrr_at_10: 2.5 / 4.0,
        };
        assert_eq!(summary.ranks, Some(expected));
        // 0.9 and 0.8 beat both, 0.7 ties with one, 0.3 beats one: (2 + 2 + 1.5 + 1) / 8.
        assert_eq!(summary.auc_in_out, Some(6.5 / 8.0));
        // 0.9 beats four, 0.7 beats two and ties with one: (4 + 2.5) / 8.
        assert_eq!(summary.auc_right_rest, Some(6.5 / 8.0));
        assert_eq!(
            summary.coverage_p95,
            Coverage {
                coverage: 0.25,
                threshold: Some(0.9)
            }
        );
        let point = summary.operating_point;
        assert_eq!((point.answered, point.answer_precision), (2, Some(0.5)));
        assert_eq!(
            (point.coverage_in_scope, point.wrong_answer_rate_in_scope),
            (Some(0.25), Some(0.25))
        );
        assert_eq!((point.shown, point.shown_precision), (4, Some(0.5)));
        assert_eq!((point.right_in_top3, point.silent_in_scope), (Some(0.75), Some(0.25)));
        assert_eq!(
            (point.false_answer_rate_out_of_scope, point.silent_out_of_scope),
            (Some(0.0), Some(0.5))
        );
        assert_eq!(summary.by_note["out"].ranks, None);
        assert_eq!(summary.by_note["in"].right_shown, Some(0.5));
    }

    #[test]
    fn nothing_gives_no_number() {
        let summary = summarise(&[]);
        assert_eq!((summary.ranks, summary.auc_in_out), (None, None));
        assert_eq!(
            summary.coverage_p80,
            Coverage {
                coverage: 0.0,
                threshold: None
            }
        );
        assert_eq!(summary.operating_point.answer_precision, None);
    }

    #[test]
    fn equal_scores_are_answered_together() {
        use Decision::Answer;
        let tied = [outcome(true, Some(1), 0.5, Answer), outcome(true, None, 0.5, Answer)];
        assert_eq!(coverage(&tied, 2, 0.9).threshold, None);
        assert_eq!(
            coverage(&tied, 2, 0.5),
            Coverage {
                coverage: 0.5,
                threshold: Some(0.5)
            }
        );
    }
}
