//! What must hold on SQLite, MariaDB and PostgreSQL alike beside the bank's contract in `questions`: texts come back as they
//! were, the schema is the same and is made once, stores of the daemon, and a server that is away, wrong or killed.
#![allow(clippy::unwrap_used, reason = "a helper that panics fails its test")]

use crate::support::daemon::{Daemon, PATIENCE, run, simulate};
use crate::support::database::{TestDatabase, on_every_database};
use crate::support::database_server::{CANARY, DatabaseServer, Kind, mariadb, postgres};
use crate::support::silent_proxy::SilentProxy;
use sqlx::Row;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Instant;
use wxfaq::bank::{Answer, Entry, EntryId};
use wxfaq::store::Log;
use wxfaq::store::api_key::{ApiKey, KeyScope, KeySecret, random_id};
use wxfaq::store::conversations::Follower;
use wxfaq::store::erasures::Erasures;
use wxfaq::store::feedback::{FeedbackRow, Word};
use wxfaq::store::sql::{Author, Database, EntryFeedback, OpenError, Questions, Revocation, WorkedOff};

on_every_database!(
    texts_come_back_as_they_were,
    many_processes_migrate_a_database_once,
    a_change_that_is_broken_off_leaves_nothing,
    an_api_key_is_kept_until_it_is_revoked_and_then_as_a_record,
    the_last_verdict_counts_once_and_a_comment_goes_with_it,
    feedback_of_two_instances_is_kept_whole,
    a_word_about_an_unknown_message_joins_what_was_said_last,
    what_is_kept_of_a_follower_goes_when_asked,
);

fn author() -> Author {
    Author {
        who: "编辑 😀".to_owned(),
        source: "test".to_owned(),
    }
}

fn entry(id: &str, answer: impl Into<String>) -> Entry {
    Entry::new(
        EntryId::parse(id).unwrap(),
        format!("问题 {id}？"),
        Answer::Text(answer.into()),
    )
}

async fn put(bank: &Questions, entries: &[Entry], revision: u64) -> u64 {
    bank.apply(entries, &[], &author(), 1, revision).await.unwrap()
}

fn sorted(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by(|a, b| a.id.cmp(&b.id));
    entries
}

async fn texts_come_back_as_they_were(place: TestDatabase) {
    let bank = place.open().await.questions();
    let awkward = [
        "",
        " ",
        "a ",
        "A",
        "a",
        "é",
        "e\u{301}",
        "ß",
        "ss",
        "😀𠮷",
        "'\"`\\%_?$1;--",
        "\u{feff}\n\t",
    ];
    let mut entries: Vec<Entry> = ["AA", "Aa", "a.a", "a-a", "a_a", "aA", "aa"]
        .iter()
        .enumerate()
        .map(|(n, id)| entry(id, format!("{}{}", awkward[n], awkward[n + 5])))
        .collect();
    for entry in &mut entries {
        entry.tags = awkward.map(str::to_owned).into();
        "e\u{301}\\😀' ".clone_into(&mut entry.category);
    }
    // Together far more than a server takes in one statement.
    for n in 0..12 {
        let mut long = entry(&format!("long{n:02}"), "😀".repeat(5_000));
        long.similar = (0..200).map(|m| format!("{m}{}", "𠮷".repeat(290))).collect();
        entries.push(long);
    }
    let mut entries = sorted(entries);
    assert_eq!(put(&bank, &entries, 0).await, 1);
    assert_eq!(bank.load().await.unwrap(), (1, entries.clone()));
    // One of them, and none of those that are spelt nearly so.
    let only = [EntryId::parse("aA").unwrap()];
    assert_eq!(bank.apply(&[], &only, &author(), 1, 1).await.unwrap(), 2);
    entries.retain(|entry| entry.id != only[0]);
    assert_eq!(bank.load().await.unwrap(), (2, entries));
    assert_eq!(bank.changes_since(1).await.unwrap().unwrap().removed, only);
}

async fn many_processes_migrate_a_database_once(place: TestDatabase) {
    let mut opening = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let url = place.url().to_owned();
        opening.spawn(async move { Database::open(&url).await.map(|database| database.questions()) });
    }
    for opened in opening.join_all().await {
        assert_eq!(opened.unwrap().revision().await.unwrap(), 0);
    }
    let mut connection = place.connect().await;
    let migrations = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/sql/migrations/sqlite");
    let migrations = i64::try_from(std::fs::read_dir(migrations).unwrap().count()).unwrap();
    for (table, rows) in [("_sqlx_migrations", migrations), ("bank_revision", 1)] {
        let count = format!("SELECT COUNT(*) AS found FROM {table}");
        let row = sqlx::query(sqlx::AssertSqlSafe(count))
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(row.get::<i64, _>("found"), rows, "{table}");
    }
}

async fn a_change_that_is_broken_off_leaves_nothing(place: TestDatabase) {
    const ROUNDS: u32 = 6;
    let bank = place.open().await.questions();
    let author = author();
    let rows = |answer: u32| -> Vec<Entry> {
        (0..2_000)
            .map(|n| entry(&format!("n{n}"), answer.to_string()))
            .collect()
    };
    let begin = Instant::now();
    put(&bank, &rows(0), 0).await;
    let whole = begin.elapsed();
    for round in 1..=ROUNDS {
        let (revision, entries) = bank.load().await.unwrap();
        let answers: BTreeSet<_> = entries.iter().map(|entry| entry.answer.content()).collect();
        assert!(
            entries.len() == 2_000 && answers.len() == 1,
            "half a change: {answers:?}"
        );
        let rows = rows(round);
        let change = bank.apply(&rows, &[], &author, 1, revision);
        let _ = tokio::time::timeout(whole * round / 10, change).await;
    }
    // The last of them may still be on its way.
    let begin = Instant::now();
    let revision = loop {
        let revision = bank.revision().await.unwrap();
        let done = bank.apply(&rows(99), &[], &author, 1, revision).await;
        assert!(done.is_ok() || begin.elapsed() < PATIENCE, "{done:?}");
        if let Ok(revision) = done {
            break revision;
        }
    };
    assert!(revision < u64::from(ROUNDS) + 2, "none was broken off");
    assert_eq!(bank.load().await.unwrap(), (revision, sorted(rows(99))));
}

async fn an_api_key_is_kept_until_it_is_revoked_and_then_as_a_record(place: TestDatabase) {
    let keys = place.open().await.api_keys();
    assert_eq!(keys.all().await.unwrap(), []);
    let secret = KeySecret::random().unwrap();
    let mut key = ApiKey {
        id: random_id().unwrap(),
        name: "小程序 😀".to_owned(),
        hash: secret.hash(),
        scopes: [KeyScope::Search, KeyScope::Trace].into(),
        per_minute: 60,
        created_at: 1,
        created_by: "operator".to_owned(),
        revoked: None,
    };
    keys.add(&key).await.unwrap();
    let again = place.open().await.api_keys();
    assert_eq!(again.all().await.unwrap(), [key.clone()]);
    let taken = keys.add(&key).await.unwrap_err().to_string();
    assert!(taken.ends_with("there is a row with that key already"), "{taken}");
    assert_eq!(keys.revoke("k0", "operator", 2).await.unwrap(), Revocation::Unknown);
    assert_eq!(keys.revoke(&key.id, "operator", 2).await.unwrap(), Revocation::Revoked);
    let revoked_again = keys.revoke(&key.id, "other", 3).await.unwrap();
    assert_eq!(revoked_again, Revocation::AlreadyRevoked);
    key.revoked = Some((2, "operator".to_owned()));
    assert_eq!(again.all().await.unwrap(), [key]);
}

fn row(entry: &str, pseudonym: &str, word: Word) -> FeedbackRow {
    FeedbackRow {
        follower: follower(pseudonym),
        entry: entry.into(),
        message: "message:1".into(),
        score: Some(9_000),
        word,
        given_at: 1_800_000_000,
    }
}

fn follower(pseudonym: &str) -> Follower {
    Follower {
        account: "demo".into(),
        pseudonym: pseudonym.into(),
    }
}

async fn the_last_verdict_counts_once_and_a_comment_goes_with_it(place: TestDatabase) {
    let database = place.open().await;
    let feedback = database.feedback();
    let comment = || Word::Comment("费用'写错了\n\0请改😀".into());
    let words = [
        row("a", "p1", Word::Useful),
        row("a", "p1", Word::Useless),
        row("a", "p1", comment()),
        row("a", "p2", Word::Useful),
        row("a", "p3", comment()),
        row("A", "p1", Word::Useful),
    ];
    feedback.write(&words).await.unwrap();
    // A message handled twice.
    feedback.write(&words[2..]).await.unwrap();
    put(&database.questions(), &[entry("a", "1")], 0).await;
    let found = feedback.by_entry(None).await.unwrap();
    let counts = |entry: &EntryFeedback| (entry.entry.clone(), entry.useful, entry.useless, entry.comments);
    assert_eq!(
        found.iter().map(counts).collect::<Vec<_>>(),
        [("a".to_owned(), 1, 2, 2), ("A".to_owned(), 1, 0, 0)]
    );
    assert!((found[0].rate() - 1.0 / 3.0).abs() < 1e-9);
    assert_eq!(
        (found[0].question.as_deref(), &found[1].question),
        (Some("问题 a？"), &None)
    );
    assert_eq!(feedback.by_entry(Some("A")).await.unwrap().len(), 1);
    let words = feedback.of_entry("a", 10).await.unwrap();
    assert_eq!(words.len(), 3);
    let said: Vec<_> = words.iter().filter(|word| !word.comment.is_empty()).collect();
    let is_said = |comment: &str| comment == "费用'写错了\n请改😀";
    assert!(
        said.len() == 2 && said.iter().all(|word| !word.useful && is_said(&word.comment)),
        "{said:?}"
    );
    assert_eq!(words[0].score, Some(0.9));
}

async fn a_word_about_an_unknown_message_joins_what_was_said_last(place: TestDatabase) {
    let database = place.open().await;
    let feedback = database.feedback();
    let at = |message: &str, given_at, row: FeedbackRow| FeedbackRow {
        message: message.into(),
        given_at,
        ..row
    };
    let rows = [
        at("message:1", 1, row("a", "p1", Word::Useless)),
        at("message:2", 2, row("a", "p1", Word::Useless)),
        at("message:3", 3, row("b", "p1", Word::Useless)),
        // Tapped after other answers: which message it was, nobody knows any more.
        at("", 4, row("a", "p1", Word::Useful)),
        at("", 5, row("a", "p1", Word::Comment("原来如此".into()))),
        at("", 6, row("a", "p2", Word::Useful)),
        at("", 7, row("a", "p2", Word::Useless)),
    ];
    feedback.write(&rows).await.unwrap();
    let words = feedback.of_entry("a", 10).await.unwrap();
    let said: Vec<_> = words
        .iter()
        .map(|word| (word.given_at, word.useful, &*word.comment))
        .collect();
    assert_eq!(said, [(7, false, ""), (5, true, "原来如此"), (1, false, "")]);
}

/// Both write about the same answers, one forwards and one backwards, and try again as the daemon does.
async fn feedback_of_two_instances_is_kept_whole(place: TestDatabase) {
    let mut rows: Vec<FeedbackRow> = (0..40).map(|n| row("a", &format!("p{n}"), Word::Useful)).collect();
    let mut writing = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let (feedback, words) = (place.open().await.feedback(), rows.clone());
        writing.spawn(async move {
            let begin = Instant::now();
            for _ in 0..5 {
                while let Err(error) = feedback.write(&words).await {
                    assert!(begin.elapsed() < PATIENCE, "{error}");
                }
            }
        });
        rows.reverse();
    }
    writing.join_all().await;
    let found = place.open().await.feedback().by_entry(None).await.unwrap();
    assert_eq!((found.len(), found[0].useful), (1, 40));
}

async fn what_is_kept_of_a_follower_goes_when_asked(place: TestDatabase) {
    let database = place.open().await;
    let (feedback, queue) = (database.feedback(), database.erasures());
    let said = |pseudonym| row("a", pseudonym, Word::Comment("不对😀".into()));
    feedback.write(&[said("p1"), said("P1")]).await.unwrap();
    let kept = queue.rows_of(&follower("p1")).await.unwrap();
    let kept = &kept["feedback"];
    assert_eq!(kept.len(), 1, "and not another's whose name is spelt nearly so");
    for (column, value) in [
        ("comment", "不对😀"),
        ("useful", "0"),
        ("given_at", "1800000000"),
        ("pseudonym", "p1"),
    ] {
        assert_eq!(kept[0][column], value);
    }
    let begin = 1_800_000_100;
    for later in [0, 5] {
        queue.ask(&follower("p1"), begin + later);
        queue.write_down().await.unwrap();
    }
    let again = place.open().await.erasures();
    assert_eq!(again.queued().await.unwrap()[0].asked_at, begin + 5);
    let done = |followers, rows| WorkedOff { followers, rows };
    assert_eq!(again.work_off(begin + 10).await.unwrap(), done(1, 1));
    feedback.write(&[said("p1")]).await.unwrap();
    assert_eq!(
        queue.work_off(begin + 35).await.unwrap(),
        done(1, 1),
        "what came late goes too"
    );
    assert_eq!(queue.work_off(begin + 36).await.unwrap(), done(0, 0));
    assert_eq!(
        again.erase_now(&[follower("P2"), follower("p3")], begin).await.unwrap(),
        0
    );
    assert!(again.purge().await.unwrap());
    let by_hand = queue.queued().await.unwrap();
    assert!(
        by_hand.len() == 2 && by_hand.iter().all(|one| one.by_hand),
        "{by_hand:?}"
    );
    assert!(queue.rows_of(&follower("p1")).await.unwrap().is_empty());
    assert_eq!(queue.rows_of(&follower("P1")).await.unwrap()["feedback"].len(), 1);
}

/// Table, column, whether it may be NULL.
type Columns = BTreeSet<(String, String, bool)>;

async fn columns(place: &TestDatabase) -> Columns {
    place.open().await.close().await;
    let select = match place.url().split(':').next() {
        Some("sqlite") => {
            "SELECT tables.name AS t, columns.name AS c, CASE columns.\"notnull\" WHEN 0 THEN 'YES' ELSE 'NO' END AS n \
             FROM sqlite_schema AS tables JOIN pragma_table_info(tables.name) AS columns WHERE tables.type = 'table'"
        }
        Some("mysql") => {
            "SELECT table_name AS t, column_name AS c, is_nullable AS n FROM information_schema.columns \
             WHERE table_schema = DATABASE()"
        }
        _ => {
            "SELECT table_name::TEXT AS t, column_name::TEXT AS c, is_nullable::TEXT AS n \
             FROM information_schema.columns WHERE table_schema = 'public'"
        }
    };
    let rows = sqlx::query(select).fetch_all(&mut place.connect().await).await.unwrap();
    let column = |row: &sqlx::any::AnyRow| (row.get("t"), row.get("c"), row.get::<String, _>("n") == "YES");
    rows.iter()
        .map(column)
        .filter(|(table, ..): &(String, String, bool)| table != "_sqlx_migrations")
        .collect()
}

#[tokio::test]
async fn the_schema_is_the_same_everywhere() {
    let expected = columns(&TestDatabase::sqlite()).await;
    assert!(expected.len() > 40, "{expected:?}");
    assert_eq!(columns(&TestDatabase::mariadb().await).await, expected);
    assert_eq!(columns(&TestDatabase::postgres().await).await, expected);
}

#[tokio::test]
async fn an_error_names_no_line_of_the_servers_own_source() {
    let place = TestDatabase::postgres().await;
    let rules = place.open().await.rules();
    place.tamper("DROP TABLE reply_rule").await;
    let error = rules.load().await.unwrap_err().to_string();
    assert!(error.ends_with("relation \"reply_rule\" does not exist"), "{error}");
    let url = postgres().await.database().await.replace(CANARY, "another");
    let refused = Database::open(&url).await.unwrap_err().to_string();
    assert!(
        refused.ends_with("password authentication failed for user \"wxfaq_test\""),
        "{refused}"
    );
}

#[tokio::test]
async fn a_migration_that_was_interrupted_is_run_again() {
    let place = TestDatabase::mariadb().await;
    let database = place.open().await;
    put(&database.questions(), &[entry("a", "1")], 0).await;
    // As if the first one had been interrupted here, with part of its tables made.
    for lost in ["bank_revision", "history"] {
        place
            .tamper(&format!(
                "DROP TABLE {lost}; DROP TABLE reply_rule; DROP TABLE feedback; DROP TABLE erasure; DROP TABLE api_key; \
                 DELETE FROM _sqlx_migrations WHERE version > 1; UPDATE _sqlx_migrations SET success = FALSE"
            ))
            .await;
        let bank = place.open().await.questions();
        assert_eq!(bank.load().await.unwrap().1, [entry("a", "1")]);
        let revision = bank.revision().await.unwrap();
        assert_eq!(put(&bank, &[entry("b", "1")], revision).await, revision + 1);
        bank.apply(&[], &[EntryId::parse("b").unwrap()], &author(), 1, revision + 1)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_database_that_is_not_there_is_said_with_what_makes_it() {
    for server in [mariadb().await, postgres().await] {
        let url = server.url("Not-there");
        for refused in [Database::open(&url).await, Database::open_existing(&url).await] {
            let error = refused.unwrap_err();
            let OpenError::NoDatabase { name, remedy } = &error else {
                panic!("{error}")
            };
            assert!(name == "Not-there" && error.to_string().contains(remedy), "{error}");
            assert!(!format!("{error} {error:?}").contains(CANARY));
        }
        let Err(OpenError::NoDatabase { remedy, .. }) = Database::open(&url).await else {
            panic!()
        };
        for statement in remedy.split_inclusive(';') {
            server.administer(statement).await;
        }
        let refused = Database::open_existing(&url).await.unwrap_err().to_string();
        assert!(
            refused.starts_with("there is no question bank in the database Not-there on the server;"),
            "{refused}"
        );
        Database::open(&url).await.unwrap().close().await;
        Database::open_existing(&url).await.unwrap();
    }
}

#[tokio::test]
async fn the_password_is_shown_nowhere() {
    for server in [mariadb().await, postgres().await] {
        let url = server.database().await;
        let database = Database::open(&url).await.unwrap();
        let mut shown = format!("{database:?} {:?}", database.questions());
        let elsewhere = crate::support::daemon::free_port();
        let port = format!(":{}/", server.port());
        for wrong in [
            url.replace(CANARY, &format!("{CANARY}x")),
            url.replace(&port, &format!(":{elsewhere}/")),
            url.replace("127.0.0.1", "no-such-host.invalid"),
            format!("{url}?password={CANARY}"),
            url.replace("wxfaq_test", "nobody"),
        ] {
            let error = Database::open(&wrong).await.unwrap_err();
            assert!(!error.to_string().is_empty());
            let _ = write!(shown, "\n{error} {error:?}");
        }
        assert!(!shown.contains(CANARY), "{shown}");
        // Also where everything is logged.
        let daemon = Daemon::start(&format!("[log]\nlevel = \"trace\"\n[database]\nurl = \"{url}\""));
        let checked = run(daemon.folder.path(), &["--config", "wxfaq.toml", "check", "--offline"]);
        let said = String::from_utf8([checked.stdout, checked.stderr].concat()).unwrap();
        assert!(said.contains(server.version_prefix()), "{said}");
        assert!(!said.contains(CANARY) && !daemon.log().contains(CANARY), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_outlives_its_database_and_takes_it_up_again() {
    for kind in [Kind::MariaDb, Kind::Postgres] {
        let mut server = DatabaseServer::start(kind).await;
        let url = server.database().await;
        let database = Database::open(&url).await.unwrap();
        let daemon = Daemon::start(&format!("[database]\nurl = \"{url}\"\npoll_ms = 100"));
        let answers = |text| simulate(&daemon, &["--account", "safe", text]);
        assert!(answers("科创板开户要什么条件").contains("50万"));
        server.kill();
        daemon.wait_until("it has noticed", || daemon.log().contains("database cannot be read"));
        assert!(answers("科创板开户要什么条件").contains("50万"));
        let gone = database.questions().load().await.unwrap_err().to_string();
        assert!(gone.contains("is unavailable: "), "{gone}");

        server.restart().await;
        daemon.wait_until("it can be read again", || {
            daemon.log().contains("database can be read again")
        });
        let bank = database.questions();
        let (revision, entries) = bank.load().await.unwrap();
        assert!(!entries.is_empty(), "what was acknowledged is there");
        let new = Entry::new(
            EntryId::parse("new").unwrap(),
            "蓝鲸权限怎么申请".to_owned(),
            Answer::Text("填表四十二号".to_owned()),
        );
        put(&bank, &[new], revision).await;
        daemon.wait_until("the change arrives", || {
            answers("蓝鲸权限怎么申请").contains("四十二号")
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_silent_holds_nobody_up_and_is_taken_up_again() {
    tokio::join!(falls_silent(mariadb().await), falls_silent(postgres().await));
}

/// Before the promised five seconds are over: the look gives up sooner than other calls.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_says_soon_that_its_database_has_fallen_silent() {
    for server in [mariadb().await, postgres().await] {
        // Begins every transaction that reads.
        let proxy = SilentProxy::start(server.port(), b"ISOLATION LEVEL REPEATABLE READ").await;
        let url = server.database().await;
        let url = url.replace(&format!(":{}/", server.port()), &format!(":{}/", proxy.port()));
        let daemon = Daemon::start(&format!("[database]\nurl = \"{url}\""));
        proxy.swallow(true);
        daemon.wait_until("it has noticed", || daemon.log().contains("database cannot be read"));
        assert!(daemon.log().contains("no answer within 2.5s"), "{}", daemon.log());
        assert!(daemon.ops("/readyz").unwrap().contains("degraded"));
        proxy.swallow(false);
        daemon.wait_until("it can be read again", || {
            daemon.log().contains("database can be read again")
        });
    }
}

async fn falls_silent(server: &DatabaseServer) {
    let proxy = SilentProxy::start(server.port(), b"FROM bank_revision").await;
    let url = server.database().await;
    let url = url.replace(&format!(":{}/", server.port()), &format!(":{}/", proxy.port()));
    let bank = Database::open(&url).await.unwrap().questions();
    proxy.swallow(true);
    // More than there are connections.
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let bank = bank.clone();
        asking.spawn(async move { bank.revision().await });
    }
    let begin = Instant::now();
    let answers = asking.join_all().await;
    assert!(begin.elapsed() < PATIENCE);
    let mut said: Vec<String> = answers
        .into_iter()
        .map(|answer| answer.unwrap_err().to_string())
        .collect();
    said.sort();
    assert!(said[0].ends_with("no answer within 10 seconds"), "{said:?}");
    assert!(said[4].ends_with("no connection was to be had in time"), "{said:?}");
    proxy.swallow(false);
    while let Err(error) = bank.revision().await {
        assert!(begin.elapsed() < PATIENCE, "not taken up again: {error}");
    }
}
