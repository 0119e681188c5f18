//! The command line: what can be asked of `wxfaq`.
//!
//! [`run`] hands each command to its module in `commands`; what those cannot do comes back as a [`Failure`] with the
//! status the process ends with.

use crate::app::{self, Missing};
use crate::bank::TextKind;
use crate::bank::format::Layout;
use crate::bank::import::Mode;
use crate::bank::terminal::lines;
use crate::commands::console_rules::{Edited, Effect};
use crate::commands::import::{ImportError, ImportOptions};
use crate::commands::{
    Exit, Failure, apikey, ask, backup, category, check, console_rules, dict, entry, eval, export, fake_wechat,
    feedback, history, import, media, menu, operator, privacy, queries, rule, say, serve, simulate, texts, write_out,
};
use crate::intake::ImportTerms;
use crate::lifecycle::Inherited;
use crate::matching::text::normalize;
use clap::{CommandFactory, Parser, Subcommand};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Answers the followers of WeChat official accounts (公众号) from a question bank.
#[derive(Debug, Parser)]
#[command(name = "wxfaq", version, propagate_version = true)]
pub struct Cli {
    /// Configuration file, or else that of the variable `WXFAQ_CONFIG`; without one, embedded defaults with the account
    /// `demo` and the folder ./data.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(subcommand)]
    #[expect(missing_docs, reason = "the type says it")]
    pub command: Command,
}

/// One command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon.
    Serve,
    /// Say whether configuration, templates and dictionaries are valid and database, Redis and WeChat reachable.
    Check(check::Args),
    /// Ask the configured bank one question.
    Ask(ask::Args),
    /// Read a bank from a file (.xlsx, .csv, .jsonl) into the database, all of it or nothing.
    Import(ImportArgs),
    /// Write the bank to a file (.xlsx, .csv, .jsonl).
    Export {
        /// .xlsx, .csv or .jsonl
        file: PathBuf,
        /// full has every column; simple is a sheet of questions and answers, of those answers that are texts.
        #[arg(long, default_value = "full", value_parser = parse_layout)]
        layout: Layout,
    },
    /// The process that reads a file for `import`, under limits.
    #[command(hide = true)]
    Intake {
        /// As JSON.
        limits: String,
    },
    /// Write the whole database to a file: bank, rules, keys, feedback, questions. The daemon may run meanwhile.
    Backup(backup::BackupArgs),
    /// Put what `backup` wrote into the database, of whichever kind.
    Restore(backup::RestoreArgs),
    /// One entry of the bank: publish, disable, remove, merge; duplicates of the whole.
    #[command(subcommand)]
    Entry(entry::Args),
    /// Who changed what, when and how: the last changes of one entry, rule, category, template or dictionary, or of everything.
    History(history::HistoryArgs),
    /// One entry, rule, category, template or dictionary, or the whole bank, as it is or was at a revision.
    Show(history::ShowArgs),
    /// Compare two revisions, field by field.
    Diff(history::DiffArgs),
    /// Bring one thing or the whole bank back to what it was; a new revision, and nothing is lost.
    Revert(history::RevertArgs),
    /// Rules beside the bank (自动回复): key words, greetings, menu buttons, default replies, off hours.
    #[command(subcommand)]
    Rule(rule::Args),
    /// Templates: the words followers read (回复模板), edited in the database.
    #[command(subcommand)]
    Template(texts::Args),
    /// Dictionaries: user words, stop words, synonyms, contrast groups, sensitive words, edited in the database.
    #[command(subcommand)]
    Dict(dict::Args),
    /// The tree of categories: titles, order, and what is said where the bank has no answer but the subject is clear.
    #[command(subcommand)]
    Category(category::Args),
    /// Measure the quality of matching; needs no database.
    Eval(eval::Args),
    /// Play WeChat against a running daemon: sign, encrypt, send, print the reply.
    Simulate(simulate::Args),
    /// Read, set or delete an account's menu (自定义菜单).
    Menu(menu::Args),
    /// Show or erase what is kept of a follower.
    Privacy(privacy::Args),
    /// What followers think of the answers.
    #[command(subcommand)]
    Feedback(feedback::Command),
    /// What followers ask, what went unanswered, which entries answer.
    #[command(subcommand)]
    Queries(queries::Command),
    /// Play WeChat's API on this machine, for trials without an account.
    FakeWechat(fake_wechat::Args),
    /// Keys of the JSON API: make, show, revoke.
    #[command(subcommand)]
    Apikey(apikey::Args),
    /// Print the completions of a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
}

/// `import`
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// .xlsx, .csv or .jsonl
    #[arg(required_unless_present_any = ["from_wechat", "template"])]
    pub file: Option<PathBuf>,
    /// Instead of importing: write a workbook (.xlsx) to fill in, with notes.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["file", "from_wechat", "result", "dry_run", "json"])]
    pub template: Option<PathBuf>,
    /// Instead of a file: the account's rules made in WeChat's console, as rules of ours; look with --dry-run first.
    #[arg(long, value_name = "ACCOUNT", conflicts_with_all = ["file", "mode"])]
    pub from_wechat: Option<String>,
    /// append adds and updates; replace also removes what the file lacks.
    #[arg(long, default_value = "append", value_parser = import::parse_mode)]
    pub mode: Mode,
    /// With --from-wechat: rules that were edited here since the last time, too, become as they are at WeChat.
    #[arg(long, requires = "from_wechat")]
    pub overwrite: bool,
    /// With --from-wechat: write the rules by key words as entries, too, .jsonl, .csv or .xlsx, to look through and import:
    /// an entry is found by what is like it.
    #[arg(long, value_name = "FILE", requires = "from_wechat")]
    pub entries: Option<PathBuf>,
    /// The revision at which the file was exported: refused when somebody changed one of its entries since.
    #[arg(long, value_name = "N", conflicts_with = "from_wechat")]
    pub made_from: Option<u64>,
    /// Only report what would happen, row by row.
    #[arg(long)]
    pub dry_run: bool,
    /// Write the rows again, each with its outcome and the reason (.xlsx, .csv, .jsonl).
    #[arg(long, value_name = "FILE", conflicts_with = "from_wechat")]
    pub result: Option<PathBuf>,
    /// For programs.
    #[arg(long)]
    pub json: bool,
}

fn parse_layout(name: &str) -> Result<Layout, String> {
    match name {
        "full" => Ok(Layout::Full),
        "simple" => Ok(Layout::Simple),
        _ => Err("full or simple".to_owned()),
    }
}

/// Does what was asked.
pub async fn run(cli: Cli, inherited: Inherited) -> Result<Exit, Failure> {
    // Unlike an option, a variable that is set to nothing is as good as none.
    let named = std::env::var_os("WXFAQ_CONFIG").filter(|name| !name.is_empty());
    let config = cli.config.or_else(|| named.map(PathBuf::from));
    match cli.command {
        Command::Serve => serve::run(config, inherited).await.map(|()| Exit::Ok),
        Command::Check(args) => check::run(config, args).await,
        Command::Ask(args) => ask::run(config, args).await,
        Command::Import(args) => import(config, &args).await,
        Command::Export { file, layout } => {
            let config = app::configure(config, Missing::Leave)?.config;
            let report = export::run(&file, layout, app::place_of(&config)).await?;
            say!("{report}");
            Ok(Exit::Ok)
        }
        Command::Backup(args) => backup::back_up(config, &args).await,
        Command::Restore(args) => backup::restore(config, &args).await,
        Command::Intake { .. } => Err(Failure::report(Exit::Usage, "is started by `wxfaq import` alone")),
        Command::Entry(args) => entry::run(config, args).await,
        Command::History(args) => history::list(config, args).await,
        Command::Show(args) => history::show(config, args).await,
        Command::Diff(args) => history::diff(config, args).await,
        Command::Revert(args) => history::revert(config, args).await,
        Command::Rule(args) => rule::run(config, args).await,
        Command::Dict(args) => dict::run(config, args).await,
        Command::Template(args) => texts::run(config, TextKind::Template, args).await,
        Command::Category(args) => category::run(config, args).await,
        Command::Eval(args) => eval::run(config, &args),
        Command::Simulate(args) => simulate::run(config, args).await,
        Command::Menu(args) => menu::run(config, args).await,
        Command::Privacy(args) => privacy::run(config, args).await,
        Command::Feedback(command) => feedback::run(config, command).await,
        Command::Queries(command) => queries::run(config, command).await,
        Command::FakeWechat(args) => fake_wechat::run(args).await,
        Command::Apikey(args) => apikey::run(config, args).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "wxfaq", &mut script);
            write_out(&script);
            Ok(Exit::Ok)
        }
        Command::Man => {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
            rendered.map_err(|error| Failure::report(Exit::CannotCreate, error))?;
            write_out(&page);
            Ok(Exit::Ok)
        }
    }
}

async fn import(config: Option<PathBuf>, args: &ImportArgs) -> Result<Exit, Failure> {
    if let Some(account) = &args.from_wechat {
        let effect = match args.dry_run {
            true => Effect::DryRun,
            false => Effect::Apply,
        };
        let edited = match args.overwrite {
            true => Edited::Overwrite,
            false => Edited::Keep,
        };
        let options = console_rules::Options {
            effect,
            edited,
            entries: args.entries.as_deref(),
            json: args.json,
        };
        return console_rules::run(config, account, options).await;
    }
    if let Some(template) = &args.template {
        import::template(template)?;
        say!("{}: fill it in, then import it", template.display());
        return Ok(Exit::Ok);
    }
    let file = args.file.as_deref().unwrap_or_else(|| Path::new(""));
    let config = app::configure(config, Missing::Leave)?.config;
    let who = operator();
    let terms = ImportTerms {
        mode: args.mode,
        dry_run: args.dry_run,
        made_from: args.made_from,
        who: &who,
        normalise: &normalize,
        file_problem: &|answer| media::Shelf::of(&config).problem(answer),
    };
    let options = ImportOptions {
        file,
        result: args.result.as_deref(),
        database: app::place_of(&config),
        terms,
    };
    let imported = import::run(options).await;
    let report = match &imported {
        Ok(report) => Some(report),
        Err(ImportError::Result { report, .. }) => Some(&**report),
        Err(_) => None,
    };
    if let Some(report) = report.filter(|report| report.applied) {
        app::announce_revision(&config, report.revision).await;
    }
    match (args.json, &imported) {
        (true, _) => {
            let mut told = report.map_or_else(|| json!({ "applied": false }), |report| json!(report));
            if let Err(error) = &imported {
                told["error"] = error.to_string().into();
            }
            say!("{}", serde_json::to_string_pretty(&told).unwrap_or_default());
        }
        (false, Ok(report)) => say!("{}", lines(&report.to_string())),
        // The failure says it.
        (false, Err(_)) => {}
    }
    Ok(Exit::from(&imported?))
}
