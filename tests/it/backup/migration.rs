//! What is kept of a database before it is migrated, and which commands migrate.

use super::{BY, filled};
use crate::support::daemon::{BINARY, run};
use crate::support::database::{TestDatabase, on_every_database};
use sqlx::{AnyConnection, Connection};
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use wxfaq::store::sql::{Database, Migrated, Place, Target, sqlite_url};

on_every_database!(what_stands_before_a_migration_is_kept_by_itself);

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
