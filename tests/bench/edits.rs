//! Edits under load: how fast a bank changes while it is searched, and what that costs the searches.
//!
//! `cargo bench --bench edits -- BANK.jsonl QUERIES.jsonl [SECONDS]` on files made by `make_bank.py`. First in the index
//! alone, a thousand edits a second, gathered and published every few milliseconds as one after another would be by a
//! busy publisher; then whole edits, each with a durable commit to SQLite before it is published, as many as the disk
//! allows. One thread edits, one searches without a pause; searches are timed idle as well, before and after.

mod support;

use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use support::{SCOPE, peak, processor_time, resident, show, show_processor_time};
use wxfaq::bank::{Entry, EntryId};
use wxfaq::matching::{Analyzer, Change, Index};
use wxfaq::store::sql::{Author, Database, sqlite_url};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Edits a second that are wanted.
const RATE: f64 = 1_000.0;
/// Between two publications.
const PAUSE: Duration = Duration::from_millis(5);

fn main() {
    // `cargo test --benches` runs this without files: there is nothing to do then.
    let arguments = support::arguments();
    let [bank, queries, seconds @ ..] = arguments.as_slice() else {
        return;
    };
    let seconds: u64 = seconds
        .first()
        .map_or(10, |text| text.parse().expect("a number of seconds"));
    let bench = Bench {
        entries: support::bank(bank).into_iter().map(Arc::new).collect(),
        queries: support::questions(queries),
        lasting: Duration::from_secs(seconds),
    };
    let analyzer = Arc::new(Analyzer::new(&support::dictionaries()));
    let index = Index::build(bench.entries.iter().cloned(), analyzer);
    println!(
        "{} entries, {} queries, resident {} MiB",
        index.len(),
        bench.queries.len(),
        resident()
    );
    let published = ArcSwap::from_pointee(index);
    bench.search_idle(&published, "idle");
    bench.edit_the_index(&published);
    bench.search_idle(&published, "idle again");
    bench.edit_the_database(&published);
    println!("\nresident {} MiB, peak {} MiB", resident(), peak());
}

struct Bench {
    entries: Vec<Arc<Entry>>,
    queries: Vec<String>,
    lasting: Duration,
}

/// What came of editing for a while.
#[derive(Default)]
struct Edited {
    edits: usize,
    /// From the moment an edit was due, or began, until searches saw it.
    visible: Vec<Duration>,
    applied: Vec<Duration>,
    compacted: Vec<Duration>,
    /// The compaction under way, since when, and what was edited since.
    compacting: Option<(JoinHandle<Index>, Instant, Vec<Change>)>,
}

impl Bench {
    /// The edit with that number: replaces, adds and removes in turn.
    fn change(&self, number: usize) -> Change {
        let entry = &self.entries[number.wrapping_mul(7_919) % self.entries.len()];
        let id = |name| EntryId::parse(&format!("{name}-{number}")).expect("letters and digits");
        match number % 3 {
            0 => Change::Put(Arc::new(Entry {
                question: format!("{}{number}", entry.question),
                ..(**entry).clone()
            })),
            1 => Change::Put(Arc::new(Entry {
                id: id("new"),
                ..(**entry).clone()
            })),
            _ => Change::Remove(entry.id.clone()),
        }
    }

    /// Searches without a pause as long as it `goes_on`, and prints the times.
    fn search_while(&self, published: &ArcSwap<Index>, when: &str, goes_on: impl Fn() -> bool) {
        let (mut times, start) = (Vec::new(), processor_time());
        for query in self.queries.iter().cycle() {
            if !goes_on() {
                break;
            }
            let begin = Instant::now();
            std::hint::black_box(published.load().search(query, SCOPE, 10));
            times.push(begin.elapsed());
        }
        show(&format!("search {when}"), &mut times);
        show_processor_time(start, times.len());
    }

    fn search_idle(&self, published: &ArcSwap<Index>, what: &str) {
        let end = Instant::now() + self.lasting / 2;
        self.search_while(published, what, || Instant::now() < end);
    }

    /// Runs `edit` on a thread beside one that searches, and prints what both came to.
    fn beside_searches(&self, published: &ArcSwap<Index>, edit: impl FnOnce() -> Edited + Send) {
        let is_done = AtomicBool::new(false);
        let (mut edited, took) = std::thread::scope(|scope| {
            let searching =
                scope.spawn(|| self.search_while(published, "meanwhile", || !is_done.load(Ordering::Relaxed)));
            let begin = Instant::now();
            let edited = edit();
            let took = begin.elapsed();
            is_done.store(true, Ordering::Relaxed);
            searching.join().expect("searching does not panic");
            (edited, took)
        });
        println!(
            "{} edits in {:.1} s, {:.0} a second",
            edited.edits,
            took.as_secs_f64(),
            edited.edits as f64 / took.as_secs_f64()
        );
        show("  visible after", &mut edited.visible);
        show("  apply and publish", &mut edited.applied);
        show("  compaction", &mut edited.compacted);
    }

    fn edit_the_index(&self, published: &ArcSwap<Index>) {
        println!(
            "\n{RATE:.0} edits a second in the index, published every {} ms",
            PAUSE.as_millis()
        );
        self.beside_searches(published, || {
            let mut edited = Edited::default();
            let begin = Instant::now();
            let due_at = |number: usize| begin + Duration::from_secs_f64(number as f64 / RATE);
            while begin.elapsed() < self.lasting {
                std::thread::sleep(PAUSE);
                let due = (begin.elapsed().as_secs_f64() * RATE) as usize;
                let changes: Vec<Change> = (edited.edits..due).map(|number| self.change(number)).collect();
                edited.publish(published, &changes);
                edited
                    .visible
                    .extend((edited.edits..due).map(|number| due_at(number).elapsed()));
                edited.edits = due;
                edited.compact(published);
            }
            edited
        });
    }

    fn edit_the_database(&self, published: &ArcSwap<Index>) {
        println!("\nwhole edits: committed to SQLite one by one, then published");
        let folder = tempfile::tempdir().expect("a folder to write to");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let author = Author {
            who: "bench".into(),
            source: "bench".into(),
        };
        let entries: Vec<Entry> = self.entries.iter().map(|entry| (**entry).clone()).collect();
        let begin = Instant::now();
        let (questions, mut revision) = runtime.block_on(async {
            let database = Database::open(&sqlite_url(&folder.path().join("bench.db")))
                .await
                .expect("a database");
            let questions = database.questions();
            let revision = questions
                .apply(&entries, &[], &author, 1, 0)
                .await
                .expect("the bank is written");
            (questions, revision)
        });
        println!("the bank written in {:.1} s", begin.elapsed().as_secs_f64());
        self.beside_searches(published, || {
            let mut edited = Edited::default();
            let begin = Instant::now();
            while begin.elapsed() < self.lasting {
                let started = Instant::now();
                // Beyond those of the index alone.
                let change = self.change(1_000_000 + edited.edits);
                let written = match &change {
                    Change::Put(entry) => {
                        runtime.block_on(questions.apply(&[(**entry).clone()], &[], &author, 1, revision))
                    }
                    Change::Remove(id) => {
                        runtime.block_on(questions.apply(&[], std::slice::from_ref(id), &author, 1, revision))
                    }
                };
                revision = written.expect("the edit is written");
                edited.publish(published, &[change]);
                edited.visible.push(started.elapsed());
                edited.edits += 1;
                edited.compact(published);
            }
            edited
        });
    }
}

impl Edited {
    fn publish(&mut self, published: &ArcSwap<Index>, changes: &[Change]) {
        let begin = Instant::now();
        published.store(Arc::new(published.load().apply(changes)));
        self.applied.push(begin.elapsed());
        if let Some((_, _, noted)) = &mut self.compacting {
            noted.extend_from_slice(changes);
        }
    }

    /// Compacts as the daemon does: on a thread of its own, while edits go on.
    fn compact(&mut self, published: &ArcSwap<Index>) {
        match self.compacting.take() {
            Some((compacted, began, noted)) if compacted.is_finished() => {
                let compacted = compacted.join().expect("compacting does not panic");
                published.store(Arc::new(compacted.apply(&noted)));
                self.compacted.push(began.elapsed());
            }
            None if published.load().wants_compaction() => {
                let index = Index::clone(&published.load());
                let compacted = std::thread::spawn(move || index.compacted());
                self.compacting = Some((compacted, Instant::now(), Vec::new()));
            }
            under_way => self.compacting = under_way,
        }
    }
}
