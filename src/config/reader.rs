//! From layers of plain TOML values to a [`Config`]: types, ranges, and what is said when they do not fit.
//!
//! [`Reader::config`] is the entry point. It goes on after a problem, so that all of them are reported at once.

use super::layers::{Layers, Leaf, Origin, is_secret};
use super::{
    Account, Api, Config, Listen, Log, Network, Paths, QueryLogSettings, Redis, RedisServers, ReplySettings, Secret,
    Server,
};
use crate::dialog::{Habits, Handoff};
use crate::matching::Thresholds;
use crate::wechat::credentials::{CredentialParts, is_well_known_token};
use crate::wechat::{Credentials, Mode};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use toml::Value;

/// In every secret of `config/example.toml`.
const PLACEHOLDER: &str = "ReplaceThis";

/// Takes typed values out of the layers, noting what does not fit.
pub(super) struct Reader {
    pub layers: Layers,
    pub warnings: Vec<String>,
}

impl Reader {
    /// The whole configuration; where something is wrong, any value stands in its place.
    pub fn config(&mut self) -> Config {
        self.warnings
            .extend(self.layers.secrets_in_environment().map(|(key, origin)| {
                format!("{key} comes from {origin}, which other processes of this user can read; prefer {key}_file")
            }));
        let answer = self.number("matching.answer_threshold", 0.0..=1.0);
        let accounts = self
            .layers
            .accounts()
            .into_iter()
            .filter_map(|n| self.account(n))
            .collect::<Vec<_>>();
        let redis = self.redis();
        let plain = accounts
            .iter()
            .find(|account| account.credentials.mode() == Mode::Plain);
        if let Some(account) = plain.filter(|_| redis.servers.is_none()) {
            self.warnings.push(format!(
                "account {}: mode is plain without Redis: for security.timestamp_window_seconds after a restart a captured \
                 address works once more, with any body; use safe, or Redis",
                account.id
            ));
        }
        let config = Config {
            server: self.server(),
            api: self.api(),
            accounts,
            database_url: Secret::new(self.text("database.url")),
            database_poll: Duration::from_millis(self.integer("database.poll_ms", 100..=60_000)),
            redis,
            session_ttl: Duration::from_secs(self.integer("session.ttl_seconds", 10..=604_800)),
            reply: ReplySettings {
                deadline: Duration::from_millis(self.integer("reply.deadline_ms", 500..=4_800)),
                max_bytes: self.integer("reply.max_bytes", 256..=2_048) as usize,
                hold_retries: self.flag("reply.hold_retries"),
                per_minute: self.integer("reply.per_minute", 0..=100_000) as u32,
                work: Duration::from_secs(self.integer("reply.work_seconds", 5..=300)),
                habits: Habits {
                    also_asked: self.integer("reply.also_asked", 0..=3) as usize,
                    also_asked_margin: self.number("reply.also_asked_margin", 0.0..=1.0),
                    feedback: self.flag("reply.feedback"),
                },
            },
            thresholds: Thresholds {
                answer,
                suggest: self.number("matching.suggest_threshold", 0.0..=answer),
            },
            max_suggestions: self.integer("matching.max_suggestions", 2..=10) as usize,
            timestamp_window: self.integer("security.timestamp_window_seconds", 0..=86_400),
            install_key: self.install_key(),
            query_log: QueryLogSettings {
                retention: Duration::from_secs(self.integer("query_log.retention_days", 0..=180) * 86_400),
            },
            paths: Paths {
                data: self.text("paths.data").into(),
                templates: self.folder("paths.templates"),
                dictionaries: self.folder("paths.dictionaries"),
                media: self.folder("paths.media"),
            },
            log: Log {
                level: self.level(),
                json: self.choice("log.format", &["text", "json"]) == "json",
            },
            warnings: std::mem::take(&mut self.warnings),
        };
        self.unique_account_ids();
        self.unique_tokens();
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

    fn api(&mut self) -> Api {
        let cors_origins = self.texts("api.cors_origins");
        if !cors_origins.iter().all(|origin| is_origin(origin)) {
            let accepted = "a list of origins such as https://m.example.com: scheme and host, no path, in lower case";
            self.refuse("api.cors_origins", accepted);
        }
        Api {
            public: self.flag("api.public"),
            public_per_minute: self.integer("api.public_per_minute", 1..=1_000_000) as u32,
            ask_per_minute: self.integer("api.ask_per_minute", 1..=1_000_000) as u32,
            ask_address_per_minute: self.integer("api.ask_address_per_minute", 1..=1_000_000) as u32,
            cors_origins,
        }
    }

    fn redis(&mut self) -> Redis {
        Redis {
            servers: self.redis_servers(),
            prefix: self.text("redis.prefix"),
            deadline: Duration::from_millis(self.integer("redis.deadline_ms", 1..=1_000)),
        }
    }

    /// `None` when there are no addresses, or they do not fit the mode; that has been noted.
    fn redis_servers(&mut self) -> Option<RedisServers> {
        let mode = self.choice("redis.mode", &["standalone", "sentinel", "cluster"]);
        let urls = self.texts("redis.urls");
        let [primary, user, password] =
            ["redis.sentinel_master", "redis.user", "redis.password"].map(|key| (key, self.text(key)));
        if mode == "sentinel" {
            if primary.1.is_empty() && !urls.is_empty() {
                self.refuse(primary.0, "the name of the primary in the sentinels' configuration");
            }
        } else {
            for (key, _) in [&primary, &user, &password].iter().filter(|(_, text)| !text.is_empty()) {
                self.refuse(
                    key,
                    "empty, but in mode sentinel; user and password stand in redis.urls",
                );
            }
        }
        let unix = ["redis+unix://", "unix://"];
        let fits = |url: &String| {
            url.starts_with("redis://") || mode == "standalone" && unix.iter().any(|scheme| url.starts_with(scheme))
        };
        if !urls.iter().all(fits) {
            let accepted = match mode.as_str() {
                "standalone" => "redis://[user:password@]host:port/db or redis+unix:///path/to.sock",
                _ => "a list of redis://[user:password@]host:port",
            };
            self.refuse("redis.urls", accepted);
        }
        if mode == "cluster" {
            if urls.iter().any(|url| has_database(url)) {
                self.refuse(
                    "redis.urls",
                    "in mode cluster addresses without a database, for a cluster has one",
                );
            }
            if self.text("redis.prefix").contains(['{', '}']) {
                self.refuse(
                    "redis.prefix",
                    "in mode cluster a text without { and }, which say what stays together",
                );
            }
        }
        let mut urls = urls.into_iter().map(Secret::new);
        let first = urls.next()?;
        let all = std::iter::once(first.clone()).chain(urls).collect::<Vec<_>>();
        match mode.as_str() {
            "sentinel" => Some(RedisServers::Sentinel {
                sentinels: all,
                primary: primary.1,
                user: user.1,
                password: Secret::new(password.1),
            }),
            "cluster" => Some(RedisServers::Cluster(all)),
            _ => {
                if all.len() > 1 {
                    self.refuse(
                        "redis.urls",
                        "one address in mode standalone; several in mode sentinel or cluster",
                    );
                }
                Some(RedisServers::Standalone(first))
            }
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
            self.refuse(
                &key("appid"),
                "the AppID of WeChat's console, wx and 16 letters and digits",
            );
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
        let api_base = self
            .account_text(n, "api_base")
            .filter(|base| !base.is_empty())
            .unwrap_or(default_base);
        if !api_base.starts_with("https://") && !api_base.starts_with("http://") {
            self.refuse(&key("api_base"), "an https:// address");
        }
        let credentials = self.credentials(n, &appid, mode)?;
        let app_secret = Secret::new(self.account_text(n, "app_secret").unwrap_or_default());
        let clear_host = api_base.strip_prefix("http://").filter(|host| !is_this_machine(host));
        if clear_host.is_some() && !app_secret.is_empty() {
            self.warnings.push(format!(
                "account {id}: api_base is http: the AppSecret and what is sent to followers can be read on the way; use https"
            ));
        }
        let [customer_service, check_source] = ["customer_service", "check_source"].map(|name| {
            let is_set = self.account_flag(n, name);
            if is_set && app_secret.is_empty() {
                self.refuse(&key(name), "true only with an app_secret, which calls to WeChat need");
            }
            is_set
        });
        let handoff = self.account_text(n, "handoff").unwrap_or_else(|| "bank".to_owned());
        let handoff = match handoff.as_str() {
            "bank" => Handoff::Bank,
            "always" => Handoff::Always,
            "never" => Handoff::Never,
            _ => {
                self.refuse(&key("handoff"), "bank | always | never");
                Handoff::default()
            }
        };
        Some(Account {
            id,
            credentials,
            app_secret,
            api_base,
            customer_service,
            check_source,
            handoff,
        })
    }

    fn credentials(&mut self, n: usize, appid: &str, mode: Mode) -> Option<Credentials> {
        let mut secret = |name: &str| self.account_text(n, name).filter(|text| !text.is_empty());
        let token = secret("token").unwrap_or_default();
        let [previous_token, encoding_aes_key, previous_encoding_aes_key] =
            ["previous_token", "encoding_aes_key", "previous_encoding_aes_key"].map(&mut secret);
        for (name, token) in [
            ("token", Some(token.as_str())),
            ("previous_token", previous_token.as_deref()),
        ] {
            if token.is_some_and(is_well_known_token) {
                self.refuse(
                    &format!("account.{n}.{name}"),
                    "a Token of your own: this one stands in tutorials",
                );
            }
        }
        let texts = [("token", Some(&token)), ("encoding_aes_key", encoding_aes_key.as_ref())];
        for (name, _) in texts
            .iter()
            .filter(|(_, text)| text.is_some_and(|text| text.contains(PLACEHOLDER)))
        {
            self.warnings.push(format!(
                "account.{n}.{name} is the one of config/example.toml, which everybody knows: make one of your own"
            ));
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
                self.warnings.extend(
                    credentials
                        .warnings()
                        .iter()
                        .map(|warning| format!("account {id}: {warning}")),
                );
                Some(credentials)
            }
            Err(error) => {
                let key = format!("account.{n}.{}", error.field);
                // What a file should have brought is missing for a reason that was given already.
                if self.layers.unresolved.contains(&key) {
                    return None;
                }
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

    /// A signature holds wherever its Token does: with one Token for two accounts, an address captured at one opens the
    /// other.
    fn unique_tokens(&mut self) {
        let mut owners = BTreeMap::new();
        for n in self.layers.accounts() {
            for name in ["token", "previous_token"] {
                let Some(token) = self.account_text(n, name).filter(|token| !token.is_empty()) else {
                    continue;
                };
                if *owners.entry(token).or_insert(n) != n {
                    self.refuse(&format!("account.{n}.{name}"), "a Token no other account has");
                }
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

    fn level(&mut self) -> String {
        let level = self.text("log.level");
        if !level.split(',').all(is_directive) {
            self.refuse(
                "log.level",
                "error, warn, info, debug, trace or off, or a filter such as \"info,wxfaq::web=debug\"",
            );
        }
        level
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

    /// `false` where it is missing.
    fn account_flag(&mut self, n: usize, key: &str) -> bool {
        let key = format!("account.{n}.{key}");
        let value = self.layers.leaves.get(&key).map(|leaf| leaf.value.clone());
        match value {
            None => false,
            Some(Value::Boolean(flag)) => flag,
            // From the environment.
            Some(Value::String(text)) if matches!(text.as_str(), "true" | "false") => text == "true",
            Some(_) => {
                self.refuse(&key, "true or false");
                false
            }
        }
    }

    /// The value of `key`; an empty text where it is missing, of an account in its block.
    fn leaf(&self, key: &str) -> Leaf {
        let missing = || Leaf {
            value: Value::String(String::new()),
            origin: self.layers.block_of(key),
        };
        self.layers.leaves.get(key).cloned().unwrap_or_else(missing)
    }

    /// Notes that the value of `key` is not what is accepted. Secrets are not quoted.
    fn refuse(&mut self, key: &str, accepted: &str) {
        let leaf = self.leaf(key);
        let hidden = is_secret(key);
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
        if let Some(items) = self.leaf(key).value.as_array() {
            let texts: Vec<String> = items.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            if texts.len() == items.len() {
                return texts;
            }
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

    fn listen(&mut self, key: &str) -> Option<Listen> {
        let value = self.leaf(key).value;
        if value.as_str() == Some("") && key == "server.ops_listen" {
            return None;
        }
        let parsed = value.as_str().and_then(|text| match text.strip_prefix("unix:") {
            Some(path) => path.starts_with('/').then(|| Listen::Unix(path.into())),
            None => text.parse().ok().map(Listen::Tcp),
        });
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
            let accepted = match self.leaf(key).origin {
                Origin::Environment(_) => "addresses or networks separated by commas, such as 10.0.0.0/8,192.168.1.1",
                _ => "a list of addresses or networks such as 10.0.0.0/8",
            };
            self.refuse(key, accepted);
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

/// Whether the address of a server names one of its databases.
fn has_database(url: &str) -> bool {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after_scheme.split_once('/').map_or("", |(_, path)| path);
    !matches!(path.split('?').next(), None | Some("" | "0"))
}

/// 1–32 characters of `A-Z a-z 0-9 _ -`.
fn is_account_id(id: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    (1..=32).contains(&id.len()) && id.bytes().all(allowed)
}

/// Whether an address without its scheme is one of this machine's own.
fn is_this_machine(address: &str) -> bool {
    let host = address.split(['/', ':']).next().unwrap_or_default();
    host == "localhost" || address.starts_with("[::1]") || host.starts_with("127.")
}

/// As a browser writes the origin of a page; it leaves the usual port out.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-:[]".contains(&b);
    let usual =
        (text.starts_with("https:") && text.ends_with(":443")) || (text.starts_with("http:") && text.ends_with(":80"));
    host.is_some_and(|host| !host.is_empty() && host.bytes().all(allowed)) && !usual
}

/// A level, or a target with one: the filter's own parser takes a misspelt level for a target, and then all is silent.
fn is_directive(text: &str) -> bool {
    let level = text.trim().rsplit_once('=').map_or(text, |(_, level)| level).trim();
    let known = ["error", "warn", "info", "debug", "trace", "off"];
    known.iter().any(|name| name.eq_ignore_ascii_case(level))
}
