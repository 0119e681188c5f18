//! `wxfaq privacy`: what is kept of one follower, shown or erased.
//!
//! Rows are found by the pseudonym that the install key makes of the openid. A conversation is forgotten in Redis at once,
//! in the memory of running daemons within seconds; it ends by itself with `session.ttl_seconds`.

use super::{Exit, Failure, account_named};
use crate::app::{self, AppError, Missing};
use crate::bot::{Clock, Seals, SystemClock};
use crate::config::Config;
use crate::store::conversations::Follower;
use crate::store::sql::{Database, ErasureQueue};
use serde_json::json;
use std::io::BufRead;
use std::path::PathBuf;

/// `privacy`
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    #[expect(missing_docs, reason = "the type says it")]
    pub action: Action,
    /// The account; without it all of them.
    #[arg(long, value_name = "ID", global = true)]
    pub account: Option<String>,
}

/// `privacy export`, `erase`
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Action {
    /// Print every row kept of a follower, as JSON.
    Export {
        /// The follower; `-` reads it from standard input, where no process list shows it.
        openid: String,
    },
    /// Erase every row and the conversation of a follower.
    Erase {
        /// As above.
        openid: String,
    },
}

/// Does what was asked.
pub async fn run(file: Option<PathBuf>, args: Args) -> Result<Exit, Failure> {
    let config = app::configure(file, Missing::Leave)?.config;
    let (Action::Export { openid } | Action::Erase { openid }) = &args.action;
    let followers = followers(&config, args.account.as_deref(), &read(openid)?)?;
    let place = app::place_of(&config);
    let opened = match args.action {
        Action::Export { .. } => Database::open_to_read(place).await,
        Action::Erase { .. } => Database::open_existing(place).await,
    };
    let database = opened.map_err(AppError::from)?;
    let queue = database.erasures();
    let done = match args.action {
        Action::Export { .. } => export(&queue, &followers).await,
        Action::Erase { .. } => erase(&config, &queue, &followers).await,
    };
    database.close().await;
    done.map(|()| Exit::Ok).map_err(Failure::from)
}

async fn export(queue: &ErasureQueue, followers: &[Follower]) -> Result<(), AppError> {
    let mut accounts = serde_json::Map::new();
    for follower in followers {
        let rows = queue.rows_of(follower).await?;
        let kept = json!({ "pseudonym": follower.pseudonym, "rows": rows });
        accounts.insert(follower.account.clone(), kept);
    }
    say!("{}", serde_json::to_string_pretty(&accounts).unwrap_or_default());
    Ok(())
}

async fn erase(config: &Config, queue: &ErasureQueue, followers: &[Follower]) -> Result<(), AppError> {
    let now = SystemClock.now();
    let rows = queue.erase_now(followers, now).await?;
    // Where somebody reads from the log just now the daemon does it.
    queue.purge().await?;
    app::forget_in_redis(config, followers).await?;
    say!("{rows} rows erased; running daemons forget the conversation within seconds");
    Ok(())
}

fn read(openid: &str) -> Result<String, Failure> {
    let openid = if openid == "-" {
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line);
        read.map_err(|error| Failure::report(Exit::NoInput, error))?;
        line.trim().to_owned()
    } else {
        openid.to_owned()
    };
    if openid.is_empty() {
        return Err(Failure::report(Exit::Usage, "no openid"));
    }
    Ok(openid)
}

fn followers(config: &Config, account: Option<&str>, openid: &str) -> Result<Vec<Follower>, Failure> {
    if config.install_key.is_empty() {
        let text = "no install key: start `wxfaq serve` once, or set security.install_key";
        return Err(Failure::report(Exit::Configuration, text));
    }
    let seals = Seals::new(config.install_key.expose());
    let ids: Vec<&str> = match account {
        Some(id) => vec![&account_named(config, Some(id))?.id],
        None => config.accounts.iter().map(|account| account.id.as_str()).collect(),
    };
    let follower = |id: &str| Follower {
        account: id.to_owned(),
        pseudonym: seals.pseudonym(id, openid).as_str().to_owned(),
    };
    Ok(ids.into_iter().map(follower).collect())
}
