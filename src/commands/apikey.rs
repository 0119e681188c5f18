//! `wxfaq apikey`: who may call the JSON API.
//!
//! A running daemon takes changes over within `database.poll_ms`. The key itself is printed once, when it is made, and
//! kept nowhere.

use super::{Exit, Failure};
use crate::app::{self, AppError, Missing};
use crate::bank::format::beijing;
use crate::bank::terminal::one_line;
use crate::store::api_key::{ApiKey, KeyScope, KeySecret, random_id};
use crate::store::sql::{Database, OpenError, Revocation};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

const MOST_CHARS: usize = 100;

/// What to do with API keys.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Args {
    /// Make a key and print it, once.
    Add {
        /// Whose it is, in your words.
        name: String,
        /// What it opens: search, ask, feedback, trace; with commas between them.
        #[arg(long, value_name = "SCOPES", default_value = "search", value_delimiter = ',', value_parser = parse_scope)]
        scope: Vec<KeyScope>,
        /// Requests a minute; as many may come at once.
        #[arg(long, value_name = "N", default_value = "600", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        per_minute: u32,
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// Show every key, without the keys themselves.
    List {
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// End a key for good.
    Revoke {
        /// As `list` shows it.
        id: String,
        /// For programs.
        #[arg(long)]
        json: bool,
    },
}

fn parse_scope(text: &str) -> Result<KeyScope, String> {
    KeyScope::parse(text).ok_or_else(|| "search, ask, feedback or trace".to_owned())
}

/// Does it and says what was done.
pub async fn run(file: Option<PathBuf>, args: Args) -> Result<Exit, Failure> {
    let config = app::configure(file, Missing::Leave)?.config;
    match args {
        Args::Add {
            name,
            scope,
            per_minute,
            json,
        } => {
            let made = Made::new(&name, scope, per_minute)?;
            let database = opened(Database::open(app::place_of(&config)).await)?;
            let added = database.api_keys().add(&made.key).await;
            database.close().await;
            added.map_err(AppError::from)?;
            made.print(json);
            Ok(Exit::Ok)
        }
        Args::List { json } => {
            let database = opened(Database::open_to_read(app::place_of(&config)).await)?;
            let keys = database.api_keys().all().await;
            database.close().await;
            list(&keys.map_err(AppError::from)?, json);
            Ok(Exit::Ok)
        }
        Args::Revoke { id, json } => {
            let database = opened(Database::open_existing(app::place_of(&config)).await)?;
            let revoked = database.api_keys().revoke(&id, &super::operator(), now()).await;
            database.close().await;
            revoke(&id, revoked.map_err(AppError::from)?, json)
        }
    }
}

/// A new key with its secret.
struct Made {
    key: ApiKey,
    secret: KeySecret,
}

impl Made {
    fn new(name: &str, scopes: Vec<KeyScope>, per_minute: u32) -> Result<Self, Failure> {
        let name = name.trim();
        if !(1..=MOST_CHARS).contains(&name.chars().count()) || name.chars().any(char::is_control) {
            let accepted = format!("NAME: 1–{MOST_CHARS} characters on one line are accepted");
            return Err(Failure::report(Exit::Usage, accepted));
        }
        let secret = KeySecret::random().map_err(AppError::from)?;
        let key = ApiKey {
            id: random_id().map_err(AppError::from)?,
            name: name.to_owned(),
            hash: secret.hash(),
            scopes: scopes.into_iter().collect(),
            per_minute,
            created_at: now(),
            created_by: super::operator(),
            revoked: None,
        };
        Ok(Self { key, secret })
    }

    fn print(&self, as_json: bool) {
        if as_json {
            let mut shown = describe(&self.key);
            shown["key"] = self.secret.expose().into();
            say!("{shown}");
            return;
        }
        say!("{}", self.secret.expose());
        say!(
            "\n{}: {}, {} a minute, for {}. The key is shown this once and kept nowhere; callers send it as\n\
             Authorization: Bearer KEY",
            self.key.id,
            scopes(&self.key),
            self.key.per_minute,
            one_line(&self.key.name)
        );
    }
}

fn list(keys: &[ApiKey], as_json: bool) {
    if as_json {
        say!("{}", Value::from(keys.iter().map(describe).collect::<Vec<_>>()));
        return;
    }
    for key in keys {
        let state = match &key.revoked {
            None => "good".to_owned(),
            Some((at, by)) => format!("revoked {} by {}", beijing::format(*at), one_line(by)),
        };
        say!(
            "{}  {}  {}/min  made {} by {}  {state}  {}",
            key.id,
            scopes(key),
            key.per_minute,
            beijing::format(key.created_at),
            one_line(&key.created_by),
            one_line(&key.name)
        );
    }
    if keys.is_empty() {
        say!("there are no API keys; `wxfaq apikey add NAME` makes one");
    }
}

fn revoke(id: &str, revoked: Revocation, as_json: bool) -> Result<Exit, Failure> {
    let (said, word) = match revoked {
        Revocation::Revoked => ("revoked", "revoked"),
        Revocation::AlreadyRevoked => ("was revoked before", "already_revoked"),
        Revocation::Unknown => {
            let text = format!("there is no API key with the id {id:?}; `wxfaq apikey list` shows them");
            return Err(Failure::report(Exit::BadData, text));
        }
    };
    match as_json {
        true => say!("{}", json!({ "id": id, "result": word })),
        false => say!("{id}: {said}"),
    }
    Ok(Exit::Ok)
}

/// Without the secret, which nobody has any more.
fn describe(key: &ApiKey) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "scopes": key.scopes,
        "per_minute": key.per_minute,
        "created_at": key.created_at,
        "created_by": key.created_by,
        "revoked_at": key.revoked.as_ref().map(|(at, _)| at),
        "revoked_by": key.revoked.as_ref().map(|(_, by)| by),
    })
}

fn scopes(key: &ApiKey) -> String {
    let names: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    names.join(",")
}

fn opened(database: Result<Database, OpenError>) -> Result<Database, AppError> {
    Ok(database?)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
