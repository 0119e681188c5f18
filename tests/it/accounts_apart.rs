//! Two accounts in one daemon: late answers, access tokens, uploads, menus and quotas of one never reach the other, though
//! a follower of each has the same openid.

use crate::support::bot::{TokioClock, parts};
use crate::support::fake_wechat::{APPID, FakeWechat, NOON, OTHER_APPID};
use async_trait::async_trait;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use wxfaq::bank::{Answer as BankAnswer, Entry, EntryId};
use wxfaq::bot::{Answer, AnswerSource, Bot, Clock, Deliveries, Late, LateDelivery, Parts, Shelf, SourceError};
use wxfaq::bot::{Uploader, Uploads};
use wxfaq::fake_wechat::Contact;
use wxfaq::matching::Scope;
use wxfaq::wechat::Reply;
use wxfaq::wechat_api::{ApiError, Client, ClientParts, Menus, Message, WechatApi};

/// Their ids in the configuration, and the AppID of each.
const ACCOUNTS: [(&str, &str); 2] = [("one", APPID), ("other", OTHER_APPID)];
const OPENID: &str = "oFollowerOfBoth";
const SEND: &str = "/cgi-bin/message/custom/send";
const MENU: &str = "/cgi-bin/menu/create";
const PICTURE: &str = "营业网点地图";

/// Knows an answer for each account, and is slow.
struct Slow;

#[async_trait]
impl AnswerSource for Slow {
    async fn answer(&self, _: &str, scope: Scope<'_>) -> Result<Option<String>, SourceError> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(Some(answer_of(scope.account)))
    }
}

fn answer_of(account: &str) -> String {
    format!("这是{account}的答案。")
}

/// On one store of tokens, as in the daemon.
async fn clients() -> (FakeWechat, [Arc<Client>; 2]) {
    let wechat = FakeWechat::start().await;
    let access_tokens = wechat.parts().access_tokens;
    let clients = ACCOUNTS.map(|(_, appid)| {
        let parts = ClientParts {
            appid: appid.to_owned(),
            access_tokens: access_tokens.clone(),
            ..wechat.parts()
        };
        Arc::new(Client::new(parts).unwrap())
    });
    (wechat, clients)
}

/// Sends late answers, and uploads.
fn bot(wechat: &FakeWechat, clients: &[Arc<Client>; 2], folder: &std::path::Path) -> (Arc<Bot>, Arc<TokioClock>) {
    let clock = TokioClock::starting(NOON);
    let by_account = || ACCOUNTS.iter().zip(clients);
    let media = Uploads::new(wechat.parts().access_tokens);
    media.replace(Shelf {
        folder: Some(folder.to_owned()),
        uploaders: by_account()
            .map(|((account, appid), client)| {
                let (appid, api) = ((*appid).to_owned(), client.clone() as Arc<dyn WechatApi>);
                ((*account).to_owned(), Uploader { appid, api })
            })
            .collect(),
    });
    let picture = BankAnswer::parse("image", r#"{"file":"a.png"}"#).unwrap();
    let entry = Entry::new(EntryId::parse("map").unwrap(), PICTURE.into(), picture);
    let deliveries =
        by_account().map(|((account, _), client)| ((*account).to_owned(), LateDelivery::Send(client.clone())));
    let bot = Bot::new(Parts {
        late: Late {
            source: Some(Arc::new(Slow)),
            work: Duration::from_secs(60),
        },
        deliveries: Deliveries::new(deliveries),
        media,
        deadline: Duration::from_millis(500),
        ..parts(vec![entry], crate::late::memory(), clock.clone())
    });
    (bot, clock)
}

#[tokio::test]
async fn late_answers_reach_the_account_that_was_asked() {
    let (wechat, clients) = clients().await;
    let folder = tempfile::tempdir().unwrap();
    let (bot, clock) = bot(&wechat, &clients, folder.path());
    wechat.fake.contact(OPENID, Contact::Message);
    for (account, _) in ACCOUNTS {
        let message = crate::late::delivery(OPENID, "火星上怎么交电费", clock.now());
        let answered = bot.handle(account, &message).await;
        assert!(
            matches!(
                answered,
                Answer::Reply {
                    reply: Reply::Acknowledge,
                    ..
                }
            ),
            "{answered:?}"
        );
    }
    bot.tasks().close();
    bot.tasks().wait().await;
    let mut sent: Vec<_> = wechat
        .fake
        .sent()
        .into_iter()
        .map(|sent| (sent.appid, sent.message))
        .collect();
    sent.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = ACCOUNTS.map(|(account, appid)| (appid.to_owned(), json!({ "content": answer_of(account) })));
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn each_account_shows_its_own_upload_of_the_same_file() {
    let (wechat, clients) = clients().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.png"), b"\x89PNG").unwrap();
    let (bot, clock) = bot(&wechat, &clients, folder.path());
    wechat.fake.contact(OPENID, Contact::Message);
    let mut shown = Vec::new();
    // The first may come late: then it is sent.
    for _ in 0..2 {
        shown.clear();
        for (account, _) in ACCOUNTS {
            let message = crate::late::delivery(OPENID, PICTURE, clock.now());
            if let Answer::Reply {
                reply: Reply::Image { media_id },
                ..
            } = bot.handle(account, &message).await
            {
                shown.push(media_id);
            }
        }
        bot.tasks().close();
        bot.tasks().wait().await;
        bot.tasks().reopen();
    }
    assert_eq!(shown.len(), 2);
    assert_ne!(shown[0], shown[1]);
    let message = |n: usize| Message::Image {
        media_id: shown[n].clone(),
    };
    for (n, client) in clients.iter().enumerate() {
        client.send(OPENID, &message(n)).await.unwrap();
        let crossed = client.send(OPENID, &message(1 - n)).await.unwrap_err();
        assert_eq!(crossed.refusal().map(|refusal| refusal.code), Some(40_007));
    }
}

#[tokio::test]
async fn followers_menus_and_quotas_of_accounts_are_apart() {
    let (wechat, [one, other]) = clients().await;
    wechat.fake.contact_with(APPID, OPENID, Contact::Message);
    one.send(OPENID, &Message::text("好")).await.unwrap();
    let stranger = other.send(OPENID, &Message::text("好")).await.unwrap_err();
    assert_eq!(stranger.refusal().map(|refusal| refusal.code), Some(45_015));

    let menu = json!({ "button": [{ "name": "菜单", "type": "click", "key": "k" }] });
    one.set_menus(&Menus::parse(&menu).unwrap()).await.unwrap();
    assert!(one.menus().await.unwrap().is_some());
    assert_eq!(other.menus().await.unwrap(), None);

    wechat.fake.limit(MENU, 1);
    let used_up = one.set_menus(&Menus::parse(&menu).unwrap()).await.unwrap_err();
    assert!(
        matches!(used_up, ApiError::Refused(_) | ApiError::QuotaUsedUp { .. }),
        "{used_up}"
    );
    other.set_menus(&Menus::parse(&menu).unwrap()).await.unwrap();
    assert_eq!(other.quota(SEND).await.unwrap().used, 1);
    assert_eq!(one.quota(MENU).await.unwrap().used, 1);
}
