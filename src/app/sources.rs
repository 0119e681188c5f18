//! Where templates and dictionaries come from: the database before the folder before what is embedded, text by text.
//!
//! [`Sources::layers`] shows every place a text stands in, [`Sources::contents`] reads what wins. What is wrong in the
//! database is no outage: it gives way to what was good before, else to what lies below it, and is told. What is wrong in
//! a folder is an error, so that what it overrides never comes back without a word.

use super::AppError;
use crate::bank::dictionary::{DictionaryFile, DictionaryTexts};
use crate::bank::text::utf8;
use crate::bank::{Dictionaries, Text, TextFault, TextKind, TextName};
use crate::config::Config;
use crate::dialog::{Habits, Handoff, Templates};
use crate::matching::Thresholds;
use crate::store::sql::StoredText;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// Where everything but the bank comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Sources {
    /// `paths.templates`; the files are in its subfolder `reply`.
    pub templates: Option<PathBuf>,
    /// `paths.dictionaries`
    pub dictionaries: Option<PathBuf>,
    #[expect(missing_docs, reason = "the type says it")]
    pub thresholds: Thresholds,
    /// `matching.max_suggestions`
    pub max_suggestions: usize,
    /// `reply.max_bytes`
    pub max_bytes: usize,
    #[expect(missing_docs, reason = "the type says it")]
    pub habits: Habits,
    /// `handoff` of each account.
    pub handoffs: BTreeMap<String, Handoff>,
}

/// One text in every place where it stands; the higher wins.
#[derive(Debug, Clone)]
pub struct Layers {
    #[expect(missing_docs, reason = "the type says it")]
    pub name: TextName,
    /// As edited in the database.
    pub saved: Option<StoredText>,
    /// In the folder.
    pub file: Option<TextFile>,
    /// Empty in the one case that there is none, which is refused where texts are read: a name nobody knows.
    pub embedded: &'static str,
}

/// A file that overrides an embedded text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextFile {
    #[expect(missing_docs, reason = "the type says it")]
    pub path: PathBuf,
    /// Or why it is not read, with its path: it may be a folder, a pipe, or a link that leads nowhere.
    pub content: Result<Vec<u8>, String>,
    /// When it was written; Unix seconds. 0: nobody can say.
    pub modified: i64,
}

/// The place of a text that is in use.
#[derive(Debug, Clone, Copy)]
pub enum Live<'a> {
    /// Edited there.
    Database(&'a StoredText),
    /// Overriding what is embedded.
    Folder(&'a TextFile),
    /// As this release came.
    Embedded(&'static str),
}

impl<'a> Live<'a> {
    /// For lists.
    pub fn place(&self) -> &'static str {
        match self {
            Self::Database(_) => "database",
            Self::Folder(_) => "folder",
            Self::Embedded(_) => "embedded",
        }
    }

    /// Of a file it may be anything.
    ///
    /// # Errors
    /// As of [`TextFile::content`].
    pub fn content(&self) -> Result<&'a [u8], &'a str> {
        match self {
            Self::Database(stored) => Ok(stored.text.body.as_bytes()),
            Self::Folder(file) => file.content.as_deref().map_err(String::as_str),
            Self::Embedded(source) => Ok(source.as_bytes()),
        }
    }
}

impl Layers {
    /// The one that is used, if it is good.
    pub fn live(&self) -> Live<'_> {
        match &self.saved {
            Some(stored) => Live::Database(stored),
            None => self.below(),
        }
    }

    /// The one that would be used without the database.
    pub fn below(&self) -> Live<'_> {
        match &self.file {
            Some(file) => Live::Folder(file),
            None => Live::Embedded(self.embedded),
        }
    }

    /// A file that says something else than the database and is newer, but is not used.
    pub fn hidden_newer(&self) -> Option<&TextFile> {
        let (stored, file) = (self.saved.as_ref()?, self.file.as_ref()?);
        let content = file.content.as_ref().ok()?;
        let hides = content != stored.text.body.as_bytes() && file.modified > stored.updated_at;
        hides.then_some(file)
    }

    /// Where the live one is wrong, for the operator.
    fn place(&self, fault: &TextFault) -> String {
        match self.live() {
            Live::Folder(TextFile {
                content: Err(reason), ..
            }) => reason.clone(),
            Live::Folder(file) => format!("{}:{}: {}", file.path.display(), fault.line, fault.reason),
            Live::Database(_) | Live::Embedded(_) => fault.to_string(),
        }
    }
}

/// What is read, and what it was read from.
#[derive(Debug)]
pub struct Settled<T> {
    #[expect(missing_docs, reason = "the type says it")]
    pub value: T,
    /// The texts of the database that are in it.
    pub used: Vec<StoredText>,
    /// What of the database is not in it, because it is wrong.
    pub faults: Vec<TextFault>,
}

/// Templates and dictionaries, ready for a snapshot.
pub struct Contents {
    #[expect(missing_docs, reason = "the type says it")]
    pub templates: Arc<Templates>,
    #[expect(missing_docs, reason = "the type says it")]
    pub dictionaries: Arc<Dictionaries>,
    /// As of [`Settled`], of both kinds.
    pub used: Vec<StoredText>,
    /// As of [`Settled`], of both kinds.
    pub faults: Vec<TextFault>,
}

impl Sources {
    /// Those of a configuration.
    pub fn of(config: &Config) -> Self {
        Self {
            templates: config.paths.templates.clone(),
            dictionaries: config.paths.dictionaries.clone(),
            thresholds: config.thresholds,
            max_suggestions: config.max_suggestions,
            max_bytes: config.reply.max_bytes,
            habits: config.reply.habits,
            handoffs: config
                .accounts
                .iter()
                .map(|account| (account.id.clone(), account.handoff))
                .collect(),
        }
    }

    /// The folder whose files override texts of this kind.
    pub fn folder(&self, kind: TextKind) -> Option<PathBuf> {
        match kind {
            TextKind::Template => self.templates.as_ref().map(|folder| folder.join("reply")),
            TextKind::Dictionary => self.dictionaries.clone(),
        }
    }

    /// Every text of a kind, in the order in which they are explained: those this release knows, then any other that
    /// somebody has made.
    ///
    /// # Errors
    /// [`AppError::Content`] when the folder cannot be read.
    pub fn layers(&self, kind: TextKind, saved: &[StoredText]) -> Result<Vec<Layers>, AppError> {
        let mut files = match self.folder(kind) {
            Some(folder) => files_in(&folder)?,
            None => BTreeMap::new(),
        };
        if kind == TextKind::Dictionary {
            // What else stands beside the dictionaries is nobody's mistake.
            files.retain(|name, _| DictionaryFile::parse(name).is_some());
        }
        let mut names: Vec<&str> = known(kind);
        let of_kind = || saved.iter().filter(|stored| stored.text.name.kind == kind);
        let others = files.keys().chain(of_kind().map(|stored| &stored.text.name.file));
        for other in others {
            if !names.contains(&other.as_str()) {
                names.push(other);
            }
        }
        let layers = |file: &str| Layers {
            saved: of_kind().find(|stored| stored.text.name.file == file).cloned(),
            file: files.get(file).map(|path| TextFile::in_folder(path)),
            embedded: embedded(kind, file),
            name: TextName::new(kind, file),
        };
        Ok(names.into_iter().map(layers).collect())
    }

    /// Templates as they are with the edits `saved`; where one of those is wrong, with the one of `good` in its place,
    /// and else without.
    ///
    /// # Errors
    /// [`AppError::Content`]: everything that is wrong in the folder, by file and line.
    pub fn load_templates(&self, saved: &[StoredText], good: &[StoredText]) -> Result<Settled<Templates>, AppError> {
        self.settle(TextKind::Template, (saved, good), parse_templates)
    }

    /// As [`Sources::load_templates`].
    ///
    /// # Errors
    /// [`AppError::Content`]: what is wrong in the folder, by file and line.
    pub fn load_dictionaries(
        &self,
        saved: &[StoredText],
        good: &[StoredText],
    ) -> Result<Settled<Dictionaries>, AppError> {
        self.settle(TextKind::Dictionary, (saved, good), parse_dictionaries)
    }

    /// Both; terms and errors as of [`Sources::load_templates`].
    ///
    /// # Errors
    /// [`AppError::Content`].
    pub fn contents(&self, saved: &[StoredText], good: &[StoredText]) -> Result<Contents, AppError> {
        let found = (self.load_templates(saved, good), self.load_dictionaries(saved, good));
        let (templates, dictionaries) = match found {
            (Err(AppError::Content(first)), Err(AppError::Content(then))) => {
                return Err(AppError::Content(format!("{first}\n{then}")));
            }
            (templates, dictionaries) => (templates?, dictionaries?),
        };
        Ok(Contents {
            templates: Arc::new(templates.value),
            dictionaries: Arc::new(dictionaries.value),
            used: [templates.used, dictionaries.used].concat(),
            faults: [templates.faults, dictionaries.faults].concat(),
        })
    }

    fn settle<T>(
        &self,
        kind: TextKind,
        (saved, good): (&[StoredText], &[StoredText]),
        parse: fn(&[Layers]) -> Result<T, Vec<TextFault>>,
    ) -> Result<Settled<T>, AppError> {
        let mut all = self.layers(kind, saved)?;
        let mut faults: Vec<TextFault> = Vec::new();
        loop {
            let found = match parse(&all) {
                Ok(value) => {
                    let used = all.into_iter().filter_map(|text| text.saved).collect();
                    return Ok(Settled { value, used, faults });
                }
                Err(found) => found,
            };
            let place = |fault: &TextFault| match all.iter().find(|text| text.name == fault.name) {
                Some(text) => text.place(fault),
                None => fault.to_string(),
            };
            let told: Vec<String> = found.iter().map(place).collect();
            let before = faults.len();
            for fault in found {
                let mut edited = all.iter_mut().filter(|text| text.saved.is_some());
                let Some(text) = edited.find(|text| text.name == fault.name) else {
                    continue;
                };
                let earlier = good.iter().find(|stored| stored.text.name == fault.name);
                // What stands in for it is not tried twice.
                let is_new = !faults.iter().any(|known| known.name == fault.name);
                text.saved = earlier.filter(|_| is_new).cloned();
                faults.push(fault);
            }
            if faults.len() == before {
                return Err(AppError::Content(told.join("\n")));
            }
            all.retain(|text| text.saved.is_some() || text.file.is_some() || !text.embedded.is_empty());
        }
    }
}

/// What is wrong with texts by themselves, all of them, without anything changed anywhere.
pub fn faults(texts: &[Text]) -> Vec<TextFault> {
    let (mut overrides, mut dictionaries, mut found) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for text in texts {
        match text.name.kind {
            TextKind::Template => drop(overrides.insert(text.name.file.clone(), text.body.clone())),
            TextKind::Dictionary => drop(dictionaries.insert(text.name.file.as_str(), text.body.as_bytes())),
        }
    }
    if let Err(errors) = Templates::load(&overrides) {
        found.extend(errors.into_iter().map(TextFault::from));
    }
    found.extend(parse(&dictionaries).err().into_iter().flatten());
    found
}

/// One dictionary without the others.
///
/// # Errors
/// What is wrong with it, or that there is none of the name.
pub fn alone(file: &str, content: &[u8]) -> Result<Dictionaries, Vec<TextFault>> {
    parse(&BTreeMap::from([(file, content)]))
}

/// The content of the one in use.
fn in_use(text: &Layers) -> Result<&[u8], TextFault> {
    text.live().content().map_err(|reason| TextFault {
        name: text.name.clone(),
        line: 1,
        reason: reason.to_owned(),
    })
}

/// `value` if there are no faults, its own or found before.
fn without<T>(mut faults: Vec<TextFault>, value: Result<T, Vec<impl Into<TextFault>>>) -> Result<T, Vec<TextFault>> {
    match value {
        Ok(value) if faults.is_empty() => Ok(value),
        Ok(_) => Err(faults),
        Err(found) => {
            faults.extend(found.into_iter().map(Into::into));
            Err(faults)
        }
    }
}

fn parse_templates(all: &[Layers]) -> Result<Templates, Vec<TextFault>> {
    let (mut overrides, mut faults) = (BTreeMap::new(), Vec::new());
    for text in all.iter().filter(|text| !matches!(text.live(), Live::Embedded(_))) {
        match in_use(text).and_then(|content| utf8(&text.name, content)) {
            Ok(body) => drop(overrides.insert(text.name.file.clone(), body.to_owned())),
            Err(fault) => faults.push(fault),
        }
    }
    without(faults, Templates::load(&overrides))
}

fn parse_dictionaries(all: &[Layers]) -> Result<Dictionaries, Vec<TextFault>> {
    let (mut contents, mut faults) = (BTreeMap::new(), Vec::new());
    for text in all {
        match in_use(text) {
            Ok(content) => drop(contents.insert(text.name.file.as_str(), content)),
            Err(fault) => faults.push(fault),
        }
    }
    without(faults, parse(&contents))
}

/// By name; what is not named is empty.
fn parse(contents: &BTreeMap<&str, &[u8]>) -> Result<Dictionaries, Vec<TextFault>> {
    let unknown = contents.keys().filter(|name| DictionaryFile::parse(name).is_none());
    let unknown = unknown.map(|name| TextFault {
        name: TextName::new(TextKind::Dictionary, *name),
        line: 1,
        reason: format!(
            "no such dictionary; there are {}",
            known(TextKind::Dictionary).join(", ")
        ),
    });
    let of = |file: DictionaryFile| contents.get(file.name()).copied().unwrap_or_default();
    let parsed = Dictionaries::parse(DictionaryTexts {
        user: of(DictionaryFile::User),
        stopwords: of(DictionaryFile::Stopwords),
        synonyms: of(DictionaryFile::Synonyms),
        contrast: of(DictionaryFile::Contrast),
        sensitive: of(DictionaryFile::Sensitive),
    });
    without(unknown.collect(), parsed)
}

/// The names of the texts this release has.
pub fn known(kind: TextKind) -> Vec<&'static str> {
    match kind {
        TextKind::Template => Templates::names().collect(),
        TextKind::Dictionary => DictionaryFile::ALL.map(DictionaryFile::name).to_vec(),
    }
}

fn embedded(kind: TextKind, file: &str) -> &'static str {
    let text = match kind {
        TextKind::Template => Templates::embedded(file),
        TextKind::Dictionary => DictionaryFile::parse(file).map(embedded_dictionary),
    };
    text.unwrap_or_default()
}

fn embedded_dictionary(file: DictionaryFile) -> &'static str {
    match file {
        DictionaryFile::User => include_str!("../../config/dict/user.txt"),
        DictionaryFile::Stopwords => include_str!("../../config/dict/stopwords.txt"),
        DictionaryFile::Synonyms => include_str!("../../config/dict/synonyms.txt"),
        DictionaryFile::Contrast => include_str!("../../config/dict/contrast.txt"),
        DictionaryFile::Sensitive => include_str!("../../config/dict/sensitive.txt"),
    }
}

/// The texts in a folder, by name.
///
/// # Errors
/// [`AppError::Content`] when it cannot be read.
pub fn files_in(folder: &Path) -> Result<BTreeMap<String, PathBuf>, AppError> {
    let paths = std::fs::read_dir(folder).and_then(|entries| {
        let path = |entry: std::io::Result<std::fs::DirEntry>| Ok(entry?.path());
        entries.map(path).collect::<std::io::Result<Vec<PathBuf>>>()
    });
    let paths = paths.map_err(|error| AppError::Content(unreadable(folder, &error)))?;
    let texts = paths
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "txt"));
    let named = texts.filter_map(|path| Some((path.file_name()?.to_string_lossy().into_owned(), path)));
    Ok(named.collect())
}

impl TextFile {
    /// What an operator names, whatever it is; of a pipe, all that comes.
    pub fn at(path: &Path) -> Self {
        Self::of(path, std::fs::read(path).map_err(|error| unreadable(path, &error)))
    }

    /// What stands in a folder, behind links too. Nothing but a regular file is opened: who reads a pipe or a device waits
    /// for it, perhaps for ever.
    pub fn in_folder(path: &Path) -> Self {
        match std::fs::metadata(path) {
            // Reading a directory, or what is not there, says by itself what is wrong.
            Ok(found) if !found.is_file() && !found.is_dir() => {
                let reason = "is not read: it is a pipe, a socket or a device, and no regular file";
                Self::of(path, Err(format!("{}: {reason}", path.display())))
            }
            _ => Self::at(path),
        }
    }

    fn of(path: &Path, content: Result<Vec<u8>, String>) -> Self {
        let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified());
        let since = modified.unwrap_or(UNIX_EPOCH).duration_since(UNIX_EPOCH);
        Self {
            path: path.to_owned(),
            content,
            modified: i64::try_from(since.unwrap_or_default().as_secs()).unwrap_or(i64::MAX),
        }
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
