//! A real redis-server of the test's own, on a Unix socket in a temporary folder, gone when the value is dropped.

use super::daemon::free_port;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long starting may take on a busy machine before the test gives up.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Nothing on disk.
pub const IN_MEMORY: &[&str] = &["--save", "", "--appendonly", "no"];

pub struct RedisServer {
    folder: TempDir,
    arguments: Vec<String>,
    url: String,
    process: Option<Child>,
}

impl RedisServer {
    /// On a Unix socket.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("redis.sock").display().to_string();
        let arguments = [&["--port", "0", "--unixsocket", &socket], IN_MEMORY].concat();
        Self::start_with(folder, &arguments, format!("unix://{socket}")).await
    }

    /// With the arguments given, which make it reachable under `url`.
    pub async fn start_with(folder: TempDir, arguments: &[&str], url: String) -> Self {
        let mut server = Self {
            folder,
            arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
            url,
            process: None,
        };
        server.restart().await;
        server
    }

    /// On a free port of the loopback address.
    pub async fn start_tcp() -> Self {
        let port = free_port().to_string();
        let arguments = [&["--bind", "127.0.0.1", "--port", &port], IN_MEMORY].concat();
        let url = format!("redis://127.0.0.1:{port}");
        Self::start_with(tempfile::tempdir().unwrap(), &arguments, url).await
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The socket's path; only for a server on a Unix socket.
    pub fn socket(&self) -> &str {
        self.url.strip_prefix("unix://").unwrap()
    }

    /// Starts the server again, empty, under the same address.
    pub async fn restart(&mut self) {
        self.kill();
        let child = Command::new("redis-server")
            .args(&self.arguments)
            .current_dir(self.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("redis-server does not start ({error}): apt-get install redis-server"));
        self.process = Some(child);
        let started = Instant::now();
        while self.try_command(&["PING"]).await.is_err() {
            assert!(
                started.elapsed() < START_LIMIT,
                "redis-server does not answer on {}",
                self.url
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// As `kill -9` does it.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// The server accepts connections and bytes, and answers nothing.
    pub fn hang(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Ends [`RedisServer::hang`]; what was sent meanwhile is carried out.
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Runs one command over a connection of its own.
    pub async fn command(&self, words: &[&str]) -> redis::Value {
        self.try_command(words).await.unwrap()
    }

    /// As [`RedisServer::command`], which may fail.
    pub async fn try_command(&self, words: &[&str]) -> redis::RedisResult<redis::Value> {
        let client = redis::Client::open(self.url.as_str())?;
        let config = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(START_LIMIT))
            .set_response_timeout(Some(START_LIMIT));
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]).query_async(&mut connection).await
    }

    /// The names of all keys, sorted.
    pub async fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = redis::from_redis_value(self.command(&["KEYS", "*"]).await).unwrap();
        keys.sort();
        keys
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("the server runs");
        kill(Pid::from_raw(process.id().cast_signed()), signal).unwrap();
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
