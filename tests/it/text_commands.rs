//! Templates and dictionaries with the real binary: edited beside a running daemon, told apart, moved, tried, put back.
#![allow(clippy::unwrap_used, reason = "a helper that panics fails its test")]

use crate::support::daemon::{Daemon, configuration, free_port, run, simulate};
use crate::support::redis_server::RedisServer;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use wxfaq::bank::{Text, TextKind, TextName};
use wxfaq::dialog::Templates;
use wxfaq::store::sql::{Author, BankChange, Database, sqlite_url};

/// Runs the binary on the configuration in `folder`: exit code, and everything that was said.
fn wxfaq(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = run(folder, &[&["--config", "wxfaq.toml"], arguments].concat());
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), said)
}

/// What was said by a command that did what was asked.
fn did(folder: &Path, arguments: &[&str], expected: &str) -> String {
    let (code, said) = wxfaq(folder, arguments);
    assert!(code == Some(0) && said.contains(expected), "{arguments:?}: {said}");
    said
}

fn refused(folder: &Path, arguments: &[&str], exit: i32, expected: &str) {
    let (code, said) = wxfaq(folder, arguments);
    assert!(
        code == Some(exit) && said.contains(expected),
        "{arguments:?}: {code:?} {said}"
    );
}

/// A folder with a configuration, which may name its folders `templates` and `dict`, and a bank of one entry, at
/// revision 1.
struct Bench(TempDir);

impl Bench {
    fn new(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("templates/reply")).unwrap();
        fs::create_dir(folder.path().join("dict")).unwrap();
        let text = configuration(free_port(), free_port(), more);
        fs::write(folder.path().join("wxfaq.toml"), text).unwrap();
        let bench = Self(folder);
        bench.write("bank.jsonl", r#"{"id":"a","question":"怎么取现","answer":"一"}"#);
        bench.did(&["import", "bank.jsonl"], "revision 1");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn did(&self, arguments: &[&str], expected: &str) -> String {
        did(self.0.path(), arguments, expected)
    }

    fn refused(&self, arguments: &[&str], exit: i32, expected: &str) {
        refused(self.0.path(), arguments, exit, expected);
    }
}

/// Another process puts a template and a dictionary, resets and reverts them, and the daemon follows.
fn the_daemon_follows(daemon: &Daemon) {
    let folder = daemon.folder.path();
    let greeting = || simulate(daemon, &["--account", "plain", "--event", "subscribe"]);
    let asked = || simulate(daemon, &["--account", "plain", "蓝鲸出水要什么条件"]);
    let embedded = greeting();
    assert!(!asked().contains("50万"), "{}", asked());
    fs::write(daemon.path("g.txt"), "换了一个欢迎词\n").unwrap();
    fs::write(daemon.path("s.txt"), "科创板开户;蓝鲸出水 # try\n").unwrap();

    did(folder, &["template", "put", "greeting.txt", "g.txt"], "revision 2");
    daemon.wait_until("the template is used", || greeting().contains("换了一个欢迎词"));
    did(folder, &["dict", "put", "synonyms.txt", "s.txt"], "revision 3");
    daemon.wait_until("the dictionary is used", || asked().contains("50万"));
    did(folder, &["ask", "蓝鲸出水要什么条件"], "50万");
    did(
        folder,
        &["template", "reset", "greeting.txt"],
        "template/greeting.txt is used as embedded again; the bank is at revision 4",
    );
    daemon.wait_until("the embedded one is used", || greeting() == embedded);
    did(folder, &["revert", "dict/synonyms.txt", "--to", "2"], "removed again");
    daemon.wait_until("the embedded synonyms are used", || !asked().contains("50万"));
    did(folder, &["revert", "--bank", "--to", "3"], "revision 6");
    daemon.wait_until("both are back", || {
        greeting().contains("换了一个欢迎词") && asked().contains("50万")
    });
}

#[test]
fn a_daemon_that_looks_takes_up_what_another_process_edits() {
    the_daemon_follows(&Daemon::start("[database]\npoll_ms = 100"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_hears_of_it_takes_up_what_another_process_edits() {
    let redis = RedisServer::start_tcp().await;
    // It looks by itself only after the test has lost its patience.
    let shared = format!("[redis]\nurls = [{:?}]\ndeadline_ms = 500\n", redis.url());
    let daemon = Daemon::start(&format!("[database]\npoll_ms = 60000\n{shared}"));
    let one = redis::Value::Array(vec![
        redis::Value::BulkString(b"wxfaq:bank".into()),
        redis::Value::Int(1),
    ]);
    let begin = std::time::Instant::now();
    while redis.command(&["PUBSUB", "NUMSUB", "wxfaq:bank"]).await != one {
        assert!(begin.elapsed() < Duration::from_secs(30), "{}", daemon.log());
        tokio::task::yield_now().await;
    }
    tokio::task::block_in_place(|| the_daemon_follows(&daemon));
}

#[test]
fn the_second_of_two_editors_is_told_and_a_wrong_text_changes_nothing() {
    let bench = Bench::new("");
    bench.write("one.txt", "第一版\n");
    bench.write("two.txt", "第二版\n");
    let unedited =
        "template/empty.txt is not edited in the database; `wxfaq template show empty.txt` prints the one in use";
    bench.refused(&["show", "template/empty.txt"], 66, unedited);
    bench.did(&["template", "put", "empty.txt", "one.txt"], "revision 2");
    let unedited = "template/empty.txt was not edited in the database at revision 1; ";
    bench.refused(&["show", "template/empty.txt", "--revision", "1"], 66, unedited);
    let told = "template/empty.txt by ";
    bench.refused(&["template", "put", "empty.txt", "two.txt"], 65, told);
    let shown = bench.did(
        &["template", "show", "empty.txt"],
        "第一版\ntemplate/empty.txt: from the database",
    );
    assert!(shown.ends_with("put it with --made-from 2\n"), "{shown}");
    bench.did(
        &["template", "put", "empty.txt", "two.txt", "--made-from", "2"],
        "revision 3",
    );
    bench.refused(
        &["template", "put", "empty.txt", "one.txt", "--made-from", "2"],
        65,
        told,
    );
    bench.refused(&["template", "reset", "empty.txt", "--made-from", "2"], 65, told);
    let (_, said) = wxfaq(bench.0.path(), &["template", "put", "empty.txt", "one.txt"]);
    assert!(said.contains("with --made-from N at which revision"), "{said}");
    bench.did(&["show", "template/empty.txt"], "第二版");
    bench.did(
        &["diff", "template/empty.txt", "--from", "2"],
        "template/empty.txt\n  line 1\n    - 第一版\n    + 第二版",
    );
    bench.did(&["history", "template/empty.txt"], "line 1");
    bench.did(&["history", "dict/user.txt"], "no change is known");

    bench.write("broken.txt", "一\n{% if %}\n");
    bench.refused(&["template", "put", "greeting.txt", "broken.txt"], 65, "broken.txt:2: ");
    bench.write("lonely.txt", "提现;取现\n孤单\n");
    bench.refused(
        &["dict", "put", "synonyms.txt", "lonely.txt"],
        65,
        "lonely.txt:2: a group",
    );
    fs::write(bench.path("latin.txt"), b"a\nb\n\xff").unwrap();
    bench.refused(&["dict", "put", "user.txt", "latin.txt"], 65, "latin.txt:3: not UTF-8");
    bench.refused(
        &["dict", "put", "words.txt", "one.txt"],
        64,
        "there are user.txt, stopwords.txt",
    );
    bench.refused(&["dict", "put", "user.txt", "absent.txt"], 66, "absent.txt: ");
    bench.refused(&["dict", "reset", "user.txt"], 66, "has not been edited");
    bench.did(
        &["show", "--bank"],
        r#"{"body":"第二版\n","text":"template/empty.txt"}"#,
    );
    bench.did(&["history", "--json"], "\"revision\": 3");
}

#[test]
fn what_is_exported_comes_back_as_it_was_and_moves_only_what_differs() {
    let (here, there) = (Bench::new(""), Bench::new(""));
    here.write("g.txt", "\u{feff}您好\r\n请提问\r\n");
    here.did(&["template", "put", "greeting.txt", "g.txt"], "revision 2");
    let all = Templates::names().count();
    let but_one = all - 1;
    here.did(&["template", "export", "out"], &format!("out: {all} files, revision 2"));
    assert_eq!(
        fs::read(here.path("out/greeting.txt")).unwrap(),
        fs::read(here.path("g.txt")).unwrap()
    );
    here.did(
        &["template", "import", "out"],
        &format!("0 changed, {all} same; the bank is at revision 2"),
    );

    let out = here.path("out");
    let out = out.to_str().unwrap();
    let dry = format!(
        "template/greeting.txt: would change\ndry run, nothing written: 1 changed, {but_one} same; the bank is at revision 1"
    );
    there.did(&["template", "import", out, "--dry-run"], &dry);
    there.did(
        &["template", "import", out],
        &format!("1 changed, {but_one} same; the bank is at revision 2"),
    );
    there.did(&["template", "export", "again"], &format!("again: {all} files"));
    for file in fs::read_dir(out).unwrap() {
        let name = file.unwrap().file_name();
        let read = |folder: PathBuf| fs::read(folder.join(&name)).unwrap();
        assert!(read(out.into()) == read(there.path("again")), "{name:?}");
    }
    there.did(&["history", "template/greeting.txt"], "(import)");

    // All or none, and every mistake at once.
    fs::create_dir(there.path("in")).unwrap();
    there.write("in/user.txt", "蓝鲸\n");
    there.write("in/synonyms.txt", "提现;取现\n孤单");
    there.write("in/words.txt", "x");
    there.write("in/smalltalk.jsonl", "{}");
    let (code, said) = wxfaq(there.0.path(), &["dict", "import", "in"]);
    assert!(
        code == Some(65) && said.contains("in/synonyms.txt:2: ") && said.contains("there is no dict/words.txt"),
        "{said}"
    );
    there.refused(&["dict", "import", "again"], 65, "there is no dict/answer.txt");
    there.refused(&["dict", "import", "nowhere"], 66, "nowhere: ");
    there.did(&["dict", "list"], "user.txt              as embedded");
    fs::remove_file(there.path("in/words.txt")).unwrap();
    there.write("in/synonyms.txt", "提现;取现\n");
    there.did(
        &["dict", "import", "in"],
        "2 changed, 0 same; the bank is at revision 3",
    );
    there.did(
        &["dict", "list"],
        "user.txt              from the database (revision 3, ",
    );
    // What is tried heeds who edited since, too.
    there.write("in/user.txt", "白鲸\n");
    for more in [&["--dry-run"][..], &[]] {
        let late = ["dict", "import", "in", "--made-from", "2"];
        there.refused(&[&late[..], more].concat(), 65, "dict/user.txt by ");
    }
}

#[test]
fn the_folder_of_one_host_moves_into_the_database_of_all() {
    let bench = Bench::new("[paths]\ndictionaries = \"dict\"");
    bench.did(&["dict", "export", "dict"], "revision 1");
    bench.write("dict/user.txt", "蓝鲸\n");
    bench.did(&["dict", "list"], "user.txt              from ");
    bench.did(&["dict", "import", "dict", "--dry-run"], "dict/user.txt: would change");
    bench.did(&["dict", "import", "dict"], "1 changed, ");
    bench.did(
        &["dict", "list"],
        "user.txt              from the database (revision 2, ",
    );
    bench.did(&["dict", "import", "dict"], "0 changed, ");
}

#[test]
fn a_name_that_is_no_file_hides_none_of_the_others() {
    let bench = Bench::new("[paths]\ntemplates = \"templates\"\ndictionaries = \"dict\"");
    fs::create_dir(bench.path("dict/synonyms.txt")).unwrap();
    std::os::unix::fs::symlink("nowhere", bench.path("dict/contrast.txt")).unwrap();
    fs::create_dir(bench.path("templates/reply/greeting.txt")).unwrap();
    bench.write("dict/user.txt", "蓝鲸\n");
    for (command, name, place) in [
        (
            "template",
            "greeting.txt",
            "templates/reply/greeting.txt: Is a directory",
        ),
        ("dict", "synonyms.txt", "dict/synonyms.txt: Is a directory"),
        ("dict", "contrast.txt", "dict/contrast.txt: No such file"),
    ] {
        let told = format!("warning: wrong, `serve` does not start with it: {place}");
        let listed = bench.did(&[command, "list"], &told);
        assert!(listed.contains(" as embedded\n"), "{listed}");
        bench.did(&[command, "list", "--json"], &format!("\"fault\": \"{place}"));
        bench.refused(&[command, "show", name], 78, place);
        bench.refused(&["check", "--offline"], 78, place);
        bench.refused(&["serve"], 78, place);
    }
    for place in ["dict/synonyms.txt: Is a directory", "dict/contrast.txt: No such file"] {
        bench.refused(&["dict", "export", "out"], 78, place);
    }
    assert!(!bench.path("out").exists());
    bench.did(&["dict", "list"], "user.txt              from dict/user.txt");
    bench.did(&["dict", "show", "user.txt"], "蓝鲸");
    bench.refused(&["dict", "import", "dict"], 65, "dict/contrast.txt: No such file");
    // What the database has in its place is used.
    bench.write("g.txt", "您好");
    bench.did(&["template", "put", "greeting.txt", "g.txt"], "revision 2");
    let listed = bench.did(&["template", "list"], "greeting.txt          from the database");
    assert!(!listed.contains("warning"), "{listed}");
    bench.refused(&["template", "reset", "greeting.txt"], 66, "Is a directory");
}

/// A named pipe that counts who opens it to read. They find it at its end at once.
struct Pipe {
    path: PathBuf,
    readers: Arc<AtomicUsize>,
    is_done: Arc<AtomicBool>,
    writer: Option<JoinHandle<()>>,
}

impl Pipe {
    fn new(path: PathBuf) -> Self {
        let is_made = Command::new("mkfifo").arg(&path).status();
        assert!(is_made.unwrap().success());
        let (readers, is_done) = (Arc::default(), Arc::default());
        let (place, count, done) = (path.clone(), Arc::clone(&readers), Arc::clone(&is_done));
        let writer = std::thread::spawn(move || {
            // Opening waits for a reader.
            while File::options().write(true).open(&place).is_ok() && !AtomicBool::load(&done, Ordering::SeqCst) {
                AtomicUsize::fetch_add(&count, 1, Ordering::SeqCst);
            }
        });
        Self {
            path,
            readers,
            is_done,
            writer: Some(writer),
        }
    }

    fn was_read(&self) -> bool {
        self.readers.load(Ordering::SeqCst) > 0
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.is_done.store(true, Ordering::SeqCst);
        // Who opens it both ways waits for nobody, and is the reader that is waited for.
        let both = File::options().read(true).write(true).open(&self.path);
        let ended = self.writer.take().map(JoinHandle::join);
        drop((both, ended));
    }
}

#[test]
fn nobody_waits_for_a_pipe_in_a_folder() {
    let bench = Bench::new("[paths]\ntemplates = \"templates\"\ndictionaries = \"dict\"");
    let pipes = ["dict/synonyms.txt", "templates/reply/greeting.txt"].map(|name| Pipe::new(bench.path(name)));
    std::os::unix::fs::symlink("synonyms.txt", bench.path("dict/contrast.txt")).unwrap();
    let reason = "is not read: it is a pipe, a socket or a device, and no regular file";
    let [dictionary, link, template] = ["dict/synonyms.txt", "dict/contrast.txt", "templates/reply/greeting.txt"]
        .map(|name| format!("{name}: {reason}"));
    for place in [&dictionary, &link, &template] {
        bench.refused(&["check", "--offline"], 78, place);
        bench.refused(&["serve"], 78, place);
    }
    bench.did(
        &["dict", "list"],
        &format!("`serve` does not start with it: {dictionary}"),
    );
    bench.refused(&["template", "show", "greeting.txt"], 78, &template);
    bench.refused(&["dict", "import", "dict"], 65, &link);
    assert!(!pipes.iter().any(Pipe::was_read));
    // What an operator names is read, whatever it is.
    std::os::unix::fs::symlink("/dev/null", bench.path("nothing.txt")).unwrap();
    bench.did(
        &["dict", "put", "synonyms.txt", "nothing.txt"],
        "is used from the database",
    );
}

#[test]
fn every_wrong_file_is_named() {
    let bench = Bench::new("[paths]\ntemplates = \"templates\"\ndictionaries = \"dict\"");
    bench.write("dict/synonyms.txt", "甲;乙\n丙");
    bench.write("dict/contrast.txt", "丁");
    fs::create_dir(bench.path("dict/user.txt")).unwrap();
    bench.write("templates/reply/greeting.txt", "您好\n{{ no_such }}");
    fs::write(bench.path("templates/reply/not_found.txt"), b"\xff").unwrap();
    let (code, said) = wxfaq(bench.0.path(), &["check", "--offline"]);
    assert_eq!(code, Some(78), "{said}");
    for place in [
        "templates: templates/reply/not_found.txt:1: not UTF-8",
        "dictionaries: dict/user.txt: Is a directory",
        "dictionaries: dict/synonyms.txt:2: a group needs",
        "dictionaries: dict/contrast.txt:1: a group needs",
    ] {
        assert!(said.contains(&format!("WRONG    {place}")), "{place}: {said}");
    }
    bench.refused(&["serve"], 78, "dict/contrast.txt:1: ");
}

#[test]
fn a_broken_file_of_the_folder_is_named_with_its_line() {
    let bench = Bench::new("[paths]\ntemplates = \"templates\"\ndictionaries = \"dict\"");
    bench.write("templates/reply/greeting.txt", "您好\n{{ no_such }}");
    bench.write("dict/synonyms.txt", "甲;乙\n丙");
    let texts = [
        ("template", "greeting.txt", "templates/reply/greeting.txt:2: "),
        ("dict", "synonyms.txt", "dict/synonyms.txt:2: "),
    ];
    for (command, name, place) in texts {
        let told = format!("warning: wrong, `serve` does not start with it: {place}");
        let listed = bench.did(&[command, "list"], &told);
        assert_eq!(listed.matches("warning").count(), 1, "{listed}");
        bench.did(&[command, "list", "--json"], &format!("\"fault\": \"{place}"));
        bench.did(&[command, "show", name], &told);
        bench.did(&[command, "show", name, "--json"], &format!("\"fault\":\"{place}"));
        bench.refused(&["check", "--offline"], 78, place);
    }
    // What the database has in its place is good.
    bench.write("g.txt", "您好");
    bench.did(&["template", "put", "greeting.txt", "g.txt"], "revision 2");
    assert!(
        !bench
            .did(&["template", "list"], "greeting.txt")
            .contains("does not start")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_file_that_the_database_hides_is_named_and_a_broken_text_too() {
    let bench = Bench::new("[paths]\ntemplates = \"templates\"\ndictionaries = \"dict\"");
    bench.write("templates/reply/greeting.txt", "文件夹里的");
    bench.write("dict/user.txt", "蓝鲸");
    bench.did(
        &["template", "list"],
        "greeting.txt          from templates/reply/greeting.txt",
    );
    bench.write("g.txt", "数据库里的");
    bench.did(&["template", "put", "greeting.txt", "g.txt"], "revision 2");
    let written = |name: &str, when| {
        let file = File::options().write(true).open(bench.path(name)).unwrap();
        file.set_modified(when).unwrap();
    };
    let hour = Duration::from_secs(3_600);
    written("templates/reply/greeting.txt", SystemTime::now() - hour);
    let listed = bench.did(
        &["template", "list"],
        "greeting.txt          from the database (revision 2",
    );
    assert!(!listed.contains("warning"), "{listed}");
    let checked = bench.did(&["check", "--offline"], "templates: database: greeting.txt");
    assert!(!checked.contains("hides"), "{checked}");

    written("templates/reply/greeting.txt", SystemTime::now() + hour);
    let hides = "hides templates/reply/greeting.txt, which is newer";
    bench.did(&["template", "list"], hides);
    bench.did(&["template", "list", "--json"], "\"hides_newer_file\": true");
    let checked = bench.did(&["check", "--offline"], hides);
    assert!(
        checked.contains("warning  templates: template/greeting.txt"),
        "{checked}"
    );
    assert!(checked.contains("ok       dictionaries: dict: user.txt"), "{checked}");

    // What it would fall back to is looked at first.
    bench.write("templates/reply/greeting.txt", "{% if %}");
    bench.refused(
        &["template", "reset", "greeting.txt"],
        65,
        "templates/reply/greeting.txt:1: ",
    );
    bench.did(&["template", "show", "greeting.txt"], "数据库里的");
    bench.write("templates/reply/greeting.txt", "文件夹里的");
    bench.did(
        &["template", "reset", "greeting.txt"],
        "is used from templates/reply/greeting.txt again",
    );

    let database = Database::open(&sqlite_url(&bench.path("data/wxfaq.db"))).await.unwrap();
    let name = TextName::new(TextKind::Dictionary, "synonyms.txt");
    let lonely = Text::new(name, "孤单".as_bytes()).unwrap();
    let author = Author {
        who: "王".to_owned(),
        source: "a release of tomorrow".to_owned(),
    };
    let change = BankChange {
        put_texts: &[lonely],
        ..BankChange::default()
    };
    database.change(change, &author, 1, 3).await.unwrap();
    bench.refused(
        &["check", "--offline"],
        65,
        "dictionaries: not used: dict/synonyms.txt:1: ",
    );
    bench.did(
        &["dict", "list"],
        "synonyms.txt          as embedded\n    warning: not used: dict/synonyms.txt:1: ",
    );
    bench.did(&["ask", "怎么取现"], "一");
    bench.refused(&["revert", "dict/synonyms.txt", "--to", "5"], 65, "it is at 4");
    bench.did(&["dict", "reset", "synonyms.txt"], "revision 5");
    bench.refused(
        &["revert", "dict/synonyms.txt", "--to", "4"],
        65,
        "dict/synonyms.txt:1: ",
    );
}

#[test]
fn a_sentence_shows_what_a_dictionary_would_change() {
    let bench = Bench::new("");
    bench.write("s.txt", "提现;蓝鲸出水\n");
    bench.write("x.txt", "蓝鲸\n");
    let sentence = "蓝鲸出水要多久";
    let arguments = [
        "dict",
        "preview",
        sentence,
        "--file",
        "synonyms.txt=s.txt",
        "--file",
        "sensitive.txt=x.txt",
    ];
    let shown = bench.did(&arguments, "now\n  normalized  蓝鲸出水要多久");
    for expected in [
        "\n  synonyms    -",
        "then\n",
        "* synonyms    蓝鲸出水 → 提现",
        "* cut         提现 | ",
        "* sensitive   蓝鲸",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&bench.did(&[&arguments[..], &["--json"]].concat(), "then")).unwrap();
    assert_eq!(json["then"]["synonyms"][0][1], "提现");
    assert_eq!(json["now"]["synonyms"].as_array().unwrap().len(), 0);
    assert_eq!(json["then"]["sensitive"][0], "蓝鲸");
    bench.refused(&["dict", "preview", "x", "--file", "words.txt=s.txt"], 64, "NAME=FILE");
    bench.write("s.txt", "孤单\n");
    bench.refused(&arguments, 65, "s.txt:1: a group");
    bench.did(&["dict", "list"], "synonyms.txt          as embedded");
}

#[test]
fn a_dictionary_that_becomes_empty_is_told_of() {
    let daemon = Daemon::start("[database]\npoll_ms = 100");
    let folder = daemon.folder.path();
    fs::write(daemon.path("three.txt"), "提现;取现\n# 注\n开户;开通\n销户;注销\n").unwrap();
    fs::write(daemon.path("none.txt"), "# 没有了\n\n").unwrap();
    let put = |file: &str, revision: &str| {
        let arguments = ["dict", "put", "synonyms.txt", file, "--made-from", revision];
        did(folder, &arguments, "is used from the database")
    };
    assert!(!put("three.txt", "1").contains("warning"), "it is not empty");
    daemon.wait_until("the three lines are used", || {
        daemon
            .ops("/readyz")
            .is_some_and(|body| body.contains("\"revision\":2"))
    });
    let lost = "warning: dict/synonyms.txt is empty with this: 3 lines go away";
    let said = put("none.txt", "2");
    assert!(said.starts_with(lost), "{said}");
    daemon.wait_until("it says so, too", || {
        let log = daemon.log();
        log.contains("a dictionary is empty now") && log.contains("synonyms.txt") && log.contains("lines=3")
    });
    assert!(!put("none.txt", "3").contains("warning"), "it was empty before");
    did(
        folder,
        &["check", "--offline"],
        "warning  dictionaries: dict/synonyms.txt is empty: ",
    );
    put("three.txt", "3");
    fs::create_dir(daemon.path("in")).unwrap();
    fs::write(daemon.path("in/synonyms.txt"), "").unwrap();
    let dry = did(folder, &["dict", "import", "in", "--dry-run"], "would change");
    assert!(dry.starts_with(lost), "{dry}");
}
