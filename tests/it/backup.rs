//! Backups: one state of the database in one file, from any kind of database to any other; what is not whole is refused.

mod restore;
mod migration;

use crate::support::daemon::{Daemon, configuration, free_port, run};
use crate::support::database::{TestDatabase, on_every_database};
use std::io::{Cursor, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use wxfaq::bank::{Answer, Entry, EntryId, Text, TextKind, TextName};
use wxfaq::store::Log;
use wxfaq::store::conversations::Follower;
use wxfaq::store::feedback::{FeedbackRow, Word};
use wxfaq::store::sql::{Author, BackupError, BankChange, Database, Restorer, Target};

on_every_database!(
    a_backup_goes_from_sqlite_to_another_and_back,
    what_is_no_whole_backup_changes_nothing
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

/// Who edits after what is [`filled`].
fn author() -> Author {
    Author {
        who: "x".to_owned(),
        source: "test".to_owned(),
    }
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
    let extra = Entry::new(EntryId::parse("extra").unwrap(), "多".into(), Answer::Text("余".into()));
    between.questions().apply(&[extra], &[], &author(), 3, 3).await.unwrap();
    let refused = between.restore(|| Ok(Cursor::new(&taken)), Target::Empty, BY).await;
    assert!(matches!(refused, Err(BackupError::Occupied(4))), "{refused:?}");
    put_into(&between, &taken, Target::Any).await;
    assert_eq!(lines(&backup_of(&between).await), lines(&taken));
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
