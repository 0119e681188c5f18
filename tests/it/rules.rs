//! Rules beside similarity: which one answers what, in which order, and when.

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use wxfaq::bank::dictionary::Dictionaries;
use wxfaq::bank::{Answer, Channel, Entry, EntryId, Rule, rule};
use wxfaq::dialog::{self, Desk, Habits, Handoff, Outcome, Plan, RuleBook, Session, Templates, Told};
use wxfaq::matching::{Analyzer, Index, Scope, Thresholds};
use wxfaq::wechat::message::MediaKind;
use wxfaq::wechat::{Event, Head, Inbound, Reply};

/// Friday 2026-11-27 10:00 in Beijing.
const FRIDAY_TEN: i64 = 1_795_744_800;
/// In the dictionary of every [`Talk`].
const FORBIDDEN: &str = "内幕消息";

static ANALYZER: LazyLock<Arc<Analyzer>> = LazyLock::new(|| Arc::new(Analyzer::new(&Dictionaries::default())));
static TEMPLATES: LazyLock<Templates> = LazyLock::new(|| Templates::load(&BTreeMap::new()).unwrap());

fn id(text: &str) -> EntryId {
    EntryId::parse(text).unwrap()
}

fn read(lines: &str) -> Vec<Rule> {
    let rules = rule::file::read(lines);
    rules
        .map(|(_, rule)| rule.unwrap_or_else(|error| panic!("{error}")))
        .collect()
}

/// One follower of an account with rules, and a bank of five entries about cards.
struct Talk {
    index: Index,
    rules: RuleBook,
    session: Session,
    now: i64,
    luck: u64,
    account: &'static str,
    hot: Vec<EntryId>,
    habits: Habits,
}

fn entry(name: &str, question: &str, answer: Answer) -> Entry {
    Entry::new(id(name), question.into(), answer)
}

impl Talk {
    fn new(rules: &str) -> Self {
        let text = |text: &str| Answer::Text(text.into());
        let entries = [
            entry("card-1", "银行卡怎么挂失", text("拨打热线挂失。")),
            entry("card-2", "银行卡怎么注销", text("到网点注销。")),
            entry("card-3", "银行卡怎么激活", text("在手机上激活。")),
            entry("human", "转人工", Answer::Handoff { kf_account: None }),
            entry("promise", "营业时间", text("题库里的营业时间。")),
        ];
        Self {
            index: Index::build(entries.into_iter().map(Arc::new), ANALYZER.clone()),
            rules: RuleBook::new(read(rules), &[FORBIDDEN.to_owned()]),
            session: Session::default(),
            now: FRIDAY_TEN,
            luck: 0,
            account: "demo",
            hot: Vec::new(),
            habits: Habits::default(),
        }
    }

    fn hear(&mut self, inbound: &Inbound) -> Outcome {
        let scope = Scope {
            account: self.account,
            channel: Channel::Wechat,
            now: self.now,
            category: None,
        };
        let desk = Desk {
            index: &self.index,
            templates: &TEMPLATES,
            rules: &self.rules,
            categories: &dialog::CategoryBook::default(),
            luck: self.luck,
            scope,
            thresholds: Thresholds {
                answer: 0.8,
                suggest: 0.6,
            },
            max_suggestions: 5,
            max_bytes: 2048,
            habits: self.habits,
            handoff: Handoff::default(),
            hot: &self.hot,
            media: &dialog::NoMedia,
            message: "message:1",
        };
        let search = |text: &str| self.index.search(text, scope, dialog::MAX_OFFER);
        let session = self.session.clone();
        let outcome = match dialog::plan(inbound, session.clone(), desk) {
            Plan::Say(outcome) => outcome,
            Plan::Search(text) | Plan::FollowUp { text, .. } => dialog::conclude(&search(&text), session, desk),
        };
        self.session = outcome.session.clone().unwrap_or_default();
        outcome
    }

    fn say(&mut self, inbound: &Inbound) -> String {
        match self.hear(inbound).reply {
            Reply::Text { content } => content,
            other => format!("{other:?}"),
        }
    }

    fn ask(&mut self, text: &str) -> String {
        self.say(&typed(text))
    }

    /// Puts the first three entries on the table.
    fn offered(mut self) -> Self {
        self.session = Session {
            offer: ["card-1", "card-2", "card-3"].map(id).into(),
            shown: 2,
            ..Session::default()
        };
        self
    }
}

fn head() -> Head {
    Head {
        account: "gh_1".into(),
        openid: "o1".into(),
        create_time: FRIDAY_TEN,
    }
}

fn typed(text: &str) -> Inbound {
    Inbound::Text {
        head: head(),
        msg_id: "1".into(),
        content: text.into(),
        menu_id: None,
    }
}

fn tapped(text: &str, menu_id: &str) -> Inbound {
    Inbound::Text {
        head: head(),
        msg_id: "1".into(),
        content: text.into(),
        menu_id: Some(menu_id.into()),
    }
}

fn happened(event: Event) -> Inbound {
    Inbound::Event { head: head(), event }
}

fn subscribed(scene: Option<&str>) -> Inbound {
    let scene = scene.map(str::to_owned);
    happened(Event::Subscribe { scene })
}

/// A line of a file of rules that say their own id.
fn line(id: &str, trigger: &str, more: &str) -> String {
    format!("{{\"id\":\"{id}\",\"trigger\":{trigger},\"replies\":[\"《{id}》\"]{more}}}\n")
}

fn keywords(id: &str, keywords: &str) -> String {
    line(id, &format!("{{\"keywords\":[{keywords}]}}"), "")
}

#[test]
fn what_comes_first_answers() {
    let rules = [
        line("refusal", r#"{"sensitive":["坏词"]}"#, ""),
        keywords(
            "one",
            r#"{"equals":"1"},{"equals":"更多"},{"equals":"银行卡怎么挂失"},{"equals":"第二个"}"#,
        ),
        keywords("whole", r#"{"equals":"营业时间"}"#),
        keywords("expression", r#"{"regex":"营业.{0,2}间"}"#),
        keywords("part", r#"{"contains":"营业"}"#),
        line("other", "\"default\"", ""),
    ]
    .concat();
    // Whether a list is on the table, what is sent, what answers.
    let cases = [
        (true, typed("1坏词"), "《refusal》"),
        (true, tapped("坏词", "entry:card-2"), "《refusal》"),
        (true, tapped("营业时间", "entry:card-2"), "到网点注销。"),
        (true, typed("1"), "拨打热线挂失。"),
        (true, typed("第二个"), "《one》"),
        (true, typed("点2"), "到网点注销。"),
        (true, typed("更多"), "3. "),
        (true, typed("银行卡怎么挂失？"), "拨打热线挂失。"),
        (false, typed("1"), "《one》"),
        (false, typed("２"), "现在没有可以选择的列表"),
        (false, typed("更多"), "《one》"),
        (false, typed("回复“1”"), "《one》"),
        (true, typed("请问营业时间"), "《whole》"),
        (true, typed("营业 時間？"), "《whole》"),
        (true, typed("周末营业时间"), "《expression》"),
        (true, typed("你们营业吗"), "《part》"),
        (false, typed("银行卡怎么注销"), "到网点注销。"),
        (false, typed("今天天气怎么样"), "《other》"),
    ];
    for (is_offered, inbound, expected) in cases {
        let mut talk = Talk::new(&rules);
        if is_offered {
            talk = talk.offered();
        }
        let said = talk.say(&inbound);
        assert!(said.contains(expected), "{inbound:?}: {said}, expected {expected}");
    }
}

#[test]
fn among_rules_of_one_kind_priority_decides_and_then_the_id() {
    let rules = [
        line("b", r#"{"keywords":[{"contains":"会员"}]}"#, ""),
        line("a", r#"{"keywords":[{"contains":"会员"}]}"#, ""),
        line("z", r#"{"keywords":[{"contains":"会员费"}]}"#, r#","priority":1"#),
        line("p", r#"{"keywords":[{"equals":"会员"}]}"#, r#","priority":-100"#),
    ]
    .concat();
    for (text, expected) in [("办会员", "《a》"), ("会员费", "《z》"), ("会员", "《p》")] {
        assert_eq!(Talk::new(&rules).ask(text), expected, "{text}");
    }
}

#[test]
fn a_key_word_leaves_the_list_and_what_is_no_key_word_does_not() {
    let rules = keywords("k", r#"{"contains":"会员"}"#) + &line("other", "\"default\"", "");
    let mut talk = Talk::new(&rules).offered();
    assert_eq!(talk.ask("今天天气怎么样"), "《other》");
    assert_eq!(talk.session.shown, 2, "still on the table");
    let outcome = talk.hear(&typed("会员费"));
    assert_eq!(outcome.told, Told::Rule);
    assert_eq!(outcome.rule.unwrap().as_str(), "k");
    assert!(talk.session.is_fresh());
}

#[test]
fn words_are_found_whatever_they_are_written_like() {
    let check = |keyword: &str, met: &[&str], missed: &[&str]| {
        let rules = keywords("k", keyword);
        for (texts, expected) in [(met, true), (missed, false)] {
            for text in texts {
                assert_eq!(Talk::new(&rules).ask(text) == "《k》", expected, "{keyword}: {text}");
            }
        }
    };
    check(
        r#"{"contains":"谢谢"}"#,
        &["好的谢谢", "謝謝你", "谢 谢！"],
        &["多谢", "谢"],
    );
    check(r#"{"contains":"什么时候"}"#, &["你们什么时候上班"], &["几时"]);
    check(r#"{"contains":"VIP"}"#, &["我是vip吗", "ＶＩＰ２"], &["V I P"]);
    check(
        r#"{"equals":"VIP 卡"}"#,
        &["vip卡", "ＶＩＰ卡。", "请问vip卡"],
        &["vip卡费"],
    );
    check(r#"{"regex":"^[Vv]ip$"}"#, &[" vip ", "Vip"], &["VIP", "ｖip", "vip？"]);
    check(
        r#"{"regex":"(?i)订单号\\s*\\d{4,}"}"#,
        &["我的订单号 20261127"],
        &["订单号 12"],
    );
}

#[test]
fn accounts_and_windows_decide_whether_a_rule_is_there() {
    let rules = [
        line(
            "a",
            r#"{"keywords":[{"equals":"会员"}]}"#,
            r#","accounts":["other"],"priority":3"#,
        ),
        line(
            "b",
            r#"{"keywords":[{"equals":"会员"}]}"#,
            r#","window":{"hours":["22:00-06:00"]},"priority":2"#,
        ),
        line(
            "c",
            r#"{"keywords":[{"equals":"会员"}]}"#,
            r#","window":{"weekdays":[6,7]},"priority":1"#,
        ),
        line(
            "d",
            r#"{"keywords":[{"equals":"会员"}]}"#,
            r#","window":{"from":"2026-12-01"}"#,
        ),
        line("e", r#"{"keywords":[{"contains":"会员"}]}"#, ""),
        line(
            "f",
            r#"{"keywords":[{"equals":"会员"}]}"#,
            r#","state":"disabled","priority":9"#,
        ),
    ]
    .concat();
    let hours = |hours: i64| FRIDAY_TEN + hours * 3600;
    for (account, now, expected) in [
        ("other", hours(0), "《a》"),
        ("demo", hours(0), "《e》"),
        ("demo", hours(12), "《b》"),
        ("demo", hours(19), "《b》"),
        ("demo", hours(20), "《c》"),
        ("demo", hours(24), "《c》"),
        ("demo", hours(24 * 4), "《d》"),
    ] {
        let mut talk = Talk::new(&rules);
        (talk.account, talk.now) = (account, now);
        assert_eq!(talk.ask("会员"), expected, "{account} at {now}");
    }
}

#[test]
fn events_are_answered_by_scene_and_key() {
    let rules = [
        line("a-any", r#"{"subscribe":[]}"#, r#","priority":100"#),
        line("poster", r#"{"subscribe":["qrscene_poster"]}"#, ""),
        line("button", r#"{"click":["TODAY"]}"#, ""),
        line("scan", r#"{"scan":["poster"]}"#, ""),
    ]
    .concat();
    let click = |key: &str| happened(Event::Click { key: key.into() });
    let scan = |scene: &str| happened(Event::Scan { scene: scene.into() });
    for (inbound, expected) in [
        (subscribed(Some("poster")), "《poster》"),
        (subscribed(Some("elsewhere")), "《a-any》"),
        (subscribed(None), "《a-any》"),
        (click("TODAY"), "《button》"),
        (click("today"), "这个菜单暂时没有内容"),
        (click("card-2"), "到网点注销。"),
        (scan("poster"), "《scan》"),
        (scan("card-2"), "到网点注销。"),
        (scan("elsewhere"), "Acknowledge"),
        (happened(Event::Unsubscribe), "Acknowledge"),
    ] {
        let said = Talk::new(&rules).say(&inbound);
        assert!(said.contains(expected), "{inbound:?}: {said}");
    }
    let mut talk = Talk::new(&rules).offered();
    talk.hear(&click("TODAY"));
    assert_eq!(talk.session.shown, 2, "a menu button leaves the list on the table");
    talk.hear(&subscribed(None));
    assert!(talk.session.is_fresh());
    assert!(
        Talk::new("").say(&subscribed(None)).contains("感谢关注"),
        "without a rule the template greets"
    );
}

#[test]
fn kinds_without_words_have_their_own_replies() {
    let rules = [
        line("a-any", r#"{"unsupported":[]}"#, r#","priority":100"#),
        line("pictures", r#"{"unsupported":["image","video"]}"#, ""),
        line("place", r#"{"unsupported":["location"]}"#, ""),
    ]
    .concat();
    let media = |kind| Inbound::Media {
        head: head(),
        msg_id: "1".into(),
        kind,
    };
    let voice = |recognition: Option<&str>| Inbound::Voice {
        head: head(),
        msg_id: "1".into(),
        media_id: "m".into(),
        recognition: recognition.map(str::to_owned),
    };
    let (a, b) = (String::new, String::new);
    for (inbound, expected) in [
        (
            media(MediaKind::Image {
                pic_url: a(),
                media_id: b(),
            }),
            "《pictures》",
        ),
        (
            media(MediaKind::ShortVideo {
                media_id: a(),
                thumb_media_id: b(),
            }),
            "《pictures》",
        ),
        (
            media(MediaKind::Location {
                latitude: 1.0,
                longitude: 2.0,
                label: a(),
            }),
            "《place》",
        ),
        (
            media(MediaKind::Link {
                title: a(),
                description: b(),
                url: a(),
            }),
            "《a-any》",
        ),
        (media(MediaKind::File { title: a() }), "《a-any》"),
        (voice(None), "《a-any》"),
        (voice(Some("银行卡怎么注销。")), "到网点注销。"),
        (typed("【收到不支持的消息类型，暂无法显示】"), "《a-any》"),
    ] {
        assert_eq!(Talk::new(&rules).say(&inbound), expected, "{inbound:?}");
    }
    let image = media(MediaKind::Image {
        pic_url: a(),
        media_id: b(),
    });
    assert!(
        Talk::new("").say(&image).contains("图片"),
        "without a rule the template answers"
    );
}

#[test]
fn a_sensitive_word_is_refused_and_never_echoed() {
    let own = line("own", r#"{"sensitive":["坏词","ass"]}"#, "");
    let general = line("general", r#"{"sensitive":[]}"#, "");
    let refused = "这个话题我不便回答";
    for (rules, text, expected) in [
        (&own, "你这个坏词", "《own》"),
        (&own, "坏 词，坏-词", "《own》"),
        (&own, "You ASS!", "《own》"),
        (&own, "my password", "抱歉"),
        (&own, "有内幕消息吗", refused),
        (&general, "有內幕 消息吗", "《general》"),
        (&general, "你这个坏词", "抱歉"),
        (&(own.clone() + &general), "坏词和内幕消息", "《own》"),
    ] {
        let mut talk = Talk::new(rules).offered();
        let before = talk.session.clone();
        let outcome = talk.hear(&typed(text));
        let Reply::Text { content } = &outcome.reply else {
            panic!("{outcome:?}")
        };
        assert!(content.contains(expected), "{text}: {content}");
        assert!(!content.contains("坏词") && !content.contains(FORBIDDEN), "{content}");
        let table = |session: &Session| (session.offer.clone(), session.shown, session.rest.clone());
        assert_eq!(
            table(&talk.session),
            table(&before),
            "{text}: what was on the table stays"
        );
        let is_refused = expected != "抱歉";
        assert_eq!(outcome.told == Told::Refused, is_refused, "{outcome:?}");
    }
    // Voice is text once WeChat has heard it.
    let voice = Inbound::Voice {
        head: head(),
        msg_id: "1".into(),
        media_id: "m".into(),
        recognition: Some("坏词。".into()),
    };
    assert_eq!(Talk::new(&own).say(&voice), "《own》");
    // A reply that would echo it, through the dictionary or an entry, gives way to the template.
    let echo = r#"{"id":"e","trigger":{"sensitive":["坏词"]},"replies":["不谈内-幕消息"]}"#;
    assert!(Talk::new(echo).ask("坏词").contains(refused));
    let by_hours = line("own", r#"{"sensitive":["坏词"]}"#, r#","window":{"weekdays":[7]}"#);
    assert!(
        Talk::new(&by_hours).ask("坏词").contains("抱歉"),
        "a rule that does not apply refuses nothing"
    );
}

#[test]
fn off_hours_only_what_needs_a_human_is_changed() {
    let window = r#","window":{"hours":["09:00-18:00"],"weekdays":[1,2,3,4,5],"outside":true}"#;
    let rules = [
        line("night", "\"off_hours\"", window),
        keywords("k", r#"{"equals":"会员"}"#),
        r#"{"id":"desk","trigger":{"keywords":[{"equals":"客服"}]},"replies":[{"kind":"handoff"}]}"#.to_owned(),
    ]
    .join("\n");
    let night = FRIDAY_TEN + 10 * 3600;
    for (text, by_day, by_night) in [
        ("客服", "Transfer", "《night》"),
        ("转人工", "Transfer", "《night》"),
        ("今天天气怎么样", "抱歉", "抱歉"),
        ("会员", "《k》", "《k》"),
        ("银行卡怎么注销", "到网点注销。", "到网点注销。"),
        ("9", "现在没有可以选择的列表", "现在没有可以选择的列表"),
    ] {
        for (now, expected) in [(FRIDAY_TEN, by_day), (night, by_night)] {
            let mut talk = Talk::new(&rules);
            talk.now = now;
            let said = talk.ask(text);
            assert!(said.contains(expected), "{text} at {now}: {said}");
            let is_wrapped = now == night && (expected == "《night》" || expected == "抱歉");
            assert_eq!(said.contains("《night》"), is_wrapped, "{text} at {now}: {said}");
        }
    }
    // By a menu button as well; and the fallback is still told as one.
    let mut talk = Talk::new(&rules);
    talk.now = night;
    assert_eq!(talk.say(&happened(Event::Click { key: "human".into() })), "《night》");
    assert_eq!(talk.hear(&typed("今天天气怎么样")).told, Told::NotFound);
    let with_default = rules + "\n" + &line("other", "\"default\"", "");
    let mut talk = Talk::new(&with_default);
    talk.now = night;
    assert_eq!(talk.ask("今天天气怎么样"), "《other》\n\n《night》");
}

#[test]
fn several_replies_become_one_as_far_as_wechat_can_show_it() {
    let rule = |replies: &str| format!(r#"{{"id":"r","trigger":{{"click":["K"]}},"replies":[{replies}]}}"#);
    let image = r#"{"kind":"image","answer":{"media_id":"m"}}"#;
    let news = |count: usize| {
        let article = r#"{"title":"t","url":"https://h/"}"#;
        format!(
            r#"{{"kind":"news","answer":{{"articles":[{}]}}}}"#,
            vec![article; count].join(",")
        )
    };
    let click = happened(Event::Click { key: "K".into() });
    let say = |replies: &str| Talk::new(&rule(replies)).say(&click);
    assert_eq!(say(r#""一",{"entry":"card-2"},"三""#), "一\n\n到网点注销。\n\n三");
    assert_eq!(say(&format!(r#""一",{image},"三""#)), "一\n\n三");
    assert!(say(&format!(r#"{image},"三""#)).starts_with("Image"));
    assert_eq!(
        say(&format!("{},{}", news(5), news(4))).matches("NewsArticle").count(),
        8
    );
    assert!(say(r#"{"entry":"human"}"#).starts_with("Transfer"));
    assert_eq!(say(r#"{"entry":"gone"},"二""#), "二");
    assert!(
        say(r#"{"entry":"gone"}"#).contains("这个菜单暂时没有内容"),
        "a rule with nothing to say does not apply"
    );
    let long = format!("\"{}\",\"{}\"", "长".repeat(400), "尾".repeat(400));
    let mut talk = Talk::new(&rule(&long));
    assert!(talk.say(&click).ends_with("（回复“更多”继续阅读）"));
    assert!(talk.ask("更多").contains('尾'));
}

#[test]
fn one_at_random_is_the_same_for_every_delivery_of_a_message() {
    let rules = r#"{"id":"r","trigger":"default","replies":["一","二","三"],"pick":"one_at_random"}"#;
    let mut seen = std::collections::BTreeSet::new();
    for luck in 0..9 {
        let say = || {
            let mut talk = Talk::new(rules);
            talk.luck = luck;
            talk.ask("今天天气怎么样")
        };
        assert_eq!(say(), say());
        seen.insert(say());
    }
    assert_eq!(seen.len(), 3);
}

#[test]
fn the_longest_message_is_compared_in_time_proportional_to_it() {
    let evil = (0..rule::MAX_REGEXES).map(|n| keywords(&format!("r{n}"), &format!("{{\"regex\":\"(a|aa)+b{n}$\"}}")));
    let words = (0..1_000).map(|n| {
        keywords(
            &format!("w{n}"),
            &format!("{{\"contains\":\"{}b{n}\"}}", "a".repeat(n % 40)),
        )
    });
    let mut talk = Talk::new(&evil.chain(words).collect::<String>());
    let text = "a".repeat(60_000);
    talk.ask(&text);
    let begin = Instant::now();
    talk.ask(&text);
    // Backtracking would take longer than the universe has.
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

proptest! {
    #[test]
    fn no_message_makes_matching_panic(
        text in "(\\PC|[a-zA-Z ]|会员|坏|词|１|\u{301}|👨‍👩‍👧){0,80}",
        regex in "(\\(|\\)|a|\\[|\\]|\\*|\\+|\\?|\\{2\\}|会|\\\\d|\\||\\^|\\$|\\.){0,8}",
        word in "(\\PC|[a-z]|会员|👍){1,6}",
    ) {
        let keywords = serde_json::json!([{ "regex": regex }, { "contains": word }, { "equals": word }]);
        let lines = keywords.as_array().unwrap().iter().enumerate().map(|(n, keyword)| {
            serde_json::json!({ "id": format!("r{n}"), "trigger": { "keywords": [keyword] }, "replies": ["A"] }).to_string()
        });
        let refusal = serde_json::json!({ "id": "s", "trigger": { "sensitive": [word] }, "replies": ["\u{200b}A"] });
        let lines: Vec<String> = lines.chain([refusal.to_string()]).collect();
        // What cannot be saved is no rule.
        let valid = rule::file::read(&lines.join("\n")).filter_map(|(_, rule)| rule.ok()).collect::<Vec<_>>();
        let mut talk = Talk::new("");
        talk.rules = RuleBook::new(valid, &[]);
        talk.ask(&text);
        let said = talk.ask(&format!("x{word}"));
        prop_assert!(!said.is_empty());
    }
}

#[test]
fn a_default_rule_leaves_the_second_miss_its_help() {
    let mut talk = Talk::new(&line("other", "\"default\"", ""));
    talk.hot = vec![id("card-1"), id("card-2")];
    assert_eq!(talk.ask("今天天气怎么样"), "《other》");
    assert_eq!(talk.session.misses, 1);
    let help = talk.ask("明天天气怎么样");
    assert!(help.starts_with("《other》\n\n大家常问的问题：\n1. "), "{help}");
    assert!(help.contains("回复数字"), "{help}");
    assert!(!help.contains("还是没有找到"), "the rule has said it: {help}");
    assert_eq!(talk.ask("2"), "到网点注销。");

    let mut talk =
        Talk::new(r#"{"id":"r","trigger":"default","replies":[{"kind":"image","answer":{"media_id":"m"}}]}"#);
    talk.hot = vec![id("card-1")];
    talk.ask("今天天气怎么样");
    assert!(
        talk.ask("明天天气怎么样").starts_with("Image"),
        "a picture has no room for help"
    );
    assert!(
        talk.session.offer.is_empty(),
        "numbers choose nothing that was not shown"
    );
}

#[test]
fn a_refusal_that_would_echo_gives_way_to_the_next() {
    let rules = [
        r#"{"id":"e","trigger":{"sensitive":["坏词"]},"replies":["不谈内-幕消息"],"priority":1}"#.to_owned(),
        line("own", r#"{"sensitive":["坏词"]}"#, ""),
        line("general", r#"{"sensitive":[]}"#, ""),
    ];
    assert_eq!(Talk::new(&rules.join("\n")).ask("坏词"), "《own》");
    let rules = [&*rules[0], &rules[2]].join("\n");
    assert_eq!(Talk::new(&rules).ask("坏词"), "《general》");
}

#[test]
fn who_asks_a_rule_for_a_human_may_still_judge_the_answer_before() {
    const EVENING: i64 = FRIDAY_TEN + 12 * 3_600;
    let rules = r#"{"id":"human","trigger":{"keywords":[{"equals":"人工"}]},"replies":[{"kind":"handoff"}]}
{"id":"hours","trigger":{"keywords":[{"contains":"营业"}]},"replies":["九点到五点。"]}
{"id":"news","trigger":{"click":["NEWS"]},"replies":["今日要闻。"]}
{"id":"off","trigger":"off_hours","replies":["下班了。"],"window":{"hours":["09:00-17:30"],"outside":true}}"#;
    let judged = |now: i64, between: &[Inbound]| {
        let mut talk = Talk::new(rules);
        talk.habits.feedback = true;
        assert_eq!(
            talk.say(&typed("银行卡怎么挂失")).split('\n').next(),
            Some("拨打热线挂失。")
        );
        talk.now = now;
        for inbound in between {
            talk.hear(inbound);
        }
        talk.hear(&typed("没用")).feedback.map(|feedback| feedback.about.entry)
    };
    let card = Some(id("card-1"));
    assert_eq!(judged(FRIDAY_TEN, &[typed("人工")]), card);
    assert_eq!(
        judged(EVENING, &[typed("人工")]),
        card,
        "the off-hours reply is no answer either"
    );
    assert_eq!(judged(FRIDAY_TEN, &[typed("营业到几点")]), None);
    let click = happened(Event::Click { key: "NEWS".into() });
    assert_eq!(judged(FRIDAY_TEN, &[click]), None);
}
