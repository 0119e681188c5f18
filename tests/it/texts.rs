//! Templates and dictionaries in the database: kept and remembered on every database, and what a publisher makes of them.
#![allow(clippy::unwrap_used, reason = "a helper that panics fails its test")]

use crate::support::bot::{TokioClock, parts};
use crate::support::database::{TestDatabase, on_every_database};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::slice::from_ref;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wxfaq::app::sources::{Live, Sources};
use wxfaq::app::{Publisher, first_snapshot};
use wxfaq::bank::history::{Subject, Thing};
use wxfaq::bank::text::MAX_TEXT_BYTES;
use wxfaq::bank::{Answer, Channel, Entry, EntryId, Text, TextKind, TextName};
use wxfaq::bot::{Bot, Parts, Snapshot};
use wxfaq::dialog::Habits;
use wxfaq::dialog::templates::{Empty, Greeting};
use wxfaq::matching::{Scope, Thresholds};
use wxfaq::store::memory::{Bounds, MemoryConversations, monotonic};
use wxfaq::store::sql::{ApplyError, Author, BankChange, Database, StoredText};

on_every_database!(
    texts_are_changed_with_the_bank_and_share_its_history,
    the_second_of_two_editors_of_a_text_overwrites_nothing,
);

fn name(kind: TextKind, file: &str) -> TextName {
    TextName::new(kind, file)
}

fn template(file: &str, body: &str) -> Text {
    Text::new(name(TextKind::Template, file), body.as_bytes()).unwrap()
}

fn dictionary(file: &str, body: &str) -> Text {
    Text::new(name(TextKind::Dictionary, file), body.as_bytes()).unwrap()
}

fn entry(id: &str, question: &str) -> Entry {
    let answer = Answer::Text("答".to_owned());
    Entry::new(EntryId::parse(id).unwrap(), question.to_owned(), answer)
}

fn by(who: &str) -> Author {
    Author {
        who: who.to_owned(),
        source: "console".to_owned(),
    }
}

/// Makes a change on top of whatever is there, at a time in seconds that is the revision's number.
async fn change(database: &Database, change: BankChange<'_>) -> Result<u64, ApplyError> {
    let current = database.questions().revision().await.unwrap();
    let now = i64::try_from(current).unwrap() + 1;
    database.change(change, &by("王"), now, current).await
}

async fn put(database: &Database, texts: &[Text]) -> u64 {
    let put = BankChange {
        put_texts: texts,
        ..BankChange::default()
    };
    change(database, put).await.unwrap()
}

async fn texts_are_changed_with_the_bank_and_share_its_history(place: TestDatabase) {
    let (one, two) = tokio::join!(place.open(), place.open());
    let odd = template("greeting.txt", "\u{feff}您好😀\r\n\t{{ 'x' }}\r\n\r\n");
    let largest = dictionary("user.txt", &"蓝鲸\n".repeat(MAX_TEXT_BYTES / 7));
    let together = BankChange {
        put: &[entry("a", "怎么开户")],
        put_texts: &[largest.clone(), odd.clone()],
        ..BankChange::default()
    };
    assert_eq!(change(&one, together).await.unwrap(), 1, "one revision for all of it");
    let stored = |text: &Text, revision: u64| StoredText {
        text: text.clone(),
        updated_at: i64::try_from(revision).unwrap(),
        updated_by: "王".to_owned(),
        revision,
    };
    let all = vec![stored(&odd, 1), stored(&largest, 1)];
    assert_eq!(two.texts().load().await.unwrap(), (1, all.clone()));
    assert_eq!(two.load_bank().await.unwrap().texts, all);
    assert_eq!(put(&one, from_ref(&odd)).await, 1, "nothing changed, nothing counted");

    let small = dictionary("user.txt", "蓝鲸\n");
    assert_eq!(put(&one, from_ref(&small)).await, 2);
    let since = async |revision| two.questions().changes_since(revision).await.unwrap().unwrap();
    assert_eq!(since(1).await.texts, Some(vec![stored(&odd, 1), stored(&small, 2)]));
    assert_eq!(since(2).await.texts, None);
    let another = BankChange {
        put: &[entry("b", "怎么销户")],
        ..BankChange::default()
    };
    change(&one, another).await.unwrap();
    assert_eq!(since(2).await.texts, None, "an entry is no text");
    let away = BankChange {
        remove_texts: &[odd.name.clone(), name(TextKind::Template, "empty.txt")],
        ..BankChange::default()
    };
    assert_eq!(change(&one, away).await.unwrap(), 4);
    assert_eq!(two.texts().load().await.unwrap(), (4, vec![stored(&small, 2)]));

    let revisions = two.revisions();
    let (greeting, user) = (
        Thing::new(Subject::Template, "greeting.txt"),
        Thing::new(Subject::Dictionary, "user.txt"),
    );
    assert_eq!(revisions.at(&greeting, 3).await.unwrap(), Some(odd.body.clone()));
    assert_eq!(revisions.at(&greeting, 4).await.unwrap(), None);
    let (_, then) = revisions.changed_after(1).await.unwrap();
    let expected = [
        (Thing::new(Subject::Entry, "b"), None),
        (greeting.clone(), Some(odd.body)),
        (user.clone(), Some(largest.body)),
    ];
    assert_eq!(then, BTreeMap::from(expected));
    let last = revisions.last(Some(&user), 1).await.unwrap();
    assert_eq!(
        (last[0].changed_by.as_str(), last[0].summary().as_str()),
        ("王", "line 2")
    );
    let summary = revisions.last(Some(&greeting), 1).await.unwrap()[0].summary();
    assert_eq!(summary, "removed");
}

async fn the_second_of_two_editors_of_a_text_overwrites_nothing(place: TestDatabase) {
    let database = place.open().await;
    let edit = async |body: &str, made_from| {
        let text = dictionary("synonyms.txt", body);
        let put = BankChange {
            put_texts: from_ref(&text),
            made_from: Some(made_from),
            ..BankChange::default()
        };
        change(&database, put).await.map_err(|error| error.to_string())
    };
    assert_eq!(edit("提现;取现", 0).await, Ok(1));
    assert_eq!(edit("提现;取钱", 1).await, Ok(2));
    assert_eq!(
        edit("提现;拿钱", 1).await.unwrap_err(),
        "nothing was written: changed since revision 1; dict/synonyms.txt by 王 (console) in revision 2: line 1"
    );
    // A template of the same name is another thing.
    let other = template("synonyms.txt", "x");
    assert_eq!(put(&database, from_ref(&other)).await, 3);
    assert_eq!(edit("提现;拿钱", 2).await, Ok(4));
    let twice = BankChange {
        put_texts: from_ref(&other),
        remove_texts: from_ref(&other.name),
        ..BankChange::default()
    };
    let refused = change(&database, twice).await.unwrap_err().to_string();
    assert_eq!(refused, "template/synonyms.txt is changed twice");
}

/// Everything embedded, with folders of a test's own.
fn sources(templates: Option<PathBuf>, dictionaries: Option<PathBuf>) -> Sources {
    Sources {
        templates,
        dictionaries,
        thresholds: Thresholds {
            answer: 0.8,
            suggest: 0.6,
        },
        max_suggestions: 5,
        max_bytes: 2_048,
        habits: Habits::default(),
        handoffs: BTreeMap::new(),
    }
}

/// A publisher that looks at `database` every few milliseconds, with its bot.
async fn following(database: &Database, sources: Sources) -> (Arc<Publisher>, Arc<Bot>) {
    let (snapshot, inputs) = first_snapshot(database, sources).await.unwrap();
    let conversations = MemoryConversations::new(lifetimes(), Bounds::default(), monotonic());
    let bot = Bot::new(Parts {
        snapshot,
        ..parts(Vec::new(), Arc::new(conversations), TokioClock::starting(0))
    });
    let publisher = Arc::new(Publisher::new(bot.clone(), database, inputs));
    tokio::spawn(publisher.clone().follow_bank(Duration::from_millis(5)));
    (publisher, bot)
}

fn lifetimes() -> wxfaq::store::conversations::Lifetimes {
    let second = Duration::from_secs(1);
    wxfaq::store::conversations::Lifetimes {
        lease: second,
        signature: second,
        record: second,
        session: second,
    }
}

/// The bot's snapshot once it has come to `revision`.
async fn at(bot: &Bot, revision: u64) -> Arc<Snapshot> {
    let begin = Instant::now();
    loop {
        let snapshot = bot.snapshot();
        if snapshot.revision >= revision {
            return snapshot.clone();
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "not at {revision}");
        tokio::task::yield_now().await;
    }
}

fn greeting(snapshot: &Snapshot) -> String {
    snapshot.templates.render(&Greeting {}).unwrap()
}

fn finds(snapshot: &Snapshot, question: &str) -> Vec<String> {
    let scope = Scope {
        account: "a",
        channel: Channel::Wechat,
        now: 0,
        category: None,
    };
    let matches = snapshot.index.search(question, scope, 1_000);
    matches.hits.iter().map(|hit| format!("{hit:?}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_is_taken_up_without_a_look_at_the_bank_and_a_dictionary_with_a_new_index() {
    let place = TestDatabase::sqlite();
    let database = place.open().await;
    let bank = BankChange {
        put: &[entry("a", "怎么取现"), entry("b", "怎么开户")],
        ..BankChange::default()
    };
    change(&database, bank).await.unwrap();
    let (_publisher, bot) = following(&database, sources(None, None)).await;
    let first = at(&bot, 1).await;

    put(&database, &[template("greeting.txt", "新的欢迎词")]).await;
    let second = at(&bot, 2).await;
    assert_eq!(greeting(&second), "新的欢迎词");
    assert!(Arc::ptr_eq(first.index.analyzer(), second.index.analyzer()));
    put(&database, &[dictionary("sensitive.txt", "蓝鲸")]).await;
    let third = at(&bot, 3).await;
    assert_eq!(third.dictionaries.sensitive, ["蓝鲸"]);
    assert!(
        Arc::ptr_eq(first.index.analyzer(), third.index.analyzer()),
        "sensitive words cut nothing"
    );

    put(&database, &[dictionary("synonyms.txt", "取现;蓝鲸出水")]).await;
    let fourth = at(&bot, 4).await;
    assert!(!Arc::ptr_eq(first.index.analyzer(), fourth.index.analyzer()));
    assert!(finds(&fourth, "怎么蓝鲸出水")[0].contains("怎么取现"));
    let again = first_snapshot(&database, sources(None, None)).await.unwrap().0;
    assert_eq!(finds(&fourth, "怎么蓝鲸出水"), finds(&again, "怎么蓝鲸出水"));
    // Both changes in one step, and both are undone in one.
    let away = BankChange {
        put: &[entry("b", "怎么销户")],
        remove_texts: &[
            name(TextKind::Template, "greeting.txt"),
            name(TextKind::Dictionary, "synonyms.txt"),
        ],
        ..BankChange::default()
    };
    change(&database, away).await.unwrap();
    let fifth = at(&bot, 5).await;
    assert_eq!(greeting(&fifth), greeting(&first));
    assert_eq!(fifth.dictionaries.synonyms, first.dictionaries.synonyms);
    assert!(finds(&fifth, "怎么销户")[0].contains("怎么销户"));
}

/// Entries are edited while dictionaries change the whole index, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_the_bank_is_not_lost_while_a_dictionary_is_taken_up() {
    const ROUNDS: u64 = 12;
    let place = TestDatabase::sqlite();
    let database = place.open().await;
    let (publisher, bot) = following(&database, sources(None, None)).await;
    for round in 0..ROUNDS {
        let words = dictionary("user.txt", &format!("蓝鲸{round}号"));
        put(&database, &[words]).await;
        // Without waiting: files may be read again meanwhile, too.
        let reloaded = publisher.clone();
        tokio::spawn(async move { reloaded.reload_files().await });
        let edit = BankChange {
            put: &[
                entry(&format!("e{round}"), &format!("第{round}条怎么办理")),
                entry("same", &format!("第{round}次改的问题")),
            ],
            ..BankChange::default()
        };
        change(&database, edit).await.unwrap();
    }
    let last = at(&bot, 2 * ROUNDS).await;
    let built = first_snapshot(&database, sources(None, None)).await.unwrap().0;
    assert_eq!(last.index.len(), usize::try_from(ROUNDS).unwrap() + 1);
    assert_eq!(last.dictionaries, built.dictionaries);
    for question in ["第3条怎么办理", "第11条怎么办理", "第11次改的问题", "蓝鲸11号"] {
        assert_eq!(finds(&last, question), finds(&built, question), "{question}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_text_in_the_database_is_no_outage() {
    let place = TestDatabase::sqlite();
    let database = place.open().await;
    // No command writes such a thing; a release of tomorrow might find it fine.
    let broken = [
        template("greeting.txt", "{% if %}"),
        template("of_tomorrow.txt", "x"),
        dictionary("synonyms.txt", "孤单"),
        dictionary("of_tomorrow.txt", "x"),
    ];
    put(&database, &broken).await;
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("reply")).unwrap();
    fs::write(folder.path().join("reply/greeting.txt"), "文件夹里的").unwrap();
    let dictionaries = folder.path().join("dict");
    fs::create_dir(&dictionaries).unwrap();
    let sources = sources(Some(folder.path().to_owned()), Some(dictionaries.clone()));
    let (publisher, bot) = following(&database, sources.clone()).await;
    let first = at(&bot, 1).await;
    assert_eq!(greeting(&first), "文件夹里的", "below it is a good one");
    assert!(first.dictionaries.synonyms.len() > 5, "the embedded ones");

    put(
        &database,
        &[
            template("greeting.txt", "数据库里的"),
            dictionary("synonyms.txt", "提现;取现"),
        ],
    )
    .await;
    let second = at(&bot, 2).await;
    assert_eq!(greeting(&second), "数据库里的");
    assert_eq!(second.dictionaries.synonyms, [["提现", "取现"]]);
    let worse = [
        template("greeting.txt", "{{ nobody }}"),
        template("empty.txt", "说点什么吧"),
        dictionary("synonyms.txt", "孤单"),
        dictionary("stopwords.txt", "蓝鲸"),
    ];
    put(&database, &worse).await;
    let third = at(&bot, 3).await;
    assert_eq!(greeting(&third), "数据库里的", "the last good one stays");
    assert_eq!(third.dictionaries.synonyms, [["提现", "取现"]]);
    assert_eq!(third.templates.render(&Empty {}).unwrap(), "说点什么吧");
    assert_eq!(third.dictionaries.stopwords, ["蓝鲸"], "what is good is used beside it");

    // A broken file is an error, and keeps no edit of the bank back.
    fs::write(dictionaries.join("contrast.txt"), "孤单").unwrap();
    let edit = BankChange {
        put: &[entry("a", "怎么开户")],
        put_texts: &[template("greeting.txt", "更新的")],
        ..BankChange::default()
    };
    change(&database, edit).await.unwrap();
    let fourth = at(&bot, 4).await;
    assert_eq!((greeting(&fourth).as_str(), fourth.index.len()), ("数据库里的", 1));
    fs::remove_file(dictionaries.join("contrast.txt")).unwrap();
    publisher.reload_files().await;
    assert_eq!(
        greeting(&bot.snapshot()),
        "更新的",
        "and is made up for when the file is right"
    );
}

#[test]
fn the_database_wins_over_the_folder_and_the_folder_over_what_is_embedded() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("user.txt"), "文件").unwrap();
    fs::write(folder.path().join("stopwords.txt"), "文件").unwrap();
    fs::write(folder.path().join("notes.txt"), "a note").unwrap();
    let sources = sources(None, Some(folder.path().to_owned()));
    let saved = |updated_at| StoredText {
        text: dictionary("user.txt", "数据库"),
        updated_at,
        updated_by: "王".to_owned(),
        revision: 1,
    };
    let layers = |saved: StoredText| sources.layers(TextKind::Dictionary, &[saved]).unwrap();
    let live = layers(saved(0));
    let places: Vec<_> = live
        .iter()
        .map(|text| (text.name.file.as_str(), text.live().place()))
        .collect();
    let expected = [
        ("user.txt", "database"),
        ("stopwords.txt", "folder"),
        ("synonyms.txt", "embedded"),
        ("contrast.txt", "embedded"),
        ("sensitive.txt", "embedded"),
    ];
    assert_eq!(places, expected);
    assert!(matches!(live[0].below(), Live::Folder(file) if file.content == Ok("文件".into())));
    let settled = sources.load_dictionaries(&[saved(0)], &[]).unwrap();
    let words: Vec<_> = settled.value.user.iter().map(|user| user.word.as_str()).collect();
    assert_eq!(
        (words, settled.value.stopwords),
        (vec!["数据库"], vec!["文件".to_owned()])
    );

    // A file hides behind the database when it is newer and says something else.
    let hides = |saved| layers(saved)[0].hidden_newer().is_some();
    assert!(hides(saved(0)) && !hides(saved(i64::MAX)));
    fs::write(folder.path().join("user.txt"), "数据库").unwrap();
    assert!(!hides(saved(0)));
    fs::remove_file(folder.path().join("user.txt")).unwrap();
    assert!(!hides(saved(0)));
}
