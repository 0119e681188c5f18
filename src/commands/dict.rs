//! `wxfaq dict`: dictionaries edited in the database, and what they make of a sentence.
//!
//! Small talk is edited as entries of the bank (category 闲聊), with `wxfaq entry`.

use super::texts;
use super::{Exit, Failure};
use crate::app::sources::{Sources, known};
use crate::app::{self, AppError, Missing};
use crate::bank::{Dictionaries, TextKind, TextName};
use crate::dialog::sensitive_in;
use crate::matching::Cut;
use crate::store::sql::{Database, StoredText};
use serde_json::json;
use std::path::PathBuf;

/// What to do with dictionaries.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Args {
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    Texts(texts::Args),
    /// How a sentence is cut now, and how it would be with other dictionaries; nothing is changed.
    Preview {
        /// What a follower could ask.
        sentence: String,
        /// A dictionary to try, once for each: synonyms.txt=FILE.
        #[arg(long = "file", value_name = "NAME=FILE", value_parser = parse_candidate)]
        candidates: Vec<(String, PathBuf)>,
        /// For programs.
        #[arg(long)]
        json: bool,
    },
}

fn parse_candidate(text: &str) -> Result<(String, PathBuf), String> {
    let names = known(TextKind::Dictionary);
    match text.split_once('=') {
        Some((name, file)) if names.contains(&name) && !file.is_empty() => Ok((name.to_owned(), file.into())),
        _ => Err(format!("must be NAME=FILE, NAME one of {}", names.join(", "))),
    }
}

/// Does it and says what was done.
pub async fn run(file: Option<PathBuf>, args: Args) -> Result<Exit, Failure> {
    match args {
        Args::Texts(args) => texts::run(file, TextKind::Dictionary, args).await,
        Args::Preview {
            sentence,
            candidates,
            json,
        } => preview(file, &sentence, &candidates, json).await,
    }
}

async fn preview(
    file: Option<PathBuf>,
    sentence: &str,
    candidates: &[(String, PathBuf)],
    is_json: bool,
) -> Result<Exit, Failure> {
    let config = app::configure(file, Missing::Leave)?.config;
    let opened = Database::open_to_read(app::place_of(&config)).await;
    let database = opened.map_err(AppError::from)?;
    let loaded = database.texts().load().await;
    database.close().await;
    let (_, saved) = loaded.map_err(AppError::from)?;
    let sources = Sources::of(&config);
    let mut shown = vec![("now", sources.load_dictionaries(&saved, &[])?.value)];
    if !candidates.is_empty() {
        let tried = with_candidates(saved, candidates)?;
        shown.push(("then", sources.load_dictionaries(&tried, &[])?.value));
    }
    let shown: Vec<_> = shown
        .into_iter()
        .map(|(when, dictionaries)| (when, effect(sentence, &dictionaries)))
        .collect();
    if is_json {
        let value: serde_json::Map<_, _> = shown
            .into_iter()
            .map(|(when, (cut, sensitive))| {
                let mut value = json!(cut);
                value["sensitive"] = json!(sensitive);
                (when.to_owned(), value)
            })
            .collect();
        say!("{}", serde_json::to_string_pretty(&value).unwrap_or_default());
        return Ok(Exit::Ok);
    }
    let mut before: Vec<(&str, String)> = Vec::new();
    for (when, (cut, sensitive)) in &shown {
        say!("{when}");
        let lines = lines(cut, sensitive);
        for line in &lines {
            let mark = if before.is_empty() || before.contains(line) {
                ' '
            } else {
                '*'
            };
            say!("{mark} {:<11} {}", line.0, line.1);
        }
        before = lines;
    }
    Ok(Exit::Ok)
}

/// What is kept, as if the candidates had been put.
fn with_candidates(mut saved: Vec<StoredText>, candidates: &[(String, PathBuf)]) -> Result<Vec<StoredText>, Failure> {
    for (name, path) in candidates {
        let name = TextName::new(TextKind::Dictionary, name);
        let text = texts::read(name, path)?;
        saved.retain(|stored| stored.text.name != text.name);
        saved.push(StoredText {
            text,
            updated_at: 0,
            updated_by: String::new(),
            revision: 0,
        });
    }
    Ok(saved)
}

/// The cut, and the words for which the sentence would be refused.
fn effect(sentence: &str, dictionaries: &Dictionaries) -> (Cut, Vec<String>) {
    let sensitive = sensitive_in(&dictionaries.sensitive, sentence);
    (
        Cut::of(sentence, dictionaries),
        sensitive.into_iter().map(str::to_owned).collect(),
    )
}

fn lines(cut: &Cut, sensitive: &[String]) -> Vec<(&'static str, String)> {
    let pairs = cut.synonyms.iter().map(|(word, first)| format!("{word} → {first}"));
    let contrasts = cut
        .contrasts
        .iter()
        .map(|(word, group)| format!("{word} ({})", group.join(";")));
    let all = [
        ("normalized", cut.normalized.clone()),
        ("synonyms", pairs.collect::<Vec<_>>().join("  ")),
        ("cut", cut.pieces.join(" | ")),
        ("stop words", cut.stopwords.join("  ")),
        ("words", cut.words.join("  ")),
        ("contrast", contrasts.collect::<Vec<_>>().join("  ")),
        ("sensitive", sensitive.join("  ")),
    ];
    all.into_iter()
        .map(|(name, text)| (name, if text.is_empty() { "-".to_owned() } else { text }))
        .collect()
}
