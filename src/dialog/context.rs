//! Short follow-ups: 「那费用呢」 after an answer about opening an account.
//!
//! `with_topic` joins such a text with what was answered last; the caller searches both, and [`clearly_better`] says
//! whether the second counts. It must be clearly better than the text's own: a follower who has turned to something else must not
//! be led back.

use super::Desk;
use crate::bank::{Entry, EntryId};
use crate::matching::{Analyzer, Decision, Matches};

/// Longest follow-up, in characters: longer texts say themselves what they are about.
const MAX_CHARS: usize = 10;
/// How much surer the joined text must be than the text alone, in confidence.
pub const MARGIN: f64 = 0.1;
/// Begin a follow-up and say nothing.
const LEADS: [&str; 8] = ["那么", "那", "还有", "另外", "请问", "然后", "所以", "它的"];
/// End one and say nothing.
const TAILS: [&str; 5] = ["呢", "吗", "啊", "呀", "？"];
/// Characters that make a word a mere question.
const ASKING: &str = "怎么什哪谁几多吗呢何";

/// `text` together with the topic of `answered`; `None` when it is too long for a follow-up, or the topic says nothing.
pub(super) fn with_topic(text: &str, answered: &Entry, analyzer: &Analyzer) -> Option<String> {
    if text.chars().count() > MAX_CHARS {
        return None;
    }
    let mut rest = text.trim_end_matches(|c: char| !c.is_alphanumeric());
    rest = LEADS.iter().find_map(|lead| rest.strip_prefix(lead)).unwrap_or(rest);
    rest = TAILS.iter().find_map(|tail| rest.strip_suffix(tail)).unwrap_or(rest);
    let topic = topic(&answered.question, analyzer);
    (!topic.is_empty() && !rest.is_empty()).then(|| format!("{topic}{rest}"))
}

/// What of a question is no question: 科创板怎么开户 → 科创板开户.
fn topic(question: &str, analyzer: &Analyzer) -> String {
    let analysis = analyzer.analyze(question);
    let mut topic = String::new();
    let mut covered = 0;
    for &(start, end) in &analysis.word_spans {
        let word = &analysis.text[start as usize..end as usize];
        // Long words come before the words inside them.
        if start >= covered && !word.contains(|c| ASKING.contains(c)) {
            topic.push_str(word);
            covered = end;
        }
    }
    topic
}

/// What the joined text found, when it counts: `own` answers nothing, and what is left without the entry `answered`, which
/// has just been said, decides something and is surer than `own` by [`MARGIN`].
pub fn clearly_better(own: &Matches, joined: &Matches, answered: &EntryId, desk: Desk<'_>) -> Option<Matches> {
    let best = |matches: &Matches| matches.hits.first().map_or(0.0, |hit| hit.score.get());
    let others = joined.hits.iter().filter(|hit| hit.entry.id != *answered);
    let others = Matches {
        hits: others.cloned().collect(),
        guard: joined.guard,
    };
    let counts = !is_answered(own, desk)
        && others.decide(desk.thresholds) != Decision::None
        && best(&others) >= best(own) + MARGIN;
    counts.then_some(others)
}

/// Whether the text alone is answered: then nothing else need be searched.
pub fn is_answered(own: &Matches, desk: Desk<'_>) -> bool {
    own.decide(desk.thresholds) == Decision::Answer
}
