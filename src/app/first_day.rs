//! Secrets made at random on the first start, and what is printed to try next.
//!
//! They live in `secrets.toml` in the data folder, readable by the owner only, and are never made twice: two daemons
//! starting together agree on the first one's.

use crate::config::{Config, Listen, Secret};
use crate::store::sql::sqlite_url;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::Deserialize;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file's name in the data folder.
const FILE: &str = "secrets.toml";
const TOKEN_CHARS: usize = 24;
const KEY_CHARS: usize = 43;

/// What the first start makes.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// See `security.install_key`.
    pub install_key: Secret,
    /// Of the account `demo`.
    pub demo: Demo,
}

/// Credentials of the account `demo`.
#[derive(Debug, Clone)]
pub struct Demo {
    /// Made up; it takes part in the encryption.
    pub appid: String,
    /// Letters and digits.
    pub token: Secret,
    /// 43 letters and digits.
    pub encoding_aes_key: Secret,
}

/// Why there are no secrets.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// Reading or writing.
    #[error("{path}: {source}")]
    Io {
        #[expect(missing_docs, reason = "the message says it")]
        path: PathBuf,
        #[expect(missing_docs, reason = "the message says it")]
        source: io::Error,
    },
    /// It was edited, or belongs to something else.
    #[error("{path}: {reason}; move it away to have new secrets made")]
    Unreadable {
        #[expect(missing_docs, reason = "the message says it")]
        path: PathBuf,
        #[expect(missing_docs, reason = "the message says it")]
        reason: String,
    },
}

#[derive(Deserialize)]
struct File {
    install_key: String,
    demo: DemoFile,
}

#[derive(Deserialize)]
struct DemoFile {
    appid: String,
    token: String,
    encoding_aes_key: String,
}

impl Secrets {
    /// Those of `data`; `None` when none were made yet.
    pub fn load(data: &Path) -> Result<Option<Self>, SecretsError> {
        let path = data.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(SecretsError::Io { path, source }),
        };
        let unreadable = |error: toml::de::Error| SecretsError::Unreadable {
            path,
            reason: error.message().to_owned(),
        };
        let file: File = toml::from_str(&text).map_err(unreadable)?;
        Ok(Some(Self {
            install_key: Secret::new(file.install_key),
            demo: Demo {
                appid: file.demo.appid,
                token: Secret::new(file.demo.token),
                encoding_aes_key: Secret::new(file.demo.encoding_aes_key),
            },
        }))
    }

    /// Those of `data`, made now when there are none.
    pub fn load_or_make(data: &Path) -> Result<Self, SecretsError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| SecretsError::Io { path, source }
        };
        if let Some(secrets) = Self::load(data)? {
            return Ok(secrets);
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data)
            .map_err(at(data))?;
        let path = data.join(FILE);
        let unfinished = data.join(format!("{FILE}.{}", std::process::id()));
        let text = format!(
            "# Made by wxfaq on its first start. Keep it: with another install_key every conversation under way is lost.\n\
             install_key = \"{}\"\n\n[demo]\nappid = \"wx{}\"\ntoken = \"{}\"\nencoding_aes_key = \"{}\"\n",
            random_text(32).map_err(at(&path))?,
            random_text(16).map_err(at(&path))?.to_lowercase(),
            random_text(TOKEN_CHARS).map_err(at(&path))?,
            random_text(KEY_CHARS).map_err(at(&path))?,
        );
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&unfinished)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            // A link, unlike a rename, does not replace what another start has made meanwhile.
            match fs::hard_link(&unfinished, &path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => fs::remove_file(&unfinished)?,
            }
            fs::File::open(data)?.sync_all()
        };
        write().map_err(at(&path))?;
        Self::load(data)?.ok_or_else(|| SecretsError::Io {
            path,
            source: io::ErrorKind::NotFound.into(),
        })
    }

    /// The configuration of the first day, as TOML.
    pub fn first_day(&self, data: &Path) -> String {
        let Demo {
            appid,
            token,
            encoding_aes_key,
        } = &self.demo;
        let database = sqlite_url(&data.join("wxfaq.db"));
        format!(
            "[api]\npublic = true\n[database]\nurl = {}\n[[account]]\nid = \"demo\"\nmode = \"safe\"\nappid = {}\ntoken = {}\n\
             encoding_aes_key = {}\n",
            toml::Value::from(database),
            toml::Value::from(appid.as_str()),
            toml::Value::from(token.expose()),
            toml::Value::from(encoding_aes_key.expose()),
        )
    }
}

/// Where things are and what to try. Secrets are shown to a person at a terminal; anything else may be a log.
pub(super) fn what_to_try(config: &Config, entries: usize, terminal: bool) -> Result<String, SecretsError> {
    let base = match (&config.server.listen, config.server.public_url.as_str()) {
        (Listen::Tcp(address), "") => format!("http://{address}"),
        (listen @ Listen::Unix(_), "") => listen.to_string(),
        (_, url) => url.to_owned(),
    };
    let mut lines = vec![format!("wxfaq is ready, with {entries} entries in its sample bank.\n")];
    for account in &config.accounts {
        lines.push(format!("  webhook            {base}/wechat/{}", account.id));
    }
    match Secrets::load(&config.paths.data)?.filter(|_| terminal) {
        Some(Secrets { demo, .. }) => lines.extend([
            format!("  Token              {}", demo.token.expose()),
            format!("  EncodingAESKey     {}   (safe mode)", demo.encoding_aes_key.expose()),
        ]),
        None => lines.push(format!(
            "  Token and key      in {}, made for this installation (safe mode)",
            config.paths.data.join(FILE).display()
        )),
    }
    lines.push(format!(
        "  search             curl '{base}/api/v1/search?q=%E7%A7%91%E5%88%9B%E6%9D%BF%E5%BC%80%E6%88%B7'"
    ));
    lines.push("  ask it, in a second shell:\n".to_owned());
    lines.push("    cargo run --release -- simulate 科创板开户要什么条件     # or: wxfaq simulate …\n\n".to_owned());
    Ok(lines.join("\n"))
}

/// Letters and digits from the operating system's randomness.
pub(super) fn random_text(chars: usize) -> io::Result<String> {
    let mut text = String::new();
    while text.len() < chars {
        let mut bytes = [0; 48];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        text.extend(
            STANDARD_NO_PAD
                .encode(bytes)
                .chars()
                .filter(char::is_ascii_alphanumeric),
        );
    }
    text.truncate(chars);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn secrets_are_made_once_and_for_the_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        assert!(Secrets::load(&data).unwrap().is_none());
        let made = Secrets::load_or_make(&data).unwrap();
        let again = Secrets::load_or_make(&data).unwrap();
        assert_eq!(made.install_key, again.install_key);
        assert_eq!(made.demo.encoding_aes_key.expose().len(), 43);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&data), mode(&data.join(FILE))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
    }

    #[test]
    fn secrets_are_shown_at_a_terminal_only() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::load_or_make(folder.path()).unwrap();
        let mut config = Config::load(&Source {
            first_day: secrets.first_day(folder.path()),
            ..Source::default()
        })
        .unwrap();
        config.paths.data = folder.path().to_owned();
        let told = |terminal| what_to_try(&config, 292, terminal).unwrap();
        for secret in [&secrets.demo.token, &secrets.demo.encoding_aes_key] {
            assert!(told(true).contains(secret.expose()));
            assert!(!told(false).contains(secret.expose()));
        }
        assert!(told(false).contains("secrets.toml") && told(false).contains("/wechat/demo"));
    }

    #[test]
    fn edited_secrets_are_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "install_key = 7").unwrap();
        assert!(matches!(
            Secrets::load_or_make(folder.path()),
            Err(SecretsError::Unreadable { .. })
        ));
        assert_eq!(fs::read_to_string(folder.path().join(FILE)).unwrap(), "install_key = 7");
    }
}
