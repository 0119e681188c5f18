//! Backups: one state of the database in one file, from any kind of database to any other; what is not whole is refused.

use crate::support::daemon::{Daemon, configuration, free_port, run, simulate};
use crate::support::database::{TestDatabase, on_every_database};
use sqlx::{AnyConnection, Connection};
use std::io::{Cursor, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use wxfaq::bank::{Answer, Entry, EntryId, Text, TextKind, TextName};
use wxfaq::store::Log;
use wxfaq::store::conversations::Follower;
use wxfaq::store::feedback::{FeedbackRow, Word};
use wxfaq::store::sql::{Author, BackupError, BankChange, Database, Migrated, Place, Target, sqlite_url};

on_every_database!(
    a_backup_goes_from_sqlite_to_another_and_back,
    what_is_no_whole_backup_changes_nothing,
    a_bank_that_was_put_back_is_another_one_at_the_same_revision,
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
    let contents = database.back_up(&mut file, 1_795_665_600).await.unwrap();
    assert_eq!(contents.revision, 2);
    file
}

/// The lines of tables and rows: rows have no order.
fn lines(file: &[u8]) -> Vec<String> {
    let mut lines: Vec<String> = String::from_utf8(file.to_vec())
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    lines.pop();
    lines.sort();
    lines
}

async fn a_backup_goes_from_sqlite_to_another_and_back(place: TestDatabase) {
    let (first, last) = (TestDatabase::sqlite(), TestDatabase::sqlite());
    let from = first.open().await;
    filled(&from).await;
    let taken = backup_of(&from).await;
    let between = place.open().await;
    between
        .restore(|| Ok(Cursor::new(&taken)), Target::Empty)
        .await
        .unwrap();
    let again = backup_of(&between).await;
    assert_eq!(lines(&again), lines(&taken));
    let back = last.open().await;
    back.restore(|| Ok(Cursor::new(&again)), Target::Empty).await.unwrap();
    assert_eq!(lines(&backup_of(&back).await), lines(&taken));
    assert_eq!(back.questions().load().await.unwrap().1.len(), 1_199);
    assert_eq!(back.texts().load().await.unwrap(), from.texts().load().await.unwrap());
    assert_eq!(back.texts().load().await.unwrap().1.len(), 1);

    // A bank is not overwritten by mistake, and wholly on purpose.
    let author = Author {
        who: "x".to_owned(),
        source: "test".to_owned(),
    };
    let extra = Entry::new(EntryId::parse("extra").unwrap(), "多".into(), Answer::Text("余".into()));
    between.questions().apply(&[extra], &[], &author, 3, 2).await.unwrap();
    let refused = between.restore(|| Ok(Cursor::new(&taken)), Target::Empty).await;
    assert!(matches!(refused, Err(BackupError::Occupied(3))), "{refused:?}");
    between.restore(|| Ok(Cursor::new(&taken)), Target::Any).await.unwrap();
    assert_eq!(lines(&backup_of(&between).await), lines(&taken));
}

async fn what_is_no_whole_backup_changes_nothing(place: TestDatabase) {
    let from = TestDatabase::sqlite();
    let from = from.open().await;
    filled(&from).await;
    let taken = String::from_utf8(backup_of(&from).await).unwrap();
    let database = place.open().await;
    let refused = async |file: String| {
        let restored = database.restore(|| Ok(Cursor::new(file.as_bytes())), Target::Any).await;
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
        .restore::<Cursor<&[u8]>>(|| Err(ErrorKind::NotFound.into()), Target::Any)
        .await;
    assert!(matches!(missing, Err(BackupError::File(_))));
    assert_eq!(database.questions().revision().await.unwrap(), 0);
    assert!(database.questions().load().await.unwrap().1.is_empty());
}

async fn a_bank_that_was_put_back_is_another_one_at_the_same_revision(place: TestDatabase) {
    let database = place.open().await;
    filled(&database).await;
    let known = database.questions().edition().await.unwrap();
    let since = database.questions().changes_after(&known).await.unwrap();
    assert_eq!(since.map(|changes| changes.revision), Some(2));
    let taken = backup_of(&database).await;
    let put_back = async || database.restore(|| Ok(Cursor::new(&taken)), Target::Any).await.unwrap();
    put_back().await;
    let found = database.questions().edition().await.unwrap();
    assert_eq!(found.revision, known.revision);
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
                .restore(|| Ok(Cursor::new(&file)), Target::Empty)
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
async fn a_command_that_migrates_says_so_once() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bank.jsonl"), r#"{"question":"问","answer":"答"}"#).unwrap();
    let said = |arguments: &[&str]| String::from_utf8(run(folder.path(), arguments).stderr).unwrap();
    assert_eq!(said(&["import", "bank.jsonl"]), "", "a new one is not migrated");
    let file = folder.path().join("data/wxfaq.db");
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(&sqlite_url(&file)).await.unwrap();
    as_before_migration_20(&mut connection).await;
    connection.close().await.unwrap();
    let told = said(&["history"]);
    assert!(
        told.starts_with("wxfaq: the database has been migrated from 10 to 2")
            && told.ends_with("/data/wxfaq.db.before-migration-20\n"),
        "{told}"
    );
    assert_eq!(said(&["history"]), "");
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
fn a_running_daemon_takes_up_a_backup_of_the_very_revision_it_is_at() {
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
    // Also at revision 2.
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
