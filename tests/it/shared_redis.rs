//! Two daemons on one Redis: one reply for one message, wherever and however often it is delivered.

use crate::support::daemon::{Daemon, INSTALL_KEY, Message, client, content};
use crate::support::redis_server::RedisServer;
use std::time::{Duration, Instant};
use wxfaq::wechat::Mode;

/// Two instances, and the Redis they share.
async fn pair() -> (RedisServer, [Daemon; 2]) {
    let redis = RedisServer::start().await;
    // A busy machine, unoptimised daemons: with the default deadline a healthy Redis would now and then count as away.
    let section = format!("[redis]\nurls = [{:?}]\ndeadline_ms = 500", redis.url());
    let daemons = [Daemon::start(&section), Daemon::start(&section)];
    (redis, daemons)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_on_the_other_instance_gets_the_same_bytes() {
    let (_redis, [a, b]) = pair().await;
    let client = client();
    for mode in [Mode::Plain, Mode::Compatible, Mode::Safe] {
        for (n, text) in ["科创板开户要什么条件", "基金赎回", "今天天气怎么样"]
            .into_iter()
            .enumerate()
        {
            let message = Message::text(&format!("oRepeat{n}"), text, mode);
            let first = message.deliver(&client, a.port).await;
            assert!(!first.is_empty());
            assert_eq!(message.deliver(&client, b.port).await, first);
            assert_eq!(message.deliver(&client, a.port).await, first);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_followers_choose_on_the_instance_that_did_not_offer() {
    let (_redis, [a, b]) = pair().await;
    let client = client();
    let mut expected = None;
    let mut talks = tokio::task::JoinSet::new();
    for n in 0..50 {
        let (client, here, there) = if n % 2 == 0 {
            (client.clone(), a.port, b.port)
        } else {
            (client.clone(), b.port, a.port)
        };
        talks.spawn(async move {
            let openid = format!("oFollower{n}");
            let list = Message::text(&openid, "基金赎回", Mode::Safe)
                .deliver(&client, here)
                .await;
            assert!(content(&list).contains("\n2. "), "{list}");
            content(&Message::text(&openid, "２", Mode::Safe).deliver(&client, there).await)
        });
    }
    while let Some(chosen) = talks.join_next().await {
        let chosen = chosen.unwrap();
        assert!(!chosen.contains("没有可以选择"), "{chosen}");
        assert_eq!(*expected.get_or_insert(chosen.clone()), chosen);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_redis_delays_no_reply_and_is_used_again_when_it_wakes() {
    let (redis, [a, _b]) = pair().await;
    let client = client();
    redis.hang();
    for n in 0..200 {
        let begin = Instant::now();
        let reply = Message::text(&format!("oHung{n}"), "科创板开户要什么条件", Mode::Safe)
            .deliver(&client, a.port)
            .await;
        assert!(content(&reply).contains("50万"), "{reply}");
        // WeChat's limit; not a measure of speed.
        assert!(begin.elapsed() < Duration::from_millis(4_500));
    }
    a.wait_until("Redis counts as away", || {
        a.ops("/readyz").unwrap_or_default().contains("degraded")
    });
    redis.resume();
    a.wait_until("Redis counts as up", || {
        !a.ops("/readyz")
            .unwrap_or_else(|| "degraded".into())
            .contains("degraded")
    });
    assert!(a.ops("/metrics").unwrap().contains("wxfaq_store_up{store=\"redis\"} 1"));
}

/// A turn's key as a holder leaves it that is killed in the middle of a message.
async fn leave_a_held_turn(redis: &RedisServer, openid: &str, lease_ms: &str) -> String {
    let pseudonym = wxfaq::bot::Seals::new(INSTALL_KEY).pseudonym("safe", openid);
    let key = format!("wxfaq:turn:{{safe:{}}}", pseudonym.as_str());
    let value = format!("Lr{:032x}", 7);
    redis.command(&["SET", &key, &value, "PX", lease_ms]).await;
    key
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_whose_message_died_with_its_instance_is_answered_in_time() {
    let (redis, [mut a, b]) = pair().await;
    let client = client();
    let list = Message::text("oDead", "基金赎回", Mode::Safe)
        .deliver(&client, a.port)
        .await;
    assert!(content(&list).contains("\n2. "), "{list}");
    a.kill();
    leave_a_held_turn(&redis, "oDead", "3900").await;
    let begin = Instant::now();
    let reply = Message::text("oDead", "科创板开户要什么条件", Mode::Safe)
        .deliver(&client, b.port)
        .await;
    assert!(content(&reply).contains("50万"), "{reply}");
    // WeChat's limit; not a measure of speed.
    assert!(begin.elapsed() < Duration::from_millis(4_500));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_whose_earlier_message_is_held_for_ever_is_answered_without_the_session() {
    let (redis, [a, _b]) = pair().await;
    let client = client();
    let key = leave_a_held_turn(&redis, "oHeld", "3900").await;
    let begin = Instant::now();
    let answering = tokio::spawn(async move {
        Message::text("oHeld", "科创板开户要什么条件", Mode::Safe)
            .deliver(&client, a.port)
            .await
    });
    // Its holder lives, and renews.
    while !answering.is_finished() {
        redis.command(&["PEXPIRE", &key, "3900"]).await;
        tokio::task::yield_now().await;
    }
    assert!(content(&answering.await.unwrap()).contains("50万"));
    assert!(begin.elapsed() < Duration::from_millis(4_500));
}
