//! Matching as its callers see it: properties of the index, acceptance on a small bank, and the development tasks.

use arc_swap::ArcSwap;
use proptest::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use wxfaq::bank::{Answer, Channel, Dictionaries, Entry, EntryId, State};
use wxfaq::matching::confidence::calibrate;
use wxfaq::matching::metrics::{LabelledQuery, agreement, evaluate};
use wxfaq::matching::trace::PartTrace;
use wxfaq::matching::{Analyzer, Change, Decision, Guard, Index, Matches, Scope, Score, Thresholds, Trace};

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

fn seen(matches: &Matches) -> (Vec<(String, u16, u16)>, Option<Guard>) {
    let hits = matches
        .hits
        .iter()
        .map(|hit| (hit.entry.id.to_string(), hit.score.steps(), hit.phrasing));
    (hits.collect(), matches.guard)
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

#[test]
fn an_explanation_adds_up_and_agrees_with_the_search() {
    let index = index(small_bank());
    for query in ["科创板开户条件", "客创板 咋开护", "密码忘了", "ETF 佣金 5%"] {
        let (trace, matches) = (
            index.explain(query, scope(), 5, DEFAULT),
            index.search(query, scope(), 5),
        );
        assert_eq!(untold(&trace, &matches), Vec::<String>::new(), "{query}");
        assert!(trace.to_string().contains("decision"));
    }
}

/// What of `matches` is not explained by `trace`, to the last bit.
fn untold(trace: &Trace, matches: &Matches) -> Vec<String> {
    let mut untold = Vec::new();
    if (trace.decision, trace.guard) != (matches.decide(DEFAULT), matches.guard) {
        untold.push(format!("decision {:?}", trace.decision));
    }
    if trace.candidates.len() != matches.hits.len() {
        untold.push(format!("{} of {} hits", trace.candidates.len(), matches.hits.len()));
    }
    for (candidate, hit) in trace.candidates.iter().zip(&matches.hits) {
        let sum = |value: fn(&PartTrace) -> f64| candidate.parts.iter().map(value).sum::<f64>();
        let lead = candidate
            .parts
            .iter()
            .find(|part| part.feature == "lead")
            .map(|part| part.value);
        let rival = candidate.rival.as_ref().map_or(0.0, |rival| rival.likeness);
        let calibrated = if candidate.exact {
            Score::EXACT
        } else {
            calibrate(candidate.score)
        };
        let same = |what: &str, a: f64, b: f64| {
            (a.to_bits() != b.to_bits()).then(|| format!("{}: {what}: {a} is not {b}", candidate.id))
        };
        untold.extend(same(
            "score",
            trace.intercept + sum(|part| part.contribution),
            candidate.score,
        ));
        untold.extend(same("confidence", calibrated.get(), hit.score.get()));
        untold.extend(same("shown confidence", candidate.confidence, hit.score.get()));
        untold.extend(same("likeness", sum(|part| part.likeness), candidate.likeness));
        untold.extend(same("rival", sum(|part| part.rival_likeness), rival));
        untold.extend(same("lead", candidate.likeness - rival, lead.unwrap_or(f64::NAN)));
        for part in &candidate.parts {
            // Contributions are rounded to about a millionth.
            let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
            let told = near(part.value * part.weight, part.contribution)
                && near(part.value * part.likeness_weight, part.likeness)
                && near(part.rival_value * part.likeness_weight, part.rival_likeness);
            untold.extend((!told).then(|| format!("{}: {part:?}", candidate.id)));
        }
        let phrasings: Vec<&str> = hit.entry.phrasings().collect();
        if candidate.id != hit.entry.id.as_str() || candidate.matched != phrasings[usize::from(hit.phrasing)] {
            untold.push(format!("{} is {}", candidate.id, hit.entry.id));
        }
        if candidate.rival.as_ref().is_some_and(|rival| rival.id == candidate.id) {
            untold.push(format!("{} is its own rival", candidate.id));
        }
    }
    untold
}

#[test]
fn a_thousand_edits_one_by_one_leave_what_a_rebuild_would() {
    let numbered = |n: usize, round: usize| {
        let what = ["开户", "销户", "转账", "密码", "佣金", "申购", "赎回"][(n + round) % 7];
        entry(
            &format!("e{n}"),
            &format!("第{n}号产品怎么{what}"),
            &[&format!("{what}第{n}号")],
            "答",
        )
    };
    let mut bank: Vec<Entry> = small_bank();
    let mut edited = index(bank.clone());
    for edit in 0..1_000 {
        let (n, round) = (edit * 37 % 300, edit / 300);
        let change = if edit % 5 == 4 {
            let id = numbered(n, 0).id;
            bank.retain(|entry| entry.id != id);
            Change::Remove(id)
        } else {
            let entry = numbered(n, round);
            bank.retain(|other| other.id != entry.id);
            bank.push(entry.clone());
            Change::Put(Arc::new(entry))
        };
        edited = edited.apply(&[change]);
    }
    let rebuilt = index(bank);
    let compacted = edited.compacted();
    assert_eq!(edited.len(), rebuilt.len());
    assert!(edited.content() == rebuilt.content() && compacted.content() == rebuilt.content());
    for query in [
        "第37号产品怎么开户",
        "销户",
        "mima",
        "申购第12号",
        "科创板开户",
        "佣金 多少",
    ] {
        let expected = seen(&rebuilt.search(query, scope(), 10));
        assert_eq!(seen(&edited.search(query, scope(), 10)), expected, "{query}");
        assert_eq!(seen(&compacted.search(query, scope(), 10)), expected, "{query}");
    }
}

/// Enough entries for more than one piece, and for two cores to file them.
#[test]
fn a_bank_in_pieces_is_the_bank_as_a_whole_and_the_bank_of_edits() {
    const WHAT: [&str; 7] = ["开户", "销户", "转账", "密码", "佣金", "申购", "赎回"];
    let numbered = |n: usize| {
        let (what, other) = (WHAT[n % 7], WHAT[n / 7 % 7]);
        let question = format!("第{n}号产品怎么{what}");
        Arc::new(entry(
            &format!("e{n:04}"),
            &question,
            &[&format!("{what}和{other}第{n}号")],
            other,
        ))
    };
    let bank: Vec<Arc<Entry>> = (0..3_000).map(numbered).collect();
    let whole = Index::build(bank.iter().cloned(), Arc::clone(&ANALYZER));
    let pieces = bank.chunks(70).map(<[_]>::to_vec);
    let pieces = Index::build_in_pieces(pieces, Arc::clone(&ANALYZER));
    let edits: Vec<Change> = bank.iter().rev().cloned().map(Change::Put).collect();
    let edited = edits
        .chunks(1_000)
        .fold(index(Vec::new()), |index, edits| index.apply(edits));
    for index in [&pieces, &edited] {
        assert_eq!(index.len(), bank.len());
        assert!(index.content() == whole.content());
    }
    for entry in bank.iter().step_by(100) {
        for query in entry.phrasings().chain([entry.question.trim_start_matches('第')]) {
            let expected = seen(&whole.search(query, scope(), 10));
            assert_eq!(
                expected.0.first().map(|hit| hit.0.as_str()),
                Some(entry.id.as_str()),
                "{query}"
            );
            assert_eq!(seen(&pieces.search(query, scope(), 10)), expected, "{query}");
            assert_eq!(seen(&edited.search(query, scope(), 10)), expected, "{query}");
        }
        assert_eq!(pieces.entry(entry.id.as_str()), Some(entry));
    }
}

/// Each edit gives every entry its own number as the answer, so a search that saw two versions would show it.
#[test]
fn readers_during_edits_never_see_a_mixture() {
    const EDITS: usize = 300;
    let version = |number: usize| -> Vec<Entry> {
        let answer = number.to_string();
        let renumbered = |entry: Entry| Entry {
            answer: Answer::Text(answer.clone()),
            ..entry
        };
        small_bank().into_iter().map(renumbered).collect()
    };
    let versions_of = |matches: &Matches| -> Vec<usize> {
        let answers = matches.hits.iter().map(|hit| hit.entry.answer.content().into_owned());
        answers.map(|answer| answer.parse().unwrap()).collect()
    };
    let query = "科创板怎么开户";
    let first = index(version(0));
    let ids = seen(&first.search(query, scope(), 10));
    let published = ArcSwap::from_pointee(first.clone());
    let is_done = AtomicBool::new(false);
    let read = || {
        let (mut latest, mut searches) = (0, 0_usize);
        while !is_done.load(Ordering::Acquire) || searches == 0 {
            let matches = published.load().search(query, scope(), 10);
            let versions = versions_of(&matches);
            assert!(
                versions.iter().all(|version| *version == versions[0]),
                "a mixture: {versions:?}"
            );
            assert!(versions[0] >= latest, "back from {latest} to {}", versions[0]);
            assert_eq!(seen(&matches), ids);
            latest = versions[0];
            searches += 1;
        }
        searches
    };
    let searches: Vec<usize> = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2).map(|_| scope.spawn(read)).collect();
        for number in 1..=EDITS {
            let changes = version(number).into_iter().map(|entry| Change::Put(Arc::new(entry)));
            let mut next = published.load().apply(&changes.collect::<Vec<_>>());
            if next.wants_compaction() || number % 50 == 0 {
                next = next.compacted();
            }
            published.store(Arc::new(next));
        }
        is_done.store(true, Ordering::Release);
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    println!("{EDITS} edits of the whole bank, {searches:?} searches meanwhile");
    assert!(
        versions_of(&first.search(query, self::scope(), 10))
            .iter()
            .all(|version| *version == 0),
        "what is held stays"
    );
    assert_eq!(
        versions_of(&published.load().search(query, self::scope(), 10))[0],
        EDITS
    );
}

#[test]
fn two_processes_find_the_same_in_whatever_order_the_bank_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let bank = std::fs::read_to_string("config/sample-bank.jsonl").unwrap();
    let backwards: Vec<&str> = bank.lines().rev().collect();
    let run = |name: &str, bank: &str| {
        let [bank_file, out] = ["bank.jsonl", "run.jsonl"].map(|end| folder.path().join(format!("{name}-{end}")));
        std::fs::write(&bank_file, bank).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_wxfaq"));
        command
            .current_dir(folder.path())
            .arg("eval")
            .arg("--bank")
            .arg(&bank_file);
        let queries = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/sample-queries.jsonl");
        command.args(["--queries", queries, "--run-out"]).arg(&out);
        let ended = command.output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        std::fs::read_to_string(out).unwrap()
    };
    let found = run("first", &bank);
    assert!(found.lines().count() > 400, "{}", found.lines().count());
    assert!(found == run("second", &backwards.join("\n")), "the runs differ");
}

#[test]
fn a_query_that_follows_on_an_entry_the_bank_does_not_have_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let queries = folder.path().join("queries.jsonl");
    let eval = |after: &str| {
        let first = r#"{"id":"1","query":"科创板开户","relevant":["sec-001"]}"#;
        let second = format!(r#"{{"id":"2","query":"那费用呢","relevant":[],"after":"{after}"}}"#);
        std::fs::write(&queries, format!("{first}\n\n{second}\n")).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_wxfaq"));
        command.current_dir(folder.path()).args(["eval", "--bank"]);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/config/sample-bank.jsonl"));
        let ended = command.arg("--queries").arg(&queries).output().unwrap();
        (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
    };
    assert_eq!(eval("sec-001").0, Some(0));
    let (code, said) = eval("sec-nowhere");
    let expected = format!("{}:3: after: the bank has no entry \"sec-nowhere\"", queries.display());
    assert!(code == Some(65) && said.contains(&expected), "{code:?} {said}");
}

/// The levels of "words BM25" on a development task (eval/README.md of the shared folder), which matching must beat.
#[test]
fn colloquial_questions_are_ranked_better_than_by_words() {
    let folder = std::env::var("WXFAQ_SHARED_DIR").unwrap_or_else(|_| "../shared".into());
    let read = |file: &str| std::fs::read_to_string(format!("{folder}/eval/ant/{file}")).ok();
    let (Some(bank), Some(queries)) = (read("bank.jsonl"), read("queries.jsonl")) else {
        println!("{folder}/eval/ant is absent: 0 cases");
        return;
    };
    let entries = bank.lines().map(|line| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let similar: Vec<&str> = row["similar"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|text| text.as_str())
            .collect();
        entry(
            row["id"].as_str().unwrap(),
            row["question"].as_str().unwrap(),
            &similar,
            "",
        )
    });
    let index = index(entries.collect());
    // Every second query keeps an unoptimised build within seconds.
    let queries: Vec<LabelledQuery> = queries
        .lines()
        .step_by(2)
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let found = agreement(&index, &queries[..queries.len() / 4], DEFAULT);
    println!("candidates against everything: {found:?}");
    assert!(found.same_first_hit * 100 >= found.queries * 99, "{found:?}");
    let summary = evaluate(&index, &queries, DEFAULT).summary;
    let (hit_at_1, auc) = (summary.ranks.unwrap().hit_at_1, summary.auc_in_out.unwrap());
    println!(
        "{} cases of {folder}/eval/ant: hit@1 {hit_at_1:.3}, AUC {auc:.3}",
        queries.len()
    );
    assert!(
        hit_at_1 > 0.40 && auc > 0.80,
        "hit@1 {hit_at_1}, AUC {auc}; by words 0.355 and 0.764"
    );
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_panics_and_every_hit_shares_a_term_and_is_explained(text in any_text()) {
        let index = index(small_bank());
        let trace = index.explain(&text, scope(), 10, DEFAULT);
        let matches = index.search(&text, scope(), 10);
        prop_assert!(matches.hits.is_sorted_by(|a, b| a.score >= b.score));
        let shares = trace.fields.iter().flat_map(|field| &field.terms).any(|term| term.doc_freq > 0);
        prop_assert!(matches.hits.is_empty() || shares, "{trace}");
        prop_assert_eq!(untold(&trace, &matches), Vec::<String>::new());
    }

    #[test]
    fn edits_leave_what_a_rebuild_would(texts in prop::collection::vec(any_text(), 1..5), query in any_text(), removed in 0_usize..7) {
        let mut bank = small_bank();
        let added: Vec<Entry> = texts.iter().enumerate().map(|(n, text)| entry(&format!("n{n}"), text, &[], "答")).collect();
        let gone = bank[removed].id.clone();
        let mut changes: Vec<Change> = added.iter().map(|entry| Change::Put(Arc::new(entry.clone()))).collect();
        changes.push(Change::Remove(gone.clone()));
        changes.push(Change::Remove(EntryId::parse("absent").unwrap()));
        let edited = index(bank.clone()).apply(&changes);
        bank.retain(|entry| entry.id != gone);
        bank.extend(added);
        bank.reverse();
        let rebuilt = index(bank);
        prop_assert_eq!(edited.len(), rebuilt.len());
        let compacted = edited.compacted();
        prop_assert!(edited.content() == rebuilt.content() && compacted.content() == rebuilt.content());
        for query in texts.iter().chain([&query]) {
            let expected = seen(&rebuilt.search(query, scope(), 10));
            prop_assert_eq!(seen(&edited.search(query, scope(), 10)), expected.clone());
            prop_assert_eq!(seen(&compacted.search(query, scope(), 10)), expected);
        }
    }
}
