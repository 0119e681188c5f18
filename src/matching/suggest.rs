//! Suggestions while typing: entries whose wording begins with what is typed so far, or holds it.
//!
//! [`Index::suggest`] is the entry point. A `Pattern` is made of what is typed; the phrasings that hold its rarest place
//! are read, each is compared with it, and the best are kept. Nothing is kept for it beside the index. [`Index::hottest`]
//! is what to offer before anything is typed.

mod pattern;

use super::index::Part;
use super::popularity::Popularity;
use super::segment::{Segment, phrasing_text};
use super::{Analyzer, Index, Scope, text};
use crate::bank::{Entry, EntryId};
use pattern::{Bank, Holding, Pattern};
use std::cmp::{Ordering, Reverse};
use std::sync::Arc;

/// Readings of one typed text, and ways to go on that are looked at for them.
const MOST_READINGS: usize = 6;
const MOST_COMPLETED: usize = 12;
/// Longest end of the text that is taken for the beginning of a wording, in characters.
const HALF_TYPED: usize = 8;

/// An entry to offer.
#[derive(Debug, Clone)]
pub struct Suggestion {
    #[expect(missing_docs, reason = "the type says it")]
    pub entry: Arc<Entry>,
    /// The phrasing that matched best: 0 is the question, n the n-th similar question.
    pub phrasing: u16,
}

impl Suggestion {
    /// The wording that matched.
    pub fn matched(&self) -> &str {
        phrasing_text(&self.entry, self.phrasing)
    }
}

/// What decides the order of suggestions, better is less; equal ones are ordered by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Standing {
    is_infix: bool,
    asked: Reverse<u32>,
    priority: Reverse<i8>,
    length: u8,
}

impl Index {
    /// At most `k` entries in `scope` that `typed` may become: wordings that begin with it before those that hold it,
    /// then the most asked first, by priority, the shorter first, by id. Each entry once, by its best phrasing. Empty
    /// for what nothing in the bank begins with or holds.
    pub fn suggest(&self, typed: &str, scope: Scope<'_>, popularity: &Popularity, k: usize) -> Vec<Suggestion> {
        let mut best = Best::new(self.parts(), scope, popularity, k);
        let bank = Bank {
            lexicon: self.lexicon(),
            vocabulary: self.vocabulary(),
        };
        let patterns = readings(typed, self.analyzer()).into_iter();
        let patterns: Vec<Pattern> = patterns.filter_map(|reading| Pattern::new(&reading, bank)).collect();
        let parts = || self.parts().iter().enumerate();
        let narrowed = patterns.iter().flat_map(|pattern| {
            parts().map(move |(number, part)| (number, pattern, common(&part.segment, &pattern.holding)))
        });
        let narrowed: Vec<(usize, &Pattern, Option<Vec<u64>>)> = narrowed.collect();
        for (number, pattern, common) in &narrowed {
            best.read_beginnings(*number, pattern, common.as_deref());
        }
        for (number, pattern, common) in &narrowed {
            best.read_within(*number, pattern, common.as_deref());
        }
        best.into_suggestions()
    }

    /// At most `k` entries in `scope` that `wanted` lets through: the most asked first, the others by priority and id.
    /// Takes time proportional to the bank where fewer than `k` were asked for.
    pub fn hottest(
        &self,
        scope: Scope<'_>,
        popularity: &Popularity,
        k: usize,
        wanted: impl Fn(&Entry) -> bool,
    ) -> Vec<Arc<Entry>> {
        let asked = popularity
            .in_order()
            .into_iter()
            .filter_map(|id| self.entry(id.as_str()));
        let seen = asked.filter(|entry| scope.admits(entry) && wanted(entry));
        let mut hottest: Vec<Arc<Entry>> = seen.take(k).cloned().collect();
        if hottest.len() < k {
            let mut best = Best::new(self.parts(), scope, popularity, k);
            for (number, part) in self.parts().iter().enumerate() {
                for item in 0..part.segment.entries() as u32 {
                    let doc = part.segment.docs_of(item).start;
                    let unasked = Standing {
                        length: 0,
                        asked: Reverse(0),
                        ..best.standing((number, doc))
                    };
                    let entry = &part.segment.item(item).entry;
                    if best.has_room_for(unasked, (number, doc)) && popularity.count(&entry.id) == 0 && wanted(entry) {
                        best.offer(unasked, (number, doc));
                    }
                }
            }
            let others = best.into_suggestions().into_iter().map(|suggestion| suggestion.entry);
            let missing = k - hottest.len();
            hottest.extend(others.take(missing));
        }
        hottest
    }
}

/// The ways in which the bank may spell what is typed, the plain one first; rows of the bank are normalised texts with
/// synonyms in place, and what is half typed may normalise to something else than what it becomes.
fn readings(typed: &str, analyzer: &Analyzer) -> Vec<String> {
    let plain = text::plain(typed);
    let mut readings = Vec::from_iter((!plain.is_empty()).then(|| plain.clone()));
    let mut add = |reading: String| {
        // What begins with a longer one begins with the shorter one.
        let is_covered = readings.iter().any(|known| reading.starts_with(known.as_str()));
        if !reading.is_empty() && readings.len() < MOST_READINGS && !is_covered {
            readings.push(reading);
        }
    };
    if !text::may_become_opening(&plain) {
        add(analyzer.rewrite(&analyzer.normalize(typed)));
    }
    let starts: Vec<usize> = plain.char_indices().map(|(at, _)| at).collect();
    let ends = starts[starts.len().saturating_sub(HALF_TYPED)..].iter();
    let completed = ends.flat_map(|start| {
        let (before, end) = plain.split_at(*start);
        let wordings = text::wordings_beginning(end);
        // One character begins too many words.
        let is_word = end.chars().nth(1).is_some();
        let synonyms = is_word.then(|| analyzer.synonyms_beginning(end));
        let synonyms = synonyms.into_iter().flatten().map(|whole| format!("{before}{whole}"));
        wordings
            .map(|whole| format!("{before}{whole}"))
            .chain(synonyms)
            .collect::<Vec<_>>()
    });
    for whole in completed.take(MOST_COMPLETED) {
        add(analyzer.rewrite(&analyzer.normalize(&whole)));
    }
    readings
}

/// The documents of a segment that are in each of the sets of lists, a bit each; `None` where that may be all.
fn common(segment: &Segment, sets: &[Holding]) -> Option<Vec<u64>> {
    let marked = |set: &Holding| {
        let mut marked = vec![0_u64; segment.documents().div_ceil(64)];
        for doc in set.lists.iter().flat_map(|list| list.docs(&segment.fields)) {
            marked[*doc as usize / 64] |= 1 << (doc % 64);
        }
        marked
    };
    // A set that is as long as the segment tells nothing apart.
    let sets = sets.iter().take_while(|set| set.documents < segment.documents());
    sets.map(marked).reduce(|mut common, set| {
        for (common, set) in common.iter_mut().zip(set) {
            *common &= set;
        }
        common
    })
}

/// A phrasing: number of its segment, document.
type Place = (usize, u32);

/// The best so far.
struct Best<'a> {
    parts: &'a [Part],
    scope: Scope<'a>,
    popularity: &'a Popularity,
    k: usize,
    /// In order, at most `k`, each entry once.
    kept: Vec<(Standing, Place)>,
}

impl<'a> Best<'a> {
    fn new(parts: &'a [Part], scope: Scope<'a>, popularity: &'a Popularity, k: usize) -> Self {
        Self {
            parts,
            scope,
            popularity,
            k,
            kept: Vec::with_capacity(k + 1),
        }
    }

    /// Offers every phrasing of a segment that begins with what is typed and may be among the best; `common` has a bit
    /// for each document that may match, `None`: all may.
    fn read_beginnings(&mut self, number: usize, pattern: &Pattern, common: Option<&[u64]>) {
        let segment = Arc::clone(&self.parts[number].segment);
        let may_match = |doc: u32| common.is_none_or(|common| common[doc as usize / 64] >> (doc % 64) & 1 == 1);
        for &doc in pattern.firsts.iter().flat_map(|unit| segment.firsts.docs(*unit)) {
            let place = (number, doc);
            if may_match(doc) && !self.is_behind(place, false) && pattern.begins(segment.units(doc)) {
                self.offer(self.standing(place), place);
            }
        }
    }

    /// Offers every phrasing of a segment that holds what is typed and may be among the best; `common` as above.
    fn read_within(&mut self, number: usize, pattern: &Pattern, common: Option<&[u64]>) {
        if self.worst().is_some_and(|worst| !worst.is_infix) {
            return;
        }
        let segment = Arc::clone(&self.parts[number].segment);
        let Some(common) = common else {
            for doc in 0..segment.documents() as u32 {
                self.compare((number, doc), pattern, &segment);
            }
            return;
        };
        for (at, bits) in (0..).step_by(64).zip(common) {
            let mut bits = *bits;
            while bits != 0 {
                self.compare((number, at + bits.trailing_zeros()), pattern, &segment);
                bits &= bits - 1;
            }
        }
    }

    fn compare(&mut self, place: Place, pattern: &Pattern, segment: &Segment) {
        // The entry is far away in memory: it is looked at last.
        if !self.is_behind(place, true) && pattern.is_within(segment.units(place.1)) {
            let standing = Standing {
                is_infix: true,
                ..self.standing(place)
            };
            self.offer(standing, place);
        }
    }

    /// The last of the best, once there are enough.
    fn worst(&self) -> Option<&Standing> {
        let is_full = self.kept.len() == self.k;
        self.kept.last().filter(|_| is_full).map(|(worst, _)| worst)
    }

    /// Whether it is clear, without a look at the entry, that a match of this kind is none of the best.
    fn is_behind(&self, (number, doc): Place, is_infix: bool) -> bool {
        let segment = &self.parts[number].segment;
        self.worst().is_some_and(|worst| {
            if is_infix != worst.is_infix {
                return is_infix;
            }
            let is_longer = segment.lengths[doc as usize] > worst.length;
            let is_outdone = is_longer && segment.top_priority <= worst.priority.0;
            match self.popularity.at_most(segment.id_hash(doc)).cmp(&worst.asked.0) {
                Ordering::Less => true,
                Ordering::Equal => is_outdone,
                Ordering::Greater => false,
            }
        })
    }

    /// As a match of the beginning.
    fn standing(&self, (number, doc): Place) -> Standing {
        let segment = &self.parts[number].segment;
        let item = segment.item(segment.doc(doc).item);
        let asked = match self.popularity.at_most(segment.id_hash(doc)) {
            0 => 0,
            _ => self.popularity.count(&item.entry.id),
        };
        Standing {
            is_infix: false,
            asked: Reverse(asked),
            priority: Reverse(item.priority),
            length: segment.lengths[doc as usize],
        }
    }

    /// Whether one that stands so would be among the best, if it matches and may be seen.
    fn has_room_for(&self, standing: Standing, place: Place) -> bool {
        if self.kept.len() < self.k {
            return true;
        }
        let Some((worst, last)) = self.kept.last() else {
            return false;
        };
        // Within a segment, entries stand in the order of ids.
        standing < *worst
            || standing == *worst && !(place.0 == last.0 && place.1 >= last.1) && self.id(place) < self.id(*last)
    }

    fn offer(&mut self, standing: Standing, place: Place) {
        if !self.has_room_for(standing, place) || !self.is_visible(place) {
            return;
        }
        let entry = self.item(place);
        if let Some(at) = self.kept.iter().position(|(_, other)| self.item(*other) == entry) {
            if self.kept[at].0 <= standing {
                return;
            }
            self.kept.remove(at);
        }
        let id = self.id(place);
        let before = |(other, at): &(Standing, Place)| (*other, self.id(*at)) < (standing, id);
        let at = self.kept.partition_point(before);
        self.kept.insert(at, (standing, place));
        self.kept.truncate(self.k);
    }

    fn is_visible(&self, place: Place) -> bool {
        let part = &self.parts[place.0];
        let is_open = part.segment.is_open(place.1) && self.scope.category.is_none();
        part.is_alive(place.1) && (is_open || self.scope.admits(self.entry(place)))
    }

    fn item(&self, (number, doc): Place) -> (usize, u32) {
        (number, self.parts[number].segment.doc(doc).item)
    }

    fn entry(&self, place: Place) -> &Arc<Entry> {
        let (number, item) = self.item(place);
        &self.parts[number].segment.item(item).entry
    }

    fn id(&self, place: Place) -> &EntryId {
        &self.entry(place).id
    }

    fn into_suggestions(self) -> Vec<Suggestion> {
        let suggestion = |(_, place): &(Standing, Place)| Suggestion {
            entry: Arc::clone(self.entry(*place)),
            phrasing: self.parts[place.0].segment.doc(place.1).phrasing,
        };
        self.kept.iter().map(suggestion).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::{Answer, Channel, Dictionaries, State};
    use crate::matching::Change;

    const SCOPE: Scope<'static> = Scope {
        account: "a",
        channel: Channel::Api,
        now: 1_000,
        category: None,
    };

    fn entry(id: &str, question: &str) -> Entry {
        Entry::new(
            EntryId::parse(id).unwrap(),
            question.to_owned(),
            Answer::Text("…".into()),
        )
    }

    fn index(entries: Vec<Entry>) -> Index {
        let class = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let dictionaries = Dictionaries {
            synonyms: vec![class(&["北交所", "北京证券交易所"])],
            ..Dictionaries::default()
        };
        Index::build(
            entries.into_iter().map(Arc::new),
            Arc::new(Analyzer::new(&dictionaries)),
        )
    }

    fn ids(index: &Index, typed: &str) -> Vec<String> {
        let found = index.suggest(typed, SCOPE, &Popularity::default(), 8);
        found.iter().map(|suggestion| suggestion.entry.id.to_string()).collect()
    }

    #[test]
    fn a_question_is_found_by_whatever_it_begins_with() {
        let bank = index(vec![
            entry("kcb", "科创板怎么开户"),
            entry("etf", "ETF是什么"),
            entry("t1", "T+1什么时候到账"),
            entry("300", "300ETF的费用"),
            entry("vip", "VIP通道在哪里"),
            entry("vip2", "申请vip"),
            entry("xa", "西安有营业部吗"),
            entry("fa", "方案在哪里看"),
            entry("bjs", "北京证券交易所如何开户"),
        ]);
        let cases = [
            ("科", "kcb"),
            ("科创板怎", "kcb"),
            ("科创板如", "kcb"),
            ("科創板", "kcb"),
            ("k", "kcb"),
            ("kcb", "kcb"),
            ("KCB", "kcb"),
            ("kech", "kcb"),
            ("kechu", "kcb"),
            ("kechuangban", "kcb"),
            ("kecuanban", "kcb"),
            ("kechuangbanzenmek", "kcb"),
            ("kecb", "kcb"),
            ("kcban", "kcb"),
            ("kchb", "kcb"),
            ("科创b", "kcb"),
            ("科创ban", "kcb"),
            ("ke创b", "kcb"),
            ("ke chuang", "kcb"),
            ("e", "etf"),
            ("et", "etf"),
            ("etf是", "etf"),
            ("etfss", "etf"),
            ("etfshishenm", "etf"),
            ("viptongdao", "vip"),
            ("viptd", "vip"),
            ("shenqingvi", "vip2"),
            ("t", "t1"),
            ("T+", "t1"),
            ("t+1什", "t1"),
            ("3", "300"),
            ("300e", "300"),
            ("xian", "xa"),
            ("xi'an", "xa"),
            ("fangan", "fa"),
            ("北京证券", "bjs"),
            ("北京证券交易所如", "bjs"),
            ("北交", "bjs"),
        ];
        for (typed, expected) in cases {
            assert_eq!(ids(&bank, typed).first().map(String::as_str), Some(expected), "{typed}");
        }
        for nothing in [
            "",
            "？",
            "火星",
            "kcx",
            "kuku",
            "etg",
            "3001",
            "我想咨",
            &"科".repeat(400),
        ] {
            assert_eq!(ids(&bank, nothing), [""; 0], "{nothing}");
        }
    }

    #[test]
    fn beginnings_come_first_then_what_is_asked_most_then_priority_length_and_id() {
        let mut bank = vec![
            entry("e-long", "开户需要什么条件"),
            entry("d-short", "开户条件"),
            entry("c-short", "开户年龄"),
            entry("b-infix", "怎么开户"),
            entry("a-infix", "科创板怎么开户"),
        ];
        bank[0].similar.push("如何开户啊请说".to_owned());
        assert_eq!(
            ids(&index(bank.clone()), "开户"),
            ["c-short", "d-short", "e-long", "b-infix", "a-infix"]
        );
        assert_eq!(
            ids(&index(bank.clone()), "kh"),
            ["c-short", "d-short", "e-long", "b-infix", "a-infix"]
        );
        bank[0].priority = 1;
        bank[4].priority = -1;
        assert_eq!(
            ids(&index(bank.clone()), "开户"),
            ["e-long", "c-short", "d-short", "b-infix", "a-infix"]
        );
        let mut popularity = Popularity::default();
        for id in ["a-infix", "d-short", "d-short", "e-long"] {
            popularity.note(&EntryId::parse(id).unwrap());
        }
        let found = |k| -> Vec<String> {
            let found = index(bank.clone()).suggest("开户", SCOPE, &popularity, k);
            found.iter().map(|suggestion| suggestion.entry.id.to_string()).collect()
        };
        assert_eq!(found(8), ["d-short", "e-long", "c-short", "a-infix", "b-infix"]);
        for k in 0..5 {
            assert_eq!(found(k), found(8)[..k]);
        }
    }

    /// What [`Index::suggest`] promises, by comparing every phrasing.
    fn exhaustive(index: &Index, typed: &str, popularity: &Popularity, k: usize) -> Vec<String> {
        let bank = Bank {
            lexicon: index.lexicon(),
            vocabulary: index.vocabulary(),
        };
        let patterns = readings(typed, index.analyzer()).into_iter();
        let patterns: Vec<Pattern> = patterns.filter_map(|reading| Pattern::new(&reading, bank)).collect();
        let best = Best::new(index.parts(), SCOPE, popularity, k);
        let mut found = std::collections::BTreeMap::new();
        for (number, part) in index.parts().iter().enumerate() {
            for doc in 0..part.segment.documents() as u32 {
                let row = part.segment.row(doc).units;
                let begins = patterns.iter().any(|pattern| pattern.begins(row));
                if best.is_visible((number, doc)) && (begins || patterns.iter().any(|pattern| pattern.is_within(row))) {
                    let standing = Standing {
                        is_infix: !begins,
                        ..best.standing((number, doc))
                    };
                    let id = best.id((number, doc)).to_string();
                    let known = found.entry(id).or_insert(standing);
                    *known = standing.min(*known);
                }
            }
        }
        let mut found: Vec<(Standing, String)> = found.into_iter().map(|(id, standing)| (standing, id)).collect();
        found.sort();
        found.into_iter().take(k).map(|(_, id)| id).collect()
    }

    /// An edited bank of such priorities, with what was asked of it.
    fn random_bank(priorities: &[i32]) -> (Index, Popularity) {
        let words = [
            "科创板",
            "开户",
            "怎么",
            "客户",
            "ETF",
            "可以",
            "看",
            "费用",
            "多少",
            "卡",
            "50万",
            "如何",
            "开通",
            "基金",
        ];
        let mut state = 7_u64;
        let mut random = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % below
        };
        let mut popularity = Popularity::default();
        let mut bank = Vec::new();
        for n in 0..4_000 {
            let question: String = (0..=random(5)).map(|_| words[random(words.len())]).collect();
            let mut entry = entry(&format!("e{}", n * 7 % 4_000), &question);
            entry.similar = (0..random(3))
                .map(|_| words[random(words.len())].repeat(1 + random(2)))
                .collect();
            entry.priority = priorities[random(priorities.len())];
            for _ in 0..random(400).saturating_sub(395) {
                popularity.note(&entry.id);
            }
            bank.push(entry);
        }
        let mut index = index(bank.clone());
        for entry in bank.into_iter().take(60) {
            let question = words[random(words.len())].to_owned();
            index = index.apply(&[Change::Put(Arc::new(Entry { question, ..entry }))]);
        }
        (index, popularity)
    }

    #[test]
    fn what_is_left_out_unseen_would_not_have_been_among_the_best() {
        let typed = [
            "k",
            "kh",
            "kaih",
            "kaihu",
            "ke",
            "kecbkaihu",
            "开",
            "开户",
            "户",
            "科创板如",
            "zenm",
            "zm",
            "e",
            "etf",
            "etfkaihu",
            "5",
            "50w",
            "费yong",
            "s",
            "ds",
            "duoshao",
            "ktjj",
            "tf",
            "kk",
            "怎么开通",
            "万",
            "jijin",
            "卡卡",
            "卡",
            "看",
            "费",
            "多",
        ];
        for priorities in [&[0][..], &[0, 0, 0, 3, -2]] {
            let (index, popularity) = random_bank(priorities);
            for typed in typed {
                for k in [1, 3, 8] {
                    let found = index.suggest(typed, SCOPE, &popularity, k);
                    let found: Vec<String> = found.iter().map(|found| found.entry.id.to_string()).collect();
                    assert_eq!(found, exhaustive(&index, typed, &popularity, k), "{typed} {k}");
                }
            }
        }
    }

    #[test]
    fn only_what_the_scope_admits_is_suggested() {
        let mut bank = vec![
            entry("open", "开户条件"),
            entry("draft", "开户草稿"),
            entry("other", "开户账号"),
            entry("wechat", "开户渠道"),
            entry("past", "开户活动"),
            entry("future", "开户新规"),
        ];
        bank[1].state = State::Draft;
        bank[2].accounts.push("b".to_owned());
        bank[3].channels.push(Channel::Wechat);
        bank[4].valid_until = Some(1_000);
        bank[5].valid_from = Some(1_001);
        assert_eq!(ids(&index(bank.clone()), "开户"), ["open"]);
        let hot = |k| index(bank.clone()).hottest(SCOPE, &Popularity::default(), k, |_| true);
        assert_eq!(
            hot(8).iter().map(|entry| entry.id.as_str()).collect::<Vec<_>>(),
            ["open"]
        );
    }

    #[test]
    fn an_index_of_edits_suggests_what_one_built_at_once_does() {
        let questions = [
            "开户条件",
            "如何开户",
            "科创板开户",
            "开通ETF",
            "销户流程",
            "etf申购",
            "开户 2024",
        ];
        let entry = |n: usize, turn: usize| entry(&format!("e{n}"), questions[(n * 3 + turn) % questions.len()]);
        let mut edited = index((0..20).map(|n| entry(n, 0)).collect());
        for n in 10..30 {
            let put = Change::Put(Arc::new(entry(n, 1)));
            edited = edited.apply(&[put, Change::Remove(EntryId::parse(&format!("e{}", n - 10)).unwrap())]);
        }
        let built = index((20..30).map(|n| entry(n, 1)).collect());
        let left: Vec<String> = (20..30).map(|n| format!("e{n}")).collect();
        assert!(edited.len() >= left.len());
        let edits: Vec<Change> = (0..20)
            .map(|n| Change::Remove(EntryId::parse(&format!("e{n}")).unwrap()))
            .collect();
        edited = edited.apply(&edits);
        for typed in ["开", "kai", "kh", "e", "etf", "户", "2", "hu", "如", "liu"] {
            assert_eq!(ids(&edited, typed), ids(&built, typed), "{typed}");
            assert_eq!(ids(&edited.compacted(), typed), ids(&built, typed), "{typed}");
        }
        assert!(!ids(&built, "kh").is_empty() && !ids(&built, "2").is_empty());
    }

    #[test]
    fn what_is_asked_most_is_hottest_and_the_rest_follows_by_priority_and_id() {
        let mut bank: Vec<Entry> = ["a", "b", "c", "d"].map(|id| entry(id, id)).into();
        bank[2].priority = 5;
        let bank = index(bank);
        let mut popularity = Popularity::default();
        let hot = |popularity: &Popularity, k| -> Vec<String> {
            let found = bank.hottest(SCOPE, popularity, k, |entry| entry.id.as_str() != "d");
            found.iter().map(|entry| entry.id.to_string()).collect()
        };
        assert_eq!(hot(&popularity, 8), ["c", "a", "b"]);
        for id in ["b", "gone", "d"] {
            popularity.note(&EntryId::parse(id).unwrap());
        }
        assert_eq!(hot(&popularity, 8), ["b", "c", "a"]);
        assert_eq!(hot(&popularity, 1), ["b"]);
    }
}
