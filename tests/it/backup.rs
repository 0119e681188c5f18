//! Backups: one state of the database in one file, from any kind of database to any other; what is not whole is refused.

use crate::support::daemon::{BINARY, Daemon, configuration, free_port, run, simulate};
use crate::support::database::{TestDatabase, on_every_database};
use sqlx::{AnyConnection, Connection};
use std::collections::BTreeSet;
use std::io::{Cursor, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use wxfaq::bank::history::{Restoration, Subject, Thing};
use wxfaq::bank::{Answer, Entry, EntryId, Text, TextKind, TextName};
use wxfaq::store::api_key::{ApiKey, KeyScope, KeySecret};
use wxfaq::store::conversations::Follower;
use wxfaq::store::erasures::Erasures as _;
use wxfaq::store::feedback::{FeedbackRow, Word};
use wxfaq::store::sql::{Author, BackupError, BankChange, Database, Migrated, Place, Restorer, Target, sqlite_url};
use wxfaq::store::{Log, StoreError};

on_every_database!(
    a_backup_goes_from_sqlite_to_another_and_back,
    what_is_no_whole_backup_changes_nothing,
    a_bank_that_was_put_back_is_another_one,
    what_was_shown_before_a_restore_overwrites_nothing_after_it,
    a_restore_takes_no_revocation_back_and_forgets_no_erasure,
    an_erasure_in_the_queues_of_both_takes_what_either_would_take,
    a_restore_is_in_the_history,
    a_restore_stays_in_the_history_when_another_backup_is_restored,
    a_restore_of_which_no_line_tells_is_known_by_where_the_bank_began_anew,
    restores_follow_one_another,
    what_stands_before_a_migration_is_kept_by_itself
);

async fn filled(database: &Database) {
    let entry = |n: u32| {
        let id = EntryId::parse(&format!("e{n}")).unwrap();
        let mut entry = Entry::new(
            id,
            format!("问题{n}😀'\"\\"),
            Answer::Text(format!("答\n\t{n}").repeat(50)),
        );
        entry.valid_from = n.is_multiple_of(2).then_some(7);
        entry
    };
    let author = Author {
        who: "编辑".to_owned(),
        source: "test".to_owned(),
    };
    let bank: Vec<Entry> = (0..1_200).map(entry).collect();
    let name = TextName::new(TextKind::Template, "greeting.txt");
    let text = Text::new(name, "\u{feff}您好😀\r\n".as_bytes()).unwrap();
    let change = BankChange {
        put: &bank,
        put_texts: &[text],
        ..BankChange::default()
    };
    database.change(change, &author, 1, 0).await.unwrap();
    let gone = [EntryId::parse("e7").unwrap()];
    database.questions().apply(&[], &gone, &author, 2, 1).await.unwrap();
    let word = FeedbackRow {
        follower: Follower {
            account: "a".into(),
            pseudonym: "p".into(),
        },
        entry: "e1".into(),
        message: "m".into(),
        score: None,
        word: Word::Comment("不对😀".into()),
        given_at: 5,
    };
    database.feedback().write(&[word]).await.unwrap();
}

async fn backup_of(database: &Database) -> Vec<u8> {
    let mut file = Vec::new();
    database.back_up(&mut file, 1_795_665_600).await.unwrap();
    file
}

const BY: Restorer<'_> = Restorer {
    who: "管理员",
    file: "备份/a.backup",
    now: 1_795_665_700,
};

/// The lines of tables and rows, but for the bank's revision and where it is from: rows have no order.
fn lines(file: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(file).unwrap();
    let mut is_revision = false;
    let mut lines: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
    lines.pop();
    lines.retain(|line| {
        if line.starts_with('{') {
            is_revision = line.contains(r#""bank_revision""#);
        }
        !is_revision && !line.contains(r#","bank","re"#)
    });
    lines.sort();
    lines
}

async fn put_into(database: &Database, taken: &[u8], target: Target) -> u64 {
    let restored = database.restore(|| Ok(Cursor::new(taken)), target, BY).await.unwrap();
    assert_eq!(database.questions().revision().await.unwrap(), restored.revision);
    restored.revision
}

async fn a_backup_goes_from_sqlite_to_another_and_back(place: TestDatabase) {
    let (first, last) = (TestDatabase::sqlite(), TestDatabase::sqlite());
    let from = first.open().await;
    filled(&from).await;
    let taken = backup_of(&from).await;

    let between = place.open().await;
    assert_eq!(put_into(&between, &taken, Target::Empty).await, 3);
    let again = backup_of(&between).await;
    assert_eq!(lines(&again), lines(&taken));
    let back = last.open().await;
    assert_eq!(put_into(&back, &again, Target::Empty).await, 4);
    assert_eq!(lines(&backup_of(&back).await), lines(&taken));
    assert_eq!(back.questions().load().await.unwrap().1.len(), 1_199);
    let texts = async |database: &Database| {
        let (_, texts) = database.texts().load().await.unwrap();
        texts.into_iter().map(|stored| stored.text).collect::<Vec<Text>>()
    };
    assert_eq!(texts(&back).await, texts(&from).await);
    assert_eq!(texts(&back).await.len(), 1);

    // A bank is not overwritten by mistake, and wholly on purpose.
    let author = Author {
        who: "x".to_owned(),
        source: "test".to_owned(),
    };
    let extra = Entry::new(EntryId::parse("extra").unwrap(), "多".into(), Answer::Text("余".into()));
    between.questions().apply(&[extra], &[], &author, 3, 3).await.unwrap();
    let refused = between.restore(|| Ok(Cursor::new(&taken)), Target::Empty, BY).await;
    assert!(matches!(refused, Err(BackupError::Occupied(4))), "{refused:?}");
    put_into(&between, &taken, Target::Any).await;
    assert_eq!(lines(&backup_of(&between).await), lines(&taken));
}

async fn what_was_shown_before_a_restore_overwrites_nothing_after_it(place: TestDatabase) {
    let database = place.open().await;
    filled(&database).await;
    let taken = backup_of(&database).await;
    let author = Author {
        who: "x".to_owned(),
        source: "test".to_owned(),
    };
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
        let done = database.edit(change, &author, 9, str::to_owned).await;
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
    let database = place.open().await;
    filled(&database).await;
    let taken = backup_of(&database).await;
    let author = Author {
        who: "x".to_owned(),
        source: "test".to_owned(),
    };
    let edited = async |revision| {
        let entry = Entry::new(
            EntryId::parse("e1").unwrap(),
            format!("新{revision}"),
            Answer::Text("新".into()),
        );
        let questions = database.questions();
        questions.apply(&[entry], &[], &author, 3, revision).await.unwrap();
    };
    let gaps = async |until: u64| {
        let mut gaps = Vec::new();
        for asked in 3..=until {
            gaps.push(database.revisions().gap_at(asked).await.unwrap());
        }
        gaps
    };
    edited(2).await;
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
    edited(4).await;
    assert_eq!(put_into(&database, &taken, Target::Any).await, 6);
    assert_eq!(put_into(&database, &taken, Target::Any).await, 7);
    let restored = database.revisions().last(Some(&Restoration::thing()), 9).await.unwrap();
    let revisions = restored.iter().map(|line| line.revision);
    assert_eq!(revisions.collect::<Vec<_>>(), [7, 6, 4]);
    assert_eq!(gaps(7).await, [Some((2, 4)), None, Some((2, 6)), None, None]);
    // A backup of what was put back has its history, and what is edited then is known as well.
    let again = backup_of(&database).await;
    edited(7).await;
    assert_eq!(put_into(&database, &again, Target::Any).await, 9);
    edited(9).await;
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
    let database = place.open().await;
    filled(&database).await;
    let first = backup_of(&database).await;
    let author = Author {
        who: "x".to_owned(),
        source: "test".to_owned(),
    };
    let entry = Entry::new(EntryId::parse("e1").unwrap(), "新".into(), Answer::Text("新".into()));
    database.questions().apply(&[entry], &[], &author, 3, 2).await.unwrap();
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
    let database = place.open().await;
    filled(&database).await;
    let taken = backup_of(&database).await;
    let author = Author {
        who: "x".to_owned(),
        source: "test".to_owned(),
    };
    let entry = Entry::new(EntryId::parse("e1").unwrap(), "新".into(), Answer::Text("新".into()));
    database.questions().apply(&[entry], &[], &author, 3, 2).await.unwrap();
    assert_eq!(put_into(&database, &taken, Target::Any).await, 4);
    place.tamper("DELETE FROM history WHERE subject = 'bank'").await;
    let revisions = database.revisions();
    for (asked, expected) in [(1, None), (2, None), (3, Some((2, 4))), (4, None), (5, None)] {
        assert_eq!(revisions.gap_at(asked).await.unwrap(), expected, "{asked}");
    }
}

async fn restores_follow_one_another(place: TestDatabase) {
    let database = place.open().await;
    filled(&database).await;
    let taken = backup_of(&database).await;
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
    let database = place.open().await;
    filled(&database).await;
    let taken = backup_of(&database).await;
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

async fn what_is_no_whole_backup_changes_nothing(place: TestDatabase) {
    let from = TestDatabase::sqlite();
    let from = from.open().await;
    filled(&from).await;
    let taken = String::from_utf8(backup_of(&from).await).unwrap();
    let database = place.open().await;
    let refused = async |file: String| {
        let open = || Ok(Cursor::new(file.as_bytes()));
        let restored = database.restore(open, Target::Any, BY).await;
        restored.unwrap_err().to_string()
    };
    let cut: String = taken.chars().take(taken.chars().count() / 2).collect();
    assert!(refused(cut).await.contains("line "));
    let whole_lines = taken.lines().take(100).collect::<Vec<_>>().join(
        "
",
    );
    assert_eq!(
        refused(whole_lines).await,
        "line 101: the file ends here, and is not whole"
    );
    let changed = taken.replacen("问题5", "问题6", 1);
    assert!(
        refused(changed)
            .await
            .ends_with("the checksum is not that of the lines before")
    );
    assert_eq!(
        refused(format!("{taken}\n")).await,
        format!(
            "line {}: stands after the line that ends a backup",
            taken.lines().count() + 1
        )
    );
    assert!(
        refused("{\"id\":\"a\"}\n".into())
            .await
            .starts_with("line 1: is not the first one")
    );
    let newer = refused(taken.replacen("\"migration\":", "\"migration\":9", 1)).await;
    assert!(newer.contains("checksum") || newer.contains("newer release"), "{newer}");
    let missing = database
        .restore::<Cursor<&[u8]>>(|| Err(ErrorKind::NotFound.into()), Target::Any, BY)
        .await;
    assert!(matches!(missing, Err(BackupError::File(_))));
    assert_eq!(database.questions().revision().await.unwrap(), 0);
    assert!(database.questions().load().await.unwrap().1.is_empty());
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

/// As a release of before left it.
async fn as_before_migration_20(connection: &mut AnyConnection) {
    for undo in [
        "ALTER TABLE erasure DROP COLUMN worked_at",
        "DROP TABLE bank_text",
        "DROP TABLE category",
        "DROP TABLE bank_id",
        "DELETE FROM _sqlx_migrations WHERE version >= 20",
    ] {
        sqlx::query(undo).execute(&mut *connection).await.unwrap();
    }
}

/// Of all databases here: those of the kinds are tried side by side.
static TOLD: Mutex<Vec<Migrated>> = Mutex::new(Vec::new());

/// What is kept of a database, by name.
fn kept_in(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).into_iter().flatten();
    let mut kept: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    kept.retain(|path| path.to_string_lossy().contains("before-migration-20"));
    kept.sort();
    kept
}

async fn what_stands_before_a_migration_is_kept_by_itself(place: TestDatabase) {
    let database = place.open().await;
    filled(&database).await;
    database.close().await;
    let is_file = place.url().starts_with("sqlite");
    let state = tempfile::tempdir().unwrap();
    let folder = match is_file {
        true => place.path().parent().unwrap().to_owned(),
        false => state.path().join("state/wxfaq"),
    };
    let open = async |backups: &Path| {
        let url = place.url();
        let backups = Some(backups);
        let told = |migrated: &Migrated| TOLD.lock().unwrap().push(migrated.clone());
        Database::open(Place { url, backups, told }).await
    };
    open(&folder).await.unwrap().close().await;
    assert!(kept_in(&folder).is_empty(), "there was nothing to migrate");

    as_before_migration_20(&mut place.connect().await).await;
    let nowhere = state.path().join("file");
    std::fs::write(&nowhere, "").unwrap();
    if !is_file {
        // What cannot be kept is not migrated.
        let refused = open(&nowhere).await.unwrap_err().to_string();
        assert!(
            refused.contains("nothing can be kept of it before migrating"),
            "{refused}"
        );
        // A backup that fails on its way leaves nothing behind, however often it is tried.
        let odd = "CREATE TABLE odd (seen TIMESTAMP); INSERT INTO odd VALUES ('2026-01-02 03:04:05')";
        place.tamper(odd).await;
        for _ in 0..2 {
            let refused = open(&folder).await.unwrap_err().to_string();
            assert!(
                refused.contains("nothing can be kept of it before migrating"),
                "{refused}"
            );
            assert!(folder.is_dir() && kept_in(&folder).is_empty(), "{:?}", kept_in(&folder));
        }
        place.tamper("DROP TABLE odd").await;
    }
    open(&folder).await.unwrap().close().await;
    let kept = kept_in(&folder);
    assert_eq!(kept.len(), 1, "{kept:?}");
    let told = TOLD
        .lock()
        .unwrap()
        .iter()
        .filter(|told| told.kept.as_ref() == Some(&kept[0]))
        .cloned()
        .next_back();
    let told = told.unwrap();
    assert!(told.from < 20 && told.to >= 22, "{told}");
    assert_eq!(kept[0].metadata().unwrap().permissions().mode() & 0o077, 0);
    let copy = TestDatabase::sqlite();
    let restored = match is_file {
        true => {
            let put_back = state.path().join("put-back.db");
            std::fs::copy(&kept[0], &put_back).unwrap();
            Database::open(&sqlite_url(&put_back)).await.unwrap()
        }
        false => {
            let file = std::fs::read(&kept[0]).unwrap();
            let restored = copy.open().await;
            restored
                .restore(|| Ok(Cursor::new(&file)), Target::Empty, BY)
                .await
                .unwrap();
            restored
        }
    };
    assert_eq!(restored.questions().load().await.unwrap().1.len(), 1_199);
    restored.close().await;
    // A service that is started again and again fills no disk.
    as_before_migration_20(&mut place.connect().await).await;
    open(&folder).await.unwrap().close().await;
    let again = kept_in(&folder);
    as_before_migration_20(&mut place.connect().await).await;
    open(&folder).await.unwrap().close().await;
    assert_eq!(kept_in(&folder), again, "the same state is kept once");

    // Another state is kept beside them: the bank's, or of what is no part of it, at the same revision.
    let kept_now = || {
        kept_in(&folder)
            .into_iter()
            .map(|path| (std::fs::read(&path).unwrap(), path))
    };
    let before: Vec<(Vec<u8>, PathBuf)> = kept_now().collect();
    let gone = "DELETE FROM feedback";
    let entry = "DELETE FROM entry WHERE id = 'e8'; UPDATE bank_revision SET revision = 3";
    for (count, statements) in [(1, gone), (2, entry)] {
        as_before_migration_20(&mut place.connect().await).await;
        place.tamper(statements).await;
        open(&folder).await.unwrap().close().await;
        let now: Vec<(Vec<u8>, PathBuf)> = kept_now().collect();
        assert_eq!(now.len(), before.len() + count, "{statements}");
        assert!(before.iter().all(|copy| now.contains(copy)), "none is overwritten");
    }
    let told = TOLD.lock().unwrap();
    let told: Vec<&PathBuf> = told.iter().filter_map(|told| told.kept.as_ref()).collect();
    assert!(
        kept_in(&folder).iter().all(|copy| told.contains(&copy)),
        "each is named"
    );
}

/// A release of before has been here: the last migration has not been run.
#[tokio::test]
async fn what_stood_before_a_migration_is_kept_beside_it() {
    let place = TestDatabase::sqlite();
    let database = place.open().await;
    filled(&database).await;
    database.close().await;
    let mut connection = place.connect().await;
    as_before_migration_20(&mut connection).await;
    drop(connection);
    place.open().await.close().await;
    let folder = place.path().parent().unwrap().to_owned();
    let files = std::fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap());
    let kept: Vec<String> = files.filter(|name| name.contains("before")).collect();
    assert_eq!(kept, ["wxfaq.db.before-migration-20"]);
    // It is a database of its own, and opened it is migrated in its turn.
    let kept = Database::open(&sqlite_url(&folder.join(&kept[0]))).await.unwrap();
    assert_eq!(kept.questions().load().await.unwrap().1.len(), 1_199);
    kept.close().await;
    // Nothing to migrate, nothing to keep.
    let before = std::fs::read_dir(&folder).unwrap().count();
    place.open().await.close().await;
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), before);
}

#[tokio::test]
async fn a_command_that_changes_something_migrates_and_says_so_once_and_one_that_reads_does_not() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("bank.jsonl"),
        r#"{"id":"a","question":"问","answer":"答"}"#,
    )
    .unwrap();
    let said = |arguments: &[&str]| {
        let done = run(folder.path(), arguments);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (done.status.code(), text(done.stdout), text(done.stderr))
    };
    assert_eq!(said(&["import", "bank.jsonl"]).2, "", "a new one is not migrated");
    let file = folder.path().join("data/wxfaq.db");
    let data = || std::fs::read_dir(folder.path().join("data")).unwrap().count();
    sqlx::any::install_default_drivers();
    let connect = async || AnyConnection::connect(&sqlite_url(&file)).await.unwrap();
    let mut connection = connect().await;
    as_before_migration_20(&mut connection).await;
    connection.close().await.unwrap();
    let before = data();

    let (code, found, _) = said(&["check", "--offline"]);
    let warning = found
        .lines()
        .find(|line| line.starts_with("warning  database: "))
        .unwrap();
    assert!(
        warning.contains(" is at migration 10, this release works with 2") && code == Some(0),
        "{found}"
    );
    for command in [
        "history",
        "ask 问",
        "export b.jsonl",
        "queries recent",
        "feedback list",
        "template list",
        "dict list",
        "entry show a",
        "entry duplicates",
        "rule list",
        "category list",
        "apikey list",
        "show a",
        "diff a --from 1",
        "dict preview 问",
        "import bank.jsonl --dry-run",
        "rule import bank.jsonl --dry-run",
        "revert a --to 1 --dry-run",
        "dict import . --dry-run",
    ] {
        let arguments: Vec<&str> = command.split(' ').collect();
        let (code, _, told) = said(&arguments);
        let refused = "the database is older than this program: it is at migration 10, this release works with 2";
        assert!(told.contains(refused) && code == Some(69), "{command}: {code:?} {told}");
    }
    assert_eq!(said(&["backup", "old.backup"]).0, Some(0), "of any state");
    let head = std::fs::read_to_string(folder.path().join("old.backup")).unwrap();
    assert!(head.starts_with(r#"{"wxfaq_backup":1,"migration":10,"#));
    assert_eq!(data(), before, "nothing was migrated, and nothing kept");

    let (code, _, told) = said(&["entry", "disable", "a"]);
    assert!(
        told.starts_with("wxfaq: the database has been migrated from 10 to 2")
            && told.ends_with("/data/wxfaq.db.before-migration-20\n")
            && code == Some(0),
        "{told}"
    );
    assert_eq!(said(&["entry", "publish", "a"]).2, "");
    assert_eq!(said(&["history"]).0, Some(0));

    // What was kept is a database and no backup, and there is a way to one.
    let copy = folder.path().join("data/wxfaq.db.before-migration-20");
    let (code, _, told) = said(&["restore", copy.to_str().unwrap(), "--replace"]);
    assert!(
        code == Some(65)
            && told.contains("before-migration-20: is a whole database of SQLite")
            && told.contains("then `restore NEW`, with --replace where there is a bank")
            && !told.contains("line 1"),
        "{told}"
    );
    let backed_up = std::process::Command::new(BINARY)
        .args(["backup", "kept.backup"])
        .env("WXFAQ__DATABASE__URL", sqlite_url(&copy))
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(backed_up.status.success(), "{backed_up:?}");
    assert_eq!(said(&["restore", "kept.backup", "--replace"]).0, Some(0));
    assert!(
        said(&["history"])
            .1
            .contains("(restore)  bank/restored: from kept.backup (revision 1, ")
    );

    // Newer releases have been here.
    let mut connection = connect().await;
    for version in [901, 902] {
        let insert = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                      VALUES (?, 'later', TRUE, x'00', 0)";
        let insert = sqlx::query(insert).bind(version).execute(&mut connection);
        insert.await.unwrap();
    }
    connection.close().await.unwrap();
    for command in [
        "history",
        "entry disable a",
        "backup new.backup",
        "check --offline",
        "serve",
    ] {
        let arguments: Vec<&str> = command.split(' ').collect();
        let (code, found, told) = said(&arguments);
        let refused =
            "newer than this program: a newer release of wxfaq has migrated it to 902, this one knows up to 2";
        assert!(
            format!("{found}{told}").contains(refused) && code == Some(78),
            "{command}: {code:?} {found} {told}"
        );
    }
}

#[test]
fn a_daemon_is_backed_up_while_it_serves() {
    let daemon = Daemon::start("");
    let folder = daemon.folder.path();
    let taken = run(folder, &["--config", "wxfaq.toml", "backup", "a.backup"]);
    assert!(taken.status.success(), "{taken:?}");
    let shown = String::from_utf8(taken.stdout).unwrap();
    assert!(shown.starts_with("a.backup: revision 1, "), "{shown}");
    let mode = folder.join("a.backup").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "it holds what followers wrote");
    let occupied = run(folder, &["--config", "wxfaq.toml", "restore", "a.backup"]);
    assert_eq!(occupied.status.code(), Some(65));
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let other = format!("{}\n[database]\nurl = \"sqlite://other/b.db\"\n", read("wxfaq.toml"));
    std::fs::write(folder.join("other.toml"), other).unwrap();
    let restored = run(folder, &["--config", "other.toml", "restore", "a.backup"]);
    assert!(restored.status.success(), "{restored:?}");
    let asked = run(folder, &["--config", "other.toml", "export", "b.jsonl"]);
    assert!(asked.status.success(), "{asked:?}");
    let original = run(folder, &["--config", "wxfaq.toml", "export", "a.jsonl"]);
    assert!(original.status.success(), "{original:?}");
    assert!(read("a.jsonl") == read("b.jsonl"), "the banks differ");
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

#[test]
fn a_backup_that_is_not_there_and_one_that_cannot_be_written_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("wxfaq.toml"),
        configuration(free_port(), free_port(), ""),
    )
    .unwrap();
    let code = |arguments: &[&str]| {
        let done = run(folder.path(), &[&["--config", "wxfaq.toml"], arguments].concat());
        done.status.code()
    };
    assert_eq!(code(&["restore", "absent.backup"]), Some(66));
    assert!(!folder.path().join("data").exists(), "it makes no database");
    assert_eq!(code(&["restore", "."]), Some(66), "a folder");
    std::fs::write(folder.path().join("cut.backup"), "{}\n").unwrap();
    assert_eq!(code(&["restore", "cut.backup"]), Some(65));
    assert!(!folder.path().join("data").exists(), "it makes no database");
    std::fs::write(folder.path().join("bank.jsonl"), r#"{"question":"问","answer":"答"}"#).unwrap();
    assert_eq!(code(&["import", "bank.jsonl"]), Some(0));
    assert_eq!(code(&["backup", "absent/a.backup"]), Some(73));
}

#[test]
fn a_file_that_is_no_database_is_called_so_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data/wxfaq.db");
    std::fs::create_dir(folder.path().join("data")).unwrap();
    for content in ["a letter to somebody, and no bank", "short"] {
        std::fs::write(&file, content).unwrap();
        let done = run(folder.path(), &["history"]);
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(
            done.status.code() == Some(65) && said.contains("wxfaq.db is not a database"),
            "{said}"
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), content);
    }
}
