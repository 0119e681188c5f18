//! Conversations against the sample bank and small banks, without network, clock or store.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use wxfaq::bank::dictionary::{Dictionaries, DictionaryTexts};
use wxfaq::bank::format::Format;
use wxfaq::bank::{Answer, Article, Channel, Entry, EntryId};
use wxfaq::dialog::{self, Desk, Outcome, Plan, RuleBook, Session, Templates, Told};
use wxfaq::matching::{Analyzer, Change, Index, Scope, Thresholds};
use wxfaq::wechat::message::MediaKind;
use wxfaq::wechat::{Event, Head, Inbound, Reply};

const SCOPE: Scope<'static> = Scope {
    account: "demo",
    channel: Channel::Wechat,
    now: 1_800_000_000,
    category: None,
};

static ANALYZER: LazyLock<Arc<Analyzer>> = LazyLock::new(|| {
    let texts = DictionaryTexts {
        user: include_bytes!("../../config/dict/user.txt"),
        stopwords: include_bytes!("../../config/dict/stopwords.txt"),
        synonyms: include_bytes!("../../config/dict/synonyms.txt"),
        contrast: include_bytes!("../../config/dict/contrast.txt"),
        sensitive: include_bytes!("../../config/dict/sensitive.txt"),
    };
    Arc::new(Analyzer::new(&Dictionaries::parse(texts).unwrap()))
});

/// The bank of the first day.
static SAMPLE: LazyLock<Index> = LazyLock::new(|| {
    let files = [
        include_str!("../../config/sample-bank.jsonl"),
        include_str!("../../config/smalltalk.jsonl"),
    ];
    let rows = files.into_iter().flat_map(|file| Format::Jsonl.read(file));
    let entry = |row: Result<wxfaq::bank::format::Row, _>| row.unwrap().into_entry_or(None, || id("unnamed")).unwrap();
    Index::build(rows.map(entry).map(Arc::new), ANALYZER.clone())
});

fn id(text: &str) -> EntryId {
    EntryId::parse(text).unwrap()
}

fn head() -> Head {
    Head {
        account: "gh_1".into(),
        openid: "o1".into(),
        create_time: 1_800_000_000,
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

/// One follower talking to one bank.
struct Talk {
    index: Index,
    templates: Templates,
    session: Session,
    max_bytes: usize,
}

impl Talk {
    fn with(index: &Index) -> Self {
        let templates = Templates::load(&BTreeMap::new()).unwrap();
        Self {
            index: index.clone(),
            templates,
            session: Session::default(),
            max_bytes: 2048,
        }
    }

    fn of(entries: &[Entry]) -> Self {
        Self::with(&Index::build(entries.iter().cloned().map(Arc::new), ANALYZER.clone()))
    }

    fn hear(&mut self, inbound: &Inbound) -> Outcome {
        let desk = Desk {
            index: &self.index,
            templates: &self.templates,
            rules: &RuleBook::default(),
            luck: 0,
            scope: SCOPE,
            thresholds: Thresholds {
                answer: 0.8,
                suggest: 0.6,
            },
            max_suggestions: 5,
            max_bytes: self.max_bytes,
        };
        let session = self.session.clone();
        let outcome = match dialog::plan(inbound, session.clone(), desk) {
            Plan::Say(outcome) => outcome,
            Plan::Search(text) => dialog::conclude(&self.index.search(&text, SCOPE, dialog::MAX_OFFER), session, desk),
        };
        self.session = outcome.session.clone().unwrap_or_default();
        if let Reply::Text { content } = &outcome.reply {
            assert!(content.len() <= self.max_bytes, "{} bytes: {content}", content.len());
        }
        outcome
    }

    fn say(&mut self, inbound: &Inbound) -> String {
        match self.hear(inbound).reply {
            Reply::Text { content } => content,
            other => format!("{other:?}"),
        }
    }

    /// Types the text and returns the reply's.
    fn ask(&mut self, text: &str) -> String {
        self.say(&typed(text))
    }
}

fn entry(name: &str, question: &str, answer: &str) -> Entry {
    Entry::new(id(name), question.into(), Answer::Text(answer.into()))
}

/// A talk in which 基金赎回 has just brought a list, with the ids on it.
fn offered() -> (Talk, Vec<String>) {
    let mut talk = Talk::with(&SAMPLE);
    let told = talk.hear(&typed("基金赎回")).told;
    assert!(matches!(told, Told::List(n) if n >= 3), "{told:?}");
    let ids = talk.session.offer.iter().map(ToString::to_string).collect();
    (talk, ids)
}

fn told_entry(outcome: &Outcome) -> Option<&str> {
    match &outcome.told {
        Told::Answer(id, _) | Told::Choice(id) => Some(id.as_str()),
        _ => None,
    }
}

#[test]
fn a_clear_question_is_answered_directly() {
    let mut talk = Talk::with(&SAMPLE);
    assert!(talk.ask("科创板开户要什么条件").contains("50万"));
    assert!(talk.session.is_fresh());
}

#[test]
fn a_list_has_numbers_and_links_that_name_their_entries() {
    let (mut talk, ids) = offered();
    talk.session = Session::default();
    let list = talk.ask("基金赎回");
    assert!(
        list.starts_with("您是不是想问：\n1. <a href=\"weixin://bizmsgmenu?msgmenucontent="),
        "{list}"
    );
    assert!(list.contains(&format!("&msgmenuid=entry:{}\">", ids[0])), "{list}");
}

#[test]
fn a_list_is_chosen_from_by_number_in_any_writing() {
    for text in [
        "2",
        "２",
        "二",
        "第二个",
        "2.",
        "②",
        "选2",
        "2️⃣",
        "点2",
        "查看2",
        "我看第二个",
        "第2項",
        "2谢谢",
        "❷",
        "⑵",
        "Ⅱ",
    ] {
        let (mut talk, ids) = offered();
        assert_eq!(told_entry(&talk.hear(&typed(text))), Some(ids[1].as_str()), "{text}");
    }
}

#[test]
fn another_number_can_follow_the_first() {
    let (mut talk, ids) = offered();
    talk.ask("1");
    assert_eq!(told_entry(&talk.hear(&typed("3"))), Some(ids[2].as_str()));
}

#[test]
fn a_list_is_chosen_from_by_tap_even_without_a_session() {
    let (mut talk, ids) = offered();
    talk.session = Session::default();
    let outcome = talk.hear(&tapped("whatever the line said", &format!("entry:{}", ids[2])));
    assert_eq!(told_entry(&outcome), Some(ids[2].as_str()));
}

#[test]
fn a_list_is_chosen_from_by_retyping_its_line() {
    let (mut talk, ids) = offered();
    let question = talk.index.entry(&ids[2]).unwrap().question.clone();
    assert_eq!(
        told_entry(&talk.hear(&typed(&format!(" {question}？")))),
        Some(ids[2].as_str())
    );
}

#[test]
fn a_number_beyond_the_list_asks_again_and_keeps_it() {
    let (mut talk, ids) = offered();
    let shown = talk.session.shown;
    assert!(talk.ask("99").contains(&format!("1 到 {shown}")));
    assert!(talk.ask("0").contains(&format!("1 到 {shown}")));
    assert_eq!(told_entry(&talk.hear(&typed("1"))), Some(ids[0].as_str()));
}

#[test]
fn a_number_without_a_list_says_so() {
    assert!(Talk::with(&SAMPLE).ask("2").contains("没有可以选择的列表"));
}

#[test]
fn more_pages_through_the_list_and_numbers_count_on() {
    let entries: Vec<Entry> = (0..12)
        .map(|n| {
            entry(
                &format!("e{n:02}"),
                &format!(
                    "基金{}怎么赎回",
                    ["甲", "乙", "丙", "丁", "戊", "己", "庚", "辛", "壬", "癸", "子", "丑"][n]
                ),
                "好",
            )
        })
        .collect();
    let mut talk = Talk::of(&entries);
    let told = talk.hear(&typed("基金赎回")).told;
    assert!(matches!(told, Told::List(5)), "{told:?}");
    assert!(talk.session.offer.len() > 5, "{:?}", talk.session);
    let second = talk.ask("更多");
    assert!(second.starts_with("还有这些问题：\n6. "), "{second}");
    let sixth = talk.session.offer[5].to_string();
    assert_eq!(told_entry(&talk.hear(&typed("6"))), Some(sixth.as_str()));
    while talk.session.has_more() {
        talk.ask("更多");
    }
    assert!(talk.ask("更多").contains("没有更多"));
}

#[test]
fn a_new_question_leaves_the_list() {
    let (mut talk, _) = offered();
    assert!(talk.ask("科创板开户要什么条件").contains("50万"));
    assert!(talk.ask("2").contains("没有可以选择的列表"));
}

#[test]
fn a_long_answer_continues_until_its_end_and_loses_nothing() {
    let long = (0..400)
        .map(|n| format!("第{n}条，请仔细阅读。"))
        .collect::<Vec<_>>()
        .concat();
    let mut talk = Talk::of(&[entry("long", "用户协议全文是什么", &long)]);
    let mut parts = vec![talk.ask("用户协议全文是什么")];
    assert!(parts[0].ends_with("……（回复“更多”继续阅读）"));
    while talk.session.has_more() {
        parts.push(talk.ask("更多"));
    }
    let whole: String = parts
        .iter()
        .map(|part| part.trim_end_matches("\n……（回复“更多”继续阅读）"))
        .collect();
    assert_eq!(whole, long);
}

#[test]
fn an_entry_that_has_left_meanwhile_is_not_answered() {
    let (mut talk, ids) = offered();
    talk.index = talk.index.apply(&[Change::Remove(id(&ids[0]))]);
    assert!(talk.ask("1").contains("下线"));
    assert!(talk.say(&tapped("x", &format!("entry:{}", ids[0]))).contains("下线"));
}

#[test]
fn what_cannot_be_read_as_a_question_gets_a_hint() {
    let mut talk = Talk::with(&SAMPLE);
    assert!(talk.ask("  ").contains("请输入"));
    assert!(talk.ask("【收到不支持的消息类型，暂无法显示】").contains("无法处理"));
    let image = MediaKind::Image {
        pic_url: String::new(),
        media_id: "m".into(),
    };
    assert!(
        talk.say(&Inbound::Media {
            head: head(),
            msg_id: "1".into(),
            kind: image
        })
        .contains("图片")
    );
    let voice = |recognition: Option<&str>| Inbound::Voice {
        head: head(),
        msg_id: "1".into(),
        media_id: "m".into(),
        recognition: recognition.map(Into::into),
    };
    assert!(talk.say(&voice(None)).contains("语音"));
    assert!(talk.say(&voice(Some("科创板开户要什么条件。"))).contains("50万"));
    let other = Inbound::Other {
        head: head(),
        msg_id: "1".into(),
        msg_type: "poi".into(),
    };
    assert_eq!(talk.hear(&other).reply, Reply::Acknowledge);
}

#[test]
fn events_are_answered_or_acknowledged() {
    let mut talk = Talk::with(&SAMPLE);
    assert!(
        talk.say(&happened(Event::Subscribe { scene: None }))
            .contains("感谢关注")
    );
    assert!(
        talk.say(&happened(Event::Click { key: "sec-001".into() }))
            .contains("50万")
    );
    assert!(
        talk.say(&happened(Event::Click {
            key: "科创板怎么开户".into()
        }))
        .contains("50万")
    );
    assert!(
        talk.say(&happened(Event::Click {
            key: "V1001_TODAY".into()
        }))
        .contains("菜单")
    );
    assert!(
        talk.say(&happened(Event::Scan {
            scene: "sec-001".into()
        }))
        .contains("50万")
    );
    assert_eq!(
        talk.hear(&happened(Event::Scan { scene: "99".into() })).reply,
        Reply::Acknowledge
    );
    let view = Event::Other {
        event: "VIEW".into(),
        key: "https://example.com/".into(),
    };
    assert_eq!(talk.hear(&happened(view)).reply, Reply::Acknowledge);
}

#[test]
fn who_leaves_is_forgotten_and_not_answered() {
    for event in [Event::Unsubscribe, Event::Revoked] {
        let (mut talk, _) = offered();
        let outcome = talk.hear(&happened(event));
        assert_eq!((outcome.session, outcome.reply), (None, Reply::Acknowledge));
    }
}

#[test]
fn every_kind_of_answer_becomes_its_reply() {
    let article = Article {
        title: "t".into(),
        description: "d".into(),
        url: "https://e.com".into(),
        picurl: String::new(),
    };
    let kinds = [
        (Answer::Image { media_id: "m".into() }, "Image"),
        (Answer::Voice { media_id: "m".into() }, "Voice"),
        (
            Answer::News {
                articles: vec![article.clone(), article],
            },
            "News",
        ),
        (Answer::Handoff { kf_account: None }, "Transfer"),
    ];
    for (answer, name) in kinds {
        let mut talk = Talk::of(&[Entry::new(id("a"), "怎么联系客服".into(), answer)]);
        let reply = talk.hear(&typed("怎么联系客服")).reply;
        assert!(format!("{reply:?}").starts_with(name), "{reply:?}");
        if let Reply::News { articles } = reply {
            assert_eq!(articles.len(), 1, "WeChat shows one article in answer to a message");
        }
    }
    let page = Answer::Miniprogram {
        title: "查询".into(),
        appid: "wx1".into(),
        pagepath: "pages/a".into(),
        url: String::new(),
        thumb_media_id: String::new(),
    };
    let mut talk = Talk::of(&[Entry::new(id("a"), "怎么查询".into(), page)]);
    let link = "<a data-miniprogram-appid=\"wx1\" data-miniprogram-path=\"pages/a\">查询</a>";
    assert_eq!(talk.ask("怎么查询"), link);
}

#[test]
fn markup_in_a_question_cannot_leave_its_line() {
    let nasty = "基金</a><a href=\"https://evil.example/?a=1&b=2\">赎回";
    let mut talk = Talk::of(&[entry("a", nasty, "好"), entry("b", "基金赎回到哪里", "好")]);
    talk.session = Session {
        offer: vec![id("a"), id("b")],
        shown: 0,
        rest: None,
    };
    let list = talk.say(&tapped("更多", "more"));
    assert_eq!(list.matches("<a ").count(), 2, "{list}");
    assert!(!list.contains("<a href=\"https"), "{list}");
}

#[test]
fn a_list_of_long_questions_fits_one_reply() {
    let long = "很".repeat(300);
    let entries: Vec<Entry> = (0..10)
        .map(|n| entry(&format!("e{n}"), &format!("{n}{long}"), "好"))
        .collect();
    let mut talk = Talk::of(&entries);
    talk.max_bytes = 600;
    talk.session = Session {
        offer: entries.iter().map(|entry| entry.id.clone()).collect(),
        shown: 0,
        rest: None,
    };
    let first = talk.hear(&typed("更多"));
    assert!(matches!(first.told, Told::List(1..=3)), "{first:?}");
    assert_eq!(talk.session.shown, if let Told::List(n) = first.told { n } else { 0 });
}

#[test]
fn who_asks_for_a_human_is_handed_over() {
    for text in [
        "人工",
        "转人工",
        "找人工",
        "我要人工",
        "人工客服",
        "人工服务",
        "真人",
        "转人工客服",
        "轉人工",
        "回复人工",
        "回复“人工”",
        "人工。",
    ] {
        let outcome = Talk::with(&SAMPLE).hear(&typed(text));
        assert!(matches!(outcome.reply, Reply::Transfer { .. }), "{text}: {outcome:?}");
    }
}

#[test]
fn what_the_sample_answers_tell_people_to_reply_is_understood() {
    let mut told = 0;
    for entry in SAMPLE.entries() {
        let Answer::Text(answer) = &entry.answer else { continue };
        for (at, lead) in answer.match_indices("回复“") {
            let word = answer[at + lead.len()..].split('”').next().unwrap();
            for text in [word.to_owned(), format!("回复{word}")] {
                let outcome = Talk::with(&SAMPLE).hear(&typed(&text));
                assert!(
                    matches!(outcome.told, Told::Answer(..)),
                    "{}: {text}: {outcome:?}",
                    entry.id
                );
            }
            told += 1;
        }
    }
    assert!(told >= 9, "{told}");
}

#[test]
fn a_question_of_the_bank_that_begins_with_reply_is_that_question() {
    assert_eq!(
        told_entry(&Talk::with(&SAMPLE).hear(&typed("回复编号是什么意思"))),
        Some("wx-002")
    );
}

#[test]
fn a_template_that_fails_on_a_message_leaves_the_follower_an_answer() {
    let (mut talk, _) = offered();
    talk.templates = Templates::load(&BTreeMap::from([(
        "choose_again.txt".to_owned(),
        "{% if count in [1, 5] %}再选一次{% else %}{{ count.size }}{% endif %}".to_owned(),
    )]))
    .unwrap();
    talk.session.shown = 2;
    let outcome = talk.hear(&typed("99"));
    assert!(
        matches!(&outcome.reply, Reply::Text { content } if content.contains("1 到 2")),
        "{outcome:?}"
    );
    assert!(outcome.fault.is_some_and(|fault| fault.name == "choose_again.txt"));
}

#[test]
fn thanks_and_an_unknown_question_leave_the_list_on_the_table() {
    for (text, said) in [
        ("谢谢", "不客气"),
        ("今天天气怎么样", "还没有这个问题的答案"),
        ("你好", "你好呀"),
    ] {
        let (mut talk, ids) = offered();
        assert!(talk.ask(text).contains(said), "{text}");
        assert_eq!(told_entry(&talk.hear(&typed("2"))), Some(ids[1].as_str()), "{text}");
    }
}

#[test]
fn thanks_in_the_middle_of_a_long_answer_leave_its_rest() {
    let mut talk = Talk::with(&SAMPLE);
    talk.session.rest = Some("后面的内容".into());
    talk.ask("谢谢");
    assert_eq!(talk.ask("回复更多"), "后面的内容");
}

#[test]
fn a_question_of_the_bank_is_never_taken_for_a_choice() {
    let mut bank: Vec<Entry> = SAMPLE.entries().map(|entry| (**entry).clone()).collect();
    let questions = ["第二个月账单", "2021年", "第二个", "更多问题", "查看2", "九号"];
    bank.extend(
        questions
            .iter()
            .enumerate()
            .map(|(n, question)| entry(&format!("x{n}"), question, "答")),
    );
    let index = Index::build(bank.into_iter().map(Arc::new), ANALYZER.clone());
    let (offer, _) = offered();
    for (n, question) in questions.iter().enumerate() {
        for session in [Session::default(), offer.session.clone()] {
            let mut talk = Talk::with(&index);
            talk.session = session;
            let outcome = talk.hear(&typed(question));
            assert_eq!(
                told_entry(&outcome),
                Some(format!("x{n}").as_str()),
                "{question}: {outcome:?}"
            );
        }
    }
}

#[test]
fn no_question_of_the_sample_bank_reads_as_a_choice() {
    let questions = SAMPLE.entries().flat_map(|entry| entry.phrasings().collect::<Vec<_>>());
    let taken: Vec<&str> = questions
        .filter(|text| dialog::choice::Pick::parse(text).is_some())
        .collect();
    assert!(taken.is_empty(), "{taken:?}");
}

#[test]
fn a_list_of_one_says_so_when_another_number_comes() {
    let mut talk = Talk::of(&[entry("a", "基金赎回到哪里", "好")]);
    talk.session = Session {
        offer: vec![id("a")],
        shown: 1,
        rest: None,
    };
    assert!(talk.ask("2").contains("只有 1 项，请回复 1，"));
}

#[test]
fn more_shows_no_blank_lines_for_entries_that_have_left() {
    let (mut talk, ids) = offered();
    assert!(ids.len() >= 8, "{ids:?}");
    talk.index = talk
        .index
        .apply(&[Change::Remove(id(&ids[5])), Change::Remove(id(&ids[7]))]);
    let page = talk.ask("更多");
    let sixth = talk.index.entry(&ids[6]).unwrap().question.clone();
    assert!(
        page.contains(&format!(">{sixth}</a>")) && !page.contains("></a>"),
        "{page}"
    );
    assert_eq!(told_entry(&talk.hear(&typed("6"))), Some(ids[6].as_str()));

    let (mut talk, ids) = offered();
    let gone: Vec<Change> = ids[5..].iter().map(|gone| Change::Remove(id(gone))).collect();
    talk.index = talk.index.apply(&gone);
    assert!(talk.ask("更多").contains("没有更多"));
    assert_eq!(told_entry(&talk.hear(&typed("2"))), Some(ids[1].as_str()));
}
