//! Replay: what the thresholds mean for one bank, found out with its own questions.
//!
//! [`replay`] is the entry point. Every similar question is asked of the bank without it: the entry should still be found.
//! Every question is asked of the bank without its whole entry as well: whatever is answered then is wrong, and nothing is
//! harder to keep silent on, since the bank's other entries are about the same things. Both ask exactly the index that
//! such a bank would have. Entries with the same answer are one; what reads the same as another wording of its entry is
//! not asked, for it would prove nothing.

use super::index::Change;
use super::metrics::{DEPTH, EVERYTHING, Evaluation, LabelledQuery, Outcome, Row, Summary};
use super::reliability::{Advice, Judged, Tally, advise, tally};
use super::segment::phrasing_text;
use super::{Decision, Index, Matches, Score, Thresholds};
use crate::bank::{Entry, EntryId};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Fewer judged questions give no advice.
pub const ENOUGH: usize = 50;
/// Questions asked of either kind at most; of larger banks every n-th.
const MOST: usize = 10_000;
/// Confusions reported.
const WORST: usize = 10;
/// Answer thresholds that are tallied, in hundredths.
const TALLIED: [u32; 8] = [60, 65, 70, 75, 80, 85, 90, 95];

/// A bank judged by its own questions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replay {
    /// Published entries.
    pub entries: usize,
    /// Those of them that have similar questions.
    pub entries_with_similar: usize,
    /// Similar questions of all entries.
    pub similar: usize,
    /// Those that read the same as another wording of their entry, which are not asked.
    pub repeated: usize,
    /// Similar questions asked, each left out of the bank.
    pub known: usize,
    /// Questions asked with their whole entry left out.
    pub unknown: usize,
    /// Of the messages, so many are taken to be questions that the bank cannot answer; in 0–1, not 1.
    pub unanswerable: f64,
    /// What each question of the second kind counts for that, beside one of the first; 1 when there are none of those.
    pub weight: f64,
    /// With the thresholds in use.
    pub present: Tally,
    /// With other answer thresholds, ascending.
    pub choices: Vec<Tally>,
    /// `None`: [`ENOUGH`] questions were not to be had.
    pub advice: Option<Advice>,
    /// The worst first.
    pub confusions: Vec<Confusion>,
    /// The usual measures; `known` and `hidden` are the kinds of query.
    pub summary: Summary,
    /// A row's id is the entry's, `#`, the number of the wording (0: the question), and the kind of query.
    #[serde(skip)]
    pub rows: Vec<Row>,
    /// In the order of the rows.
    #[serde(skip)]
    pub judged: Vec<Judged>,
}

/// Two entries that take each other's questions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Confusion {
    /// How many of their questions.
    pub times: usize,
    /// The entry whose question it is.
    pub of: Side,
    /// The entry that was found instead.
    pub found: Side,
    /// The question of which this was the surest.
    pub question: String,
    /// How sure.
    pub confidence: f64,
}

/// One entry of a confusion.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Side {
    pub id: EntryId,
    pub question: String,
}

/// One wording of an entry.
type Wording = (Arc<Entry>, u16);

/// The index's bank judged by its own questions. `unanswerable`: of the messages, so many are questions that the bank
/// cannot answer; in 0–1, not 1. Takes as long as twenty thousand searches at most.
pub fn replay(index: &Index, thresholds: Thresholds, unanswerable: f64) -> Replay {
    let bank = Bank::of(index);
    let mut found = Found::default();
    for (entry, phrasing) in sample(&bank.similar) {
        let mut rest = (*entry).clone();
        rest.similar.remove(usize::from(phrasing) - 1);
        let without = index.apply(&[Change::Put(Arc::new(rest))]);
        found.ask(&without, &bank, (&entry, phrasing), Case::Known, thresholds);
    }
    for (entry, phrasing) in sample(&bank.wordings) {
        let same: Vec<Change> = bank.same_answer(&entry).iter().cloned().map(Change::Remove).collect();
        let without = index.apply(&same);
        found.ask(&without, &bank, (&entry, phrasing), Case::Hidden, thresholds);
    }
    let Evaluation { rows, summary, judged } = Evaluation::of(found.outcomes);
    let known = judged.iter().filter(|question| question.in_scope).count();
    let unknown = judged.len() - known;
    let weight = match (known, unknown) {
        (0, _) | (_, 0) => 1.0,
        _ => unanswerable / (1.0 - unanswerable) * known as f64 / unknown as f64,
    };
    let suggest = |answer: f64| thresholds.suggest.min(answer);
    let choices = TALLIED.map(|hundredths| f64::from(hundredths) / 100.0).map(|answer| {
        let thresholds = Thresholds {
            answer,
            suggest: suggest(answer),
        };
        tally(&judged, thresholds, weight)
    });
    Replay {
        entries: bank.entries,
        entries_with_similar: bank.entries_with_similar,
        similar: bank.similar_in_all,
        repeated: bank.similar_in_all - bank.similar.len(),
        known,
        unknown,
        unanswerable,
        weight,
        present: tally(&judged, thresholds, weight),
        choices: choices.to_vec(),
        advice: (known >= ENOUGH).then(|| advise(&judged, thresholds, weight)),
        confusions: worst(if known > 0 { found.known } else { found.hidden }),
        summary,
        rows,
        judged,
    }
}

/// What is to be asked.
struct Bank {
    entries: usize,
    entries_with_similar: usize,
    similar_in_all: usize,
    /// Similar questions that say something new.
    similar: Vec<Wording>,
    /// Questions and similar questions, each once for its entry.
    wordings: Vec<Wording>,
    /// By answer: the entries that give it.
    by_answer: BTreeMap<(&'static str, String), Vec<EntryId>>,
}

impl Bank {
    fn of(index: &Index) -> Self {
        let mut entries: Vec<&Arc<Entry>> = index.entries().filter(|entry| EVERYTHING.admits(entry)).collect();
        entries.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        let mut bank = Self {
            entries: entries.len(),
            entries_with_similar: entries.iter().filter(|entry| !entry.similar.is_empty()).count(),
            similar_in_all: entries.iter().map(|entry| entry.similar.len()).sum(),
            similar: Vec::new(),
            wordings: Vec::new(),
            by_answer: BTreeMap::new(),
        };
        for entry in entries {
            let mut seen = BTreeSet::new();
            for (phrasing, text) in (0_u16..).zip(entry.phrasings()) {
                if seen.insert(index.analyzer().normalize(text)) {
                    bank.wordings.push((Arc::clone(entry), phrasing));
                    if phrasing > 0 {
                        bank.similar.push((Arc::clone(entry), phrasing));
                    }
                }
            }
            bank.by_answer.entry(answer(entry)).or_default().push(entry.id.clone());
        }
        bank
    }

    /// The entry itself, and others that answer the same.
    fn same_answer(&self, entry: &Entry) -> &[EntryId] {
        self.by_answer.get(&answer(entry)).map_or(&[], Vec::as_slice)
    }
}

fn answer(entry: &Entry) -> (&'static str, String) {
    (entry.answer.kind(), entry.answer.content().into_owned())
}

/// At most [`MOST`], evenly.
fn sample(wordings: &[Wording]) -> impl Iterator<Item = Wording> {
    wordings.iter().step_by(wordings.len().div_ceil(MOST).max(1)).cloned()
}

/// How a question is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    /// Its entry is there.
    Known,
    /// Its entry is not.
    Hidden,
}

/// What asking has come to so far.
#[derive(Default)]
struct Found {
    outcomes: Vec<Outcome>,
    known: Vec<Mistake>,
    hidden: Vec<Mistake>,
}

/// A question that got something else first than its own entry.
struct Mistake {
    of: Arc<Entry>,
    found: Arc<Entry>,
    question: String,
    score: Score,
}

impl Found {
    fn ask(&mut self, index: &Index, bank: &Bank, (entry, phrasing): (&Arc<Entry>, u16), case: Case, at: Thresholds) {
        let question = phrasing_text(entry, phrasing);
        let ids = bank.same_answer(entry).iter().map(ToString::to_string);
        let (note, relevant) = match case {
            Case::Known => ("known", ids.collect()),
            Case::Hidden => ("hidden", Vec::new()),
        };
        let labelled = LabelledQuery {
            id: format!("{}#{phrasing} {note}", entry.id),
            query: question.to_owned(),
            relevant,
            note: Some(note.to_owned()),
            after: None,
        };
        let matches = index.search(question, EVERYTHING, DEPTH);
        self.outcomes.push(Outcome::new(&labelled, &matches, at));
        let mistake = mistake(&matches, entry, question, at).filter(|mistake| mistake.is_of_others(bank));
        match case {
            Case::Known => self.known.extend(mistake),
            Case::Hidden => self.hidden.extend(mistake),
        }
    }
}

impl Mistake {
    fn is_of_others(&self, bank: &Bank) -> bool {
        !bank.same_answer(&self.of).contains(&self.found.id)
    }
}

/// Whether something else than `entry` comes first in what is shown.
fn mistake(matches: &Matches, entry: &Arc<Entry>, question: &str, thresholds: Thresholds) -> Option<Mistake> {
    let first = matches.hits.first()?;
    let shown = matches.decide(thresholds) != Decision::None;
    (shown && first.entry.id != entry.id).then(|| Mistake {
        of: Arc::clone(entry),
        found: Arc::clone(&first.entry),
        question: question.to_owned(),
        score: first.score,
    })
}

/// The pairs with the most mistakes, whichever way; then the surest.
fn worst(mistakes: Vec<Mistake>) -> Vec<Confusion> {
    let mut pairs: BTreeMap<(EntryId, EntryId), (usize, Mistake)> = BTreeMap::new();
    for mistake in mistakes {
        let (a, b) = (mistake.of.id.clone(), mistake.found.id.clone());
        let pair = if a <= b { (a, b) } else { (b, a) };
        match pairs.get_mut(&pair) {
            Some((times, surest)) => {
                *times += 1;
                if mistake.score > surest.score {
                    *surest = mistake;
                }
            }
            None => _ = pairs.insert(pair, (1, mistake)),
        }
    }
    let mut pairs: Vec<(usize, Mistake)> = pairs.into_values().collect();
    // Stable: of equal ones the smaller ids come first.
    pairs.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.score.cmp(&a.1.score)));
    let side = |entry: &Entry| Side {
        id: entry.id.clone(),
        question: entry.question.clone(),
    };
    let confusion = |(times, mistake): (usize, Mistake)| Confusion {
        times,
        of: side(&mistake.of),
        found: side(&mistake.found),
        question: mistake.question,
        confidence: mistake.score.get(),
    };
    pairs.into_iter().take(WORST).map(confusion).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Analyzer;
    use super::*;
    use crate::bank::{Answer, Dictionaries};
    use std::sync::LazyLock;

    static ANALYZER: LazyLock<Arc<Analyzer>> = LazyLock::new(|| Arc::new(Analyzer::new(&Dictionaries::default())));

    const THRESHOLDS: Thresholds = Thresholds {
        answer: 0.8,
        suggest: 0.6,
    };

    fn entry(id: &str, question: &str, similar: &[&str], answer: &str) -> Entry {
        let id = EntryId::parse(id).expect("a test writes valid ids");
        Entry {
            similar: similar.iter().map(|&text| text.to_owned()).collect(),
            ..Entry::new(id, question.to_owned(), Answer::Text(answer.to_owned()))
        }
    }

    fn replayed(entries: Vec<Entry>) -> Replay {
        let index = Index::build(entries.into_iter().map(Arc::new), Arc::clone(&ANALYZER));
        replay(&index, THRESHOLDS, 0.2)
    }

    fn row<'a>(replay: &'a Replay, id: &str) -> &'a Row {
        replay.rows.iter().find(|row| row.id == id).expect("it was asked")
    }

    #[test]
    fn a_question_is_asked_of_the_bank_without_it() {
        let found = replayed(vec![
            entry(
                "a",
                "科创板怎么开户",
                &["开通科创板需要什么条件", "科创板 怎么开户？"],
                "一",
            ),
            entry("b", "资金怎么转出证券账户", &["开通科创板需要哪些条件"], "二"),
        ]);
        assert_eq!(
            (found.similar, found.repeated, found.known, found.unknown),
            (3, 1, 2, 4)
        );
        // Left in, it would be found with certainty.
        let own = row(&found, "a#1 known");
        assert!(own.hits.iter().all(|hit| hit.score < 1.0), "{own:?}");
        assert!(row(&found, "a#0 hidden").hits.iter().all(|hit| hit.id != "a"));
        assert_eq!(found.present.known.questions, 2);
        assert_eq!(found.present.unknown.questions, 4);
        // A fifth of the messages: half a question of each kind, spread over four.
        assert!((found.weight - 0.25 * 2.0 / 4.0).abs() < 1e-9);
        assert_eq!(found.advice, None, "too few to judge by");
    }

    #[test]
    fn entries_that_take_each_others_questions_are_named() {
        let found = replayed(vec![
            entry("a", "科创板怎么开户", &["我想交易开头是六八八的股票"], "一"),
            entry("b", "六八八开头的股票怎么交易", &["买科创板要办什么"], "二"),
            entry("c", "忘记密码怎么办", &["密码忘记了怎么办"], "三"),
        ]);
        let [confusion] = found.confusions.as_slice() else {
            panic!("{:?}", found.confusions);
        };
        assert_eq!((confusion.of.id.as_str(), confusion.found.id.as_str()), ("a", "b"));
        assert_eq!(confusion.question, "我想交易开头是六八八的股票");
    }

    #[test]
    fn entries_with_one_answer_are_one() {
        let twins = || {
            vec![
                entry("a", "科创板怎么开户", &["开通科创板需要什么条件"], "一"),
                entry("b", "怎么开通科创板", &["科创板开户条件"], "一"),
                entry("c", "忘记密码怎么办", &[], "三"),
            ]
        };
        let found = replayed(twins());
        assert!(found.confusions.is_empty(), "{:?}", found.confusions);
        assert_eq!(found.present.known.answered, found.present.known.answered_right);
        assert!(
            row(&found, "a#0 hidden").hits.iter().all(|hit| hit.id != "b"),
            "its answer is hidden, too"
        );
    }

    #[test]
    fn a_bank_without_similar_questions_is_judged_by_silence_only() {
        let found = replayed(vec![
            entry("a", "科创板怎么开户", &[], "一"),
            entry("b", "科创板怎么开户呢", &[], "二"),
            entry("c", "忘记密码怎么办", &[], "三"),
        ]);
        assert_eq!((found.known, found.unknown, found.advice), (0, 3, None));
        let pairs: Vec<_> = found
            .confusions
            .iter()
            .map(|c| (c.of.id.as_str(), c.found.id.as_str()))
            .collect();
        assert_eq!(pairs, [("a", "b")]);
        assert_eq!(found.present.unknown.answered, 2, "each answers for the other");
        let nothing = replayed(vec![]);
        assert_eq!((nothing.known, nothing.unknown), (0, 0));
    }

    #[test]
    fn a_large_bank_is_sampled_evenly() {
        let wording = (Arc::new(entry("a", "问", &[], "答")), 0);
        let counts = [0, 1, MOST, MOST + 1, 3 * MOST].map(|n| sample(&vec![wording.clone(); n]).count());
        assert_eq!(counts, [0, 1, MOST, MOST / 2 + 1, MOST]);
    }
}
