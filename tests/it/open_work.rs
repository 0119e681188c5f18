//! Work of an instance that died after WeChat was told `success`: another takes it over though the follower writes nothing,
//! and the answer arrives once. The list of such work has one contract, in memory and in Redis.

use crate::late::{ACCOUNT, ANSWER, Place, QUESTION, Stage, Way, begun_by_another, delivery, memory, redis};
use crate::support::bot::Counted;
use crate::support::fake_wechat::NOON;
use crate::support::redis_server::RedisServer;
use crate::wechat_api::Captured;
use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use wxfaq::bot::{Answer, Bot};
use wxfaq::store::StoreError;
use wxfaq::store::conversations::{Arrival, Begun, Conversations, Finished, Follower, SessionChange, Turn};
use wxfaq::store::memory::MemoryOpenWork;
use wxfaq::store::open_work::{MAX_ITEM_BYTES, MOST_LISTED, OpenWork};
use wxfaq::store::redis::{Link, RedisOpenWork};

const SECOND: Duration = Duration::from_secs(1);
const LIFETIME: Duration = Duration::from_secs(600);

/// A clock that is set.
#[derive(Clone, Default)]
struct Hands(Arc<AtomicU64>);

impl Hands {
    fn clock(&self) -> Arc<dyn Fn() -> Duration + Send + Sync> {
        let hands = self.0.clone();
        Arc::new(move || Duration::from_secs(1_800_000_000 + hands.load(Ordering::SeqCst)))
    }

    fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::SeqCst);
    }
}

async fn keeps_the_contract(open: &dyn OpenWork, hands: &Hands) {
    let listed = async |age: u64| open.listed(Duration::from_secs(age), 0, 10).await.unwrap();
    assert!(listed(0).await.is_empty());
    open.list(b"one").await.unwrap();
    open.list(b"one").await.unwrap();
    hands.set(5);
    open.list(b"two \xff\0").await.unwrap();
    assert_eq!(listed(0).await, [b"one".to_vec(), b"two \xff\0".to_vec()]);
    assert_eq!(listed(5).await, [b"one"]);
    assert!(listed(6).await.is_empty(), "too young");
    assert_eq!(open.listed(Duration::ZERO, 0, 1).await.unwrap(), [b"one"]);
    assert_eq!(open.listed(Duration::ZERO, 1, 9).await.unwrap(), [b"two \xff\0"]);
    assert!(open.listed(Duration::ZERO, 2, 9).await.unwrap().is_empty());
    open.strike(b"one").await.unwrap();
    open.strike(b"never there").await.unwrap();
    assert_eq!(listed(0).await, [b"two \xff\0"]);
    open.list(&vec![b'x'; MAX_ITEM_BYTES + 1]).await.unwrap_err();
    hands.set(5 + LIFETIME.as_secs());
    assert!(listed(0).await.is_empty(), "expired");
    for n in 0..MOST_LISTED + 3 {
        open.list(n.to_string().as_bytes()).await.unwrap();
    }
    let all = open.listed(Duration::ZERO, 0, usize::from(u16::MAX)).await.unwrap();
    assert_eq!(all.len(), MOST_LISTED);
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    let hands = Hands::default();
    keeps_the_contract(&MemoryOpenWork::new(LIFETIME, hands.clock()), &hands).await;
}

#[tokio::test]
async fn redis_keeps_the_contract() {
    let server = RedisServer::start().await;
    redis_contract(link_to(&server)).await;
}

/// The contract, kept by the Redis at the end of `link`.
pub async fn redis_contract(link: Arc<Link>) {
    let hands = Hands::default();
    keeps_the_contract(&RedisOpenWork::new(link, LIFETIME, hands.clock()), &hands).await;
}

fn link_to(server: &RedisServer) -> Arc<Link> {
    wxfaq::store::redis::open(server.url(), "test:", 20 * SECOND).unwrap()
}

/// Lets no turn of the kind be taken whose messages begin so: whoever would take one waits for ever.
pub struct Stuck(pub Arc<dyn Conversations>, pub &'static str);

#[async_trait]
impl Conversations for Stuck {
    async fn begin(&self, arrival: &Arrival) -> Result<Begun, StoreError> {
        if arrival.message.starts_with(self.1) {
            std::future::pending::<()>().await;
        }
        self.0.begin(arrival).await
    }
    async fn finish(&self, turn: &Turn, record: &[u8], session: SessionChange) -> Result<Finished, StoreError> {
        self.0.finish(turn, record, session).await
    }
    async fn renew(&self, turn: &Turn) -> Result<bool, StoreError> {
        self.0.renew(turn).await
    }
    async fn release(&self, turn: &Turn) -> Result<(), StoreError> {
        self.0.release(turn).await
    }
    async fn note_signature(&self, account: &str, signature: &str, fingerprint: &str) -> Result<bool, StoreError> {
        self.0.note_signature(account, signature, fingerprint).await
    }
    async fn forget(&self, follower: &Follower) -> Result<(), StoreError> {
        self.0.forget(follower).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_instance_owed_is_brought_by_another() {
    let server = RedisServer::start().await;
    let store = redis(&server);
    owed(&server, store, 5 * SECOND, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_and_not_sent_is_sent_by_another() {
    let server = RedisServer::start().await;
    let store = Arc::new(Stuck(redis(&server), "send:"));
    owed(&server, store, 8 * SECOND, 1).await;
}

/// WeChat is told `success`, the instance on `store` is killed when it `lives` so long, and nobody writes. How often the
/// source is `asked` in the end.
async fn owed(server: &RedisServer, store: Arc<dyn Conversations>, lives: Duration, asked: usize) {
    let hands = Hands::default();
    let list = || Arc::new(RedisOpenWork::new(link_to(server), LIFETIME, hands.clock())) as Arc<dyn OpenWork>;
    let places = [(); 2].map(|()| (redis(server), Some(list())));
    let stage = Stage::on(ANSWER, Way::Send, 6 * SECOND, 60 * SECOND, places.into());
    let delivery = Arc::new(stage.message(QUESTION));
    let answered = begun_by_another(&stage, (store, Some(list())), Way::Send, &delivery, lives).await;
    assert!(matches!(answered, Ok(Answer::Reply { .. })), "{answered:?}");
    let items = list().listed(Duration::ZERO, 0, 10).await.unwrap();
    let openid = stage.openid.as_bytes();
    assert!(
        items.len() == 1 && !items[0].windows(openid.len()).any(|part| part == openid),
        "no openid can be read in Redis"
    );

    hands.set(2);
    let looked = Instant::now();
    while stage.outbox.texts().is_empty() && looked.elapsed() < 30 * SECOND {
        futures_util::future::join_all(stage.bots.iter().map(Bot::sweep)).await;
        sleep(SECOND / 10).await;
    }
    stage.settle().await;
    for bot in &stage.bots {
        bot.sweep().await;
    }
    stage.settle().await;
    assert_eq!(stage.outbox.texts(), [ANSWER], "once");
    assert_eq!(stage.asked(), asked);
    assert!(list().listed(Duration::ZERO, 0, 10).await.unwrap().is_empty());
}

/// A list in this process, by tokio's clock, and instances on these stores that share it.
fn sharing(stores: Vec<Arc<dyn Conversations>>) -> Stage {
    let begun = Instant::now();
    let list: Arc<dyn OpenWork> = Arc::new(MemoryOpenWork::new(LIFETIME, Arc::new(move || begun.elapsed())));
    let places = stores.into_iter().map(|store| -> Place { (store, Some(list.clone())) });
    Stage::on(ANSWER, Way::Send, 6 * SECOND, 60 * SECOND, places.collect())
}

async fn ask(bot: &Arc<Bot>, openid: &str) {
    let answered = bot.handle(ACCOUNT, &delivery(openid, QUESTION, NOON)).await;
    assert!(matches!(answered, Answer::Reply { .. }), "{answered:?}");
}

#[tokio::test(start_paused = true)]
async fn work_that_is_taken_over_counts_from_its_message() {
    let captured = Captured::default();
    let _guard = captured.begin();
    let store = memory();
    let stage = sharing(vec![Arc::new(Stuck(store.clone(), "late:")), store]);
    ask(&stage.bots[0], &stage.openid).await;
    sleep(16 * SECOND).await;
    stage.bots[1].sweep().await;
    while stage.outbox.texts().is_empty() {
        sleep(SECOND).await;
    }
    sleep(SECOND).await;
    let log = captured.text();
    let line = log.lines().find(|line| line.contains("late answer account=")).unwrap();
    let elapsed_ms = line.split("elapsed_ms=").nth(1).unwrap();
    let elapsed_ms: u64 = elapsed_ms.split_whitespace().next().unwrap().parse().unwrap();
    // Three seconds until WeChat is answered, and the pause.
    assert!((19_000..21_000).contains(&elapsed_ms), "{line}");
}

#[tokio::test(start_paused = true)]
async fn work_that_nothing_can_be_done_for_hides_none_that_is_younger() {
    let (elsewhere, store) = (memory(), memory());
    let stage = sharing(vec![
        Arc::new(Stuck(elsewhere, "late:")),
        Arc::new(Stuck(store.clone(), "late:")),
        store,
    ]);
    let others: Vec<String> = (0..1_000).map(|n| format!("oElsewhere{n}")).collect();
    let asking = others.iter().map(|openid| ask(&stage.bots[0], openid));
    futures_util::future::join_all(asking).await;
    ask(&stage.bots[1], &stage.openid).await;
    sleep(10 * SECOND).await;
    for _ in 0..4 {
        stage.bots[2].sweep().await;
        sleep(10 * SECOND).await;
    }
    assert_eq!(stage.outbox.texts(), [ANSWER]);
}

#[tokio::test(start_paused = true)]
async fn an_item_in_hand_is_not_begun_again_by_the_next_look() {
    let store = memory();
    let living = Arc::new(Counted::new(Stuck(store.clone(), "late:")));
    let stage = sharing(vec![Arc::new(Stuck(store, "late:")), living.clone()]);
    ask(&stage.bots[0], &stage.openid).await;
    sleep(10 * SECOND).await;
    let mut calls = Vec::new();
    for _ in 0..3 {
        stage.bots[1].sweep().await;
        sleep(SECOND).await;
        calls.push(living.calls());
    }
    assert!(
        calls[0] > 0 && calls.iter().all(|count| *count == calls[0]),
        "{calls:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn work_of_the_living_hides_none_that_is_younger() {
    let store = memory();
    let looking = Arc::new(Counted::new(Stuck(store.clone(), "nothing")));
    let stage = sharing(vec![store, looking.clone()]);
    let all: Vec<String> = (0..1_001).map(|n| format!("oLiving{n}")).collect();
    futures_util::future::join_all(all.iter().map(|openid| ask(&stage.bots[0], openid))).await;
    let mut asked_for = Vec::new();
    for _ in 0..3 {
        stage.bots[1].sweep().await;
        sleep(SECOND / 100).await;
        asked_for.push(looking.calls());
    }
    assert_eq!(asked_for, [1_000, 1_001, 2_001], "each in its turn");
    stage.settle().await;
    assert_eq!(stage.outbox.texts().len(), all.len());
}
