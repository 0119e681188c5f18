//! `wxfaq eval`: how well matching answers labelled queries, or a bank's own similar questions.
//!
//! `report` puts a replay of the bank into words, `plot` draws either.

mod plot;
mod report;

use super::export::replace_file;
use super::{Exit, Failure, write_out};
use crate::app::{self, Missing, Sources};
use crate::bank::Entry;
use crate::bank::format::{Format, decode};
use crate::matching::metrics::{self, Evaluation, LabelledQuery, Summary};
use crate::matching::reliability::Judged;
use crate::matching::replay::replay;
use crate::matching::{Analyzer, Index, Thresholds};
use plot::Plot;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Bank files; several make one bank.
    #[arg(long = "bank", value_name = "BANK.jsonl", required = true, num_args = 1..)]
    pub banks: Vec<PathBuf>,
    /// Labelled queries; without them the bank's own questions are replayed, which says what the thresholds mean for it.
    ///
    /// A line of JSON each: `id`, `query`, `relevant` (the ids of the entries that answer it; `[]`: the bank has no
    /// answer), and where it is of use `note` (its kind, to report apart) and `after` (the id of the entry that was
    /// answered right before: the query is asked as a follow-up on it, as 那费用呢 is).
    #[arg(long, value_name = "QUERIES.jsonl")]
    pub queries: Option<PathBuf>,
    /// Write each query's ten best hits and the decision.
    #[arg(long, value_name = "RUN.jsonl")]
    pub run_out: Option<PathBuf>,
    /// Write each candidate's features, for fitting the ranking; needs --queries.
    #[arg(long, value_name = "FEATURES.jsonl", requires = "queries")]
    pub features_out: Option<PathBuf>,
    /// Also compare every query with the whole bank, and say how often that finds the same; slow. Needs --queries.
    #[arg(long, requires = "queries")]
    pub exhaustive: bool,
    /// Draw how far confidence can be believed, and what each answer threshold gives.
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// Of the messages, so many are taken to be questions that the bank cannot answer; for the replay without --queries.
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, value_parser = unanswerable, conflicts_with = "queries")]
    pub unanswerable: f64,
    /// For programs.
    #[arg(long)]
    pub json: bool,
}

/// Candidates per query in a feature dump.
const FEATURE_CANDIDATES: usize = 64;

/// Measures and prints.
pub fn run(file: Option<PathBuf>, args: &Args) -> Result<Exit, Failure> {
    let config = app::configure(file, Missing::Leave)?.config;
    // Without a database: what was edited there has no part in it.
    let dictionaries = Sources::of(&config).load_dictionaries(&[], &[])?.value;
    let mut entries = Vec::new();
    for bank in &args.banks {
        entries.extend(read_bank(bank)?.into_iter().map(Arc::new));
    }
    let index = Index::build(entries, Arc::new(Analyzer::new(&dictionaries)));
    let measured = Measured {
        index: &index,
        args,
        thresholds: config.thresholds,
    };
    match &args.queries {
        Some(path) => measured.with_queries(&read_queries(path, &index)?)?,
        None => measured.with_itself()?,
    }
    Ok(Exit::Ok)
}

/// What is measured, and how.
struct Measured<'a> {
    index: &'a Index,
    args: &'a Args,
    thresholds: Thresholds,
}

impl Measured<'_> {
    fn with_queries(&self, queries: &[LabelledQuery]) -> Result<(), Failure> {
        if let Some(out) = &self.args.features_out {
            let rows = queries
                .iter()
                .flat_map(|query| metrics::feature_rows(self.index, query, FEATURE_CANDIDATES));
            write_lines(out, rows)?;
        }
        if self.args.exhaustive {
            let found = metrics::agreement(self.index, queries, self.thresholds);
            eprintln!(
                "of {} queries {} have the same first hit as by exhaustive comparison, {} the same decision",
                found.queries, found.same_first_hit, found.same_decision
            );
        }
        let Evaluation { rows, summary, judged } = metrics::evaluate(self.index, queries, self.thresholds);
        self.write(rows, &judged, 1.0)?;
        match self.args.json {
            true => say!("{}", serde_json::to_string_pretty(&summary).unwrap_or_default()),
            false => print(&summary),
        }
        Ok(())
    }

    fn with_itself(&self) -> Result<(), Failure> {
        let mut replay = replay(self.index, self.thresholds, self.args.unanswerable);
        self.write(std::mem::take(&mut replay.rows), &replay.judged, replay.weight)?;
        match self.args.json {
            true => say!("{}", serde_json::to_string_pretty(&replay).unwrap_or_default()),
            false => write_out(report::text(&replay).as_bytes()),
        }
        Ok(())
    }

    /// The files asked for.
    fn write(&self, rows: Vec<metrics::Row>, judged: &[Judged], weight: f64) -> Result<(), Failure> {
        if let Some(out) = &self.args.run_out {
            write_lines(out, rows)?;
        }
        if let Some(out) = &self.args.plot {
            let names = self.args.banks.iter().filter_map(|bank| bank.file_name());
            let names: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
            let plot = Plot {
                judged,
                weight,
                thresholds: self.thresholds,
                title: &names.join(", "),
            };
            let written = replace_file(out, |out| out.write_all(plot.svg().as_bytes()));
            written.map_err(|error| cannot_create(out, &error))?;
        }
        Ok(())
    }
}

fn unanswerable(text: &str) -> Result<f64, String> {
    let share: Option<f64> = text.parse().ok();
    share
        .filter(|share| (0.0..=0.9).contains(share))
        .ok_or_else(|| "a share in 0–0.9".to_owned())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::report(Exit::NoInput, format!("{}: {error}", path.display())))
}

fn read_bank(path: &Path) -> Result<Vec<Entry>, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::report(Exit::BadData, format!("{}: {error}", path.display()));
    let bytes = read(path)?;
    let format = Format::of(path).unwrap_or(Format::Jsonl);
    let mut entries = Vec::new();
    for row in format.read(decode(&bytes).map_err(|error| wrong(&error))?) {
        let number = entries.len() + 1;
        let fresh = || crate::bank::EntryId::parse(&format!("row-{number}")).expect("letters and digits");
        let entry = row.and_then(|row| row.into_entry_or(None, fresh));
        entries.push(entry.map_err(|error| wrong(&error))?);
    }
    Ok(entries)
}

/// A query that follows on what `index` does not hold would be measured as a first message, and nobody would know.
fn read_queries(path: &Path, index: &Index) -> Result<Vec<LabelledQuery>, Failure> {
    let bytes = read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(n, line)| {
            let wrong = |error: &dyn std::fmt::Display| {
                Failure::report(Exit::BadData, format!("{}:{}: {error}", path.display(), n + 1))
            };
            let query: LabelledQuery = serde_json::from_str(line).map_err(|error| wrong(&error))?;
            match query.after.as_deref().filter(|id| index.entry(id).is_none()) {
                Some(id) => Err(wrong(&format!("after: the bank has no entry {id:?}"))),
                None => Ok(query),
            }
        })
        .collect()
}

fn write_lines<T: serde::Serialize>(path: &Path, rows: impl IntoIterator<Item = T>) -> Result<(), Failure> {
    let written = replace_file(path, |out| {
        for row in rows {
            serde_json::to_writer(&mut *out, &row)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    });
    written.map_err(|error| cannot_create(path, &error))
}

fn cannot_create(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::report(Exit::CannotCreate, format!("{}: {error}", path.display()))
}

fn print(summary: &Summary) {
    let share = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.4}"));
    say!("queries {}, in scope {}", summary.queries, summary.in_scope);
    if let Some(ranks) = &summary.ranks {
        let metrics::Ranks {
            hit_at_1,
            hit_at_3,
            hit_at_10,
            mrr_at_10,
        } = ranks;
        say!("hit@1 {hit_at_1:.4}  hit@3 {hit_at_3:.4}  hit@10 {hit_at_10:.4}  MRR@10 {mrr_at_10:.4}");
    }
    say!(
        "AUC in/out {}  AUC right/rest {}",
        share(summary.auc_in_out),
        share(summary.auc_right_rest)
    );
    for (name, coverage) in [
        ("95", &summary.coverage_p95),
        ("90", &summary.coverage_p90),
        ("80", &summary.coverage_p80),
    ] {
        say!(
            "coverage at {name} % precision {:.4}, threshold {}",
            coverage.coverage,
            share(coverage.threshold)
        );
    }
    let at = &summary.operating_point;
    say!("at the thresholds in use:");
    say!("  answered {}, right {}", at.answered, share(at.answer_precision));
    say!("  answered right, of those in scope {}", share(at.coverage_in_scope));
    say!(
        "  false answers, of those out of scope {}",
        share(at.false_answer_rate_out_of_scope)
    );
    say!(
        "  shown {}, right entry among them {}",
        at.shown,
        share(at.shown_precision)
    );
    say!(
        "  silent in scope {}, out of scope {}",
        share(at.silent_in_scope),
        share(at.silent_out_of_scope)
    );
    for (note, kind) in &summary.by_note {
        let ranks = kind.ranks.map_or(String::new(), |ranks| {
            format!("  hit@1 {:.4}  hit@3 {:.4}", ranks.hit_at_1, ranks.hit_at_3)
        });
        say!(
            "{note:18} {:5}  answered {:.4}  shown {:.4}{ranks}",
            kind.queries,
            kind.answered,
            kind.shown
        );
    }
}
