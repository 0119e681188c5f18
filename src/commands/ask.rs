//! `wxfaq ask`: one question against the configured bank, with every step shown on request.

use super::{Exit, Failure};
use crate::app::{self, Missing, Sources, first_snapshot};
use crate::bank::{Answer, Channel};
use crate::matching::{Decision, Scope};
use crate::store::sql::Database;
use serde_json::json;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// What to ask.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The question.
    pub question: String,
    /// Show every step: normalised text, tokens, candidates, features, thresholds, and why.
    #[arg(long)]
    pub trace: bool,
    /// For programs.
    #[arg(long)]
    pub json: bool,
    /// The account to ask as; default: the first of the configuration.
    #[arg(long, value_name = "ID")]
    pub account: Option<String>,
}

/// Hits shown.
const TOP: usize = 5;

/// Asks and prints.
pub async fn run(file: Option<PathBuf>, args: Args) -> Result<Exit, Failure> {
    let config = app::configure(file, Missing::Leave)?.config;
    let account = args
        .account
        .or_else(|| config.accounts.first().map(|account| account.id.clone()))
        .unwrap_or_default();
    let database = Database::open_existing(config.database_url.expose())
        .await
        .map_err(app::AppError::from)?;
    let snapshot = first_snapshot(&database, &Sources::of(&config)).await?;
    database.close().await;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let scope = Scope {
        account: &account,
        channel: Channel::Wechat,
        now,
        category: None,
    };
    if args.trace {
        let trace = snapshot.index.explain(&args.question, scope, TOP, snapshot.thresholds);
        match args.json {
            true => say!("{}", serde_json::to_string_pretty(&trace).unwrap_or_default()),
            false => say!("{trace}"),
        }
        return Ok(Exit::Ok);
    }
    let matches = snapshot.index.search(&args.question, scope, TOP);
    let decision = matches.decide(snapshot.thresholds);
    if args.json {
        let hit = |hit: &crate::matching::Hit| json!({"id": hit.entry.id, "question": hit.entry.question, "score": hit.score.get()});
        let hits: Vec<_> = matches.hits.iter().map(hit).collect();
        say!(
            "{}",
            json!({"query": args.question, "decision": decision, "hits": hits})
        );
        return Ok(Exit::Ok);
    }
    match (decision, matches.hits.first()) {
        (Decision::Answer, Some(best)) => match &best.entry.answer {
            Answer::Text(text) => say!("{text}"),
            other => say!("[{}] {}", other.kind(), other.content()),
        },
        (Decision::Suggest, _) => say!("(a list)"),
        _ => say!("(the bank does not know)"),
    }
    say!("");
    for hit in &matches.hits {
        say!("{:.4}  {}  {}", hit.score.get(), hit.entry.id, hit.entry.question);
    }
    Ok(Exit::Ok)
}
