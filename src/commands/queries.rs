//! `wxfaq queries …`: what followers ask, and what became of it.

use super::{Exit, Failure};
use crate::app::{self, AppError, Missing, Sources};
use crate::bank::format::beijing;
use crate::bank::terminal::one_line;
use crate::bot::{Clock, SystemClock};
use crate::matching::Analyzer;
use crate::matching::grouping::{self, Group};
use crate::store::sql::{Asked, AskedText, Database, DayCount, EntryCount, Kept};
use std::path::PathBuf;
use std::sync::Arc;

/// Different texts without an answer that are grouped.
const MOST_GROUPED: u32 = 5_000;

/// What to look at.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Command {
    /// What the bank had no answer to; what asks the same in one group, most asked first.
    Unanswered(Args),
    /// Which entries answered most.
    Hot(Args),
    /// Published entries that answered nobody.
    Unused(Args),
    /// How much was asked day by day, and what became of it.
    Daily(Args),
    /// The latest questions, word by word.
    Recent(Args),
}

/// Which questions.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Of so many days up to now.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=3_650))]
    pub days: u16,
    /// Only this account's.
    #[arg(long, value_name = "ID")]
    pub account: Option<String>,
    /// At most so many lines.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// For programs.
    #[arg(long)]
    pub json: bool,
}

/// What was read, ready to be shown.
enum Report {
    Groups(Vec<Group>),
    Entries(Vec<EntryCount>),
    Days(Vec<DayCount>),
    Rows(Vec<Kept>),
}

/// Reads the database and prints.
pub async fn run(file: Option<PathBuf>, command: Command) -> Result<Exit, Failure> {
    let config = app::configure(file, Missing::Leave)?.config;
    let opened = Database::open_to_read(app::place_of(&config)).await;
    let database = opened.map_err(AppError::from)?;
    let report = read(&database, &command, &Sources::of(&config)).await;
    database.close().await;
    let report = report?;
    match command.args().json {
        true => report.print_json(),
        false => report.print_table(),
    }
    Ok(Exit::Ok)
}

async fn read(database: &Database, command: &Command, sources: &Sources) -> Result<Report, AppError> {
    let args = command.args();
    let asked = Asked {
        since: SystemClock.now() - i64::from(args.days) * 86_400,
        account: args.account.clone(),
        limit: args.limit,
    };
    let log = database.query_log(true);
    Ok(match command {
        Command::Unanswered(_) => {
            let limit = MOST_GROUPED;
            let texts = log.unanswered(&Asked { limit, ..asked }).await?;
            let texts: Vec<(String, u64)> = texts
                .into_iter()
                .map(|AskedText { text, count, .. }| (text, count))
                .collect();
            let (_, saved) = database.texts().load().await?;
            let dictionaries = sources.load_dictionaries(&saved, &[])?.value;
            let analyzer = Arc::new(Analyzer::new(&dictionaries));
            let mut groups = grouping::group(&texts, &analyzer);
            groups.truncate(args.limit as usize);
            Report::Groups(groups)
        }
        Command::Hot(_) => Report::Entries(log.hot(&asked).await?),
        Command::Unused(_) => Report::Entries(log.unused(asked.since, asked.limit).await?),
        Command::Daily(_) => Report::Days(log.daily(&asked).await?),
        Command::Recent(_) => Report::Rows(log.recent(&asked).await?),
    })
}

impl Command {
    fn args(&self) -> &Args {
        match self {
            Self::Unanswered(args) | Self::Hot(args) | Self::Unused(args) | Self::Daily(args) | Self::Recent(args) => {
                args
            }
        }
    }
}

impl Report {
    fn print_json(&self) {
        let text = match self {
            Self::Groups(groups) => serde_json::to_string_pretty(groups),
            Self::Entries(entries) => serde_json::to_string_pretty(entries),
            Self::Days(days) => {
                let with_date = |day: &DayCount| {
                    let mut value = serde_json::json!(day);
                    value["date"] = beijing::date(day.day).into();
                    value
                };
                serde_json::to_string_pretty(&days.iter().map(with_date).collect::<Vec<_>>())
            }
            Self::Rows(rows) => serde_json::to_string_pretty(rows),
        };
        say!("{}", text.unwrap_or_default());
    }

    fn print_table(&self) {
        match self {
            Self::Groups(groups) => print_groups(groups),
            Self::Entries(entries) => print_entries(entries),
            Self::Days(days) => print_days(days),
            Self::Rows(rows) => print_rows(rows),
        }
    }
}

fn print_groups(groups: &[Group]) {
    if groups.is_empty() {
        return say!("nothing went unanswered");
    }
    say!("  asked  question");
    for group in groups {
        say!("{:>7}  {}", group.count, one_line(&group.text));
        for other in &group.others {
            say!("         · {}", one_line(other));
        }
    }
}

fn print_entries(entries: &[EntryCount]) {
    if entries.is_empty() {
        return say!("no entries");
    }
    say!("answers  entry");
    for EntryCount {
        entry,
        question,
        answers,
    } in entries
    {
        let question = question.as_deref().unwrap_or("(no longer in the bank)");
        say!("{answers:>7}  {entry}  {}", one_line(question));
    }
}

fn print_days(days: &[DayCount]) {
    if days.is_empty() {
        return say!("nothing was asked");
    }
    say!("day         channel      decision   queries  mean");
    for day in days {
        say!(
            "{:<10}  {:<11}  {:<9}  {:>7}  {:.1} ms",
            beijing::date(day.day),
            day.channel,
            day.decision,
            day.queries,
            day.mean_us as f64 / 1_000.0
        );
    }
}

fn print_rows(rows: &[Kept]) {
    if rows.is_empty() {
        return say!("nothing was asked");
    }
    for row in rows {
        let score = row.score.map_or("    ".to_owned(), |score| format!("{score:.2}"));
        say!(
            "{}  {}  {:<9} {score}  {}  {}",
            beijing::format(row.asked_at),
            row.account,
            row.decision,
            one_line(&row.text),
            row.entry.as_deref().unwrap_or_default()
        );
    }
}
