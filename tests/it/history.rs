//! Several editors on one bank, and the way back: on every database.
#![allow(clippy::unwrap_used, reason = "a helper that panics fails its test")]

use crate::support::database::{TestDatabase, on_every_database};
use std::slice::from_ref;
use wxfaq::bank::history::{Recorded, Subject, Thing};
use wxfaq::bank::{Answer, Entry, EntryId, Rule, State, format, rule};
use wxfaq::store::sql::{ApplyError, Author, BankChange, Database};

on_every_database!(
    an_edit_of_what_somebody_changed_meanwhile_is_refused_and_told,
    an_entry_knows_who_made_it_and_who_changed_it_last,
    what_was_can_be_read_at_every_revision,
    what_another_entry_says_is_not_published_twice,
    entries_and_rules_are_read_at_one_revision,
);

fn entry(id: &str, answer: &str) -> Entry {
    Entry::new(
        EntryId::parse(id).unwrap(),
        format!("问题 {id}？"),
        Answer::Text(answer.to_owned()),
    )
}

fn a_rule(reply: &str) -> Rule {
    let line = format!(r#"{{"id":"r","trigger":"default","replies":["{reply}"]}}"#);
    rule::file::from_line(&line).unwrap()
}

fn by(who: &str) -> Author {
    Author {
        who: who.to_owned(),
        source: "console".to_owned(),
    }
}

/// Puts an entry as it was shown to `who` at a revision.
async fn edit(database: &Database, who: &str, entry: &Entry, made_from: u64) -> Result<u64, ApplyError> {
    let change = BankChange {
        put: from_ref(entry),
        made_from: Some(made_from),
        ..BankChange::default()
    };
    let current = database.questions().revision().await.unwrap();
    database
        .change(change, &by(who), 100 + i64::try_from(current).unwrap(), current)
        .await
}

async fn an_edit_of_what_somebody_changed_meanwhile_is_refused_and_told(place: TestDatabase) {
    let (one, two) = tokio::join!(place.open(), place.open());
    assert_eq!(edit(&one, "王", &entry("a", "1"), 0).await.unwrap(), 1);
    assert_eq!(edit(&one, "王", &entry("b", "1"), 0).await.unwrap(), 2);
    assert_eq!(edit(&one, "王", &entry("a", "2"), 2).await.unwrap(), 3);
    let before = two.questions().load().await.unwrap();

    let refused = edit(&two, "李", &entry("a", "3"), 2).await.unwrap_err();
    let ApplyError::Overtaken(overtaken) = &refused else {
        panic!("{refused:?}")
    };
    let told: Vec<_> = overtaken.changes.iter().map(|change| change.revision).collect();
    assert_eq!((overtaken.made_from, told), (2, vec![3]));
    assert_eq!(
        refused.to_string(),
        "nothing was written: changed since revision 2; a by 王 (console) in revision 3: answer"
    );
    let removal = BankChange {
        remove: from_ref(&before.1[0].id),
        made_from: Some(2),
        ..BankChange::default()
    };
    let refused = two.change(removal, &by("李"), 1, 3).await;
    assert!(matches!(refused, Err(ApplyError::Overtaken(_))), "{refused:?}");
    assert_eq!(two.questions().load().await.unwrap(), before, "nothing is overwritten");

    // What others did elsewhere is in nobody's way, and who has seen the change may make the next.
    assert_eq!(edit(&two, "李", &entry("b", "2"), 2).await.unwrap(), 4);
    assert_eq!(edit(&two, "李", &entry("a", "3"), 3).await.unwrap(), 5);
    let ahead = edit(&two, "李", &entry("a", "4"), 9).await;
    assert!(
        matches!(ahead, Err(ApplyError::Ahead { asked: 9, found: 5 })),
        "{ahead:?}"
    );

    // A rule is held to the same, and a change is refused whole.
    let with_rule = |reply, made_from| (a_rule(reply), made_from);
    for ((rule, made_from), expected) in [(with_rule("1", 0), true), (with_rule("2", 5), false)] {
        let change = BankChange {
            put: &[entry("c", "1")],
            put_rules: from_ref(&rule),
            made_from: Some(made_from),
            ..BankChange::default()
        };
        let current = one.questions().revision().await.unwrap();
        let done = one.change(change, &by("王"), 1, current).await;
        assert_eq!(done.is_ok(), expected, "{done:?}");
    }
    assert_eq!(one.rules().load().await.unwrap(), (6, vec![a_rule("1")]));
}

async fn an_entry_knows_who_made_it_and_who_changed_it_last(place: TestDatabase) {
    let database = place.open().await;
    let id = EntryId::parse("a").unwrap();
    assert_eq!(database.questions().find(&id).await.unwrap(), None);
    edit(&database, "王", &entry("a", "1"), 0).await.unwrap();
    edit(&database, "李", &entry("a", "2"), 1).await.unwrap();
    let stored = database.questions().find(&id).await.unwrap().unwrap();
    assert_eq!((stored.entry, stored.revision), (entry("a", "2"), 2));
    assert_eq!((stored.created_at, stored.created_by.as_str()), (100, "王"));
    assert_eq!((stored.updated_at, stored.updated_by.as_str()), (101, "李"));
}

async fn what_was_can_be_read_at_every_revision(place: TestDatabase) {
    let database = place.open().await;
    let both = BankChange {
        put: &[entry("a", "1"), entry("b", "1")],
        put_rules: &[a_rule("1")],
        ..BankChange::default()
    };
    assert_eq!(
        database.change(both, &by("王"), 1, 0).await.unwrap(),
        1,
        "one revision for all of it"
    );
    edit(&database, "王", &entry("a", "2"), 1).await.unwrap();
    let id = EntryId::parse("a").unwrap();
    let removed = database.questions().apply(&[], &[id], &by("李"), 3, 2).await;
    assert_eq!(removed.unwrap(), 3);

    let revisions = database.revisions();
    let (a, r) = (Thing::new(Subject::Entry, "a"), Thing::new(Subject::Rule, "r"));
    let line = |answer| Some(format::to_line(&entry("a", answer)));
    let mut shown = Vec::new();
    for revision in 0..=4 {
        shown.push(revisions.at(&a, revision).await.unwrap());
    }
    assert_eq!(shown, [None, line("1"), line("2"), None, None]);
    assert_eq!(
        revisions.at(&r, 3).await.unwrap(),
        Some(rule::file::to_line(&a_rule("1")))
    );

    let states = |revision| {
        let revisions = revisions.clone();
        async move {
            let (current, states) = revisions.changed_after(revision).await.unwrap();
            assert_eq!(current, 3);
            let shown = states.into_iter().map(|(thing, state)| (thing.to_string(), state));
            shown.collect::<Vec<_>>()
        }
    };
    let pair = |id: &str, state| (id.to_owned(), state);
    assert_eq!(
        states(0).await,
        [pair("a", None), pair("b", None), pair("rule/r", None)]
    );
    assert_eq!(states(1).await, [pair("a", line("1"))]);
    assert_eq!(states(2).await, [pair("a", line("2"))]);
    assert_eq!(states(3).await, []);

    let last = revisions.last(None, 10).await.unwrap();
    let order: Vec<_> = last
        .iter()
        .map(|change| (change.revision, change.thing.to_string()))
        .collect();
    let expected = [(3, "a"), (2, "a"), (1, "a"), (1, "b"), (1, "rule/r")];
    assert_eq!(order, expected.map(|(revision, id)| (revision, id.to_owned())));
    assert_eq!(last[0].changed_by, "李");
    let of_a = revisions.last(Some(&a), 2).await.unwrap();
    let summaries: Vec<_> = of_a.iter().map(Recorded::summary).collect();
    assert_eq!(summaries, ["removed", "answer"]);
}

async fn what_another_entry_says_is_not_published_twice(place: TestDatabase) {
    let database = place.open().await;
    let says = |id: &str, similar: &str, state| {
        let similar = vec![similar.to_owned()];
        Entry {
            similar,
            state,
            ..entry(id, "1")
        }
    };
    let put = async |entries: &[Entry], remove: &[EntryId]| {
        let change = BankChange {
            put: entries,
            remove,
            ..BankChange::default()
        };
        let done = database.edit(change, &by("王"), 1, |text| text.replace('？', "")).await;
        done.map_err(|error| error.to_string())
    };
    assert_eq!(put(&[says("a", "开户", State::Published)], &[]).await, Ok(1));
    assert_eq!(
        put(&[says("b", "开户？", State::Draft)], &[]).await,
        Ok(2),
        "a draft says it to nobody"
    );
    let refused = put(&[says("b", "开户？", State::Published)], &[]).await.unwrap_err();
    let told = "nothing was written, merge them or change one: b, similar: \"开户？\" also stands in a";
    assert_eq!(refused, told);
    assert_eq!(database.questions().revision().await.unwrap(), 2);
    let gone = EntryId::parse("a").unwrap();
    assert_eq!(put(&[says("b", "开户？", State::Published)], &[gone]).await, Ok(3));
    assert_eq!(
        put(
            &[says("b", "开户", State::Published), says("c", "销户", State::Published)],
            &[]
        )
        .await,
        Ok(4)
    );
}

/// One writer changes an entry and a rule together, again and again; whoever reads finds both alike.
async fn entries_and_rules_are_read_at_one_revision(place: TestDatabase) {
    const ROUNDS: u64 = 60;
    let (writing, reading) = tokio::join!(place.open(), place.open());
    let writer = tokio::spawn(async move {
        for round in 0..ROUNDS {
            let text = round.to_string();
            let change = BankChange {
                put: &[entry("a", &text)],
                put_rules: &[a_rule(&text)],
                ..BankChange::default()
            };
            writing.change(change, &by("王"), 1, round).await.unwrap();
        }
    });
    loop {
        let bank = reading.load_bank().await.unwrap();
        let changes = reading.questions().changes_since(0).await.unwrap().unwrap();
        let read = [
            (bank.revision, bank.entries, bank.rules),
            (changes.revision, changes.put, changes.rules.unwrap_or_default()),
        ];
        for (revision, entries, rules) in read {
            let Some(round) = revision.checked_sub(1) else { continue };
            let text = round.to_string();
            assert_eq!(
                (entries, rules),
                (vec![entry("a", &text)], vec![a_rule(&text)]),
                "at {revision}"
            );
        }
        if changes.revision == ROUNDS {
            break;
        }
    }
    writer.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_editors_of_other_entries_are_in_nobodys_way() {
    let place = TestDatabase::sqlite();
    let database = place.open().await;
    let editing = (0..12).map(|number| {
        let database = database.clone();
        tokio::spawn(async move {
            let entry = entry(&format!("e{number}"), "1");
            let change = BankChange {
                put: from_ref(&entry),
                made_from: Some(0),
                ..BankChange::default()
            };
            database.edit(change, &by("王"), 1, str::to_owned).await
        })
    });
    for done in editing.collect::<Vec<_>>() {
        done.await.unwrap().unwrap();
    }
    assert_eq!(database.questions().revision().await.unwrap(), 12);
}
