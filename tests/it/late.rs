//! Work that takes longer than WeChat waits, in the three ways an account may have, with WeChat's deliveries played as it
//! makes them: at 0, 5 and 10 seconds, each for five.

use crate::support::bot::{INSTALL_KEY, TokioClock, parts};
use crate::support::fake_wechat::{FakeWechat, NOON};
use crate::support::redis_server::RedisServer;
use async_trait::async_trait;
use futures_util::future::join_all;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use wxfaq::bank::{Answer as BankAnswer, Entry, EntryId, rule};
use wxfaq::bot::{
    Answer, AnswerSource, Bot, Clock, Deliveries, Late, LateDelivery, Parts, SealedConversations, Seals, Snapshot,
    SnapshotParts, SourceError,
};
use wxfaq::dialog::RuleBook;
use wxfaq::fake_wechat::Contact;
use wxfaq::matching::Scope;
use wxfaq::store::conversations::{Conversations, Lifetimes};
use wxfaq::store::memory::{Bounds, MemoryConversations};
use wxfaq::store::open_work::OpenWork;
use wxfaq::store::redis::RedisConversations;
use wxfaq::wechat::platform;
use wxfaq::wechat::{CredentialParts, Credentials, Delivery, Head, Mode, Query, Reply};
use wxfaq::wechat_api::{ApiError, MediaFile, Message, Refusal, Typing, Uploaded, WechatApi};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than any test.
const NEVER: Duration = Duration::from_secs(1_000_000);
pub const ACCOUNT: &str = "demo";
pub const QUESTION: &str = "火星上怎么交电费";
pub const ANSWER: &str = "火星上不收电费。";
/// The bank answers this.
pub const KNOWN: &str = "怎么开户";
/// The bank does not answer this, and nobody would ask it.
pub const ANYTHING: &str = "好";
pub const SEARCHING: &str = "正在查找，回复任意内容查看答案。";
const APOLOGY: &str = "抱歉，这个问题查了很久也没有结果。";

pub const LIFETIMES: Lifetimes = Lifetimes {
    lease: SECOND,
    signature: Duration::from_secs(615),
    record: Duration::from_secs(30),
    session: Duration::from_secs(1_800),
};

/// A source that takes its time.
struct Slow {
    takes: Duration,
    words: String,
    asked: AtomicUsize,
}

#[async_trait]
impl AnswerSource for Slow {
    async fn answer(&self, question: &str, scope: Scope<'_>) -> Result<Option<String>, SourceError> {
        assert_eq!((question, scope.account), (QUESTION, ACCOUNT));
        self.asked.fetch_add(1, Ordering::SeqCst);
        sleep(self.takes).await;
        Ok(Some(self.words.clone()))
    }
}

/// What was sent as customer-service messages, and when.
#[derive(Default)]
pub struct Outbox {
    sent: Mutex<Vec<(Instant, String)>>,
    errors: Mutex<VecDeque<ApiError>>,
}

#[async_trait]
impl WechatApi for Outbox {
    async fn send(&self, _openid: &str, message: &Message) -> Result<(), ApiError> {
        if let Some(error) = self.errors.lock().unwrap().pop_front() {
            return Err(error);
        }
        let Message::Text { content } = message else {
            panic!("not a text: {message:?}");
        };
        self.sent.lock().unwrap().push((Instant::now(), content.clone()));
        Ok(())
    }
    async fn typing(&self, _: &str, _: Typing) -> Result<(), ApiError> {
        Ok(())
    }
    async fn upload(&self, _: MediaFile) -> Result<Uploaded, ApiError> {
        unreachable!("nothing is uploaded")
    }
}

impl Outbox {
    /// The next message is refused.
    pub fn refuse(&self, error: ApiError) {
        self.errors.lock().unwrap().push_back(error);
    }

    pub fn texts(&self) -> Vec<String> {
        self.sent.lock().unwrap().iter().map(|(_, text)| text.clone()).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    Placeholder,
    Hold,
    Send,
}

/// Where an instance keeps conversations, and where it lists open work.
pub type Place = (Arc<dyn Conversations>, Option<Arc<dyn OpenWork>>);

/// Instances of one account, one follower's view of them, and what they share.
pub struct Stage {
    pub bots: Vec<Arc<Bot>>,
    clock: Arc<TokioClock>,
    source: Arc<Slow>,
    pub outbox: Arc<Outbox>,
    pub openid: String,
}

pub fn memory() -> Arc<dyn Conversations> {
    Arc::new(memory_store())
}

pub fn memory_store() -> MemoryConversations {
    let begun = Instant::now();
    let clock = Arc::new(move || begun.elapsed());
    MemoryConversations::new(LIFETIMES, Bounds::default(), clock)
}

/// Sealed, on a connection of its own, with patience for a busy machine.
pub fn redis(server: &RedisServer) -> Arc<dyn Conversations> {
    let link = wxfaq::store::redis::open(server.url(), "test:", 20 * SECOND).unwrap();
    let store = Arc::new(RedisConversations::new(link, LIFETIMES));
    Arc::new(SealedConversations::new(store, Seals::new(INSTALL_KEY)))
}

impl Stage {
    /// One instance for each of `stores`, whose source takes `takes`.
    fn new(way: Way, takes: Duration, work: Duration, stores: Vec<Arc<dyn Conversations>>) -> Self {
        Self::saying(ANSWER, way, takes, work, stores)
    }

    fn saying(words: &str, way: Way, takes: Duration, work: Duration, stores: Vec<Arc<dyn Conversations>>) -> Self {
        let unlisted = stores.into_iter().map(|store| (store, None)).collect();
        Self::on(words, way, takes, work, unlisted)
    }

    /// One instance for each of `places`: where conversations are kept, and where open work is listed.
    pub fn on(words: &str, way: Way, takes: Duration, work: Duration, places: Vec<Place>) -> Self {
        static FOLLOWERS: AtomicUsize = AtomicUsize::new(0);
        let source = Arc::new(Slow {
            takes,
            words: words.to_owned(),
            asked: AtomicUsize::new(0),
        });
        let outbox = Arc::new(Outbox::default());
        let clock = TokioClock::starting(NOON);
        let bots = places
            .into_iter()
            .map(|place| bot_at(place, way, clock.clone(), source.clone(), outbox.clone(), work))
            .collect();
        Self {
            bots,
            clock,
            source,
            outbox,
            openid: format!("oFollower{}", FOLLOWERS.fetch_add(1, Ordering::SeqCst)),
        }
    }

    pub fn message(&self, text: &str) -> Delivery {
        delivery(&self.openid, text, self.clock.now())
    }

    /// The message as WeChat delivers it, to one instance after another. What the follower sees, `None` for nothing, and
    /// at which delivery.
    async fn write(&self, text: &str) -> (usize, Option<String>) {
        self.write_to(0, text).await
    }

    async fn write_to(&self, first: usize, text: &str) -> (usize, Option<String>) {
        let delivery = self.message(text);
        let begun = Instant::now();
        for n in 0..3 {
            sleep_until(begun + 5 * SECOND * u32::try_from(n).unwrap()).await;
            let asked = Instant::now();
            let bot = &self.bots[(first + n) % self.bots.len()];
            match timeout(5 * SECOND, bot.handle(ACCOUNT, &delivery)).await {
                Ok(Answer::Reply { reply, .. }) => {
                    assert!(asked.elapsed() < Duration::from_millis(4_500), "{:?}", asked.elapsed());
                    // WeChat may have missed it: a repeat gets the same, wherever it comes.
                    for bot in &self.bots {
                        let again = bot.handle(ACCOUNT, &delivery).await;
                        assert!(matches!(again, Answer::Reply { reply: same, .. } if same == reply));
                    }
                    return (n, shown(reply));
                }
                Ok(Answer::Held) | Err(_) => {}
                Ok(Answer::Refused) => panic!("refused"),
            }
        }
        panic!("no delivery of {text} is answered");
    }

    pub fn asked(&self) -> usize {
        self.source.asked.load(Ordering::SeqCst)
    }

    /// Everything that goes on has come to its end.
    pub async fn settle(&self) {
        for bot in &self.bots {
            bot.tasks().close();
            bot.tasks().wait().await;
            bot.tasks().reopen();
        }
    }

    /// The whole story of one question in the stage's way; `works`: how the source ends.
    async fn play(&self, way: Way, takes: Duration) {
        let asked_at = Instant::now();
        let expected = if takes == NEVER { APOLOGY } else { ANSWER };
        let (delivery, seen) = self.write(QUESTION).await;
        let story = format!("{way:?}, {takes:?}, {} instances", self.bots.len());
        match (way, takes.as_secs()) {
            (Way::Send, _) => assert_eq!((delivery, seen), (0, None), "{story}"),
            (Way::Placeholder, _) => assert_eq!((delivery, seen.as_deref()), (0, Some(SEARCHING)), "{story}"),
            (Way::Hold, 6) => assert_eq!((delivery, seen.as_deref()), (1, Some(ANSWER)), "{story}"),
            (Way::Hold, 12) => assert_eq!((delivery, seen.as_deref()), (2, Some(ANSWER)), "{story}"),
            (Way::Hold, _) => assert_eq!((delivery, seen.as_deref()), (2, Some(SEARCHING)), "{story}"),
        }
        let was_told = way == Way::Hold && takes != NEVER;
        if way == Way::Placeholder && takes == 12 * SECOND {
            // Too early: still looked for.
            assert_eq!(
                self.write_to(1, ANYTHING).await.1.as_deref(),
                Some(SEARCHING),
                "{story}"
            );
        }
        if way == Way::Placeholder && takes == 6 * SECOND {
            // Who writes while it is looked for waits for it.
            sleep_until(asked_at + 5 * SECOND).await;
            assert_eq!(self.write_to(1, ANYTHING).await.1.as_deref(), Some(ANSWER), "{story}");
            assert!(asked_at.elapsed() >= takes, "{story}");
        } else {
            self.settle().await;
            if way != Way::Send && !was_told {
                let seen = self.write_to(1, ANYTHING).await.1.unwrap();
                assert!(seen.starts_with(expected), "{story}: {seen}");
            }
        }
        self.settle().await;
        for _ in 0..self.bots.len() {
            let seen = self.write_to(1, KNOWN).await.1.unwrap();
            assert!(!seen.starts_with(expected) && seen != SEARCHING, "{story}: {seen}");
        }
        let sent = self.outbox.texts();
        assert_eq!(sent.len(), usize::from(way == Way::Send), "{story}: {sent:?}");
        assert!(sent.iter().all(|text| text.starts_with(expected)), "{story}: {sent:?}");
        assert_eq!(self.asked(), 1, "{story}");
    }
}

/// The stage with these rules, one a line.
fn ruled(stage: Stage, rules: &str) -> Stage {
    let rules = rule::file::read(rules).map(|(_, rule)| rule.unwrap());
    let rules = Arc::new(RuleBook::new(rules, &[]));
    let bots = stage.bots.iter().map(|bot| {
        let snapshot = bot.snapshot();
        bot.publish(Snapshot::new(SnapshotParts {
            rules: rules.clone(),
            categories: Arc::default(),
            ..snapshot.parts().clone()
        }));
        bot.clone()
    });
    let bots = bots.collect();
    Stage { bots, ..stage }
}

fn bot(
    way: Way,
    conversations: Arc<dyn Conversations>,
    clock: Arc<TokioClock>,
    source: Arc<Slow>,
    api: Arc<dyn WechatApi>,
    work: Duration,
) -> Arc<Bot> {
    bot_at((conversations, None), way, clock, source, api, work)
}

fn bot_at(
    (conversations, open_work): Place,
    way: Way,
    clock: Arc<TokioClock>,
    source: Arc<Slow>,
    api: Arc<dyn WechatApi>,
    work: Duration,
) -> Arc<Bot> {
    let delivery = match way {
        Way::Placeholder => LateDelivery::Placeholder,
        Way::Hold => LateDelivery::Hold,
        Way::Send => LateDelivery::Send(api),
    };
    let id = EntryId::parse("kaihu").unwrap();
    let entry = Entry::new(id, KNOWN.into(), BankAnswer::Text("带上身份证。".into()));
    Bot::new(Parts {
        late: Late {
            source: Some(source),
            work,
        },
        deliveries: Deliveries::new([(ACCOUNT.to_owned(), delivery)]),
        open_work,
        ..parts(vec![entry], conversations, clock)
    })
}

/// From now on no reply may hold `word`.
fn forbid(stage: &Stage, word: &str) {
    for bot in &stage.bots {
        let mut parts = bot.snapshot().parts().clone();
        parts.rules = Arc::new(RuleBook::new([], &[word.to_owned()]));
        bot.publish(Snapshot::new(parts));
    }
}

fn open(xml: &str, now: i64) -> Delivery {
    static NONCE: AtomicUsize = AtomicUsize::new(0);
    let credentials = Credentials::new(CredentialParts {
        appid: "wx1a2b3c4d5e6f7081",
        mode: Mode::Plain,
        token: "TokenOfTheTests",
        previous_token: None,
        encoding_aes_key: None,
        previous_encoding_aes_key: None,
    })
    .unwrap();
    let nonce = NONCE.fetch_add(1, Ordering::SeqCst).to_string();
    let request = platform::deliver(&credentials, xml, now, &nonce, [7; 16]);
    let query = Query::parse(&request.query).unwrap();
    credentials.open(&query, request.body.as_bytes(), now, 300).unwrap()
}

fn head(openid: &str, now: i64) -> Head {
    Head {
        account: "gh_tests".into(),
        openid: openid.into(),
        create_time: now,
    }
}

/// A text nobody has sent before.
pub fn delivery(openid: &str, text: &str, now: i64) -> Delivery {
    static IDS: AtomicUsize = AtomicUsize::new(1);
    let id = IDS.fetch_add(1, Ordering::SeqCst).to_string();
    open(&platform::text_xml(&head(openid, now), &id, text), now)
}

fn sentences(count: usize) -> String {
    (0..count).map(|n| format!("第{n}句。")).collect::<Vec<_>>().concat()
}

fn shown(reply: Reply) -> Option<String> {
    match reply {
        Reply::Acknowledge => None,
        Reply::Text { content } => Some(content),
        other => panic!("not a text: {other:?}"),
    }
}

const WAYS: [Way; 3] = [Way::Send, Way::Placeholder, Way::Hold];
const WORKS: [Duration; 3] = [Duration::from_secs(6), Duration::from_secs(12), NEVER];

#[tokio::test(start_paused = true)]
async fn every_message_is_answered_in_time_and_its_answer_arrives_once() {
    for way in WAYS {
        for takes in WORKS {
            Stage::new(way, takes, 60 * SECOND, vec![memory()])
                .play(way, takes)
                .await;
            let store = memory();
            Stage::new(way, takes, 60 * SECOND, vec![store.clone(), store])
                .play(way, takes)
                .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_on_one_redis_answer_as_one_does() {
    let server = RedisServer::start().await;
    let cases = WAYS.into_iter().flat_map(|way| WORKS.map(|takes| (way, takes)));
    let stages = cases.map(async |(way, takes)| {
        let stage = Stage::new(way, takes, 16 * SECOND, vec![redis(&server), redis(&server)]);
        stage.play(way, takes).await;
    });
    join_all(stages).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_bank_answers_is_never_asked_of_the_source() {
    let stage = Stage::new(Way::Send, NEVER, 60 * SECOND, vec![memory()]);
    let begun = Instant::now();
    assert_eq!(stage.write(KNOWN).await, (0, Some("带上身份证。".into())));
    assert_eq!((begun.elapsed(), stage.asked()), (Duration::ZERO, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_typed_after_an_apology_does_not_judge_the_answer_before() {
    let stage = Stage::new(Way::Placeholder, NEVER, 6 * SECOND, vec![memory()]);
    let mut parts = stage.bots[0].snapshot().parts().clone();
    parts.habits.feedback = true;
    stage.bots[0].publish(Snapshot::new(parts));
    let judged = async || stage.write("没用").await.1.unwrap();
    assert!(stage.write(KNOWN).await.1.unwrap().starts_with("带上身份证。"));
    let about_it = judged().await;
    stage.write(KNOWN).await;
    assert_eq!(stage.write(QUESTION).await.1.as_deref(), Some(SEARCHING));
    stage.settle().await;
    assert!(stage.write(ANYTHING).await.1.unwrap().starts_with(APOLOGY));
    assert_ne!(judged().await, about_it);
}

#[tokio::test(start_paused = true)]
async fn a_source_in_time_answers_at_once() {
    let stage = Stage::new(Way::Send, SECOND, 60 * SECOND, vec![memory()]);
    assert_eq!(stage.write(QUESTION).await, (0, Some(ANSWER.into())));
    stage.settle().await;
    assert_eq!((stage.asked(), stage.outbox.texts()), (1, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_new_question_is_answered_while_another_is_looked_into() {
    let stage = Stage::new(Way::Placeholder, 20 * SECOND, 60 * SECOND, vec![memory()]);
    assert_eq!(stage.write(QUESTION).await.1.as_deref(), Some(SEARCHING));
    assert_eq!(stage.write(KNOWN).await, (0, Some("带上身份证。".into())));
    stage.settle().await;
    let both = format!("{ANSWER}\n\n关于您刚才的问题：\n带上身份证。");
    assert_eq!(stage.write(KNOWN).await, (0, Some(both)), "it comes first");
    assert_eq!(stage.write(KNOWN).await, (0, Some("带上身份证。".into())));
}

/// What `text` gets while an answer of these `words` waits.
async fn told_to(text: &str, words: &str) -> String {
    let stage = Stage::saying(words, Way::Placeholder, 6 * SECOND, 60 * SECOND, vec![memory()]);
    assert_eq!(stage.write(QUESTION).await.1.as_deref(), Some(SEARCHING));
    stage.settle().await;
    let told = stage.write(text).await.1.unwrap();
    assert!(told.len() <= 2_048 && stage.asked() == 1, "{text}: {told}");
    told
}

const ONCE_MORE: &str = "如果您刚才发的是新问题，请再发一次。";

#[tokio::test(start_paused = true)]
async fn anything_brings_the_waiting_answer_and_nothing_else() {
    for text in [
        "好",
        "1",
        "嗯",
        "？",
        "在吗",
        "好的",
        "[微笑]",
        "更多",
        "好了吗",
        "看答案",
        "查看答案",
        "任意内容",
        "有用",
    ] {
        assert_eq!(told_to(text, ANSWER).await, ANSWER, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_that_finds_no_place_beside_the_waiting_answer_is_asked_for_again() {
    let once_more = |told: &str| told.ends_with(&format!("\n\n{ONCE_MORE}"));
    let told = told_to("木星上怎么交水费", ANSWER).await;
    assert!(told.starts_with(ANSWER) && once_more(&told), "{told}");
    // One byte less and it would fit.
    let frame = "\n\n关于您刚才的问题：\n带上身份证。".len();
    for (room, fits) in [(frame, true), (frame - 1, false)] {
        let length = 2_048 - room;
        let words = format!("{}{}", "x".repeat(length % 3), "长".repeat(length / 3));
        let told = told_to(KNOWN, &words).await;
        let is_told = told.starts_with(&words) && told.ends_with("带上身份证。");
        assert_eq!((is_told, once_more(&told)), (fits, !fits), "{told}");
    }
    // What is cut for the sentence comes with 更多.
    let told = told_to(KNOWN, &sentences(400)).await;
    assert!(told.contains("回复“更多”") && once_more(&told), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_long_answer_is_sent_in_order_and_its_parts_apart() {
    let long = sentences(500);
    let stage = Stage::saying(&long, Way::Send, 6 * SECOND, 60 * SECOND, vec![memory()]);
    assert_eq!(stage.write(QUESTION).await.1, None);
    stage.settle().await;
    let sent = stage.outbox.sent.lock().unwrap().clone();
    let parts: Vec<&str> = sent.iter().map(|(_, text)| text.as_str()).collect();
    assert!(parts.len() > 2 && parts.iter().all(|part| part.len() <= 2_048 && part.ends_with('。')));
    assert_eq!(parts.concat(), long);
    assert!(sent.windows(2).all(|pair| pair[1].0 - pair[0].0 >= SECOND / 2));
}

#[tokio::test]
async fn who_leaves_leaves_nothing_in_redis_but_that_they_were_answered() {
    let server = RedisServer::start().await;
    let stage = Stage::new(
        Way::Placeholder,
        Duration::ZERO,
        60 * SECOND,
        vec![redis(&server), redis(&server)],
    );
    assert_eq!(stage.write(QUESTION).await.1.as_deref(), Some(ANSWER));
    assert!(stage.write(KNOWN).await.1.unwrap().starts_with("带上身份证"));
    let leaving = platform::event_xml(&head(&stage.openid, stage.clock.now()), "unsubscribe", "");
    let left = stage.bots[0].handle(ACCOUNT, &open(&leaving, stage.clock.now())).await;
    assert!(matches!(
        left,
        Answer::Reply {
            reply: Reply::Acknowledge,
            ..
        }
    ));
    stage.settle().await;
    let mut kept = Vec::new();
    // The list of claims holds nothing but their names.
    for key in server.keys().await.into_iter().filter(|key| !key.contains("recent:")) {
        let value = server.command(&["GET", &key]).await;
        if let Ok(value) = redis::from_redis_value::<Vec<u8>>(value) {
            kept.push((key, String::from_utf8_lossy(&value).into_owned()));
        }
    }
    assert!(!kept.is_empty());
    for (key, value) in kept {
        assert!(!key.contains("session:"), "{key}");
        for told in [ANSWER, QUESTION, "身份证"] {
            assert!(!value.contains(told), "{key}: {value}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_sensitive_word_of_the_source_is_refused_and_never_told() {
    const REFUSAL: &str = "这个话题我不便回答，请换一个问题。";
    let words = "火星上的内幕是这样的。";
    for (way, takes) in [
        (Way::Placeholder, 1),
        (Way::Placeholder, 6),
        (Way::Hold, 6),
        (Way::Send, 6),
    ] {
        let stage = Stage::saying(words, way, takes * SECOND, 60 * SECOND, vec![memory()]);
        forbid(&stage, "内幕");
        let (_, seen) = stage.write(QUESTION).await;
        stage.settle().await;
        let told = match (way, takes) {
            (Way::Send, _) => stage.outbox.texts().pop(),
            (Way::Placeholder, 6) => stage.write(ANYTHING).await.1,
            _ => seen,
        };
        assert_eq!(told.as_deref(), Some(REFUSAL), "{way:?} {takes}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_late_answer_is_told_in_parts_that_join_to_it() {
    let words = sentences(400);
    let stage = Stage::saying(&words, Way::Placeholder, 6 * SECOND, 60 * SECOND, vec![memory()]);
    assert_eq!(stage.write(QUESTION).await.1.as_deref(), Some(SEARCHING));
    stage.settle().await;
    let mut told = String::new();
    let mut text = ANYTHING;
    while told.len() < words.len() {
        let part = stage.write(text).await.1.unwrap();
        assert!(part.len() <= 2_048, "{}", part.len());
        let shown: String = part.lines().take_while(|line| line.starts_with('第')).collect();
        assert!(!shown.is_empty() && words[told.len()..].starts_with(&shown), "{part}");
        told.push_str(&shown);
        text = "更多";
    }
}

#[tokio::test(start_paused = true)]
async fn what_wechat_does_not_take_waits_for_the_next_message() {
    let refused = |code| ApiError::Refused(Refusal::new("/cgi-bin/message/custom/send", code, "no"));
    let unreachable = ApiError::Unreachable { reason: "x".into() };
    for error in [refused(45_015), refused(45_047), refused(48_001), unreachable] {
        let stage = Stage::new(Way::Send, 6 * SECOND, 60 * SECOND, vec![memory()]);
        stage.outbox.refuse(error.clone());
        assert_eq!(stage.write(QUESTION).await.1, None);
        stage.settle().await;
        assert_eq!(stage.outbox.texts(), Vec::<String>::new());
        assert_eq!(stage.write(ANYTHING).await.1.as_deref(), Some(ANSWER), "{error}");
        assert_ne!(stage.write(KNOWN).await.1.as_deref(), Some(ANSWER), "{error}");
    }
    let doubtful = ApiError::NoAnswer {
        path: "/cgi-bin/message/custom/send",
        reason: "x".into(),
    };
    for error in [doubtful, refused(43_004)] {
        let stage = Stage::new(Way::Send, 6 * SECOND, 60 * SECOND, vec![memory()]);
        stage.outbox.refuse(error.clone());
        stage.write(QUESTION).await;
        stage.settle().await;
        assert_ne!(stage.write(KNOWN).await.1.as_deref(), Some(ANSWER), "{error}");
        assert_eq!(stage.outbox.texts(), Vec::<String>::new(), "never twice");
    }
}

#[tokio::test(start_paused = true)]
async fn an_account_that_may_not_send_asks_for_another_message_from_then_on() {
    let stage = Stage::new(Way::Send, 6 * SECOND, 60 * SECOND, vec![memory()]);
    let refused = ApiError::Refused(Refusal::new("/cgi-bin/message/custom/send", 48_001, "no"));
    stage.outbox.refuse(refused);
    assert_eq!(stage.write(QUESTION).await.1, None);
    stage.settle().await;
    assert_eq!(stage.write(ANYTHING).await.1.as_deref(), Some(ANSWER));
    assert_eq!(stage.write(QUESTION).await.1.as_deref(), Some(SEARCHING));
    stage.settle().await;
    assert_eq!(stage.write(ANYTHING).await.1.as_deref(), Some(ANSWER));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_is_sent_nothing_and_leaves_nothing() {
    for way in [Way::Send, Way::Placeholder] {
        let stage = Stage::new(way, 6 * SECOND, 60 * SECOND, vec![memory()]);
        stage.write(QUESTION).await;
        let now = stage.clock.now();
        let fields = [("Event", "unsubscribe"), ("EventKey", "")];
        let leaves = open(&platform::message_xml(&head(&stage.openid, now), "event", &fields), now);
        stage.bots[0].handle(ACCOUNT, &leaves).await;
        stage.settle().await;
        assert_eq!(stage.outbox.texts(), Vec::<String>::new());
        assert_ne!(stage.write(KNOWN).await.1.as_deref(), Some(ANSWER), "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_answer_survives_a_restart() {
    let server = RedisServer::start().await;
    let mut stage = Stage::new(Way::Placeholder, 4 * SECOND, 60 * SECOND, vec![redis(&server)]);
    assert_eq!(stage.write(QUESTION).await.1.as_deref(), Some(SEARCHING));
    stage.settle().await;
    let clock = stage.clock.clone();
    let (source, outbox) = (stage.source.clone(), stage.outbox.clone());
    stage.bots = vec![bot(
        Way::Placeholder,
        redis(&server),
        clock,
        source,
        outbox,
        60 * SECOND,
    )];
    assert_eq!(stage.write(ANYTHING).await.1.as_deref(), Some(ANSWER));
    assert_eq!(stage.asked(), 1);
}

/// An instance beside the stage's takes the message up and is killed `after` that; what it answered.
pub async fn begun_by_another(
    stage: &Stage,
    place: Place,
    way: Way,
    delivery: &Arc<Delivery>,
    after: Duration,
) -> Result<Answer, tokio::task::JoinError> {
    let doomed = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (clock, source, outbox) = (stage.clock.clone(), stage.source.clone(), stage.outbox.clone());
    let first = delivery.clone();
    let begun = Instant::now();
    let answered = doomed.spawn(async move {
        let bot = bot_at(place, way, clock, source, outbox, 60 * SECOND);
        bot.handle(ACCOUNT, &first).await
    });
    sleep_until(begun + after).await;
    // Its tasks end where they are: nothing is given back.
    doomed.shutdown_background();
    answered.await
}

/// The instance that works is killed, `after` its message came, at one of WeChat's moments; another goes on.
async fn killed(way: Way, after: Duration) {
    let server = RedisServer::start().await;
    let stage = Stage::new(way, 6 * SECOND, 60 * SECOND, vec![redis(&server)]);
    let delivery = Arc::new(stage.message(QUESTION));
    let begun = Instant::now();
    let first = begun_by_another(&stage, (redis(&server), None), way, &delivery, after).await;
    let was_answered = matches!(first, Ok(Answer::Reply { .. }));
    assert_eq!(was_answered, after > 4 * SECOND, "{way:?}: {first:?}");
    let [living] = stage.bots.as_slice() else {
        unreachable!("one instance is left")
    };
    if was_answered {
        // WeChat delivers no more; the follower writes again.
        let next = if way == Way::Send { KNOWN } else { ANYTHING };
        let seen = stage.write(next).await.1;
        assert_ne!(seen.as_deref(), Some(ANSWER), "it is looked for anew");
    } else {
        sleep_until(begun + 5 * SECOND).await;
        let again = timeout(5 * SECOND, living.handle(ACCOUNT, &delivery)).await;
        if way == Way::Hold {
            assert!(matches!(again, Ok(Answer::Held) | Err(_)), "{again:?}");
            sleep_until(begun + 10 * SECOND).await;
            let Answer::Reply { reply, .. } = living.handle(ACCOUNT, &delivery).await else {
                panic!("the last delivery is not answered");
            };
            assert_eq!(shown(reply).as_deref(), Some(ANSWER));
        } else {
            assert!(matches!(again, Ok(Answer::Reply { .. })), "{again:?}");
        }
    }
    stage.settle().await;
    let mut told = stage.outbox.texts();
    for _ in 0..2 {
        told.extend(stage.write(ANYTHING).await.1.filter(|seen| seen == ANSWER));
    }
    assert_eq!(told.len(), usize::from(way != Way::Hold), "{way:?}: {told:?}");
    assert_eq!(stage.outbox.texts().len(), usize::from(way == Way::Send));
    assert_eq!(stage.asked(), 2, "once by the dead, once by the living");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_instance_at_work_dies_another_brings_the_answer() {
    tokio::join!(
        killed(Way::Send, 2 * SECOND),
        killed(Way::Placeholder, 2 * SECOND),
        killed(Way::Hold, 2 * SECOND),
        killed(Way::Send, 5 * SECOND),
        killed(Way::Placeholder, 5 * SECOND),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_clock_does_not_take_the_last_delivery_for_an_earlier_one() {
    let server = RedisServer::start().await;
    let stage = Stage::new(Way::Hold, 12 * SECOND, 60 * SECOND, vec![redis(&server)]);
    // WeChat's clock is right.
    let delivery = Arc::new(delivery(&stage.openid, QUESTION, stage.clock.now() + 10));
    let begun = Instant::now();
    begun_by_another(&stage, (redis(&server), None), Way::Hold, &delivery, 2 * SECOND)
        .await
        .unwrap_err();
    let mut answers = Vec::new();
    for n in 1..3 {
        sleep_until(begun + 5 * SECOND * n).await;
        answers.push(timeout(5 * SECOND, stage.bots[0].handle(ACCOUNT, &delivery)).await);
    }
    assert!(matches!(answers[0], Ok(Answer::Held) | Err(_)), "{answers:?}");
    let Ok(Answer::Reply { reply, .. }) = answers.pop().unwrap() else {
        panic!("the last delivery is not answered");
    };
    assert_eq!(shown(reply).as_deref(), Some(SEARCHING));
}

/// A bot that sends through a real client to the fake WeChat.
async fn on_fake_wechat(words: &str) -> (FakeWechat, Stage) {
    let wechat = FakeWechat::start().await;
    let stage = Stage::saying(words, Way::Send, SECOND / 2, 60 * SECOND, vec![memory()]);
    let client = Arc::new(wechat.client());
    let bot = Bot::new(Parts {
        late: Late {
            source: Some(stage.source.clone()),
            work: 60 * SECOND,
        },
        deliveries: Deliveries::new([(ACCOUNT.to_owned(), LateDelivery::Send(client))]),
        deadline: SECOND / 2,
        ..parts(Vec::new(), memory(), stage.clock.clone())
    });
    let stage = Stage {
        bots: vec![bot],
        ..stage
    };
    wechat.fake.contact(&stage.openid, Contact::Message);
    (wechat, stage)
}

const SEND: &str = "/cgi-bin/message/custom/send";

#[tokio::test]
async fn a_closed_window_is_asked_once_and_the_answer_waits() {
    let (wechat, stage) = on_fake_wechat(ANSWER).await;
    wechat.fake.contact(&stage.openid, Contact::Leave);
    assert_eq!(stage.write(QUESTION).await.1, None);
    stage.settle().await;
    assert_eq!((wechat.fake.calls(SEND), wechat.fake.sent().len()), (1, 0));
    assert_eq!(stage.write(ANYTHING).await.1.as_deref(), Some(ANSWER));
    assert_eq!(wechat.fake.calls(SEND), 1);
}

#[tokio::test]
async fn what_the_quota_does_not_allow_is_not_tried_and_waits() {
    // Three parts each: more than five for two questions.
    let long = sentences(450);
    let (wechat, stage) = on_fake_wechat(&long).await;
    assert_eq!(stage.write(QUESTION).await.1, None);
    assert_eq!(stage.write(QUESTION).await.1, None);
    stage.settle().await;
    let sent = wechat.fake.sent();
    assert_eq!((wechat.fake.calls(SEND), sent.len()), (5, 5), "nothing is tried beyond");
    let texts: Vec<&str> = sent
        .iter()
        .map(|sent| sent.message["content"].as_str().unwrap())
        .collect();
    assert_eq!(texts[..3].concat(), long, "one answer after the other");
    let (second, hint) = texts[3..].split_at(1);
    let tail = &long[second[0].len() + hint[0].find('\n').unwrap()..];
    assert!(hint[0].contains("更多"), "{}", hint[0]);
    assert_eq!(stage.write(ANYTHING).await.1.as_deref(), Some(tail));
}

/// The source does not know.
const NOTHING: &str = "";

#[tokio::test(start_paused = true)]
async fn a_hand_off_that_comes_late_is_told_in_words() {
    let stage = Stage::saying(NOTHING, Way::Send, 6 * SECOND, 60 * SECOND, vec![memory()]);
    let rules = r#"{"id":"d","trigger":"default","replies":[{"kind":"handoff"}]}"#;
    let stage = ruled(stage, rules);
    assert_eq!(stage.write(QUESTION).await.1, None);
    stage.settle().await;
    let sent = stage.outbox.texts();
    assert!(sent.len() == 1 && sent[0].contains("还没有这个问题的答案"), "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hand_off_of_an_entry_that_comes_late_says_how_to_get_there() {
    let stage = Stage::saying(NOTHING, Way::Send, 6 * SECOND, 60 * SECOND, vec![memory()]);
    assert_eq!(stage.write(QUESTION).await.1, None);
    // Meanwhile the editor has the question answered by people.
    let handoff = BankAnswer::parse("handoff", "{}").unwrap();
    let entry = Entry::new(EntryId::parse("human").unwrap(), QUESTION.into(), handoff);
    let with_entry = parts(vec![entry], memory(), stage.clock.clone()).snapshot;
    stage.bots[0].publish(with_entry);
    stage.settle().await;
    assert_eq!(stage.outbox.texts(), ["这个问题需要人工为您解答，请回复“人工”。"]);
}

#[tokio::test(start_paused = true)]
async fn a_picture_that_wechat_does_not_take_waits_for_the_next_message() {
    let stage = Stage::saying(NOTHING, Way::Send, 6 * SECOND, 60 * SECOND, vec![memory()]);
    let rules = r#"{"id":"d","trigger":"default","replies":[{"kind":"image","answer":{"media_id":"m"}}]}"#;
    let stage = ruled(stage, rules);
    let refused = ApiError::Refused(Refusal::new(SEND, 45_015, "no"));
    stage.outbox.refuse(refused);
    assert_eq!(stage.write(QUESTION).await.1, None);
    stage.settle().await;
    let Answer::Reply { reply, .. } = stage.bots[0].handle(ACCOUNT, &stage.message(ANYTHING)).await else {
        panic!("no answer");
    };
    assert_eq!(reply, Reply::Image { media_id: "m".into() });
    assert_eq!(stage.write(KNOWN).await.1.as_deref(), Some("带上身份证。"), "once");
}

#[tokio::test(start_paused = true)]
async fn the_second_miss_has_its_help_also_when_it_comes_late() {
    for (takes, way) in [(SECOND, Way::Send), (6 * SECOND, Way::Send), (SECOND, Way::Placeholder)] {
        let stage = Stage::saying(NOTHING, way, takes, 60 * SECOND, vec![memory()]);
        stage.write(KNOWN).await;
        let mut seen = Vec::new();
        for _ in 0..2 {
            seen.extend(stage.write(QUESTION).await.1);
            stage.settle().await;
        }
        seen.extend(stage.outbox.texts());
        assert_eq!(seen.len(), 2, "{way:?} {takes:?}: {seen:?}");
        assert!(
            !seen[0].contains(KNOWN) && seen[1].contains(KNOWN),
            "{way:?} {takes:?}: {seen:?}"
        );
    }
}
