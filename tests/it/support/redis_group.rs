//! Redis as several real processes of the test's own: a primary and its replica under three sentinels, or a cluster of
//! three primaries with a replica each. Every server wants a password.

use super::daemon::{PATIENCE, free_port};
use super::redis_server::{IN_MEMORY, RedisServer};
use futures_util::future::join_all;
use std::time::{Duration, Instant};
use wxfaq::store::redis::Servers;

/// What the sentinels call the primary.
const PRIMARY: &str = "primary-of-tests";
const PASSWORD: &str = "PasswordOfServers";
const SENTINEL_PASSWORD: &str = "PasswordOfSentinels";

/// A server that is silent for so long is taken for dead by the others.
const DOWN_AFTER_MS: &str = "1000";

/// Slots of every cluster.
const SLOTS: usize = 16_384;

/// Running servers; killed when dropped.
pub struct RedisGroup {
    /// Those that keep data.
    pub servers: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
}

impl RedisGroup {
    /// A primary, a replica and three sentinels that know one another.
    pub async fn sentinels() -> Self {
        let primary = start_data_server(&[]).await;
        let port = port_of(&primary).to_owned();
        let servers = vec![start_data_server(&["--replicaof", "127.0.0.1", &port]).await, primary];
        let sentinels = join_all((0..3).map(|_| start_sentinel(&port))).await;
        for server in &sentinels {
            until("every sentinel knows the others and the replica", async || {
                let info = text(server, &["INFO", "sentinel"]).await;
                info.contains("slaves=1,sentinels=3")
            })
            .await;
        }
        until("the replica follows", async || follows(&servers[0]).await).await;
        Self { servers, sentinels }
    }

    /// Three primaries and three replicas, all slots served.
    pub async fn cluster() -> Self {
        let servers = join_all((0..6).map(|_| start_node())).await;
        let ids = join_all(servers.iter().map(|(server, _)| text(server, &["CLUSTER", "MYID"]))).await;
        for (n, (server, _)) in servers.iter().enumerate() {
            server
                .command(&["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()])
                .await;
            if n < 3 {
                let [first, last] = [n, n + 1].map(|part| part * SLOTS / 3);
                let (first, last) = (first.to_string(), (last - 1).to_string());
                server.command(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]).await;
            }
        }
        // Not before: an epoch is set on a node that knows no other.
        for (server, _) in &servers {
            for (other, bus) in &servers {
                server
                    .command(&["CLUSTER", "MEET", "127.0.0.1", port_of(other), bus])
                    .await;
            }
        }
        let servers: Vec<RedisServer> = servers.into_iter().map(|(server, _)| server).collect();
        for (n, server) in servers.iter().enumerate() {
            until("every node knows every other", async || {
                let nodes = text(server, &["CLUSTER", "NODES"]).await;
                ids.iter().all(|id| nodes.contains(id.as_str())) && !nodes.contains("handshake")
            })
            .await;
            if n >= 3 {
                server.command(&["CLUSTER", "REPLICATE", &ids[n - 3]]).await;
            }
        }
        for (n, server) in servers.iter().enumerate() {
            until("the cluster is complete", async || {
                let state = text(server, &["CLUSTER", "INFO"]).await;
                state.contains("cluster_state:ok") && (n < 3 || follows(server).await)
            })
            .await;
        }
        Self {
            servers,
            sentinels: Vec::new(),
        }
    }

    /// As the library takes it.
    pub fn place(&self) -> Servers {
        let urls = self.urls();
        if self.sentinels.is_empty() {
            return Servers::Cluster(urls);
        }
        Servers::Sentinels {
            sentinels: urls,
            primary: PRIMARY.to_owned(),
            user: String::new(),
            password: PASSWORD.to_owned(),
        }
    }

    /// As the configuration takes it.
    pub fn section(&self) -> String {
        let mode = if self.sentinels.is_empty() {
            "mode = \"cluster\"".to_owned()
        } else {
            format!("mode = \"sentinel\"\nsentinel_master = {PRIMARY:?}\npassword = {PASSWORD:?}")
        };
        format!("[redis]\n{mode}\nurls = {:?}\n", self.urls())
    }

    /// The server that keeps `key` now, one of those that run.
    pub async fn keeper_of(&self, key: &str) -> usize {
        for primary in self.primaries().await {
            if self.servers[primary].try_command(&["EXISTS", key]).await.is_ok() {
                return primary;
            }
        }
        panic!("nobody keeps {key}");
    }

    /// Lets a replica take its primary's place, which goes on as its replica.
    pub async fn hand_over(&self) {
        let (heir, predecessor) = match self.sentinels.first() {
            Some(sentinel) => {
                sentinel.command(&["SENTINEL", "FAILOVER", PRIMARY]).await;
                (0, 1)
            }
            None => {
                self.servers[3].command(&["CLUSTER", "FAILOVER"]).await;
                (3, 0)
            }
        };
        until("the replica has taken over", async || {
            let primaries = self.primaries().await;
            primaries.contains(&heir) && !primaries.contains(&predecessor)
        })
        .await;
    }

    /// The servers that run and take writes.
    pub async fn primaries(&self) -> Vec<usize> {
        let mut primaries = Vec::new();
        for (n, server) in self.servers.iter().enumerate() {
            let info = server.try_command(&["INFO", "replication"]).await;
            let info = info.and_then(|info| Ok(redis::from_redis_value::<String>(info)?));
            if info.is_ok_and(|info| info.contains("role:master")) {
                primaries.push(n);
            }
        }
        primaries
    }

    /// Three of those that a client is told of; one of them may be away.
    fn urls(&self) -> Vec<String> {
        let named = if self.sentinels.is_empty() {
            &self.servers
        } else {
            &self.sentinels
        };
        named.iter().take(3).map(|server| server.url().to_owned()).collect()
    }
}

async fn start_data_server(more: &[&str]) -> RedisServer {
    let port = free_port().to_string();
    let own = [
        "--bind",
        "127.0.0.1",
        "--port",
        &port,
        "--requirepass",
        PASSWORD,
        "--masterauth",
        PASSWORD,
    ];
    let at_once = ["--repl-diskless-sync-delay", "0"];
    let url = format!("redis://:{PASSWORD}@127.0.0.1:{port}");
    let arguments = [&own, &at_once[..], IN_MEMORY, more].concat();
    RedisServer::start_with(tempfile::tempdir().unwrap(), &arguments, url).await
}

/// A node that knows no other, and the port of its bus.
async fn start_node() -> (RedisServer, String) {
    let bus = free_port().to_string();
    let cluster = [
        "--cluster-enabled",
        "yes",
        "--cluster-port",
        &bus,
        "--cluster-node-timeout",
        DOWN_AFTER_MS,
    ];
    (start_data_server(&cluster).await, bus)
}

/// A sentinel that watches the primary on `port`.
async fn start_sentinel(primary: &str) -> RedisServer {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let settings = folder.path().join("sentinel.conf");
    let text = format!(
        "port {port}\nbind 127.0.0.1\nrequirepass {SENTINEL_PASSWORD}\n\
         sentinel monitor {PRIMARY} 127.0.0.1 {primary} 2\n\
         sentinel auth-pass {PRIMARY} {PASSWORD}\n\
         sentinel down-after-milliseconds {PRIMARY} {DOWN_AFTER_MS}\n\
         sentinel failover-timeout {PRIMARY} 3000\n"
    );
    std::fs::write(&settings, text).unwrap();
    let url = format!("redis://:{SENTINEL_PASSWORD}@127.0.0.1:{port}");
    let settings = settings.display().to_string();
    RedisServer::start_with(folder, &[&settings, "--sentinel"], url).await
}

async fn follows(replica: &RedisServer) -> bool {
    text(replica, &["INFO", "replication"])
        .await
        .contains("master_link_status:up")
}

async fn text(server: &RedisServer, words: &[&str]) -> String {
    redis::from_redis_value(server.command(words).await).unwrap()
}

fn port_of(server: &RedisServer) -> &str {
    server.url().rsplit_once(':').unwrap().1
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !holds().await {
        assert!(begin.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
