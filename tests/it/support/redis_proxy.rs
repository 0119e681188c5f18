//! Servers that are not quite Redis: one that counts round trips, one that answers nonsense.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
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

fn listen() -> (TempDir, UnixListener, String) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("proxy.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let url = format!("unix://{}", socket.display());
    (folder, listener, url)
}
