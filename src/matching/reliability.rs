//! Reliability: what thresholds come to on questions whose right entries are known.
//!
//! [`tally`] counts what a pair of thresholds answers, lists and leaves unanswered, and how much of it is right;
//! [`advise`] looks for the lowest thresholds that keep the promises of `confidence`; [`bins`] compares confidence with
//! what became of it. Questions that the bank cannot answer count with a weight, for a replay makes as many of them as it
//! likes. Pure arithmetic: asking the questions is `metrics`' and `replay`'s work.

use super::{Decision, Guard, Score, Thresholds};
use serde::Serialize;

/// Hits a list shows.
pub const SHOWN: usize = 5;
/// Of the direct answers, so many are to be right.
pub const ANSWERS_RIGHT: f64 = 0.95;
/// Of what is shown, so often a right entry is to be among it.
pub const SHOWN_RIGHT: f64 = 0.8;
/// Of fewer answers, or lists, a threshold is not advised: they could all be right by chance.
const FEW: usize = 10;
/// Thresholds are looked for in steps of one hundredth, from here on.
const LOWEST: u32 = 5;
/// Steps of a reliability diagram.
pub const BINS: usize = 20;

/// One question, asked and judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// Of the first hit; `None`: nothing was found.
    pub best: Option<Score>,
    /// How sure it is among what else was found.
    pub sure: Score,
    #[expect(missing_docs, reason = "the type says it")]
    pub guard: Option<Guard>,
    /// Of the first right hit, from 1.
    pub rank: Option<usize>,
    /// Whether the bank has an answer.
    pub in_scope: bool,
}

/// A share with its 95 % interval (Wilson 1927); all in 0–1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[expect(missing_docs, reason = "said above")]
pub struct Share {
    pub share: f64,
    pub low: f64,
    pub high: f64,
}

/// What a pair of thresholds comes to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Tally {
    #[expect(missing_docs, reason = "the name says it")]
    pub answer_threshold: f64,
    #[expect(missing_docs, reason = "the name says it")]
    pub suggest_threshold: f64,
    /// Questions that the bank can answer.
    pub known: Counts,
    /// Questions that it cannot answer; nothing is right there.
    pub unknown: Counts,
    /// Right ones among all direct answers, weighted; `None` without any.
    pub answers_right: Option<Share>,
    /// Of all that was shown, an answer or a list, with a right entry among it, weighted; `None`: nothing was shown.
    pub shown_right: Option<Share>,
}

/// What became of some questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// All.
    pub questions: usize,
    /// Answered directly.
    pub answered: usize,
    /// Of these, right.
    pub answered_right: usize,
    /// Answered directly or with a list.
    pub shown: usize,
    /// Of these, with a right entry among what is shown.
    pub shown_right: usize,
}

/// The lowest thresholds that keep their promises with more than a handful of known questions; `None`: none does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Advice {
    /// With the suggest threshold in use, or this one if that is lower.
    pub answer: Option<Tally>,
    /// With the answer threshold above, or the one in use.
    pub suggest: Option<Tally>,
}

/// Questions of about the same confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    /// Where it begins; it ends where the next one begins.
    pub from: f64,
    #[expect(missing_docs, reason = "the name says it")]
    pub questions: usize,
    /// Those whose first hit is right, weighted; `None` of no questions.
    pub right: Option<Share>,
}

impl Judged {
    /// What the bot would do.
    pub fn decide(&self, thresholds: Thresholds) -> Decision {
        Decision::of(self.best, self.sure, self.guard, thresholds)
    }

    /// Whether the first hit is right.
    pub fn is_right(&self) -> bool {
        self.rank == Some(1)
    }

    /// Whether a right entry is among what `decision` shows.
    pub fn shows_right(&self, decision: Decision) -> bool {
        let shown = match decision {
            Decision::Answer => 1,
            Decision::Suggest => SHOWN,
            Decision::None => 0,
        };
        self.rank.is_some_and(|rank| rank <= shown)
    }
}

impl Counts {
    /// Neither answered nor listed.
    pub fn silent(&self) -> usize {
        self.questions - self.shown
    }

    /// Shown as a list.
    pub fn listed(&self) -> usize {
        self.shown - self.answered
    }

    fn add(&mut self, judged: &Judged, decision: Decision) {
        let (answers, shows) = (decision == Decision::Answer, decision != Decision::None);
        self.questions += 1;
        self.answered += usize::from(answers);
        self.answered_right += usize::from(answers && judged.is_right());
        self.shown += usize::from(shows);
        self.shown_right += usize::from(judged.shows_right(decision));
    }
}

/// A share of questions; `None` of none. Of the `out` questions that the bank cannot answer each counts `weight`.
fn share(right: usize, of: usize, out: usize, weight: f64) -> Option<Share> {
    let whole = of as f64 + out as f64 * weight;
    if whole <= 0.0 {
        return None;
    }
    // So many questions of weight one would say as much (Kish's effective size).
    let effective = whole * whole / (of as f64 + out as f64 * weight * weight);
    Some(wilson(right as f64 / whole, effective))
}

/// The share found in `n` trials, with the interval in which the true one lies, 95 times in 100.
pub fn wilson(share: f64, n: f64) -> Share {
    const Z: f64 = 1.959_964;
    let middle = (share + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z / (1.0 + Z * Z / n) * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    Share {
        share,
        low: (middle - half).max(0.0),
        high: (middle + half).min(1.0),
    }
}

/// Counts what `thresholds` come to. A question that the bank cannot answer counts `weight` in what is right.
pub fn tally(judged: &[Judged], thresholds: Thresholds, weight: f64) -> Tally {
    let (mut known, mut unknown) = (Counts::default(), Counts::default());
    for question in judged {
        let counts = if question.in_scope { &mut known } else { &mut unknown };
        counts.add(question, question.decide(thresholds));
    }
    Tally {
        answer_threshold: thresholds.answer,
        suggest_threshold: thresholds.suggest,
        answers_right: share(known.answered_right, known.answered, unknown.answered, weight),
        shown_right: share(known.shown_right, known.shown, unknown.shown, weight),
        known,
        unknown,
    }
}

/// The lowest thresholds at which answers and lists are right as often as promised, in hundredths.
pub fn advise(judged: &[Judged], present: Thresholds, weight: f64) -> Advice {
    let keeps =
        |share: Option<Share>, promise: f64, of: usize| of >= FEW && share.is_some_and(|share| share.share >= promise);
    let hundredths = |to: u32| (LOWEST..=to).map(|steps| f64::from(steps) / 100.0);
    let answer = hundredths(100).find_map(|answer| {
        let suggest = present.suggest.min(answer);
        let tally = tally(judged, Thresholds { answer, suggest }, weight);
        keeps(tally.answers_right, ANSWERS_RIGHT, tally.known.answered).then_some(tally)
    });
    let above = answer.map_or(present.answer, |tally| tally.answer_threshold);
    let suggest = hundredths((above * 100.0).round() as u32).find_map(|suggest| {
        let tally = tally(judged, Thresholds { answer: above, suggest }, weight);
        keeps(tally.shown_right, SHOWN_RIGHT, tally.known.shown).then_some(tally)
    });
    Advice { answer, suggest }
}

/// [`BINS`] of equal width, from confidence 0 on; questions that found nothing are in none.
pub fn bins(judged: &[Judged], weight: f64) -> Vec<Bin> {
    let step = 10_000 / BINS as u16;
    let place = |score: Score| usize::from(score.steps() / step).min(BINS - 1);
    let mut counts = [[0_usize; 3]; BINS];
    for question in judged {
        if let Some(best) = question.best {
            let [right, known, unknown] = &mut counts[place(best)];
            *right += usize::from(question.is_right());
            *(if question.in_scope { known } else { unknown }) += 1;
        }
    }
    let bins = counts.iter().enumerate();
    bins.map(|(at, [right, known, unknown])| Bin {
        from: at as f64 / BINS as f64,
        questions: known + unknown,
        right: share(*right, *known, *unknown, weight),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRESENT: Thresholds = Thresholds {
        answer: 0.8,
        suggest: 0.6,
    };

    fn judged(best: f64, rank: Option<usize>, in_scope: bool) -> Judged {
        Judged {
            best: Some(Score::new(best)),
            sure: Score::new(best),
            guard: None,
            rank,
            in_scope,
        }
    }

    /// Ten of 0.9 and right, ten of 0.7 of which nine are, ten of 0.5 of which none is first but all are second.
    fn thirty() -> Vec<Judged> {
        let right = |best, count| (0..count).map(move |_| judged(best, Some(1), true));
        let mut all: Vec<Judged> = right(0.9, 10).chain(right(0.7, 9)).collect();
        all.push(judged(0.7, None, true));
        all.extend((0..10).map(|_| judged(0.5, Some(2), true)));
        all
    }

    #[test]
    fn a_tally_counts_by_hand() {
        let mut all = thirty();
        all.push(judged(0.95, None, false));
        all.push(judged(0.65, None, false));
        let tally = tally(&all, PRESENT, 0.5);
        let known = Counts {
            questions: 30,
            answered: 10,
            answered_right: 10,
            shown: 20,
            shown_right: 19,
        };
        assert_eq!(
            (tally.known, tally.known.silent(), tally.known.listed()),
            (known, 10, 10)
        );
        assert_eq!((tally.unknown.answered, tally.unknown.shown), (1, 2));
        // Ten right of ten and a half; nineteen of twenty and twice a half.
        let shares = [tally.answers_right, tally.shown_right].map(|share| Score::new(share.unwrap().share));
        assert_eq!(shares, [10.0 / 10.5, 19.0 / 21.0].map(Score::new));
    }

    #[test]
    fn advice_is_the_lowest_threshold_that_keeps_its_promise() {
        let advice = advise(&thirty(), PRESENT, 1.0);
        // Nineteen of twenty are right from 0.51 on; lists from the bottom on, all but one.
        assert_eq!(advice.answer.map(|tally| tally.answer_threshold), Some(0.51));
        assert_eq!(advice.suggest.map(|tally| tally.suggest_threshold), Some(0.05));
        let mut lost = thirty();
        lost.extend((0..10).map(|_| judged(0.99, None, false)));
        let advice = advise(&lost, PRESENT, 1.0);
        assert_eq!(
            advice,
            Advice {
                answer: None,
                suggest: None
            }
        );
        let few = advise(&thirty()[1..], PRESENT, 1.0)
            .answer
            .map(|tally| tally.answer_threshold);
        assert_eq!(
            few, None,
            "nine of 0.9 are too few, and of 0.7 there is one wrong in 18."
        );
        let advice = advise(&lost, PRESENT, 0.01);
        assert_eq!(
            advice.answer.map(|tally| tally.answer_threshold),
            Some(0.71),
            "not at 0.51: 19 of 20.1"
        );
    }

    #[test]
    fn what_a_guard_lists_is_no_answer() {
        let guarded = Judged {
            guard: Some(Guard::Contrast),
            ..judged(0.9, None, true)
        };
        let tally = tally(&[guarded], PRESENT, 1.0);
        assert_eq!(
            (tally.known.answered, tally.known.shown, tally.answers_right),
            (0, 1, None)
        );
    }

    #[test]
    fn bins_hold_every_question_once() {
        let mut all = thirty();
        all.push(Judged { best: None, ..all[0] });
        all.push(judged(1.0, Some(1), true));
        let bins = bins(&all, 1.0);
        assert_eq!(bins.iter().map(|bin| bin.questions).sum::<usize>(), 31);
        assert_eq!(bins[14].questions, 10);
        assert_eq!(Score::new(bins[14].right.unwrap().share), Score::new(0.9));
        assert_eq!((bins[19].questions, bins[0].right), (1, None));
    }

    #[test]
    fn wilson_agrees_with_the_books() {
        // Newcombe 1998, table I: 81 of 263, and 0 of 20.
        let rounded = |share: Share| [share.low, share.high].map(Score::new);
        assert_eq!(rounded(wilson(81.0 / 263.0, 263.0)), [0.2553, 0.3662].map(Score::new));
        assert_eq!(rounded(wilson(0.0, 20.0)), [0.0, 0.1611].map(Score::new));
    }
}
