//! Deliveries that must come from WeChat's addresses: who comes from elsewhere is refused as a forger is.

use crate::support::bot::{TokioClock, parts};
use crate::support::fake_wechat::NOON;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt;
use wxfaq::bot::Bot;
use wxfaq::config::{Api, Network};
use wxfaq::store::conversations::Lifetimes;
use wxfaq::store::memory::{Bounds, MemoryConversations};
use wxfaq::web::{CallbackAddresses, Gate, Policy, Web, router};
use wxfaq::wechat::platform;
use wxfaq::wechat::{CredentialParts, Credentials, Head, Mode};

fn credentials(token: &str) -> Credentials {
    Credentials::new(CredentialParts {
        appid: "wx1a2b3c4d5e6f7081",
        mode: Mode::Plain,
        token,
        previous_token: None,
        encoding_aes_key: None,
        previous_encoding_aes_key: None,
    })
    .unwrap()
}

/// Status, headers and body of what a delivery signed with `token`, forwarded for `client`, is answered.
async fn deliver(web: &Arc<Web>, token: &str, client: &str) -> (StatusCode, String, Vec<u8>) {
    let head = Head {
        account: "gh_tests".into(),
        openid: "oFollower".into(),
        create_time: NOON,
    };
    let xml = platform::text_xml(&head, client, "你好");
    let delivery = platform::deliver(&credentials(token), &xml, NOON, &format!("n{client}"), [7; 16]);
    let request = Request::post(format!("/wechat/demo?{}", delivery.query))
        .header("x-forwarded-for", client)
        .body(Body::from(delivery.body))
        .unwrap();
    let response = router(web.clone()).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap().to_vec();
    (parts.status, format!("{:?}", parts.headers), body)
}

#[tokio::test]
async fn only_wechats_addresses_may_deliver_once_they_are_known() {
    let long = Duration::from_secs(600);
    let lifetimes = Lifetimes {
        lease: long,
        signature: long,
        record: long,
        session: long,
    };
    let store = MemoryConversations::new(lifetimes, Bounds::default(), Arc::new(|| Duration::ZERO));
    let bot = Bot::new(parts(Vec::new(), Arc::new(store), TokioClock::starting(NOON)));
    let addresses = Arc::new(CallbackAddresses::default());
    let gate = |addresses| Gate {
        credentials: credentials("TokenOfTheTests"),
        addresses,
    };
    let policy = Policy {
        timestamp_window: 300,
        api: Api {
            ask_per_minute: 1,
            ask_address_per_minute: 1,
            public: false,
            public_per_minute: 1,
            cors_origins: vec![],
        },
        trusted_proxies: vec![],
        body_timeout: long,
    };
    let gates = BTreeMap::from([("demo".to_owned(), gate(Some(addresses.clone())))]);
    let web = Web::new(bot, gates, gate(None), policy);
    assert_eq!(
        deliver(&web, "TokenOfTheTests", "192.0.2.1").await.0,
        StatusCode::OK,
        "none is known yet"
    );
    addresses.replace(vec![Network::parse("101.226.103.0/25").unwrap()]);
    assert_eq!(
        deliver(&web, "TokenOfTheTests", "101.226.103.7").await.0,
        StatusCode::OK
    );
    let forged = deliver(&web, "AnotherToken", "101.226.103.8").await;
    assert_eq!(forged.0, StatusCode::FORBIDDEN);
    for client in ["101.226.103.200", "192.0.2.2", "nobody"] {
        assert_eq!(deliver(&web, "TokenOfTheTests", client).await, forged, "{client}");
    }
}
