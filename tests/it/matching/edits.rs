//! An index after edits finds what one built from the same bank finds, and its readers never see half an edit.

use super::{ANALYZER, any_text, entry, index, scope, small_bank};
use arc_swap::ArcSwap;
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use wxfaq::bank::{Answer, Entry, EntryId};
use wxfaq::matching::{Change, Guard, Index, Matches};

fn seen(matches: &Matches) -> (Vec<(String, u16, u16)>, Option<Guard>) {
    let hits = matches
        .hits
        .iter()
        .map(|hit| (hit.entry.id.to_string(), hit.score.steps(), hit.phrasing));
    (hits.collect(), matches.guard)
}

#[test]
fn a_thousand_edits_one_by_one_leave_what_a_rebuild_would() {
    let numbered = |n: usize, round: usize| {
        let what = ["开户", "销户", "转账", "密码", "佣金", "申购", "赎回"][(n + round) % 7];
        entry(
            &format!("e{n}"),
            &format!("第{n}号产品怎么{what}"),
            &[&format!("{what}第{n}号")],
            "答",
        )
    };
    let mut bank: Vec<Entry> = small_bank();
    let mut edited = index(bank.clone());
    for edit in 0..1_000 {
        let (n, round) = (edit * 37 % 300, edit / 300);
        let change = if edit % 5 == 4 {
            let id = numbered(n, 0).id;
            bank.retain(|entry| entry.id != id);
            Change::Remove(id)
        } else {
            let entry = numbered(n, round);
            bank.retain(|other| other.id != entry.id);
            bank.push(entry.clone());
            Change::Put(Arc::new(entry))
        };
        edited = edited.apply(&[change]);
    }
    let rebuilt = index(bank);
    let compacted = edited.compacted();
    assert_eq!(edited.len(), rebuilt.len());
    assert!(edited.content() == rebuilt.content() && compacted.content() == rebuilt.content());
    for query in [
        "第37号产品怎么开户",
        "销户",
        "mima",
        "申购第12号",
        "科创板开户",
        "佣金 多少",
    ] {
        let expected = seen(&rebuilt.search(query, scope(), 10));
        assert_eq!(seen(&edited.search(query, scope(), 10)), expected, "{query}");
        assert_eq!(seen(&compacted.search(query, scope(), 10)), expected, "{query}");
    }
}

/// Enough entries for more than one piece, and for two cores to file them.
#[test]
fn a_bank_in_pieces_is_the_bank_as_a_whole_and_the_bank_of_edits() {
    const WHAT: [&str; 7] = ["开户", "销户", "转账", "密码", "佣金", "申购", "赎回"];
    let numbered = |n: usize| {
        let (what, other) = (WHAT[n % 7], WHAT[n / 7 % 7]);
        let question = format!("第{n}号产品怎么{what}");
        Arc::new(entry(
            &format!("e{n:04}"),
            &question,
            &[&format!("{what}和{other}第{n}号")],
            other,
        ))
    };
    let bank: Vec<Arc<Entry>> = (0..3_000).map(numbered).collect();
    let whole = Index::build(bank.iter().cloned(), Arc::clone(&ANALYZER));
    let pieces = bank.chunks(70).map(<[_]>::to_vec);
    let pieces = Index::build_in_pieces(pieces, Arc::clone(&ANALYZER));
    let edits: Vec<Change> = bank.iter().rev().cloned().map(Change::Put).collect();
    let edited = edits
        .chunks(1_000)
        .fold(index(Vec::new()), |index, edits| index.apply(edits));
    for index in [&pieces, &edited] {
        assert_eq!(index.len(), bank.len());
        assert!(index.content() == whole.content());
    }
    for entry in bank.iter().step_by(100) {
        for query in entry.phrasings().chain([entry.question.trim_start_matches('第')]) {
            let expected = seen(&whole.search(query, scope(), 10));
            assert_eq!(
                expected.0.first().map(|hit| hit.0.as_str()),
                Some(entry.id.as_str()),
                "{query}"
            );
            assert_eq!(seen(&pieces.search(query, scope(), 10)), expected, "{query}");
            assert_eq!(seen(&edited.search(query, scope(), 10)), expected, "{query}");
        }
        assert_eq!(pieces.entry(entry.id.as_str()), Some(entry));
    }
}

/// Each edit gives every entry its own number as the answer, so a search that saw two versions would show it.
#[test]
fn readers_during_edits_never_see_a_mixture() {
    const EDITS: usize = 300;
    let version = |number: usize| -> Vec<Entry> {
        let answer = number.to_string();
        let renumbered = |entry: Entry| Entry {
            answer: Answer::Text(answer.clone()),
            ..entry
        };
        small_bank().into_iter().map(renumbered).collect()
    };
    let versions_of = |matches: &Matches| -> Vec<usize> {
        let answers = matches.hits.iter().map(|hit| hit.entry.answer.content().into_owned());
        answers.map(|answer| answer.parse().unwrap()).collect()
    };
    let query = "科创板怎么开户";
    let first = index(version(0));
    let ids = seen(&first.search(query, scope(), 10));
    let published = ArcSwap::from_pointee(first.clone());
    let is_done = AtomicBool::new(false);
    let read = || {
        let (mut latest, mut searches) = (0, 0_usize);
        while !is_done.load(Ordering::Acquire) || searches == 0 {
            let matches = published.load().search(query, scope(), 10);
            let versions = versions_of(&matches);
            assert!(
                versions.iter().all(|version| *version == versions[0]),
                "a mixture: {versions:?}"
            );
            assert!(versions[0] >= latest, "back from {latest} to {}", versions[0]);
            assert_eq!(seen(&matches), ids);
            latest = versions[0];
            searches += 1;
        }
        searches
    };
    let searches: Vec<usize> = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2).map(|_| scope.spawn(read)).collect();
        for number in 1..=EDITS {
            let changes = version(number).into_iter().map(|entry| Change::Put(Arc::new(entry)));
            let mut next = published.load().apply(&changes.collect::<Vec<_>>());
            if next.wants_compaction() || number % 50 == 0 {
                next = next.compacted();
            }
            published.store(Arc::new(next));
        }
        is_done.store(true, Ordering::Release);
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    println!("{EDITS} edits of the whole bank, {searches:?} searches meanwhile");
    assert!(
        versions_of(&first.search(query, self::scope(), 10))
            .iter()
            .all(|version| *version == 0),
        "what is held stays"
    );
    assert_eq!(
        versions_of(&published.load().search(query, self::scope(), 10))[0],
        EDITS
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn edits_leave_what_a_rebuild_would(texts in prop::collection::vec(any_text(), 1..5), query in any_text(), removed in 0_usize..7) {
        let mut bank = small_bank();
        let added: Vec<Entry> = texts.iter().enumerate().map(|(n, text)| entry(&format!("n{n}"), text, &[], "答")).collect();
        let gone = bank[removed].id.clone();
        let mut changes: Vec<Change> = added.iter().map(|entry| Change::Put(Arc::new(entry.clone()))).collect();
        changes.push(Change::Remove(gone.clone()));
        changes.push(Change::Remove(EntryId::parse("absent").unwrap()));
        let edited = index(bank.clone()).apply(&changes);
        bank.retain(|entry| entry.id != gone);
        bank.extend(added);
        bank.reverse();
        let rebuilt = index(bank);
        prop_assert_eq!(edited.len(), rebuilt.len());
        let compacted = edited.compacted();
        prop_assert!(edited.content() == rebuilt.content() && compacted.content() == rebuilt.content());
        for query in texts.iter().chain([&query]) {
            let expected = seen(&rebuilt.search(query, scope(), 10));
            prop_assert_eq!(seen(&edited.search(query, scope(), 10)), expected.clone());
            prop_assert_eq!(seen(&compacted.search(query, scope(), 10)), expected);
        }
    }
}
