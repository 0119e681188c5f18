//! Looking changes nothing: commands that only read leave the files of SQLite as they are, be they a bank or not, and who
//! changes a bank leaves nothing beside it that would keep its owner out.

use crate::support::daemon::{configuration, free_port, run};
use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, Connection};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use wxfaq::store::sql::sqlite_url;

/// Nobody's.
const OTHER: u32 = 65_534;

/// Commands that ask for no bank to be made.
const LOOKING: [&[&str]; 16] = [
    &["history"],
    &["show", "a"],
    &["diff", "--bank", "--from", "1"],
    &["revert", "a", "--to", "1", "--dry-run"],
    &["export", "out.jsonl"],
    &["entry", "duplicates"],
    &["rule", "list"],
    &["category", "list"],
    &["template", "list"],
    &["dict", "list"],
    &["template", "import", "texts", "--dry-run"],
    &["queries", "hot"],
    &["feedback", "list"],
    &["apikey", "list"],
    &["backup", "out.backup"],
    &["ask", "怎么开户"],
];

/// Those that take a bank that is not there for an empty one.
const TRYING: [&[&str]; 3] = [
    &["check", "--offline"],
    &["import", "bank.jsonl", "--dry-run"],
    &["rule", "import", "rules.jsonl", "--dry-run"],
];

struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        let write = |name: &str, text: &str| fs::write(bench.0.path().join(name), text).unwrap();
        write("wxfaq.toml", &configuration(free_port(), free_port(), ""));
        write("bank.jsonl", r#"{"id":"a","question":"怎么开户","answer":"一"}"#);
        write("rules.jsonl", r#"{"id":"r","trigger":"default","replies":["一"]}"#);
        fs::create_dir(bench.0.path().join("texts")).unwrap();
        fs::write(bench.0.path().join("texts/greeting.txt"), "您好").unwrap();
        fs::create_dir(bench.0.path().join("data")).unwrap();
        bench
    }

    fn database(&self) -> PathBuf {
        self.0.path().join("data/wxfaq.db")
    }

    fn lock(&self) -> PathBuf {
        self.0.path().join("data/wxfaq.db.lock")
    }

    /// Exit code, and everything that was said.
    fn wxfaq(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = run(self.0.path(), &[&["--config", "wxfaq.toml"], arguments].concat());
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), said)
    }

    /// Every file of the database's folder with what is in it.
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let file = |file: std::io::Result<fs::DirEntry>| {
            let file = file.unwrap();
            let name = file.file_name().into_string().unwrap();
            (name, fs::read(file.path()).unwrap())
        };
        let mut files: Vec<_> = fs::read_dir(self.0.path().join("data")).unwrap().map(file).collect();
        files.sort();
        files
    }
}

async fn sql(path: &Path, statements: &'static str) {
    sqlx::any::install_default_drivers();
    let options: AnyConnectOptions = format!("{}?mode=rwc", sqlite_url(path)).parse().unwrap();
    let mut connection = AnyConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(statements).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_file_that_holds_no_bank_stays_as_it_is_whatever_is_asked_of_it() {
    for foreign in [
        "",
        "CREATE TABLE t (a)",
        "PRAGMA journal_mode = WAL; CREATE TABLE t (a)",
    ] {
        let bench = Bench::new();
        match foreign {
            "" => drop(File::create(bench.database()).unwrap()),
            statements => sql(&bench.database(), statements).await,
        }
        let before = bench.files();
        assert_eq!(before.len(), 1);
        let changing: [&[&str]; 2] = [&["entry", "remove", "a"], &["category", "put", "a", "--title", "一"]];
        for arguments in LOOKING.into_iter().chain(changing) {
            let (code, said) = bench.wxfaq(arguments);
            let is_told = said.contains("there is no question bank in") && code == Some(69);
            assert!(is_told, "{foreign:?}, {arguments:?}: {code:?} {said}");
            assert!(
                bench.files() == before,
                "{foreign:?}, {arguments:?}: it is another file now"
            );
        }
        for arguments in TRYING {
            let (code, said) = bench.wxfaq(arguments);
            assert_eq!(code, Some(0), "{foreign:?}, {arguments:?}: {said}");
            assert!(
                bench.files() == before,
                "{foreign:?}, {arguments:?}: it is another file now"
            );
        }
    }
}

#[test]
fn looking_at_a_bank_leaves_nothing_beside_it() {
    let bench = Bench::new();
    assert_eq!(bench.wxfaq(&["import", "bank.jsonl"]).0, Some(0));
    fs::remove_file(bench.lock()).unwrap();
    let before = bench.files();
    for arguments in LOOKING.into_iter().chain(TRYING) {
        bench.wxfaq(arguments);
        assert!(bench.files() == before, "{arguments:?}: it is another folder now");
    }
}

#[test]
fn a_lock_is_for_whoever_the_database_is_for() {
    let bench = Bench::new();
    assert_eq!(bench.wxfaq(&["import", "bank.jsonl"]).0, Some(0));
    fs::set_permissions(bench.database(), Permissions::from_mode(0o666)).unwrap();
    // Only root can give a file away, and only root needs to.
    let _ = chown(bench.database(), Some(OTHER), Some(OTHER));
    fs::remove_file(bench.lock()).unwrap();
    let (code, said) = bench.wxfaq(&["entry", "draft", "a"]);
    assert_eq!(code, Some(0), "{said}");
    let of = |path: PathBuf| {
        let found = fs::metadata(path).unwrap();
        (found.uid(), found.gid(), found.mode() & 0o777)
    };
    let (uid, gid, _) = of(bench.database());
    assert_eq!(of(bench.lock()), (uid, gid, 0o660), "nobody else locks it");
}

#[test]
fn a_lock_that_is_not_to_be_had_is_named_and_keeps_nobody_from_reading() {
    let bench = Bench::new();
    assert_eq!(bench.wxfaq(&["import", "bank.jsonl"]).0, Some(0));
    fs::remove_file(bench.lock()).unwrap();
    // As one of somebody else's, also for root.
    fs::create_dir(bench.lock()).unwrap();
    let (code, said) = bench.wxfaq(&["entry", "draft", "a"]);
    let is_named = said.contains("data/wxfaq.db.lock: Is a directory") && said.contains("from migrating");
    assert!(code == Some(69) && is_named, "{code:?} {said}");
    let (code, said) = bench.wxfaq(&["show", "a"]);
    assert!(code == Some(0) && said.contains("怎么开户"), "{said}");
}
