//! `wxfaq menu`: the account's menu, read, set and deleted.
//!
//! A file is TOML or JSON by its extension and is looked at completely before anything is sent: what WeChat would refuse
//! is named with its place. `get` prints what `set` takes.

use super::{Exit, Failure, account_named, causes, client_of};
use crate::app::{self, AppError, Missing};
use crate::bank::rule::unanswered_keys;
use crate::config::Config;
use crate::matching::text::normalize;
use crate::store::sql::{Database, OpenError};
use crate::wechat_api::Menus;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Largest menu file; a full one has about a hundredth of it.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What to do with the menu.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    #[expect(missing_docs, reason = "the type says it")]
    pub action: Action,
    /// The account; may be left out when there is one.
    #[arg(long, value_name = "ID", global = true)]
    pub account: Option<String>,
}

/// `menu get`, `set`, `delete`
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Action {
    /// Print the menu that was made through the API, as `set` takes it.
    Get {
        /// As TOML instead of JSON.
        #[arg(long)]
        toml: bool,
        /// Print what followers see now, also when it was made in WeChat's console, as WeChat describes it.
        #[arg(long, conflicts_with = "toml")]
        current: bool,
    },
    /// Replace the menu.
    Set {
        /// .toml or .json
        file: PathBuf,
        /// Only look at the file.
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove the menu, conditional ones too.
    Delete,
}

/// Does what was asked.
pub async fn run(file: Option<PathBuf>, args: Args) -> Result<Exit, Failure> {
    // Before anybody is asked.
    let new = match &args.action {
        Action::Set { file, .. } => Some(read(file)?),
        Action::Get { .. } | Action::Delete => None,
    };
    let config = app::configure(file, Missing::Leave)?.config;
    if let (Action::Set { file, dry_run: true }, Some(menus)) = (&args.action, &new) {
        let (name, buttons) = (file.display(), menus.menu.actions());
        say!("{name}: {buttons} buttons, nothing to object to");
        // A file can be looked at before there is an account.
        if args.account.is_some() || config.accounts.len() == 1 {
            let account = account_named(&config, args.account.as_deref())?;
            warn_of(&unanswered(&config, &account.id, menus).await?);
        }
        return Ok(Exit::Ok);
    }
    let account = account_named(&config, args.account.as_deref())?;
    let client = client_of(&config, account).await?;
    if let Some(menus) = new {
        client.set_menus(&menus).await?;
        warn_of(&unanswered(&config, &account.id, &menus).await?);
        let actions = menus.menu.actions();
        say!(
            "{}: {actions} buttons set; followers see them within a day, at once after following anew",
            account.id
        );
    }
    match args.action {
        Action::Set { .. } => {}
        Action::Get { current: true, .. } => say!("{}", pretty(&client.console_menu().await?)),
        Action::Get { toml, .. } => match client.menus().await? {
            Some(menu) => say!("{}", written(menu, toml)?),
            None => eprintln!(
                "wxfaq: {} has no menu made through the API; `wxfaq menu get --current` shows what followers see",
                account.id
            ),
        },
        Action::Delete => {
            client.delete_menus().await?;
            say!("{}: menu deleted", account.id);
        }
    }
    Ok(Exit::Ok)
}

fn warn_of(warnings: &[String]) {
    for warning in warnings {
        eprintln!("wxfaq: {warning}");
    }
}

/// What followers of the account would tap in vain, a sentence each with the rule that would answer it.
pub async fn unanswered(config: &Config, account: &str, menus: &Menus) -> Result<Vec<String>, Failure> {
    let keys = menus.click_keys();
    let (rules, entries) = match Database::open_to_read(app::place_of(config)).await {
        Ok(database) => {
            let rules = database.rules().load().await.map_err(AppError::from)?.1;
            let entries = database.questions().load().await.map_err(AppError::from)?.1;
            database.close().await;
            (rules, entries)
        }
        Err(OpenError::Absent(_)) => (Vec::new(), Vec::new()),
        Err(error) => return Err(AppError::from(error).into()),
    };
    let keys = unanswered_keys(keys, account, &rules, &entries, &normalize);
    let unused = (1..).map(|number| format!("menu-{number}"));
    let unused = unused.filter(|id| !rules.iter().any(|rule| rule.id.as_str() == id));
    let warning = |(key, id): (&str, String)| {
        let (id, key) = (json!(id), json!(key));
        let line = format!(r#"{{"id":{id},"trigger":{{"click":[{key}]}},"replies":["…"]}}"#);
        format!("nothing answers the menu's key {key}; a rule for it, for `wxfaq rule import`: {line}")
    };
    Ok(keys.into_iter().zip(unused).map(warning).collect())
}

/// The menus in `file`, which WeChat would take.
fn read(file: &Path) -> Result<Menus, Failure> {
    let name = file.display();
    let unreadable = |error: std::io::Error| Failure::report(Exit::NoInput, format!("{name}: {error}"));
    let bytes = std::fs::metadata(file).map_err(unreadable)?.len();
    if bytes > MAX_FILE_BYTES {
        let text = format!("{name} has {bytes} bytes, at most {MAX_FILE_BYTES} are read");
        return Err(Failure::report(Exit::BadData, text));
    }
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let bad = |text: String| Failure::report(Exit::BadData, text);
    let value: Value = match file.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => {
            let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
                let offset = error.span().map_or(0, |span| span.start.min(text.len()));
                let line = text[..offset].matches('\n').count() + 1;
                bad(format!("{name}:{line}: {}", error.message()))
            })?;
            serde_json::to_value(table).map_err(|error| bad(format!("{name}: {error}")))?
        }
        Some("json") => {
            serde_json::from_str(&text).map_err(|error| bad(format!("{name}:{}: {error}", error.line())))?
        }
        _ => {
            let text = format!("{name}: the name must end in .toml or .json");
            return Err(Failure::report(Exit::Usage, text));
        }
    };
    Menus::parse(&value).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(|problem| format!("{name}: {problem}")).collect();
        bad(lines.join("\n"))
    })
}

/// What WeChat gave, as `set` takes it. What it would not take is shown as it is.
fn written(menu: Value, is_toml: bool) -> Result<String, Failure> {
    let menu = Menus::parse(&menu).map_or(menu, |menus| menus.to_value());
    if !is_toml {
        return Ok(pretty(&menu));
    }
    let table = toml::Table::try_from(&menu).and_then(|table| toml::to_string(&table));
    table
        .map(|text| text.trim_end().to_owned())
        .map_err(|error| Failure::report(Exit::BadData, causes(&error)))
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
