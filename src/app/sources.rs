//! Where templates and dictionaries come from: embedded, or from folders that override them file by file.
//!
//! What is wrong in a folder is an error, so that what it overrides never comes back without a word.

use super::AppError;
use crate::bank::Dictionaries;
use crate::bank::dictionary::{DictionaryFile, DictionaryTexts};
use crate::config::Config;
use crate::dialog::{Habits, Handoff, Templates};
use crate::matching::Thresholds;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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

    /// The embedded templates with the folder's in their place.
    ///
    /// # Errors
    /// [`AppError::Content`]: everything that is wrong, by file and line.
    pub fn load_templates(&self) -> Result<Templates, AppError> {
        let folder = self.reply_folder();
        let mut overrides = BTreeMap::new();
        for name in self.overriding_templates()? {
            let path = folder.iter().map(|folder| folder.join(&name)).collect::<PathBuf>();
            let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
            overrides.insert(name, text);
        }
        Templates::load(&overrides).map_err(|errors| {
            let place = |error| match &folder {
                Some(folder) => format!("{}/{error}", folder.display()),
                None => format!("{error}"),
            };
            AppError::Content(errors.iter().map(place).collect::<Vec<_>>().join("\n"))
        })
    }

    pub(super) fn reply_folder(&self) -> Option<PathBuf> {
        self.templates.as_ref().map(|folder| folder.join("reply"))
    }

    /// Names of the templates in the folder, sorted; empty without a folder.
    ///
    /// # Errors
    /// [`AppError::Content`] when the folder cannot be read: what it overrides must not fall back without a word.
    pub fn overriding_templates(&self) -> Result<Vec<String>, AppError> {
        let names = self.reply_folder().map_or(Ok(Vec::new()), |folder| names_in(&folder))?;
        Ok(names
            .into_iter()
            .filter(|name| Path::new(name).extension().is_some_and(|end| end == "txt"))
            .collect())
    }

    /// Names of the dictionaries in the folder, sorted; empty without a folder.
    ///
    /// # Errors
    /// As of [`Sources::overriding_templates`].
    pub fn overriding_dictionaries(&self) -> Result<Vec<String>, AppError> {
        let names = self
            .dictionaries
            .as_ref()
            .map_or(Ok(Vec::new()), |folder| names_in(folder))?;
        let is_known = |name: &String| DictionaryFile::ALL.iter().any(|file| file.name() == name);
        Ok(names.into_iter().filter(is_known).collect())
    }

    /// The embedded dictionaries with the folder's in their place.
    ///
    /// # Errors
    /// [`AppError::Content`]: what is wrong, by file and line.
    pub fn load_dictionaries(&self) -> Result<Dictionaries, AppError> {
        let mut texts = DictionaryFile::ALL.map(|file| embedded(file).as_bytes().to_vec());
        let overriding = self.overriding_dictionaries()?;
        for (text, file) in texts.iter_mut().zip(DictionaryFile::ALL) {
            if overriding.iter().any(|name| name == file.name()) {
                let path: PathBuf = self
                    .dictionaries
                    .iter()
                    .map(|folder| folder.join(file.name()))
                    .collect();
                *text = std::fs::read(&path).map_err(|error| unreadable(&path, &error))?;
            }
        }
        let [user, stopwords, synonyms, contrast, sensitive] = &texts;
        Dictionaries::parse(DictionaryTexts {
            user,
            stopwords,
            synonyms,
            contrast,
            sensitive,
        })
        .map_err(|error| {
            let folder = self.dictionaries.as_deref().unwrap_or(Path::new("config/dict"));
            AppError::Content(format!("{}/{error}", folder.display()))
        })
    }
}

fn embedded(file: DictionaryFile) -> &'static str {
    match file {
        DictionaryFile::User => include_str!("../../config/dict/user.txt"),
        DictionaryFile::Stopwords => include_str!("../../config/dict/stopwords.txt"),
        DictionaryFile::Synonyms => include_str!("../../config/dict/synonyms.txt"),
        DictionaryFile::Contrast => include_str!("../../config/dict/contrast.txt"),
        DictionaryFile::Sensitive => include_str!("../../config/dict/sensitive.txt"),
    }
}

/// The names in a folder, sorted.
fn names_in(folder: &Path) -> Result<Vec<String>, AppError> {
    let names = std::fs::read_dir(folder).and_then(|entries| {
        let name = |entry: std::io::Result<std::fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        entries.map(name).collect::<std::io::Result<Vec<String>>>()
    });
    let mut names = names.map_err(|error| unreadable(folder, &error))?;
    names.sort();
    Ok(names)
}

fn unreadable(path: &Path, error: &std::io::Error) -> AppError {
    AppError::Content(format!("{}: {error}", path.display()))
}
