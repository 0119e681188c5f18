//! What the commands do once arguments and configuration are read: one module a command, one function to run it.
//!
//! They put the rooms together for one task and return a report; printing it, as text or as JSON, and ending the
//! process is the command line's work. [`Exit`] says with which code.

/// A line on standard output, as `println!`; see [`write_out`].
macro_rules! say {
    ($($line:tt)*) => {
        $crate::commands::write_out(format!("{}\n", format_args!($($line)*)).as_bytes())
    };
}
pub(crate) use say;

pub mod serve;
pub mod check;
pub mod ask;
pub mod import;
pub mod media;
pub mod export;
pub mod entry;
pub mod history;
pub mod eval;
pub mod simulate;
pub mod script;
pub mod menu;
pub mod backup;
pub mod replacement;
pub mod privacy;
pub mod queries;
pub mod feedback;
pub mod console_rules;
pub mod beside;
pub mod rule;
pub mod category;
pub mod texts;
pub mod dict;
pub mod fake_wechat;
pub mod apikey;

use crate::app::{self, AppError};
use crate::bank::terminal::{self, one_line};
use crate::config::{Account, Config};
use crate::store::StoreError;
use crate::store::sql::{Database, OpenError, Place};
use crate::wechat_api::{ApiError, Client, Remedy};
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio_util::task::TaskTracker;

/// Of an operator; the databases take 255.
const MOST_NAME_CHARS: usize = 64;

/// How a command ended, in the numbers of sysexits.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// As asked.
    Ok = 0,
    /// The command was called wrongly.
    Usage = 64,
    /// A file or a database holds what cannot be taken.
    BadData = 65,
    /// A file to read is not there or not readable.
    NoInput = 66,
    /// A service the command needs is not there.
    Unavailable = 69,
    /// A file to write cannot be written.
    CannotCreate = 73,
    /// The configuration must be changed first.
    Configuration = 78,
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<&StoreError> for Exit {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Unavailable { .. } | StoreError::Busy { .. } | StoreError::Away { .. } => Self::Unavailable,
            StoreError::Corrupt { .. } => Self::BadData,
        }
    }
}

impl From<&OpenError> for Exit {
    fn from(error: &OpenError) -> Self {
        match error {
            OpenError::Configuration(_) | OpenError::Newer { .. } => Self::Configuration,
            OpenError::Absent(_) | OpenError::NoDatabase { .. } | OpenError::Older { .. } => Self::Unavailable,
            OpenError::Store(error) => error.into(),
        }
    }
}

/// Why a command could not do what was asked; its text is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    #[expect(missing_docs, reason = "the type says it")]
    App(#[from] AppError),
    #[error(transparent)]
    #[expect(missing_docs, reason = "the type says it")]
    Import(#[from] import::ImportError),
    #[error(transparent)]
    #[expect(missing_docs, reason = "the type says it")]
    Export(#[from] export::ExportError),
    /// WeChat was asked in vain.
    #[error(transparent)]
    Wechat(#[from] ApiError),
    /// Anything else, with the status it ends with.
    #[error("{1}")]
    Report(Exit, String),
}

impl Failure {
    /// A failure in words.
    pub fn report(exit: Exit, text: impl std::fmt::Display) -> Self {
        Self::Report(exit, text.to_string())
    }

    /// Its text, whatever it repeats of others'.
    pub fn on_terminal(&self) -> String {
        terminal::lines(&self.to_string())
    }

    /// With which code the command ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::App(error) => error.into(),
            Self::Import(error) => error.exit(),
            Self::Export(error) => error.exit(),
            Self::Wechat(error) => error.into(),
            Self::Report(exit, _) => *exit,
        }
    }
}

impl From<&AppError> for Exit {
    fn from(error: &AppError) -> Self {
        match error {
            AppError::Config(_) | AppError::Secrets(_) | AppError::Content(_) | AppError::Telemetry(_) => {
                Self::Configuration
            }
            AppError::Store(error) => error.into(),
            AppError::Open(error) => error.into(),
            AppError::Wechat(error) => error.into(),
            AppError::Listen { .. } | AppError::Io(_) => Self::Unavailable,
        }
    }
}

impl From<&ApiError> for Exit {
    fn from(error: &ApiError) -> Self {
        match error {
            ApiError::Unacceptable(_) => Self::BadData,
            ApiError::Refused(refusal) => match (refusal.remedy, refusal.code) {
                // AppID, AppSecret, or the address of this machine.
                (Remedy::RefreshToken, _) | (_, 40_013 | 40_125 | 40_164 | 40_243 | 61_004 | 89_501..=89_507) => {
                    Self::Configuration
                }
                (Remedy::Report, _) => Self::BadData,
                _ => Self::Unavailable,
            },
            _ => Self::Unavailable,
        }
    }
}

/// The account `id`, or the only one.
fn account_named<'a>(config: &'a Config, id: Option<&str>) -> Result<&'a Account, Failure> {
    let ids = config
        .accounts
        .iter()
        .map(|account| account.id.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    let usage = |text: String| Failure::report(Exit::Usage, text);
    match (id, config.accounts.as_slice()) {
        (_, []) => Err(usage(
            "no account: start `wxfaq serve` once, or name its configuration with --config".into(),
        )),
        (None, [only]) => Ok(only),
        (None, _) => Err(usage(format!("--account is needed, one of {ids}"))),
        (Some(id), all) => all
            .iter()
            .find(|account| account.id == id)
            .ok_or_else(|| usage(format!("no account {id}; there are {ids}"))),
    }
}

/// WeChat's API for `account`.
async fn client_of(config: &Config, account: &Account) -> Result<Client, Failure> {
    let access_tokens = app::access_tokens(config).await?;
    app::wechat_client(account, access_tokens, TaskTracker::new())?.ok_or_else(|| {
        let text = format!("account {} has no app_secret, which calls to WeChat need", account.id);
        Failure::report(Exit::Configuration, text)
    })
}

/// The database for a dry run of what would make one: nothing is made, nor migrated. Where there is none it is an empty one,
/// which standard error says.
async fn open_to_try(place: Place<'_>) -> Result<Database, OpenError> {
    match Database::open_to_read(place).await {
        Err(OpenError::Absent(what)) => {
            eprintln!("wxfaq: there is no {what} yet, and a dry run makes none: compared with an empty bank");
            Database::empty().await
        }
        opened => opened,
    }
}

/// Writes to standard output. Ends the process when that fails: quietly when nobody reads any more, as in
/// `wxfaq simulate … | head -1`.
pub fn write_out(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    let Err(error) = out.write_all(bytes).and_then(|()| out.flush()) else {
        return;
    };
    if error.kind() == io::ErrorKind::BrokenPipe {
        std::process::exit(Exit::Ok.code().into());
    }
    eprintln!("wxfaq: standard output: {error}");
    std::process::exit(Exit::CannotCreate.code().into());
}

/// Who runs the command, for records of what was done: one line of at most 64 characters.
pub fn operator() -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .filter_map(std::env::var_os);
    let named = named.map(|name| one_line(&name.to_string_lossy()));
    let mut named = named.map(|name| name.trim().chars().take(MOST_NAME_CHARS).collect::<String>());
    let found = named.find(|name| !name.is_empty());
    found.unwrap_or_else(|| "command line".to_owned())
}

/// For records of what was done.
fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// An error with its causes, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
