//! A message whose claim is in trouble.

use super::*;
use crate::bank::Dictionaries;
use crate::bot::{
    AnswerSource, Deliveries, Late, LateDelivery, MatchStore, Parts, Seals, Snapshot, SnapshotParts, SourceError,
    SystemClock,
};
use crate::dialog::Templates;
use crate::matching::{Analyzer, Index, Thresholds};
use crate::store::StoreError;
use crate::store::conversations::{Begun, Conversations, Lifetimes, Turn};
use crate::store::memory::{Bounds, MemoryConversations, MemoryMatchCache};
use crate::wechat::{Event, Head};
use async_trait::async_trait;
use std::collections::BTreeMap;
use tokio::sync::Semaphore;

const LASTING: Duration = Duration::from_secs(600);

/// A store that answers some calls in its own way.
struct Troubled {
    inner: MemoryConversations,
    begins: Option<Begun>,
    finishes: bool,
    renewals: Semaphore,
    forgotten: Semaphore,
}

#[async_trait]
impl Conversations for Troubled {
    async fn begin(&self, arrival: &Arrival) -> Result<Begun, StoreError> {
        match &self.begins {
            Some(begun) => Ok(begun.clone()),
            None => self.inner.begin(arrival).await,
        }
    }
    async fn finish(&self, turn: &Turn, record: &[u8], session: SessionChange) -> Result<Finished, StoreError> {
        if self.finishes {
            return self.inner.finish(turn, record, session).await;
        }
        Err(StoreError::Unavailable {
            backend: "test",
            reason: "test".to_owned(),
        })
    }
    async fn renew(&self, turn: &Turn) -> Result<bool, StoreError> {
        self.renewals.add_permits(1);
        self.inner.renew(turn).await
    }
    async fn release(&self, turn: &Turn) -> Result<(), StoreError> {
        self.inner.release(turn).await
    }
    async fn note_signature(&self, account: &str, signature: &str, fingerprint: &str) -> Result<bool, StoreError> {
        self.inner.note_signature(account, signature, fingerprint).await
    }
    async fn forget(&self, follower: &Follower) -> Result<(), StoreError> {
        self.forgotten.add_permits(1);
        self.inner.forget(follower).await
    }
}

fn bot(begins: Option<Begun>, finishes: bool, lease: Duration) -> (Arc<Bot>, Arc<Troubled>) {
    let lifetimes = Lifetimes {
        lease: LASTING,
        signature: LASTING,
        record: LASTING,
        session: LASTING,
    };
    let store = Arc::new(Troubled {
        inner: MemoryConversations::new(lifetimes, Bounds::default(), Arc::new(|| Duration::ZERO)),
        begins,
        finishes,
        renewals: Semaphore::new(0),
        forgotten: Semaphore::new(0),
    });
    let dictionaries = Arc::new(Dictionaries::default());
    let bot = Bot::new(Parts {
        snapshot: Snapshot::new(SnapshotParts {
            index: Index::build([], Arc::new(Analyzer::new(&dictionaries))),
            dictionaries,
            rules: Arc::default(),
            categories: Arc::default(),
            templates: Arc::new(Templates::load(&BTreeMap::new()).unwrap()),
            thresholds: Thresholds {
                answer: 0.8,
                suggest: 0.6,
            },
            max_suggestions: 5,
            habits: crate::dialog::Habits::default(),
            handoffs: std::collections::BTreeMap::new(),
            max_bytes: 2_048,
            revision: 1,
        }),
        conversations: store.clone(),
        matches: MatchStore::new(Arc::new(MemoryMatchCache::new(LASTING, 1 << 20))),
        feedback: None,
        queries: None,
        media: crate::bot::Uploads::new(Arc::new(crate::store::memory::MemoryAccessTokens::new(Arc::new(
            || Duration::ZERO,
        )))),
        seals: Seals::new("key"),
        clock: Arc::new(SystemClock),
        deadline: Duration::from_millis(100),
        lease,
        late: Late::default(),
        erasures: None,
        open_work: None,
        per_minute: 0,
        deliveries: Deliveries::default(),
    });
    (bot, store)
}

fn work(bot: &Arc<Bot>, event: Event) -> Arc<Work> {
    let head = Head {
        account: "gh".into(),
        openid: "o".into(),
        create_time: 1,
    };
    let inbound = Inbound::Event { head, event };
    Arc::new(Work {
        bot: bot.clone(),
        started: Instant::now(),
        arrival: arrival(&inbound.dedup_id()),
        inbound,
        way: Arc::default(),
        age: Duration::ZERO,
        number: AtomicU8::new(0),
        is_slow: AtomicBool::new(false),
    })
}

fn arrival(message: &str) -> Arrival {
    Arrival {
        follower: Follower {
            account: "a".into(),
            pseudonym: "p".into(),
        },
        message: message.into(),
        signature: message.into(),
        fingerprint: message.into(),
    }
}

fn subscribe() -> Event {
    Event::Subscribe { scene: None }
}

async fn answer(work: Arc<Work>) -> Answer {
    let (answering, answer) = oneshot::channel();
    work.run(answering).await;
    answer.await.unwrap()
}

fn says_something(answer: &Answer) -> bool {
    matches!(answer, Answer::Reply { reply, .. } if *reply != Reply::Acknowledge)
}

#[tokio::test]
async fn a_claim_whose_end_fails_is_given_back() {
    let (bot, store) = bot(None, false, LASTING);
    assert!(says_something(&answer(work(&bot, subscribe())).await));
    bot.tasks.close();
    bot.tasks.wait().await;
    let next = store.inner.begin(&arrival("next")).await.unwrap();
    assert!(matches!(next, Begun::Claimed { .. }), "{next:?}");
}

#[tokio::test]
async fn a_follower_held_elsewhere_is_answered_and_forgotten_without_a_session() {
    let (bot, store) = bot(Some(Begun::Occupied), true, Duration::ZERO);
    assert!(says_something(&answer(work(&bot, subscribe())).await));
    answer(work(&bot, Event::Unsubscribe)).await;
    store.forgotten.acquire().await.unwrap().forget();
}

#[tokio::test]
async fn a_late_message_is_answered_from_the_snapshot() {
    let (bot, _) = bot(Some(Begun::Busy), true, LASTING);
    assert!(says_something(&work(&bot, subscribe()).answer_late()));
}

#[tokio::test]
async fn a_claim_is_renewed_while_work_goes_on() {
    let (bot, store) = bot(None, true, Duration::from_millis(3));
    let Begun::Claimed { turn, .. } = store.begin(&arrival("1")).await.unwrap() else {
        panic!("not to be had");
    };
    let held = Held::new(&bot, turn);
    held.renewed(async { store.renewals.acquire_many(3).await.unwrap().forget() })
        .await;
    assert_eq!(
        held.finish(b"record", SessionChange::Keep).await,
        Some(Finished::Stored)
    );
    assert_eq!(
        store.begin(&arrival("1")).await.unwrap(),
        Begun::Done(b"record".to_vec())
    );
}

/// Never asked: somebody else handles the message.
struct Unasked;

#[async_trait]
impl AnswerSource for Unasked {
    async fn answer(&self, _: &str, _: Scope<'_>) -> Result<Option<String>, SourceError> {
        unreachable!("the message is busy")
    }
}

#[tokio::test(start_paused = true)]
async fn a_held_delivery_is_given_up_before_its_work_ends() {
    let (mut bot, _) = bot(Some(Begun::Busy), true, LASTING);
    Arc::get_mut(&mut bot).unwrap().late.source = Some(Arc::new(Unasked));
    let mut work = work(&bot, subscribe());
    let ways = Deliveries::new([("a".to_owned(), LateDelivery::Hold)]);
    let first = Arc::get_mut(&mut work).unwrap();
    (first.way, first.number) = (ways.of("a"), AtomicU8::new(1));
    let given_up = work.started + WECHAT_WAITS + Duration::from_millis(1);
    let (answering, answer) = oneshot::channel();
    let running = tokio::spawn(work.run(answering));
    let answer = tokio::time::timeout_at(given_up, answer).await;
    assert!(answer.is_err(), "as after a panic: {answer:?}");
    running.await.unwrap();
}
