//! A network that swallows: passes everything on to a server, and on command nothing more, without a word.

use super::daemon::free_port;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Connections to a port of the loopback address.
pub struct SilentProxy {
    port: u16,
    swallows: Arc<AtomicBool>,
    accepting: JoinHandle<()>,
}

impl SilentProxy {
    /// While it swallows, a connection on which the client sends `word` stays open and is never heard of again, also
    /// when it no longer swallows.
    pub async fn start(server_port: u16, word: &'static [u8]) -> Self {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let swallows = Arc::new(AtomicBool::new(false));
        let state = Arc::clone(&swallows);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server_port)).await.unwrap();
                tokio::spawn(pass(client, server, Arc::clone(&state), word));
            }
        });
        Self {
            port,
            swallows,
            accepting,
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn swallow(&self, yes: bool) {
        self.swallows.store(yes, Ordering::SeqCst);
    }
}

impl Drop for SilentProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(mut client: TcpStream, mut server: TcpStream, swallows: Arc<AtomicBool>, word: &[u8]) {
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let passed = tokio::select! {
            read = client.read(&mut asked) => match read {
                Ok(count) if count > 0 => {
                    let holds = asked[..count].windows(word.len()).any(|part| part == word);
                    if holds && swallows.load(Ordering::SeqCst) {
                        return std::future::pending().await;
                    }
                    server.write_all(&asked[..count]).await
                }
                _ => return,
            },
            read = server.read(&mut answered) => match read {
                Ok(count) if count > 0 => client.write_all(&answered[..count]).await,
                _ => return,
            },
        };
        if passed.is_err() {
            return;
        }
    }
}
