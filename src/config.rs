//! The configuration: what an operator may set, read once at the start (and at a reload) into values that are right.
//!
//! [`Config::load`] is the entry point. It reports every problem at once, each with file and line (or variable), key,
//! value and what is accepted. `config/default.toml` is embedded: the documented default is the default. Order:
//! defaults < file < environment.

mod layers;
mod reader;
mod values;

pub use values::{
    Account, Api, Listen, Log, Network, Paths, QueryLogSettings, Redis, RedisServers, ReplySettings, Secret, Server,
};

use crate::matching::Thresholds;
use layers::{Layers, Origin};
use reader::Reader;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

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

/// Everything an operator may set; see `config/default.toml` for meanings.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "config/default.toml documents every key")]
pub struct Config {
    pub server: Server,
    pub api: Api,
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
    pub query_log: QueryLogSettings,
    pub paths: Paths,
    pub log: Log,
    /// What works and yet is unlikely to be meant, a sentence each.
    pub warnings: Vec<String>,
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
    /// `paths.data` as the layers have it, whatever else is wrong with them.
    pub fn data_folder(source: &Source) -> PathBuf {
        let layers = Layers::read(DEFAULTS, source);
        let named = layers.leaves.get("paths.data").and_then(|leaf| leaf.value.as_str());
        PathBuf::from(named.unwrap_or_default())
    }

    /// Reads and validates every layer.
    ///
    /// Without a file there may be no account.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the keys.
    pub fn load(source: &Source) -> Result<Self, ConfigError> {
        let mut reader = Reader {
            layers: Layers::read(DEFAULTS, source),
            warnings: Vec::new(),
        };
        let config = reader.config();
        if reader.layers.has_file && reader.layers.accounts().is_empty() {
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
    fn errors_say_what_was_meant_and_where() {
        let long = |more: &str| format!("{more}\n{ACCOUNT}");
        let cases = [
            (
                long("listen = \"a\""),
                ":1: unknown key listen; did you mean server.listen?",
            ),
            (
                long("[accounts]\nid = \"x\""),
                ":2: unknown key accounts.id; write [[account]], once for each account",
            ),
            (
                "[account]\nid = \"x\"".to_owned(),
                ":2: unknown key account.id; write [[account]]",
            ),
            (
                long("[matching2]\nfoo = 1"),
                ":2: unknown key matching2.foo; see [matching] in config/default.toml",
            ),
            (
                long("[server]\nops_listen = 8080"),
                ":2: server.ops_listen = 8080 is not accepted; accepted: address:port",
            ),
            (
                long("[server]\npublic_url = \"bot.example.com\""),
                "server.public_url = \"bot.example.com\" is not accepted",
            ),
            (
                long("[log]\nlevel = \"lod\""),
                ":2: log.level = \"lod\" is not accepted; accepted: error, warn",
            ),
            (long("[log]\nlevel = \"info,wxfaq::web=dbug\""), "log.level"),
            (
                ACCOUNT.replace("appid = \"wx0123456789abcdef\"\n", ""),
                ":1: account.0.appid is empty",
            ),
        ];
        for (file, said) in cases {
            let error = load(&file, &[]).unwrap_err();
            assert!(error.contains(said), "{said}: {error}");
        }
        for level in ["info", "off", "INFO", "warn,wxfaq::web=debug, hyper=off"] {
            load(&long(&format!("[log]\nlevel = \"{level}\"")), &[]).unwrap();
        }
    }

    #[test]
    fn one_mistake_is_one_problem() {
        let absent = Source {
            file: Some("/nowhere/wxfaq.toml".into()),
            ..Source::default()
        };
        for error in [
            Config::load(&absent).unwrap_err().to_string(),
            load("[server\n", &[]).unwrap_err(),
            load(
                &ACCOUNT.replace("token = \"abcdef\"", "token_file = \"/nowhere/token\""),
                &[],
            )
            .unwrap_err(),
        ] {
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn a_variable_is_read_as_the_default_is_written() {
        let file = format!("[matching]\nanswer_threshold = 1\n{ACCOUNT}");
        let config = load(&file, &[("WXFAQ__MATCHING__ANSWER_THRESHOLD", "0.7")]).unwrap();
        assert!((config.thresholds.answer - 0.7).abs() < 1e-9);
        let list = "WXFAQ__SERVER__TRUSTED_PROXIES";
        assert_eq!(
            load(ACCOUNT, &[(list, "10.0.0.0/8, ::1")])
                .unwrap()
                .server
                .trusted_proxies
                .len(),
            2
        );
        let error = load(ACCOUNT, &[(list, "[\"10.0.0.0/8\"]")]).unwrap_err();
        assert!(error.contains("separated by commas"), "{error}");
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let error = load("[session]\nttl_seconds = \"x\"\n[api]\npublic = 1\n", &[]).unwrap_err();
        assert_eq!(error.lines().count(), 3, "{error}");
    }

    #[test]
    fn accounts_do_not_share_a_token() {
        let second = ACCOUNT.replace("\"a\"", "\"b\"");
        let error = load(&format!("{ACCOUNT}{second}"), &[]).unwrap_err();
        assert!(
            error.contains("account.1.token is not accepted; accepted: a Token no other"),
            "{error}"
        );
        let previous = format!(
            "{}previous_token = \"abcdef\"\n",
            second.replace("\"abcdef\"", "\"ghijkl\"")
        );
        let error = load(&format!("{ACCOUNT}{previous}"), &[]).unwrap_err();
        assert!(error.contains("account.1.previous_token is not accepted"), "{error}");
        assert!(load(&format!("{ACCOUNT}{}", second.replace("abcdef", "ghijkl")), &[]).is_ok());
    }

    #[test]
    fn plain_mode_without_redis_is_warned_about() {
        let warns = |config: Config| config.warnings.iter().any(|warning| warning.contains("without Redis"));
        assert!(warns(load(ACCOUNT, &[]).unwrap()));
        let redis = format!("[redis]\nurls = [\"redis://localhost\"]\n{ACCOUNT}");
        assert!(!warns(load(&redis, &[]).unwrap()));
    }

    #[test]
    fn redis_is_one_server_sentinels_or_a_cluster() {
        let redis = |text: &str| load(&format!("[redis]\n{text}\n{ACCOUNT}"), &[]).map(|config| config.redis.servers);
        let (one, two) = (r#"urls = ["redis://a"]"#, r#"urls = ["redis://a:1", "redis://b:2"]"#);
        assert_eq!(redis("").unwrap(), None);
        assert_eq!(redis(r#"mode = "cluster""#).unwrap(), None);
        assert!(matches!(redis(one).unwrap(), Some(RedisServers::Standalone(_))));
        let cluster = redis(&format!("mode = \"cluster\"\n{two}")).unwrap();
        assert!(matches!(cluster, Some(RedisServers::Cluster(urls)) if urls.len() == 2));
        let sentinel = |more: &str| redis(&format!("mode = \"sentinel\"\n{two}\n{more}"));
        let Some(RedisServers::Sentinel {
            sentinels,
            primary,
            user,
            password,
        }) = sentinel("sentinel_master = \"m\"\nuser = \"u\"\npassword = \"p\"").unwrap()
        else {
            panic!("no sentinels")
        };
        assert_eq!(
            (sentinels.len(), primary.as_str(), user.as_str(), password.expose()),
            (2, "m", "u", "p")
        );

        for (text, said) in [
            (
                two.to_owned(),
                "redis.urls is not accepted; accepted: one address in mode standalone",
            ),
            (
                format!("mode = \"sentinel\"\n{one}"),
                "redis.sentinel_master is empty; accepted: the name",
            ),
            (
                format!("{one}\nsentinel_master = \"m\""),
                "redis.sentinel_master = \"m\" is not accepted; accepted: empty",
            ),
            (
                format!("{one}\npassword = \"p\""),
                "redis.password is not accepted; accepted: empty",
            ),
            (
                format!("{one}\nuser = \"u\""),
                "redis.user = \"u\" is not accepted; accepted: empty",
            ),
            (
                r#"urls = ["http://a"]"#.to_owned(),
                "redis.urls is not accepted; accepted: redis://",
            ),
            (
                "mode = \"cluster\"\nurls = [\"unix:///a\"]".to_owned(),
                "redis.urls is not accepted; accepted: a list of",
            ),
            (
                format!("mode = \"cluster\"\n{one}\nprefix = \"{{a}}:\""),
                "accepted: in mode cluster a text without",
            ),
            (
                "mode = \"cluster\"\nurls = [\"redis://a/1\"]".to_owned(),
                "accepted: in mode cluster addresses without",
            ),
            (
                format!("mode = \"other\"\n{one}"),
                "accepted: standalone | sentinel | cluster",
            ),
        ] {
            let error = redis(&text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn a_secret_sent_in_clear_is_warned_about() {
        let warns = |more: &str| {
            let config = load(&format!("{ACCOUNT}{more}"), &[]).unwrap();
            config
                .warnings
                .iter()
                .any(|warning| warning.contains("api_base is http"))
        };
        let secret = "app_secret = \"s\"\n";
        assert!(warns(&format!("{secret}api_base = \"http://proxy.example.com\"\n")));
        assert!(!warns("api_base = \"http://proxy.example.com\"\n"));
        for base in [
            "https://proxy.example.com",
            "http://127.0.0.1:8200",
            "http://localhost",
            "http://[::1]:82",
        ] {
            assert!(!warns(&format!("{secret}api_base = \"{base}\"\n")), "{base}");
        }
    }

    #[test]
    fn what_calls_wechat_needs_the_secret_for_it() {
        for key in ["customer_service", "check_source"] {
            let error = load(&format!("{ACCOUNT}{key} = true\n"), &[]).unwrap_err();
            assert!(
                error.contains(&format!(":6: account.0.{key} = true is not accepted")),
                "{error}"
            );
            let account = format!("{ACCOUNT}app_secret = \"s\"\n{key} = true\n");
            let account = &load(&account, &[]).unwrap().accounts[0];
            assert!(account.customer_service != account.check_source);
            let error = load(&format!("{ACCOUNT}{key} = \"yes\"\n"), &[]).unwrap_err();
            assert!(error.contains("accepted: true or false"), "{error}");
        }
        let variables = [
            ("WXFAQ__ACCOUNT__0__APP_SECRET", "s"),
            ("WXFAQ__ACCOUNT__0__CUSTOMER_SERVICE", "true"),
        ];
        assert!(load(ACCOUNT, &variables).unwrap().accounts[0].customer_service);
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
        let text = format!("{ACCOUNT}app_secret_file = {:?}\n", secret.display().to_string());
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
        assert_eq!(
            Config::load(&source).unwrap().accounts[0].app_secret.expose(),
            "credential"
        );
    }

    #[test]
    fn a_syntax_error_names_its_line() {
        let error = load("[server]\nlisten = \n", &[]).unwrap_err();
        assert!(error.starts_with("/wxfaq.toml:2: "), "{error}");
    }

    #[test]
    fn the_published_secrets_of_the_example_are_warned_of() {
        let config = load(include_str!("../config/example.toml"), &[]).unwrap();
        let published = config
            .warnings
            .iter()
            .filter(|warning| warning.contains("which everybody knows"));
        assert_eq!(published.count(), 5, "{:?}", config.warnings);
        assert!(
            !load(ACCOUNT, &[])
                .unwrap()
                .warnings
                .iter()
                .any(|warning| warning.contains("everybody"))
        );
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
