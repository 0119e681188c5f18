//! Conversations against the sample bank and small banks, without network, clock or store.

mod lists;
mod follow_ups;
mod feedback;
mod late;
mod categories;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use wxfaq::bank::dictionary::{Dictionaries, DictionaryTexts};
use wxfaq::bank::format::Format;
use wxfaq::bank::media::MediaType;
use wxfaq::bank::{Answer, Article, Channel, Entry, EntryId, Miniprogram};
use wxfaq::dialog::{self, CategoryBook, Desk, Habits, Handoff, Outcome, Plan, RuleBook, Session, Templates, Told};
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
pub static SAMPLE: LazyLock<Index> = LazyLock::new(|| {
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
    habits: Habits,
    handoff: Handoff,
    hot: Vec<EntryId>,
    channel: Channel,
    is_mute: bool,
    rules: RuleBook,
    categories: CategoryBook,
    thresholds: Thresholds,
}

/// Nothing beside the answer.
const PLAIN: Habits = Habits {
    also_asked: 0,
    also_asked_margin: 0.0,
    feedback: false,
};

impl Talk {
    fn with(index: &Index) -> Self {
        let templates = Templates::load(&BTreeMap::new()).unwrap();
        Self {
            index: index.clone(),
            templates,
            session: Session::default(),
            max_bytes: 2048,
            habits: PLAIN,
            handoff: Handoff::Bank,
            hot: Vec::new(),
            channel: Channel::Wechat,
            is_mute: false,
            rules: RuleBook::default(),
            categories: CategoryBook::default(),
            thresholds: Thresholds {
                answer: 0.8,
                suggest: 0.6,
            },
        }
    }

    fn of(entries: &[Entry]) -> Self {
        Self::with(&Index::build(entries.iter().cloned().map(Arc::new), ANALYZER.clone()))
    }

    fn desk(&self) -> Desk<'_> {
        Desk {
            index: &self.index,
            templates: &self.templates,
            rules: &self.rules,
            categories: &self.categories,
            luck: 0,
            scope: Scope {
                channel: self.channel,
                ..SCOPE
            },
            thresholds: self.thresholds,
            max_suggestions: 5,
            max_bytes: self.max_bytes,
            habits: self.habits,
            handoff: self.handoff,
            hot: &self.hot,
            media: self,
            message: "message:1",
        }
    }

    fn hear(&mut self, inbound: &Inbound) -> Outcome {
        let desk = self.desk();
        let search = |text: &str| self.index.search(text, SCOPE, dialog::MAX_OFFER);
        let session = self.session.clone();
        let outcome = match dialog::plan(inbound, session.clone(), desk) {
            Plan::Say(outcome) => outcome,
            Plan::Search(text) => dialog::conclude(&search(&text), session, desk),
            Plan::FollowUp {
                text,
                follow_up,
                before,
            } => {
                let own = search(&text);
                let followed = desk.followed(&own, &follow_up, &before);
                dialog::conclude(followed.as_ref().unwrap_or(&own), session, desk)
            }
        };
        self.session = outcome.session.clone().unwrap_or_default();
        if let Reply::Text { content } = &outcome.reply {
            assert!(content.len() <= self.max_bytes, "{} bytes: {content}", content.len());
        }
        Outcome {
            reply: outcome.reply.clone().fitting(inbound),
            ..outcome
        }
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

/// WeChat knows every file but `away.*`, by what was asked for; more may come unless the account is mute.
impl dialog::MediaIds for Talk {
    fn media_id(&self, account: &str, kind: MediaType, file: &str) -> Option<String> {
        (!file.starts_with("away")).then(|| format!("{account}-{}-{file}", kind.as_str()))
    }

    fn takes_files(&self, _: &str) -> bool {
        !self.is_mute
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
    assert!(talk.session.offer.is_empty() && !talk.session.has_more());
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
    let talk = |kind: &str, content: &str| {
        let answer = Answer::parse(kind, content).unwrap();
        Talk::of(&[Entry::new(id("a"), "怎么联系客服".into(), answer)])
    };
    for (kind, content, media_id) in [
        ("image", r#"{"file":"群.png"}"#, "demo-image-群.png"),
        ("voice", r#"{"file":"a.mp3"}"#, "demo-voice-a.mp3"),
        ("video", r#"{"file":"a.mp4"}"#, "demo-video-a.mp4"),
        ("music", r#"{"thumb_file":"a.jpg"}"#, "demo-thumb-a.jpg"),
        ("image", r#"{"media_id":"m-1"}"#, "m-1"),
    ] {
        let reply = format!("{:?}", talk(kind, content).hear(&typed("怎么联系客服")).reply);
        assert!(reply.contains(&format!("media_id: \"{media_id}\"")), "{reply}");
    }
    for (is_mute, channel, said) in [
        (false, Channel::Wechat, "请过一分钟再试"),
        (true, Channel::Wechat, "显示不了"),
        (true, Channel::Api, "微信公众号"),
    ] {
        let mut talk = talk("image", r#"{"file":"away.png"}"#);
        (talk.is_mute, talk.channel) = (is_mute, channel);
        let away = talk.ask("怎么联系客服");
        assert!(away.contains(said), "{away}");
    }
    let articles = r#"{"articles":[{"title":"t","url":"https://e.com"},{"title":"u","url":"https://e.com"}]}"#;
    let event = happened(Event::Click { key: "a".into() });
    let Reply::News { articles } = talk("news", articles).hear(&event).reply else {
        panic!("no news")
    };
    assert_eq!(articles.len(), 2, "WeChat shows up to eight in answer to an event");
    let page = Answer::Miniprogram(Box::new(Miniprogram {
        title: "查询".into(),
        appid: "wx1".into(),
        pagepath: "pages/a".into(),
        url: String::new(),
        thumb_media_id: String::new(),
    }));
    let mut talk = Talk::of(&[Entry::new(id("a"), "怎么查询".into(), page)]);
    let link = "<a data-miniprogram-appid=\"wx1\" data-miniprogram-path=\"pages/a\">查询</a>";
    assert_eq!(talk.ask("怎么查询"), link);
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
fn thanks_in_the_middle_of_a_long_answer_leave_its_rest() {
    let mut talk = Talk::with(&SAMPLE);
    talk.session.rest = Some("后面的内容".into());
    talk.ask("谢谢");
    assert_eq!(talk.ask("回复更多"), "后面的内容");
}

#[test]
fn what_has_no_words_is_no_question_and_a_nod_is_small_talk() {
    let mut talk = Talk::with(&SAMPLE);
    talk.session.misses = 1;
    for text in ["😀", "/::)", "[微笑]", "？", "。", "…", "[微笑][微笑]", "😂😂！"] {
        let outcome = talk.hear(&typed(text));
        assert_eq!((&outcome.told, talk.session.misses), (&Told::Hint, 1), "{text}");
    }
    for text in ["哦", "666", "好的", "嗯", "哦哦", "嗯？"] {
        let outcome = talk.hear(&typed(text));
        let named = told_entry(&outcome).unwrap_or_default();
        assert!(named.starts_with("st-"), "{text}: {:?}", outcome.told);
        assert_eq!(talk.session.misses, 1, "{text}");
    }
    let mut talk = Talk::of(&[
        entry("sign", "？", "问号是一个标点。"),
        entry("b", "怎么开户", "带上身份证"),
    ]);
    talk.ask("怎么开户");
    assert_eq!(talk.hear(&typed("！")).told, Told::Hint);
}
