//! Measures: how well an index answers labelled queries.
//!
//! [`evaluate`] replays queries, [`leave_one_out`] a bank's own similar questions; both give rows and a [`Summary`].
//! The measures are those of information retrieval plus two for knowing when to stay silent: AUC and coverage at a
//! precision. [`feature_rows`] dumps what the ranking was computed from, for fitting.

use super::ranking;
use super::{Decision, Index, Matches, Scope, Thresholds};
use crate::bank::Channel;

/// A query with the entries that answer it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
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
}

/// What the ranking saw of one candidate; a line of a dump.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
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
    /// In the order of [`ranking::TABLE`].
    pub features: Vec<f64>,
}

/// The scope of an evaluation: everything published, at the beginning of time.
fn everything() -> Scope<'static> {
    Scope { account: "", channel: Channel::Api, now: 0, category: None }
}

/// The features of the best `k` candidates of a query.
pub fn feature_rows(index: &Index, labelled: &LabelledQuery, k: usize) -> Vec<FeatureRow> {
    let ranking = index.rank(&labelled.query, everything(), None);
    let row = |candidate: super::index::Candidate| FeatureRow {
        query: labelled.id.clone(),
        note: labelled.note.clone(),
        in_scope: !labelled.relevant.is_empty(),
        entry: candidate.entry.id.to_string(),
        relevant: labelled.relevant.iter().any(|id| id == candidate.entry.id.as_str()),
        features: ranking::TABLE.iter().map(|line| ((line.value)(&candidate.features) * 1e6).round() / 1e6).collect(),
    };
    ranking.candidates.into_iter().take(k).map(row).collect()
}
