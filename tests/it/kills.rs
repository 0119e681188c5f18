//! Killed with -9 at a random moment: every command that changes the bank, on every database, and the database servers.
//!
//! Afterwards the bank is as it was before the command or as it is after it, history and revision in step, and what was
//! acknowledged is there; a daemon that was killed together with it is ready again. `WXFAQ_KILL_ROUNDS` (of each kind of
//! command) and `WXFAQ_KILL_SEED` make other and longer runs.
#![allow(clippy::unwrap_used, reason = "a helper that panics fails its test")]

use crate::support::daemon::{BINARY, Daemon, PATIENCE, program};
use crate::support::database::{TestDatabase, on_every_database};
use crate::support::database_server::{DatabaseServer, Disk, Kind};
use sqlx::Connection;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use wxfaq::bank::history::{Subject, Thing};
use wxfaq::bank::{State, beside, format};
use wxfaq::store::sql::{Bank, Database};

on_every_database!(a_command_that_is_killed_has_done_all_or_nothing);

/// A way to change the bank: writes the files it needs and returns the command's arguments. What it makes is other than
/// all before it, by its number; the second part is how many things it changes.
type Way = fn(&Path, &Bank, u64) -> (Vec<String>, usize);

const WAYS: [(&str, Way); 7] = [
    ("import", import),
    ("edit", edit),
    ("publish", publish),
    ("rules", rules),
    ("categories", categories),
    ("templates", templates),
    ("dictionaries", dictionaries),
];

/// In a long run the daemon, too, is killed and started after so many rounds of a kind; in the gate at the end.
const STARTS_EVERY: u64 = 4;

fn arguments(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn import(folder: &Path, _: &Bank, number: u64) -> (Vec<String>, usize) {
    let mut rows = String::from("question,answer\n");
    for row in 0..400 {
        writeln!(rows, "第{number}批第{row}个新问题是什么,{}", "答案".repeat(60)).unwrap();
    }
    fs::write(folder.join("new.csv"), rows).unwrap();
    (arguments(&["import", "new.csv"]), 400)
}

fn templates(folder: &Path, _: &Bank, number: u64) -> (Vec<String>, usize) {
    texts(
        folder,
        "template",
        number,
        ["greeting.txt", "not_found.txt", "refused.txt"],
    )
}

fn dictionaries(folder: &Path, _: &Bank, number: u64) -> (Vec<String>, usize) {
    texts(folder, "dict", number, ["user.txt", "stopwords.txt", "sensitive.txt"])
}

fn texts(folder: &Path, command: &str, number: u64, names: [&str; 3]) -> (Vec<String>, usize) {
    let texts = folder.join(command);
    fs::create_dir_all(&texts).unwrap();
    for name in names {
        fs::write(texts.join(name), format!("第{number}版\n")).unwrap();
    }
    (arguments(&[command, "import", command]), names.len())
}

fn edit(folder: &Path, bank: &Bank, number: u64) -> (Vec<String>, usize) {
    let entries = bank.entries.iter().take(20).cloned().map(|mut entry| {
        entry.tags = [format!("{number}")].into();
        format::to_line(&entry) + "\n"
    });
    fs::write(folder.join("edit.jsonl"), entries.collect::<String>()).unwrap();
    let made_from = bank.revision.to_string();
    (
        arguments(&["entry", "put", "edit.jsonl", "--made-from", &made_from]),
        20,
    )
}

fn publish(_: &Path, bank: &Bank, number: u64) -> (Vec<String>, usize) {
    let entry = &bank.entries[usize::try_from(number).unwrap() % 50];
    let verb = match entry.state {
        State::Published => "disable",
        State::Draft | State::Disabled => "publish",
    };
    (arguments(&["entry", verb, entry.id.as_str()]), 1)
}

fn rules(folder: &Path, _: &Bank, number: u64) -> (Vec<String>, usize) {
    let rule = |n| {
        let trigger = format!("{{\"keywords\":[{{\"equals\":\"词{n}\"}}]}}");
        format!("{{\"id\":\"k{n}\",\"trigger\":{trigger},\"replies\":[\"{number}\"]}}\n")
    };
    fs::write(folder.join("rules.jsonl"), (0..5).map(rule).collect::<String>()).unwrap();
    (arguments(&["rule", "import", "rules.jsonl"]), 5)
}

fn categories(folder: &Path, _: &Bank, number: u64) -> (Vec<String>, usize) {
    let category = |n| format!("{{\"category\":\"分类{n}\",\"reply\":\"{number}\"}}\n");
    fs::write(folder.join("tree.jsonl"), (0..5).map(category).collect::<String>()).unwrap();
    (arguments(&["category", "import", "tree.jsonl"]), 5)
}

/// A number from the environment.
fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
    )
}

/// Random numbers that can be had again: xorshift64*.
struct Dice(u64);

impl Dice {
    fn seeded() -> Self {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let seed = number_of("WXFAQ_KILL_SEED").unwrap_or(now as u64).max(1);
        println!("WXFAQ_KILL_SEED={seed}");
        Self(seed)
    }

    /// Within 0–1.
    fn roll(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// How rounds ended.
#[derive(Debug, Default)]
struct Tally {
    before: u32,
    after: u32,
    /// Of those after: the process had said so.
    acknowledged: u32,
    slowest_start: Duration,
}

/// Moments around the one at which a command commits, wherever that is on this machine now.
struct Aim(Duration);

impl Aim {
    /// Of four, one at any time before, three near.
    fn shot(&self, dice: &mut Dice) -> Duration {
        let near = dice.roll() < 0.75;
        self.0.mul_f64(dice.roll() + if near { 0.5 } else { 0.0 })
    }

    fn learn(&mut self, is_there: bool) {
        self.0 = self.0.mul_f64(if is_there { 0.92 } else { 1.08 });
    }
}

/// A bank under attack.
struct Attack {
    daemon: Daemon,
    url: String,
    number: u64,
    dice: Dice,
    tally: Tally,
}

impl Attack {
    fn on(url: &str) -> Self {
        let daemon = Daemon::start(&format!("[database]\nurl = \"{url}\"\n"));
        Self {
            daemon,
            url: url.to_owned(),
            number: 0,
            dice: Dice::seeded(),
            tally: Tally::default(),
        }
    }

    async fn bank(&self) -> Bank {
        let database = Database::open_existing(&self.url).await.unwrap();
        let bank = database.load_bank().await.unwrap();
        database.close().await;
        bank
    }

    fn start(&self, arguments: &[String]) -> Child {
        let mut command = Command::new(program());
        command.args(["--config", "wxfaq.toml"]).args(arguments);
        command.current_dir(self.daemon.folder.path()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// How long the whole of it takes here.
    async fn measured(&mut self, way: Way) -> Duration {
        let before = self.bank().await;
        self.number += 1;
        let (arguments, changes) = way(self.daemon.folder.path(), &before, self.number);
        let begin = Instant::now();
        let acknowledged = has_acknowledged(self.start(&arguments));
        let took = begin.elapsed();
        assert!(acknowledged, "{arguments:?} fails without being killed");
        assert!(self.settled(&before, changes, acknowledged).await);
        took
    }

    /// Whether the change is there; it is whole, or absent and then was not acknowledged.
    async fn settled(&mut self, before: &Bank, changes: usize, acknowledged: bool) -> bool {
        let after = self.bank().await;
        let place = format!("round {}: {} → {}", self.number, before.revision, after.revision);
        let (was, is) = (states(before), states(&after));
        if after.revision == before.revision {
            assert_eq!(was, is, "{place}: changed without a revision");
            assert!(!acknowledged, "{place}: what was acknowledged is lost");
            return false;
        }
        assert_eq!(after.revision, before.revision + 1, "{place}");
        let database = Database::open_existing(&self.url).await.unwrap();
        let (_, recorded) = database.revisions().changed_after(before.revision).await.unwrap();
        let mut differing: Vec<&Thing> = was.keys().chain(is.keys()).collect();
        differing.retain(|thing| was.get(*thing) != is.get(*thing));
        differing.sort_unstable();
        differing.dedup();
        assert_eq!(
            differing,
            recorded.keys().collect::<Vec<_>>(),
            "{place}: history and bank"
        );
        assert_eq!(differing.len(), changes, "{place}: a part only");
        for (thing, state) in &recorded {
            assert_eq!(state.as_ref(), was.get(thing), "{place}: {thing} before");
            let now = database.revisions().at(thing, after.revision).await.unwrap();
            assert_eq!(now.as_ref(), is.get(thing), "{place}: {thing} after");
        }
        database.close().await;
        true
    }

    fn count(&mut self, is_there: bool, acknowledged: bool) {
        match is_there {
            true => self.tally.after += 1,
            false => self.tally.before += 1,
        }
        self.tally.acknowledged += u32::from(acknowledged);
    }

    /// Kills the command at a random moment.
    async fn round(&mut self, way: Way, aim: &mut Aim) {
        let before = self.bank().await;
        self.number += 1;
        let (arguments, changes) = way(self.daemon.folder.path(), &before, self.number);
        let mut process = self.start(&arguments);
        // No matter how long this is: whatever the moment, the outcome must be one of two.
        std::thread::sleep(aim.shot(&mut self.dice));
        process.kill().unwrap();
        let acknowledged = has_acknowledged(process);
        let is_there = self.settled(&before, changes, acknowledged).await;
        self.count(is_there, acknowledged);
        aim.learn(is_there);
    }

    fn restart_daemon(mut self) -> Self {
        let begin = Instant::now();
        self.daemon = self.daemon.killed_and_started_again();
        self.tally.slowest_start = self.tally.slowest_start.max(begin.elapsed());
        self
    }
}

/// Everything in the bank, by name, as in files.
fn states(bank: &Bank) -> BTreeMap<Thing, String> {
    fn lines<T: beside::Beside>(things: &[T]) -> impl Iterator<Item = (Thing, String)> + '_ {
        let named = |thing: &T| (Thing::new(T::SUBJECT, thing.id().to_string()), beside::to_line(thing));
        things.iter().map(named)
    }
    let entry = |entry: &wxfaq::bank::Entry| (Thing::new(Subject::Entry, entry.id.as_str()), format::to_line(entry));
    let entries = bank.entries.iter().map(entry);
    let text = |stored: &wxfaq::store::sql::StoredText| (stored.text.name.thing(), stored.text.body.clone());
    let texts = bank.texts.iter().map(text);
    entries
        .chain(lines(&bank.rules))
        .chain(lines(&bank.categories))
        .chain(texts)
        .collect()
}

/// Waits for the end; whether the process had said, or says by its status, that it has done it.
fn has_acknowledged(mut process: Child) -> bool {
    let begin = Instant::now();
    let status = loop {
        match process.try_wait().unwrap() {
            Some(status) => break status,
            None => assert!(begin.elapsed() < PATIENCE, "the command does not end"),
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let mut said = String::new();
    process.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    status.success() || said.contains("revision")
}

async fn a_command_that_is_killed_has_done_all_or_nothing(place: TestDatabase) {
    let rounds = number_of("WXFAQ_KILL_ROUNDS");
    let mut attack = Attack::on(place.url());
    for (name, way) in WAYS {
        let mut aim = Aim(attack.measured(way).await);
        for round in 1..=rounds.unwrap_or(3) {
            attack.round(way, &mut aim).await;
            if rounds.is_some() && round % STARTS_EVERY == 0 {
                attack = attack.restart_daemon();
            }
        }
        println!("{name}: {:?}", std::mem::take(&mut attack.tally));
    }
    attack = attack.restart_daemon();
    println!("ready again after {:?}", attack.tally.slowest_start);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_outlives_its_mariadb() {
    outlives_its_server(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_outlives_its_postgres() {
    outlives_its_server(Kind::Postgres).await;
}

/// The server is killed while a command writes; it starts again with what was acknowledged.
async fn outlives_its_server(kind: Kind) {
    let mut server = DatabaseServer::start_on(kind, Disk::Waited).await;
    let url = server.database().await;
    let mut attack = Attack::on(&url);
    let mut aim = Aim(attack.measured(edit).await);
    for _ in 0..number_of("WXFAQ_KILL_ROUNDS").unwrap_or(3) {
        let before = attack.bank().await;
        attack.number += 1;
        let (arguments, changes) = edit(attack.daemon.folder.path(), &before, attack.number);
        let process = attack.start(&arguments);
        std::thread::sleep(aim.shot(&mut attack.dice));
        server.kill_all();
        let acknowledged = has_acknowledged(process);
        server.restart().await;
        let is_there = attack.settled(&before, changes, acknowledged).await;
        attack.count(is_there, acknowledged);
        aim.learn(is_there);
    }
    attack = attack.restart_daemon();
    println!("{kind:?} killed: {:?}", attack.tally);
}

/// Where the control of the test below writes.
const CONTROL: &str = "WXFAQ_CONTROL_DATABASE";

/// What a power cut takes is what no `fsync` has been waited for; no kill shows that, for the kernel keeps what was written.
#[tokio::test(flavor = "multi_thread")]
async fn an_edit_on_sqlite_is_acknowledged_after_its_log_is_on_the_disk() {
    if let Ok(path) = std::env::var(CONTROL) {
        return writes_without_waiting(Path::new(&path)).await;
    }
    let daemon = Daemon::start("");
    let folder = daemon.folder.path();
    fs::write(
        folder.join("new.jsonl"),
        "{\"id\":\"new\",\"question\":\"新问题\",\"answer\":\"一\"}",
    )
    .unwrap();
    let edit = [BINARY, "--config", "wxfaq.toml", "entry", "put", "new.jsonl"];
    assert_eq!(judge(&traced(folder, &edit, &[])), Ok(()));
    // The same look at a program that does not wait, so that it is known to see the difference: this test as a process.
    let test = std::env::current_exe().unwrap();
    let name = "kills::an_edit_on_sqlite_is_acknowledged_after_its_log_is_on_the_disk";
    let control = [test.to_str().unwrap(), "--exact", "--nocapture", name];
    let found = folder.join("data/wxfaq.db");
    let seen = judge(&traced(folder, &control, &[(CONTROL, found.to_str().unwrap())]));
    assert_eq!(seen, Err("acknowledged before the log is on the disk"));
}

async fn writes_without_waiting(path: &Path) {
    sqlx::any::install_default_drivers();
    let url = wxfaq::store::sql::sqlite_url(path);
    let mut connection = sqlx::AnyConnection::connect(&url).await.unwrap();
    for statement in [
        "PRAGMA synchronous = NORMAL",
        "UPDATE bank_revision SET revision = revision + 1",
    ] {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    println!("the bank is at another revision");
}

/// What the system was asked to write and to wait for, one call a line with the process before it and paths in it.
fn traced(folder: &Path, command: &[&str], variables: &[(&str, &str)]) -> String {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-s", "200", "-o", "trace", "-e"]);
    strace.arg("trace=write,pwrite64,fsync,fdatasync").args(command);
    strace
        .current_dir(folder)
        .envs(variables.iter().copied())
        .stdin(Stdio::null());
    let output = strace
        .output()
        .unwrap_or_else(|error| panic!("strace: {error}: apt-get install strace"));
    assert!(output.status.success(), "{output:?}");
    fs::read_to_string(folder.join("trace")).unwrap()
}

/// Whether all that was written to the log of SQLite had been waited for when standard output got the acknowledgement.
fn judge(trace: &str) -> Result<(), &'static str> {
    let mut waiting: Vec<&str> = Vec::new();
    let (mut writes, mut is_dirty) = (0, false);
    for line in trace.lines() {
        let (process, call) = line.split_once(' ').unwrap_or_default();
        let call = call.trim_start();
        let is_sync = call.starts_with("fsync(") || call.starts_with("fdatasync(");
        match call {
            _ if call.starts_with("write(1<") && call.contains("revision") => {
                return match (writes, is_dirty) {
                    (0, _) => Err("acknowledged without a write"),
                    (_, true) => Err("acknowledged before the log is on the disk"),
                    (_, false) => Ok(()),
                };
            }
            _ if call.starts_with("pwrite64(") && call.contains("-wal>") => (writes, is_dirty) = (writes + 1, true),
            _ if is_sync && call.contains("-wal>") && call.contains("<unfinished") => waiting.push(process),
            _ if is_sync && call.contains("-wal>") => is_dirty = false,
            _ if call.contains("sync resumed>") && waiting.contains(&process) => is_dirty = false,
            _ => {}
        }
    }
    Err("never acknowledged")
}
