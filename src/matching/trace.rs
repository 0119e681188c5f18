//! Explanations: every step of one search, in numbers that add up.
//!
//! [`Index::explain`] is the entry point. A [`Trace`] serialises for programs and displays for people. It is made by
//! the same code that searches, so it cannot tell another story; contributions sum exactly to the score.

use super::index::{Breadth, Candidate, Ranking};
use super::segment::phrasing_text;
use super::sounding::Sounding;
use super::{Decision, Guard, Index, Scope, Thresholds, ranking};
use serde::Serialize;
use std::fmt;

/// One search, step by step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trace {
    /// As it was asked.
    pub query: String,
    /// The text that exact matches are looked up by.
    pub normalized: String,
    /// What was read from pinyin, initials or same-sounding characters; `None`: nothing.
    pub respelled: Option<String>,
    /// What was compared: with synonyms and respelling in place.
    pub compared: String,
    /// The terms of `compared`, by field.
    pub fields: Vec<FieldTrace>,
    /// The best of those that were compared in full.
    pub candidates: Vec<CandidateTrace>,
    /// How many were compared in full.
    pub compared_entries: usize,
    /// What a candidate without any feature scores.
    pub intercept: f64,
    /// From here on the best is answered.
    pub answer_threshold: f64,
    /// From here on a list is shown.
    pub suggest_threshold: f64,
    #[expect(missing_docs, reason = "the name says it")]
    pub decision: Decision,
    /// Why no direct answer although the score allows one.
    pub guard: Option<Guard>,
    /// The decision in a sentence.
    pub why: String,
}

/// One kind of term.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldTrace {
    /// The field's name.
    pub field: &'static str,
    /// Where its terms come from.
    pub source: &'static str,
    /// In query order.
    pub terms: Vec<TermTrace>,
}

/// One term of the query.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TermTrace {
    #[expect(missing_docs, reason = "the name says it")]
    pub term: String,
    /// Phrasings of the bank that hold it.
    pub doc_freq: u32,
}

/// One entry, compared with the query.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CandidateTrace {
    /// The entry's id.
    pub id: String,
    /// Its best phrasing.
    pub matched: String,
    /// Confidence, 0–1.
    pub confidence: f64,
    /// Whether the query is one of its phrasings; then the score does not matter.
    pub exact: bool,
    /// Before calibration: intercept and contributions.
    pub score: f64,
    /// Every feature, in the order of the table.
    pub parts: Vec<PartTrace>,
}

/// One feature of one candidate.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct PartTrace {
    pub feature: &'static str,
    pub value: f64,
    pub weight: f64,
    pub contribution: f64,
}

impl Index {
    /// The steps of [`Index::search`] for the same arguments, with the best `k` candidates.
    pub fn explain(&self, query: &str, scope: Scope<'_>, k: usize, thresholds: Thresholds) -> Trace {
        let ranking = self.rank(query, scope, Breadth::Candidates);
        let fields = self.fields(&ranking);
        let candidates: Vec<CandidateTrace> = ranking.candidates.iter().take(k).map(CandidateTrace::new).collect();
        let compared_entries = ranking.candidates.len();
        let (normalized, compared) = (ranking.normalized.clone(), ranking.analysis.text.to_string());
        let respelled = ranking.respelled.as_ref().map(|respelled| respelled.text.clone());
        let matches = ranking.into_matches(k.max(1));
        let decision = matches.decide(thresholds);
        Trace {
            query: query.to_owned(),
            normalized,
            respelled,
            compared,
            fields,
            candidates,
            compared_entries,
            intercept: ranking::score(&super::features::Features::default()),
            answer_threshold: thresholds.answer,
            suggest_threshold: thresholds.suggest,
            decision,
            guard: matches.guard,
            why: why(&matches, thresholds),
        }
    }

    fn fields(&self, ranking: &Ranking) -> Vec<FieldTrace> {
        let (analysis, vocabulary) = (&ranking.analysis, self.vocabulary());
        let words = analysis
            .words
            .iter()
            .zip(&analysis.word_spans)
            .map(|(word, &(start, end))| TermTrace {
                term: analysis.text[start as usize..end as usize].to_owned(),
                doc_freq: vocabulary.words.doc_freq_of(word.0),
            });
        let units = super::tokenizer::units(&analysis.text)
            .zip(&analysis.units)
            .map(|((_, text), unit)| TermTrace {
                term: text.to_owned(),
                doc_freq: vocabulary.units.doc_freq_of(unit.0),
            });
        let starts = analysis.unit_starts.windows(3).map(|w| w[0] as usize..w[2] as usize);
        let last = analysis
            .unit_starts
            .iter()
            .rev()
            .nth(1)
            .map(|start| *start as usize..analysis.text.len());
        let bigrams = starts
            .chain(last)
            .zip(analysis.units.windows(2))
            .map(|(range, pair)| TermTrace {
                term: analysis.text[range].trim_end().to_owned(),
                doc_freq: vocabulary
                    .bigrams
                    .doc_freq_of(super::tokenizer::Bigram::new(pair[0], pair[1]).0),
            });
        let places = Sounding::of(analysis, vocabulary);
        let sounds = (1..places.len()).filter_map(|at| {
            let (first, second) = (*places.at(at - 1).first()?, *places.at(at).first()?);
            let bigram = super::tokenizer::SoundBigram::new(first, second);
            let term = format!("{} {}", first.spelling(), second.spelling());
            Some(TermTrace {
                term,
                doc_freq: vocabulary.sounds.doc_freq_of(bigram.0),
            })
        });
        vec![
            FieldTrace {
                field: "words",
                source: "jieba and user.txt, less stopwords.txt",
                terms: words.collect(),
            },
            FieldTrace {
                field: "units",
                source: "characters and runs",
                terms: units.collect(),
            },
            FieldTrace {
                field: "bigrams",
                source: "neighbouring units",
                terms: bigrams.collect(),
            },
            FieldTrace {
                field: "sounds",
                source: "fuzzy pinyin of neighbours",
                terms: sounds.collect(),
            },
        ]
    }
}

impl CandidateTrace {
    fn new(candidate: &Candidate) -> Self {
        let contributions = ranking::contributions(&candidate.features);
        let part = |(line, contribution): (&ranking::Weight, f64)| PartTrace {
            feature: line.name,
            value: (line.value)(&candidate.features),
            weight: line.weight,
            contribution,
        };
        Self {
            id: candidate.entry.id.to_string(),
            matched: phrasing_text(candidate.entry, candidate.phrasing).to_owned(),
            confidence: candidate.score.get(),
            exact: candidate.score == super::Score::EXACT,
            score: candidate.raw,
            parts: ranking::TABLE.iter().zip(contributions).map(part).collect(),
        }
    }
}

/// The decision in a sentence, for the terminal.
fn why(matches: &super::Matches, thresholds: Thresholds) -> String {
    let Some(best) = matches.hits.first() else {
        return "nothing in the bank shares a term with the query".into();
    };
    let best = best.score.get();
    let reason = matches.guard.map(|guard| match guard {
        Guard::Contrast => "query and entry hold different members of a contrast group, or different numbers",
        Guard::CloseSecond => "another entry with another answer fits as well",
        Guard::KeywordOnly => "the query is bare key words",
        Guard::TooShort => "the query has fewer than two informative characters",
    });
    match (matches.decide(thresholds), reason) {
        (Decision::Answer, _) if best >= 1.0 => "the query is one of the entry's phrasings".into(),
        (Decision::Answer, _) => format!(
            "confidence {best:.4} reaches the answer threshold {}",
            thresholds.answer
        ),
        (Decision::Suggest, Some(reason)) if best >= thresholds.answer => {
            format!("confidence {best:.4} would answer, but {reason}")
        }
        (Decision::Suggest, Some(reason)) if best < thresholds.suggest => {
            format!("confidence {best:.4} is low, but {reason}: those get a list sooner")
        }
        (Decision::Suggest, _) => format!(
            "confidence {best:.4} reaches only the suggest threshold {}",
            thresholds.suggest
        ),
        (Decision::None, _) => format!(
            "confidence {best:.4} is below the suggest threshold {}",
            thresholds.suggest
        ),
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "query       {}", self.query)?;
        writeln!(f, "normalized  {}", self.normalized)?;
        if let Some(respelled) = &self.respelled {
            writeln!(f, "respelled   {respelled}")?;
        }
        writeln!(f, "compared    {}", self.compared)?;
        for field in &self.fields {
            let terms: Vec<String> = field
                .terms
                .iter()
                .map(|term| format!("{}:{}", term.term, term.doc_freq))
                .collect();
            writeln!(
                f,
                "{:<11} {}   ({}; term:phrasings)",
                field.field,
                terms.join("  "),
                field.source
            )?;
        }
        writeln!(
            f,
            "candidates  {} compared in full, the best {}:",
            self.compared_entries,
            self.candidates.len()
        )?;
        for (rank, candidate) in self.candidates.iter().enumerate() {
            let exact = if candidate.exact { ", exact" } else { "" };
            let (confidence, score) = (candidate.confidence, candidate.score);
            writeln!(f, "{:>3}. {}  {}", rank + 1, candidate.id, candidate.matched)?;
            writeln!(f, "     confidence {confidence:.4} from score {score:+.4}{exact}")?;
            writeln!(
                f,
                "       {:<20} {:>8} {:>8} {:>9}",
                "feature", "value", "weight", "adds"
            )?;
            writeln!(
                f,
                "       {:<20} {:>8} {:>8} {:>+9.4}",
                "intercept", "", "", self.intercept
            )?;
            for part in candidate.parts.iter().filter(|part| part.contribution != 0.0) {
                let PartTrace {
                    feature,
                    value,
                    weight,
                    contribution,
                } = part;
                writeln!(
                    f,
                    "       {feature:<20} {value:>8.4} {weight:>8.3} {contribution:>+9.4}"
                )?;
            }
        }
        writeln!(
            f,
            "thresholds  answer {}, suggest {}",
            self.answer_threshold, self.suggest_threshold
        )?;
        let decision = match self.decision {
            Decision::Answer => "answer",
            Decision::Suggest => "suggest",
            Decision::None => "none",
        };
        write!(f, "decision    {decision}: {}", self.why)
    }
}
