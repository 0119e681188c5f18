//! Replies go on when Redis does not: refused, killed, hung, lying; and its return is noticed without help.

use crate::conversations::{LASTING, arrival, claim, done, follower, handle, put, session};
use crate::support::bot::Counted;
use crate::support::redis_proxy::{FloodingServer, LyingServer};
use crate::support::redis_server::RedisServer;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wxfaq::store::conversations::{Arrival, Begun, Conversations, Finished, SessionChange};
use wxfaq::store::fallback::{Breaker, FallbackConversations, Patience, Status, TieredMatchCache};
use wxfaq::store::match_cache::{MatchCache, MatchKey};
use wxfaq::store::memory::{Bounds, MemoryConversations, MemoryMatchCache, monotonic};
use wxfaq::store::redis::{Link, RedisConversations, RedisMatchCache};

/// A hang shows as an answer later than this; everything else is counted, not timed.
const HANG: Duration = Duration::from_secs(10);

/// Half a second of deadline, so that a busy machine does not pass for a hung Redis; short pauses between probes.
const PATIENCE: Patience = Patience {
    deadline: Duration::from_millis(500),
    failures: 3,
    first_pause: Duration::from_millis(20),
    longest_pause: Duration::from_millis(100),
};

/// One instance of the daemon, as far as conversations go.
struct Instance {
    store: FallbackConversations,
    shared: Arc<Counted<RedisConversations>>,
    breaker: Arc<Breaker>,
    link: Arc<Link>,
}

impl Instance {
    fn new(url: &str) -> Self {
        let link = wxfaq::store::redis::open(url, "test:", PATIENCE.deadline).unwrap();
        let breaker = Breaker::new("redis", link.clone(), PATIENCE);
        let inner = RedisConversations::new(link.clone(), LASTING);
        let shared = Arc::new(Counted::new(inner));
        let memory = MemoryConversations::new(LASTING, Bounds::default(), monotonic());
        let store = FallbackConversations::new(shared.clone(), memory, Arc::clone(&breaker), LASTING);
        Self {
            store,
            shared,
            breaker,
            link,
        }
    }

    fn is_up(&self) -> bool {
        self.breaker.status() == Status::Up
    }

    async fn until_up(&self) {
        let waiting = Instant::now();
        while !self.is_up() {
            assert!(waiting.elapsed() < HANG, "the store's return goes unnoticed");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn calls(&self) -> usize {
        self.shared.calls()
    }
}

#[tokio::test]
async fn instances_share_records_and_sessions_while_redis_is_up() {
    let server = RedisServer::start().await;
    let (one, two) = (Instance::new(server.url()), Instance::new(server.url()));
    let message = arrival("anna", "1");
    let (turn, _) = claim(&one.store, &message).await;
    assert_eq!(two.store.begin(&message).await.unwrap(), Begun::Busy);
    one.store.finish(&turn, b"reply", put("a")).await.unwrap();
    assert_eq!(two.store.begin(&message).await.unwrap(), done("reply"));
    assert_eq!(
        handle(&two.store, &arrival("anna", "2"), "r", put("b")).await,
        Some(b"a".to_vec())
    );
    assert_eq!(
        session(&one.store, "anna").await,
        Some(b"b".to_vec()),
        "the copy in memory does not win"
    );
    assert!(
        !one.store
            .note_signature("demo", &message.signature, "forged")
            .await
            .unwrap()
    );
    let forged = Arrival {
        signature: message.signature,
        ..arrival("bert", "9")
    };
    assert_eq!(two.store.begin(&forged).await.unwrap(), Begun::Refused);
    assert!(one.is_up() && two.is_up());
}

#[tokio::test]
async fn a_refused_connection_puts_redis_away_at_once() {
    let instance = Instance::new("unix:///nonexistent/redis.sock");
    handle(&instance.store, &arrival("anna", "1"), "reply", put("a")).await;
    assert!(!instance.is_up());
    assert_eq!(instance.calls(), 1, "the turn's end does not try again");
    assert_eq!(
        instance.store.begin(&arrival("anna", "1")).await.unwrap(),
        done("reply")
    );
    assert_eq!(session(&instance.store, "anna").await, Some(b"a".to_vec()));
    assert_ne!(Instance::new("redis://127.0.0.1:1").breaker.check().await, Status::Up);
}

#[tokio::test]
async fn a_conversation_survives_a_killed_redis_and_its_return() {
    let mut server = RedisServer::start().await;
    let (one, two) = (Instance::new(server.url()), Instance::new(server.url()));
    handle(&one.store, &arrival("anna", "1"), "first", put("a")).await;
    let (turn, session_before) = claim(&one.store, &arrival("anna", "2")).await;
    assert_eq!(session_before, Some(b"a".to_vec()));

    server.kill();
    assert_eq!(
        one.store.finish(&turn, b"second", put("b")).await.unwrap(),
        Finished::Stored
    );
    assert_eq!(
        one.store.begin(&arrival("anna", "1")).await.unwrap(),
        done("first"),
        "made before"
    );
    assert_eq!(
        one.store.begin(&arrival("anna", "2")).await.unwrap(),
        done("second"),
        "made in between"
    );
    let (held, session_away) = claim(&one.store, &arrival("anna", "3")).await;
    assert_eq!(session_away, Some(b"b".to_vec()));
    assert_eq!(
        one.store.begin(&arrival("anna", "4")).await.unwrap(),
        Begun::Occupied,
        "turns hold in memory too"
    );
    let replay = Arrival {
        signature: arrival("anna", "1").signature,
        ..arrival("bert", "9")
    };
    assert_eq!(
        one.store.begin(&replay).await.unwrap(),
        Begun::Refused,
        "and so do signatures"
    );
    assert!(!one.is_up());

    server.restart().await;
    one.until_up().await;
    assert_eq!(
        one.store.begin(&arrival("anna", "4")).await.unwrap(),
        Begun::Occupied,
        "a turn ends where it began"
    );
    one.store.finish(&held, b"third", put("c")).await.unwrap();
    // A record made here is handed on with the next repeat.
    assert_eq!(one.store.begin(&arrival("anna", "3")).await.unwrap(), done("third"));
    assert_eq!(two.store.begin(&arrival("anna", "3")).await.unwrap(), done("third"));
    // And so is the session, with the next turn.
    assert_eq!(
        handle(&one.store, &arrival("anna", "5"), "r", SessionChange::Keep).await,
        Some(b"c".to_vec())
    );
    assert_eq!(
        handle(&two.store, &arrival("anna", "6"), "r", put("d")).await,
        Some(b"c".to_vec())
    );
    assert_eq!(
        session(&one.store, "anna").await,
        Some(b"d".to_vec()),
        "its own session wins once"
    );
}

#[tokio::test]
async fn a_session_forgotten_while_redis_was_away_is_gone_when_it_returns() {
    let server = RedisServer::start().await;
    let instance = Instance::new(server.url());
    handle(&instance.store, &arrival("anna", "1"), "r", put("a")).await;
    server.hang();
    instance.store.forget(&follower("anna")).await.unwrap();
    server.resume();
    instance.until_up().await;
    // The command that hung has run by now; what counts is a server that never saw it.
    server
        .command(&["SET", "test:session:{demo:anna}", "1:a", "EX", "100"])
        .await;
    assert_eq!(
        handle(&instance.store, &arrival("anna", "2"), "r", SessionChange::Keep).await,
        None
    );
    let left = server.command(&["EXISTS", "test:session:{demo:anna}"]).await;
    assert_eq!(left, redis::Value::Int(0), "removed from Redis as well");
}

#[tokio::test]
async fn a_follower_who_left_while_redis_was_away_leaves_nothing_there() {
    let server = RedisServer::start().await;
    let instance = Instance::new(server.url());
    handle(&instance.store, &arrival("anna", "1"), "r", put("a")).await;
    server.hang();
    for number in 1..=3 {
        handle(&instance.store, &arrival("bert", &number.to_string()), "r", put("b")).await;
    }
    assert!(!instance.is_up());
    instance.store.forget(&follower("anna")).await.unwrap();
    server.resume();
    instance.until_up().await;
    let session_of_anna = ["EXISTS", "test:session:{demo:anna}"];
    assert_eq!(
        server.command(&session_of_anna).await,
        redis::Value::Int(1),
        "Redis was not asked"
    );
    handle(&instance.store, &arrival("carl", "1"), "r", put("c")).await;
    assert_eq!(
        server.command(&session_of_anna).await,
        redis::Value::Int(0),
        "anna herself need not come back"
    );
}

#[tokio::test]
async fn a_follower_who_unsubscribes_while_redis_is_away_leaves_nothing_there() {
    let server = RedisServer::start().await;
    let instance = Instance::new(server.url());
    handle(&instance.store, &arrival("anna", "1"), "r", put("a")).await;
    server.hang();
    for number in 1..=3 {
        handle(&instance.store, &arrival("bert", &number.to_string()), "r", put("b")).await;
    }
    assert!(!instance.is_up());
    handle(
        &instance.store,
        &arrival("anna", "unsubscribe"),
        "",
        SessionChange::Delete,
    )
    .await;
    server.resume();
    instance.until_up().await;
    handle(&instance.store, &arrival("carl", "1"), "r", put("c")).await;
    assert_eq!(
        server.command(&["EXISTS", "test:session:{demo:anna}"]).await,
        redis::Value::Int(0)
    );
}

#[tokio::test]
async fn a_renewal_goes_on_without_redis_and_ends_with_the_turn() {
    let mut server = RedisServer::start().await;
    let (one, two) = (Instance::new(server.url()), Instance::new(server.url()));
    let message = arrival("anna", "1");
    let (turn, _) = claim(&one.store, &message).await;
    assert!(one.store.renew(&turn).await.unwrap());
    two.store.release(&turn).await.unwrap();
    let (heir, _) = claim(&two.store, &message).await;
    assert!(!one.store.renew(&turn).await.unwrap(), "Redis gave it to another");
    server.kill();
    assert!(two.store.renew(&heir).await.unwrap(), "from the copy in memory");
    handle(&two.store, &arrival("bert", "1"), "r", put("b")).await;
    let (here, _) = claim(&two.store, &arrival("bert", "2")).await;
    assert!(two.store.renew(&here).await.unwrap());
    two.store.release(&here).await.unwrap();
    assert!(!two.store.renew(&here).await.unwrap());
}

#[tokio::test]
async fn a_server_that_floods_us_is_cut_off() {
    let server = FloodingServer::start();
    let link = wxfaq::store::redis::open(server.url(), "test:", HANG).unwrap();
    let store = RedisConversations::new(link, LASTING);
    // The deadline is far away: it is the flood that ends the wait.
    assert!(store.begin(&arrival("anna", "1")).await.is_err());
    server.until_cut_off().await;
    assert!(server.sent() < 64 << 20, "{} bytes were read", server.sent());
}

#[tokio::test]
async fn a_hung_redis_costs_three_calls_and_no_reply() {
    let server = RedisServer::start().await;
    let instance = Instance::new(server.url());
    handle(&instance.store, &arrival("anna", "0"), "r", put("a")).await;
    let calls_before = instance.calls();

    server.hang();
    for number in 1..=20 {
        let asked = Instant::now();
        handle(
            &instance.store,
            &arrival("anna", &number.to_string()),
            "reply",
            put("b"),
        )
        .await;
        assert!(asked.elapsed() < HANG);
    }
    assert!(!instance.is_up());
    assert_eq!(instance.calls() - calls_before, 3, "afterwards Redis is not even asked");

    server.resume();
    instance.until_up().await;
    // Redis has now carried out the claims that nobody waited for; they must not keep the follower waiting.
    assert_eq!(
        handle(&instance.store, &arrival("anna", "21"), "r", put("c")).await,
        Some(b"b".to_vec())
    );
    let other = Instance::new(server.url());
    assert_eq!(session(&other.store, "anna").await, Some(b"c".to_vec()));
    assert_eq!(
        instance.store.begin(&arrival("anna", "1")).await.unwrap(),
        done("reply")
    );
}

#[tokio::test]
async fn a_full_redis_is_away_until_there_is_room() {
    let server = RedisServer::start().await;
    let instance = Instance::new(server.url());
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    for number in 1..=5 {
        handle(&instance.store, &arrival("anna", &number.to_string()), "r", put("a")).await;
    }
    assert!(!instance.is_up());
    server.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    instance.until_up().await;
    handle(&instance.store, &arrival("anna", "6"), "r", put("b")).await;
    assert_eq!(
        session(&Instance::new(server.url()).store, "anna").await,
        Some(b"b".to_vec())
    );
}

#[tokio::test]
async fn connections_closed_by_redis_are_opened_again_unnoticed() {
    let server = RedisServer::start().await;
    let instance = Instance::new(server.url());
    for number in 0..5 {
        handle(&instance.store, &arrival("anna", &number.to_string()), "r", put("a")).await;
        server.command(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    }
    assert!(instance.is_up());
}

#[tokio::test]
async fn a_lying_server_is_not_believed() {
    let cases: &[&[u8]] = &[
        b"",
        b"\r\n",
        b"+OK\r\n",
        b":1\r\n",
        b"$-1\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"-ERR no\r\n",
        b"-NOSCRIPT no\r\n",
        b"-MOVED 1 10.0.0.1:1\r\n",
        b"$3\r\nabc\r\n$3\r\nabc\r\n$3\r\nabc\r\n",
        b"+OK\r\n$3\r\nSf1\r\n*3\r\n$33\r\nr00000000000000000000000000000000\r\n$4\r\ndone\r\n$6\r\nforged\r\n",
        b"*1000000000\r\n",
        b"$99999999999\r\nx",
        b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x50",
        b"\xff\xfe\xfd\0\0\0\0\0",
        b">3\r\n+message\r\n+a\r\n+b\r\n",
        b"%1\r\n+a\r\n+b\r\n",
    ];
    for case in cases {
        let server = LyingServer::start(case);
        let instance = Instance::new(server.url());
        let shown = case.escape_ascii().to_string();
        for number in 1..=4 {
            let asked = Instant::now();
            let message = arrival("anna", &number.to_string());
            handle(&instance.store, &message, "reply", put("a")).await;
            assert_eq!(instance.store.begin(&message).await.unwrap(), done("reply"), "{shown}");
            instance.store.forget(&follower("bert")).await.unwrap();
            assert!(
                instance.store.note_signature("demo", "s", "f").await.unwrap(),
                "{shown}"
            );
            assert!(asked.elapsed() < HANG, "{shown}");
        }
        assert_eq!(session(&instance.store, "anna").await, Some(b"a".to_vec()), "{shown}");
        assert!(!instance.is_up(), "{shown}");
    }
}

#[tokio::test]
async fn cached_matches_are_shared_and_a_dead_redis_is_a_miss() {
    let mut server = RedisServer::start().await;
    let (one, two) = (Instance::new(server.url()), Instance::new(server.url()));
    let cache = |instance: &Instance| {
        let shared = Arc::new(RedisMatchCache::new(instance.link.clone(), Duration::from_mins(10)));
        let memory = MemoryMatchCache::new(Duration::from_mins(10), 1 << 20);
        TieredMatchCache::new(memory, shared, instance.breaker.clone())
    };
    let (cache_one, cache_two) = (cache(&one), cache(&two));
    let key = |text: &str| MatchKey {
        account: "demo".into(),
        snapshot: "ab12".into(),
        text: text.into(),
    };
    cache_one.put(&key("怎么开户"), b"kc-001").await.unwrap();
    assert_eq!(cache_two.get(&key("怎么开户")).await.unwrap(), Some(b"kc-001".to_vec()));

    server.kill();
    assert_eq!(
        cache_two.get(&key("怎么开户")).await.unwrap(),
        Some(b"kc-001".to_vec()),
        "kept in the process"
    );
    assert_eq!(cache_two.get(&key("怎么销户")).await.unwrap(), None);
    assert!(!two.is_up(), "one connection, one breaker");
    cache_two.put(&key("怎么销户"), b"kc-002").await.unwrap();
    assert_eq!(cache_two.get(&key("怎么销户")).await.unwrap(), Some(b"kc-002".to_vec()));
}
