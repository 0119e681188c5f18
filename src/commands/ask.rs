//! `wxfaq ask`: one question against the configured rules and bank, with every step shown on request.

use super::{Exit, Failure};
use crate::app::{self, Missing, Sources, first_snapshot};
use crate::bank::{Answer, Channel};
use crate::bot::Snapshot;
use crate::dialog::link::without_taps;
use crate::dialog::{self, Plan, Session, Told};
use crate::matching::{Decision, Scope};
use crate::store::sql::Database;
use crate::wechat::{Head, Inbound, Reply};
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

/// What a rule says to the question before the bank is asked: which one, and the reply.
fn ruled(question: &str, snapshot: &Snapshot, scope: Scope<'_>) -> Option<(String, Reply)> {
    let inbound = Inbound::Text {
        head: Head {
            account: scope.account.to_owned(),
            openid: String::new(),
            create_time: scope.now,
        },
        msg_id: String::new(),
        content: question.to_owned(),
        menu_id: None,
    };
    let desk = snapshot.desk(scope, &[scope.account, question]);
    let Plan::Say(outcome) = dialog::plan(&inbound, Session::default(), desk) else {
        return None;
    };
    let rule = match outcome.told {
        Told::Rule(id) => format!("rule {id}"),
        Told::Refused => "sensitive words".to_owned(),
        _ => return None,
    };
    Some((rule, outcome.reply))
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
    let database = Database::open_to_read(app::place_of(&config))
        .await
        .map_err(app::AppError::from)?;
    let (snapshot, _) = first_snapshot(&database, Sources::of(&config)).await?;
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
    let ruled = ruled(&args.question, &snapshot, scope);
    let rule = ruled.as_ref().map(|(rule, _)| rule);
    let matches = snapshot.index.search(&args.question, scope, dialog::MAX_OFFER);
    let topic = match rule {
        Some(_) => None,
        None => dialog::topic(&args.question, &matches, snapshot.desk(scope, &[])),
    };
    if args.trace {
        let trace = snapshot.index.explain(&args.question, scope, TOP, snapshot.thresholds);
        if args.json {
            let mut trace = json!(trace);
            trace["rule"] = json!(rule);
            trace["category"] = json!(topic);
            say!("{}", serde_json::to_string_pretty(&trace).unwrap_or_default());
            return Ok(Exit::Ok);
        }
        if let Some(rule) = rule {
            say!("answered by {rule}, before the bank is asked; the bank would find:\n");
        }
        say!("{trace}");
        if let Some(topic) = &topic {
            say!("{topic}:\n{}", topic.reply);
        }
        return Ok(Exit::Ok);
    }
    let decision = matches.decide(snapshot.thresholds);
    if args.json {
        let hit = |hit: &crate::matching::Hit| json!({"id": hit.entry.id, "question": hit.entry.question, "score": hit.score.get()});
        let hits: Vec<_> = matches.hits.iter().take(TOP).map(hit).collect();
        say!(
            "{}",
            match &ruled {
                Some((rule, reply)) => json!({
                    "query": args.question, "decision": "rule", "rule": rule, "reply": reply, "hits": hits
                }),
                None => json!({
                    "query": args.question, "decision": decision, "category": topic, "hits": hits
                }),
            }
        );
        return Ok(Exit::Ok);
    }
    if let Some((rule, reply)) = &ruled {
        match reply {
            Reply::Text { content } => say!("{}", without_taps(content)),
            other => say!("{}", json!(other)),
        }
        say!("\n({rule})\n");
    }
    if let Some(topic) = &topic {
        say!("{}\n\n({topic})", topic.reply);
    }
    match (decision, matches.hits.first()) {
        _ if ruled.is_some() || topic.is_some() => {}
        (Decision::Answer, Some(best)) => match &best.entry.answer {
            Answer::Text(text) => say!("{text}"),
            other => say!("[{}] {}", other.kind(), other.content()),
        },
        (Decision::Suggest, _) => say!("(a list)"),
        _ => say!("(the bank does not know)"),
    }
    say!("");
    for hit in matches.hits.iter().take(TOP) {
        say!("{:.4}  {}  {}", hit.score.get(), hit.entry.id, hit.entry.question);
    }
    Ok(Exit::Ok)
}
