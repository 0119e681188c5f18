//! Matching as its callers see it: acceptance on a small bank.

mod explained;
mod edits;
mod evaluation;

use proptest::prelude::*;
use std::sync::{Arc, LazyLock};
use wxfaq::bank::{Answer, Channel, Dictionaries, Entry, EntryId, State};
use wxfaq::matching::{Analyzer, Change, Decision, Guard, Index, Scope, Score, Thresholds};

static ANALYZER: LazyLock<Arc<Analyzer>> = LazyLock::new(|| {
    let group = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let dictionaries = Dictionaries {
        synonyms: vec![group(&["销户", "注销账户"])],
        contrast: vec![group(&["转入", "转出"]), group(&["科创板", "创业板"])],
        stopwords: group(&["的", "了"]),
        ..Dictionaries::default()
    };
    Arc::new(Analyzer::new(&dictionaries))
});

const DEFAULT: Thresholds = Thresholds {
    answer: 0.8,
    suggest: 0.6,
};

fn scope() -> Scope<'static> {
    Scope {
        account: "demo",
        channel: Channel::Wechat,
        now: 1_000,
        category: None,
    }
}

fn entry(id: &str, question: &str, similar: &[&str], answer: &str) -> Entry {
    Entry {
        id: EntryId::parse(id).expect("a test writes valid ids"),
        question: question.into(),
        similar: similar.iter().map(|&text| text.into()).collect(),
        answer: Answer::Text(answer.into()),
        category: String::new(),
        tags: Box::default(),
        state: State::Published,
        accounts: Box::default(),
        channels: Box::default(),
        valid_from: None,
        valid_until: None,
        priority: 0,
    }
}

fn small_bank() -> Vec<Entry> {
    vec![
        entry(
            "kc",
            "科创板怎么开户",
            &["开通科创板需要什么条件"],
            "日均资产五十万元，交易满两年。",
        ),
        entry(
            "cy",
            "创业板怎么开户",
            &["开通创业板需要什么条件"],
            "日均资产十万元，交易满两年。",
        ),
        entry("in", "资金怎么转入证券账户", &[], "在银证转账里选择银行转证券。"),
        entry("out", "资金怎么转出证券账户", &[], "在银证转账里选择证券转银行。"),
        entry("close", "怎么注销账户", &["销户要本人去吗"], "带身份证到营业部办理。"),
        entry("fee", "ETF交易佣金是多少", &[], "一般万分之二点五，最低五元。"),
        entry(
            "pw",
            "忘记交易密码怎么办",
            &["交易密码被锁定"],
            "用手机号和身份证重置。",
        ),
    ]
}

fn index(entries: Vec<Entry>) -> Index {
    Index::build(entries.into_iter().map(Arc::new), Arc::clone(&ANALYZER))
}

/// Texts in which everything happens: the bank's words, pinyin, signs, anything.
fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => prop::sample::select(vec!["科创板", "开户", "怎么", "转出", "密码", "kaihu", "kcb", "ETF", "三千", "50万", "[微笑]", "/::)", " ", "？"])
            .prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
        1 => "[\u{4e00}-\u{9fff}]{1,3}",
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

#[test]
fn typing_errors_pinyin_and_initials_find_their_entry() {
    let index = index(small_bank());
    let first = |query: &str| {
        index
            .search(query, scope(), 3)
            .hits
            .first()
            .map(|hit| hit.entry.id.to_string())
    };
    for query in [
        "客创板 咋开护",
        "kechuangban zenme kaihu",
        "kcb开户",
        "科創板如何開戶？",
        "请问科创板怎么开户呀[微笑]",
    ] {
        assert_eq!(first(query).as_deref(), Some("kc"), "{query}");
    }
    assert_eq!(first("注销账户要本人去吗").as_deref(), Some("close"), "by synonym");
}

#[test]
fn another_domain_is_not_answered() {
    let index = index(small_bank());
    for query in ["今天天气怎么样", "讲个笑话", "", "🙂🙂", "？？？"] {
        assert_eq!(
            index.search(query, scope(), 3).decide(DEFAULT),
            Decision::None,
            "{query}"
        );
    }
}

#[test]
fn an_exact_phrasing_wins_with_certainty_unless_two_entries_have_it() {
    let mut bank = small_bank();
    let exact = index(bank.clone()).search("开通科创板需要什么条件？", scope(), 3);
    assert_eq!((exact.hits[0].score, exact.hits[0].phrasing), (Score::EXACT, 1));
    assert_eq!(exact.decide(DEFAULT), Decision::Answer);
    bank.push(entry("kc2", "开通科创板需要什么条件", &[], "另一个答案"));
    let twice = index(bank).search("开通科创板需要什么条件", scope(), 3);
    assert_eq!(twice.guard, Some(Guard::CloseSecond));
    assert_eq!(twice.decide(DEFAULT), Decision::Suggest);
}

#[test]
fn of_many_entries_with_the_same_question_the_first_by_priority_and_id_are_shown() {
    let same = |number: u32| {
        let id = format!("n{:03}", number * 7 % 200);
        let mut entry = entry(&id, "科创板怎么开户？", &[], &format!("答案{number}"));
        entry.priority = i32::from(number % 50 == 49);
        entry
    };
    let bank: Vec<Entry> = (0..200).map(same).collect();
    let mut expected: Vec<&Entry> = bank.iter().collect();
    expected.sort_by(|a, b| b.priority.cmp(&a.priority).then_with(|| a.id.cmp(&b.id)));
    let whole = index(bank.clone());
    let edits: Vec<Change> = bank.iter().cloned().map(Arc::new).map(Change::Put).collect();
    let edited = edits
        .chunks(9)
        .fold(index(Vec::new()), |index, edits| index.apply(edits));
    for index in [whole, edited] {
        let found = index.search("科创板 怎么开户", scope(), 50);
        assert!(found.hits.iter().all(|hit| hit.score == Score::EXACT));
        let ids: Vec<&str> = found.hits.iter().map(|hit| hit.entry.id.as_str()).collect();
        let expected: Vec<&str> = expected[..50].iter().map(|entry| entry.id.as_str()).collect();
        assert_eq!(ids, expected);
    }
}

#[test]
fn a_bare_subject_gets_the_list_of_what_is_known_about_it() {
    let questions = [
        "网上开户的完整流程是什么",
        "开户需要多少钱",
        "未成年人可以开户吗",
        "忘记交易密码怎么重置",
        "跨行转账收手续费吗",
        "银证转账几点到几点可以转",
        "基金转换是什么怎么操作",
    ];
    let bank = (0..)
        .zip(questions)
        .map(|(n, question)| entry(&format!("e{n}"), question, &[], &format!("答{n}")));
    let index = index(bank.collect());
    for (subject, known) in [
        ("开户", true),
        ("密码", true),
        ("转账", true),
        ("基金", true),
        ("天气", false),
        ("签证", false),
    ] {
        let found = index.search(subject, scope(), 5);
        let expected = if known { Decision::Suggest } else { Decision::None };
        assert_eq!(found.decide(DEFAULT), expected, "{subject}: {:?}", found.guard);
        assert!(!known || found.hits[0].entry.question.contains(subject), "{subject}");
    }
}

#[test]
fn the_same_wording_is_worth_less_where_many_entries_are_worded_so() {
    let charges = [
        "年费",
        "利息",
        "违约金",
        "滞纳金",
        "取现费",
        "分期费",
        "补卡费",
        "挂失费",
    ];
    let entries: Vec<Entry> = (0..)
        .zip(charges)
        .map(|(n, charge)| {
            entry(
                &format!("charge-{n}"),
                &format!("信用卡的{charge}是怎么收取的"),
                &[],
                charge,
            )
        })
        .collect();
    let (query, first) = ("信用卡年费收取规则是怎么样的", &entries[..1]);
    let small_bank = small_bank();
    let few = index(small_bank.iter().chain(first).cloned().collect());
    let many = index(small_bank.iter().chain(&entries).cloned().collect());
    let [few, many] = [few, many].map(|index| index.search(query, scope(), 3));
    for matches in [&few, &many] {
        assert_eq!(matches.hits[0].entry.id.as_str(), "charge-0");
    }
    assert_eq!(few.decide(DEFAULT), Decision::Answer, "{few:?}");
    assert_eq!(many.decide(DEFAULT), Decision::Suggest, "{many:?}");
    assert_eq!(many.guard, None, "nothing but the crowd stands against it");
}

#[test]
fn a_contrast_is_never_answered_directly() {
    let mut bank = small_bank();
    bank.retain(|entry| entry.id.as_str() != "out");
    let index = index(bank);
    let matches = index.search("资金怎么转出证券账户", scope(), 3);
    assert_eq!(matches.hits[0].entry.id.as_str(), "in");
    assert_eq!(matches.guard, Some(Guard::Contrast));
    assert_ne!(matches.decide(DEFAULT), Decision::Answer);
    let trace = index.explain("资金怎么转出证券账户", scope(), 3, DEFAULT);
    let named = Some(("转出".to_owned(), "转入".to_owned()));
    assert_eq!(trace.candidates[0].contrast, named);
    assert!(
        trace.to_string().contains("the query names 转出, this one 转入"),
        "{trace}"
    );
}

#[test]
fn a_scope_shows_only_what_it_may() {
    let mut hidden = entry("a", "科创板怎么开户", &[], "答");
    let found = |entry: &Entry, scope: Scope<'_>| {
        !index(vec![entry.clone()])
            .search("科创板怎么开户", scope, 1)
            .hits
            .is_empty()
    };
    assert!(found(&hidden, scope()));
    hidden.valid_from = Some(1_000);
    hidden.valid_until = Some(1_001);
    assert!(found(&hidden, scope()), "from its first second");
    assert!(!found(&hidden, Scope { now: 1_001, ..scope() }), "no longer at its end");
    assert!(!found(&hidden, Scope { now: 999, ..scope() }));
    hidden.category = "开户/科创板".into();
    assert!(found(
        &hidden,
        Scope {
            category: Some("开户"),
            ..scope()
        }
    ));
    assert!(
        !found(
            &hidden,
            Scope {
                category: Some("开"),
                ..scope()
            }
        ),
        "a category is no text prefix"
    );
    hidden.accounts = ["other".into()].into();
    assert!(!found(&hidden, scope()));
    hidden.accounts = Box::default();
    hidden.channels = [Channel::H5].into();
    assert!(!found(&hidden, scope()));
    hidden.channels = Box::default();
    hidden.state = State::Draft;
    assert!(!found(&hidden, scope()));
}
