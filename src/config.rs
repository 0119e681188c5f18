//! The configuration: what an operator may set, read once at the start (and at a reload) into values that are right.
//!
//! [`Config::load`] is the entry point. It reports every problem at once, each with file and line (or variable), key,
//! value and what is accepted. `config/default.toml` is embedded: the documented default is the default. Order:
//! defaults < file < environment.

mod layers;

use crate::matching::Thresholds;
use crate::wechat::credentials::{CredentialParts, is_well_known_token};
use crate::wechat::{Credentials, Mode};
use layers::{Layers, Leaf, Origin};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use toml::Value;

/// The embedded `config/default.toml`.
pub const DEFAULTS: &str = include_str!("../config/default.toml");

/// Where the configuration is read from.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The operator's file; `None`: the first-day defaults with account `demo`.
    pub file: Option<PathBuf>,
    /// What stands in for a file on the first day, as TOML; empty: nothing.
    pub first_day: String,
    /// Variables that may override keys; those without the prefix `WXFAQ__` are ignored.
    pub environment: BTreeMap<String, String>,
    /// systemd's credentials folder.
    pub credentials: Option<PathBuf>,
}

impl Source {
    /// The given file with this process's environment.
    pub fn of_process(file: Option<PathBuf>) -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with("WXFAQ__"))
            .collect();
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        Self {
            file,
            first_day: String::new(),
            environment,
            credentials,
        }
    }
}

/// A text that `Debug` does not show.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether nothing was set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "not set" } else { "set" })
    }
}

/// Everything an operator may set; see `config/default.toml` for meanings.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "config/default.toml documents every key")]
pub struct Config {
    pub server: Server,
    pub api_public: bool,
    pub accounts: Vec<Account>,
    pub database_url: Secret,
    pub database_poll: Duration,
    pub redis: Redis,
    pub session_ttl: Duration,
    pub reply: ReplySettings,
    pub thresholds: Thresholds,
    pub max_suggestions: usize,
    /// Seconds; 0: no check.
    pub timestamp_window: u64,
    pub install_key: Secret,
    pub paths: Paths,
    pub log: Log,
    /// What works and yet is unlikely to be meant, a sentence each.
    pub warnings: Vec<String>,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "config/default.toml documents every key")]
pub struct Server {
    pub listen: Listen,
    pub ops_listen: Option<Listen>,
    pub public_url: String,
    pub trusted_proxies: Vec<Network>,
    pub max_connections: usize,
    pub header_timeout: Duration,
    pub idle_timeout: Duration,
    pub shutdown_grace: Duration,
}

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// `address:port`
    Tcp(SocketAddr),
    /// `unix:/path`
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A network such as `10.0.0.0/8`; a single address has full length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// `None` when it is neither an address nor a network.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address.parse::<IpAddr>().ok()?, bits.parse().ok()?),
            None => (text.parse().ok()?, u8::MAX),
        };
        let longest = if address.is_ipv4() { 32 } else { 128 };
        match bits {
            u8::MAX => Some(Self { address, bits: longest }),
            bits if bits <= longest => Some(Self { address, bits }),
            _ => None,
        }
    }

    /// Whether `address` lies in this network.
    pub fn contains(&self, address: IpAddr) -> bool {
        let same = |a: u128, b: u128, width: u32| {
            let host = width - u32::from(self.bits);
            host >= width || (a >> host) == (b >> host)
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }
}

/// One `[[account]]`.
#[derive(Debug, Clone)]
pub struct Account {
    /// In the webhook's address.
    pub id: String,
    /// AppID, mode, Token and key, current and previous.
    pub credentials: Credentials,
    /// May be empty.
    pub app_secret: Secret,
    #[expect(missing_docs, reason = "config/default.toml documents every key")]
    pub api_base: String,
}

/// `[redis]`
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "config/default.toml documents every key")]
pub struct Redis {
    /// `None`: conversations live in this process.
    pub url: Option<Secret>,
    pub prefix: String,
    pub deadline: Duration,
}

/// `[reply]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "config/default.toml documents every key")]
pub struct ReplySettings {
    pub deadline: Duration,
    pub max_bytes: usize,
}

/// `[paths]`
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "config/default.toml documents every key")]
pub struct Paths {
    pub data: PathBuf,
    pub templates: Option<PathBuf>,
    pub dictionaries: Option<PathBuf>,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "config/default.toml documents every key")]
pub struct Log {
    pub level: String,
    pub json: bool,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File and line, variable, or credential.
    pub place: String,
    /// Key, value and what is accepted. Never a secret's value.
    pub text: String,
}

/// Everything that is wrong with a configuration; at least one problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError(pub Vec<Problem>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            let separator = if n == 0 { "" } else { "\n" };
            write!(f, "{separator}{}: {}", problem.place, problem.text)?;
        }
        Ok(())
    }
}

impl Config {
    /// Reads and validates every layer.
    ///
    /// Without a file there may be no account.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the keys.
    pub fn load(source: &Source) -> Result<Self, ConfigError> {
        let mut reader = Reader { layers: Layers::read(DEFAULTS, source), warnings: Vec::new() };
        let config = reader.config();
        if source.file.is_some() && reader.layers.accounts().is_empty() {
            let file = source.file.clone().unwrap_or_default();
            reader
                .layers
                .problem(&Origin::File(file, 1), "no [[account]]: at least one is needed");
        }
        match reader.layers.problems {
            problems if problems.is_empty() => Ok(config),
            problems => Err(ConfigError(problems)),
        }
    }
}

/// Takes typed values out of the layers, noting what does not fit.
struct Reader {
    layers: Layers,
    warnings: Vec<String>,
}

impl Reader {
    fn config(&mut self) -> Config {
        self.only("reply.hold_retries", &Value::Boolean(false), "false in this version");
        self.choice("redis.mode", &["standalone"]);
        self.text("redis.sentinel_master");
        let answer = self.number("matching.answer_threshold", 0.0..=1.0);
        let accounts = self.layers.accounts().into_iter().filter_map(|n| self.account(n)).collect();
        let config = Config {
            server: self.server(),
            api_public: self.flag("api.public"),
            accounts,
            database_url: Secret::new(self.text("database.url")),
            database_poll: Duration::from_millis(self.integer("database.poll_ms", 100..=60_000)),
            redis: self.redis(),
            session_ttl: Duration::from_secs(self.integer("session.ttl_seconds", 10..=604_800)),
            reply: ReplySettings {
                deadline: Duration::from_millis(self.integer("reply.deadline_ms", 500..=4_800)),
                max_bytes: self.integer("reply.max_bytes", 256..=2_048) as usize,
            },
            thresholds: Thresholds {
                answer,
                suggest: self.number("matching.suggest_threshold", 0.0..=answer),
            },
            max_suggestions: self.integer("matching.max_suggestions", 2..=10) as usize,
            timestamp_window: self.integer("security.timestamp_window_seconds", 0..=86_400),
            install_key: self.install_key(),
            paths: Paths {
                data: self.text("paths.data").into(),
                templates: self.folder("paths.templates"),
                dictionaries: self.folder("paths.dictionaries"),
            },
            log: Log {
                level: self.text("log.level"),
                json: self.choice("log.format", &["text", "json"]) == "json",
            },
            warnings: std::mem::take(&mut self.warnings),
        };
        self.unique_account_ids();
        config
    }

    fn server(&mut self) -> Server {
        Server {
            listen: self
                .listen("server.listen")
                .unwrap_or(Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 8100)))),
            ops_listen: self.listen("server.ops_listen"),
            public_url: self.url_or_empty("server.public_url"),
            trusted_proxies: self.networks("server.trusted_proxies"),
            max_connections: self.integer("server.max_connections", 16..=100_000) as usize,
            header_timeout: Duration::from_secs(self.integer("server.header_timeout_seconds", 1..=60)),
            idle_timeout: Duration::from_secs(self.integer("server.idle_timeout_seconds", 1..=3_600)),
            shutdown_grace: Duration::from_secs(self.integer("server.shutdown_grace_seconds", 0..=60)),
        }
    }

    fn redis(&mut self) -> Redis {
        let urls = self.texts("redis.urls");
        if urls.len() > 1 {
            self.refuse("redis.urls", "one address in mode standalone");
        }
        let url = urls.into_iter().next();
        let schemes = ["redis://", "redis+unix://", "unix://"];
        if url
            .as_ref()
            .is_some_and(|url| !schemes.iter().any(|scheme| url.starts_with(scheme)))
        {
            self.refuse(
                "redis.urls",
                "redis://[user:password@]host:port/db or redis+unix:///path/to.sock",
            );
        }
        Redis {
            url: url.map(Secret::new),
            prefix: self.text("redis.prefix"),
            deadline: Duration::from_millis(self.integer("redis.deadline_ms", 1..=1_000)),
        }
    }

    /// `None` when its credentials cannot work; that has been noted.
    fn account(&mut self, n: usize) -> Option<Account> {
        let key = |name: &str| format!("account.{n}.{name}");
        let id = self.account_text(n, "id").unwrap_or_default();
        if !is_account_id(&id) {
            self.refuse(&key("id"), "1–32 characters of A-Z a-z 0-9 _ -");
        }
        let appid = self.account_text(n, "appid").unwrap_or_default();
        if !appid.bytes().all(|b| b.is_ascii_alphanumeric()) || !(3..=64).contains(&appid.len()) {
            self.refuse(&key("appid"), "the AppID of WeChat's console, wx and 16 letters and digits");
        }
        let mode = self.account_text(n, "mode").unwrap_or("safe".into());
        let mode = match mode.as_str() {
            "plain" => Mode::Plain,
            "compatible" => Mode::Compatible,
            "safe" => Mode::Safe,
            _ => {
                self.refuse(&key("mode"), "plain | compatible | safe");
                return None;
            }
        };
        let default_base = "https://api.weixin.qq.com".to_owned();
        let api_base = self.account_text(n, "api_base").filter(|base| !base.is_empty()).unwrap_or(default_base);
        if !api_base.starts_with("https://") && !api_base.starts_with("http://") {
            self.refuse(&key("api_base"), "an https:// address");
        }
        let credentials = self.credentials(n, &appid, mode)?;
        let app_secret = Secret::new(self.account_text(n, "app_secret").unwrap_or_default());
        Some(Account { id, credentials, app_secret, api_base })
    }

    fn credentials(&mut self, n: usize, appid: &str, mode: Mode) -> Option<Credentials> {
        let mut secret = |name: &str| self.account_text(n, name).filter(|text| !text.is_empty());
        let token = secret("token").unwrap_or_default();
        let [previous_token, encoding_aes_key, previous_encoding_aes_key] =
            ["previous_token", "encoding_aes_key", "previous_encoding_aes_key"].map(&mut secret);
        for (name, token) in [("token", Some(&token)), ("previous_token", previous_token.as_ref())] {
            if token.is_some_and(|token| is_well_known_token(token)) {
                self.refuse(&format!("account.{n}.{name}"), "a Token of your own: this one stands in tutorials");
            }
        }
        let parts = CredentialParts {
            appid,
            mode,
            token: &token,
            previous_token: previous_token.as_deref(),
            encoding_aes_key: encoding_aes_key.as_deref(),
            previous_encoding_aes_key: previous_encoding_aes_key.as_deref(),
        };
        match Credentials::new(parts) {
            Ok(credentials) => {
                let id = self.account_text(n, "id").unwrap_or_default();
                self.warnings.extend(credentials.warnings().iter().map(|warning| format!("account {id}: {warning}")));
                Some(credentials)
            }
            Err(error) => {
                let key = format!("account.{n}.{}", error.field);
                let origin = self.leaf(&key).origin;
                self.layers.problem(&origin, format!("{key}: {}", error.reason));
                None
            }
        }
    }

    fn unique_account_ids(&mut self) {
        let mut seen = BTreeMap::new();
        for n in self.layers.accounts() {
            let key = format!("account.{n}.id");
            let id = self.account_text(n, "id").unwrap_or_default();
            if seen.insert(id, n).is_some() {
                self.refuse(&key, "an id no other account has");
            }
        }
    }

    fn install_key(&mut self) -> Secret {
        let key = Secret::new(self.text("security.install_key"));
        if !key.is_empty() && key.expose().len() < 16 {
            self.refuse("security.install_key", "empty, or 16 characters or more");
        }
        key
    }

    fn account_text(&mut self, n: usize, key: &str) -> Option<String> {
        let key = format!("account.{n}.{key}");
        let leaf = self.layers.leaves.get(&key)?;
        let text = leaf.value.as_str().map(str::to_owned);
        if text.is_none() {
            self.refuse(&key, "a text");
        }
        text
    }

    fn leaf(&self, key: &str) -> Leaf {
        let missing = || Leaf {
            value: Value::String(String::new()),
            origin: Origin::Default,
        };
        self.layers.leaves.get(key).cloned().unwrap_or_else(missing)
    }

    /// Notes that the value of `key` is not what is accepted. Secrets are not quoted.
    fn refuse(&mut self, key: &str, accepted: &str) {
        let leaf = self.leaf(key);
        let hidden = ["token", "key", "secret", "url", "urls"]
            .iter()
            .any(|word| key.ends_with(word));
        let shown = match &leaf.value {
            Value::String(text) if text.is_empty() => " is empty".to_owned(),
            _ if hidden => " is not accepted".to_owned(),
            value => format!(" = {value} is not accepted"),
        };
        self.layers
            .problem(&leaf.origin, format!("{key}{shown}; accepted: {accepted}"));
    }

    fn text(&mut self, key: &str) -> String {
        if let Some(text) = self.leaf(key).value.as_str() {
            return text.to_owned();
        }
        self.refuse(key, "a text");
        String::new()
    }

    fn texts(&mut self, key: &str) -> Vec<String> {
        let leaf = self.leaf(key);
        let items = leaf
            .value
            .as_array()
            .map(|items| items.iter().map(|item| item.as_str().map(str::to_owned)));
        if let Some(texts) = items.and_then(|items| items.collect::<Option<Vec<_>>>()) {
            return texts;
        }
        self.refuse(key, "a list of texts");
        Vec::new()
    }

    fn flag(&mut self, key: &str) -> bool {
        if let Some(flag) = self.leaf(key).value.as_bool() {
            return flag;
        }
        self.refuse(key, "true or false");
        false
    }

    fn integer(&mut self, key: &str, range: RangeInclusive<u64>) -> u64 {
        let value = self
            .leaf(key)
            .value
            .as_integer()
            .and_then(|value| u64::try_from(value).ok());
        match value {
            Some(value) if range.contains(&value) => value,
            _ => {
                self.refuse(key, &format!("a whole number, {}–{}", range.start(), range.end()));
                *range.start()
            }
        }
    }

    fn number(&mut self, key: &str, range: RangeInclusive<f64>) -> f64 {
        let value = match self.leaf(key).value {
            Value::Float(value) => Some(value),
            Value::Integer(value) => Some(value as f64),
            _ => None,
        };
        match value {
            Some(value) if range.contains(&value) => value,
            _ => {
                self.refuse(key, &format!("a number, {}–{}", range.start(), range.end()));
                *range.end()
            }
        }
    }

    fn choice(&mut self, key: &str, accepted: &[&str]) -> String {
        let value = self.leaf(key).value;
        match value.as_str() {
            Some(text) if accepted.contains(&text) => text.to_owned(),
            _ => {
                self.refuse(key, &accepted.join(" | "));
                accepted[0].to_owned()
            }
        }
    }

    fn only(&mut self, key: &str, value: &Value, accepted: &str) {
        if self.leaf(key).value != *value {
            self.refuse(key, accepted);
        }
    }

    fn listen(&mut self, key: &str) -> Option<Listen> {
        let text = self.text(key);
        if text.is_empty() && key == "server.ops_listen" {
            return None;
        }
        let parsed = match text.strip_prefix("unix:") {
            Some(path) => path.starts_with('/').then(|| Listen::Unix(path.into())),
            None => text.parse().ok().map(Listen::Tcp),
        };
        if parsed.is_none() {
            self.refuse(key, "address:port such as 127.0.0.1:8100, or unix:/path/to.sock");
        }
        parsed
    }

    fn url_or_empty(&mut self, key: &str) -> String {
        let text = self.text(key).trim_end_matches('/').to_owned();
        if !text.is_empty() && !text.starts_with("https://") && !text.starts_with("http://") {
            self.refuse(key, "empty, or an http(s):// address");
        }
        text
    }

    fn networks(&mut self, key: &str) -> Vec<Network> {
        let texts = self.texts(key);
        let networks: Vec<Network> = texts.iter().filter_map(|text| Network::parse(text)).collect();
        if networks.len() != texts.len() {
            self.refuse(key, "a list of addresses or networks such as 10.0.0.0/8");
        }
        networks
    }

    fn folder(&mut self, key: &str) -> Option<PathBuf> {
        let text = self.text(key);
        let path = (!text.is_empty()).then(|| PathBuf::from(text));
        if path.as_ref().is_some_and(|path| !path.is_dir()) {
            self.refuse(key, "empty, or a folder that exists");
        }
        path
    }
}

/// 1–32 characters of `A-Z a-z 0-9 _ -`.
fn is_account_id(id: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    (1..=32).contains(&id.len()) && id.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wxfaq.toml");
        std::fs::write(&path, file).unwrap();
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        let source = Source {
            file: Some(path),
            environment,
            ..Source::default()
        };
        Config::load(&source).map_err(|error| error.to_string().replace(folder.path().to_str().unwrap(), ""))
    }

    const ACCOUNT: &str =
        "[[account]]\nid = \"a\"\nappid = \"wx0123456789abcdef\"\ntoken = \"abcdef\"\nmode = \"plain\"\n";

    #[test]
    fn the_documented_defaults_are_accepted() {
        let config = Config::load(&Source::default()).unwrap();
        assert_eq!(config.server.listen.to_string(), "127.0.0.1:8100");
        assert_eq!(config.reply.deadline, Duration::from_secs(4));
        assert!(config.accounts.is_empty());
    }

    #[test]
    fn a_wrong_value_names_line_key_value_and_range() {
        let error = load(&format!("[reply]\n\ndeadline_ms = 9000\n{ACCOUNT}"), &[]).unwrap_err();
        assert_eq!(
            error,
            "/wxfaq.toml:3: reply.deadline_ms = 9000 is not accepted; accepted: a whole number, 500–4800"
        );
    }

    #[test]
    fn a_misspelt_key_suggests_the_right_one() {
        let error = load(&format!("[matching]\nanswer_treshold = 0.7\n{ACCOUNT}"), &[]).unwrap_err();
        assert_eq!(
            error,
            "/wxfaq.toml:2: unknown key matching.answer_treshold; did you mean matching.answer_threshold?"
        );
        let error = load(&ACCOUNT.replace("token", "tokn"), &[]).unwrap_err();
        assert!(
            error.contains(":4: unknown key account.0.tokn; did you mean account.0.token?"),
            "{error}"
        );
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let error = load("[session]\nttl_seconds = \"x\"\n[api]\npublic = 1\n", &[]).unwrap_err();
        assert_eq!(error.lines().count(), 3, "{error}");
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let variables = [
            ("WXFAQ__REPLY__DEADLINE_MS", "1500"),
            ("WXFAQ__ACCOUNT__0__APP_SECRET", "other"),
        ];
        let config = load(&format!("[reply]\ndeadline_ms = 2000\n{ACCOUNT}"), &variables).unwrap();
        assert_eq!(config.reply.deadline, Duration::from_millis(1500));
        assert_eq!(config.accounts[0].app_secret.expose(), "other");
        let error = load(ACCOUNT, &[("WXFAQ__REPLY__DEADLINE_MS", "soon")]).unwrap_err();
        assert!(
            error.starts_with("environment variable WXFAQ__REPLY__DEADLINE_MS: reply.deadline_ms"),
            "{error}"
        );
    }

    #[test]
    fn secrets_come_from_files_and_are_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("t");
        std::fs::write(&secret, "from-a-file\n").unwrap();
        let text = ACCOUNT.replace(
            "token = \"abcdef\"",
            &format!("token_file = {:?}", secret.display().to_string()),
        );
        let config = load(&text, &[]).unwrap();
        assert_eq!(config.accounts[0].app_secret.expose(), "from-a-file");
        assert!(!format!("{config:?}").contains("from-a-file"));
        let error = load(&format!("[security]\ninstall_key = \"short\"\n{ACCOUNT}"), &[]).unwrap_err();
        assert!(!error.contains("short"), "{error}");
    }

    #[test]
    fn credentials_are_found_by_account_id() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("account.a.app_secret"), "credential").unwrap();
        let file = folder.path().join("wxfaq.toml");
        std::fs::write(&file, ACCOUNT).unwrap();
        let source = Source {
            file: Some(file),
            credentials: Some(folder.path().into()),
            ..Source::default()
        };
        assert_eq!(Config::load(&source).unwrap().accounts[0].app_secret.expose(), "credential");
    }

    #[test]
    fn a_syntax_error_names_its_line() {
        let error = load("[server]\nlisten = \n", &[]).unwrap_err();
        assert!(error.starts_with("/wxfaq.toml:2: "), "{error}");
    }

    #[test]
    fn networks_contain_their_addresses() {
        let network = Network::parse("10.1.0.0/16").unwrap();
        assert!(network.contains("10.1.200.3".parse().unwrap()) && !network.contains("10.2.0.1".parse().unwrap()));
        assert!(Network::parse("::1").unwrap().contains("::1".parse().unwrap()));
        assert!(Network::parse("10.0.0.0/33").is_none() && Network::parse("host").is_none());
        assert!(
            Network::parse("0.0.0.0/0")
                .unwrap()
                .contains("8.8.8.8".parse().unwrap())
        );
    }
}
