//! Matching at scale: build time, memory by field, search time by stage, edits one at a time.
//!
//! `cargo bench --bench matching -- BANK.jsonl QUERIES.jsonl [search|suggest|edits]` on files made by `make_bank.py`;
//! tests/README.md has the commands and what came out. Everything runs on one thread but building. Edits under load are
//! `edits.rs`.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{SCOPE, peak, processor_time, resident, show, show_processor_time};
use wxfaq::bank::{Entry, EntryId};
use wxfaq::matching::{Analyzer, Change, Index, Popularity, Stage, pinyin};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    // `cargo test --benches` runs this without files: there is nothing to do then.
    let arguments = support::arguments();
    let [bank, queries, only @ ..] = arguments.as_slice() else {
        return;
    };
    let wanted = |part: &str| only.is_empty() || only.iter().any(|only| only == part);
    let entries: Vec<Arc<Entry>> = support::bank(bank).into_iter().map(Arc::new).collect();
    let queries = support::questions(queries);
    println!(
        "{} entries, {} queries; entries alone {} MiB",
        entries.len(),
        queries.len(),
        resident()
    );

    let analyzer = Arc::new(Analyzer::new(&support::dictionaries()));
    let begin = Instant::now();
    let index = Index::build(entries.iter().cloned(), analyzer);
    println!(
        "build {:.2} s, resident {} MiB, peak {} MiB",
        begin.elapsed().as_secs_f64(),
        resident(),
        peak()
    );
    for (what, bytes) in index.bytes() {
        println!("  {what:20} {:8.1} MiB", bytes as f64 / 1_048_576.0);
    }

    if wanted("search") {
        stages(&index, &queries);
    }
    if wanted("suggest") {
        suggest(&index, &entries);
    }
    if wanted("edits") {
        edits(index, &entries, &queries);
    }
}

/// The stages of a search in the order in which they end; the last one is what comes after.
const STAGES: [(&str, Option<Stage>); 5] = [
    ("  normalise, analyse", Some(Stage::Analysed)),
    ("  respell", Some(Stage::Respelled)),
    ("  candidates", Some(Stage::Gathered)),
    ("  compare, rank", Some(Stage::Ranked)),
    ("  the rest", None),
];

/// Asks every query three times, the last two rounds by the clock: first as a whole, then stage by stage.
fn stages(index: &Index, queries: &[String]) {
    let mut whole = Vec::with_capacity(queries.len() * 2);
    let mut stages = vec![Vec::with_capacity(queries.len() * 2); STAGES.len()];
    let mut found = 0;
    let before = processor_time();
    for round in 0..3 {
        for query in queries {
            let begin = Instant::now();
            found += index.search(query, SCOPE, 10).hits.len();
            if round > 0 {
                whole.push(begin.elapsed());
            }
        }
    }
    show("search", &mut whole);
    show_processor_time(before, 3 * queries.len());
    for round in 0..3 {
        for query in queries {
            let mut ends = [Duration::ZERO; STAGES.len()];
            let begin = Instant::now();
            let reached = |stage| {
                let position = STAGES.iter().position(|(_, own)| *own == Some(stage));
                ends[position.expect("every stage is listed")] = begin.elapsed();
            };
            found += index.search_watched(query, SCOPE, 10, reached).hits.len();
            ends[STAGES.len() - 1] = begin.elapsed();
            if round > 0 {
                let starts = [Duration::ZERO].into_iter().chain(ends);
                for (stage, (start, end)) in stages.iter_mut().zip(starts.zip(ends)) {
                    stage.push(end.saturating_sub(start));
                }
            }
        }
    }
    assert!(found > 0, "nothing was found");
    for ((name, _), times) in STAGES.iter().zip(&mut stages) {
        show(name, times);
    }
}

/// What is typed of 1,000 questions, key stroke by key stroke: the text, a piece out of its middle, its pinyin, initials.
fn suggest(index: &Index, entries: &[Arc<Entry>]) {
    let mut popularity = Popularity::default();
    let every = |count: usize| entries.iter().step_by((entries.len() / count).max(1));
    every(4_000).for_each(|entry| popularity.note(&entry.id));
    let spelled = |c: char| pinyin::readings(c).first().map_or("", |syllable| syllable.spelling());
    let typed = |write: &dyn Fn(&[char]) -> String, most: usize| -> Vec<String> {
        let mut typed = Vec::new();
        for entry in every(1_000) {
            let chars: Vec<char> = entry.question.chars().collect();
            let letters: Vec<char> = write(&chars).chars().collect();
            typed.extend((1..=most.min(letters.len())).map(|length| letters[..length].iter().collect::<String>()));
        }
        typed
    };
    let kinds: [(&str, Vec<String>); 4] = [
        ("text", typed(&|chars| chars.iter().collect(), 8)),
        ("infix", typed(&|chars| chars[chars.len() / 2..].iter().collect(), 4)),
        (
            "pinyin",
            typed(&|chars| chars.iter().map(|c| spelled(*c)).collect(), 16),
        ),
        (
            "initials",
            typed(
                &|chars| chars.iter().filter_map(|c| spelled(*c).chars().next()).collect(),
                6,
            ),
        ),
    ];
    for (kind, typed) in &kinds {
        let work = |typed: &str| index.suggest(typed, SCOPE, &popularity, 8).len();
        measure(&format!("suggest/{kind}"), typed, work);
        let found = typed.iter().filter(|typed| work(typed) > 0).count();
        println!("  {} typed, something suggested for {found}", typed.len());
    }
    let all: Vec<String> = kinds.into_iter().flat_map(|(_, typed)| typed).collect();
    measure("suggest", &all, |typed| {
        index.suggest(typed, SCOPE, &popularity, 8).len()
    });
}

/// Runs `work` for everything typed three times and shows the times of the last two rounds.
fn measure(what: &str, typed: &[String], work: impl Fn(&str) -> usize) {
    let mut times = Vec::with_capacity(typed.len() * 2);
    let mut found = 0;
    for round in 0..3 {
        for text in typed {
            let begin = Instant::now();
            found += work(text);
            if round > 0 {
                times.push(begin.elapsed());
            }
        }
    }
    assert!(found > 0, "nothing was found");
    show(what, &mut times);
}

/// Replaces, adds and removes entries one at a time, and searches in between.
fn edits(mut index: Index, entries: &[Arc<Entry>], queries: &[String]) {
    let (mut applied, mut searched) = (Vec::new(), Vec::new());
    for number in 0..2_000_usize {
        let at = number.wrapping_mul(7_919) % entries.len();
        let change = match number % 3 {
            0 => Change::Put(Arc::new(Entry {
                question: format!("{}{number}", entries[at].question),
                ..(*entries[at]).clone()
            })),
            1 => Change::Put(Arc::new(Entry {
                id: EntryId::parse(&format!("new-{number}")).expect("letters and digits"),
                ..(*entries[at]).clone()
            })),
            _ => Change::Remove(entries[at].id.clone()),
        };
        let begin = Instant::now();
        index = index.apply(&[change]);
        applied.push(begin.elapsed());
        let begin = Instant::now();
        std::hint::black_box(index.search(&queries[number % queries.len()], SCOPE, 10));
        searched.push(begin.elapsed());
    }
    let begin = Instant::now();
    std::hint::black_box(index.compacted());
    let mut compacted = [begin.elapsed()];
    show("edit", &mut applied);
    show("search among edits", &mut searched);
    show("compact", &mut compacted);
}
