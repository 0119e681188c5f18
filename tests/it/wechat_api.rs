//! WeChat's API as the client calls it, against the fake: every error code, the access token, the limits.

use crate::support::fake_wechat::{APP_SECRET, APPID, FakeWechat, hasty};
use crate::support::redis_server::RedisServer;
use serde_json::json;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use wxfaq::bank::media::MediaType;
use wxfaq::bot::{SealedAccessTokens, Seals};
use wxfaq::fake_wechat::{Contact, Failure};
use wxfaq::store::access_tokens::AccessTokens;
use wxfaq::store::redis::RedisAccessTokens;
use wxfaq::wechat_api::{
    ApiError, Client, ClientParts, Limits, MediaFile, Menus, Message, Remedy, Scene, Secret, TemplateMessage, Typing,
    WechatApi,
};

const SEND: &str = "/cgi-bin/message/custom/send";
const TOKEN: &str = "/cgi-bin/stable_token";
/// Must never be seen in a log or an error.
const OPENID: &str = "oCanaryOpenid000000000000001";

/// A fake with one follower who has just written.
async fn with_follower() -> FakeWechat {
    let wechat = FakeWechat::start().await;
    wechat.fake.contact(OPENID, Contact::Message);
    wechat
}

async fn send(client: &Client, text: &str) -> Result<(), ApiError> {
    client.send(OPENID, &Message::text(text)).await
}

/// Logs of one test, as an operator would read them.
#[derive(Clone, Default)]
pub struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Write::write(&mut *self.0.lock().unwrap(), bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Captured {
    /// Everything this thread logs until the guard is dropped, down to traces of every crate.
    pub fn begin(&self) -> tracing::subscriber::DefaultGuard {
        let target = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || target.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// Nothing secret is in `text`.
fn check_discreet(text: &str) {
    for secret in [APP_SECRET, OPENID, "FAKE_ACCESS_TOKEN", "access_token="] {
        assert!(!text.contains(secret), "{secret} in: {text}");
    }
}

#[tokio::test]
async fn every_error_code_has_its_remedy_and_gives_nothing_away() {
    use Remedy::*;
    let captured = Captured::default();
    let _logging = captured.begin();
    let wechat = with_follower().await;
    let cases: &[(Remedy, &[i64])] = &[
        (BackOff, &[-1, 45_011]),
        (RefreshToken, &[40_001, 40_014, 42_001]),
        (Drop, &[40_003, 43_004, 43_019, 48_002, 43_101]),
        (Upload, &[40_004, 40_007, 40_009]),
        (
            Report,
            &[
                40_013, 40_125, 40_164, 61_004, 40_243, 89_501, 89_503, 89_506, 89_507, 48_004, 50_002,
            ],
        ),
        (
            Report,
            &[
                40_016, 40_017, 40_018, 40_019, 40_020, 40_021, 40_022, 40_023, 40_024, 40_025, 40_026, 40_027,
            ],
        ),
        (
            Report,
            &[40_054, 40_055, 65_301, 65_309, 65_317, 61_451, 61_457, 40_037, 47_003],
        ),
        (Report, &[65_400, 65_401, 65_414, 65_416, 99_999]),
        (
            ReportBug,
            &[40_033, 41_001, 41_005, 41_009, 44_002, 44_003, 44_004, 47_001],
        ),
        (SwitchOff, &[40_200, 48_001]),
        (Split, &[45_002]),
        (Cut, &[45_008]),
        (StopForToday, &[45_009]),
        (GiveUp, &[45_015, 45_047]),
        (Ignore, &[45_072, 45_080, 45_081]),
        (TakeAsEmpty, &[46_003]),
    ];
    let errmsg = format!("no: {OPENID} {APP_SECRET} FAKE_ACCESS_TOKEN_Stable_1___ ip 203.0.113.9 rid: 5f-1a");
    for (remedy, codes) in cases {
        for code in *codes {
            // A client for each: 45009 puts an API to rest.
            let client = wechat.client();
            client.sign_in().await.unwrap();
            wechat.fake.fail(SEND, &Failure::Code(*code, errmsg.clone()), 10);
            let before = wechat.fake.calls(SEND);
            let error = send(&client, "你好").await.unwrap_err();
            let refusal = error.refusal().unwrap_or_else(|| panic!("{code}: {error}"));
            assert_eq!((refusal.code, refusal.remedy), (*code, *remedy));
            assert_eq!(refusal.rid.as_deref(), Some("5f-1a"));
            let said = error.to_string();
            check_discreet(&format!("{said} {error:?}"));
            assert!(said.contains(&code.to_string()) && said.contains(SEND), "{said}");
            assert_eq!(
                said.contains("203.0.113.9"),
                [40_164, 61_004].contains(code) || said.contains("no: …"),
                "{said}"
            );
            // A token that WeChat gives out again is tried once more.
            let calls = match remedy {
                BackOff => 4,
                RefreshToken => 2,
                _ => 1,
            };
            assert_eq!(wechat.fake.calls(SEND) - before, calls, "{code}");
            wechat.fake.relent();
        }
    }
    assert_eq!(wechat.fake.sent(), []);
    let logged = captured.text();
    assert!(logged.contains("access token fetched"), "{logged}");
    check_discreet(&logged);
}

#[tokio::test]
async fn what_is_sent_arrives_once_in_order_and_as_it_was_written() {
    let wechat = with_follower().await;
    let client = wechat.client();
    let texts = ["第一段 & <b>\u{1f600}\"\\", "second\nline\u{1}", "третий"];
    for text in texts {
        send(&client, text).await.unwrap();
    }
    let sent = wechat.fake.sent();
    let contents: Vec<&str> = sent
        .iter()
        .map(|sent| sent.message["content"].as_str().unwrap())
        .collect();
    assert_eq!(contents, [texts[0], "second\nline", texts[2]]);
    assert!(sent.iter().all(|sent| sent.openid == OPENID && sent.kind == "text"));
    client
        .send_as(OPENID, &Message::text("我是小王"), Some("kf1@demo"))
        .await
        .unwrap();
    assert_eq!(wechat.fake.sent()[3].kf_account.as_deref(), Some("kf1@demo"));
    assert_eq!(wechat.fake.calls(TOKEN), 1);
}

#[tokio::test]
async fn a_follower_gets_five_messages_and_no_sixth_is_tried_again() {
    let wechat = with_follower().await;
    let client = wechat.client();
    for _ in 0..5 {
        send(&client, "好").await.unwrap();
    }
    let error = send(&client, "好").await.unwrap_err();
    assert_eq!(error.refusal().map(|refusal| refusal.code), Some(45_047));
    wechat.pass(2 * 86_400);
    let error = send(&client, "好").await.unwrap_err();
    assert_eq!(error.refusal().map(|refusal| refusal.code), Some(45_015));
    assert_eq!(error.remedy(), Some(Remedy::GiveUp));
    assert_eq!(wechat.fake.calls(SEND), 7);
}

#[tokio::test]
async fn what_is_busy_is_asked_again() {
    let wechat = with_follower().await;
    let client = wechat.client();
    wechat.fake.refuse(SEND, -1, "system error");
    wechat.fake.refuse(SEND, 45_011, "api minute-quota reach limit");
    send(&client, "好").await.unwrap();
    assert_eq!((wechat.fake.calls(SEND), wechat.fake.sent().len()), (3, 1));
}

/// A hundred followers who have just written.
fn hundred(wechat: &FakeWechat) -> Vec<String> {
    let openids: Vec<String> = (0..100).map(|n| format!("{OPENID}{n}")).collect();
    for openid in &openids {
        wechat.fake.contact(openid, Contact::Message);
    }
    openids
}

/// Sends to all at once, half by each client.
async fn send_at_once(clients: &[Arc<Client>; 2], openids: &[String]) {
    let mut sending = tokio::task::JoinSet::new();
    for (n, openid) in openids.iter().cloned().enumerate() {
        let client = clients[n % 2].clone();
        sending.spawn(async move { client.send(&openid, &Message::text("好")).await });
    }
    while let Some(sent) = sending.join_next().await {
        sent.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_calls_on_two_instances_replace_a_dead_token_once() {
    replace_dead_tokens().await;
}

#[tokio::test]
async fn and_say_nothing_secret_about_it() {
    let captured = Captured::default();
    let _logging = captured.begin();
    replace_dead_tokens().await;
    let logged = captured.text();
    assert!(logged.contains("access token fetched"), "{logged}");
    check_discreet(&logged);
}

async fn replace_dead_tokens() {
    let redis = RedisServer::start().await;
    let wechat = FakeWechat::start().await;
    let openids = hundred(&wechat);
    let instance = || {
        let link = wxfaq::store::redis::open(redis.url(), "test:", Duration::from_secs(20)).unwrap();
        let sealed = SealedAccessTokens::new(Arc::new(RedisAccessTokens::new(link)), Seals::new("install key"));
        Arc::new(wechat.client_on(Arc::new(sealed)))
    };
    let clients = [instance(), instance()];
    send_at_once(&clients, &openids).await;
    assert_eq!(wechat.fake.calls(TOKEN), 1, "both instances share the first");
    assert_eq!(wechat.fake.calls(SEND), 100);
    for round in 1..=4 {
        wechat.fake.invalidate_tokens();
        let before = wechat.fake.calls(SEND);
        send_at_once(&clients, &openids).await;
        assert_eq!(wechat.fake.calls(TOKEN), 1 + round, "refreshed once");
        assert!(wechat.fake.calls(SEND) - before <= 200, "repeated once at most");
        assert_eq!(
            wechat.fake.sent().len() as u64,
            100 * (1 + round),
            "none lost, none doubled"
        );
    }
    for key in redis.keys().await {
        assert!(!key.contains("FAKE"), "{key}");
        let value: Vec<u8> = redis::from_redis_value(redis.command(&["GET", &key]).await).unwrap();
        assert!(
            !String::from_utf8_lossy(&value).contains("FAKE_ACCESS"),
            "the token can be read in Redis"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_every_instance_has_the_same_token() {
    let wechat = FakeWechat::start().await;
    let openids = hundred(&wechat);
    let clients = [Arc::new(wechat.client()), Arc::new(wechat.client())];
    send_at_once(&clients, &openids).await;
    assert_eq!((wechat.fake.calls(TOKEN), wechat.fake.calls(SEND)), (2, 100));
}

#[tokio::test]
async fn a_token_that_has_expired_at_wechat_is_replaced_and_the_call_repeated() {
    let wechat = with_follower().await;
    // The store's clock stands still, so that it takes the token to be good.
    let store = wxfaq::store::memory::MemoryAccessTokens::new(Arc::new(|| Duration::ZERO));
    let client = wechat.client_on(Arc::new(store));
    send(&client, "好").await.unwrap();
    wechat.pass(7_200);
    send(&client, "好").await.unwrap();
    assert_eq!(
        (
            wechat.fake.calls(TOKEN),
            wechat.fake.calls(SEND),
            wechat.fake.sent().len()
        ),
        (2, 3, 2)
    );
}

#[tokio::test]
async fn the_next_token_is_fetched_ahead_while_the_last_is_used() {
    let wechat = with_follower().await;
    let parts = wechat.parts();
    let tasks = parts.tasks.clone();
    let client = Client::new(parts).unwrap();
    send(&client, "好").await.unwrap();
    wechat.pass(6_900);
    send(&client, "好").await.unwrap();
    assert_eq!(wechat.fake.calls(TOKEN), 1, "WeChat would give the same again");
    wechat.pass(15);
    send(&client, "好").await.unwrap();
    assert_eq!(wechat.fake.sent().len(), 3);
    tasks.close();
    tasks.wait().await;
    assert_eq!(wechat.fake.calls(TOKEN), 2);
    wechat.pass(280);
    wechat.fake.contact(OPENID, Contact::Message);
    send(&client, "好").await.unwrap();
    // The last one is dead by now.
    assert_eq!((wechat.fake.calls(TOKEN), wechat.fake.calls(SEND)), (2, 4));
}

#[tokio::test]
async fn nobody_waits_for_the_next_token_while_the_last_is_good() {
    let wechat = with_follower().await;
    let client = wechat.client();
    send(&client, "好").await.unwrap();
    wechat.pass(6_915);
    wechat.fake.fail(TOKEN, &Failure::Silence, 1);
    for _ in 0..3 {
        send(&client, "好").await.unwrap();
    }
    while wechat.fake.calls(TOKEN) < 2 {
        tokio::task::yield_now().await;
    }
    send(&client, "好").await.unwrap();
    assert_eq!(
        (wechat.fake.calls(TOKEN), wechat.fake.sent().len()),
        (2, 5),
        "asked once, in vain"
    );
}

#[tokio::test]
async fn a_wrong_secret_is_reported_and_not_tried_again_and_again() {
    let wechat = with_follower().await;
    let parts = ClientParts {
        app_secret: Secret::new("wrong"),
        ..wechat.parts()
    };
    let client = Client::new(parts).unwrap();
    for _ in 0..10 {
        let error = send(&client, "好").await.unwrap_err();
        assert_eq!(error.refusal().map(|refusal| refusal.code), Some(40_125));
        assert!(error.to_string().contains("app_secret"), "{error}");
    }
    assert_eq!((wechat.fake.calls(TOKEN), wechat.fake.calls(SEND)), (1, 0));
}

#[tokio::test]
async fn a_call_is_repeated_once_however_often_its_token_is_refused() {
    let wechat = with_follower().await;
    for n in 0..10 {
        let answer = json!({ "access_token": format!("token{n}"), "expires_in": 7_200 });
        let answer = Failure::Bytes(answer.to_string().into_bytes());
        wechat.fake.fail(TOKEN, &answer, 1);
    }
    let client = wechat.client();
    for calls in 1..=4 {
        // The fake knows none of these tokens.
        let error = send(&client, "好").await.unwrap_err();
        assert_eq!(error.refusal().map(|refusal| refusal.code), Some(40_001));
        assert_eq!(
            (wechat.fake.calls(SEND), wechat.fake.calls(TOKEN)),
            (2 * calls, 1 + calls)
        );
    }
}

#[tokio::test]
async fn a_token_that_is_given_out_again_is_not_asked_for_again_and_again() {
    let wechat = with_follower().await;
    let client = wechat.client();
    let refused = Failure::Code(40_001, "invalid credential".to_owned());
    wechat.fake.fail(SEND, &refused, 11);
    for _ in 0..10 {
        assert_eq!(
            send(&client, "好").await.unwrap_err().remedy(),
            Some(Remedy::RefreshToken)
        );
    }
    assert_eq!((wechat.fake.calls(SEND), wechat.fake.calls(TOKEN)), (11, 2));
    send(&client, "好").await.unwrap();
}

#[tokio::test]
async fn a_token_that_is_given_out_again_is_tried_once_more() {
    let wechat = with_follower().await;
    let client = wechat.client();
    // One of WeChat's machines has not heard of it yet.
    wechat.fake.refuse(SEND, 40_001, "invalid credential");
    send(&client, "好").await.unwrap();
    assert_eq!((wechat.fake.calls(SEND), wechat.fake.calls(TOKEN)), (2, 2));
}

#[tokio::test]
async fn a_used_up_quota_of_tokens_is_not_asked_for_again_today() {
    let wechat = with_follower().await;
    wechat.fake.limit(TOKEN, 0);
    let limits = Limits {
        refresh_pause: Duration::ZERO,
        ..hasty()
    };
    let client = Client::new(ClientParts {
        limits,
        ..wechat.parts()
    })
    .unwrap();
    for _ in 0..5 {
        let error = send(&client, "好").await.unwrap_err();
        assert_eq!(error.remedy(), Some(Remedy::StopForToday));
    }
    assert_eq!(wechat.fake.calls(TOKEN), 1);
}

#[tokio::test]
async fn a_busy_wechat_is_asked_for_a_token_again() {
    let wechat = with_follower().await;
    let busy = Failure::Code(-1, "system error".to_owned());
    wechat.fake.fail(TOKEN, &busy, 2);
    send(&wechat.client(), "好").await.unwrap();
    assert_eq!((wechat.fake.calls(TOKEN), wechat.fake.calls(SEND)), (3, 1));
    let client = wechat.client();
    wechat.fake.fail(TOKEN, &busy, 10);
    let before = wechat.fake.calls(TOKEN);
    assert_eq!(send(&client, "好").await.unwrap_err().refusal().unwrap().code, -1);
    assert_eq!(wechat.fake.calls(TOKEN) - before, 4, "as often as any call");
}

#[tokio::test]
async fn an_access_token_that_does_not_come_leaves_the_call_undone() {
    let wechat = with_follower().await;
    let limits = Limits {
        call: Duration::from_millis(200),
        ..hasty()
    };
    let client = Client::new(ClientParts {
        limits,
        ..wechat.parts()
    })
    .unwrap();
    wechat.fake.fail(TOKEN, &Failure::Silence, 1);
    let error = send(&client, "好").await.unwrap_err();
    assert!(
        matches!(error, ApiError::NoAccessToken { .. }) && error.had_no_effect(),
        "{error}"
    );
    assert_eq!(wechat.fake.calls(SEND), 0);
}

#[tokio::test]
async fn an_address_that_is_not_allowed_is_named() {
    let wechat = with_follower().await;
    let errmsg = "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist rid: 5f-1a";
    wechat.fake.refuse(TOKEN, 40_164, errmsg);
    let error = send(&wechat.client(), "好").await.unwrap_err().to_string();
    assert!(error.contains("203.0.113.7") && error.contains("IP白名单"), "{error}");
}

#[tokio::test]
async fn a_refresher_that_died_is_succeeded_when_its_lease_ends() {
    let wechat = with_follower().await;
    let parts = wechat.parts();
    let tokens = parts.access_tokens.clone();
    tokens.lock(APPID, Duration::from_secs(3)).await.unwrap().unwrap();
    let client = Arc::new(Client::new(parts).unwrap());
    let sending = tokio::spawn(async move { send(&client, "好").await });
    while !sending.is_finished() {
        assert_eq!(wechat.fake.calls(SEND), 0);
        assert!(tokens.get(APPID).await.unwrap().is_none());
        wechat.pass(1);
        tokio::time::sleep(Duration::from_millis(5)).await;
        if wechat.fake.calls(TOKEN) > 0 {
            break;
        }
    }
    sending.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_used_up_quota_puts_one_api_to_rest_until_midnight_in_beijing() {
    let wechat = FakeWechat::start().await;
    let client = wechat.client();
    wechat.fake.limit("/cgi-bin/menu/get", 2);
    for _ in 0..2 {
        assert_eq!(client.menus().await.unwrap(), None);
    }
    let error = client.menus().await.unwrap_err();
    assert_eq!(error.remedy(), Some(Remedy::StopForToday));
    for _ in 0..5 {
        let error = client.menus().await.unwrap_err();
        assert_eq!(
            error,
            ApiError::QuotaUsedUp {
                path: "/cgi-bin/menu/get"
            }
        );
    }
    assert_eq!(wechat.fake.calls("/cgi-bin/menu/get"), 3, "not even asked");
    assert_eq!(
        client.quota("/cgi-bin/menu/get").await.unwrap().remain,
        0,
        "other APIs go on"
    );
    // From noon to a second before midnight.
    wechat.pass(12 * 3_600 - 1);
    assert!(matches!(client.menus().await, Err(ApiError::QuotaUsedUp { .. })));
    wechat.pass(1);
    client.menus().await.unwrap();
    client.menus().await.unwrap();
    assert!(client.menus().await.is_err());
    client.clear_quota().await.unwrap();
    client.menus().await.unwrap();
}

#[tokio::test]
async fn redirects_are_not_followed_and_strangers_not_believed() {
    let captured = Captured::default();
    let _logging = captured.begin();
    let wechat = with_follower().await;
    let target = format!("{}/cgi-bin/getcallbackip?leak=1", wechat.base);
    let client = wechat.client();
    client.sign_in().await.unwrap();
    let strange = [
        Failure::Status(302, Some(target.clone())),
        Failure::Status(307, Some(target)),
        Failure::Status(500, None),
        Failure::Status(404, None),
        Failure::Bytes(b"<html>gateway</html>".to_vec()),
        Failure::Bytes(b"[]".to_vec()),
        Failure::Bytes(b"{\"errcode\": \"0\"}".to_vec()),
        Failure::Bytes(Vec::new()),
        Failure::Bytes(vec![b' '; 1024 * 1024 + 1]),
        Failure::Bytes(b"\xff\xfe{}".to_vec()),
    ];
    for (n, failure) in strange.iter().enumerate() {
        wechat.fake.fail(SEND, failure, 1);
        let error = send(&client, "好").await.unwrap_err();
        assert!(
            matches!(error, ApiError::Stranger { .. }) && !error.had_no_effect(),
            "{failure:?}: {error}"
        );
        check_discreet(&format!("{error} {error:?}"));
        assert_eq!(wechat.fake.calls(SEND), n as u64 + 1, "not sent twice");
    }
    assert_eq!(wechat.fake.calls("/cgi-bin/getcallbackip"), 0);
    let mut longest = b"{\"errcode\":0,\"errmsg\":\"ok\"}".to_vec();
    longest.resize(1024 * 1024, b' ');
    wechat.fake.fail(SEND, &Failure::Bytes(longest), 1);
    send(&client, "好").await.unwrap();
    check_discreet(&captured.text());
}

#[tokio::test]
async fn a_token_that_is_none_is_not_used() {
    for strange in [
        json!({}),
        json!({ "access_token": "", "expires_in": 7200 }),
        json!({ "access_token": "a b", "expires_in": 7200 }),
        json!({ "access_token": "x".repeat(5_000), "expires_in": 7200 }),
        json!({ "access_token": "abc" }),
        json!({ "access_token": "abc", "expires_in": 0 }),
        json!({ "access_token": "abc", "expires_in": -1 }),
    ] {
        let wechat = with_follower().await;
        wechat
            .fake
            .fail(TOKEN, &Failure::Bytes(strange.to_string().into_bytes()), 1);
        let error = send(&wechat.client(), "好").await.unwrap_err();
        assert!(matches!(error, ApiError::Stranger { .. }), "{strange}: {error}");
        assert_eq!(wechat.fake.calls(SEND), 0);
    }
}

/// A server that does `each` with every connection.
async fn server<F>(each: impl Fn(tokio::net::TcpStream) -> F + Send + 'static) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(each(stream));
        }
    });
    base
}

#[tokio::test]
async fn an_upload_may_take_longer_than_any_other_answer() {
    let wechat = FakeWechat::start().await;
    let base = server(|mut stream| async move {
        let (mut request, mut part) = (Vec::new(), vec![0; 64 * 1024]);
        // A slow line: the file arrives in pieces, and WeChat looks at it when it is whole.
        while !request.ends_with(b"--\r\n") {
            let length = stream.read(&mut part).await.unwrap();
            request.extend_from_slice(&part[..length]);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let answer = r#"{"type":"image","media_id":"SLOW","created_at":1}"#;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", answer.len());
        stream.write_all(format!("{head}{answer}").as_bytes()).await.unwrap();
    })
    .await;
    let parts = wechat.parts();
    let lock = parts
        .access_tokens
        .lock(APPID, Duration::from_secs(60))
        .await
        .unwrap()
        .unwrap();
    let life = Duration::from_secs(7_000);
    assert!(parts.access_tokens.put(&lock, b"a-token", life).await.unwrap());
    let limits = Limits {
        read: Duration::from_millis(200),
        ..Limits::default()
    };
    let client = Client::new(ClientParts {
        api_base: base,
        limits,
        ..parts
    })
    .unwrap();
    let file = MediaFile::new(MediaType::Image, "a.png", vec![7; 4 << 20]).unwrap();
    assert_eq!(client.upload(file).await.unwrap().media_id, "SLOW");
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let base = server(move |mut stream| {
        let told = told.clone();
        async move {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            let mut sent = 0_usize;
            while stream.write_all(&vec![b' '; 64 * 1024]).await.is_ok() {
                sent += 64 * 1024;
            }
            let _ = told.send(sent);
        }
    })
    .await;
    let wechat = FakeWechat::start().await;
    let client = Client::new(ClientParts {
        api_base: base,
        ..wechat.parts()
    })
    .unwrap();
    let error = client.sign_in().await.unwrap_err();
    assert!(error.to_string().contains("longer than 1048576 bytes"), "{error}");
    // What the kernels on both sides hold counts as sent.
    assert!(heard.recv().await.unwrap() < 32 * 1024 * 1024);
}

#[tokio::test]
async fn another_host_is_asked_when_there_is_no_connection_to_the_first() {
    let wechat = with_follower().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let parts = || ClientParts {
        api_base: nobody.clone(),
        substitutes: vec![nobody.clone(), wechat.base.clone()],
        ..wechat.parts()
    };
    send(&Client::new(parts()).unwrap(), "好").await.unwrap();
    assert_eq!(wechat.fake.sent().len(), 1);
    let alone = ClientParts {
        substitutes: Vec::new(),
        ..parts()
    };
    let error = send(&Client::new(alone).unwrap(), "好").await.unwrap_err();
    assert!(
        matches!(error, ApiError::Unreachable { .. }) && error.had_no_effect(),
        "{error}"
    );
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn nothing_is_sent_to_another_host_once_it_may_have_arrived() {
    let wechat = with_follower().await;
    // Reads the request and hangs up.
    let base = server(|mut stream| async move {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
    })
    .await;
    let parts = ClientParts {
        api_base: base,
        substitutes: vec![wechat.base.clone()],
        ..wechat.parts()
    };
    let error = Client::new(parts).unwrap().sign_in().await.unwrap_err();
    assert!(
        matches!(error, ApiError::NoAnswer { .. }) && !error.had_no_effect(),
        "{error}"
    );
    assert_eq!(wechat.fake.calls(TOKEN), 0);
}

#[tokio::test]
async fn a_connection_that_breaks_with_a_token_under_way_gives_nothing_away() {
    // Gives a token, and hangs up on whoever comes with it.
    let base = server(|mut stream| async move {
        let mut request = [0; 4096];
        let length = stream.read(&mut request).await.unwrap_or(0);
        if String::from_utf8_lossy(&request[..length]).contains("stable_token") {
            let body = r#"{"access_token":"FAKE_ACCESS_TOKEN_1","expires_in":7200}"#;
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    })
    .await;
    let wechat = FakeWechat::start().await;
    let client = Client::new(ClientParts {
        api_base: base,
        ..wechat.parts()
    })
    .unwrap();
    client.sign_in().await.unwrap();
    let error = client.callback_addresses().await.unwrap_err();
    assert!(matches!(error, ApiError::NoAnswer { .. }), "{error}");
    check_discreet(&format!("{error} {error:?}"));
}

#[tokio::test]
async fn silence_ends_at_the_limit_and_is_not_taken_for_a_no() {
    let captured = Captured::default();
    let _logging = captured.begin();
    let wechat = with_follower().await;
    let impatient = Limits {
        read: Duration::from_millis(100),
        ..hasty()
    };
    let hurried = Limits {
        call: Duration::from_millis(300),
        ..hasty()
    };
    for limits in [impatient, hurried] {
        let client = Client::new(ClientParts {
            limits,
            ..wechat.parts()
        })
        .unwrap();
        client.sign_in().await.unwrap();
        wechat.fake.fail(SEND, &Failure::Silence, 1);
        let before = wechat.fake.calls(SEND);
        let error = send(&client, "好").await.unwrap_err();
        assert!(
            matches!(error, ApiError::NoAnswer { .. }) && !error.had_no_effect(),
            "{error}"
        );
        assert_eq!(wechat.fake.calls(SEND) - before, 1);
        check_discreet(&format!("{error} {error:?}"));
        send(&client, "好").await.unwrap();
    }
    check_discreet(&captured.text());
}

#[tokio::test]
async fn calls_beyond_the_bound_are_refused_at_once() {
    let wechat = with_follower().await;
    let limits = Limits {
        calls: 2,
        exchanges: 1,
        ..hasty()
    };
    let client = Arc::new(
        Client::new(ClientParts {
            limits,
            ..wechat.parts()
        })
        .unwrap(),
    );
    client.sign_in().await.unwrap();
    wechat.fake.fail(SEND, &Failure::Silence, 1);
    let held: Vec<_> = (0..2)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { send(&client, "好").await })
        })
        .collect();
    while wechat.fake.calls(SEND) == 0 {
        tokio::task::yield_now().await;
    }
    // The second waits for its exchange; both tasks have run as far as they can.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(send(&client, "好").await, Err(ApiError::Busy));
    for task in held {
        task.abort();
    }
}

#[tokio::test]
async fn without_redis_calls_go_on() {
    use wxfaq::store::fallback::{Breaker, FallbackAccessTokens, Patience};
    use wxfaq::store::memory::{MemoryAccessTokens, monotonic};
    let mut redis = RedisServer::start().await;
    let wechat = with_follower().await;
    let link = wxfaq::store::redis::open(redis.url(), "test:", Duration::from_secs(5)).unwrap();
    let patience = Patience {
        deadline: Duration::from_secs(5),
        ..Patience::default()
    };
    let breaker = Breaker::new("redis", link.clone(), patience);
    let shared: Arc<dyn AccessTokens> = Arc::new(RedisAccessTokens::new(link));
    let sealed = Arc::new(SealedAccessTokens::new(shared, Seals::new("key")));
    let tokens = FallbackAccessTokens::new(sealed, MemoryAccessTokens::new(monotonic()), breaker);
    let client = wechat.client_on(Arc::new(tokens));
    send(&client, "好").await.unwrap();
    redis.kill();
    send(&client, "好").await.unwrap();
    assert_eq!(wechat.fake.calls(TOKEN), 1, "the token it had");
    wechat.fake.invalidate_tokens();
    send(&client, "好").await.unwrap();
    assert_eq!((wechat.fake.calls(TOKEN), wechat.fake.sent().len()), (2, 3));
}

#[tokio::test]
async fn media_are_uploaded_and_used() {
    let wechat = with_follower().await;
    let client = wechat.client();
    let file = |kind, name, bytes: &[u8]| MediaFile::new(kind, name, bytes.to_vec()).unwrap();
    let image = client
        .upload(file(MediaType::Image, "a.png", b"\x89PNG\r\n--x--\r\n\0\xff"))
        .await
        .unwrap();
    client
        .send(
            OPENID,
            &Message::Image {
                media_id: image.media_id.clone(),
            },
        )
        .await
        .unwrap();
    let thumb = client.upload(file(MediaType::Thumb, "t.jpg", b"jpeg")).await.unwrap();
    let music = Message::Music {
        title: "歌".into(),
        description: String::new(),
        music_url: "https://example.com/a.mp3".into(),
        hq_music_url: String::new(),
        thumb_media_id: thumb.media_id,
    };
    client.send(OPENID, &music).await.unwrap();
    let error = client
        .send(
            OPENID,
            &Message::Voice {
                media_id: "expired".into(),
            },
        )
        .await
        .unwrap_err();
    assert_eq!(error.remedy(), Some(Remedy::Upload));
    let kinds: Vec<String> = wechat.fake.sent().into_iter().map(|sent| sent.kind).collect();
    assert_eq!(kinds, ["image", "music"]);
}

#[tokio::test]
async fn typing_is_shown_when_it_may_be_and_is_no_error_when_not() {
    let wechat = with_follower().await;
    let client = wechat.client();
    client.typing(OPENID, Typing::Shown).await.unwrap();
    client.typing(OPENID, Typing::Shown).await.unwrap();
    client.typing(OPENID, Typing::Hidden).await.unwrap();
    wechat.pass(3_600);
    client.typing(OPENID, Typing::Shown).await.unwrap();
    wechat
        .fake
        .refuse("/cgi-bin/message/custom/typing", 48_001, "api unauthorized");
    assert_eq!(
        client.typing(OPENID, Typing::Shown).await.unwrap_err().remedy(),
        Some(Remedy::SwitchOff)
    );
}

#[tokio::test]
async fn menus_are_set_read_and_deleted() {
    let wechat = FakeWechat::start().await;
    let client = wechat.client();
    assert_eq!(client.menus().await.unwrap(), None);
    client.delete_menus().await.unwrap();
    let rule =
        |id: &str| json!({ "button": [{ "type": "click", "name": "会员", "key": id }], "matchrule": { "tag_id": id } });
    let file = json!({
        "button": [
            { "type": "click", "name": "今日", "key": "TODAY" },
            { "name": "更多", "sub_button": [{ "type": "view", "name": "网站", "url": "https://example.com/?a=1&b=2" }] }
        ],
        "conditionalmenu": [rule("1"), rule("2")]
    });
    let menus = Menus::parse(&file).unwrap();
    for _ in 0..2 {
        client.set_menus(&menus).await.unwrap();
        let back = Menus::parse(&client.menus().await.unwrap().unwrap()).unwrap();
        assert_eq!(back, menus, "once, however often it is set");
    }
    let plain = json!({ "button": [{ "type": "click", "name": "新的", "key": "NEW" }] });
    client.set_menus(&Menus::parse(&plain).unwrap()).await.unwrap();
    let back = client.menus().await.unwrap().unwrap();
    assert_eq!(
        back["conditionalmenu"].as_array().map(Vec::len),
        Some(2),
        "not mentioned, not touched"
    );
    assert_eq!(client.console_menu().await.unwrap()["is_menu_open"], 1);
    assert!(client.menu_of(OPENID).await.unwrap()["button"].is_array());
    client.delete_menus().await.unwrap();
    assert_eq!(client.menus().await.unwrap(), None);
}

#[tokio::test]
async fn everything_else_can_be_asked() {
    let wechat = with_follower().await;
    let client = wechat.client();
    assert_eq!(
        client.callback_addresses().await.unwrap(),
        ["127.0.0.1", "101.226.103.0/25"]
    );
    assert_eq!(client.api_addresses().await.unwrap(), ["127.0.0.1"]);
    let info = client.follower_info(OPENID).await.unwrap();
    assert!(info.is_subscribed && info.qr_scene.as_deref() == Some("faq"));
    assert!(!client.follower_info("oStranger").await.unwrap().is_subscribed);
    let scene = Scene::Text("faq".into(), Duration::from_secs(600));
    let code = client.create_qr_code(&scene).await.unwrap();
    assert!(
        code.picture_url.ends_with("ticket=gQFake%2BTicket%2F%3D%3D"),
        "{code:?}"
    );
    assert_eq!(code.expires, Some(Duration::from_secs(600)));
    assert_eq!(
        client.create_qr_code(&Scene::LastingNumber(7)).await.unwrap().expires,
        None
    );
    let message = TemplateMessage {
        template_id: "T1".into(),
        url: "https://example.com/".into(),
        data: vec![("first".into(), "您好".into())],
        ..TemplateMessage::default()
    };
    assert!(
        client
            .send_template(OPENID, &message)
            .await
            .unwrap()
            .parse::<u64>()
            .is_ok()
    );
    assert_eq!(wechat.fake.sent()[0].message["data"]["first"]["value"], "您好");
    let quota = client.quota(SEND).await.unwrap();
    assert_eq!((quota.daily_limit, quota.used, quota.remain), (500_000, 0, 500_000));
    assert_eq!(client.online_agents().await.unwrap(), []);
    assert_eq!(client.session_of(OPENID).await.unwrap(), None);
    assert!(client.waiting_users().await.unwrap().is_empty());
    let error = client.begin_session("kf1@demo", OPENID).await.unwrap_err();
    assert_eq!(error.refusal().map(|refusal| refusal.code), Some(65_400));
    assert!(client.end_session("kf1@demo", OPENID).await.is_err());
    let rules = client.auto_replies().await.unwrap();
    assert_eq!((rules.rules.len(), rules.rules[0].patterns.len()), (2, 2));
}

#[tokio::test]
async fn secrets_are_not_shown_by_debug() {
    let secret = Secret::new(APP_SECRET);
    check_discreet(&format!("{secret:?}"));
    let error = Client::new(ClientParts {
        api_base: format!("https://user:{APP_SECRET}@example.com"),
        ..FakeWechat::start().await.parts()
    });
    check_discreet(&error.err().unwrap().to_string());
}
