//! A follower who writes too much: told so once, then silence for the rest of the minute, on any store.

use crate::late::{ACCOUNT, delivery, memory_store};
use crate::support::bot::{Counted, TokioClock, parts};
use crate::support::fake_wechat::NOON;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::advance;
use wxfaq::bank::{Answer as BankAnswer, Entry, EntryId};
use wxfaq::bot::{Answer, Bot, Clock, Parts};
use wxfaq::wechat::{Delivery, Reply};

const TOO_OFTEN: &str = "您发消息太快了，请过一分钟再试。";
const OPENID: &str = "oFlood";

async fn say(bot: &Arc<Bot>, delivery: &Delivery) -> Option<String> {
    match bot.handle(ACCOUNT, delivery).await {
        Answer::Reply {
            reply: Reply::Text { content },
            ..
        } => Some(content),
        Answer::Reply {
            reply: Reply::Acknowledge,
            ..
        } => None,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn who_writes_too_much_is_told_once_and_keeps_the_session() {
    let store = Arc::new(Counted::new(memory_store()));
    let clock = TokioClock::starting(NOON);
    let entry = |id: &str, question: &str| {
        let id = EntryId::parse(id).unwrap();
        Entry::new(
            id,
            question.into(),
            BankAnswer::Text(format!("{question}：带上身份证。")),
        )
    };
    let bank = vec![entry("a", "基金怎么赎回"), entry("b", "基金赎回多久到账")];
    let bot = Bot::new(Parts {
        per_minute: 4,
        ..parts(bank, store.clone(), clock.clone())
    });
    let write = |text: &str| delivery(OPENID, text, clock.now());

    let first = write("基金赎回");
    let list = say(&bot, &first).await.unwrap();
    assert!(list.contains("\n1. "), "{list}");
    for _ in 0..10 {
        assert_eq!(say(&bot, &first).await.as_ref(), Some(&list), "a repeat is not counted");
    }
    for _ in 0..3 {
        assert_ne!(say(&bot, &write("你好")).await.unwrap(), TOO_OFTEN);
    }
    let told = write("1");
    let silent = write("1");
    assert_eq!(say(&bot, &told).await.unwrap(), TOO_OFTEN);
    assert_eq!(say(&bot, &silent).await, None);
    let written = store.sessions_written();
    for _ in 0..200 {
        assert_eq!(say(&bot, &write("基金赎回")).await, None);
    }
    assert_eq!(store.sessions_written(), written, "nothing of it is in the session");
    assert!(say(&bot, &delivery("oOther", "基金赎回", NOON)).await.is_some());

    advance(Duration::from_secs(20)).await;
    assert_eq!(say(&bot, &told).await.unwrap(), TOO_OFTEN, "as at first");
    assert_eq!(say(&bot, &silent).await, None);
    advance(Duration::from_secs(41)).await;
    let chosen = say(&bot, &write("2")).await.unwrap();
    assert!(
        chosen.contains("带上身份证"),
        "the list is still on the table: {chosen}"
    );
}
