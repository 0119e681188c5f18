//! The contract of [`Conversations`] and [`MatchCache`], held by memory and by a real Redis.

use crate::support::redis_proxy::CountingProxy;
use crate::support::redis_server::RedisServer;
use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use wxfaq::store::conversations::{
    Arrival, Begun, Conversations, Finished, Follower, Lifetimes, MAX_VALUE_BYTES, SessionChange, Turn,
};
use wxfaq::store::match_cache::{MAX_MATCH_BYTES, MatchCache, MatchKey};
use wxfaq::store::memory::{Bounds, MemoryConversations, MemoryMatchCache};
use wxfaq::store::redis::{Link, RedisConversations, RedisMatchCache, Servers};

/// Longer than any test.
const LONG: Duration = Duration::from_mins(10);
/// What a test lets expire.
const SHORT: Duration = Duration::from_millis(80);

/// A lease that outlives any pause of a busy machine, and yet ends within a test.
const LEASE: Duration = Duration::from_secs(2);

pub const LASTING: Lifetimes = Lifetimes {
    lease: LONG,
    signature: LONG,
    record: LONG,
    session: LONG,
};

/// A back-end under the contract.
#[async_trait]
trait BackEnd {
    /// An empty store.
    async fn open(&self, lifetimes: Lifetimes) -> Arc<dyn Conversations>;
    /// Some milliseconds pass. Only Redis's own expiry needs real ones.
    async fn wait(&self);
    /// Since some fixed moment.
    fn now(&self) -> Duration;
}

#[derive(Default)]
struct Memory {
    now_ms: Arc<AtomicU64>,
}

#[async_trait]
impl BackEnd for Memory {
    async fn open(&self, lifetimes: Lifetimes) -> Arc<dyn Conversations> {
        let now_ms = Arc::clone(&self.now_ms);
        let clock = Arc::new(move || Duration::from_millis(now_ms.load(Ordering::SeqCst)));
        Arc::new(MemoryConversations::new(lifetimes, Bounds::default(), clock))
    }
    async fn wait(&self) {
        self.now_ms.fetch_add(10, Ordering::SeqCst);
    }
    fn now(&self) -> Duration {
        Duration::from_millis(self.now_ms.load(Ordering::SeqCst))
    }
}

struct Redis<'s> {
    servers: &'s Servers,
    stores: AtomicUsize,
    started: Instant,
}

#[async_trait]
impl BackEnd for Redis<'_> {
    async fn open(&self, lifetimes: Lifetimes) -> Arc<dyn Conversations> {
        let prefix = format!("test{}:", self.stores.fetch_add(1, Ordering::SeqCst));
        let link = Link::open(self.servers, &prefix, Duration::from_secs(20)).unwrap();
        Arc::new(RedisConversations::new(Arc::new(link), lifetimes))
    }
    async fn wait(&self) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Conversations in Redis that bear with a busy machine.
fn redis(url: &str, prefix: &str, lifetimes: Lifetimes) -> RedisConversations {
    let link = wxfaq::store::redis::open(url, prefix, Duration::from_secs(20)).unwrap();
    RedisConversations::new(link, lifetimes)
}

pub fn follower(name: &str) -> Follower {
    Follower {
        account: "demo".to_owned(),
        pseudonym: name.to_owned(),
    }
}

/// A message under a signature of its own.
pub fn arrival(follower_name: &str, message: &str) -> Arrival {
    Arrival {
        follower: follower(follower_name),
        message: message.to_owned(),
        signature: format!("{follower_name}{message}"),
        fingerprint: format!("f{message}"),
    }
}

pub async fn claim(store: &dyn Conversations, arrival: &Arrival) -> (Turn, Option<Vec<u8>>) {
    match store.begin(arrival).await.unwrap() {
        Begun::Claimed { turn, session } => (turn, session),
        other => panic!("{} is not to be had: {other:?}", arrival.message),
    }
}

pub fn put(session: &str) -> SessionChange {
    SessionChange::Put(session.as_bytes().to_vec())
}

pub fn done(record: &str) -> Begun {
    Begun::Done(record.as_bytes().to_vec())
}

/// Handles a message from beginning to end; what its session was.
pub async fn handle(
    store: &dyn Conversations,
    arrival: &Arrival,
    record: &str,
    change: SessionChange,
) -> Option<Vec<u8>> {
    let (turn, session) = claim(store, arrival).await;
    assert_eq!(
        store.finish(&turn, record.as_bytes(), change).await.unwrap(),
        Finished::Stored
    );
    session
}

/// The follower's session, read with a message that leaves no trace.
pub async fn session(store: &dyn Conversations, follower_name: &str) -> Option<Vec<u8>> {
    let (turn, session) = claim(store, &arrival(follower_name, "look")).await;
    store.release(&turn).await.unwrap();
    session
}

/// Lets time pass until `condition` holds.
async fn eventually(back_end: &dyn BackEnd, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..2_000 {
        if condition().await {
            return;
        }
        back_end.wait().await;
    }
    panic!("never: {what}");
}

/// The contract, kept by the Redis that `servers` are.
pub async fn conversations_contract_on(servers: &Servers) {
    conversations_contract(&Redis {
        servers,
        stores: AtomicUsize::new(0),
        started: Instant::now(),
    })
    .await;
}

async fn conversations_contract(back_end: &dyn BackEnd) {
    repeats_get_the_record(back_end).await;
    a_released_message_starts_afresh(back_end).await;
    one_follower_one_turn(back_end).await;
    one_of_many_claims(back_end).await;
    sessions_follow_their_turn(back_end).await;
    signatures_belong_to_the_first(back_end).await;
    everything_expires(back_end).await;
    a_dead_holder_is_replaced(back_end).await;
    a_holder_that_renews_keeps_its_turn(back_end).await;
    a_forgotten_session_stays_forgotten(back_end).await;
    who_leaves_leaves_no_reply(back_end).await;
    what_is_too_long_is_refused(back_end).await;
}

async fn repeats_get_the_record(back_end: &dyn BackEnd) {
    let store = back_end.open(LASTING).await;
    let message = arrival("anna", "1");
    let (turn, session) = claim(&*store, &message).await;
    assert_eq!(session, None);
    assert_eq!(store.begin(&message).await.unwrap(), Begun::Busy);
    assert_eq!(
        store.finish(&turn, b"reply", SessionChange::Keep).await.unwrap(),
        Finished::Stored
    );
    assert_eq!(store.begin(&message).await.unwrap(), done("reply"));
    // WeChat signs every delivery anew.
    let repeat = Arrival {
        signature: "another".to_owned(),
        ..message.clone()
    };
    assert_eq!(store.begin(&repeat).await.unwrap(), done("reply"));
    assert_eq!(
        store.finish(&turn, b"other", put("x")).await.unwrap(),
        Finished::Stored,
        "asked again"
    );
    assert_eq!(
        store.begin(&message).await.unwrap(),
        done("reply"),
        "and changed nothing"
    );
    let same_id = arrival("bert", "1");
    claim(&*store, &same_id).await;
    let same_follower = Follower {
        account: "second".to_owned(),
        ..message.follower.clone()
    };
    claim(
        &*store,
        &Arrival {
            follower: same_follower,
            ..message
        },
    )
    .await;
}

async fn a_released_message_starts_afresh(back_end: &dyn BackEnd) {
    let store = back_end.open(LASTING).await;
    let message = arrival("anna", "1");
    let (turn, _) = claim(&*store, &message).await;
    store.release(&turn).await.unwrap();
    let (second, _) = claim(&*store, &message).await;
    assert_ne!(turn.token, second.token);
    store.release(&turn).await.unwrap();
    assert_eq!(
        store.begin(&message).await.unwrap(),
        Begun::Busy,
        "a turn given back twice frees nobody else's"
    );
    assert_eq!(
        store.finish(&turn, b"old", put("old")).await.unwrap(),
        Finished::Superseded(None)
    );
    assert_eq!(
        store.finish(&second, b"new", SessionChange::Keep).await.unwrap(),
        Finished::Stored
    );
    store.release(&second).await.unwrap();
    assert_eq!(
        store.begin(&message).await.unwrap(),
        done("new"),
        "a record outlives a late release"
    );
}

async fn one_follower_one_turn(back_end: &dyn BackEnd) {
    let store = back_end.open(LASTING).await;
    let (question, number) = (arrival("anna", "question"), arrival("anna", "2"));
    let (turn, _) = claim(&*store, &question).await;
    assert_eq!(store.begin(&number).await.unwrap(), Begun::Occupied);
    assert_eq!(
        store.begin(&question).await.unwrap(),
        Begun::Busy,
        "a repeat is told apart"
    );
    claim(&*store, &arrival("bert", "2")).await;
    store.finish(&turn, b"list", put("offered")).await.unwrap();
    let (_, session) = claim(&*store, &number).await;
    assert_eq!(
        session.as_deref(),
        Some(b"offered".as_slice()),
        "the second message sees what the first left"
    );
}

async fn one_of_many_claims(back_end: &dyn BackEnd) {
    let store = back_end.open(LASTING).await;
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.begin(&arrival("anna", "1")).await.unwrap() })
        })
        .collect();
    let mut claimed = 0;
    for task in tasks {
        match task.await.unwrap() {
            Begun::Claimed { .. } => claimed += 1,
            other => assert_eq!(other, Begun::Busy),
        }
    }
    assert_eq!(claimed, 1);
}

async fn sessions_follow_their_turn(back_end: &dyn BackEnd) {
    let store = back_end.open(LASTING).await;
    assert_eq!(handle(&*store, &arrival("anna", "1"), "r", put("a")).await, None);
    let (turn, session) = claim(&*store, &arrival("anna", "2")).await;
    assert_eq!((turn.session_version, session), (1, Some(b"a".to_vec())));
    store.finish(&turn, b"r", SessionChange::Keep).await.unwrap();
    let bytes = b"b\0\xff:c".to_vec();
    let change = SessionChange::Put(bytes.clone());
    assert_eq!(
        handle(&*store, &arrival("anna", "3"), "r", change).await,
        Some(b"a".to_vec())
    );
    let (turn, session) = claim(&*store, &arrival("anna", "4")).await;
    assert_eq!((turn.session_version, session), (2, Some(bytes.clone())));
    let stale = Turn {
        session_version: 1,
        ..turn
    };
    assert_eq!(
        store.finish(&stale, b"r", put("stale")).await.unwrap(),
        Finished::Stored
    );
    assert_eq!(
        session_of_anna(&*store).await,
        Some(bytes),
        "another version is not touched"
    );
    handle(&*store, &arrival("anna", "5"), "r", SessionChange::Delete).await;
    assert_eq!(session_of_anna(&*store).await, None);
    handle(&*store, &arrival("anna", "6"), "r", put("")).await;
    assert_eq!(
        session_of_anna(&*store).await,
        Some(Vec::new()),
        "an empty session is one"
    );
}

async fn session_of_anna(store: &dyn Conversations) -> Option<Vec<u8>> {
    session(store, "anna").await
}

async fn signatures_belong_to_the_first(back_end: &dyn BackEnd) {
    let store = back_end.open(LASTING).await;
    let genuine = arrival("anna", "1");
    handle(&*store, &genuine, "reply", SessionChange::Keep).await;
    let forged = Arrival {
        signature: genuine.signature.clone(),
        ..arrival("bert", "2")
    };
    assert_eq!(store.begin(&forged).await.unwrap(), Begun::Refused);
    assert_eq!(store.begin(&genuine).await.unwrap(), done("reply"));
    // The refused one claimed neither the message nor the follower.
    let (turn, _) = claim(&*store, &arrival("bert", "2")).await;
    assert_eq!(
        store.begin(&forged).await.unwrap(),
        Begun::Refused,
        "and took nothing from its holder"
    );
    assert_eq!(
        store.finish(&turn, b"r", SessionChange::Keep).await.unwrap(),
        Finished::Stored
    );

    assert!(store.note_signature("demo", "verify", "url").await.unwrap());
    assert!(store.note_signature("demo", "verify", "url").await.unwrap());
    assert!(!store.note_signature("demo", "verify", "other").await.unwrap());
    assert!(
        store.note_signature("second", "verify", "other").await.unwrap(),
        "accounts do not share signatures"
    );
    let replayed = Arrival {
        signature: "verify".to_owned(),
        ..arrival("carl", "3")
    };
    assert_eq!(store.begin(&replayed).await.unwrap(), Begun::Refused);
    assert!(!store.note_signature("demo", &genuine.signature, "url").await.unwrap());
}

async fn everything_expires(back_end: &dyn BackEnd) {
    let store = back_end
        .open(Lifetimes {
            signature: SHORT,
            ..LASTING
        })
        .await;
    assert!(store.note_signature("demo", "s", "first").await.unwrap());
    eventually(back_end, "the signature expires", async || {
        store.note_signature("demo", "s", "next").await.unwrap()
    })
    .await;

    let store = back_end
        .open(Lifetimes {
            record: SHORT,
            ..LASTING
        })
        .await;
    let message = arrival("anna", "1");
    handle(&*store, &message, "reply", put("a")).await;
    eventually(
        back_end,
        "the record expires and the message can be claimed",
        async || {
            matches!(
                store.begin(&message).await.unwrap(),
                Begun::Claimed { session: Some(_), .. }
            )
        },
    )
    .await;

    let store = back_end
        .open(Lifetimes {
            session: SHORT,
            ..LASTING
        })
        .await;
    handle(&*store, &message, "reply", put("a")).await;
    eventually(back_end, "the session expires", async || {
        session_of_anna(&*store).await.is_none()
    })
    .await;
    handle(&*store, &arrival("anna", "2"), "reply", put("b")).await;
    let (turn, _) = claim(&*store, &arrival("anna", "3")).await;
    assert!(turn.session_version <= 1, "an expired session leaves no version behind");
}

async fn a_dead_holder_is_replaced(back_end: &dyn BackEnd) {
    let store = back_end
        .open(Lifetimes {
            lease: SHORT,
            ..LASTING
        })
        .await;
    let (message, next) = (arrival("anna", "1"), arrival("anna", "2"));
    let (zombie, _) = claim(&*store, &message).await;
    let mut heir = None;
    eventually(back_end, "another takes the message over", async || {
        if let Begun::Claimed { turn, .. } = store.begin(&message).await.unwrap() {
            heir = Some(turn);
        }
        heir.is_some()
    })
    .await;
    assert_eq!(
        store.finish(&zombie, b"zombie", put("zombie")).await.unwrap(),
        Finished::Superseded(None)
    );
    store.release(&zombie).await.unwrap();
    // The heir may lose its own short lease on a slow machine: then whoever holds it last finishes.
    let mut heir = heir.unwrap();
    while store.finish(&heir, b"heir", put("heir")).await.unwrap() != Finished::Stored {
        heir = claim(&*store, &message).await.0;
    }
    let superseded = Finished::Superseded(Some(b"heir".to_vec()));
    assert_eq!(
        store.finish(&zombie, b"zombie", put("zombie")).await.unwrap(),
        superseded
    );
    assert_eq!(store.begin(&message).await.unwrap(), done("heir"));
    assert_eq!(claim(&*store, &next).await.1.as_deref(), Some(b"heir".as_slice()));
}

async fn a_holder_that_renews_keeps_its_turn(back_end: &dyn BackEnd) {
    let lifetimes = Lifetimes {
        lease: LEASE,
        ..LASTING
    };
    let store = back_end.open(lifetimes).await;
    let (message, next) = (arrival("anna", "1"), arrival("anna", "2"));
    let (turn, _) = claim(&*store, &message).await;
    let until = back_end.now() + 3 * LEASE;
    while back_end.now() < until {
        back_end.wait().await;
        assert!(store.renew(&turn).await.unwrap(), "renewed ten milliseconds ago");
        assert_eq!(store.begin(&message).await.unwrap(), Begun::Busy);
        assert_eq!(store.begin(&next).await.unwrap(), Begun::Occupied);
    }
    assert_eq!(
        store.finish(&turn, b"r", SessionChange::Keep).await.unwrap(),
        Finished::Stored
    );
    assert!(!store.renew(&turn).await.unwrap(), "finished");
    assert_eq!(
        store.begin(&message).await.unwrap(),
        done("r"),
        "renewing changes no record"
    );
    let (given_back, _) = claim(&*store, &next).await;
    store.release(&given_back).await.unwrap();
    assert!(!store.renew(&given_back).await.unwrap(), "given back");
    let (heir, _) = claim(&*store, &next).await;
    assert!(!store.renew(&given_back).await.unwrap(), "another's");
    assert!(store.renew(&heir).await.unwrap());
}

async fn a_forgotten_session_stays_forgotten(back_end: &dyn BackEnd) {
    let store = back_end.open(LASTING).await;
    store.forget(&follower("anna")).await.unwrap();
    handle(&*store, &arrival("anna", "1"), "r", put("a")).await;
    handle(&*store, &arrival("bert", "1"), "r", put("b")).await;
    let (turn, _) = claim(&*store, &arrival("anna", "2")).await;
    store.forget(&follower("anna")).await.unwrap();
    assert_eq!(store.finish(&turn, b"r", put("again")).await.unwrap(), Finished::Stored);
    assert_eq!(
        session_of_anna(&*store).await,
        None,
        "not even the turn under way brings it back"
    );
    assert!(session(&*store, "bert").await.is_some());
}

async fn who_leaves_leaves_no_reply(back_end: &dyn BackEnd) {
    let store = back_end.open(LASTING).await;
    let record = async |message: &Arrival| match store.begin(message).await.unwrap() {
        Begun::Done(record) => record,
        other => panic!("{other:?}"),
    };
    handle(&*store, &arrival("anna", "1"), "r", put("a")).await;
    handle(&*store, &arrival("bert", "1"), "r", put("b")).await;
    handle(&*store, &arrival("anna", "2"), "bye", SessionChange::Delete).await;
    assert_eq!(
        record(&arrival("anna", "1")).await,
        b"",
        "a repeat finds that it was answered, not how"
    );
    assert_eq!(record(&arrival("anna", "2")).await, b"bye");
    assert_eq!(record(&arrival("bert", "1")).await, b"r");
    handle(&*store, &arrival("anna", "3"), "r", put("a")).await;
    store.forget(&follower("anna")).await.unwrap();
    for message in ["2", "3"] {
        assert_eq!(record(&arrival("anna", message)).await, b"", "{message}");
    }
    assert_eq!(record(&arrival("bert", "1")).await, b"r");
}

async fn what_is_too_long_is_refused(back_end: &dyn BackEnd) {
    let store = back_end.open(LASTING).await;
    let message = arrival("anna", "1");
    let (turn, _) = claim(&*store, &message).await;
    let (longest, too_long) = (vec![b'x'; MAX_VALUE_BYTES], vec![b'x'; MAX_VALUE_BYTES + 1]);
    assert!(store.finish(&turn, &too_long, SessionChange::Keep).await.is_err());
    assert!(store.finish(&turn, b"r", SessionChange::Put(too_long)).await.is_err());
    assert_eq!(
        store.begin(&message).await.unwrap(),
        Begun::Busy,
        "the turn is still held"
    );
    let kept = store
        .finish(&turn, &longest, SessionChange::Put(longest.clone()))
        .await
        .unwrap();
    assert_eq!(kept, Finished::Stored);
    assert_eq!(store.begin(&message).await.unwrap(), Begun::Done(longest.clone()));
    assert_eq!(session_of_anna(&*store).await, Some(longest));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_keeps_the_conversations_contract() {
    conversations_contract(&Memory::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redis_keeps_the_conversations_contract() {
    let server = RedisServer::start().await;
    conversations_contract_on(&Servers::Standalone(server.url().to_owned())).await;
}

#[tokio::test]
async fn redis_over_tcp_works_as_over_a_socket() {
    let server = RedisServer::start_tcp().await;
    let store = RedisConversations::connect(&format!("{}/3", server.url()), "", LASTING)
        .await
        .unwrap();
    handle(&store, &arrival("anna", "1"), "reply", put("a")).await;
    assert_eq!(server.keys().await, [""; 0], "database 3, not 0");
    assert_eq!(store.begin(&arrival("anna", "1")).await.unwrap(), done("reply"));
}

#[tokio::test]
async fn memory_counts_lifetimes_to_the_millisecond() {
    let back_end = Memory::default();
    let lifetimes = Lifetimes {
        lease: Duration::from_secs(5),
        session: Duration::from_secs(20),
        record: Duration::from_mins(1),
        signature: Duration::from_mins(1),
    };
    let store = back_end.open(lifetimes).await;
    let at = |ms| back_end.now_ms.store(ms, Ordering::SeqCst);
    let message = arrival("anna", "1");
    claim(&*store, &message).await;
    at(4_999);
    assert_eq!(store.begin(&message).await.unwrap(), Begun::Busy);
    at(5_000);
    handle(&*store, &message, "reply", put("a")).await;
    at(15_000);
    handle(&*store, &arrival("anna", "2"), "r", SessionChange::Keep).await;
    at(24_999);
    assert!(session_of_anna(&*store).await.is_some());
    at(25_000);
    assert!(
        session_of_anna(&*store).await.is_none(),
        "kept as it was, its expiry too"
    );
    at(64_999);
    assert_eq!(store.begin(&message).await.unwrap(), done("reply"));
    at(65_000);
    claim(&*store, &message).await;
}

#[tokio::test]
async fn a_claim_is_one_round_trip_and_so_is_its_end() {
    let server = RedisServer::start().await;
    let proxy = CountingProxy::start(server.socket());
    let store = redis(proxy.url(), "test:", LASTING);
    handle(&store, &arrival("anna", "warm-up"), "r", put("a")).await;
    proxy.take_round_trips();

    let message = arrival("anna", "1");
    let (turn, _) = claim(&store, &message).await;
    assert_eq!(proxy.take_round_trips(), 1, "begin");
    store.finish(&turn, b"reply", put("b")).await.unwrap();
    assert_eq!(proxy.take_round_trips(), 1, "finish");
    assert_eq!(store.begin(&message).await.unwrap(), done("reply"));
    assert_eq!(proxy.take_round_trips(), 1, "a repeat");

    server.command(&["SCRIPT", "FLUSH"]).await;
    handle(&store, &arrival("anna", "2"), "r", put("c")).await;
    assert_eq!(
        proxy.take_round_trips(),
        4,
        "a server that lost the scripts: begin, load, begin, finish"
    );
}

#[tokio::test]
async fn keys_hide_texts_and_keep_a_message_in_one_slot() {
    let server = RedisServer::start().await;
    let store = redis(server.url(), "wxfaq:", LASTING);
    let scanned = Arrival {
        message: "1700000000SCAN{x}秘密".to_owned(),
        ..arrival("u_0123456789ab", "-")
    };
    claim(&store, &scanned).await;
    handle(&store, &arrival("bert", "1"), "r", put("a")).await;
    let keys = server.keys().await;
    assert!(
        keys.iter().all(|key| key.starts_with("wxfaq:") && key.is_ascii()),
        "{keys:?}"
    );
    let slotted = keys.iter().filter(|key| key.contains("{demo:u_0123456789ab}")).count();
    assert_eq!(slotted, 2, "claim and turn: {keys:?}");
    for key in &keys {
        let left: i64 = redis::from_redis_value(server.command(&["PTTL", key]).await).unwrap();
        assert!(left > 0, "{key} never expires");
    }
}

/// Values nobody of ours wrote, as commands that take the key's name in place of `KEY`.
const GARBAGE: &[&[&str]] = &[
    &["SET", "KEY", ""],
    &["SET", "KEY", "x"],
    &["SET", "KEY", "L"],
    &["SET", "KEY", "R"],
    &["SET", "KEY", "S"],
    &["SET", "KEY", "Lr0123456789abcdef0123456789abcdef"],
    &["SET", "KEY", "Lr0123456789abcdef0123456789abcdef", "EX", "86400000"],
    &["SET", "KEY", "Lr0123456789abcdef0123456789abcdef and more", "EX", "10"],
    &["SET", "KEY", "0:a"],
    &["SET", "KEY", "-1:a"],
    &["SET", "KEY", "1e3:a"],
    &["SET", "KEY", "99999999999999999999:a"],
    &["SET", "KEY", ":"],
    &["SET", "KEY", "12"],
    &["SETRANGE", "KEY", "70000", "x"],
    &["SETRANGE", "KEY", "5000000", "x"],
    &["RPUSH", "KEY", "a"],
    &["SADD", "KEY", "a"],
    &["ZADD", "KEY", "1", "a"],
    &["HSET", "KEY", "a", "b"],
    &["XADD", "KEY", "*", "a", "b"],
    &["PFADD", "KEY", "a"],
];

#[tokio::test]
async fn garbage_in_redis_counts_as_absent_and_is_replaced() {
    let server = RedisServer::start().await;
    let store = redis(server.url(), "test:", LASTING);
    let message = arrival("anna", "1");
    handle(&store, &message, "reply", put("a")).await;
    let (_, _) = claim(&store, &arrival("anna", "2")).await;
    let keys: Vec<String> = server
        .keys()
        .await
        .into_iter()
        .filter(|key| !key.contains("anna2"))
        .collect();
    assert_eq!(
        keys.len(),
        6,
        "signature, two claims, their list, turn, session: {keys:?}"
    );

    for key in &keys {
        for garbage in GARBAGE {
            server.command(&["FLUSHDB"]).await;
            let words: Vec<&str> = garbage
                .iter()
                .map(|word| if *word == "KEY" { key.as_str() } else { word })
                .collect();
            server.command(&words).await;
            assert_eq!(handle(&store, &message, "reply", put("a")).await, None, "{words:?}");
            assert_eq!(store.begin(&message).await.unwrap(), done("reply"), "{words:?}");
            assert!(session_of_anna(&store).await.is_some(), "{words:?}");

            // The same, planted between claim and end.
            server.command(&["FLUSHDB"]).await;
            let (turn, _) = claim(&store, &message).await;
            server.command(&["DEL", key]).await;
            server.command(&words).await;
            store.finish(&turn, b"reply", put("a")).await.unwrap();
            store.release(&turn).await.unwrap();
            store.forget(&message.follower).await.unwrap();
            assert!(
                store
                    .note_signature("demo", &message.signature, &message.fingerprint)
                    .await
                    .unwrap(),
                "{words:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_full_or_read_only_redis_says_so() {
    let server = RedisServer::start().await;
    let store = redis(server.url(), "test:", LASTING);
    let (turn, _) = claim(&store, &arrival("anna", "1")).await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let refused = store.begin(&arrival("bert", "1")).await.unwrap_err().to_string();
    assert!(refused.contains("OOM"), "{refused}");
    assert!(store.finish(&turn, b"reply", put("a")).await.is_err());
    assert!(
        RedisConversations::connect(server.url(), "test:", LASTING)
            .await
            .is_err(),
        "a write is tried"
    );
}

#[test]
fn urls_that_cannot_work_are_refused_without_showing_the_password() {
    for url in [
        "rediss://:hunter2@localhost",
        "http://:hunter2@localhost",
        "redis://:hunter2@localhost/x",
        "",
        "redis",
    ] {
        let error = wxfaq::store::redis::open(url, "", LONG).err().unwrap().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}

pub async fn match_cache_contract(open: impl Fn(Duration) -> Box<dyn MatchCache>) {
    let cache = open(LONG);
    let key = MatchKey {
        account: "demo".to_owned(),
        snapshot: "ab12".to_owned(),
        text: "怎么开户".to_owned(),
    };
    assert_eq!(cache.get(&key).await.unwrap(), None);
    cache.put(&key, b"kc-001").await.unwrap();
    cache.put(&key, b"kc-002").await.unwrap();
    assert_eq!(cache.get(&key).await.unwrap(), Some(b"kc-002".to_vec()), "replaced");
    for other in [
        MatchKey {
            account: "second".to_owned(),
            ..key.clone()
        },
        MatchKey {
            snapshot: "cd34".to_owned(),
            ..key.clone()
        },
        MatchKey {
            text: "怎么销户".to_owned(),
            ..key.clone()
        },
    ] {
        assert_eq!(cache.get(&other).await.unwrap(), None, "{other:?}");
        cache.put(&other, &[0; MAX_MATCH_BYTES]).await.unwrap();
        assert_eq!(cache.get(&other).await.unwrap(), Some(vec![0; MAX_MATCH_BYTES]));
        cache
            .put(
                &MatchKey {
                    text: "too long".to_owned(),
                    ..other.clone()
                },
                &[0; MAX_MATCH_BYTES + 1],
            )
            .await
            .unwrap();
        assert_eq!(
            cache
                .get(&MatchKey {
                    text: "too long".to_owned(),
                    ..other
                })
                .await
                .unwrap(),
            None
        );
    }

    let cache = open(SHORT);
    let key = MatchKey {
        text: "短".to_owned(),
        ..key
    };
    cache.put(&key, b"kc-003").await.unwrap();
    for _ in 0..2_000 {
        if cache.get(&key).await.unwrap().is_none() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("a cached match never expires");
}

#[tokio::test]
async fn memory_keeps_the_match_cache_contract() {
    match_cache_contract(|lifetime| Box::new(MemoryMatchCache::new(lifetime, 1 << 20))).await;
}

#[tokio::test]
async fn redis_keeps_the_match_cache_contract() {
    let server = RedisServer::start().await;
    let link = wxfaq::store::redis::open(server.url(), "test:", Duration::from_secs(20)).unwrap();
    match_cache_contract(|lifetime| Box::new(RedisMatchCache::new(Arc::clone(&link), lifetime))).await;
}

#[tokio::test]
async fn garbage_in_the_match_cache_is_a_miss() {
    let server = RedisServer::start().await;
    let link = wxfaq::store::redis::open(server.url(), "test:", Duration::from_secs(20)).unwrap();
    let cache = RedisMatchCache::new(link, LONG);
    let key = MatchKey {
        account: "demo".to_owned(),
        snapshot: "ab12".to_owned(),
        text: "怎么开户".to_owned(),
    };
    cache.put(&key, b"kc-001").await.unwrap();
    let name = server.keys().await.remove(0);
    for garbage in GARBAGE {
        server.command(&["DEL", &name]).await;
        let words: Vec<&str> = garbage
            .iter()
            .map(|word| if *word == "KEY" { name.as_str() } else { word })
            .collect();
        server.command(&words).await;
        assert_eq!(cache.get(&key).await.unwrap(), None, "{words:?}");
        cache.put(&key, b"kc-001").await.unwrap();
        assert_eq!(cache.get(&key).await.unwrap(), Some(b"kc-001".to_vec()), "{words:?}");
    }
}
