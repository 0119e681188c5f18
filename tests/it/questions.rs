//! The question bank and the rules beside it in a database: one contract each, run on real ones.
#![allow(clippy::unwrap_used, reason = "a helper that panics fails its test")]

use crate::support::database::{TestDatabase, on_every_database};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::slice::from_ref;
use wxfaq::bank::history::{Subject, Thing};
use wxfaq::bank::rule::Trigger;
use wxfaq::bank::{Answer, Category, Channel, Entry, EntryId, Rule, RuleId, State, beside, rule};
use wxfaq::store::StoreError;
use wxfaq::store::sql::{ApplyError, Author, BankChange, Changes, Database, OpenError, Questions, Rules};

fn id(text: &str) -> EntryId {
    EntryId::parse(text).unwrap()
}

fn entry(name: &str, answer: &str) -> Entry {
    Entry::new(id(name), format!("问题 {name}？"), Answer::Text(answer.to_owned()))
}

/// An entry with something unusual in every column.
fn full(name: &str) -> Entry {
    Entry {
        similar: vec!["it's \"quoted\"".to_owned(), "?|\\😀".to_owned()],
        category: "开户/科创板".to_owned(),
        tags: ["科创板".to_owned()].into(),
        state: State::Draft,
        accounts: ["demo".to_owned()].into(),
        channels: [Channel::H5, Channel::Wechat].into(),
        valid_from: Some(0),
        valid_until: Some(253_402_271_999),
        priority: -100,
        ..Entry::new(
            id(name),
            "what = '?' -- ;".to_owned(),
            Answer::Image {
                media_id: "m".to_owned(),
            },
        )
    }
}

fn author() -> Author {
    Author {
        who: "editor".to_owned(),
        source: "test".to_owned(),
    }
}

async fn apply(bank: &Questions, put: &[Entry], remove: &[EntryId], revision: u64) -> Result<u64, ApplyError> {
    bank.apply(put, remove, &author(), 1_772_328_600, revision).await
}

/// Holds an empty bank to what `Questions` promises; `other` is the same bank through other connections.
async fn questions_contract(bank: &Questions, other: &Questions) {
    assert_eq!(bank.load().await.unwrap(), (0, vec![]));

    let (a, b) = (full("a"), entry("b", "1"));
    assert_eq!(apply(bank, &[b.clone(), a.clone()], &[], 0).await.unwrap(), 1);
    assert_eq!(
        other.load().await.unwrap(),
        (1, vec![a.clone(), b.clone()]),
        "another pool sees it, by id"
    );

    let (b2, c) = (entry("b", "2"), entry("c", "1"));
    assert_eq!(
        apply(other, &[b2.clone(), c.clone(), a.clone()], &[], 1).await.unwrap(),
        2
    );
    assert_eq!(apply(bank, &[], &[id("c"), id("absent")], 2).await.unwrap(), 3);
    let since = async |revision| bank.changes_since(revision).await.unwrap();
    let changes = |put: &[&Entry], removed: &[&str]| {
        Some(Changes {
            revision: 3,
            put: put.iter().copied().cloned().collect(),
            removed: removed.iter().map(|name| id(name)).collect(),
            rules: None,
            texts: None,
            categories: None,
        })
    };
    assert_eq!(since(0).await, changes(&[&a, &b2], &["c"]));
    assert_eq!(
        since(1).await,
        changes(&[&b2], &["c"]),
        "an entry put as it was has not changed"
    );
    assert_eq!(since(2).await, changes(&[], &["c"]));
    assert_eq!(since(3).await, changes(&[], &[]));
    assert_eq!(since(4).await, None, "a revision the bank has not reached");

    assert_eq!(
        apply(bank, std::slice::from_ref(&b2), &[id("c")], 3).await.unwrap(),
        3,
        "nothing changed, nothing counted"
    );
    refused_changes_leave_nothing(bank).await;

    let back = entry("c", "again");
    assert_eq!(apply(bank, std::slice::from_ref(&back), &[], 3).await.unwrap(), 4);
    let changes = bank.changes_since(2).await.unwrap().unwrap();
    assert_eq!(
        (changes.put, changes.removed),
        (vec![back], vec![]),
        "removed and back is a change"
    );

    many_rows_are_one_change(bank).await;
    writers_follow_one_another(bank, other).await;
}

async fn refused_changes_leave_nothing(bank: &Questions) {
    let before = bank.load().await.unwrap();
    for revision in [0, 2, 4, u64::MAX] {
        let refused = apply(bank, &[entry("b", "stale")], &[id("a")], revision).await;
        assert!(
            matches!(refused, Err(ApplyError::Conflict { expected, found: 3 }) if expected == revision),
            "{refused:?}"
        );
    }
    let twice = apply(bank, &[entry("x", "1")], &[id("x")], 3).await;
    assert!(matches!(twice, Err(ApplyError::Repeated(repeated)) if repeated == "x"));
    assert_eq!(bank.load().await.unwrap(), before);
}

/// More rows than one statement takes, changed and removed in one go.
async fn many_rows_are_one_change(bank: &Questions) {
    let (start, kept) = bank.load().await.unwrap();
    let rows = |answer: &str| {
        (0..1203)
            .map(|n| entry(&format!("n{n:04}"), answer))
            .collect::<Vec<_>>()
    };
    assert_eq!(apply(bank, &rows("1"), &[], start).await.unwrap(), start + 1);
    assert_eq!(apply(bank, &rows("2"), &[], start + 1).await.unwrap(), start + 2);
    let (_, all) = bank.load().await.unwrap();
    assert_eq!(all.len(), 1203 + kept.len());
    assert!(rows("2").iter().all(|row| all.contains(row)));
    let ids: Vec<_> = rows("").into_iter().map(|row| row.id).collect();
    assert_eq!(apply(bank, &[], &ids, start + 2).await.unwrap(), start + 3);
    assert_eq!(bank.load().await.unwrap(), (start + 3, kept));
}

/// Each of several writers adds its entries one by one, reading anew when another was first; all are there in the end.
async fn writers_follow_one_another(bank: &Questions, other: &Questions) {
    let start = bank.revision().await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..6 {
        let bank = if writer % 2 == 0 { bank.clone() } else { other.clone() };
        writers.spawn(async move {
            for n in 0..5 {
                let own = [entry(&format!("w{writer}-{n}"), "1")];
                loop {
                    let Ok(revision) = bank.revision().await else { continue };
                    match apply(&bank, &own, &[], revision).await {
                        Ok(_) => break,
                        Err(error) if error.is_passing() => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
    let (revision, entries) = other.load().await.unwrap();
    assert_eq!(revision, start + 30);
    assert_eq!(
        entries
            .iter()
            .filter(|entry| entry.id.as_str().starts_with('w'))
            .count(),
        30
    );
}

/// The columns of `history`.
#[rustfmt::skip]
type HistoryRow = (i64, String, String, String, Option<String>, Option<String>, i64, String, String);

on_every_database!(
    the_bank_keeps_its_contract,
    every_change_is_in_the_history_with_who_when_before_and_after,
    a_newer_database_is_refused,
    a_damaged_row_is_named_by_entry_and_column,
    the_rules_keep_their_contract,
    every_change_of_a_rule_is_in_the_history_with_who_when_before_and_after,
    a_damaged_rule_is_named,
    categories_share_revision_history_and_changes,
);

async fn the_bank_keeps_its_contract(file: TestDatabase) {
    let (one, two) = tokio::join!(file.open(), file.open());
    questions_contract(&one.questions(), &two.questions()).await;
    let before = one.questions().load().await.unwrap();
    one.close().await;
    two.close().await;
    assert_eq!(
        file.open().await.questions().load().await.unwrap(),
        before,
        "opened again, it is the same bank"
    );
}

async fn every_change_is_in_the_history_with_who_when_before_and_after(file: TestDatabase) {
    let bank = file.open().await.questions();
    apply(&bank, &[entry("a", "1")], &[], 0).await.unwrap();
    apply(&bank, &[entry("a", "2")], &[], 1).await.unwrap();
    apply(&bank, &[], &[id("a")], 2).await.unwrap();
    let select = "SELECT revision, subject, subject_id, operation, value_before, value_after, changed_at, changed_by, \
                  source FROM history ORDER BY revision";
    let rows: Vec<HistoryRow> = sqlx::query_as(select)
        .fetch_all(&mut file.connect().await)
        .await
        .unwrap();
    let json = |answer| Some(wxfaq::bank::format::to_line(&entry("a", answer)));
    let row = |revision, operation: &str, before, after| {
        let text = str::to_owned;
        (
            revision,
            text("entry"),
            text("a"),
            text(operation),
            before,
            after,
            1_772_328_600,
            text("editor"),
            text("test"),
        )
    };
    assert_eq!(
        rows,
        [
            row(1, "put", None, json("1")),
            row(2, "put", json("1"), json("2")),
            row(3, "remove", json("2"), None),
        ]
    );
}

#[tokio::test]
async fn what_the_first_start_makes_is_the_owners_alone() {
    let file = TestDatabase::sqlite();
    let bank = file.open().await.questions();
    apply(&bank, &[entry("a", "1")], &[], 0).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folder = file.path().parent().unwrap().to_owned();
    assert_eq!(mode(&folder), 0o700);
    let files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    assert!(files.len() >= 3, "the database, its log and its lock: {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

async fn a_newer_database_is_refused(file: TestDatabase) {
    file.open().await.close().await;
    let checksum = if file.is_postgres() {
        "decode('00', 'hex')"
    } else {
        "X'00'"
    };
    file.tamper(&format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'from the future', TRUE, {checksum}, 0)"
    ))
    .await;
    let refused = Database::open(file.url()).await.unwrap_err();
    assert!(matches!(refused, OpenError::Newer { found: 9999, .. }), "{refused}");
}

async fn a_damaged_row_is_named_by_entry_and_column(file: TestDatabase) {
    let bank = file.open().await.questions();
    apply(&bank, &[entry("a", "1"), entry("b", "1")], &[], 0).await.unwrap();
    for (column, damage, sound) in [
        ("similar_questions", "'['", "'[]'"),
        ("channels", "'[\"fax\"]'", "'[]'"),
        ("kind", "'hologram'", "'text'"),
        ("state", "''", "'published'"),
        ("priority", "5000000000", "0"),
    ] {
        a_damaged_cell_is_named(&file, &bank, column, damage).await;
        file.tamper(&format!("UPDATE entry SET {column} = {sound} WHERE id = 'b'"))
            .await;
    }
    bank.load().await.unwrap();
}

/// The types of the others' columns leave less room.
#[tokio::test]
async fn a_cell_of_a_wrong_type_is_named() {
    for (column, damage) in [("answer", "X'ff00'"), ("question", "X'61'"), ("valid_from", "'soon'")] {
        let file = TestDatabase::sqlite();
        let bank = file.open().await.questions();
        apply(&bank, &[entry("a", "1"), entry("b", "1")], &[], 0).await.unwrap();
        a_damaged_cell_is_named(&file, &bank, column, damage).await;
    }
}

async fn a_damaged_cell_is_named(file: &TestDatabase, bank: &Questions, column: &str, damage: &str) {
    file.tamper(&format!("UPDATE entry SET {column} = {damage} WHERE id = 'b'"))
        .await;
    let error = bank.load().await.unwrap_err();
    let expected = format!("entry b, column {column}: ");
    assert!(
        matches!(&error, StoreError::Corrupt { reason, .. } if reason.starts_with(&expected)),
        "{error}"
    );
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let file = TestDatabase::sqlite();
    std::fs::create_dir_all(file.path().parent().unwrap()).unwrap();
    std::fs::write(
        file.path(),
        "not a database, by any means, whichever way one reads it".repeat(20),
    )
    .unwrap();
    let refused = Database::open(file.url()).await.unwrap_err();
    assert!(matches!(refused, OpenError::Store(_)), "{refused}");
}

/// A rule that answers `word` with `reply`.
fn rule(name: &str, word: &str, reply: &str) -> Rule {
    let line = serde_json::json!({
        "id": name, "name": "it's \"quoted\" ?|\\😀", "trigger": { "keywords": [{ "equals": word }, { "regex": "^a'?$" }] },
        "replies": [reply, { "entry": "a" }], "window": { "hours": ["22:00-06:00"] },
    });
    let (_, rule) = rule::file::read(&line.to_string()).next().unwrap();
    rule.unwrap()
}

fn rule_id(name: &str) -> RuleId {
    RuleId::parse(name).unwrap()
}

async fn apply_rules(rules: &Rules, put: &[Rule], remove: &[RuleId], revision: u64) -> Result<u64, ApplyError> {
    rules.apply(put, remove, &author(), 1_772_328_600, revision).await
}

/// Holds empty rules beside an empty bank to what `Rules` promises; `other` is the same through other connections.
async fn rules_contract(bank: &Questions, rules: &Rules, other: &Rules) {
    assert_eq!(rules.load().await.unwrap(), (0, vec![]));
    let (a, b) = (rule("a", "营业时间", "九点"), rule("b", "会员", "十元"));
    assert_eq!(apply_rules(rules, &[b.clone(), a.clone()], &[], 0).await.unwrap(), 1);
    assert_eq!(other.load().await.unwrap(), (1, vec![a.clone(), b.clone()]), "by id");
    assert_eq!(bank.revision().await.unwrap(), 1, "one revision for bank and rules");
    let changes = bank.changes_since(0).await.unwrap().unwrap();
    assert_eq!((changes.revision, changes.put, changes.removed), (1, vec![], vec![]));

    // An entry of the same id is another thing.
    assert_eq!(apply(bank, &[entry("a", "1")], &[], 1).await.unwrap(), 2);
    let changed_since = async |revision| bank.changes_since(revision).await.unwrap().unwrap().rules;
    assert_eq!(changed_since(1).await, None);
    let changed = rule("a", "营业时间", "十点");
    assert_eq!(
        apply_rules(
            other,
            std::slice::from_ref(&changed),
            &[rule_id("b"), rule_id("absent")],
            2
        )
        .await
        .unwrap(),
        3
    );
    for (revision, expected) in [(0, true), (2, true), (3, false)] {
        let expected = expected.then(|| vec![changed.clone()]);
        assert_eq!(changed_since(revision).await, expected, "{revision}");
    }
    assert_eq!(rules.load().await.unwrap(), (3, vec![changed.clone()]));
    assert_eq!(bank.load().await.unwrap(), (3, vec![entry("a", "1")]));

    assert_eq!(
        apply_rules(rules, std::slice::from_ref(&changed), &[rule_id("b")], 3)
            .await
            .unwrap(),
        3,
        "nothing changed"
    );
    let stale = apply_rules(rules, std::slice::from_ref(&a), &[], 2).await;
    assert!(
        matches!(stale, Err(ApplyError::Conflict { expected: 2, found: 3 })),
        "{stale:?}"
    );
    let stale = apply(bank, &[entry("z", "1")], &[], 2).await;
    assert!(
        matches!(stale, Err(ApplyError::Conflict { .. })),
        "a rule's change counts for the bank: {stale:?}"
    );
    let twice = apply_rules(rules, std::slice::from_ref(&a), &[rule_id("a")], 3).await;
    assert!(matches!(twice, Err(ApplyError::Repeated(repeated)) if repeated == "rule/a"));
    assert_eq!(rules.load().await.unwrap(), (3, vec![changed]));

    let many: Vec<Rule> = (0..1_203).map(|n| rule(&format!("n{n:04}"), "词", "答")).collect();
    let refused = apply_rules(rules, &many, &[rule_id("a")], 3).await;
    let is_told = matches!(&refused, Err(ApplyError::TooMany(count)) if count.starts_with("1203 regexes, "));
    assert!(is_told && other.load().await.unwrap().0 == 3, "{refused:?}");
    let many: Vec<Rule> = many
        .into_iter()
        .map(|rule| Rule {
            trigger: Trigger::Default,
            ..rule
        })
        .collect();
    assert_eq!(apply_rules(rules, &many, &[rule_id("a")], 3).await.unwrap(), 4);
    assert_eq!(rules.load().await.unwrap(), (4, many));
}

async fn the_rules_keep_their_contract(file: TestDatabase) {
    let (one, two) = tokio::join!(file.open(), file.open());
    rules_contract(&one.questions(), &one.rules(), &two.rules()).await;
    let before = one.rules().load().await.unwrap();
    one.close().await;
    two.close().await;
    assert_eq!(file.open().await.rules().load().await.unwrap(), before, "opened again");
}

async fn every_change_of_a_rule_is_in_the_history_with_who_when_before_and_after(file: TestDatabase) {
    let rules = file.open().await.rules();
    apply_rules(&rules, &[rule("a", "词", "1")], &[], 0).await.unwrap();
    apply_rules(&rules, &[rule("a", "词", "2")], &[], 1).await.unwrap();
    apply_rules(&rules, &[], &[rule_id("a")], 2).await.unwrap();
    let select = "SELECT revision, subject, subject_id, operation, value_before, value_after, changed_at, changed_by, \
                  source FROM history ORDER BY revision";
    let rows: Vec<HistoryRow> = sqlx::query_as(select)
        .fetch_all(&mut file.connect().await)
        .await
        .unwrap();
    let json = |reply| Some(rule::file::to_line(&rule("a", "词", reply)));
    let row = |revision, operation: &str, before, after| {
        let text = str::to_owned;
        let (subject, id, who, source) = (text("rule"), text("a"), text("editor"), text("test"));
        (
            revision,
            subject,
            id,
            text(operation),
            before,
            after,
            1_772_328_600,
            who,
            source,
        )
    };
    let expected = [
        row(1, "put", None, json("1")),
        row(2, "put", json("1"), json("2")),
        row(3, "remove", json("2"), None),
    ];
    assert_eq!(rows, expected);
}

async fn a_damaged_rule_is_named(file: TestDatabase) {
    let rules = file.open().await.rules();
    apply_rules(&rules, &[rule("a", "词", "1"), rule("b", "词", "1")], &[], 0)
        .await
        .unwrap();
    for damage in ["{", "{\"id\":\"other\",\"trigger\":\"default\",\"replies\":[\"A\"]}"] {
        file.tamper(&format!("UPDATE reply_rule SET definition = '{damage}' WHERE id = 'b'"))
            .await;
        let error = rules.load().await.unwrap_err();
        let is_named =
            matches!(&error, StoreError::Corrupt { reason, .. } if reason.starts_with("rule b, column definition: "));
        assert!(is_named, "{error}");
    }
}

async fn categories_share_revision_history_and_changes(file: TestDatabase) {
    let (one, two) = tokio::join!(file.open(), file.open());
    let set = |name: &str, reply: &str| Category {
        title: "it's \"quoted\" ?|\\😀".to_owned(),
        order: -3,
        reply: reply.to_owned(),
        ..Category::new(name)
    };
    let path = "开户/".to_owned() + &"字".repeat(61);
    let (a, b) = (set(&path, "第一行\n第二行"), set("开户", ""));
    let apply = async |put: &[Category], remove: &[String], revision| {
        one.categories().apply(put, remove, &author(), 1, revision).await
    };
    assert_eq!(apply(&[a.clone(), b.clone()], &[], 0).await.unwrap(), 1);
    assert_eq!(
        two.categories().load().await.unwrap(),
        (1, vec![b.clone(), a.clone()]),
        "by name"
    );
    assert_eq!(
        apply(from_ref(&a), &["absent".to_owned()], 1).await.unwrap(),
        1,
        "nothing changed"
    );
    assert_eq!(
        apply_rules(&two.rules(), &[rule("r", "词", "答")], &[], 1)
            .await
            .unwrap(),
        2
    );
    let changed_since = async |revision| two.questions().changes_since(revision).await.unwrap().unwrap();
    assert_eq!(changed_since(1).await.categories, None);
    assert_eq!(changed_since(0).await.categories, Some(vec![b.clone(), a.clone()]));

    let stale = set("开户", "新的");
    let overtaken = BankChange {
        put_categories: from_ref(&stale),
        made_from: Some(0),
        ..BankChange::default()
    };
    let refused = two.change(overtaken, &author(), 1, 2).await.unwrap_err().to_string();
    assert!(
        refused.contains("category/开户 by editor (test) in revision 1: made"),
        "{refused}"
    );
    let twice = apply(from_ref(&b), &["开户".to_owned()], 2).await;
    assert!(matches!(twice, Err(ApplyError::Repeated(repeated)) if repeated == "category/开户"));

    assert_eq!(apply(&[], from_ref(&path), 2).await.unwrap(), 3);
    let bank = two.load_bank().await.unwrap();
    assert_eq!(
        (bank.revision, bank.categories, bank.rules.len()),
        (3, vec![b.clone()], 1)
    );
    let thing = Thing::new(Subject::Category, path.clone());
    let at = async |revision| two.revisions().at(&thing, revision).await.unwrap();
    assert_eq!((at(2).await, at(3).await), (Some(beside::to_line(&a)), None));
    let (_, then) = two.revisions().changed_after(2).await.unwrap();
    assert_eq!(then.get(&thing), Some(&Some(beside::to_line(&a))));

    file.tamper("UPDATE category SET definition = '{' WHERE id = '开户'")
        .await;
    let damaged = one.categories().load().await.unwrap_err().to_string();
    assert!(damaged.contains("category 开户, column definition"), "{damaged}");
}
