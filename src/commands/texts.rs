//! `wxfaq template`, and of `wxfaq dict` what it has in common with it: texts edited in the database.
//!
//! A text of the database wins over the folder's file, which wins over the embedded one. What is wrong is refused with its
//! line before anything is written; every edit is a revision of the bank, which `history`, `show`, `diff` and `revert`
//! know as `template/FILE` and `dict/FILE`.

use super::beside::Care;
use super::export::replace_file;
use super::import::ImportError;
use super::{Exit, Failure, operator, unix_seconds, write_out};
use crate::app::sources::{Layers, Live, Sources, TextFile, alone, faults, files_in, known};
use crate::app::{self, AppError, Missing};
use crate::bank::format::beijing;
use crate::bank::terminal::one_line;
use crate::bank::{Text, TextFault, TextKind, TextName};
use crate::dialog::rules_before;
use crate::store::sql::{Author, BankChange, Database, StoredText};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What to do with templates, or with dictionaries.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Args {
    /// Every one: which version is in use, who edited it and when, and whether it hides a newer file.
    List {
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// The one in use, as it is written.
    Show {
        /// The file's name, as in `list`.
        name: String,
        /// For programs; with where it is from.
        #[arg(long)]
        json: bool,
    },
    /// Keep a file's content in the database, refused when it is wrong or somebody edited it since.
    Put {
        /// The file's name, as in `list`.
        name: String,
        /// The new content.
        file: PathBuf,
        /// The revision at which you saw it: refused when somebody edited it since. Without it, there must be no edited one.
        #[arg(long, value_name = "N", default_value_t = 0)]
        made_from: u64,
    },
    /// Take it out of the database: the folder's file is used again, else the embedded one. `wxfaq revert` brings it back.
    Reset {
        /// The file's name, as in `list`.
        name: String,
        /// The revision at which you saw it: refused when somebody edited it since.
        #[arg(long, value_name = "N")]
        made_from: Option<u64>,
    },
    /// Write every one in use into a folder, replacing files of the same names.
    Export {
        /// Made if it is not there.
        folder: PathBuf,
    },
    /// Put a folder's files into the database, all or none; what it has already is left alone, and so is an embedded text.
    Import {
        /// With files named as in `list`, not all of them.
        folder: PathBuf,
        #[command(flatten)]
        #[expect(missing_docs, reason = "the type says it")]
        care: Care,
    },
}

/// Does it and says what was done.
pub async fn run(file: Option<PathBuf>, kind: TextKind, args: Args) -> Result<Exit, Failure> {
    let config = app::configure(file, Missing::Leave)?.config;
    let place = app::place_of(&config);
    let opened = match args {
        Args::List { .. } | Args::Show { .. } | Args::Export { .. } => Database::open_to_read(place).await,
        Args::Import { care, .. } if care.dry_run => Database::open_to_read(place).await,
        Args::Put { .. } | Args::Reset { .. } | Args::Import { .. } => Database::open_existing(place).await,
    };
    let database = opened.map_err(AppError::from)?;
    let shelf = Shelf {
        kind,
        sources: Sources::of(&config),
        database: &database,
    };
    let done = match args {
        Args::List { json } => shelf.list(json).await,
        Args::Show { name, json } => shelf.show(&name, json).await,
        Args::Put { name, file, made_from } => shelf.put(&name, &file, made_from).await,
        Args::Reset { name, made_from } => shelf.reset(&name, made_from).await,
        Args::Export { folder } => shelf.export(&folder).await,
        Args::Import { folder, care } => shelf.import(&folder, care).await,
    };
    if let Ok(Done::Changed(revision)) = &done {
        app::announce_revision(&config, *revision).await;
    }
    database.close().await;
    done.map(|_| Exit::Ok)
}

/// What a command did to the bank.
enum Done {
    Looked,
    /// It is at this revision now.
    Changed(u64),
}

/// All texts of a kind.
struct Shelf<'a> {
    kind: TextKind,
    sources: Sources,
    database: &'a Database,
}

impl Shelf<'_> {
    async fn layers(&self) -> Result<(u64, Vec<Layers>), Failure> {
        let (revision, saved) = self.database.texts().load().await.map_err(AppError::from)?;
        Ok((revision, self.sources.layers(self.kind, &saved)?))
    }

    /// The text that an operator names, with the bank's revision.
    async fn find(&self, name: &str) -> Result<(u64, Layers), Failure> {
        let (revision, all) = self.layers().await?;
        let found = all.into_iter().find(|text| text.name.file == name);
        let unknown = || Failure::report(Exit::Usage, no_such(&TextName::new(self.kind, name)));
        Ok((revision, found.ok_or_else(unknown)?))
    }

    async fn list(&self, is_json: bool) -> Result<Done, Failure> {
        let (_, all) = self.layers().await?;
        if is_json {
            let all: Vec<Value> = all.iter().map(described).collect();
            say!("{}", serde_json::to_string_pretty(&all).unwrap_or_default());
            return Ok(Done::Looked);
        }
        for text in &all {
            say!("{:<20}  {}", text.name.file, origin(text));
            let wrong = fault(text).map(|fault| format!("not used: {fault}"));
            let broken = broken_file(text).map(|fault| format!("wrong, `serve` does not start with it: {fault}"));
            for warning in wrong.into_iter().chain(broken).chain(hidden(text)) {
                say!("    warning: {warning}");
            }
        }
        Ok(Done::Looked)
    }

    async fn show(&self, name: &str, is_json: bool) -> Result<Done, Failure> {
        let (revision, text) = self.find(name).await?;
        let content = content(&text)?.to_owned();
        if is_json {
            let mut value = described(&text);
            value["body"] = String::from_utf8_lossy(&content).into();
            value["bank_revision"] = revision.into();
            say!("{value}");
            return Ok(Done::Looked);
        }
        write_out(&content);
        eprintln!(
            "{}: {}; after editing put it with --made-from {revision}",
            text.name,
            origin(&text)
        );
        if let Some(fault) = broken_file(&text) {
            eprintln!("warning: wrong, `serve` does not start with it: {fault}");
        }
        Ok(Done::Looked)
    }

    /// Says which dictionaries will be empty because of the texts, and how much was in use until now.
    fn warn_of_emptied(all: &[Layers], texts: &[Text]) {
        for text in texts {
            let before = all.iter().find(|layers| layers.name == text.name);
            let before = before.and_then(|layers| used(layers).content().ok());
            let lines = before.and_then(|before| lost_lines(&text.name, before, text.body.as_bytes()));
            if let Some(lines) = lines {
                say!("warning: {} is empty with this: {lines} lines go away", text.name);
            }
        }
    }

    /// Says which of the texts followers will not see because rules answer first.
    async fn warn_of_rules(&self, texts: &[Text]) {
        if self.kind != TextKind::Template || texts.is_empty() {
            return;
        }
        let rules = match self.database.rules().load().await {
            Ok((_, rules)) => rules,
            Err(error) => {
                say!(
                    "warning: which rules answer first is not known: {}",
                    one_line(&error.to_string())
                );
                return;
            }
        };
        for Text { name, .. } in texts {
            let ids = rules_before(&name.file, &rules);
            if ids.is_empty() {
                continue;
            }
            let ids = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            say!("warning: followers get {name} only where no rule answers first: {ids} (`wxfaq rule list`)");
        }
    }

    async fn put(&self, name: &str, file: &Path, made_from: u64) -> Result<Done, Failure> {
        let layers = self.find(name).await?.1;
        let text = read(layers.name.clone(), file)?;
        self.warn_of_rules(std::slice::from_ref(&text)).await;
        Self::warn_of_emptied(&[layers], std::slice::from_ref(&text));
        let change = BankChange {
            put_texts: std::slice::from_ref(&text),
            made_from: Some(made_from),
            ..BankChange::default()
        };
        let revision = self.apply(change, "command line").await?;
        say!(
            "{} is used from the database; the bank is at revision {revision}",
            text.name
        );
        Ok(Done::Changed(revision))
    }

    async fn reset(&self, name: &str, made_from: Option<u64>) -> Result<Done, Failure> {
        let (_, text) = self.find(name).await?;
        let Some(stored) = &text.saved else {
            let reason = format!("{} has not been edited in the database: {}", text.name, origin(&text));
            return Err(Failure::report(Exit::NoInput, reason));
        };
        if let Live::Folder(file) = text.below() {
            checked(text.name.clone(), file)?;
        }
        let change = BankChange {
            remove_texts: std::slice::from_ref(&text.name),
            made_from: Some(made_from.unwrap_or(stored.revision)),
            ..BankChange::default()
        };
        let revision = self.apply(change, "command line").await?;
        let place = place(&text.below());
        say!(
            "{} is used {place} again; the bank is at revision {revision}",
            text.name
        );
        Ok(Done::Changed(revision))
    }

    async fn export(&self, folder: &Path) -> Result<Done, Failure> {
        let (revision, all) = self.layers().await?;
        let failed = |path: &Path, error| Failure::report(Exit::CannotCreate, format!("{}: {error}", path.display()));
        let (mut contents, mut wrong) = (Vec::new(), Vec::new());
        for text in &all {
            match used(text).content() {
                Ok(content) => contents.push(content),
                Err(reason) => wrong.push(reason),
            }
        }
        if !wrong.is_empty() {
            let text = format!("nothing exported:\n{}", wrong.join("\n"));
            return Err(Failure::report(Exit::Configuration, text));
        }
        std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
        for (text, content) in all.iter().zip(contents) {
            let path = folder.join(&text.name.file);
            let written = replace_file(&path, |out: &mut dyn Write| out.write_all(content));
            written.map_err(|error| failed(&path, error))?;
        }
        say!("{}: {} files, revision {revision}", folder.display(), all.len());
        Ok(Done::Looked)
    }

    async fn import(&self, folder: &Path, care: Care) -> Result<Done, Failure> {
        let (revision, all) = self.layers().await?;
        let mut texts = Vec::new();
        let mut wrong = Vec::new();
        for (file, path) in files_in(folder).map_err(|error| Failure::report(Exit::NoInput, error))? {
            let name = TextName::new(self.kind, file);
            match all.iter().any(|text| text.name == name) {
                true => match checked(name, &TextFile::in_folder(&path)) {
                    Ok(text) => texts.push(text),
                    Err(error) => wrong.push(error.to_string()),
                },
                false => wrong.push(format!("{}: {}", path.display(), no_such(&name))),
            }
        }
        if !wrong.is_empty() {
            let text = format!("nothing imported:\n{}", wrong.join("\n"));
            return Err(Failure::report(Exit::BadData, text));
        }
        if texts.is_empty() {
            let names = known(self.kind).join(", ");
            let text = format!("{} has none of {names}", folder.display());
            return Err(Failure::report(Exit::BadData, text));
        }
        let found = texts.len();
        let is_there = |text: &Text| {
            let mut meant = all.iter().filter(|layers| layers.name == text.name);
            meant.any(|layers| has(layers, text))
        };
        texts.retain(|text| !is_there(text));
        let change = BankChange {
            put_texts: &texts,
            made_from: Some(care.made_from.unwrap_or(revision)),
            ..BankChange::default()
        };
        Self::warn_of_emptied(&all, &texts);
        self.warn_of_rules(&texts).await;
        let counts = format!("{} changed, {} same", texts.len(), found - texts.len());
        if care.dry_run {
            let looked = self.database.look_for_overtaking(change).await;
            looked.map_err(ImportError::from)?;
            for text in &texts {
                say!("{}: would change", text.name);
            }
            say!("dry run, nothing written: {counts}; the bank is at revision {revision}");
            return Ok(Done::Looked);
        }
        let revision = self.apply(change, "import").await?;
        for text in &texts {
            say!("{}: changed", text.name);
        }
        say!("{counts}; the bank is at revision {revision}");
        Ok(Done::Changed(revision))
    }

    async fn apply(&self, change: BankChange<'_>, source: &str) -> Result<u64, Failure> {
        let by = Author {
            who: operator(),
            source: source.to_owned(),
        };
        let done = self.database.edit(change, &by, unix_seconds(), str::to_owned).await;
        Ok(done.map_err(ImportError::from)?)
    }
}

/// Whether every host on the database has the text: it is there, or is the embedded one and nothing else is in use. The folder
/// is this host's alone.
fn has(layers: &Layers, text: &Text) -> bool {
    match &layers.saved {
        Some(saved) => saved.text.body == text.body,
        None => {
            let body = text.body.as_bytes();
            layers.embedded.as_bytes() == body && used(layers).content() == Ok(body)
        }
    }
}

/// What is wrong with a text of the database; followers do without it.
pub fn fault(text: &Layers) -> Option<TextFault> {
    let stored = text.saved.as_ref()?;
    faults(std::slice::from_ref(&stored.text)).into_iter().next()
}

/// What is wrong with the folder's file, by line, where it is the one in use.
fn broken_file(text: &Layers) -> Option<String> {
    match used(text) {
        Live::Folder(file) => checked(text.name.clone(), file).err().map(|fault| fault.to_string()),
        Live::Database(_) | Live::Embedded(_) => None,
    }
}

/// That what is in the database hides a file that is newer, if it does.
pub fn hidden(text: &Layers) -> Option<String> {
    let (file, stored) = (text.hidden_newer()?, text.saved.as_ref()?);
    Some(format!(
        "{} of the database ({}) hides {}, which is newer ({}); `put` or `reset` it",
        text.name,
        beijing::format(stored.updated_at),
        file.path.display(),
        beijing::format(file.modified)
    ))
}

/// How many lines of the embedded dictionary `content` has in its place nothing for; `None`: that is no empty one.
pub fn emptied(text: &Layers, content: &[u8]) -> Option<usize> {
    lost_lines(&text.name, text.embedded.as_bytes(), content)
}

/// How many lines a dictionary had that has none any more; `None`: it has some, had none, or is no dictionary.
fn lost_lines(name: &TextName, before: &[u8], after: &[u8]) -> Option<usize> {
    let alone = |content| alone(&name.file, content).ok();
    let (before, after) = (alone(before)?, alone(after)?);
    before.emptied(&after).map(|(_, lines)| lines).next()
}

/// The version that followers meet, though what is in the database may be wrong.
fn used(text: &Layers) -> Live<'_> {
    match fault(text) {
        None => text.live(),
        Some(_) => text.below(),
    }
}

/// What followers meet.
fn content(text: &Layers) -> Result<&[u8], Failure> {
    let content = used(text).content();
    content.map_err(|reason| Failure::report(Exit::Configuration, reason))
}

fn place(live: &Live<'_>) -> String {
    match live {
        Live::Database(StoredText {
            revision,
            updated_by,
            updated_at,
            ..
        }) => {
            let (when, by) = (beijing::format(*updated_at), one_line(updated_by));
            format!("from the database (revision {revision}, {by}, {when})")
        }
        Live::Folder(file) => format!("from {}", file.path.display()),
        Live::Embedded(_) => "as embedded".to_owned(),
    }
}

fn origin(text: &Layers) -> String {
    place(&used(text))
}

/// For programs.
fn described(text: &Layers) -> Value {
    let mut value = json!({ "name": text.name.file, "live": used(text).place() });
    if let Some(stored) = &text.saved {
        value["saved"] = json!({
            "revision": stored.revision,
            "updated_at": stored.updated_at,
            "updated_by": stored.updated_by,
        });
    }
    if let Some(file) = &text.file {
        value["file"] = json!({ "path": file.path, "modified": file.modified });
    }
    value["hides_newer_file"] = text.hidden_newer().is_some().into();
    if let Some(fault) = fault(text) {
        value["fault"] = fault.to_string().into();
    }
    if let Some(fault) = broken_file(text) {
        value["file"]["fault"] = fault.into();
    }
    value
}

/// That this release has no text of the name, and which it has.
pub fn no_such(name: &TextName) -> String {
    format!("there is no {name}; there are {}", known(name.kind).join(", "))
}

/// The text in a file, if it could be used.
///
/// # Errors
/// What is wrong with the file, by line.
pub fn read(name: TextName, path: &Path) -> Result<Text, Failure> {
    checked(name, &TextFile::at(path))
}

fn checked(name: TextName, file: &TextFile) -> Result<Text, Failure> {
    let refused = |fault: &TextFault| {
        let text = format!("{}:{}: {}", file.path.display(), fault.line, fault.reason);
        Failure::report(Exit::BadData, text)
    };
    let content = file.content.as_ref();
    let content = content.map_err(|reason| Failure::report(Exit::NoInput, reason))?;
    let text = Text::new(name, content).map_err(|fault| refused(&fault))?;
    match faults(std::slice::from_ref(&text)).first() {
        Some(fault) => Err(refused(fault)),
        None => Ok(text),
    }
}

/// Whether texts could be used, before they are written.
///
/// # Errors
/// Everything that is wrong with them, a line each.
pub fn refuse_faults(texts: &[Text]) -> Result<(), Failure> {
    let found: Vec<String> = faults(texts).iter().map(ToString::to_string).collect();
    match found.is_empty() {
        true => Ok(()),
        false => Err(Failure::report(Exit::BadData, found.join("\n"))),
    }
}
