//! The layers of the configuration: embedded defaults, file, environment, each key with where its value comes from.
//!
//! [`Layers::read`] merges them to one flat table, `section.key` and `account.N.key`. It knows which keys exist, not
//! what they mean: types and ranges are the parent module's.

use super::{Problem, Source};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use toml::Value;
use toml::de::{DeTable, DeValue};

/// The keys of one `[[account]]`.
pub(super) const ACCOUNT_KEYS: [&str; 12] = [
    "id",
    "appid",
    "token",
    "mode",
    "encoding_aes_key",
    "app_secret",
    "previous_token",
    "previous_encoding_aes_key",
    "api_base",
    "customer_service",
    "check_source",
    "handoff",
];

/// Keys, and account keys, that may also be given as `KEY_file`.
const SECRET_KEYS: [&str; 9] = [
    "token",
    "encoding_aes_key",
    "app_secret",
    "previous_token",
    "previous_encoding_aes_key",
    "database.url",
    "redis.urls",
    "redis.password",
    "security.install_key",
];

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `config/default.toml`, embedded.
    Default,
    /// A line of the operator's file; lines count from 1.
    File(PathBuf, usize),
    /// An environment variable.
    Environment(String),
    /// A file named by a `_file` key.
    SecretFile(PathBuf),
    /// A systemd credential.
    Credential(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::SecretFile(path) => write!(f, "{}", path.display()),
            Self::Credential(name) => write!(f, "credential {name}"),
        }
    }
}

/// A value with where it comes from.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub value: Value,
    pub origin: Origin,
}

/// Every key's value, by `section.key` or `account.N.key`.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub leaves: BTreeMap<String, Leaf>,
    pub problems: Vec<Problem>,
    /// Keys whose value is in a file that cannot be read.
    pub unresolved: Vec<String>,
    /// Whether the operator's file was read and understood.
    pub has_file: bool,
    /// Where each `[[account]]` begins.
    blocks: BTreeMap<usize, Origin>,
    /// The embedded defaults, by which a variable is typed.
    defaults: BTreeMap<String, Value>,
}

impl Layers {
    /// Merges the layers. Unknown keys, unreadable files and malformed values become problems, all of them.
    pub fn read(defaults: &str, source: &Source) -> Self {
        let mut layers = Self::default();
        layers.add_text(defaults, |_| Origin::Default);
        let values = layers
            .leaves
            .iter()
            .map(|(key, leaf)| (key.clone(), leaf.value.clone()));
        layers.defaults = values.collect();
        let known: Vec<String> = layers.leaves.keys().cloned().collect();
        layers.add_text(&source.first_day, |_| Origin::Default);
        if let Some(path) = &source.file {
            match std::fs::read_to_string(path) {
                Ok(text) => {
                    let before = layers.problems.len();
                    layers.add_text(&text, |line| Origin::File(path.clone(), line));
                    layers.has_file = layers.problems.len() == before;
                }
                Err(error) => layers.problem(&Origin::File(path.clone(), 1), format!("cannot be read: {error}")),
            }
        }
        for (name, value) in &source.environment {
            layers.add_variable(name, value);
        }
        layers.resolve_secret_files();
        if let Some(folder) = &source.credentials {
            layers.add_credentials(folder);
        }
        layers.refuse_unknown(&known);
        layers
    }

    /// Indices of the accounts, ascending.
    pub fn accounts(&self) -> Vec<usize> {
        let mut indices: Vec<usize> = self
            .leaves
            .keys()
            .filter_map(|key| account_key(key))
            .map(|(n, _)| n)
            .collect();
        indices.sort_unstable();
        indices.dedup();
        indices
    }

    /// Where a value of the account that `key` belongs to would stand.
    pub fn block_of(&self, key: &str) -> Origin {
        let block = account_key(key).and_then(|(n, _)| self.blocks.get(&n));
        block.cloned().unwrap_or(Origin::Default)
    }

    /// Secrets that came as environment variables.
    pub fn secrets_in_environment(&self) -> impl Iterator<Item = (&String, &Origin)> {
        let from_variable = |leaf: &Leaf| matches!(leaf.origin, Origin::Environment(_));
        let secrets = self
            .leaves
            .iter()
            .filter(move |(key, leaf)| is_secret(key) && from_variable(leaf));
        secrets.map(|(key, leaf)| (key, &leaf.origin))
    }

    /// Notes a problem with the value of `origin`.
    pub fn problem(&mut self, origin: &Origin, text: impl Into<String>) {
        self.problems.push(Problem {
            place: origin.to_string(),
            text: text.into(),
        });
    }

    fn add_text(&mut self, text: &str, origin: impl Fn(usize) -> Origin) {
        let line_of = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
        let (values, spans) = match (text.parse::<toml::Table>(), DeTable::parse(text)) {
            (Ok(values), Ok(spans)) => (values, spans),
            (Err(error), _) | (_, Err(error)) => {
                let line = line_of(error.span().map_or(0, |span| span.start));
                self.problem(&origin(line), error.message());
                return;
            }
        };
        let mut lines = BTreeMap::new();
        for (key, value) in spans.get_ref() {
            note_lines(&mut lines, key.get_ref(), key.span().start, value.get_ref());
        }
        for (key, offset) in &lines {
            if let Some(n) = key.strip_prefix("account.").and_then(|n| n.parse().ok()) {
                self.blocks.insert(n, origin(line_of(*offset)));
            }
        }
        let mut flat = Vec::new();
        flatten("", &Value::Table(values), &mut flat);
        for (key, value) in flat {
            let line = lines.get(&key).map_or(1, |offset| line_of(*offset));
            self.leaves.insert(
                key,
                Leaf {
                    value,
                    origin: origin(line),
                },
            );
        }
    }

    fn add_variable(&mut self, name: &str, text: &str) {
        let Some(rest) = name.strip_prefix("WXFAQ__") else {
            return;
        };
        let key = rest.to_lowercase().replace("__", ".");
        let origin = Origin::Environment(name.to_owned());
        let value = match self.defaults.get(&key) {
            Some(Value::Integer(_)) => text.parse().map(Value::Integer).unwrap_or(Value::String(text.into())),
            Some(Value::Float(_)) => text.parse().map(Value::Float).unwrap_or(Value::String(text.into())),
            Some(Value::Boolean(_)) => text.parse().map(Value::Boolean).unwrap_or(Value::String(text.into())),
            Some(Value::Array(_)) => Value::Array(
                text.split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(|item| Value::String(item.into()))
                    .collect(),
            ),
            _ => Value::String(text.into()),
        };
        self.leaves.insert(key, Leaf { value, origin });
    }

    /// Replaces `KEY_file` by the content of the file it names.
    fn resolve_secret_files(&mut self) {
        let named: Vec<(String, String)> = self
            .leaves
            .keys()
            .filter_map(|key| key.strip_suffix("_file").map(|base| (key.clone(), base.to_owned())))
            .filter(|(_, base)| is_secret(base))
            .collect();
        for (key, base) in named {
            let Some(leaf) = self.leaves.remove(&key) else { continue };
            let Some(path) = leaf.value.as_str().map(PathBuf::from) else {
                self.problem(&leaf.origin, format!("{key}: expected the path of a file"));
                continue;
            };
            match std::fs::read_to_string(&path) {
                Ok(text) => self.insert_secret(base, &text, Origin::SecretFile(path)),
                Err(error) => {
                    self.unresolved.push(base);
                    self.problem(
                        &leaf.origin,
                        format!("{key} = {:?} cannot be read: {error}", path.display()),
                    );
                }
            }
        }
    }

    fn add_credentials(&mut self, folder: &Path) {
        let mut wanted: Vec<(String, String)> = Vec::new();
        for key in SECRET_KEYS.iter().filter(|key| key.contains('.')) {
            wanted.push(((*key).to_owned(), (*key).to_owned()));
        }
        for n in self.accounts() {
            let id = self
                .leaves
                .get(&format!("account.{n}.id"))
                .and_then(|leaf| leaf.value.as_str());
            let Some(id) = id else { continue };
            for key in SECRET_KEYS.iter().filter(|key| !key.contains('.')) {
                wanted.push((format!("account.{id}.{key}"), format!("account.{n}.{key}")));
            }
        }
        for (name, key) in wanted {
            let path = folder.join(&name);
            match std::fs::read_to_string(&path) {
                Ok(text) => self.insert_secret(key, &text, Origin::Credential(name)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => self.problem(&Origin::Credential(name), format!("cannot be read: {error}")),
            }
        }
    }

    fn insert_secret(&mut self, key: String, text: &str, origin: Origin) {
        let text = text.trim_end_matches(['\n', '\r']);
        let value = match key.as_str() {
            "redis.urls" => Value::Array(text.lines().map(|line| Value::String(line.into())).collect()),
            _ => Value::String(text.into()),
        };
        self.leaves.insert(key, Leaf { value, origin });
    }

    fn refuse_unknown(&mut self, known: &[String]) {
        let unknown: Vec<(String, Origin)> = self
            .leaves
            .iter()
            .filter(|(key, _)| match account_key(key) {
                Some((_, name)) => !ACCOUNT_KEYS.contains(&name),
                None => !known.contains(key),
            })
            .map(|(key, leaf)| (key.clone(), leaf.origin.clone()))
            .collect();
        for (key, origin) in unknown {
            self.leaves.remove(&key);
            let hint = hint(&key, known);
            self.problem(&origin, format!("unknown key {key}{hint}"));
        }
    }
}

/// The index and the rest of `account.N.rest`.
fn account_key(key: &str) -> Option<(usize, &str)> {
    let (index, name) = key.strip_prefix("account.")?.split_once('.')?;
    Some((index.parse().ok()?, name))
}

pub(super) fn is_secret(key: &str) -> bool {
    SECRET_KEYS.contains(&account_key(key).map_or(key, |(_, name)| name))
}

/// What an unknown key was meant to be, to be said after it; empty when nothing is near.
fn hint(key: &str, known: &[String]) -> String {
    if let Some((n, name)) = account_key(key) {
        let nearest = nearest(name, ACCOUNT_KEYS.iter().copied());
        return nearest.map_or(String::new(), |name| format!("; did you mean account.{n}.{name}?"));
    }
    let Some((section, name)) = key.split_once('.') else {
        // A key above every section: the sections that have one of that name.
        let of_that_name = known
            .iter()
            .find(|known| known.split_once('.').is_some_and(|(_, name)| name == key));
        return of_that_name.map_or(String::new(), |known| format!("; did you mean {known}?"));
    };
    if matches!(section, "account" | "accounts") {
        return "; write [[account]], once for each account".to_owned();
    }
    let sections = known.iter().filter_map(|known| Some(known.split_once('.')?.0));
    let Some(section) = nearest(section, sections) else {
        return String::new();
    };
    let names = known
        .iter()
        .filter_map(|known| known.strip_prefix(section)?.strip_prefix('.'));
    match nearest(name, names) {
        Some(name) => format!("; did you mean {section}.{name}?"),
        None => format!("; see [{section}] in config/default.toml"),
    }
}

/// The most alike of `known`, if one is alike at all.
fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|name| (strsim::jaro_winkler(key, name), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

fn flatten(prefix: &str, value: &Value, out: &mut Vec<(String, Value)>) {
    let join = |name: &str| {
        if prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{prefix}.{name}")
        }
    };
    match value {
        Value::Table(table) => table.iter().for_each(|(name, value)| flatten(&join(name), value, out)),
        Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_table) => {
            items
                .iter()
                .enumerate()
                .for_each(|(n, value)| flatten(&join(&n.to_string()), value, out));
        }
        _ => out.push((prefix.to_owned(), value.clone())),
    }
}

fn note_lines(lines: &mut BTreeMap<String, usize>, path: &str, offset: usize, value: &DeValue<'_>) {
    lines.insert(path.to_owned(), offset);
    if let Some(table) = value.as_table() {
        for (key, value) in table {
            note_lines(
                lines,
                &format!("{path}.{}", key.get_ref()),
                key.span().start,
                value.get_ref(),
            );
        }
    }
    if let Some(items) = value.as_array() {
        for (n, item) in items.iter().enumerate() {
            note_lines(lines, &format!("{path}.{n}"), item.span().start, item.get_ref());
        }
    }
}
