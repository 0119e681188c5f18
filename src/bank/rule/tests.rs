//! Rules as files, held to limits, compared with one another.

use super::file::{self, Verdict, plan};
use super::*;
use crate::bank::import::Mode;
use crate::bank::{Article, Entry};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The rules of a file in which nothing is wrong.
fn rules(text: &str) -> Vec<Rule> {
    file::read(text)
        .map(|(_, rule)| rule.unwrap_or_else(|error| panic!("{error}")))
        .collect()
}

fn complaint(line: &str) -> Option<String> {
    let (_, rule) = file::read::<Rule>(line).next().unwrap();
    rule.err().map(|error| error.to_string())
}

fn keywords(keywords: &str) -> String {
    format!(r#"{{"id":"a","trigger":{{"keywords":[{keywords}]}},"replies":["A"]}}"#)
}

#[test]
fn a_rule_needs_an_id_a_trigger_and_a_reply() {
    let line = r#"{"id":"a","trigger":{"keywords":[{"equals":" 营业时间 "}]},"replies":["九点\r\n五点"]}"#;
    let rule = &rules(line)[0];
    assert_eq!(
        rule.trigger,
        Trigger::Keywords(vec![Keyword::Equals("营业时间".to_owned())])
    );
    assert_eq!(rule.replies, [RuleReply::Own(Answer::Text("九点\n五点".to_owned()))]);
    assert_eq!((rule.state, rule.priority, rule.pick), (State::Published, 0, Pick::All));
    let scene = &rules(r#"{"id":"a","trigger":{"subscribe":["qrscene_poster"]},"replies":["A"]}"#)[0];
    assert_eq!(
        scene.trigger,
        Trigger::Subscribe(vec!["poster".to_owned()]),
        "as events have it"
    );
}

#[test]
fn what_must_not_be_stored_is_refused_with_its_field() {
    let check = |line: &str, expected: &str| {
        let found = complaint(line).unwrap_or_default();
        assert!(found.contains(expected), "{line}: {found}");
    };
    let of = |fields: &str| format!(r#"{{"id":"a","trigger":"default","replies":["A"]{fields}}}"#);
    assert_eq!(complaint(&of("")), None);
    check(
        r#"{"id":"a","trigger":"default"}"#,
        "row 1: missing field `replies` at character",
    );
    check(&of(r#","prioritty":1"#), "unknown field `prioritty`");
    check(&of(r#","priority":101"#), "row 1, column priority: 101 is not between");
    check(&of(r#","state":"gone""#), "unknown variant `gone`");
    check(&of(r#","accounts":["a b"]"#), "column accounts: \"a b\" is not");
    check(&of(r#","window":{"hours":["25:00-26:00"]}"#), "hours: \"25:00-26:00\"");
    check(&of(r#","window":{}"#), "says nothing");
    check(
        r#"{"id":"a b","trigger":"default","replies":["A"]}"#,
        "id: \"a b\" is not",
    );
    check(
        r#"{"id":"a","trigger":"sometimes","replies":["A"]}"#,
        "unknown variant `sometimes`",
    );
    check(
        r#"{"id":"a","trigger":"off_hours","replies":["A"]}"#,
        "column window: is missing",
    );
    check(
        r#"{"id":"a","trigger":{"click":[]},"replies":["A"]}"#,
        "column trigger: click has no item",
    );
    let long = format!(
        r#"{{"id":"a","trigger":{{"click":["{}"]}},"replies":["A"]}}"#,
        "长".repeat(43)
    );
    check(&long, "column trigger: click item 1 has 129 bytes, at most 128");
    check(&keywords(""), "column trigger: keywords has no item");
    check(
        &keywords(r#"{"equals":"a"},{"equals":"a"}"#),
        "\"a\" stands there twice",
    );
    check(
        &keywords(r#"{"equals":"a"},{"contains":"？！"}"#),
        "item 2 \"？！\" holds no letter",
    );
    check(
        &keywords(&format!(r#"{{"contains":"{}"}}"#, "长".repeat(65))),
        "item 1 has 65 characters, at most 64",
    );
    let replies = |replies: &str| format!(r#"{{"id":"a","trigger":"default","replies":[{replies}]}}"#);
    check(&replies(""), "column replies: has no item");
    check(&replies(r#""A"," ""#), "column replies: item 2 is empty");
    check(&replies("7"), "must hold texts and objects");
    check(
        &replies(r#"{"entry":"x","kind":"text"}"#),
        "either entry, or kind and answer",
    );
    check(
        &replies(r#"{"entry":"x","media_id":"m"}"#),
        "unknown field \"media_id\"",
    );
    check(&replies(r#"{"kind":"imgae","answer":{}}"#), "did you mean \"image\"?");
    check(
        &replies(r#"{"kind":"image","answer":{"media_id":"a b"}}"#),
        "column replies: item 1 media_id is not",
    );
    let refusal = r#"{"id":"a","trigger":{"sensitive":["坏词"]},"replies":["请不要说坏词"]}"#;
    check(refusal, "column replies: item 1 holds a word the rule refuses");
    assert!(!complaint(refusal).unwrap().contains("坏词"));
    check(
        r#"{"id":"a","trigger":{"sensitive":["赌博"]},"replies":["请勿谈论赌 博"]}"#,
        "column replies: item 1 holds a word the rule refuses",
    );
    let nobody = r#"{"id":"a","trigger":"off_hours","window":{"weekdays":[7]},"replies":[{"kind":"handoff"}]}"#;
    check(nobody, "hands off to a human, off hours");
}

#[test]
fn expressions_are_held_to_a_size_and_to_meaning_something() {
    let check = |regex: &str, expected: Option<&str>| {
        let found = complaint(&keywords(&serde_json::json!({ "regex": regex }).to_string()));
        match (expected, found) {
            (None, found) => assert_eq!(found, None, "{regex}"),
            (Some(expected), found) => assert!(
                found.as_ref().is_some_and(|f| f.contains(expected)),
                "{regex}: {found:?}"
            ),
        }
    };
    check(r"^查(余额|账单)$", None);
    check(r"(a+)+$", None);
    check(r"\d{11}", None);
    check("查(余额", Some("unclosed group"));
    check(r"(?=a)b", Some("is no expression: look-around"));
    check(r"\pL{1000}", Some("grows beyond 262144 bytes"));
    check("a*", Some("is met by every message"));
    check("", Some("is met by every message"));
    check(&"a".repeat(257), Some("has 257 characters, at most 256"));
}

#[test]
fn an_import_says_row_by_row_what_it_would_do() {
    let there = rules(
        "{\"id\":\"a\",\"trigger\":\"default\",\"replies\":[\"A\"]}\n{\"id\":\"b\",\"trigger\":\"default\",\"replies\":[\"B\"]}",
    );
    let text = "{\"id\":\"a\",\"trigger\":\"default\",\"replies\":[\"A\"]}\n\n{\"id\":\"c\",\"trigger\":\"default\",\"replies\":[\"C\"]}\n";
    let ids = |rules: &[Rule]| rules.iter().map(|rule| rule.id.to_string()).collect::<Vec<_>>();
    let append = plan(&there, file::read(text), Mode::Append);
    let verdicts: Vec<_> = append.rows.iter().map(|row| (row.line, row.verdict.clone())).collect();
    assert_eq!(verdicts, [(1, Verdict::Same), (3, Verdict::New)]);
    assert_eq!((ids(&append.put), append.remove.len()), (vec!["c".to_owned()], 0));
    assert_eq!(ids(&append.outcome), ["a", "b", "c"]);
    let replace = plan(&there, file::read(text), Mode::Replace);
    assert_eq!((ids(&replace.put), replace.remove.len()), (vec!["c".to_owned()], 1));
    assert_eq!(ids(&replace.outcome), ["a", "c"]);

    let broken = format!("{text}{text}{{}}");
    let refused = plan(&there, file::read(&broken), Mode::Replace);
    assert!(!refused.is_applicable() && refused.put.is_empty() && refused.remove.is_empty());
    assert_eq!(refused.outcome, there);
    let said: Vec<_> = refused.rows[2..].iter().map(ToString::to_string).collect();
    assert_eq!(said[0], "row 4, column id: a also stands in row 1");
    assert!(said[2].starts_with("row 7: missing field `id`"), "{said:?}");
}

#[test]
fn there_is_a_limit_to_expressions_of_all_rules_together() {
    let line = |n: usize| {
        let regex = format!("{{\"regex\":\"x{n}\"}}");
        keywords(&regex).replace("\"a\"", &format!("\"r{n}\""))
    };
    let lines = |count| (0..count).map(line).collect::<Vec<_>>().join("\n");
    assert!(plan(&[], file::read::<Rule>(&lines(MAX_REGEXES)), Mode::Append).is_applicable());
    let refused = plan(&[], file::read::<Rule>(&lines(MAX_REGEXES + 1)), Mode::Append);
    assert!(
        refused
            .rows
            .last()
            .unwrap()
            .to_string()
            .contains("there are 101 regexes, at most 100")
    );
}

fn warnings(text: &str, entries: &[Entry]) -> Vec<String> {
    let entries: BTreeMap<&EntryId, &Entry> = entries.iter().map(|entry| (&entry.id, entry)).collect();
    let lower = |text: &str| text.to_lowercase();
    // 2026-11-27.
    let found = review(&rules(text), &entries, &lower, 1_795_795_200);
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn what_never_answers_is_warned_of() {
    let rule = |id: &str, trigger: &str, more: &str| {
        format!("{{\"id\":\"{id}\",\"trigger\":{trigger},\"replies\":[\"A\"]{more}}}\n")
    };
    let check = |text: &[String], expected: &[&str]| assert_eq!(warnings(&text.concat(), &[]), expected);
    let equals = r#"{"keywords":[{"equals":"VIP"}]}"#;
    let two = r#"{"keywords":[{"equals":"vip"},{"equals":"会员"}]}"#;
    check(
        &[rule("a", equals, ""), rule("b", two, "")],
        &["b: keyword \"vip\" never answers: a answers before it"],
    );
    check(
        &[rule("a", two, ""), rule("b", equals, r#","priority":1"#)],
        &["a: keyword \"vip\" never answers: b answers before it"],
    );
    check(
        &[rule("a", equals, ""), rule("b", equals, "")],
        &["b: never answers: a answers before it"],
    );
    for more in [
        r#","window":{"weekdays":[1]}"#,
        r#","accounts":["x"]"#,
        r#","state":"draft""#,
    ] {
        check(&[rule("a", equals, more), rule("b", equals, "")], &[]);
    }
    check(
        &[
            rule("a", equals, ""),
            rule("b", r#"{"keywords":[{"contains":"VIP"}]}"#, ""),
        ],
        &[],
    );
    let (short, long) = (
        r#"{"keywords":[{"contains":"开户"}]}"#,
        r#"{"keywords":[{"contains":"怎么开户吗"}]}"#,
    );
    check(
        &[rule("a", short, ""), rule("b", long, "")],
        &["b: never answers: a answers before it"],
    );
    check(&[rule("a", long, ""), rule("b", short, "")], &[]);
    check(
        &[rule("a", "\"default\"", ""), rule("b", "\"default\"", "")],
        &["b: never answers: a answers before it"],
    );
    check(
        &[
            rule("a", r#"{"subscribe":[]}"#, ""),
            rule("b", r#"{"subscribe":["x"]}"#, ""),
        ],
        &[],
    );
    let over = r#","window":{"until":"2026-11-25"}"#;
    check(
        &[rule("a", equals, over)],
        &["a: never answers again: the last day of its window has passed"],
    );
    let bad = r#"{"sensitive":["坏词"]}"#;
    check(
        &[rule("a", bad, ""), rule("b", bad, "")],
        &["b: never answers: a answers before it"],
    );
}

#[test]
fn replies_that_cannot_be_sent_are_warned_of() {
    let news = |count: usize| {
        let articles: Vec<_> = (0..count)
            .map(|n| serde_json::json!({ "title": format!("t{n}"), "url": "https://h/" }))
            .collect();
        serde_json::json!({ "kind": "news", "answer": { "articles": articles } }).to_string()
    };
    let image = r#"{"kind":"image","answer":{"media_id":"m"}}"#;
    let rule = |trigger: &str, replies: &str, more: &str| {
        format!(r#"{{"id":"a","trigger":{trigger},"replies":[{replies}]{more}}}"#)
    };
    let check = |line: &str, expected: &[&str]| assert_eq!(warnings(line, &[]), expected, "{line}");
    let cut = "of its 2 replies cannot be sent: one passive reply holds texts, or articles, or one of anything else";
    check(&rule("\"default\"", r#""A","B""#, ""), &[]);
    check(
        &rule("\"default\"", &format!(r#""A",{image}"#), ""),
        &[&format!("a: 1 {cut}")],
    );
    check(
        &rule("\"default\"", &format!("{image},{image}"), ""),
        &[&format!("a: 1 {cut}")],
    );
    check(
        &rule("\"default\"", &format!("{image},{image}"), r#","pick":"one_at_random""#),
        &[],
    );
    let shown = "articles are not shown: WeChat shows";
    check(
        &rule("\"default\"", &news(3), ""),
        &[&format!("a: 2 of its 3 {shown} 1 in answer to a message")],
    );
    check(
        &rule(r#"{"subscribe":[]}"#, &format!("{},{}", news(5), news(4)), ""),
        &[&format!("a: 1 of its 9 {shown} 8 in answer to an event")],
    );
}

#[test]
fn entries_that_are_not_there_are_warned_of() {
    let entry = |id: &str, change: fn(&mut Entry)| {
        let articles = vec![Article {
            title: "t".into(),
            description: String::new(),
            url: "https://h/".into(),
            picurl: String::new(),
        }];
        let mut entry = Entry::new(EntryId::parse(id).unwrap(), "q".into(), Answer::News { articles });
        change(&mut entry);
        entry
    };
    let entries = [
        entry("fine", |_| {}),
        entry("draft", |entry| entry.state = State::Draft),
        entry("old", |entry| entry.valid_until = Some(1)),
        entry("other", |entry| entry.accounts = ["y".into()].into()),
    ];
    let line = |ids: &[&str]| {
        let replies: Vec<_> = ids
            .iter()
            .map(|id| serde_json::json!({ "entry": id }).to_string())
            .collect();
        format!(
            r#"{{"id":"a","trigger":"default","accounts":["x"],"replies":[{}]}}"#,
            replies.join(",")
        )
    };
    assert_eq!(warnings(&line(&["fine"]), &entries), [""; 0]);
    let found = warnings(&line(&["gone", "draft", "old", "other"]), &entries);
    let expected = [
        "a: its entry gone is not in the bank",
        "a: its entry draft is not published",
        "a: its entry old is no longer valid",
        "a: its entry other belongs to other accounts",
        "a: never answers: none of its replies can be sent",
    ];
    assert_eq!(found[..5], expected);
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let text = || prop::sample::select(vec!["a", "问\"", "x\\y", "会员"]).prop_map(str::to_owned);
    let texts = || prop::collection::vec(text(), 0..3);
    let keyword = prop_oneof![
        text().prop_map(Keyword::Equals),
        text().prop_map(Keyword::Contains),
        text().prop_map(Keyword::Regex)
    ];
    let trigger = prop_oneof![
        prop::collection::vec(keyword, 0..3).prop_map(Trigger::Keywords),
        texts().prop_map(Trigger::Subscribe),
        texts().prop_map(Trigger::Click),
        texts().prop_map(Trigger::Scan),
        Just(Trigger::Default),
        Just(Trigger::Unsupported(vec![MessageKind::Image, MessageKind::Other])),
        texts().prop_map(Trigger::Sensitive),
        Just(Trigger::OffHours),
    ];
    let reply = prop_oneof![
        text().prop_map(|text| RuleReply::Own(Answer::Text(text))),
        text().prop_map(|media_id| RuleReply::Own(Answer::Voice { media_id })),
        Just(RuleReply::Own(Answer::Handoff { kf_account: None })),
        Just(RuleReply::Entry(EntryId::parse("e").unwrap())),
    ];
    let window = prop::option::of(Just(
        serde_json::from_str(r#"{"hours":["22:00-02:00"],"weekdays":[5]}"#).unwrap(),
    ));
    let pick = prop::sample::select(vec![Pick::All, Pick::OneAtRandom]);
    let state = prop::sample::select(vec![State::Draft, State::Published, State::Disabled]);
    (
        ("[a-z.]{1,9}", text(), trigger, prop::collection::vec(reply, 0..3)),
        (pick, texts(), -100..=100, state, window),
    )
        .prop_map(
            |((id, name, trigger, replies), (pick, accounts, priority, state, window))| Rule {
                id: RuleId::parse(&id).unwrap(),
                name,
                trigger,
                replies,
                pick,
                accounts,
                priority,
                state,
                window,
            },
        )
}

proptest! {
    #[test]
    fn reading_what_was_written_gives_the_same_rule(rule in any_rule()) {
        prop_assert_eq!(file::from_line(&file::to_line(&rule)), Ok(rule));
    }

    #[test]
    fn no_line_makes_the_reader_panic(line in "(?s)[\"{}\\[\\]:,a-z问\n]{0,60}") {
        file::read::<Rule>(&line).for_each(drop);
    }
}

#[test]
fn there_is_a_limit_to_what_all_expressions_cost_a_message() {
    let line = |n: usize| {
        let regex = serde_json::json!({ "regex": format!("[退单查].{{200}}[{n}一A-Z]") }).to_string();
        keywords(&regex).replace("\"a\"", &format!("\"r{n}\""))
    };
    let lines = |count| (0..count).map(line).collect::<Vec<_>>().join("\n");
    assert!(plan(&[], file::read::<Rule>(&lines(4)), Mode::Append).is_applicable());
    let refused = plan(&[], file::read::<Rule>(&lines(100)), Mode::Append);
    let said = refused.rows.last().unwrap().to_string();
    assert!(
        said.contains("20200 places in the regexes of all rules, at most 2000") && said.contains("r0 has 202 of them"),
        "{said}"
    );
    let nested = complaint(&keywords(r#"{"regex":"(?:a{50}b){50}"}"#)).unwrap();
    assert!(
        nested.contains("\"(?:a{50}b){50}\" has 2550 places, at most 2000"),
        "{nested}"
    );
    assert_eq!(complaint(&keywords(r#"{"regex":"订单号\\s*\\d{6,}"}"#)), None);
}

#[test]
fn a_refusal_with_another_rules_word_is_warned_of() {
    let text = concat!(
        r#"{"id":"a","trigger":{"sensitive":["赌博"]},"replies":["不谈内-幕"]}"#,
        "\n",
        r#"{"id":"b","trigger":{"sensitive":["内幕"]},"replies":["换个话题吧"]}"#,
        "\n",
        r#"{"id":"c","trigger":{"sensitive":["发财"]},"replies":[{"entry":"e"}]}"#,
    );
    let id = EntryId::parse("e").unwrap();
    let entry = Entry::new(id, "问".into(), Answer::Text("不谈赌博".into()));
    assert_eq!(
        warnings(text, &[entry]),
        [
            "a: its reply 1 holds a sensitive word of b: it is not sent",
            "c: its reply 1 holds a sensitive word of a: it is not sent"
        ]
    );
}
