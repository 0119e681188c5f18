//! The values of a configuration, as the rest of the program takes them: right by construction.

use crate::dialog::{Habits, Handoff};
use crate::wechat::Credentials;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

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

/// `[api]`
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "config/default.toml documents every key")]
pub struct Api {
    pub public: bool,
    pub public_per_minute: u32,
    pub ask_per_minute: u32,
    pub ask_address_per_minute: u32,
    /// As browsers write them: `https://host` or with `:port`, in lower case.
    pub cors_origins: Vec<String>,
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
    /// Whether it may send customer-service messages; only with an AppSecret.
    pub customer_service: bool,
    /// Whether deliveries must come from WeChat's addresses; only with an AppSecret.
    pub check_source: bool,
    #[expect(missing_docs, reason = "the type says it")]
    pub handoff: Handoff,
}

/// `[redis]`
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "config/default.toml documents every key")]
pub struct Redis {
    /// `None`: conversations live in this process.
    pub servers: Option<RedisServers>,
    pub prefix: String,
    pub deadline: Duration,
}

/// `urls` of `[redis]`, by `mode`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "config/default.toml documents every key")]
pub enum RedisServers {
    /// The one server's address.
    Standalone(Secret),
    /// At least one sentinel's address.
    Sentinel {
        sentinels: Vec<Secret>,
        primary: String,
        user: String,
        password: Secret,
    },
    /// At least one node's address.
    Cluster(Vec<Secret>),
}

/// `[reply]`
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "config/default.toml documents every key")]
pub struct ReplySettings {
    pub deadline: Duration,
    pub max_bytes: usize,
    pub hold_retries: bool,
    pub per_minute: u32,
    pub work: Duration,
    /// `also_asked`, `also_asked_margin`, `feedback`
    pub habits: Habits,
}

/// `[query_log]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "config/default.toml documents every key")]
pub struct QueryLogSettings {
    pub retention: Duration,
}

/// `[paths]`
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "config/default.toml documents every key")]
pub struct Paths {
    pub data: PathBuf,
    pub templates: Option<PathBuf>,
    pub dictionaries: Option<PathBuf>,
    /// Files of answers; `None`: there are none.
    pub media: Option<PathBuf>,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "config/default.toml documents every key")]
pub struct Log {
    pub level: String,
    pub json: bool,
}
