//! Tests of suggesting.

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
    bank[2].accounts = ["b".to_owned()].into();
    bank[3].channels = [Channel::Wechat].into();
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
