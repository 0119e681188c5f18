//! Servers that are not quite Redis: one that counts round trips, one that answers nonsense, one that never stops.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Passes everything on to a real server, and counts how often the client speaks after having listened.
pub struct CountingProxy {
    _folder: TempDir,
    url: String,
    round_trips: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl CountingProxy {
    pub fn start(server_socket: &str) -> Self {
        let (folder, listener, url) = listen();
        let round_trips = Arc::new(AtomicUsize::new(0));
        let (counter, server_socket) = (Arc::clone(&round_trips), server_socket.to_owned());
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(Path::new(&server_socket)).await.unwrap();
                tokio::spawn(pass(client, server, Arc::clone(&counter)));
            }
        });
        Self {
            _folder: folder,
            url,
            round_trips,
            accepting,
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Since the last call.
    pub fn take_round_trips(&self) -> usize {
        self.round_trips.swap(0, Ordering::SeqCst)
    }
}

impl Drop for CountingProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(client: UnixStream, server: UnixStream, round_trips: Arc<AtomicUsize>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let was_listening = Arc::new(AtomicBool::new(true));
    let listens = Arc::clone(&was_listening);
    tokio::spawn(async move {
        let mut bytes = vec![0; 1 << 20];
        while let Ok(length @ 1..) = from_server.read(&mut bytes).await {
            listens.store(true, Ordering::SeqCst);
            if to_client.write_all(&bytes[..length]).await.is_err() {
                return;
            }
        }
    });
    let mut bytes = vec![0; 1 << 20];
    while let Ok(length @ 1..) = from_client.read(&mut bytes).await {
        if was_listening.swap(false, Ordering::SeqCst) {
            round_trips.fetch_add(1, Ordering::SeqCst);
        }
        if to_server.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}

/// Answers whatever it is asked with the same bytes, again and again.
pub struct LyingServer {
    _folder: TempDir,
    url: String,
    accepting: JoinHandle<()>,
}

impl LyingServer {
    pub fn start(answer: &'static [u8]) -> Self {
        let (folder, listener, url) = listen();
        let accepting = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut bytes = [0; 4096];
                    while let Ok(1..) = client.read(&mut bytes).await {
                        if answer.is_empty() || client.write_all(answer).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self {
            _folder: folder,
            url,
            accepting,
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for LyingServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Loads scripts; answers whatever comes after with a bulk that does not end.
pub struct FloodingServer {
    _folder: TempDir,
    url: String,
    sent: Arc<AtomicUsize>,
    cut_off: Arc<Notify>,
    accepting: JoinHandle<()>,
}

impl FloodingServer {
    pub fn start() -> Self {
        let (folder, listener, url) = listen();
        let (sent, cut_off) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (counter, end) = (Arc::clone(&sent), Arc::clone(&cut_off));
        let accepting = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut bytes = vec![0; 1 << 20];
                // The first request loads the scripts; one answer for each.
                let _ = client.read(&mut bytes).await;
                let _ = client.write_all(b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n").await;
                let _ = client.read(&mut bytes).await;
                let _ = client.write_all(b"$500000000\r\n").await;
                while client.write_all(&bytes).await.is_ok() {
                    counter.fetch_add(bytes.len(), Ordering::SeqCst);
                }
                end.notify_one();
            }
        });
        Self {
            _folder: folder,
            url,
            sent,
            cut_off,
            accepting,
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Bytes of the endless bulk so far.
    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }

    pub async fn until_cut_off(&self) {
        self.cut_off.notified().await;
    }
}

impl Drop for FloodingServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn listen() -> (TempDir, UnixListener, String) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("proxy.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let url = format!("unix://{}", socket.display());
    (folder, listener, url)
}
