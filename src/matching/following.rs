//! Follow-ups: a short text together with what was answered before it, as 「那费用呢」 after how to open an account.
//!
//! [`FollowUp::read`] says whether a text may be one, [`Index::follow`] looks for what answers it. The entry
//! answered before is left out of the searches, for the text alone and for text and topic, because it is like its own
//! topic above all. One linear function of what they find, [`TABLE`], says how sure each hit is.
//! Where they find nothing, that entry may have said it itself.

use super::confidence::interpolate;
use super::index::Scope;
use super::tokenizer::{Analysis, Analyzer};
use super::{Decision, Guard, Hit, Index, Matches, Score, Thresholds};
use crate::bank::category::is_within;
use crate::bank::{Answer, Entry, EntryId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Longest follow-up, in characters: longer texts say themselves what they are about.
const MAX_CHARS: usize = 12;
/// Hits of each search that are looked at.
const DEPTH: usize = 20;
/// Begin a follow-up and say nothing.
const LEADS: [&str; 9] = ["那么", "那", "还有", "另外", "请问", "然后", "所以", "对了", "它的"];
/// Characters that make a word a mere question.
const ASKING: &str = "怎么什哪谁几多吗呢何";

/// One line of [`TABLE`].
pub struct Weight {
    /// What it is called.
    pub name: &'static str,
    /// How it is read.
    pub value: fn(&Found) -> f64,
    /// What one unit of it adds, in log-odds.
    pub weight: f64,
}

/// What a hit without any of it is worth, in log-odds.
const INTERCEPT: f64 = -14.0;
/// What makes a hit the answer to a follow-up.
///
/// Fitted by `tests/bench/fit_follow_ups.py` on the 300 texts of `tests/data/follow-ups.jsonl`, with the sample bank.
pub const TABLE: [Weight; 3] = [
    Weight {
        name: "alone",
        value: |found| found.alone.get(),
        weight: 8.8,
    },
    Weight {
        name: "joined",
        // What is not found at all may still be the best there is to say.
        value: |found| found.joined.get().max(0.2),
        weight: 12.1,
    },
    Weight {
        name: "same_category",
        value: |found| f64::from(u8::from(found.same_category)),
        weight: 1.2,
    },
];
/// Log-odds and the confidence they stand for; between two points it grows linearly. 0.8 stands for a probability of 0.8,
/// from which on 127 of those texts' 128 first hits are right; 0.6 for one of 0.3, from which on a right entry is among the
/// first five for 179 of 197.
const POINTS: [(f64, f64); 5] = [(-12.0, 0.0), (-3.9, 0.3), (-0.85, 0.6), (1.386, 0.8), (5.0, 0.95)];
/// How sure it is that the entry answered before says what is asked, where nothing else is found: of five such texts of
/// `tests/data/follow-ups.jsonl` it did for all.
const SAID: f64 = 0.8;

/// What the searches found of one entry.
#[derive(Debug, Clone)]
pub struct Found {
    /// With the score of one of them.
    hit: Hit,
    /// By the text alone, in the bank or among the entries of a category; 0: not.
    alone: Score,
    /// By text and topic; 0: not.
    joined: Score,
    /// Whether its category is that of the entry answered before, or above or below it.
    same_category: bool,
}

/// A text that may follow on an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowUp {
    /// Normalised, without the words that say nothing.
    text: String,
    /// The topic before it.
    joined: String,
}

impl FollowUp {
    /// `text` with the topic of `before`, the entry answered last; `None`: it is too long, or there is no topic.
    pub fn read(text: &str, before: &Entry, analyzer: &Analyzer) -> Option<Self> {
        if text.chars().count() > MAX_CHARS {
            return None;
        }
        let text = analyzer.normalize(text);
        let text = LEADS.iter().find_map(|lead| text.strip_prefix(lead)).unwrap_or(&text);
        let topic = topic(&before.question, text, analyzer);
        (!topic.is_empty() && !text.is_empty()).then(|| Self {
            text: text.to_owned(),
            joined: format!("{topic} {text}"),
        })
    }

    /// Whether `before` itself says what is asked: the text asks when, how long or how much, and the answer names a time or
    /// a sum.
    fn is_said_by(&self, before: &Entry) -> bool {
        let Answer::Text(answer) = &before.answer else {
            return false;
        };
        FORMS
            .iter()
            .any(|form| form.is_asked_by(&self.text) && form.is_said_by(answer))
    }
}

impl Index {
    /// What `follow_up` finds in `scope` after `before`, at most `k` entries, when that counts: `own`, what its text finds alone,
    /// answers nothing. What decides something counts; else `before` where it says what is asked.
    pub fn follow(
        &self,
        own: &Matches,
        follow_up: &FollowUp,
        before: &Arc<Entry>,
        scope: Scope<'_>,
        thresholds: Thresholds,
        k: usize,
    ) -> Option<Matches> {
        if own.decide(thresholds) == Decision::Answer {
            return None;
        }
        let (found, first) = self.found_after(follow_up, before, scope);
        let hits = found.into_iter().map(|found| Hit {
            score: found.score(),
            ..found.hit
        });
        let mut hits: Vec<Hit> = hits.collect();
        // Of equals the one with the lower id stands first already.
        hits.sort_by(|a, b| {
            b.score
                .cmp(&a.score)
                .then_with(|| b.entry.priority.cmp(&a.entry.priority))
        });
        hits.truncate(k);
        let (best, sure) = hits.first().map(|hit| (&hit.entry.id, hit.score)).unzip();
        let guard = match first {
            // What is held against the best of one search is not said of another's.
            Some((id, guard)) if best == Some(&id) => guard,
            _ => Some(Guard::CloseSecond),
        };
        let others = Matches {
            sure: sure.unwrap_or_default(),
            hits,
            guard,
        };
        match (own.decide(thresholds), others.decide(thresholds)) {
            (_, Decision::Answer) | (Decision::None, Decision::Suggest) => return Some(others),
            // Whoever has turned to something else, or names a subject, must not be led back.
            (_, Decision::Suggest) => {
                let is_surer = own.guard != Some(Guard::Subject) && others.sure >= own.hits.first()?.score;
                return is_surer.then_some(others);
            }
            (Decision::None, _) => {}
            _ => return None,
        }
        (scope.admits(before) && follow_up.is_said_by(before)).then(|| Matches {
            hits: vec![Hit {
                entry: before.clone(),
                score: Score::new(SAID),
                phrasing: 0,
            }],
            sure: Score::new(SAID),
            guard: None,
        })
    }

    /// What the searches find, by id; and of text and topic the first with what is held against answering with it.
    pub(super) fn found_after(
        &self,
        follow_up: &FollowUp,
        before: &Entry,
        scope: Scope<'_>,
    ) -> (Vec<Found>, Option<(EntryId, Option<Guard>)>) {
        let search = |text: &str, scope| self.search_beside(text, scope, &before.id, DEPTH);
        let (alone, joined) = (search(&follow_up.text, scope), search(&follow_up.joined, scope));
        // What is asked everywhere (费用) has little weight in the bank, but may have some there.
        let near = match (&*before.category, scope.category) {
            ("", _) | (_, Some(_)) => Matches::default(),
            (category, None) => search(
                &follow_up.text,
                Scope {
                    category: Some(category),
                    ..scope
                },
            ),
        };
        let mut found: BTreeMap<EntryId, Found> = BTreeMap::new();
        for (matches, is_joined) in [(&alone, false), (&near, false), (&joined, true)] {
            for hit in &matches.hits {
                let fresh = || Found {
                    hit: hit.clone(),
                    alone: Score::default(),
                    joined: Score::default(),
                    same_category: are_near(&hit.entry.category, &before.category),
                };
                let found = found.entry(hit.entry.id.clone()).or_insert_with(fresh);
                let score = if is_joined { &mut found.joined } else { &mut found.alone };
                *score = hit.score.max(*score);
            }
        }
        let first = joined.hits.first().map(|hit| (hit.entry.id.clone(), joined.guard));
        (found.into_values().collect(), first)
    }
}

impl Found {
    /// The entry.
    pub(super) fn entry(&self) -> &Entry {
        &self.hit.entry
    }

    fn score(&self) -> Score {
        let parts = TABLE.iter().map(|line| (line.value)(self) * line.weight);
        Score::new(interpolate(&POINTS, INTERCEPT + parts.sum::<f64>()))
    }
}

/// Whether one of two categories is within the other; none is near to nothing.
fn are_near(one: &str, other: &str) -> bool {
    !one.is_empty() && !other.is_empty() && (is_within(one, other) || is_within(other, one))
}

/// What of a question is its topic, for somebody who goes on with `text`: 科创板怎么开户 → 科创板开户. Where the text names the
/// other side of a contrast, the question's own is none of it: 创业板 is asked about now.
fn topic(question: &str, text: &str, analyzer: &Analyzer) -> String {
    let named = analyzer.analyze(text).contrasts;
    let analysis: Analysis = analyzer.analyze(question);
    let mut topic = String::new();
    let mut covered = 0;
    for &(start, end) in &analysis.word_spans {
        let word = &analysis.text[start as usize..end as usize];
        // Long words come before the words inside them.
        if start < covered {
            continue;
        }
        covered = end;
        let own = analyzer.analyze(word).contrasts;
        let is_replaced = own.iter().any(|own| {
            named
                .iter()
                .any(|named| named.group == own.group && named.member != own.member)
        });
        if !is_replaced && !word.contains(|c| ASKING.contains(c)) {
            topic.push_str(word);
        }
    }
    topic
}

/// Something that is asked for in certain words and said in a certain form.
struct Form {
    asked: &'static [&'static str],
    /// Words that say it.
    said: &'static [&'static str],
    /// What a number before it says it in.
    units: &'static [&'static str],
    /// What has to stand right behind the unit, or any of `before` somewhere near before the number; nothing: either is
    /// well without.
    behind: &'static [&'static str],
    before: &'static [&'static str],
}

/// Characters that may stand beside the words that ask, any number of them; with more than [`OTHERS`] others a text says
/// itself what it is about.
const BESIDE: &str = "要需得大概约一般通常会能可以才就多少再等办好完到收退回给来啊呀呢吗吧么的了钱是不";
const OTHERS: usize = 1;
/// Characters before a number in which a word of [`Form::before`] counts.
const NEAR: usize = 4;
/// How long; how much; what it costs.
const FORMS: [Form; 3] = [
    Form {
        asked: &["多久", "几个工作日", "几天", "几个月", "多少天"],
        said: &["T+"],
        units: &[
            "个工作日",
            "工作日",
            "个交易日",
            "交易日",
            "天",
            "日",
            "小时",
            "分钟",
            "个月",
            "周",
        ],
        behind: &["内", "左右", "以内", "之内", "到账", "就", "才", "可", "的清算期"],
        before: &["约", "一般", "通常", "需", "要", "等"],
    },
    Form {
        asked: &["多少钱", "花多少", "几块"],
        said: &["手续费", "工本费", "收费", "免费", "免收", "不收费"],
        units: &["元", "%", "％", "‰"],
        behind: &[],
        before: &[],
    },
    Form {
        asked: &["手续费", "费用", "收费", "收多少", "收钱", "要钱", "花销"],
        said: &["手续费", "工本费", "收费", "免费", "免收", "不收费", "费用", "费率"],
        units: &[],
        behind: &[],
        before: &[],
    },
];

impl Form {
    fn is_asked_by(&self, text: &str) -> bool {
        let rest = self.asked.iter().find_map(|word| text.split_once(*word));
        let is_other = |c: &char| !BESIDE.contains(*c);
        rest.is_some_and(|(before, after)| before.chars().chain(after.chars()).filter(is_other).count() <= OTHERS)
    }

    fn is_said_by(&self, answer: &str) -> bool {
        let counts = |unit: &&'static str| {
            let mut places = answer.match_indices(*unit);
            places.any(|(at, _)| self.counts(&answer[..at], &answer[at + unit.len()..]))
        };
        self.said.iter().any(|word| answer.contains(word)) || self.units.iter().any(counts)
    }

    /// Whether a number before a unit, with what stands before and behind, says it.
    fn counts(&self, before: &str, behind: &str) -> bool {
        let Some(words) = without_number(before) else {
            return false;
        };
        let near = words
            .char_indices()
            .rev()
            .take(NEAR)
            .last()
            .map_or(words, |(at, _)| &words[at..]);
        self.behind.is_empty()
            || self.behind.iter().any(|word| behind.starts_with(word))
            || self.before.iter().any(|word| near.contains(word))
    }
}

/// What stands before a number, perhaps with a measure word, at the end of a text: 3, 三, 3 个, 十多, 3-5; `None`: there is none.
fn without_number(text: &str) -> Option<&str> {
    const NUMERALS: &str = "一二三四五六七八九十两几半百千万";
    let number = text.trim_end_matches(['个', '多', ' ']);
    let is_numeral =
        |c: char| c.is_ascii_digit() || NUMERALS.contains(c) || matches!(c, '-' | '－' | '~' | '～' | '.' | '—');
    let words = number.trim_end_matches(is_numeral);
    (words.len() < number.len()).then(|| words.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::Dictionaries;
    use crate::bank::dictionary::DictionaryTexts;

    fn analyzer() -> Analyzer {
        let dictionaries = Dictionaries::parse(DictionaryTexts {
            contrast: "科创板;创业板\n".as_bytes(),
            ..DictionaryTexts::default()
        });
        Analyzer::new(&dictionaries.unwrap())
    }

    fn entry(question: &str, answer: &str) -> Entry {
        let id = EntryId::parse("before").unwrap();
        Entry::new(id, question.into(), Answer::Text(answer.into()))
    }

    fn read(question: &str, text: &str) -> Option<FollowUp> {
        FollowUp::read(text, &entry(question, ""), &analyzer())
    }

    #[test]
    fn a_text_is_joined_with_the_topic_it_follows_on() {
        for (question, text, alone, joined) in [
            ("科创板怎么开户", "那费用呢？", "费用", "科创板开户 费用"),
            ("科创板怎么开户", "那費用呢", "费用", "科创板开户 费用"),
            ("科创板怎么开户", "还有门槛", "门槛", "科创板开户 门槛"),
            ("科创板怎么开户", "创业板呢", "创业板", "开户 创业板"),
        ] {
            let read = read(question, text).unwrap();
            assert_eq!((&*read.text, &*read.joined), (alone, joined), "{text}");
        }
        assert_eq!(read("科创板怎么开户", "那"), None, "nothing is asked");
        assert_eq!(read("怎么", "费用呢"), None, "there is no topic");
        assert!(read("科创板怎么开户", "一二三四五六七八九十一二").is_some());
        assert_eq!(
            read("科创板怎么开户", "一二三四五六七八九十一二三"),
            None,
            "it speaks for itself"
        );
    }

    #[test]
    fn an_answer_says_when_and_how_much_by_its_form() {
        for (text, answer, is_said) in [
            ("要多久", "一般有 45 天左右的清算期。", true),
            ("要多久", "约三个工作日，以银行为准", true),
            ("大概要几天呢", "三个工作日内办好", true),
            ("要多久", "T+1 到账", true),
            ("要多久", "前 20 个交易日的日均资产", false),
            ("要多久", "每天 9:30 起，2008年10月9日后", false),
            ("要多久", "今天就去办", false),
            ("今天几号", "三个工作日内办好", false),
            ("飞船多久飞到火星", "三个工作日内办好", false),
            ("多少钱", "每年 10 元", true),
            ("多少钱", "45 天", false),
            ("要收费吗", "全程免费", true),
            ("费用呢", "资产要 50 万元，消费者可以投诉", false),
            ("手续费怎么收", "按金额收手续费", true),
            ("在哪里办", "3 天内，10 元", false),
        ] {
            let follow_up = read("信用卡怎么注销", text).unwrap();
            assert_eq!(
                follow_up.is_said_by(&entry("信用卡怎么注销", answer)),
                is_said,
                "{text}: {answer}"
            );
        }
    }

    #[test]
    fn a_category_is_near_those_above_and_below_it() {
        assert!(are_near("开户", "开户") && are_near("开户/科创板", "开户") && are_near("开户", "开户/科创板"));
        assert!(!are_near("开户", "开户费用") && !are_near("", "") && !are_near("开户", ""));
    }
}
