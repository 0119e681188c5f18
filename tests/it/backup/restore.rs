//! A backup in a bank's place: revisions, history, revocations and erasures across it, and the daemon that follows.

use super::{BY, author, backup_of, filled, lines, put_into};
use crate::support::daemon::{Daemon, run, simulate};
use crate::support::database::{TestDatabase, on_every_database};
use std::collections::BTreeSet;
use std::io::Cursor;
use wxfaq::bank::history::{Restoration, Subject, Thing};
use wxfaq::bank::{Answer, Entry, EntryId};
use wxfaq::store::StoreError;
use wxfaq::store::api_key::{ApiKey, KeyScope, KeySecret};
use wxfaq::store::conversations::Follower;
use wxfaq::store::erasures::Erasures as _;
use wxfaq::store::sql::{BackupError, BankChange, Database, Restorer, Target};

on_every_database!(
    a_bank_that_was_put_back_is_another_one,
    what_was_shown_before_a_restore_overwrites_nothing_after_it,
    a_restore_takes_no_revocation_back_and_forgets_no_erasure,
    an_erasure_in_the_queues_of_both_takes_what_either_would_take,
    a_restore_is_in_the_history,
    a_restore_stays_in_the_history_when_another_backup_is_restored,
    a_restore_of_which_no_line_tells_is_known_by_where_the_bank_began_anew,
    restores_follow_one_another
);

/// A bank at revision 2, and a backup of it.
async fn backed_up(place: &TestDatabase) -> (Database, Vec<u8>) {
    let database = place.open().await;
    filled(&database).await;
    let taken = backup_of(&database).await;
    (database, taken)
}

/// The first edit after `revision`, of the entry e1.
async fn edit_after(database: &Database, revision: u64) {
    let entry = Entry::new(
        EntryId::parse("e1").unwrap(),
        format!("新{revision}"),
        Answer::Text("新".into()),
    );
    let questions = database.questions();
    questions.apply(&[entry], &[], &author(), 3, revision).await.unwrap();
}

async fn a_bank_that_was_put_back_is_another_one(place: TestDatabase) {
    let database = place.open().await;
    filled(&database).await;
    let known = database.questions().edition().await.unwrap();
    let since = database.questions().changes_after(&known).await.unwrap();
    assert_eq!(since.map(|changes| changes.revision), Some(2));
    let taken = backup_of(&database).await;
    let open = || Ok(Cursor::new(&taken));
    let put_back = async || database.restore(open, Target::Any, BY).await.unwrap();
    put_back().await;
    let found = database.questions().edition().await.unwrap();
    assert_eq!((known.revision, found.revision), (2, 3));
    assert_ne!(found.bank, known.bank);
    assert_eq!(database.questions().changes_after(&known).await.unwrap(), None);
    assert_eq!(database.load_bank().await.unwrap().id, found.bank);
    put_back().await;
    assert_ne!(database.questions().edition().await.unwrap().bank, found.bank);
}

async fn what_was_shown_before_a_restore_overwrites_nothing_after_it(place: TestDatabase) {
    let (database, taken) = backed_up(&place).await;
    let entry = |id: &str| {
        Entry::new(
            EntryId::parse(id).unwrap(),
            format!("新{id}"),
            Answer::Text("新".into()),
        )
    };
    let put = async |database: &Database, id: &str, made_from| {
        let change = BankChange {
            put: &[entry(id)],
            made_from: Some(made_from),
            ..BankChange::default()
        };
        let looked = database
            .look_for_overtaking(change)
            .await
            .map_err(|error| error.to_string());
        let done = database.edit(change, &author(), 9, str::to_owned).await;
        assert_eq!(looked.is_ok(), done.is_ok());
        done.map_err(|error| error.to_string())
    };
    // An editor was shown the bank at 4.
    assert_eq!(put(&database, "e1", 2).await, Ok(3));
    assert_eq!(put(&database, "e2", 3).await, Ok(4));
    assert_eq!(put_into(&database, &taken, Target::Any).await, 5);
    let mut gaps = Vec::new();
    for asked in 0..6 {
        gaps.push(database.revisions().gap_at(asked).await.unwrap());
    }
    assert_eq!(gaps, [None, None, None, Some((2, 5)), Some((2, 5)), None]);
    for shown in 1..5 {
        let refused = put(&database, "e1", shown).await.unwrap_err();
        let expected = format!(
            "nothing was written: a backup has been restored since revision {shown} (the bank began anew at revision 5); \
             look at it again"
        );
        assert_eq!(refused, expected);
    }
    // Another one is shown entries and texts as they are now.
    let id = EntryId::parse("e1").unwrap();
    let stored = database.questions().find(&id).await.unwrap().unwrap();
    assert_eq!(stored.revision, 5);
    assert_eq!(database.texts().load().await.unwrap().1[0].revision, 5);
    assert_eq!(put(&database, "e1", stored.revision).await, Ok(6));
    assert_eq!(database.questions().find(&id).await.unwrap().unwrap().revision, 6);
    // What is new was shown to nobody.
    assert_eq!(put(&database, "e-new", 0).await, Ok(7));
    assert!(
        put(&database, "e3", 0)
            .await
            .unwrap_err()
            .contains("it is there already")
    );

    // In a new database it is another bank as well.
    let elsewhere = TestDatabase::sqlite();
    let elsewhere = elsewhere.open().await;
    assert_eq!(put_into(&elsewhere, &taken, Target::Empty).await, 3);
    assert!(put(&elsewhere, "e1", 2).await.is_err());
    assert_eq!(put(&elsewhere, "e1", 3).await, Ok(4));
}

async fn a_restore_takes_no_revocation_back_and_forgets_no_erasure(place: TestDatabase) {
    let database = place.open().await;
    filled(&database).await;
    let keys = database.api_keys();
    let without_keys = backup_of(&database).await;
    for id in ["k1", "k2"] {
        let key = ApiKey {
            id: id.to_owned(),
            name: "小程序".to_owned(),
            hash: KeySecret::random().unwrap().hash(),
            scopes: [KeyScope::Search].into(),
            per_minute: 60,
            created_at: 1,
            created_by: "x".to_owned(),
            revoked: None,
        };
        keys.add(&key).await.unwrap();
    }
    let taken = backup_of(&database).await;
    keys.revoke("k1", "管理员", 7).await.unwrap();
    let follower = Follower {
        account: "a".into(),
        pseudonym: "p".into(),
    };
    let erasures = database.erasures();
    assert_eq!(erasures.erase_now(std::slice::from_ref(&follower), 8).await.unwrap(), 1);
    // A backup that does not know the key is no way round.
    for taken in [&without_keys, &taken] {
        put_into(&database, taken, Target::Any).await;
    }

    let revoked = keys.all().await.unwrap().into_iter().map(|key| (key.id, key.revoked));
    let expected = [
        ("k1".to_owned(), Some((7, "管理员".to_owned()))),
        ("k2".to_owned(), None),
    ];
    assert_eq!(revoked.collect::<Vec<_>>(), expected);
    assert!(
        !erasures.rows_of(&follower).await.unwrap().is_empty(),
        "the backup has them"
    );
    let worked = erasures.work_off(9).await.unwrap();
    assert_eq!(
        (worked.followers, worked.rows),
        (1, 1),
        "though it is younger than it must be to be repeated"
    );
    assert!(erasures.rows_of(&follower).await.unwrap().is_empty());
}

async fn an_erasure_in_the_queues_of_both_takes_what_either_would_take(place: TestDatabase) {
    let database = place.open().await;
    filled(&database).await;
    let follower = |pseudonym: &str| Follower {
        account: "a".into(),
        pseudonym: pseudonym.into(),
    };
    // The backup is of another database, where both left: one later than an operator asked here, one earlier than here.
    let elsewhere = TestDatabase::sqlite();
    let elsewhere = elsewhere.open().await;
    put_into(&elsewhere, &backup_of(&database).await, Target::Empty).await;
    let leave = async |database: &Database, pseudonym: &str, at| {
        let erasures = database.erasures();
        erasures.ask(&follower(pseudonym), at);
        erasures.write_down().await.unwrap();
    };
    leave(&elsewhere, "p", 20).await;
    leave(&elsewhere, "q", 6).await;
    leave(&elsewhere, "s", 7).await;
    let taken = backup_of(&elsewhere).await;
    database.erasures().erase_now(&[follower("p")], 8).await.unwrap();
    leave(&database, "q", 9).await;

    put_into(&database, &taken, Target::Any).await;
    let queued = database.erasures().queued().await.unwrap();
    let queued: Vec<_> = queued
        .iter()
        .map(|erasure| (erasure.follower.pseudonym.as_str(), erasure.asked_at, erasure.by_hand))
        .collect();
    assert_eq!(queued, [("p", 20, true), ("q", 9, false), ("s", 7, false)]);
}

async fn a_restore_is_in_the_history(place: TestDatabase) {
    let (database, taken) = backed_up(&place).await;
    let gaps = async |until: u64| {
        let mut gaps = Vec::new();
        for asked in 3..=until {
            gaps.push(database.revisions().gap_at(asked).await.unwrap());
        }
        gaps
    };
    edit_after(&database, 2).await;
    assert_eq!(put_into(&database, &taken, Target::Any).await, 4);
    let last = database.revisions().last(None, 1).await.unwrap().remove(0);
    let ends_with = String::from_utf8(taken.clone())
        .unwrap()
        .lines()
        .last()
        .unwrap()
        .to_owned();
    let restoration = last.restoration().unwrap();
    assert!(ends_with.contains(&restoration.sha256), "{ends_with}");
    let expected = Restoration {
        file: BY.file.to_owned(),
        sha256: restoration.sha256.clone(),
        taken_at: 1_795_665_600,
        from: 2,
        replaced: 3,
    };
    assert_eq!(restoration, expected);
    assert_eq!(
        (
            last.revision,
            last.changed_at,
            last.changed_by.as_str(),
            last.source.as_str()
        ),
        (4, BY.now, BY.who, "restore")
    );

    // The same once more, whether or not somebody has edited it meanwhile: what it was at 4 is known.
    edit_after(&database, 4).await;
    assert_eq!(put_into(&database, &taken, Target::Any).await, 6);
    assert_eq!(put_into(&database, &taken, Target::Any).await, 7);
    let restored = database.revisions().last(Some(&Restoration::thing()), 9).await.unwrap();
    let revisions = restored.iter().map(|line| line.revision);
    assert_eq!(revisions.collect::<Vec<_>>(), [7, 6, 4]);
    assert_eq!(gaps(7).await, [Some((2, 4)), None, Some((2, 6)), None, None]);
    // A backup of what was put back has its history, and what is edited then is known as well.
    let again = backup_of(&database).await;
    edit_after(&database, 7).await;
    assert_eq!(put_into(&database, &again, Target::Any).await, 9);
    edit_after(&database, 9).await;
    let before = [Some((2, 4)), None, Some((2, 6)), None, None];
    assert_eq!(gaps(10).await, [&before[..], &[Some((7, 9)), None, None]].concat());
    // It is nothing that could be changed back.
    let (_, changed) = database.revisions().changed_after(2).await.unwrap();
    let e1 = Thing::new(Subject::Entry, "e1");
    assert_eq!(changed.into_keys().collect::<Vec<_>>(), [e1]);
}

/// The lines of restores: revision, name, who.
async fn restores(database: &Database) -> Vec<(u64, String, String)> {
    let lines = database
        .revisions()
        .last(Some(&Restoration::thing()), 99)
        .await
        .unwrap();
    let named = lines
        .into_iter()
        .map(|line| (line.revision, line.thing.id, line.changed_by));
    named.collect()
}

async fn a_restore_stays_in_the_history_when_another_backup_is_restored(place: TestDatabase) {
    let (database, first) = backed_up(&place).await;
    edit_after(&database, 2).await;
    let second = backup_of(&database).await;
    let put = async |database: &Database, taken: &[u8], who| {
        let by = Restorer { who, ..BY };
        let restored = database.restore(|| Ok(Cursor::new(taken)), Target::Any, by).await;
        restored.unwrap().revision
    };
    let line = |revision, id: &str, who: &str| (revision, id.to_owned(), who.to_owned());
    assert_eq!(put(&database, &first, "王").await, 4);
    assert_eq!(put(&database, &second, "李").await, 5);
    assert_eq!(
        restores(&database).await,
        [line(5, "restored", "李"), line(4, "replaced", "王")]
    );
    // What the bank was at 3 is in the second backup, at 4 it was another one.
    let gaps = database.revisions();
    assert_eq!(gaps.gap_at(3).await.unwrap(), None);
    assert_eq!(gaps.gap_at(4).await.unwrap(), Some((3, 5)));
    assert_eq!(put(&database, &first, "张").await, 6);
    let expected = [
        line(6, "restored", "张"),
        line(5, "replaced", "李"),
        line(4, "restored", "王"),
    ];
    assert_eq!(restores(&database).await, expected);
    assert_eq!(gaps.gap_at(4).await.unwrap(), None);
    assert_eq!(gaps.gap_at(5).await.unwrap(), Some((2, 6)));

    // Another database, whose restores have come to the same revisions.
    let elsewhere = TestDatabase::sqlite();
    let elsewhere = elsewhere.open().await;
    assert_eq!(put(&elsewhere, &second, "赵").await, 4);
    assert_eq!(put(&elsewhere, &first, "钱").await, 5);
    let third = backup_of(&elsewhere).await;
    assert_eq!(put(&database, &third, "孙").await, 7);
    let expected = [
        line(7, "restored", "孙"),
        line(6, "replaced", "张"),
        line(5, "replaced", "李"),
        line(5, "restored", "钱"),
        line(4, "replaced", "赵"),
        line(4, "replaced.2", "王"),
    ];
    assert_eq!(restores(&database).await, expected);
    // The history of the third backup is what is known now.
    assert_eq!(gaps.gap_at(5).await.unwrap(), None);
    assert_eq!(gaps.gap_at(4).await.unwrap(), Some((2, 5)));
    assert_eq!(gaps.gap_at(6).await.unwrap(), Some((5, 7)));
}

async fn a_restore_of_which_no_line_tells_is_known_by_where_the_bank_began_anew(place: TestDatabase) {
    let (database, taken) = backed_up(&place).await;
    edit_after(&database, 2).await;
    assert_eq!(put_into(&database, &taken, Target::Any).await, 4);
    place.tamper("DELETE FROM history WHERE subject = 'bank'").await;
    let revisions = database.revisions();
    for (asked, expected) in [(1, None), (2, None), (3, Some((2, 4))), (4, None), (5, None)] {
        assert_eq!(revisions.gap_at(asked).await.unwrap(), expected, "{asked}");
    }
}

async fn restores_follow_one_another(place: TestDatabase) {
    let (database, taken) = backed_up(&place).await;
    let mut at_once = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (database, taken) = (place.open().await, taken.clone());
        at_once.spawn(async move { database.restore(|| Ok(Cursor::new(&taken)), Target::Any, BY).await });
    }
    let mut revisions = BTreeSet::new();
    while let Some(done) = at_once.join_next().await {
        match done.unwrap() {
            Ok(restored) => assert!(revisions.insert(restored.revision), "{restored:?}"),
            // Who waits for long is told to try again.
            Err(BackupError::Store(StoreError::Busy { .. })) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(revisions.last().copied(), database.questions().revision().await.ok());
    let told: BTreeSet<u64> = restores(&database).await.into_iter().map(|line| line.0).collect();
    assert_eq!(told, revisions);
    assert_eq!(lines(&backup_of(&database).await), lines(&taken));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_writes_during_a_restore_is_no_outage() {
    let place = TestDatabase::postgres().await;
    let (_, taken) = backed_up(&place).await;
    let place = TestDatabase::postgres().await;
    let database = place.open().await;
    let mut other = place.connect().await;
    let insert = "BEGIN; INSERT INTO history (revision, subject, subject_id, operation, value_before, value_after, changed_at, \
                  changed_by, source) VALUES (1, 'entry', 'e1', 'put', NULL, '{}', 1, 'x', 'x')";
    sqlx::raw_sql(insert).execute(&mut other).await.unwrap();
    let restoring = tokio::spawn(async move { database.restore(|| Ok(Cursor::new(&taken)), Target::Any, BY).await });
    let mut watch = place.connect().await;
    let waits = "SELECT COUNT(*) FROM pg_locks JOIN pg_stat_activity USING (pid) \
                 WHERE NOT granted AND datname = current_database()";
    // Until it has come to that row.
    loop {
        let waiting: i64 = sqlx::query_scalar(waits).fetch_one(&mut watch).await.unwrap();
        if waiting > 0 {
            break;
        }
        assert!(!restoring.is_finished(), "{:?}", restoring.await);
        tokio::task::yield_now().await;
    }
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    let refused = restoring.await.unwrap();
    assert!(
        matches!(refused, Err(BackupError::Store(StoreError::Busy { .. }))),
        "{refused:?}"
    );
}

#[test]
fn a_running_daemon_takes_up_a_backup() {
    let daemon = Daemon::start("[database]\npoll_ms = 100");
    let folder = daemon.folder.path();
    let did = |arguments: &[&str]| {
        let done = run(folder, &[&["--config", "wxfaq.toml"], arguments].concat());
        assert!(done.status.success(), "{arguments:?}: {done:?}");
    };
    let edited = |answer: &str| {
        let line = format!(r#"{{"id":"whale","question":"蓝鲸权限怎么申请","answer":"{answer}"}}"#);
        std::fs::write(daemon.path("whale.jsonl"), line).unwrap();
        did(&["entry", "put", "whale.jsonl"]);
    };
    let says = |answer: &str| {
        daemon.wait_until(answer, || {
            simulate(&daemon, &["--account", "plain", "蓝鲸权限怎么申请"]).contains(answer)
        });
    };
    did(&["backup", "before.backup"]);
    edited("填第一张表");
    did(&["backup", "first.backup"]);
    did(&["restore", "before.backup", "--replace"]);
    edited("填第二张表");
    says("填第二张表");
    did(&["restore", "first.backup", "--replace"]);
    says("填第一张表");
    edited_after(&daemon);
}

/// It follows the bank that was put back as it did the other.
fn edited_after(daemon: &Daemon) {
    let arguments = ["--config", "wxfaq.toml", "entry", "disable", "whale"];
    assert!(run(daemon.folder.path(), &arguments).status.success());
    daemon.wait_until("the entry is gone", || {
        !simulate(daemon, &["--account", "plain", "蓝鲸权限怎么申请"]).contains("填第一张表")
    });
}
