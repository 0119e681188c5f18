//! The command line: what can be asked of `wxfaq`, and with what status it ends.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Answers the followers of WeChat official accounts (公众号) from a question bank.
#[derive(Debug, Parser)]
#[command(name = "wxfaq", version, propagate_version = true)]
pub struct Cli {
    /// Configuration file; without one, embedded defaults with the account `demo` and the folder ./data.
    #[arg(long, global = true, env = "WXFAQ_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(subcommand)]
    #[expect(missing_docs, reason = "the type says it")]
    pub command: Command,
}

/// One command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the daemon.
    Serve,
    /// Says whether configuration, templates and dictionaries are valid and database, Redis and WeChat reachable.
    Check(CheckArgs),
    /// Asks the configured bank one question.
    Ask(AskArgs),
    /// Reads a bank from a file (jsonl, csv) into the database.
    Import(ImportArgs),
    /// Writes the bank to a file (jsonl, csv).
    Export(ExportArgs),
    /// Measures the quality of matching; needs no database.
    Eval(EvalArgs),
    /// Plays WeChat against a running daemon: signs, encrypts, sends, prints the reply.
    Simulate(SimulateArgs),
    /// Prints the completions of a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Prints the manual page.
    Man,
}

/// `check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// For programs.
    #[arg(long)]
    pub json: bool,
    /// Leave out what needs the network: Redis and WeChat.
    #[arg(long)]
    pub offline: bool,
}

/// `ask`
#[derive(Debug, Args)]
pub struct AskArgs {
    /// The question.
    pub question: String,
    /// Show every step: normalised text, tokens, candidates, features, thresholds, and why.
    #[arg(long)]
    pub trace: bool,
    /// For programs.
    #[arg(long)]
    pub json: bool,
    /// The account to ask as; may be left out when there is one.
    #[arg(long, value_name = "ID")]
    pub account: Option<String>,
}

/// How an import meets what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ImportMode {
    /// Adds and updates.
    Append,
    /// Also removes what the file lacks.
    Replace,
}

/// `import`
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// .jsonl or .csv
    pub file: PathBuf,
    /// How the file meets the bank that is there.
    #[arg(long, value_enum, default_value_t = ImportMode::Append)]
    pub mode: ImportMode,
    /// Only report what would happen.
    #[arg(long)]
    pub dry_run: bool,
    /// For programs.
    #[arg(long)]
    pub json: bool,
}

/// `export`
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// .jsonl or .csv
    pub file: PathBuf,
}

/// `eval`
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// Bank files (jsonl); several make one bank.
    #[arg(long = "bank", value_name = "BANK.jsonl", required = true, num_args = 1..)]
    pub banks: Vec<PathBuf>,
    /// Labelled queries; without them the bank's own similar questions are replayed, each left out in turn.
    #[arg(long, value_name = "QUERIES.jsonl")]
    pub queries: Option<PathBuf>,
    /// Write each query's ten best hits and the decision.
    #[arg(long, value_name = "RUN.jsonl")]
    pub run_out: Option<PathBuf>,
    /// Write each candidate's features, for fitting the ranking.
    #[arg(long, value_name = "FEATURES.jsonl")]
    pub features_out: Option<PathBuf>,
    /// For programs.
    #[arg(long)]
    pub json: bool,
}

/// `simulate`
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// The text; with --event the event's key.
    #[arg(default_value = "")]
    pub text: String,
    /// Send this event instead of a text: subscribe, unsubscribe, CLICK, SCAN, VIEW, LOCATION, …
    #[arg(long, value_name = "EVENT")]
    pub event: Option<String>,
    /// Send a message of this kind instead: image, voice, video, location, link.
    #[arg(long, value_name = "KIND", conflicts_with_all = ["event", "tap"])]
    pub kind: Option<String>,
    /// The text is a tapped line with this bizmsgmenuid.
    #[arg(long, value_name = "ID", conflicts_with = "event")]
    pub tap: Option<String>,
    /// Who sends it.
    #[arg(long, default_value = "oSimulatedFollower0000000001")]
    pub openid: String,
    /// Deliver it three times, as WeChat does when no answer comes.
    #[arg(long)]
    pub retries: bool,
    /// The account; may be left out when there is one.
    #[arg(long, value_name = "ID")]
    pub account: Option<String>,
    /// Where the daemon is; default: the configured listen address.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// For programs.
    #[arg(long)]
    pub json: bool,
}

/// How a command ends, after sysexits.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked.
    Ok,
    /// The command line cannot be understood.
    Usage,
    /// A file's content is wrong.
    Data,
    /// Something needed cannot be reached.
    Unavailable,
    /// A bug of ours.
    Software,
    /// The configuration is wrong.
    Config,
}

impl Exit {
    /// The process's exit status.
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Usage => 64,
            Self::Data => 65,
            Self::Unavailable => 69,
            Self::Software => 70,
            Self::Config => 78,
        }
    }
}
