//! The yardstick: what tantivy needs for the words field alone, BM25, the best five, everything in memory.
//!
//! Same banks, queries and words (wxfaq's own analyzer) as `tests/bench/matching.rs`, one document a phrasing, one
//! segment, one thread for searching. It finds phrasings by common words and no more: no characters, no sounds, no
//! respelling, no comparison, no confidence.

#[path = "../../support.rs"]
mod support;

use std::time::Instant;
use support::{SCOPE, peak, processor_time, resident, show, show_processor_time};
use tantivy::collector::TopDocs;
use tantivy::directory::RamDirectory;
use tantivy::query::{BooleanQuery, Occur, Query, TermQuery};
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::{Index, IndexSettings, IndexWriter, TantivyDocument, Term};
use wxfaq::matching::Analyzer;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Bytes the writer may fill before it makes a segment: enough for one.
const WRITER_BYTES: usize = 1 << 30;
const TOP: usize = 5;

fn main() -> tantivy::Result<()> {
    let arguments = support::arguments();
    let [bank, queries] = arguments.as_slice() else {
        println!("usage: yardstick BANK.jsonl QUERIES.jsonl");
        return Ok(());
    };
    let (entries, queries) = (support::bank(bank), support::questions(queries));
    let analyzer = Analyzer::new(&support::dictionaries());
    println!(
        "{} entries, {} queries; entries alone {} MiB",
        entries.len(),
        queries.len(),
        resident()
    );

    let mut schema = Schema::builder();
    let indexing = TextFieldIndexing::default()
        .set_tokenizer("whitespace")
        .set_index_option(IndexRecordOption::WithFreqs);
    let words = schema.add_text_field("words", TextOptions::default().set_indexing_options(indexing));
    let index = Index::create(RamDirectory::create(), schema.build(), IndexSettings::default())?;
    let begin = Instant::now();
    let mut writer: IndexWriter = index.writer_with_num_threads(1, WRITER_BYTES)?;
    for phrasing in entries
        .iter()
        .filter(|entry| SCOPE.admits(entry))
        .flat_map(|entry| entry.phrasings())
    {
        let mut document = TantivyDocument::new();
        document.add_text(words, words_of(&analyzer, phrasing).join(" "));
        writer.add_document(document)?;
    }
    writer.commit()?;
    let searcher = index.reader()?.searcher();
    println!(
        "build {:.2} s with one thread for each of analysis and indexing, {} segments, {:.1} MiB, resident {} MiB, peak {} MiB",
        begin.elapsed().as_secs_f64(),
        searcher.segment_readers().len(),
        searcher.space_usage()?.total().get_bytes() as f64 / 1_048_576.0,
        resident(),
        peak()
    );
    let (mut whole, mut alone, mut found) = (Vec::new(), Vec::new(), 0);
    let before = processor_time();
    for round in 0..3 {
        for query in &queries {
            let begin = Instant::now();
            let query = any_of(words, &words_of(&analyzer, query));
            let analysed = begin.elapsed();
            found += searcher
                .search(&query, &TopDocs::with_limit(TOP).order_by_score())?
                .len();
            if round > 0 {
                whole.push(begin.elapsed());
                alone.push(begin.elapsed().saturating_sub(analysed));
            }
        }
    }
    assert!(found > 0, "nothing was found");
    show("analyse and search", &mut whole);
    show_processor_time(before, 3 * queries.len());
    show("search alone", &mut alone);
    Ok(())
}

/// As in the field `words`; none holds a space.
fn words_of(analyzer: &Analyzer, text: &str) -> Vec<String> {
    let analysis = analyzer.analyze(text);
    let spans = analysis.word_spans.iter();
    spans
        .map(|&(start, end)| analysis.text[start as usize..end as usize].replace(' ', ""))
        .collect()
}

fn any_of(field: Field, words: &[String]) -> BooleanQuery {
    let term = |word: &String| -> (Occur, Box<dyn Query>) {
        let term = Term::from_field_text(field, word);
        (
            Occur::Should,
            Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs)),
        )
    };
    BooleanQuery::new(words.iter().map(term).collect())
}
