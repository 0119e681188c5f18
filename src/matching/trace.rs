//! Explanations: every step of one search, in numbers that add up.
//!
//! [`Index::explain`] is the entry point. A [`Trace`] serialises for programs and displays for people. It is made by
//! the same code that searches, so it cannot tell another story; contributions sum exactly to the score, and what a
//! candidate is like, less what its rival is like, is exactly its `lead`. `display` is the form for people.

mod display;

use super::confidence::Sureness;
use super::features::Features;
use super::index::{Breadth, Candidate, Ranking};
use super::segment::phrasing_text;
use super::sounding::Sounding;
use super::{Decision, Guard, Index, Scope, Thresholds, ranking};
use serde::Serialize;

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
    /// How many entries were compared in full.
    pub compared_entries: usize,
    /// What a candidate without any feature scores.
    pub intercept: f64,
    /// What the score of the best is worth among the others.
    pub sureness: Sureness,
    /// From here on the best is answered, by its sureness.
    pub answer_threshold: f64,
    /// From here on a list is shown.
    pub suggest_threshold: f64,
    #[expect(missing_docs, reason = "the name says it")]
    pub decision: Decision,
    /// Why no direct answer, however sure it would be.
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
    /// How like the query it is: the sum of its parts.
    pub likeness: f64,
    /// The entry that it is measured against: `likeness` less the rival's is the feature `lead`. `None`: it is alone.
    pub rival: Option<RivalTrace>,
    /// Where query and phrasing name different members of a contrast group: what the query names, what the phrasing.
    pub contrast: Option<(String, String)>,
    /// Every feature, in the order of the table.
    pub parts: Vec<PartTrace>,
}

/// The most alike of the other entries.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RivalTrace {
    /// The entry's id.
    pub id: String,
    /// Its best phrasing.
    pub matched: String,
    #[expect(missing_docs, reason = "as of the candidate")]
    pub likeness: f64,
}

/// One feature of one candidate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartTrace {
    #[expect(missing_docs, reason = "the name says it")]
    pub feature: &'static str,
    #[expect(missing_docs, reason = "the name says it")]
    pub value: f64,
    /// What one unit of it adds to the score.
    pub weight: f64,
    /// What it adds to the score.
    pub contribution: f64,
    /// What one unit of it adds to the likeness.
    pub likeness_weight: f64,
    /// What it adds to the likeness.
    pub likeness: f64,
    /// The rival's value; 0 without a rival.
    pub rival_value: f64,
    /// What it adds to the rival's likeness; 0 without a rival.
    pub rival_likeness: f64,
}

impl Index {
    /// The steps of [`Index::search`] for the same arguments, with the best `k` candidates.
    pub fn explain(&self, query: &str, scope: Scope<'_>, k: usize, thresholds: Thresholds) -> Trace {
        let ranking = self.rank(query, scope, Breadth::Candidates);
        let fields = self.fields(&ranking);
        let best = 0..k.min(ranking.candidates.len());
        let candidates = best.map(|at| CandidateTrace {
            contrast: self.contrast(&ranking, &ranking.candidates[at]),
            ..CandidateTrace::new(&ranking.candidates, at)
        });
        let candidates = candidates.collect();
        let compared_entries = ranking.candidates.len();
        let (normalized, compared) = (ranking.normalized.clone(), ranking.analysis.text.clone());
        let respelled = ranking.respelled.as_ref().map(|respelled| respelled.text.clone());
        let (is_empty, sureness) = (compared.is_empty(), ranking.sureness);
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
            intercept: ranking::score(&Features::default()),
            sureness,
            answer_threshold: thresholds.answer,
            suggest_threshold: thresholds.suggest,
            decision,
            guard: matches.guard,
            why: match is_empty {
                true => "nothing is left of the query to compare".to_owned(),
                false => why(&matches, thresholds),
            },
        }
    }

    fn contrast(&self, ranking: &Ranking, candidate: &Candidate) -> Option<(String, String)> {
        if candidate.features.contrast == 0.0 {
            return None;
        }
        let phrasing = phrasing_text(candidate.entry, candidate.phrasing);
        let (own, others) = (&ranking.analysis.contrasts, self.analyzer().analyze(phrasing).contrasts);
        let named = own.iter().filter(|contrasted| !others.contains(contrasted));
        let mut pairs = named.filter_map(|own| Some((own, others.iter().find(|other| other.group == own.group)?)));
        let (own, other) = pairs.next()?;
        let word = |contrasted| self.analyzer().contrast_word(contrasted).map(str::to_owned);
        Some((word(*own)?, word(*other)?))
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
    fn new(candidates: &[Candidate], at: usize) -> Self {
        let candidate = &candidates[at];
        let features: Vec<&Features> = candidates.iter().map(|candidate| &candidate.features).collect();
        let rival = ranking::rival_of(&features, at).map(|rival| &candidates[rival]);
        let nobody = Features::default();
        let of_rival = rival.map_or(&nobody, |rival| &rival.features);
        let matched = |candidate: &Candidate| phrasing_text(candidate.entry, candidate.phrasing).to_owned();
        let likeness = ranking::likeness_parts(&candidate.features).zip(ranking::likeness_parts(of_rival));
        let lines = ranking::TABLE.iter().zip(ranking::contributions(&candidate.features));
        let parts = lines.zip(likeness);
        let part = |((line, contribution), (likeness, rival_likeness)): ((&ranking::Weight, f64), (f64, f64))| {
            let shares = line.likeness > 0.0;
            PartTrace {
                feature: line.name,
                value: (line.value)(&candidate.features),
                weight: line.weight,
                contribution,
                likeness_weight: line.likeness,
                likeness,
                rival_value: if shares { (line.value)(of_rival) } else { 0.0 },
                rival_likeness,
            }
        };
        Self {
            id: candidate.entry.id.to_string(),
            matched: matched(candidate),
            confidence: candidate.score.get(),
            exact: candidate.score == super::Score::EXACT,
            score: candidate.raw,
            likeness: ranking::likeness(&candidate.features),
            rival: rival.map(|rival| RivalTrace {
                id: rival.entry.id.to_string(),
                matched: matched(rival),
                likeness: ranking::likeness(&rival.features),
            }),
            contrast: None,
            parts: parts.map(part).collect(),
        }
    }
}

/// The decision in a sentence, for the terminal.
fn why(matches: &super::Matches, thresholds: Thresholds) -> String {
    let Some(best) = matches.hits.first() else {
        return "nothing that may be shown shares a term with the query".into();
    };
    let best = best.score.get();
    let reason = matches.guard.map(|guard| match guard {
        Guard::Contrast => "query and entry hold different members of a contrast group, or different numbers",
        Guard::CloseSecond => "another entry with another answer fits as well",
        Guard::KeywordOnly => "the query is bare key words",
        Guard::Subject => "the query is bare key words, and the entry has all of them",
        Guard::TooShort => "the query has fewer than two informative characters",
    });
    let sure = matches.sure.get();
    match (matches.decide(thresholds), reason) {
        (Decision::Answer, _) if best >= 1.0 => "the query is one of the entry's phrasings".into(),
        (Decision::Answer, _) => format!("sureness {sure:.4} reaches the answer threshold {}", thresholds.answer),
        (Decision::Suggest, Some(reason)) if sure >= thresholds.answer => {
            format!("sureness {sure:.4} would answer, but {reason}")
        }
        (Decision::Suggest, Some(reason)) if best < thresholds.suggest => {
            format!("confidence {best:.4} is low, but {reason}: those get a list sooner")
        }
        (Decision::Suggest, _) => format!(
            "sureness {sure:.4} is below the answer threshold {}, confidence {best:.4} reaches the suggest threshold {}",
            thresholds.answer, thresholds.suggest
        ),
        (Decision::None, _) => format!(
            "confidence {best:.4} is below the suggest threshold {}",
            thresholds.suggest
        ),
    }
}
