//! Answers that name a file: uploaded to WeChat when they are needed, once, and again before WeChat forgets them.

use crate::late::{ACCOUNT, KNOWN, Place, SEARCHING, delivery, memory};
use crate::open_work::Stuck;
use crate::support::bot::{TokioClock, parts};
use crate::support::daemon::{Daemon, configuration, free_port, run, simulate};
use crate::support::fake_wechat::{APP_SECRET, APPID, FakeWechat, NOON};
use crate::support::redis_server::RedisServer;
use async_trait::async_trait;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use wxfaq::bank::media::MediaType;
use wxfaq::bank::{Answer as BankAnswer, Entry, EntryId, rule};
use wxfaq::bot::{
    Answer, AnswerSource, Bot, Clock, Deliveries, Late, LateDelivery, MediaError, Parts, SealedAccessTokens, Seals,
    Shelf, Snapshot, SnapshotParts, SourceError, Uploader, Uploads,
};
use wxfaq::dialog::{MediaIds, RuleBook};
use wxfaq::fake_wechat::Failure;
use wxfaq::matching::Scope;
use wxfaq::store::access_tokens::AccessTokens;
use wxfaq::store::memory::{MemoryAccessTokens, MemoryOpenWork, monotonic};
use wxfaq::store::redis::RedisAccessTokens;
use wxfaq::wechat::Reply;
use wxfaq::wechat_api::{ApiError, MediaFile, Message, Refusal, Typing, Uploaded, WechatApi};

const QUESTION: &str = "营业网点地图";
const FILE: &str = "maps/a.png";
const AWAY: &str = "这个回答里的图片或音视频暂时打不开";
/// Where nobody can upload.
const NEVER: &str = "这个回答里的图片或音视频现在显示不了";
const UPLOAD: &str = "/cgi-bin/media/upload";

/// WeChat, taking its time for uploads, and what it was sent.
#[derive(Default)]
struct Slow {
    takes: Duration,
    uploads: AtomicUsize,
    sent: Mutex<Vec<Message>>,
    /// What the next messages are refused with.
    refusals: Mutex<Vec<i64>>,
}

#[async_trait]
impl WechatApi for Slow {
    async fn send(&self, _: &str, message: &Message) -> Result<(), ApiError> {
        if let Some(code) = self.refusals.lock().unwrap().pop() {
            return Err(ApiError::Refused(Refusal::new(
                "/cgi-bin/message/custom/send",
                code,
                "no",
            )));
        }
        self.sent.lock().unwrap().push(message.clone());
        Ok(())
    }
    async fn typing(&self, _: &str, _: Typing) -> Result<(), ApiError> {
        Ok(())
    }
    async fn upload(&self, _: MediaFile) -> Result<Uploaded, ApiError> {
        sleep(self.takes).await;
        let n = self.uploads.fetch_add(1, Ordering::SeqCst) + 1;
        Ok(Uploaded {
            media_id: format!("M{n}"),
            created_at: 0,
        })
    }
}

impl Slow {
    fn taking(takes: Duration) -> Arc<Self> {
        Arc::new(Self {
            takes,
            ..Self::default()
        })
    }

    fn uploads(&self) -> usize {
        self.uploads.load(Ordering::SeqCst)
    }
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("maps")).unwrap();
    std::fs::write(folder.path().join(FILE), b"\x89PNG one").unwrap();
    folder
}

fn uploads(kept: Arc<dyn AccessTokens>, folder: &Path, api: Arc<dyn WechatApi>) -> Arc<Uploads> {
    let uploads = Uploads::new(kept);
    let appid = APPID.to_owned();
    uploads.replace(Shelf {
        folder: Some(folder.to_owned()),
        uploaders: [(ACCOUNT.to_owned(), Uploader { appid, api })].into(),
    });
    uploads
}

fn bot(media: Arc<Uploads>, delivery: LateDelivery, clock: Arc<dyn Clock>) -> Arc<Bot> {
    bot_at((memory(), None), media, delivery, clock)
}

fn bot_at(
    (conversations, open_work): Place,
    media: Arc<Uploads>,
    delivery: LateDelivery,
    clock: Arc<dyn Clock>,
) -> Arc<Bot> {
    let answer = BankAnswer::parse("image", &format!(r#"{{"file":"{FILE}"}}"#)).unwrap();
    let map = Entry::new(EntryId::parse("map").unwrap(), QUESTION.into(), answer);
    Bot::new(Parts {
        media,
        deliveries: Deliveries::new([(ACCOUNT.to_owned(), delivery)]),
        open_work,
        ..parts(vec![map], conversations, clock)
    })
}

/// What the follower gets for `text`, and at which delivery.
async fn write(bot: &Arc<Bot>, clock: &TokioClock, openid: &str, text: &str) -> (usize, String) {
    let message = delivery(openid, text, clock.now());
    let begun = Instant::now();
    for n in 0..3_u32 {
        sleep_until(begun + n * Duration::from_secs(5)).await;
        match timeout(Duration::from_secs(5), bot.handle(ACCOUNT, &message)).await {
            Ok(Answer::Reply { reply, .. }) => return (n as usize, shown(&reply)),
            Ok(Answer::Held) | Err(_) => {}
            Ok(Answer::Refused) => panic!("refused"),
        }
    }
    panic!("no delivery of {text} is answered");
}

fn shown(reply: &Reply) -> String {
    match reply {
        Reply::Acknowledge => "nothing".to_owned(),
        Reply::Text { content } => content.clone(),
        Reply::Image { media_id } => format!("image {media_id}"),
        other => format!("{other:?}"),
    }
}

async fn settle(bot: &Bot) {
    bot.tasks().close();
    bot.tasks().wait().await;
    bot.tasks().reopen();
}

fn kept() -> Arc<dyn AccessTokens> {
    Arc::new(MemoryAccessTokens::new(monotonic()))
}

#[tokio::test(start_paused = true)]
async fn a_file_is_uploaded_once_and_shown_at_once() {
    let (folder, api, clock) = (
        folder(),
        Slow::taking(Duration::from_secs(1)),
        TokioClock::starting(NOON),
    );
    let media = uploads(kept(), folder.path(), api.clone());
    let bot = bot(media, LateDelivery::Placeholder, clock.clone());
    let openids: Vec<String> = (0..20).map(|n| format!("oMany{n}")).collect();
    let asked = openids.iter().map(|openid| write(&bot, &clock, openid, QUESTION));
    for answered in futures_util::future::join_all(asked).await {
        assert_eq!(answered, (0, "image M1".to_owned()));
    }
    assert_eq!(write(&bot, &clock, "oLater", QUESTION).await.1, "image M1");
    assert_eq!(api.uploads(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_takes_too_long_goes_on_and_its_answer_comes_once() {
    for (takes, holds, at, first) in [
        (6, LateDelivery::Placeholder, 0, SEARCHING),
        (6, LateDelivery::Hold, 1, "image M1"),
        (12, LateDelivery::Hold, 2, "image M1"),
    ] {
        let (folder, api, clock) = (
            folder(),
            Slow::taking(Duration::from_secs(takes)),
            TokioClock::starting(NOON),
        );
        let bot = bot(uploads(kept(), folder.path(), api.clone()), holds, clock.clone());
        assert_eq!(
            write(&bot, &clock, "oSlow", QUESTION).await,
            (at, first.to_owned()),
            "{takes}"
        );
        settle(&bot).await;
        if first == SEARCHING {
            assert_eq!(write(&bot, &clock, "oSlow", "好").await.1, "image M1");
        }
        let after = write(&bot, &clock, "oSlow", "好").await.1;
        assert!(!after.starts_with("image") && after != SEARCHING, "{after}");
        assert_eq!(api.uploads(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_file_waits_behind_what_the_bank_knows() {
    // It is there, or has to be uploaded anew and is on its way.
    for anew in [false, true] {
        let (folder, clock) = (folder(), TokioClock::starting(NOON));
        let api = Slow::taking(Duration::from_secs(6));
        let image = BankAnswer::parse("image", &format!(r#"{{"file":"{FILE}"}}"#)).unwrap();
        let desk = BankAnswer::Handoff { kf_account: None };
        let words = BankAnswer::Text("带上身份证。".into());
        let entries = [
            ("map", QUESTION, image),
            ("kaihu", KNOWN, words),
            ("desk", "人工", desk),
        ];
        let entries =
            entries.map(|(id, question, answer)| Entry::new(EntryId::parse(id).unwrap(), question.into(), answer));
        let bot = Bot::new(Parts {
            media: uploads(kept(), folder.path(), api.clone()),
            deliveries: Deliveries::new([(ACCOUNT.to_owned(), LateDelivery::Placeholder)]),
            ..parts(entries.into(), memory(), clock.clone())
        });
        let say = async |text: &str| write(&bot, &clock, "oAsks", text).await.1;
        assert_eq!(say(QUESTION).await, SEARCHING);
        settle(&bot).await;
        if anew {
            // While it is on its way, another message lets it become ready.
            std::fs::write(folder.path().join(FILE), b"\x89PNG, another").unwrap();
            sleep(LONG).await;
        }
        let known = say(KNOWN).await;
        assert!(known.starts_with("带上身份证。"), "{anew}: {known}");
        assert_eq!(known.contains("回复“好”查看"), !anew, "{known}");
        assert!(say("人工").await.starts_with("Transfer"), "{anew}");
        settle(&bot).await;
        let shown = if anew { "image M2" } else { "image M1" };
        assert_eq!(say("好").await, shown);
        assert!(!say("好").await.starts_with("image"), "once");
    }
}

#[tokio::test(start_paused = true)]
async fn with_customer_service_messages_a_late_file_is_sent_and_again_when_wechat_has_forgotten_it() {
    for (refusals, expected) in [(vec![], "M1"), (vec![40_007], "M2")] {
        let (folder, api, clock) = (
            folder(),
            Slow::taking(Duration::from_secs(12)),
            TokioClock::starting(NOON),
        );
        api.refusals.lock().unwrap().extend(refusals);
        let media = uploads(kept(), folder.path(), api.clone());
        let bot = bot(media, LateDelivery::Send(api.clone()), clock.clone());
        assert_eq!(write(&bot, &clock, "oSend", QUESTION).await, (0, "nothing".to_owned()));
        settle(&bot).await;
        let sent = api.sent.lock().unwrap().clone();
        let media_id = expected.to_owned();
        assert_eq!(sent, [Message::Image { media_id }]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_file_that_wechat_does_not_take_waits_for_the_next_message() {
    let (folder, api, clock) = (
        folder(),
        Slow::taking(Duration::from_secs(12)),
        TokioClock::starting(NOON),
    );
    api.refusals.lock().unwrap().push(45_015);
    let media = uploads(kept(), folder.path(), api.clone());
    let bot = bot(media, LateDelivery::Send(api.clone()), clock.clone());
    assert_eq!(write(&bot, &clock, "oUnsent", QUESTION).await.1, "nothing");
    settle(&bot).await;
    assert!(api.sent.lock().unwrap().is_empty());
    assert_eq!(write(&bot, &clock, "oUnsent", "好").await.1, "image M1");
    assert!(
        !write(&bot, &clock, "oUnsent", "好").await.1.starts_with("image"),
        "once"
    );
}

#[tokio::test(start_paused = true)]
async fn a_waiting_file_that_has_to_be_uploaded_anew_is_sent() {
    let (folder, api, clock) = (
        folder(),
        Slow::taking(Duration::from_secs(12)),
        TokioClock::starting(NOON),
    );
    api.refusals.lock().unwrap().push(45_015);
    let media = uploads(kept(), folder.path(), api.clone());
    let bot = bot(media, LateDelivery::Send(api.clone()), clock.clone());
    assert_eq!(write(&bot, &clock, "oAnew", QUESTION).await.1, "nothing");
    settle(&bot).await;
    sleep(LONG).await;
    std::fs::write(folder.path().join(FILE), b"\x89PNG, another").unwrap();
    assert_eq!(write(&bot, &clock, "oAnew", "好").await.1, "nothing");
    settle(&bot).await;
    let media_id = "M2".to_owned();
    assert_eq!(*api.sent.lock().unwrap(), [Message::Image { media_id }]);
    assert!(!write(&bot, &clock, "oAnew", "好").await.1.starts_with("image"), "once");
}

#[tokio::test(start_paused = true)]
async fn what_is_typed_after_a_late_file_does_not_judge_the_answer_before() {
    let (folder, api, clock) = (
        folder(),
        Slow::taking(Duration::from_secs(6)),
        TokioClock::starting(NOON),
    );
    let image = BankAnswer::parse("image", &format!(r#"{{"file":"{FILE}"}}"#)).unwrap();
    let entry = |id: &str, question: &str, answer| Entry::new(EntryId::parse(id).unwrap(), question.into(), answer);
    let entries = vec![
        entry("map", QUESTION, image),
        entry("kaihu", KNOWN, BankAnswer::Text("带上身份证。".into())),
    ];
    let base = parts(entries, memory(), clock.clone());
    let mut snapshot = base.snapshot.parts().clone();
    snapshot.habits.feedback = true;
    let bot = Bot::new(Parts {
        snapshot: Snapshot::new(snapshot),
        media: uploads(kept(), folder.path(), api.clone()),
        deliveries: Deliveries::new([(ACCOUNT.to_owned(), LateDelivery::Placeholder)]),
        ..base
    });
    let say = async |text: &str| write(&bot, &clock, "oJudges", text).await.1;
    assert!(say(KNOWN).await.starts_with("带上身份证。"));
    let about_it = say("没用").await;
    say(KNOWN).await;
    assert_eq!(say(QUESTION).await, SEARCHING);
    settle(&bot).await;
    assert_eq!(say("好").await, "image M1");
    assert_ne!(say("没用").await, about_it);
}

/// Does not know, and takes two seconds for it.
struct Ignorant;

#[async_trait]
impl AnswerSource for Ignorant {
    async fn answer(&self, _: &str, _: Scope<'_>) -> Result<Option<String>, SourceError> {
        sleep(Duration::from_secs(2)).await;
        Ok(None)
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_changes_while_a_source_is_asked_is_sent() {
    let (folder, api, clock) = (
        folder(),
        Slow::taking(Duration::from_secs(12)),
        TokioClock::starting(NOON),
    );
    let media = uploads(kept(), folder.path(), api.clone());
    let rule =
        format!(r#"{{"id":"d","trigger":"default","replies":[{{"kind":"image","answer":{{"file":"{FILE}"}}}}]}}"#);
    let rules = rule::file::read(&rule).map(|(_, rule)| rule.unwrap());
    let base = parts(Vec::new(), memory(), clock.clone());
    let snapshot = SnapshotParts {
        rules: Arc::new(RuleBook::new(rules, &[])),
        ..base.snapshot.parts().clone()
    };
    let bot = Bot::new(Parts {
        snapshot: Snapshot::new(snapshot),
        late: Late {
            source: Some(Arc::new(Ignorant)),
            work: Duration::from_secs(60),
        },
        media: media.clone(),
        deliveries: Deliveries::new([(ACCOUNT.to_owned(), LateDelivery::Send(api.clone()))]),
        ..base
    });
    media.fetch(ACCOUNT, MediaType::Image, FILE, bot.tasks()).await.unwrap();
    // For a second more it is taken for what it was.
    sleep(Duration::from_secs(9)).await;
    std::fs::write(folder.path().join(FILE), b"\x89PNG, another").unwrap();
    assert_eq!(write(&bot, &clock, "oChanged", "木星上怎么交水费").await.1, "nothing");
    settle(&bot).await;
    let media_id = "M2".to_owned();
    assert_eq!(*api.sent.lock().unwrap(), [Message::Image { media_id }]);
}

/// What is known of a file is looked at again after ten seconds.
const LONG: Duration = Duration::from_secs(14);

#[tokio::test(start_paused = true)]
async fn a_late_file_is_shown_however_late_the_follower_writes() {
    for refusals in [vec![], vec![45_015]] {
        let (folder, clock) = (folder(), TokioClock::starting(NOON));
        let api = Slow::taking(Duration::from_secs(6));
        let (delivery, first) = if refusals.is_empty() {
            (LateDelivery::Placeholder, SEARCHING)
        } else {
            (LateDelivery::Send(api.clone()), "nothing")
        };
        api.refusals.lock().unwrap().extend(refusals);
        let bot = bot(uploads(kept(), folder.path(), api.clone()), delivery, clock.clone());
        assert_eq!(write(&bot, &clock, "oPatient", QUESTION).await.1, first);
        settle(&bot).await;
        sleep(LONG).await;
        assert_eq!(write(&bot, &clock, "oPatient", "好了吗").await.1, "image M1");
        assert!(
            !write(&bot, &clock, "oPatient", "好").await.1.starts_with("image"),
            "once"
        );
        assert_eq!(api.uploads(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_file_is_shown_by_an_instance_that_has_not_uploaded_it() {
    // What the follower writes to the other comes while the file is uploaded, or later.
    for pause in [1, 14] {
        let (folder, clock, kept) = (folder(), TokioClock::starting(NOON), kept());
        let api = Slow::taking(Duration::from_secs(6));
        let conversations = memory();
        let instances = [(); 2].map(|()| {
            let media = uploads(kept.clone(), folder.path(), api.clone());
            bot_at(
                (conversations.clone(), None),
                media,
                LateDelivery::Placeholder,
                clock.clone(),
            )
        });
        assert_eq!(write(&instances[0], &clock, "oRoams", QUESTION).await.1, SEARCHING);
        sleep(Duration::from_secs(pause)).await;
        assert_eq!(
            write(&instances[1], &clock, "oRoams", "好了吗").await.1,
            "image M1",
            "after {pause} s"
        );
        assert_eq!(api.uploads(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_file_is_sent_by_who_takes_finished_work_over() {
    let (folder, clock, kept) = (folder(), TokioClock::starting(NOON), kept());
    let api = Slow::taking(Duration::from_secs(6));
    let (conversations, open) = (memory(), Arc::new(MemoryOpenWork::new(LONG * 10, tokio_clock())));
    let instance = |conversations| {
        let media = uploads(kept.clone(), folder.path(), api.clone());
        let place: Place = (conversations, Some(open.clone()));
        bot_at(place, media, LateDelivery::Send(api.clone()), clock.clone())
    };
    // It finishes the work and gets no further.
    let stuck = instance(Arc::new(Stuck(conversations.clone(), "late:")));
    let living = instance(conversations);
    assert_eq!(write(&stuck, &clock, "oOwed", QUESTION).await.1, "nothing");
    sleep(LONG).await;
    living.sweep().await;
    settle(&living).await;
    let media_id = "M1".to_owned();
    assert_eq!(*api.sent.lock().unwrap(), [Message::Image { media_id }]);
}

/// Time as tokio's tests have it.
fn tokio_clock() -> Arc<dyn Fn() -> Duration + Send + Sync> {
    let begun = Instant::now();
    Arc::new(move || begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_long_upload_is_waited_for_and_not_repeated() {
    let (folder, api) = (folder(), Slow::taking(Duration::from_secs(50)));
    let kept: Arc<dyn AccessTokens> = Arc::new(MemoryAccessTokens::new(tokio_clock()));
    let tasks = tokio_util::task::TaskTracker::new();
    let instances = [(); 2].map(|()| uploads(kept.clone(), folder.path(), api.clone()));
    let fetches = instances
        .iter()
        .map(|media| media.fetch(ACCOUNT, MediaType::Image, FILE, &tasks));
    for fetched in futures_util::future::join_all(fetches).await {
        assert_eq!(fetched.unwrap(), "M1");
    }
    assert_eq!(api.uploads(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_upload_whose_instance_died_is_begun_again_within_the_time_of_late_work() {
    let (folder, api) = (folder(), Slow::taking(Duration::from_secs(3)));
    let kept: Arc<dyn AccessTokens> = Arc::new(MemoryAccessTokens::new(tokio_clock()));
    let tasks = tokio_util::task::TaskTracker::new();
    let fetch = async |media: Arc<Uploads>| {
        let fetched = media.fetch(ACCOUNT, MediaType::Image, FILE, &tasks).await;
        fetched.unwrap()
    };
    // Its tasks end where they are: nothing is given back.
    let dead = api.clone();
    let (path, store) = (folder.path().to_owned(), kept.clone());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let tasks = tokio_util::task::TaskTracker::new();
            let media = uploads(store, &path, dead);
            let fetch = media.fetch(ACCOUNT, MediaType::Image, FILE, &tasks);
            assert!(timeout(Duration::from_millis(500), fetch).await.is_err());
        });
        runtime.shutdown_background();
    })
    .join()
    .unwrap();
    let late_work = Duration::from_secs(60);
    let fetched = timeout(late_work, fetch(uploads(kept, folder.path(), api.clone()))).await;
    assert_eq!(fetched.unwrap(), "M1");
}

#[tokio::test(start_paused = true)]
async fn without_permission_or_file_the_follower_is_told_and_wechat_not_asked_again() {
    let clock = TokioClock::starting(NOON);
    let folder = folder();
    let none = Uploads::new(kept());
    let bot_without = bot(none, LateDelivery::Placeholder, clock.clone());
    assert!(
        write(&bot_without, &clock, "oNone", QUESTION)
            .await
            .1
            .starts_with(NEVER)
    );

    let api = Slow::taking(Duration::ZERO);
    let media = uploads(kept(), folder.path(), api.clone());
    std::fs::remove_file(folder.path().join(FILE)).unwrap();
    let bot_gone = bot(media.clone(), LateDelivery::Placeholder, clock.clone());
    assert!(write(&bot_gone, &clock, "oGone", QUESTION).await.1.starts_with(AWAY));
    assert_eq!(api.uploads(), 0);
    // It comes back.
    std::fs::write(folder.path().join(FILE), b"\x89PNG").unwrap();
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!(write(&bot_gone, &clock, "oGone", QUESTION).await.1, "image M1");
    // And is changed in place.
    std::fs::write(folder.path().join(FILE), b"\x89PNG, another").unwrap();
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!(write(&bot_gone, &clock, "oGone", QUESTION).await.1, "image M2");
}

#[tokio::test]
async fn a_refused_account_is_not_tried_again_before_a_reload() {
    let (folder, wechat) = (folder(), FakeWechat::start().await);
    let media = uploads(kept(), folder.path(), Arc::new(wechat.client()));
    let tasks = tokio_util::task::TaskTracker::new();
    wechat
        .fake
        .fail(UPLOAD, &Failure::Code(48_001, "api unauthorized".into()), 9);
    for _ in 0..3 {
        let refused = media.fetch(ACCOUNT, MediaType::Image, FILE, &tasks).await;
        assert!(matches!(refused, Err(MediaError::Wechat(_))), "{refused:?}");
    }
    assert_eq!((wechat.fake.calls(UPLOAD), media.can_upload(ACCOUNT)), (1, false));
    wechat.fake.relent();
    let appid = APPID.to_owned();
    let api: Arc<dyn WechatApi> = Arc::new(wechat.client());
    media.replace(Shelf {
        folder: Some(folder.path().to_owned()),
        uploaders: [(ACCOUNT.to_owned(), Uploader { appid, api })].into(),
    });
    assert!(media.fetch(ACCOUNT, MediaType::Image, FILE, &tasks).await.is_ok());
}

#[tokio::test]
async fn a_renewal_that_fails_takes_nothing_away() {
    for (code, said) in [
        (45_009, "reach max api daily quota limit"),
        (48_001, "api unauthorized"),
    ] {
        let (folder, wechat) = (folder(), FakeWechat::start().await);
        let kept = wechat.parts().access_tokens;
        let tasks = tokio_util::task::TaskTracker::new();
        let instance = || uploads(kept.clone(), folder.path(), Arc::new(wechat.client_on(kept.clone())));
        let look = async |media: &Arc<Uploads>| {
            let id = media.fetch(ACCOUNT, MediaType::Image, FILE, &tasks).await;
            tasks.close();
            tasks.wait().await;
            tasks.reopen();
            id.unwrap()
        };
        let first = look(&instance()).await;
        wechat.pass(65 * 3_600);
        wechat.fake.fail(UPLOAD, &Failure::Code(code, said.into()), 1);
        let media = instance();
        for _ in 0..2 {
            assert_eq!(look(&media).await, first, "{code}");
            assert_eq!(media.media_id(ACCOUNT, MediaType::Image, FILE), Some(first.clone()));
            assert!(media.takes_files(ACCOUNT), "{code}");
        }
        assert_eq!(wechat.fake.calls(UPLOAD), 2, "it was tried once");
    }
}

#[tokio::test]
async fn an_upload_is_renewed_before_wechat_forgets_it() {
    let (folder, wechat) = (folder(), FakeWechat::start().await);
    let kept = wechat.parts().access_tokens;
    let tasks = tokio_util::task::TaskTracker::new();
    // Another instance each time: it knows only what is shared.
    let fetch = async || {
        let media = uploads(kept.clone(), folder.path(), Arc::new(wechat.client_on(kept.clone())));
        let id = media.fetch(ACCOUNT, MediaType::Image, FILE, &tasks).await.unwrap();
        assert_eq!(
            media.media_id(ACCOUNT, MediaType::Image, FILE).as_deref(),
            Some(id.as_str())
        );
        tasks.close();
        tasks.wait().await;
        tasks.reopen();
        id
    };
    let first = fetch().await;
    wechat.pass(60 * 3_600);
    assert_eq!((fetch().await, wechat.fake.calls(UPLOAD)), (first.clone(), 1));
    wechat.pass(5 * 3_600);
    assert_eq!(
        (fetch().await, wechat.fake.calls(UPLOAD)),
        (first.clone(), 2),
        "renewed while the old one is good"
    );
    let second = fetch().await;
    assert_ne!(second, first);
    wechat.pass(71 * 3_600);
    let third = fetch().await;
    assert_ne!(third, second);
    assert_eq!(wechat.fake.calls(UPLOAD), 3);
}

#[tokio::test]
async fn two_instances_on_one_redis_upload_once() {
    let (folder, server) = (folder(), RedisServer::start().await);
    let api = Slow::taking(Duration::from_millis(50));
    let instance = || {
        let link = wxfaq::store::redis::open(server.url(), "test:", Duration::from_secs(20)).unwrap();
        let kept = SealedAccessTokens::new(Arc::new(RedisAccessTokens::new(link)), Seals::new("key"));
        uploads(Arc::new(kept), folder.path(), api.clone())
    };
    let tasks = tokio_util::task::TaskTracker::new();
    let instances = [instance(), instance()];
    let fetches = (0..40).map(|n| instances[n % 2].fetch(ACCOUNT, MediaType::Image, FILE, &tasks));
    for fetched in futures_util::future::join_all(fetches).await {
        assert_eq!(fetched.unwrap(), "M1");
    }
    assert_eq!(api.uploads(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_uploads_what_import_and_check_have_looked_at() {
    let (wechat, folder, port, ops_port) = (
        FakeWechat::start().await,
        tempfile::tempdir().unwrap(),
        free_port(),
        free_port(),
    );
    let root = folder.path();
    let account = format!(
        "[paths]\nmedia = \"media\"\n[[account]]\nid = \"calls\"\nappid = \"{APPID}\"\ntoken = \"TokenOfTestsCalls\"\nmode = \
         \"plain\"\napp_secret = \"{APP_SECRET}\"\napi_base = \"{}\"\n",
        wechat.base
    );
    std::fs::write(root.join("wxfaq.toml"), configuration(port, ops_port, &account)).unwrap();
    std::fs::create_dir(root.join("media")).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", root.join("media/out.png")).unwrap();
    std::fs::write(
        root.join("bank.jsonl"),
        r#"{"id":"map","question":"网点地图","kind":"image","answer":{"file":"a.png"}}"#,
    )
    .unwrap();
    std::fs::write(
        root.join("rules.jsonl"),
        r#"{"id":"out","trigger":{"keywords":[{"equals":"看图"}]},"replies":[{"kind":"image","answer":{"file":"out.png"}}]}"#,
    )
    .unwrap();
    let wxfaq = |arguments: &[&str]| {
        let output = run(root, &[&["--config", "wxfaq.toml"], arguments].concat());
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), said)
    };
    let (code, said) = wxfaq(&["import", "bank.jsonl"]);
    assert!(code == Some(0) && said.contains("a.png: No such file"), "{said}");
    let (code, said) = wxfaq(&["rule", "import", "rules.jsonl"]);
    assert!(
        code == Some(0) && said.contains("out.png: leads out of the folder"),
        "{said}"
    );
    let (code, said) = wxfaq(&["check", "--offline"]);
    assert!(
        code == Some(65) && said.contains("map: a.png: No such") && said.contains("out: out.png: leads"),
        "{said}"
    );
    std::fs::write(root.join("media/a.png"), b"\x89PNG").unwrap();
    let daemon = Daemon::start_in(folder, port, ops_port);
    let shown = simulate(&daemon, &["--account", "calls", "网点地图"]);
    assert!(shown.contains("FAKE_MEDIA_"), "{shown}");
    assert!(simulate(&daemon, &["--account", "calls", "看图"]).contains(AWAY));
    assert!(
        simulate(&daemon, &["--account", "plain", "网点地图"]).contains(NEVER),
        "it has no secret"
    );
    assert_eq!(wechat.fake.calls(UPLOAD), 1);
    assert!(!daemon.log().contains(APP_SECRET));
}

#[tokio::test(flavor = "multi_thread")]
async fn simulate_plays_held_deliveries() {
    let (wechat, folder, port, ops_port) = (
        FakeWechat::start().await,
        tempfile::tempdir().unwrap(),
        free_port(),
        free_port(),
    );
    let slow = [&format!("{}/fake/slow", wechat.base), "-d"].map(str::to_owned);
    let ordered = std::process::Command::new("curl")
        .arg("-s")
        .args(slow)
        .arg(format!(r#"{{"path":"{UPLOAD}","seconds":6}}"#))
        .output()
        .unwrap();
    assert!(
        String::from_utf8_lossy(&ordered.stdout).contains("\"errcode\":0"),
        "{ordered:?}"
    );
    let root = folder.path();
    let settings = format!(
        "[reply]\nhold_retries = true\n[paths]\nmedia = \"media\"\n[[account]]\nid = \"calls\"\nappid = \"{APPID}\"\ntoken = \
         \"TokenOfTestsCalls\"\nmode = \"plain\"\napp_secret = \"{APP_SECRET}\"\napi_base = \"{}\"\n",
        wechat.base
    );
    std::fs::write(root.join("wxfaq.toml"), configuration(port, ops_port, &settings)).unwrap();
    std::fs::create_dir(root.join("media")).unwrap();
    let questions = ["网点地图", "停车示意图", "班车路线图"];
    let mut bank = String::new();
    for (n, question) in questions.iter().enumerate() {
        std::fs::write(root.join(format!("media/{n}.png")), format!("\u{89}PNG {n}")).unwrap();
        let row = format!(r#"{{"id":"p{n}","question":"{question}","kind":"image","answer":{{"file":"{n}.png"}}}}"#);
        bank.push_str(&row);
        bank.push('\n');
    }
    std::fs::write(root.join("bank.jsonl"), bank).unwrap();
    let script = format!("== held\n> {}\n< kind image\n", questions[2]);
    std::fs::write(root.join("held.txt"), script).unwrap();
    let imported = run(root, &["--config", "wxfaq.toml", "import", "bank.jsonl"]);
    assert!(imported.status.success(), "{imported:?}");
    let daemon = Daemon::start_in(folder, port, ops_port);
    let play = |arguments: &[&str]| {
        let all = [&["--config", "wxfaq.toml", "simulate", "--account", "calls"], arguments].concat();
        let output = run(daemon.folder.path(), &all);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), said)
    };
    let [once, retried, script] = std::thread::scope(|scope| {
        let playing = [
            scope.spawn(|| play(&["--openid", "oOnce", questions[0]])),
            scope.spawn(|| play(&["--openid", "oRetries", "--retries", questions[1]])),
            scope.spawn(|| play(&["--script", "held.txt"])),
        ];
        playing.map(|played| played.join().unwrap())
    });
    assert!(once.0 == Some(69) && once.1.contains("--retries"), "{once:?}");
    assert_eq!(retried.0, Some(0), "{retried:?}");
    assert_eq!(retried.1.matches("(hung up").count(), 1, "{retried:?}");
    assert_eq!(retried.1.matches("[image] <xml>").count(), 2, "{retried:?}");
    assert_eq!(script.0, Some(0), "{script:?}");
}
