//! Matching at scale: build time, memory, search time by query, edit latency.
//!
//! `cargo bench --bench matching -- BANK.jsonl QUERIES.jsonl` on files made by `make_bank.py`; tests/README.md has the
//! commands and what came out. Everything runs on one thread but building.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wxfaq::bank::dictionary::{Dictionaries, DictionaryTexts};
use wxfaq::bank::format::Format;
use wxfaq::bank::{Channel, Entry, EntryId};
use wxfaq::matching::{Analyzer, Change, Index, Scope};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const SCOPE: Scope<'static> = Scope {
    account: "bench",
    channel: Channel::Wechat,
    now: 1_800_000_000,
    category: None,
};

fn main() {
    let files: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    // `cargo test --benches` runs this without files: there is nothing to do then.
    let [bank, queries] = files.as_slice() else { return };
    let (bank, queries) = (read(Path::new(bank)), questions(Path::new(queries)));
    let entries: Vec<Arc<Entry>> = bank.into_iter().map(Arc::new).collect();
    println!(
        "{} entries, {} queries; entries alone {} MiB",
        entries.len(),
        queries.len(),
        resident()
    );

    let analyzer = Arc::new(Analyzer::new(&dictionaries()));
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

    measure("normalise", &queries, |query| index.analyzer().normalize(query).len());
    measure("analyse", &queries, |query| index.analyzer().analyze(query).units.len());
    measure("search", &queries, |query| index.search(query, SCOPE, 10).hits.len());
    edits(index, &entries, &queries);
}

/// Runs `work` for every query three times and prints the times of the last two rounds.
fn measure(what: &str, queries: &[String], work: impl Fn(&str) -> usize) {
    let mut times = Vec::with_capacity(queries.len() * 2);
    let mut sink = 0;
    for round in 0..3 {
        for query in queries {
            let begin = Instant::now();
            sink += work(query);
            if round > 0 {
                times.push(begin.elapsed());
            }
        }
    }
    show(what, times);
    assert!(sink > 0, "nothing was done");
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let mean = times.iter().sum::<Duration>() / times.len() as u32;
    let at = |share: f64| micros(times[((times.len() - 1) as f64 * share) as usize]);
    println!(
        "{what:10} mean {:8.1} us  p50 {:8.1}  p99 {:8.1}  max {:8.1}",
        micros(mean),
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

/// Replaces, adds and removes entries one at a time, and searches in between.
fn edits(mut index: Index, entries: &[Arc<Entry>], queries: &[String]) {
    let (mut applied, mut searched, mut compacted) = (Vec::new(), Vec::new(), Vec::new());
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
    compacted.push(begin.elapsed());
    show("edit", applied);
    show("search*", searched);
    show("compact", compacted);
    println!("  * among 2,000 edits");
}

fn dictionaries() -> Dictionaries {
    Dictionaries::parse(DictionaryTexts {
        user: include_bytes!("../../config/dict/user.txt"),
        stopwords: include_bytes!("../../config/dict/stopwords.txt"),
        synonyms: include_bytes!("../../config/dict/synonyms.txt"),
        contrast: include_bytes!("../../config/dict/contrast.txt"),
        sensitive: include_bytes!("../../config/dict/sensitive.txt"),
    })
    .expect("the shipped dictionaries are valid")
}

fn read(path: &Path) -> Vec<Entry> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let entry = |(number, row): (usize, Result<wxfaq::bank::format::Row, _>)| {
        let id = || EntryId::parse(&format!("row-{number}")).expect("letters and digits");
        row.ok().and_then(|row| row.into_entry_or(None, id).ok())
    };
    Format::Jsonl.read(&text).enumerate().filter_map(entry).collect()
}

fn questions(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let question = |line: &str| -> Option<String> {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(value["query"].as_str()?.to_owned())
    };
    text.lines().filter_map(question).collect()
}

/// MiB.
fn resident() -> u64 {
    status("VmRSS:")
}

/// MiB.
fn peak() -> u64 {
    status("VmHWM:")
}

fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() / 1_024
}
