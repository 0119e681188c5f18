//! `wxfaq ask`: one question against the configured rules and bank, with every step shown on request.

use super::{Exit, Failure};
use crate::app::{self, Missing, Sources, first_snapshot};
use crate::bank::terminal::{lines, one_line};
use crate::bank::{Answer, Channel};
use crate::bot::Snapshot;
use crate::dialog::link::without_taps;
use crate::dialog::{self, Plan, Session, Told, Topic};
use crate::matching::{Decision, Hit, Matches, Scope, Trace};
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

/// Hits shown.
const TOP: usize = 5;

/// What stands before the bank, and what the bank finds.
struct Found<'a> {
    /// Which rule, and its reply.
    ruled: Option<(String, Reply)>,
    /// `None` also where a rule has answered.
    topic: Option<Topic<'a>>,
    matches: &'a Matches,
    decision: Decision,
}

/// Asks and prints.
pub async fn run(file: Option<PathBuf>, args: Args) -> Result<Exit, Failure> {
    let config = app::configure(file, Missing::Leave)?.config;
    let database = Database::open_to_read(app::place_of(&config))
        .await
        .map_err(app::AppError::from)?;
    let (snapshot, _) = first_snapshot(&database, Sources::of(&config)).await?;
    database.close().await;
    let account = args
        .account
        .or_else(|| config.accounts.first().map(|account| account.id.clone()))
        .unwrap_or_default();
    let scope = Scope {
        account: &account,
        channel: Channel::Wechat,
        now: now(),
        category: None,
    };
    let question = &args.question;
    let matches = snapshot.index.search(question, scope, dialog::MAX_OFFER);
    let ruled = ruled(question, &snapshot, scope);
    let topic = match ruled {
        Some(_) => None,
        None => dialog::topic(question, &matches, snapshot.desk(scope, &[])),
    };
    let found = Found {
        ruled,
        topic,
        matches: &matches,
        decision: matches.decide(snapshot.thresholds),
    };
    let trace = || snapshot.index.explain(question, scope, TOP, snapshot.thresholds);
    match (args.trace, args.json) {
        (true, true) => say!(
            "{}",
            serde_json::to_string_pretty(&found.traced(&trace())).unwrap_or_default()
        ),
        (true, false) => found.print_trace(&trace()),
        (false, true) => say!("{}", found.as_json(question)),
        (false, false) => found.print(),
    }
    Ok(Exit::Ok)
}

/// Unix seconds.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.map_or(0, |since| since.as_secs())).unwrap_or(i64::MAX)
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
    let rule = match (&outcome.told, &outcome.rule) {
        (Told::Rule, Some(id)) => format!("rule {id}"),
        (Told::Refused, _) => "sensitive words".to_owned(),
        _ => return None,
    };
    Some((rule, outcome.reply))
}

impl Found<'_> {
    fn rule(&self) -> Option<&String> {
        self.ruled.as_ref().map(|(rule, _)| rule)
    }

    fn traced(&self, trace: &Trace) -> serde_json::Value {
        let mut traced = json!(trace);
        traced["rule"] = json!(self.rule());
        traced["category"] = json!(self.topic);
        traced
    }

    fn print_trace(&self, trace: &Trace) {
        if let Some(rule) = self.rule() {
            say!("answered by {rule}, before the bank is asked; the bank would find:\n");
        }
        say!("{}", lines(&trace.to_string()));
        if let Some(topic) = &self.topic {
            say!("{}:\n{}", one_line(&topic.to_string()), lines(topic.reply));
        }
    }

    fn as_json(&self, question: &str) -> serde_json::Value {
        let hit = |hit: &Hit| json!({"id": hit.entry.id, "question": hit.entry.question, "score": hit.score.get()});
        let hits: Vec<_> = self.matches.hits.iter().take(TOP).map(hit).collect();
        match &self.ruled {
            Some((rule, reply)) => json!({
                "query": question, "decision": "rule", "rule": rule, "reply": reply, "hits": hits
            }),
            None => json!({
                "query": question, "decision": self.decision, "category": self.topic, "hits": hits
            }),
        }
    }

    /// What a follower gets, and the hits below it.
    fn print(&self) {
        match (&self.ruled, &self.topic) {
            (Some((rule, reply)), _) => {
                match reply {
                    Reply::Text { content } => say!("{}", lines(&without_taps(content))),
                    other => say!("{}", one_line(&json!(other).to_string())),
                }
                say!("\n({rule})\n");
            }
            (None, Some(topic)) => say!("{}\n\n({})", lines(topic.reply), one_line(&topic.to_string())),
            (None, None) => self.print_decision(),
        }
        say!("");
        for hit in self.matches.hits.iter().take(TOP) {
            let question = one_line(&hit.entry.question);
            say!("{:.4}  {}  {question}", hit.score.get(), hit.entry.id);
        }
    }

    fn print_decision(&self) {
        match (self.decision, self.matches.hits.first()) {
            (Decision::Answer, Some(best)) => match &best.entry.answer {
                Answer::Text(text) => say!("{}", lines(text)),
                other => say!("[{}] {}", other.kind(), lines(&other.content())),
            },
            (Decision::Suggest, _) => say!("(a list)"),
            _ => say!("(the bank does not know)"),
        }
    }
}
