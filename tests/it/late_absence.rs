//! Late answers to be sent while Redis hangs, or is cut off from one of two instances: put together as the daemon is,
//! memory behind sealed Redis, each answer reaches its follower once.

use crate::late::{ACCOUNT, ANSWER, LIFETIMES, Place, QUESTION, Stage, Way, memory, memory_store};
use crate::support::bot::INSTALL_KEY;
use crate::support::redis_server::RedisServer;
use crate::support::silent_proxy::SilentProxy;
use crate::wechat_api::Captured;
use async_trait::async_trait;
use futures_util::future::join_all;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, sleep, sleep_until};
use wxfaq::bot::{Answer, Bot, SealedConversations, Seals};
use wxfaq::store::StoreError;
use wxfaq::store::conversations::{Arrival, Begun, Conversations, Finished, Follower, SessionChange, Turn};
use wxfaq::store::fallback::{Breaker, FallbackConversations, FallbackOpenWork, Patience};
use wxfaq::store::open_work::OpenWork;
use wxfaq::store::redis::{Link, RedisConversations, RedisOpenWork};
use wxfaq::wechat::Reply;
use wxfaq::wechat_api::{ApiError, Refusal};

const SECOND: Duration = Duration::from_secs(1);
/// What has not happened by then does not happen.
const HANG: Duration = Duration::from_secs(60);
/// How long the work takes: it ends before, while and after Redis is away.
const WORKS: [u64; 8] = [3_300, 3_700, 4_100, 4_500, 5_000, 5_500, 6_500, 8_000];
/// When Redis goes away, and for how long.
const AWAY_FROM: Duration = Duration::from_millis(3_500);
const AWAY_FOR: Duration = Duration::from_secs(3);

/// Under a prefix of their own, for no follower's work may be taken over by the instances of another test.
fn link(url: &str, takes: u64, deadline: Duration) -> Arc<Link> {
    wxfaq::store::redis::open(url, &format!("test-{takes}:"), deadline).unwrap()
}

fn listed_in(link: Arc<Link>) -> RedisOpenWork {
    let clock = Arc::new(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap());
    RedisOpenWork::new(link, Duration::from_secs(600), clock)
}

/// As the daemon puts it together.
fn place(url: &str, takes: u64) -> Place {
    let link = link(url, takes, Patience::default().deadline);
    let breaker = Breaker::new("redis", link.clone(), Patience::default());
    let shared = Arc::new(RedisConversations::new(link.clone(), LIFETIMES));
    let shared = Arc::new(SealedConversations::new(shared, Seals::new(INSTALL_KEY)));
    let conversations = FallbackConversations::new(shared, memory_store(), breaker.clone(), LIFETIMES);
    let open_work = FallbackOpenWork::new(Arc::new(listed_in(link)), breaker);
    (Arc::new(conversations), Some(Arc::new(open_work)))
}

/// Asks the first instance, and sees to it that the follower is sent the answer once, whatever becomes of Redis.
async fn asked_once_told_once(takes: u64, urls: [&str; 2], server: &RedisServer) {
    let list = listed_in(link(server.url(), takes, 20 * SECOND));
    let takes_ms = Duration::from_millis(takes);
    let stage = Stage::on(
        ANSWER,
        Way::Send,
        takes_ms,
        60 * SECOND,
        urls.map(|url| place(url, takes)).into(),
    );
    let answered = stage.bots[0].handle(ACCOUNT, &stage.message(QUESTION)).await;
    let Answer::Reply { reply, .. } = answered else {
        panic!("{takes}: {answered:?}")
    };
    assert_eq!(reply, Reply::Acknowledge, "{takes}");
    let begun = Instant::now();
    let is_over = async || {
        let is_listed = list
            .listed(Duration::ZERO, 0, 100)
            .await
            .map_or(true, |items| !items.is_empty());
        !is_listed && !stage.outbox.texts().is_empty()
    };
    while !is_over().await && begun.elapsed() < HANG {
        // Who asked need not be the one who looks first.
        stage.bots[1].sweep().await;
        sleep(SECOND / 5).await;
    }
    stage.settle().await;
    join_all(stage.bots.iter().map(Bot::sweep)).await;
    stage.settle().await;
    assert_eq!(stage.outbox.texts(), [ANSWER], "work of {takes} ms");
}

async fn all_told_once(server: &RedisServer, urls: [&str; 2]) {
    join_all(WORKS.map(|takes| asked_once_told_once(takes, urls, server))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_sent_once_though_redis_hangs() {
    let server = RedisServer::start().await;
    let hanging = async {
        sleep(AWAY_FROM).await;
        server.hang();
        sleep(AWAY_FOR).await;
        server.resume();
    };
    tokio::join!(all_told_once(&server, [server.url(); 2]), hanging);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_sent_once_though_redis_is_cut_off_from_who_works() {
    let server = RedisServer::start_tcp().await;
    let port = server.url().rsplit(':').next().unwrap().parse().unwrap();
    let proxy = SilentProxy::start(port, b"\r\n").await;
    let through = format!("redis://127.0.0.1:{}", proxy.port());
    let begun = Instant::now();
    let cutting = async {
        sleep_until(begun + AWAY_FROM).await;
        proxy.swallow(true);
        sleep_until(begun + AWAY_FROM + AWAY_FOR).await;
        proxy.swallow(false);
    };
    tokio::join!(all_told_once(&server, [&through, server.url()]), cutting);
}

/// What all share, until it is away; then what this instance has alone, which knows of no session.
struct Severed {
    shared: Arc<dyn Conversations>,
    alone: Arc<dyn Conversations>,
    is_away: AtomicBool,
}

impl Severed {
    fn here(&self) -> &dyn Conversations {
        match self.is_away.load(Ordering::SeqCst) {
            true => &*self.alone,
            false => &*self.shared,
        }
    }
}

#[async_trait]
impl Conversations for Severed {
    async fn begin(&self, arrival: &Arrival) -> Result<Begun, StoreError> {
        self.here().begin(arrival).await
    }
    async fn begin_for_all(&self, arrival: &Arrival) -> Result<Begun, StoreError> {
        // Once the message is refused, all is gone.
        if arrival.message.starts_with("unsent:") {
            self.is_away.store(true, Ordering::SeqCst);
            let (backend, reason) = ("test", "severed".to_owned());
            return Err(StoreError::Unavailable { backend, reason });
        }
        self.here().begin(arrival).await
    }
    async fn finish(&self, turn: &Turn, record: &[u8], session: SessionChange) -> Result<Finished, StoreError> {
        self.here().finish(turn, record, session).await
    }
    async fn renew(&self, turn: &Turn) -> Result<bool, StoreError> {
        self.here().renew(turn).await
    }
    async fn release(&self, turn: &Turn) -> Result<(), StoreError> {
        self.here().release(turn).await
    }
    async fn note_signature(&self, account: &str, signature: &str, fingerprint: &str) -> Result<bool, StoreError> {
        self.here().note_signature(account, signature, fingerprint).await
    }
    async fn forget(&self, follower: &Follower) -> Result<(), StoreError> {
        self.here().forget(follower).await
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_kept_of_an_answer_is_said_to_be_lost() {
    let captured = Captured::default();
    let _guard = captured.begin();
    let (shared, alone) = (memory(), memory());
    let is_away = AtomicBool::new(false);
    let store = Arc::new(Severed { shared, alone, is_away });
    let stage = Stage::on(ANSWER, Way::Send, 6 * SECOND, 60 * SECOND, vec![(store, None)]);
    let refused = ApiError::Refused(Refusal::new("/cgi-bin/message/custom/send", 45_015, "no"));
    stage.outbox.refuse(refused);
    stage.bots[0].handle(ACCOUNT, &stage.message(QUESTION)).await;
    stage.settle().await;
    let log = captured.text();
    assert_eq!(log.matches("of a late answer is lost").count(), 1, "{log}");
}

#[tokio::test]
async fn that_redis_is_away_is_one_line_in_the_log() {
    let captured = Captured::default();
    let _guard = captured.begin();
    let nowhere = place("unix:///nonexistent/redis.sock", 0);
    let stage = Stage::on(ANSWER, Way::Send, SECOND, SECOND, vec![nowhere]);
    for _ in 0..5 {
        stage.bots[0].sweep().await;
    }
    let log = captured.text();
    assert_eq!(log.matches("WARN").count(), 1, "{log}");
}
